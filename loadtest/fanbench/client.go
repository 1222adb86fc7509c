package main

import (
	"bytes"
	"fmt"
	"runtime"
	"runtime/debug"
	"syscall"
)

const (
	stdinID    = -1
	maxStreams = 19_000
	readBytes  = 256 << 10
)

// client holds streams on one thread: one epoll, one read per report, one clock reading per read.
type client struct {
	port       int
	poll       int
	streams    []stream
	opening    opening
	phase      *phase
	buffer     []byte
	input      []byte // of a command that the last read cut
	ended      bool
	open       int
	closed     int64
	failed     int64
	reconnects int64
	retries    []retry
	reconnect  bool
}

func runClient(args []string) error {
	port, err := portOf(args)
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	debug.SetGCPercent(400)
	c := &client{port: port, buffer: make([]byte, readBytes), phase: newPhase(1, 0, 0, true)}
	if c.poll, err = syscall.EpollCreate1(0); err != nil {
		return err
	}
	if err := watch(c.poll, syscall.EPOLL_CTL_ADD, 0, stdinID, syscall.EPOLLIN); err != nil {
		return fmt.Errorf("stdin must be a pipe or a terminal: %w", err)
	}
	say(map[string]string{"type": "ready"})
	events := make([]syscall.EpollEvent, batch)
	for !c.ended {
		count, err := syscall.EpollWait(c.poll, events, c.patience())
		if err != nil && err != syscall.EINTR {
			return err
		}
		for i := range max(count, 0) {
			c.handle(events[i])
		}
		c.connectSome()
		c.reopenDue()
		if !c.phase.done && c.phase.complete() {
			c.phase.done = true
			c.report("done")
		}
	}
	return nil
}

// patience is how long epoll may wait, in milliseconds.
func (c *client) patience() int {
	switch {
	case c.canConnect():
		return 0
	case c.opening.active || len(c.retries) > 0:
		return 10
	}
	return -1
}

func (c *client) handle(event syscall.EpollEvent) {
	if event.Fd == stdinID {
		c.obey()
		return
	}
	s := &c.streams[event.Fd]
	switch {
	case s.state == connecting:
		c.connected(s)
	case s.state != closed:
		c.read(s)
	}
}

func (c *client) read(s *stream) {
	count, err := syscall.Read(int(s.fd), c.buffer)
	switch {
	case err == syscall.EAGAIN || err == syscall.EINTR:
	case err != nil || count == 0:
		c.lose(s, err)
	default:
		c.feed(s, c.buffer[:count])
	}
}

func (c *client) feed(s *stream, wire []byte) {
	before, at := s.state, now()
	if err := s.feed(wire, at, c.phase); err != nil {
		c.lose(s, err)
		return
	}
	if before == awaitingHead && s.state == inBody {
		c.opened(s, at)
	}
	if s.complete() {
		c.lose(s, nil)
	}
}

// lose closes a stream that ended, or never was one.
func (c *client) lose(s *stream, reason error) {
	if s.state == inBody { // reset or ended, it is one that was open
		c.closed++
		c.open--
	} else {
		c.fails(s, reason)
	}
	c.shut(s)
	if c.reconnect {
		c.retryLater(s)
	}
}

// shut resets the connection: TIME_WAIT would use up the ports of the next round.
func (c *client) shut(s *stream) {
	if s.state == unopened || s.state == closed {
		return
	}
	syscall.SetsockoptLinger(int(s.fd), syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1})
	syscall.Close(int(s.fd))
	s.state = closed
}

// obey carries out what stdin brought; its end is the client's.
func (c *client) obey() {
	count, err := syscall.Read(0, c.buffer)
	if err == syscall.EAGAIN || err == syscall.EINTR {
		return
	}
	if err != nil || count == 0 {
		c.ended = true
		return
	}
	c.input = append(c.input, c.buffer[:count]...)
	for {
		line, rest, found := bytes.Cut(c.input, []byte("\n"))
		if !found {
			return
		}
		c.carryOut(parseCommand(string(line)))
		c.input = append([]byte(nil), rest...)
	}
}

func (c *client) carryOut(order command) {
	switch order.verb {
	case "open":
		c.startOpening(order)
	case "expect":
		c.expect(order)
	case "report":
		c.report("report")
	case "stall":
		c.stall(int(order.number("every", 0)))
	case "close":
		c.closeAll()
	case "quit":
		c.ended = true
	default:
		say(map[string]string{"type": "error", "error": "unknown command " + order.verb})
	}
}

func (c *client) expect(order command) {
	first := order.number("first", 1)
	count := min(order.number("count", 1), maxEvents)
	c.phase = newPhase(first, count, order.number("deliveries", 0), order.number("sparse", 0) == 1)
	c.phase.began, c.phase.mark = now(), order.number("mark", 0)
	for i := range c.streams {
		c.streams[i].tracker.startAfter(first - 1)
	}
	say(map[string]string{"type": "expecting"})
}

// stall stops reading every k-th stream; 0 reads all of them again.
func (c *client) stall(every int) {
	stalled := 0
	for i := range c.streams {
		s := &c.streams[i]
		s.stalled = every > 0 && i%every == every-1
		if s.state != inBody {
			continue
		}
		events := uint32(syscall.EPOLLIN)
		if s.stalled {
			events = 0
			stalled++
		}
		watch(c.poll, syscall.EPOLL_CTL_MOD, int(s.fd), s.index, events)
	}
	say(map[string]any{"type": "stalled", "count": stalled})
}

func (c *client) report(kind string) {
	out := c.phase.report(kind)
	out.Open, out.Closed, out.Failed, out.Reconnects = c.open, c.closed, c.failed, c.reconnects
	if len(c.streams) > 0 {
		out.ID = string(c.streams[0].id)
	}
	say(out)
}

func (c *client) closeAll() {
	c.opening.active, c.reconnect, c.retries = false, false, nil
	for i := range c.streams {
		c.shut(&c.streams[i])
	}
	c.streams, c.open = nil, 0
	say(map[string]string{"type": "closed"})
}
