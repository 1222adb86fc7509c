package ssecast

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestAStreamThatEndsComesBackWithItsLastID(t *testing.T) {
	server := serve(t, streamHead+soon+position(4)+numbered(5), streamHead+position(5)+numbered(6)+hold)
	r := newRig(t)
	got := r.run(t, `sse.fleet({url: "%s/events", duration: "300ms"})`, server.address)
	if ids := server.header("Last-Event-Id"); !slices.Equal(ids, []string{"", "e-5"}) {
		t.Errorf("it asked for what comes after %q", ids)
	}
	for name, want := range map[string]int64{"opened": 2, "reconnects": 1, "events": 2, "lost": 0, "duplicates": 0, "gaveUp": 0} {
		if r.number(got, name) != want {
			t.Errorf("%s: %d instead of %d", name, r.number(got, name), want)
		}
	}
	if accepts := server.header("Accept"); accepts[0] != "text/event-stream" {
		t.Errorf("it accepts %q", accepts[0])
	}
}

func TestLostDuplicatedAndLateEventsAreCounted(t *testing.T) {
	server := serve(t, streamHead+position(0)+numbered(1)+numbered(4)+numbered(4)+numbered(3)+"data: other\n\n"+hold)
	r := newRig(t)
	got := r.run(t, `sse.fleet({url: "%s/events", duration: 0.3})`, server.address)
	for name, want := range map[string]int64{"lost": 2, "duplicates": 1, "outOfOrder": 1, "foreign": 1, "events": 5} {
		if r.number(got, name) != want {
			t.Errorf("%s: %d instead of %d", name, r.number(got, name), want)
		}
	}
	sums, _ := r.pushed()
	for name, want := range map[string]float64{"sse_lost": 2, "sse_duplicates": 1, "sse_out_of_order": 1, "sse_event": 5, "sse_streams_most": 2} {
		if sums[name] != want && name != "sse_streams_most" {
			t.Errorf("%s: %g instead of %g", name, sums[name], want)
		}
	}
}

func TestAnythingButAStreamEndsAnEventSourceForGood(t *testing.T) {
	for _, answer := range []string{
		"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 204 No Content\r\n\r\n",
		"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
	} {
		server := serve(t, answer)
		r := newRig(t)
		got := r.run(t, `sse.fleet({url: "%s/events", duration: "300ms"})`, server.address)
		if r.number(got, "gaveUp") != 1 || r.number(got, "reconnects") != 0 || r.number(got, "neverBegun") != 1 {
			t.Errorf("%q: %v", answer, got.Export())
		}
	}
}

func TestAServerThatIsDownIsAskedAgainAndAgain(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	r := newRig(t)
	got := r.run(t, `sse.fleet({url: "%s/events", duration: "300ms", settle: 0})`, server.URL)
	if r.number(got, "refused") != 1 || r.number(got, "gaveUp") != 0 {
		t.Errorf("it waits three seconds before it comes again: %v", got.Export())
	}
}

func TestARedirectIsFollowed(t *testing.T) {
	there := serve(t, streamHead+position(1)+hold)
	here := serve(t, "HTTP/1.1 307 Temporary Redirect\r\nContent-Length: 0\r\nLocation: "+there.address+"/there\r\n\r\n")
	r := newRig(t)
	got := r.run(t, `sse.fleet({url: "%s/events", duration: "300ms"})`, here.address)
	if r.number(got, "opened") != 1 || r.number(got, "gaveUp") != 0 {
		t.Error(got.Export())
	}
}

func TestARefusalOfAFullPodIsNoStreamThatHasBegun(t *testing.T) {
	server := serve(t, streamHead+"retry: 100000\n\n: full\n\n")
	r := newRig(t)
	got := r.run(t, `sse.fleet({url: "%s/events", duration: "300ms", settle: 0})`, server.address)
	if r.number(got, "turnedAway") != 1 || r.number(got, "neverBegun") != 1 || r.number(got, "gaveUp") != 0 {
		t.Error(got.Export())
	}
}

func TestAGapIsToldAndWhatLiesBeforeItIsNotLost(t *testing.T) {
	gap := "event: gap\nid: e-7\ndata: {}\n\n"
	server := serve(t, streamHead+position(0)+numbered(1)+gap+numbered(8)+hold)
	r := newRig(t)
	got := r.run(t, `sse.fleet({url: "%s/events", duration: "300ms"})`, server.address)
	if r.number(got, "gaps") != 1 || r.number(got, "lost") != 0 {
		t.Error(got.Export())
	}
}

// both runs a publisher and a fleet as two VUs do, and returns what the fleet counted.
func both(t *testing.T, p *pod, publish, fleet string) func(string) int64 {
	t.Helper()
	r, other := newRig(t), newRig(t)
	other.module.ledgers = r.module.ledgers // both look at one, as VUs of one process do
	ledger := r.module.ledger("k6")
	var all sync.WaitGroup
	all.Go(func() { other.run(t, `sse.publish({url: "%s", `+publish+`})`, p.URL) })
	got := r.run(t, `sse.fleet({url: "%s/events`+fleet+`})`, p.URL)
	all.Wait()
	<-ledger.Done()
	return func(name string) int64 { return r.number(got, name) }
}

