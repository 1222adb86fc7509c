package main

import (
	"bufio"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// answer is what a scripted server does with one connection.
type answer struct {
	head, body string
	reset      bool
	stay       bool // until the source goes
}

const (
	streamHead = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
	briefRetry = "retry: 20\n\n"
)

func checked(number int, text string) string {
	body := fmt.Sprintf("%d 5 a.b - %s", number, text)
	return fmt.Sprintf("%s %08x", body, crc32.ChecksumIEEE([]byte(body)))
}

func eventBlock(seq, number int) string {
	return fmt.Sprintf("id: e-%d\ndata: %s\n\n", seq, checked(number, "x"))
}

// serve answers connections one after the other; it sends on the id that each asked for.
func serve(t *testing.T, listener net.Listener, script ...answer) <-chan string {
	t.Helper()
	asked := make(chan string, len(script))
	go func() {
		for _, each := range script {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			asked <- lastEventID(conn)
			conn.Write([]byte(each.head + "\r\n" + each.body))
			if each.reset {
				time.Sleep(50 * time.Millisecond) // a reset at once would take back what was just sent
				conn.(*net.TCPConn).SetLinger(0)
			}
			if each.stay {
				io.Copy(io.Discard, conn)
			}
			conn.Close()
		}
	}()
	return asked
}

func lastEventID(conn net.Conn) string {
	id, reader := "-", bufio.NewReader(conn)
	for {
		line, err := reader.ReadString('\n')
		if err != nil || line == "\r\n" {
			return id
		}
		if value, found := strings.CutPrefix(line, "Last-Event-ID: "); found {
			id = strings.TrimSpace(value)
		}
	}
}

func listenAnywhere(t *testing.T) (net.Listener, int) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener, listener.Addr().(*net.TCPAddr).Port
}

type rig struct {
	*eventsource
	t    *testing.T
	path string
}

func openSources(t *testing.T, port int, order string) rig {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ledger")
	e, err := newEventSource(path, []string{fmt.Sprint(port)})
	if err != nil {
		t.Fatal(err)
	}
	e.add(parseCommand("open " + order))
	e.announceAt = 0
	return rig{e, t, path}
}

func (r rig) until(what string, true func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !true(); {
		if time.Now().After(deadline) {
			r.t.Fatalf("%s did not come true; the ledger: %s", what, r.written())
		}
		if err := r.turn(); err != nil {
			r.t.Fatal(err)
		}
	}
}

// written is the ledger without times and the number of the only source.
func (r rig) written() string {
	for i := range r.sources {
		r.sources[i].run.end(r.ledger, int32(i))
	}
	r.ledger.out.Flush()
	text, err := os.ReadFile(r.path)
	if err != nil {
		r.t.Fatal(err)
	}
	var lines []string
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		words := strings.SplitN(line, " ", 4)
		if words[0] == "G" {
			continue
		}
		lines = append(lines, strings.TrimSpace(words[1]+" "+strings.Join(words[3:], "")))
	}
	return strings.Join(lines, "; ")
}

func TestASourceComesBackWithTheLastIdThatWasWhole(t *testing.T) {
	listener, port := listenAnywhere(t)
	position := "event: position\nid: e-5\ndata:\n\n"
	asked := serve(t, listener,
		answer{head: streamHead + "Transfer-Encoding: chunked\r\n", body: chunked(briefRetry, position, eventBlock(6, 60), "id: e-7\nda"), reset: true},
		answer{head: streamHead + "Transfer-Encoding: chunked\r\n", body: chunked(eventBlock(7, 70), eventBlock(8, 80), "")},
		answer{head: streamHead, body: eventBlock(9, 90)},
		answer{head: streamHead + "Content-Length: 7\r\n", body: ": full\n"},
		answer{head: streamHead, body: "event: gap\nid: f-1\ndata: {}\n\n"},
	)
	r := openSources(t, port, "n=1")
	var ids []string
	r.until("five connections", func() bool {
		select {
		case id := <-asked:
			ids = append(ids, id)
		default:
		}
		return len(ids) == 5 && r.open == 0 && r.sources[0].state == closed
	})
	if got := strings.Join(ids, " "); got != "- e-6 e-8 e-9 e-9" {
		t.Fatalf("it asked for %s", got)
	}
	from := fmt.Sprint(port)
	want := strings.Join([]string{
		"c " + from + " -", "h", "p e 5", "r", "e reset", "c " + from + " e-6", "h", "r", "e end", "c " + from + " e-8", "h",
		"r", "e end", "c " + from + " e-9", "h", "e end", "c " + from + " e-9", "h", "g f 1 {}", "e end",
	}, "; ")
	got := r.written()
	for _, run := range []string{"e 6 60 0 0 1", "e 7 70 1 10 2", "e 9 90 0 0 1"} {
		if !strings.Contains(got, run) {
			t.Fatalf("no run %s in %s", run, got)
		}
	}
	if plain := withoutRuns(got); plain != want {
		t.Fatalf("\n%s\nwant\n%s", plain, want)
	}
}

