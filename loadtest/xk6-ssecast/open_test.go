package ssecast

import (
	"strings"
	"testing"
)

// The script is that of the common module's own README, with nothing changed but the address.
const commonScript = `
	const seen = []
	const response = sse.open("%s", {method: 'GET', headers: {"Authorization": "Bearer XXXX"}, tags: {"my_k6s_tag": "hello sse"}}, function (client) {
		client.on('open', function open() { seen.push('open') })
		client.on('event', function (event) {
			seen.push([event.id, event.name, event.data, event.comment].join('|'))
			if (parseInt(event.id) === 4) {
				client.close()
			}
		})
		client.on('error', function (e) { seen.push('error ' + e.error()) })
	});
	[response.status, response.error, response.headers["Content-Type"], ...seen].join('\n')
`

func TestScriptsOfTheCommonModuleRun(t *testing.T) {
	server := serve(t, streamHead+": hi\n\nid: 3\nevent: x\ndata: a\ndata: b\n\nid: 4\ndata: c\n\nid: 5\ndata: d\n\n"+hold)
	got := newRig(t).run(t, commonScript, server.address).String()
	if want := "200\n\ntext/event-stream\nopen\n|||hi\n3|x|a\nb|\n4||c|"; got != want {
		t.Errorf("%q instead of %q", got, want)
	}
	if sent := server.header("Authorization"); sent[0] != "Bearer XXXX" {
		t.Errorf("%q", sent)
	}
}

func TestAnAnswerThatIsNoStreamIsAnErrorWithItsStatus(t *testing.T) {
	server := serve(t, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
	got := newRig(t).run(t, commonScript, server.address).String()
	if want := "503\nit answers 503 Service Unavailable\n\nerror it answers 503 Service Unavailable"; got != want {
		t.Errorf("%q instead of %q", got, want)
	}
}

func TestAStreamIsFollowedOverItsReconnects(t *testing.T) {
	server := serve(t, streamHead+soon+"id: 1\ndata: a\n\n", streamHead+"id: 4\ndata: b\n\n"+hold)
	script := strings.Replace(commonScript, "method: 'GET'", "reconnect: true", 1)
	got := newRig(t).run(t, script, server.address).String()
	if !strings.HasSuffix(got, "open\n1||a|\nopen\n4||b|") {
		t.Errorf("%q", got)
	}
	if ids := server.header("Last-Event-Id"); len(ids) != 2 || ids[1] != "1" {
		t.Errorf("%q", ids)
	}
}

func TestABodyCanBePosted(t *testing.T) {
	server := serve(t, streamHead+"id: 4\ndata: a\n\n")
	newRig(t).run(t, `sse.open("%s/chat", {method: "post", body: "hello"}, function () {})`, server.address)
	if server.lines[0] != "POST /chat HTTP/1.1" || server.header("Content-Length")[0] != "5" {
		t.Error(server.lines, server.header("Content-Length"))
	}
}

func TestAStreamWithATimeoutEnds(t *testing.T) {
	server := serve(t, streamHead+hold)
	r := newRig(t)
	if got := r.run(t, `sse.open("%s", {timeout: 0.2}, function () {}).status`, server.address).ToInteger(); got != 200 {
		t.Error(got)
	}
	if sums, _ := r.pushed(); sums["sse_opened"] != 1 {
		t.Error(sums)
	}
}

func TestWhatAHandlerThrowsReachesTheScript(t *testing.T) {
	server := serve(t, streamHead+"data: a\n\n"+hold)
	got := newRig(t).fails(t, `sse.open("%s", function (client) { client.on("event", function () { throw new Error("mine") }) })`, server.address)
	if !strings.Contains(got, "mine") {
		t.Error(got)
	}
}

func TestWrongUseOfOpenIsASentence(t *testing.T) {
	r := newRig(t)
	for script, sentence := range map[string]string{
		`sse.open("http://127.0.0.1:1")`:                         errNoFunction.Error(),
		`sse.open("http://127.0.0.1:1", {}, 3)`:                  errNoFunction.Error(),
		`sse.open("http://127.0.0.1:1", {hedders: {}}, () => 1)`: `there is no option "hedders"`,
		`sse.open("http://127.0.0.1:1", {jar: 1}, () => 1)`:      "jar must be a cookie jar of k6/http",
	} {
		if got := r.fails(t, "%s", script); !strings.Contains(got, sentence) {
			t.Errorf("%s: %s", script, got)
		}
	}
	if got := r.run(t, `sse.open("nowhere", () => 1).error`).String(); !strings.Contains(got, "no http or https address") {
		t.Error(got)
	}
}
