package ssecast

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

func TestAnEventThatFailsIsPublishedAgainUnderItsKey(t *testing.T) {
	var asked atomic.Int64
	var keys [3]string
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, request *http.Request) {
		n := asked.Add(1)
		if n <= 3 {
			keys[n-1] = request.Header.Get("Idempotency-Key")
		}
		if n == 2 {
			out.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		out.WriteHeader(http.StatusAccepted)
		fmt.Fprintf(out, `{"position": "e-%d"}`, n)
	}))
	defer server.Close()
	r := newRig(t)
	got := r.run(t, `sse.publish({url: "%s", subject: "a", rate: 20, duration: "500ms"})`, server.URL)
	if r.number(got, "retries") != 1 || r.number(got, "published") != asked.Load()-1 {
		t.Error(got.Export())
	}
	if keys[0] == keys[1] || keys[1] != keys[2] {
		t.Errorf("%q", keys)
	}
	if _, counts := r.pushed(); int64(counts["sse_publish_time"]) != asked.Load()-1 {
		t.Error(counts)
	}
}

func TestAnAnswerThatWillNotChangeEndsThePublisher(t *testing.T) {
	for status, sentence := range map[int]string{
		404: "publishing is off there (SSECAST_PUBLISH=true turns it on)",
		401: "is answered 401 Unauthorized",
		202: "is answered 202 without a position: it is no pod of ssecast",
	} {
		server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) { out.WriteHeader(status) }))
		r := newRig(t)
		if got := r.fails(t, `sse.publish({url: "%s", subject: "a", duration: "1s"})`, server.URL); !strings.Contains(got, sentence) {
			t.Errorf("%d: %s", status, got)
		}
		server.Close()
	}
}

func TestAProbeFindsNothingWrongWithAPod(t *testing.T) {
	r := newRig(t)
	if got := r.run(t, `sse.probe({url: "%s", subject: "a"})`, startPod(t, asItIs).URL).String(); got != "" {
		t.Error(got)
	}
}

func TestAProbeSaysInOneSentenceWhatIsWrong(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	deaf := startPod(t, func(int, string) string { return "" })
	for _, each := range []struct{ address, sentence string }{
		{gone.URL, "connection refused"},
		{serve(t, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n").address, "it answers 503 Service Unavailable"},
		{serve(t, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n").address, "it answers with text/html"},
		{serve(t, "SSH-2.0-OpenSSH_9\r\n").address, "malformed HTTP"},
		{serve(t, streamHead+"data: hello\n\n").address, "it is no pod of ssecast"},
		{serve(t, streamHead+"data: hello\n\n"+hold).address, "it is no pod of ssecast"},
		{deaf.URL, "what was published on a did not come within 1s"},
		{"http://", "no http or https address"},
	} {
		r := newRig(t)
		got := r.run(t, `sse.probe({url: "%s", subject: "a", timeout: 1})`, each.address).String()
		if !strings.Contains(got, each.sentence) || strings.Contains(got, "\n") {
			t.Errorf("%s: %q", each.address, got)
		}
	}
}