func withoutRuns(written string) string {
	parts := strings.Split(written, "; ")
	for i, part := range parts {
		if strings.HasPrefix(part, "r ") {
			parts[i] = "r"
		}
	}
	return strings.Join(parts, "; ")
}

func TestAnyAnswerButAnEventStreamEndsASourceForGood(t *testing.T) {
	for _, head := range []string{
		"HTTP/1.1 503 Full\r\nContent-Type: text/event-stream\r\n", "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n",
		"HTTP/1.1 204 No Content\r\n", "HTTP/1.1 307 Elsewhere\r\nLocation: /\r\n",
	} {
		listener, port := listenAnywhere(t)
		serve(t, listener, answer{head: head}, answer{head: streamHead})
		r := openSources(t, port, "n=1")
		r.until("giving up", func() bool { return r.gaveUp == 1 })
		if len(r.timers) != 0 || !strings.Contains(r.written(), "; f ") {
			t.Errorf("%q: it goes on, or does not say so: %s", head, r.written())
		}
	}
}

func TestWhoLeavesDoesNotComeBack(t *testing.T) {
	listener, port := listenAnywhere(t)
	serve(t, listener, answer{head: streamHead, body: "event: position\nid: e-1\ndata:\n\n", stay: true}, answer{head: streamHead})
	r := openSources(t, port, "n=1")
	r.until("the position", func() bool { return r.placed == 1 })
	r.carryOut(parseCommand("leave n=1 seed=1"))
	if r.open != 0 || len(r.timers) != 0 || !strings.HasSuffix(r.written(), "; e own-leave") {
		t.Fatalf("it goes on, or does not say so: %s", r.written())
	}
	r.closeAll()
	if strings.Count(r.written(), "; e ") != 1 || !strings.Contains(r.written(), "; s ") {
		t.Fatalf("it ends twice, or its record does not: %s", r.written())
	}
}

func TestARefusedConnectionIsTriedAgainForEver(t *testing.T) {
	listener, port := listenAnywhere(t)
	asked := serve(t, listener, answer{head: streamHead, body: briefRetry + eventBlock(1, 1)})
	r := openSources(t, port, "n=1")
	r.until("the first stream", func() bool { return r.deliveries == 1 && r.open == 0 })
	<-asked
	listener.Close()
	r.until("some refusals", func() bool { return strings.Count(r.written(), "x refused") >= 3 })
	again, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Skip("another process took the port")
	}
	defer again.Close()
	asked = serve(t, again, answer{head: streamHead, body: eventBlock(2, 2)})
	r.until("the second stream", func() bool { return r.deliveries == 2 })
	if id := <-asked; id != "e-1" {
		t.Fatalf("it asked for %s", id)
	}
}

func TestWhatIsNotAsThePublisherSentItIsWrittenDown(t *testing.T) {
	listener, port := listenAnywhere(t)
	good := checked(1, "x")
	serve(t, listener, answer{head: streamHead, body: "id: e-1\ndata: " + good[:len(good)-1] + "0z\n\n" +
		"id: nonsense\ndata: " + good + "\n\n" + "id: e-3\nevent: price\ndata: " + good + "\n\n" +
		"event: position\nid: nonsense\ndata:\n\n"})
	r := openSources(t, port, "n=1")
	r.until("the end", func() bool { return strings.Contains(r.written(), "e end") })
	if got := strings.Count(r.written(), "; b "); got != 4 || r.deliveries != 0 {
		t.Fatalf("%d of 4 found: %s", got, r.written())
	}
}

func TestPayloadsOfSeveralLinesAndTheJSONFormAreChecked(t *testing.T) {
	listener, port := listenAnywhere(t)
	lines := checked(7, "one\ntwo\n")
	serve(t, listener, answer{head: streamHead, body: "id: e-1\ndata: " + strings.ReplaceAll(lines, "\n", "\ndata: ") + "\n\n"})
	r := openSources(t, port, "n=1")
	r.until("the event", func() bool { return r.deliveries == 1 })
	for data, fine := range map[string]bool{
		fmt.Sprintf(`{"subject":"a.b","time":"2026-11-28T10:00:00.000012Z","data":%q}`, lines): true,
		fmt.Sprintf(`{"subject":"a.c","time":"2026-11-28T10:00:00.000012Z","data":%q}`, lines): false,
		fmt.Sprintf(`{"subject":"a.b","data":%q}`, lines):                                      false,
		"{": false,
	} {
		if event, err := unwrap([]byte(data)); (err == nil) != fine || fine && event.number != 7 {
			t.Errorf("%s: %v", data, err)
		}
	}
}

