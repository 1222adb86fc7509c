package main

import (
	"errors"
	"fmt"
	"syscall"
)

// chromiumRetryMS is how long a browser waits before it reconnects while no server has told it.
const chromiumRetryMS = 3000

// source is one EventSource. It outlives its connections, and follows the rules of the HTML standard as Chromium does:
// it comes back `retry` milliseconds after a stream ended, broke or was refused, with the last id that it was given and
// without any back-off of its own; anything but 200 and text/event-stream ends it for good.
type source struct {
	stream
	group   *group
	run     run
	attempt int
	begun   bool // the head of this connection's stream is written down
	placed  bool // it was given a position
	gaveUp  bool
	paused  bool // it does not read: slow or stalled

	pauses                 pauses
	lastAt, delay, delayAt int64 // ns
}

// pauses are the longest ones between two events. More than one: the publisher rests too, and whoever knows when takes
// those rests out.
type pauses []pause

type pause struct {
	since, until int64 // ns
}

const (
	pausesKept = 64
	pauseNS    = 5_000_000 // less is none
)

func (p *pauses) add(since, until int64) {
	if len(*p) < pausesKept {
		*p = append(*p, pause{since, until})
		return
	}
	shortest := 0
	for i, kept := range *p {
		if kept.until-kept.since < (*p)[shortest].until-(*p)[shortest].since {
			shortest = i
		}
	}
	if kept := (*p)[shortest]; until-since > kept.until-kept.since {
		(*p)[shortest] = pause{since, until}
	}
}

// connect begins a connection, which asks for what comes after the last id.
func (e *eventsource) connect(s *source) {
	server := e.servers[(int(s.index)+s.attempt)%len(e.servers)]
	s.attempt++
	at := now()
	id := string(s.id)
	if id == "" {
		id = "-"
	}
	e.ledger.line(s, 'c', at, fmt.Sprintf("%d %s", server.Port, id))
	s.stream = stream{index: s.index, startedAt: at, id: s.id, retryMS: s.retryMS, keeps: true}
	s.paused, s.begun = false, false
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		e.refused(s, err)
		return
	}
	s.fd, s.state = int32(fd), connecting
	syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	if s.group.receiveBuffer > 0 {
		syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF, s.group.receiveBuffer)
	}
	err = connectFrom(fd, s.index, server)
	if err != nil && err != syscall.EINPROGRESS {
		e.refused(s, err)
		return
	}
	events := uint32(syscall.EPOLLIN)
	if err == syscall.EINPROGRESS {
		events = syscall.EPOLLOUT
	}
	watch(e.poll, syscall.EPOLL_CTL_ADD, fd, s.index, events)
	if err == nil {
		e.request(s)
	}
}

// connected goes on with a connection that was not made at once.
func (e *eventsource) connected(s *source) {
	wrong, err := syscall.GetsockoptInt(int(s.fd), syscall.SOL_SOCKET, syscall.SO_ERROR)
	if err != nil || wrong != 0 {
		e.refused(s, syscall.Errno(wrong))
		return
	}
	watch(e.poll, syscall.EPOLL_CTL_MOD, int(s.fd), s.index, syscall.EPOLLIN)
	e.request(s)
}

func (e *eventsource) request(s *source) {
	s.state = awaitingHead
	if _, err := syscall.Write(int(s.fd), requestFor(s.group.path, s.id)); err != nil {
		e.refused(s, err)
	}
}

// read takes what a connection has brought, or notices that it ended.
func (e *eventsource) read(s *source) {
	buffer := e.buffer
	if s.group.rate > 0 {
		buffer = buffer[:s.group.portion()]
	}
	count, err := syscall.Read(int(s.fd), buffer)
	switch {
	case err == syscall.EAGAIN || err == syscall.EINTR:
	case err != nil:
		e.lose(s, errnoName(err))
	case count == 0 && s.state == inBody && !s.chunked && s.length < 0:
		e.lose(s, "end")
	case count == 0:
		e.lose(s, "cut")
	default:
		e.take(s, buffer[:count])
		if s.group.rate > 0 && s.state == inBody {
			e.rest(s, now()+portionNS)
		}
	}
}

func (e *eventsource) take(s *source, wire []byte) {
	at := now()
	err := s.feed(wire, at, e)
	switch {
	case err != nil && s.state == inBody:
		e.begin(s, at)
		e.ledger.line(s, 'b', at, err.Error())
		e.lose(s, "malformed")
		return
	case err != nil:
		e.giveUp(s, err)
		return
	}
	if s.state == inBody {
		e.begin(s, at)
	}
	if s.complete() {
		e.lose(s, "end")
	}
}

