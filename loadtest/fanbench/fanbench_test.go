package main

import (
	"fmt"
	"strings"
	"testing"
)

const wireHead = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"

type seen struct {
	events []int64
	gaps   int
}

func (s *seen) deliver(_ *stream, event, _, _ int64) { s.events = append(s.events, event) }
func (s *seen) sawGap(*stream, int64)                { s.gaps++ }
func (s *seen) sawPosition(*stream, int64)           {}

func chunked(parts ...string) string {
	var out strings.Builder
	for _, part := range parts {
		fmt.Fprintf(&out, "%x\r\n%s\r\n", len(part), part)
	}
	return out.String()
}

func read(t *testing.T, wire string, size int) (*stream, *seen) {
	t.Helper()
	s, to := &stream{state: awaitingHead}, &seen{}
	for at := 0; at < len(wire); at += size {
		if err := s.feed([]byte(wire[at:min(at+size, len(wire))]), 0, to); err != nil {
			t.Fatal(err)
		}
	}
	return s, to
}

func TestEventsAreTheSameHoweverReadsCutThem(t *testing.T) {
	body := []string{":\n\nretry: 40\n\nevent: position\nid: e-1\ndata:\n\n", "id: e-2\nda", "ta: 7 99 xx\nda",
		"ta: more\n\nid: e-3\r\ndata: 8 99\r\n\r\nevent: gap\nid: e-4\ndata: {}\n\n", "event: named\ndata: 9 1\n\n"}
	for _, wire := range []string{
		wireHead + "\r\n" + strings.Join(body, ""),
		wireHead + "Transfer-Encoding: chunked\r\n\r\n" + chunked(body...),
	} {
		for size := 1; size <= len(wire); size++ {
			s, to := read(t, wire, size)
			if fmt.Sprint(to.events) != "[7 8 9]" || to.gaps != 1 || string(s.id) != "e-4" || s.retryMS != 40 {
				t.Fatalf("size %d: %v, %d gaps, id %s, retry %d", size, to.events, to.gaps, s.id, s.retryMS)
			}
		}
	}
}

func TestTheLastChunkEndsAStream(t *testing.T) {
	s, _ := read(t, wireHead+"Transfer-Encoding: chunked\r\n\r\n"+chunked(":\n\n", ""), 7)
	if s.chunks.state != atEnd {
		t.Fatal("the stream goes on")
	}
}

func TestWhatIsNoEventStreamIsRefused(t *testing.T) {
	for _, wire := range []string{
		"HTTP/1.1 503 Full\r\nContent-Type: text/event-stream\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n",
		wireHead + "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
		"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", maxHead),
	} {
		if (&stream{state: awaitingHead}).feed([]byte(wire), 0, &seen{}) == nil {
			t.Errorf("%.40q was taken", wire)
		}
	}
}

func TestATrackerTellsHolesLateOnesAndDuplicates(t *testing.T) {
	var t1 tracker
	t1.startAfter(10)
	for i, want := range []struct {
		event int64
		kind  arrival
		holes int64
	}{{11, next, 0}, {14, afterHole, 2}, {12, late, -1}, {12, duplicate, 0}, {10, duplicate, 0}, {200, afterHole, 185},
		{13, duplicate, 0}, {199, late, -1}} {
		if kind, holes := t1.see(want.event); kind != want.kind || holes != want.holes {
			t.Errorf("%d: event %d is %d with %d holes", i, want.event, kind, holes)
		}
	}
}

func TestAPhaseCountsEveryDeliveryOnce(t *testing.T) {
	p := newPhase(5, 2, 4, false)
	streams := make([]stream, 2)
	for i := range streams {
		streams[i].tracker.startAfter(4)
		p.deliver(&streams[i], 5, 100, 1_000_100)
		p.deliver(&streams[i], 5, 100, 1_000_100)
		p.deliver(&streams[i], 4, 100, 1_000_100)
	}
	p.deliver(&streams[0], 6, 200, 2_000_200)
	if p.complete() {
		t.Fatal("complete with one missing")
	}
	report := p.report("report")
	if report.Deliveries != 3 || report.Lost != 1 || report.Duplicates != 2 || report.Strays != 2 || report.Holes != 0 {
		t.Fatalf("%+v", report)
	}
	if report.Events[1].Last != 2 || report.Elapsed != 2.0001 || report.Max != 2 {
		t.Fatalf("%+v", report)
	}
	p.deliver(&streams[1], 6, 200, 300)
	if !p.complete() {
		t.Fatal("not complete")
	}
}

func TestAHistogramsBucketsHoldWhatFallsIntoThem(t *testing.T) {
	for value := int64(0); value < 1<<40; value += 1 + value/50 {
		top := bucketTop(bucketOf(value))
		if top < value || bucketOf(top) != bucketOf(value) || float64(top-value) > float64(value)*0.016+1 {
			t.Fatalf("%d falls into a bucket that ends at %d", value, top)
		}
	}
	var h histogram
	for value := int64(1); value <= 1000; value++ {
		h.add(value * 1000)
	}
	if p50, p99 := h.quantile(0.5), h.quantile(0.99); p50 < 500_000 || p50 > 508_000 || p99 < 990_000 || p99 > 1_000_000 {
		t.Fatal(p50, p99)
	}
}

func TestCommandsAreAVerbAndPairs(t *testing.T) {
	order := parseCommand("open n=5 path=/events?subject=a.%d")
	if order.verb != "open" || order.number("n", 1) != 5 || order.text("path", "") != "/events?subject=a.%d" || order.number("x", 7) != 7 {
		t.Fatal(order)
	}
}