func TestARunGoesOnAsLongAsItsStepsAreTheSame(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	l, err := newLedger(path)
	if err != nil {
		t.Fatal(err)
	}
	var r run
	for _, each := range [][2]int64{{1, 10}, {3, 14}, {5, 18}, {6, 19}, {8, 23}} {
		r.add(l, 4, []byte("e"), each[0], each[1], each[0]*1e6)
	}
	r.add(l, 4, []byte("f"), 1, 30, 9e6)
	r.end(l, 4)
	r.end(l, 4)
	l.close()
	text, _ := os.ReadFile(path)
	if want := "4 r 1 5 e 1 10 2 4 3\n4 r 6 8 e 6 19 2 4 2\n4 r 9 9 f 1 30 0 0 1\n"; string(text) != want {
		t.Fatalf("%q", text)
	}
}

func TestAnEventWasStoredOnceWhoeverIsTold(t *testing.T) {
	l, err := newLedger(filepath.Join(t.TempDir(), "ledger"))
	if err != nil {
		t.Fatal(err)
	}
	known := times{}
	for _, each := range []struct {
		number, stored int64
		fine           bool
	}{{1, 1000, true}, {2, 1001, true}, {1, 1000, true}, {1, 1001, false}} {
		if err := known.check(l, payload{number: each.number, stored: each.stored}); (err == nil) != each.fine {
			t.Errorf("%+v: %v", each, err)
		}
	}
	wrong := fmt.Sprintf(`{"subject":"a.b","time":"1764324000000","data":%q}`, checked(7, "x"))
	if event, err := unwrap([]byte(wrong)); err == nil {
		t.Errorf("a time that is none is taken for %d", event.stored)
	}
	right := fmt.Sprintf(`{"subject":"a.b","time":"1970-01-01T00:00:01.000012Z","data":%q}`, checked(7, "x"))
	if event, err := unwrap([]byte(right)); err != nil || event.stored != 1_000_012 {
		t.Errorf("stored at %d, %v", event.stored, err)
	}
}

func TestTheLongestPausesAreKept(t *testing.T) {
	var kept pauses
	for i := range int64(10 * pausesKept) {
		length := (i*7919)%(10*pausesKept) + 1
		kept.add(0, length)
	}
	if len(kept) != pausesKept {
		t.Errorf("%d are kept", len(kept))
	}
	for _, each := range kept {
		if each.until <= 9*pausesKept {
			t.Errorf("one of %d is kept", each.until)
		}
	}
}

func TestTimersComeInTheirOrder(t *testing.T) {
	var all timers
	if all.patience(0) != -1 {
		t.Fatal("nothing to wait for")
	}
	for _, at := range []int64{30e6, 10e6, 20e6} {
		all.add(at, int32(at/1e6), reconnect)
	}
	if all.patience(5e6) != 5 || all.patience(50e6) != 0 {
		t.Fatal(all.patience(5e6))
	}
	for _, want := range []int32{10, 20} {
		if next, found := all.due(25e6); !found || next.index != want {
			t.Fatalf("%d, %v", next.index, found)
		}
	}
	if _, found := all.due(25e6); found {
		t.Fatal("too early")
	}
}

func TestASourceThatStallsOrIsSlowReadsOnLater(t *testing.T) {
	listener, port := listenAnywhere(t)
	body := briefRetry
	for i := 1; i <= 200; i++ {
		body += eventBlock(i, i)
	}
	serve(t, listener, answer{head: streamHead, body: body})
	r := openSources(t, port, "n=1 rate=20000")
	r.until("the first events", func() bool { return r.deliveries > 0 })
	if !r.sources[0].paused || r.deliveries > 100 {
		t.Fatalf("it read %d events at once", r.deliveries)
	}
	r.until("the rest", func() bool { return r.deliveries == 200 })
	if got := r.written(); strings.Contains(got, "; b ") || strings.Count(got, "; r ") != 1 {
		t.Fatal(got)
	}
}

func TestServersAreOnesOwn(t *testing.T) {
	for text, want := range map[string]string{"8080": "127.0.0.1:8080", "10.1.2.3:80": "10.1.2.3:80", "127.0.0.9:1": "127.0.0.9:1"} {
		server, err := parseServer(text)
		if err != nil || netip.AddrPortFrom(netip.AddrFrom4(server.Addr), uint16(server.Port)).String() != want {
			t.Errorf("%s: %v, %v", text, server, err)
		}
	}
	for _, text := range []string{"", "x", "70000", "93.184.216.34:80", "10.1.2.3", "[::1]:80"} {
		if server, err := parseServer(text); err == nil {
			t.Errorf("%q is taken for %v", text, server)
		}
	}
}