// begin notes the head of a stream, before anything that came with it.
func (e *eventsource) begin(s *source, at int64) {
	if !s.begun {
		s.begun = true
		e.open++
		e.ledger.line(s, 'h', at, "")
	}
}

// lose ends a connection that the other side ended, and comes back later.
func (e *eventsource) lose(s *source, how string) {
	if s.state != inBody {
		e.refused(s, errors.New(how))
		return
	}
	e.shut(s)
	e.ledger.line(s, 'e', now(), how)
	e.comeBack(s)
}

// refused notes a connection that brought no head, and comes back later: as Chromium does, for ever.
func (e *eventsource) refused(s *source, why error) {
	e.shut(s)
	s.state = closed
	e.ledger.line(s, 'x', now(), errnoName(why))
	e.comeBack(s)
}

func (e *eventsource) giveUp(s *source, why error) {
	e.shut(s)
	s.gaveUp = true
	e.gaveUp++
	e.ledger.line(s, 'f', now(), why.Error())
}

func (e *eventsource) comeBack(s *source) {
	e.timers.add(now()+s.retryMS*1e6, s.index, reconnect)
}

// shut closes the connection, with a reset: TIME_WAIT would use up the ports.
func (e *eventsource) shut(s *source) {
	if s.state == unopened || s.state == closed {
		return
	}
	if s.begun {
		e.open--
	}
	syscall.SetsockoptLinger(int(s.fd), syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1})
	syscall.Close(int(s.fd))
	s.state = closed
}

// rest stops reading until a time, whatever comes.
func (e *eventsource) rest(s *source, until int64) {
	s.paused = true
	watch(e.poll, syscall.EPOLL_CTL_MOD, int(s.fd), s.index, 0)
	e.timers.add(until, s.index, readAgain)
}

func (e *eventsource) readAgain(s *source) {
	if s.paused && s.state == inBody {
		watch(e.poll, syscall.EPOLL_CTL_MOD, int(s.fd), s.index, syscall.EPOLLIN)
	}
	s.paused = false
}

// The sink of the streams: each is one of our sources.

func (e *eventsource) deliver(read *stream, _, _, at int64) {
	s := &e.sources[read.index]
	e.begin(s, at)
	parse := parsePayload
	if s.group.json {
		parse = unwrap
	}
	event, err := parse(s.data)
	if err == nil && s.group.json {
		err = e.times.check(e.ledger, event)
	}
	if err == nil && string(s.name) != string(nameOf(event)) {
		err = fmt.Errorf("event %d is named %q instead of %q", event.number, s.name, event.name)
	}
	epoch, seq, ok := cutPosition(s.id)
	if err == nil && !ok {
		err = fmt.Errorf("event %d has the id %q", event.number, s.id)
	}
	if err != nil {
		e.ledger.line(s, 'b', at, err.Error())
		return
	}
	s.run.add(e.ledger, s.index, epoch, seq, event.number, at)
	e.deliveries++
	if s.lastAt > 0 && at-s.lastAt >= pauseNS {
		s.pauses.add(s.lastAt, at)
	}
	s.lastAt = at
	if at-event.sent > s.delay {
		s.delay, s.delayAt = at-event.sent, event.sent
	}
}

func (e *eventsource) sawPosition(read *stream, at int64) {
	s := &e.sources[read.index]
	e.begin(s, at)
	if epoch, seq, ok := cutPosition(s.id); ok {
		e.ledger.line(s, 'p', at, fmt.Sprintf("%s %d", epoch, seq))
	} else {
		e.ledger.line(s, 'b', at, fmt.Sprintf("a position with the id %q", s.id))
	}
	if !s.placed {
		s.placed = true
		e.placed++
	}
}

func (e *eventsource) sawGap(read *stream, at int64) {
	s := &e.sources[read.index]
	e.begin(s, at)
	if epoch, seq, ok := cutPosition(s.id); ok {
		e.ledger.line(s, 'g', at, fmt.Sprintf("%s %d %s", epoch, seq, s.data))
	} else {
		e.ledger.line(s, 'b', at, fmt.Sprintf("a gap with the id %q", s.id))
	}
}

// nameOf is the event's name as a stream shows it: none where the publisher gave none.
func nameOf(event payload) []byte {
	if string(event.name) == "-" {
		return nil
	}
	return event.name
}

func errnoName(err error) string {
	switch err {
	case syscall.ECONNREFUSED:
		return "refused"
	case syscall.ECONNRESET:
		return "reset"
	}
	return err.Error()
}
