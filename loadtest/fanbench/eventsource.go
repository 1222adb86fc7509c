package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"runtime/debug"
	"strconv"
	"syscall"
)

const (
	portionNS   = 100_000_000 // a slow reader reads so often
	flushNS     = 1_000_000_000
	dutiesATurn = 64 // between two looks at the streams
	openSeconds = 60
)

// group is some sources that ask for the same and read alike.
type group struct {
	path          string
	json          bool
	receiveBuffer int
	rate          int // bytes per second that it reads; 0: all there are
}

func (g *group) portion() int {
	return max(int(int64(g.rate)*portionNS/1e9), 1)
}

// eventsource holds sources on one thread: one epoll, one heap of timers.
type eventsource struct {
	servers    []*syscall.SockaddrInet4
	poll       int
	sources    []source
	ledger     *ledger
	times      times
	timers     timers
	events     []syscall.EpollEvent
	buffer     []byte
	input      []byte // of a command that the last read cut
	flushAt    int64
	ended      bool
	open       int // streams with a head
	placed     int // sources that were given a position
	gaveUp     int
	deliveries int64

	opening, announceAt int // sources that are to be connected for the first time; how many placed answer the command
	inFlight            int
	openBy              int64
}

// runEventSource obeys commands on stdin until it ends:
//
//	open name= n= path= format= rate= rcvbuf= inflight=    answers opened when all of them have a position
//	stall n= seconds= seed=                              some open streams read nothing for a while
//	reset n= seed=                                       some open streams are reset, and come back
//	leave n= seed=                                       some open streams are closed, and do not come back
//	report epoch= seq= exact=                            how many are open, and how many have not come to that position
//	close                                                ends all of them, and the file
func runEventSource(args []string) error {
	if len(args) < 2 {
		return fmt.Errorf("it needs a file to write to, and the servers' ports or addresses")
	}
	e, err := newEventSource(args[0], args[1:])
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	debug.SetGCPercent(400)
	if err := watch(e.poll, syscall.EPOLL_CTL_ADD, 0, stdinID, syscall.EPOLLIN); err != nil {
		return fmt.Errorf("stdin must be a pipe or a terminal: %w", err)
	}
	say(map[string]string{"type": "ready"})
	for !e.ended {
		if err := e.turn(); err != nil {
			return err
		}
	}
	return e.ledger.close()
}

func newEventSource(path string, servers []string) (*eventsource, error) {
	e := &eventsource{
		buffer: make([]byte, readBytes), events: make([]syscall.EpollEvent, batch),
		sources: make([]source, 0, maxStreams), // they never move
		times:   times{},
	}
	for _, text := range servers {
		server, err := parseServer(text)
		if err != nil {
			return nil, err
		}
		e.servers = append(e.servers, server)
	}
	var err error
	if e.ledger, err = newLedger(path); err != nil {
		return nil, err
	}
	e.poll, err = syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	return e, err
}

// parseServer reads `PORT`, which is on loopback, or `ADDRESS:PORT` of a machine of one's own: a load test that hits
// somebody else by a slip is an attack.
func parseServer(text string) (*syscall.SockaddrInet4, error) {
	if port, err := strconv.ParseUint(text, 10, 16); err == nil {
		return loopback(int(port)), nil
	}
	address, err := netip.ParseAddrPort(text)
	if err != nil || !address.Addr().Is4() || !(address.Addr().IsLoopback() || address.Addr().IsPrivate()) {
		return nil, fmt.Errorf("%q is neither a port nor ADDRESS:PORT of a loopback or private IPv4 address", text)
	}
	return &syscall.SockaddrInet4{Port: int(address.Port()), Addr: address.Addr().As4()}, nil
}

// turn waits for what the streams bring, or until something is due, and sees to it.
func (e *eventsource) turn() error {
	count, err := syscall.EpollWait(e.poll, e.events, e.patience())
	if err != nil && err != syscall.EINTR {
		return err
	}
	for i := range max(count, 0) {
		e.handle(e.events[i])
	}
	e.keepTime()
	return nil
}

// patience is how long a turn may wait, in milliseconds.
func (e *eventsource) patience() int {
	if e.announceAt > 0 { // streams are being opened
		return 10
	}
	if patience := e.timers.patience(now()); patience >= 0 {
		return min(patience, flushNS/1e6)
	}
	return flushNS / 1e6
}

func (e *eventsource) handle(event syscall.EpollEvent) {
	if event.Fd == stdinID {
		e.obey()
		return
	}
	s := &e.sources[event.Fd]
	switch {
	case s.state == connecting:
		e.connected(s)
	case s.state == awaitingHead || s.state == inBody && !s.paused:
		e.read(s)
	case s.state == inBody: // reset while it did not read: the kernel says so whether it is asked or not
		e.readAgain(s)
	}
}