func TestWhatAPublisherSendsIsOwedToEveryStream(t *testing.T) {
	got := both(t, startPod(t, asItIs), `subject: "a.b", rate: 100, duration: "1500ms"`, `", streams: 20, ramp: "500ms", duration: "1s"`)
	if got("lost")+got("duplicates")+got("outOfOrder")+got("neverBegun") != 0 || got("events") < 20*50 {
		t.Error(got("lost"), got("duplicates"), got("outOfOrder"), got("neverBegun"), got("events"))
	}
}

func TestStreamsThatAreCutComeBackAndMissNothing(t *testing.T) {
	got := both(t, startPod(t, asItIs), `subject: "a.b", rate: 100, duration: "2500ms"`,
		`", streams: 20, duration: "2s", churn: 30, storms: [{at: 1, share: 0.5}]`)
	if got("lost")+got("duplicates") != 0 || got("reconnects") < 10 || got("reconnectsMost") < 5 {
		t.Error(got("lost"), got("duplicates"), got("reconnects"), got("reconnectsMost"))
	}
}

func TestAnEventThatNeverComesIsLostAtEveryStream(t *testing.T) {
	flaw := func(seq int, block string) string {
		if seq == 30 {
			return ""
		}
		return block
	}
	got := both(t, startPod(t, flaw), `subject: "a.b", rate: 100, duration: "1s"`, `", streams: 5, duration: "1s", settle: "1s"`)
	if got("lost") != 5 || got("duplicates") != 0 {
		t.Error(got("lost"), got("duplicates"))
	}
}

func TestTheLastEventIsMissedToo(t *testing.T) {
	flaw := func(seq int, block string) string {
		if seq > 20 {
			return ""
		}
		return block
	}
	got := both(t, startPod(t, flaw), `subject: "a.b", rate: 30, duration: "1s"`, `", streams: 5, duration: "1s", settle: "500ms"`)
	if got("lost") < 5 || got("lost")%5 != 0 {
		t.Error(got("lost"))
	}
}

func TestEachStreamOfManySubjectsIsCountedByItsOwn(t *testing.T) {
	got := both(t, startPod(t, asItIs), `subject: "s.{i}", subjects: 4, rate: 100, duration: "1s"`,
		`?subject=s.{i}", streams: 8, subjects: 4, count: "subject", duration: "1s"`)
	if got("lost")+got("duplicates") != 0 || got("events") < 8*15 || got("events") > 8*30 {
		t.Error(got("lost"), got("duplicates"), got("events"))
	}
}

func TestSlowAndStalledStreamsMissNothing(t *testing.T) {
	got := both(t, startPod(t, asItIs), `subject: "a.b", rate: 50, size: 200, duration: "1500ms"`,
		`", streams: 4, slow: 20000, stalls: 60, stallFor: "300ms", receiveBuffer: 4096, duration: "1s"`)
	if got("lost")+got("duplicates") != 0 || got("events") == 0 {
		t.Error(got("lost"), got("duplicates"), got("events"))
	}
}

func TestWrongOptionsAreSentences(t *testing.T) {
	r := newRig(t)
	for options, sentence := range map[string]string{
		`{url: "ftp://x"}`:                                "no http or https address",
		`{url: "http://x", streems: 3}`:                   `there is no option "streems"; there are`,
		`{url: "http://x", streams: 0}`:                   "streams must be a number from 1 to",
		`{url: "http://x", duration: "long"}`:             `duration must be a number of seconds or a text like "90s"`,
		`{url: "http://x", count: "some"}`:                "must be one of all, subject, none",
		`{url: "http://x", storms: [{at: 1, shares: 1}]}`: `there is no option "shares"`,
		`{url: "http://x", storms: 3}`:                    "storms must be a list",
	} {
		if got := r.fails(t, "sse.fleet(%s)", options); !strings.Contains(got, sentence) {
			t.Errorf("%s: %s", options, got)
		}
	}
}

func TestThousandsOfStreamsAreHeld(t *testing.T) {
	const streams = 2_000
	got := both(t, startPod(t, asItIs), `subject: "a.b", rate: 5, duration: "3s"`, fmt.Sprintf(`", streams: %d, ramp: 1, duration: "2s"`, streams))
	if got("streamsMost") != streams || got("lost") != 0 {
		t.Error(got("streamsMost"), got("lost"))
	}
}

func TestAServerThatDiesAndDoesNotComeBackIsFoundOut(t *testing.T) {
	server := serve(t, streamHead+soon+position(4)+numbered(5)+hold)
	r := newRig(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for len(server.header("Accept")) == 0 {
			time.Sleep(time.Millisecond)
		}
		server.stop()
	}()
	got := r.run(t, `sse.fleet({url: "%s/events", duration: "300ms", settle: "300ms"})`, server.address)
	<-done
	if r.number(got, "absent") != 1 || r.number(got, "refused") == 0 {
		t.Error(got.Export())
	}
}

func TestAFleetThatHasGivenUpEndsAtOnce(t *testing.T) {
	server := serve(t, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
	began := time.Now()
	got := newRig(t).run(t, `sse.fleet({url: "%s/events", streams: 3, duration: "1h"})`, server.address)
	if time.Since(began) > time.Minute || got == nil {
		t.Error(time.Since(began))
	}
}