// keepTime does what is due, connects some of those that are to be opened, and writes to the file now and then.
func (e *eventsource) keepTime() {
	at := now()
	for range dutiesATurn {
		next, found := e.timers.due(at)
		if !found {
			break
		}
		s := &e.sources[next.index]
		if next.duty == readAgain {
			e.readAgain(s)
		} else if s.state == closed && !s.gaveUp {
			e.connect(s)
		}
	}
	for range dutiesATurn {
		if e.opening == len(e.sources) || e.opening-e.placed-e.gaveUp >= e.inFlight {
			break
		}
		e.connect(&e.sources[e.opening])
		e.opening++
	}
	if e.announceAt > 0 && (e.placed >= e.announceAt || at > e.openBy) {
		e.announceAt = 0
		e.report("opened", "", 0, false)
	}
	if at >= e.flushAt {
		e.flushAt = at + flushNS
		e.ledger.out.Flush()
	}
}

// obey carries out what stdin brought; its end is ours.
func (e *eventsource) obey() {
	count, err := syscall.Read(0, e.buffer)
	if err == syscall.EAGAIN || err == syscall.EINTR {
		return
	}
	if err != nil || count == 0 {
		e.ended = true
		return
	}
	e.input = append(e.input, e.buffer[:count]...)
	for {
		line, rest, found := bytes.Cut(e.input, []byte("\n"))
		if !found {
			return
		}
		e.carryOut(parseCommand(string(line)))
		e.input = append([]byte(nil), rest...)
	}
}

func (e *eventsource) carryOut(order command) {
	switch order.verb {
	case "open":
		e.add(order)
	case "stall":
		until := now() + order.number("seconds", 1)*1e9
		e.some(order, func(s *source) { e.rest(s, until) })
	case "reset":
		e.some(order, func(s *source) {
			e.shut(s)
			e.ledger.line(s, 'e', now(), "own-reset")
			e.comeBack(s)
		})
	case "leave":
		e.some(order, func(s *source) {
			e.shut(s)
			e.ledger.line(s, 'e', now(), "own-leave")
			s.state = unopened
		})
	case "report":
		e.report("report", order.text("epoch", ""), order.number("seq", 0), order.number("exact", 0) == 1)
	case "close":
		e.closeAll()
	case "quit":
		e.ended = true
	default:
		say(map[string]string{"type": "error", "error": "unknown command " + order.verb})
	}
}

func (e *eventsource) add(order command) {
	count, first := int(order.number("n", 1)), len(e.sources)
	if first+count > maxStreams {
		say(map[string]string{"type": "error", "error": fmt.Sprintf("more than %d streams", maxStreams)})
		return
	}
	added := &group{
		path: order.text("path", "/events"), json: order.text("format", "data") == "json",
		rate: int(order.number("rate", 0)), receiveBuffer: int(order.number("rcvbuf", 0)),
	}
	e.ledger.group(order.text("name", "all"), first, count, added.path)
	e.sources = e.sources[:first+count]
	for i := first; i < first+count; i++ {
		e.sources[i] = source{stream: stream{index: int32(i), retryMS: chromiumRetryMS}, group: added}
	}
	e.inFlight = int(order.number("inflight", 256))
	e.announceAt, e.openBy = len(e.sources), now()+openSeconds*1e9
}

// some does something to n open sources that read, chosen by the seed.
func (e *eventsource) some(order command, do func(*source)) {
	seed := uint64(order.number("seed", 1))
	left, done := order.number("n", 1), 0
	for _, i := range rand.New(rand.NewPCG(seed, seed)).Perm(len(e.sources)) {
		if s := &e.sources[i]; left > 0 && s.state == inBody && !s.paused {
			do(s)
			left--
			done++
		}
	}
	say(map[string]any{"type": "done", "count": done})
}

type sourcesReport struct {
	Type       string `json:"type"`
	Sources    int    `json:"sources"`
	Open       int    `json:"open"`
	Placed     int    `json:"placed"`
	GaveUp     int    `json:"gave_up"`
	Behind     int    `json:"behind"` // sources that have not come to the position asked about, or do not stand there
	Deliveries int64  `json:"deliveries"`
}

func (e *eventsource) report(kind, epoch string, seq int64, exact bool) {
	out := sourcesReport{kind, len(e.sources), e.open, e.placed, e.gaveUp, 0, e.deliveries}
	for i := range e.sources {
		its, at, ok := cutPosition(e.sources[i].id)
		if epoch != "" && !(ok && string(its) == epoch && (at == seq || at > seq && !exact)) {
			out.Behind++
		}
	}
	say(out)
}

func (e *eventsource) closeAll() {
	e.timers, e.opening, e.announceAt = nil, len(e.sources), 0
	for i := range e.sources {
		s := &e.sources[i]
		if s.state == inBody {
			e.ledger.line(s, 'e', now(), "own-close")
		}
		e.shut(s)
		s.state = unopened
		e.ledger.summary(s)
	}
	e.ledger.out.Flush()
	say(map[string]string{"type": "closed"})
}
