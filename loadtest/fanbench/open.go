package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

const (
	connectBatch = 64 // connections made between two looks at the streams
	minRetryMS   = 10

	// perAddress streams share one source address. Linux gives connect() every second port of its range first (14,116 by
	// default), and then searches: measured, 18,000 connections took 6.8 s from one address, the servers' part 0.3 s.
	perAddress          = 8_000
	ipBindAddressNoPort = 24
)

// opening is an `open` command that is under way.
type opening struct {
	active         bool
	end, next      int // indices of the streams that it opens
	inFlight, room int // without a head yet; and how many of those there may be
	heads          histogram
	startedAt      int64
	issuedAt       int64 // when the client had asked for the last connection
	deadline       int64
	path, id       string
	modulo         int64
	receiveBuffer  int
	failed         int64
}

// retry is a stream that is to be opened anew.
type retry struct {
	at    int64
	index int32
}

// startOpening reads `open n= path= id= modulo= inflight= timeout= rcvbuf= reconnect=`.
// A %d in the path becomes the stream's index, modulo `modulo`. inflight=0: all at once.
func (c *client) startOpening(order command) {
	count := int(order.number("n", 1))
	if len(c.streams)+count > maxStreams {
		say(map[string]string{"type": "error", "error": fmt.Sprintf("more than %d streams", maxStreams)})
		return
	}
	if c.streams == nil {
		c.streams = make([]stream, 0, maxStreams) // they never move: a growing slice would copy them in a measurement
	}
	begin := len(c.streams)
	c.streams = c.streams[:begin+count]
	for i := begin; i < begin+count; i++ {
		c.streams[i] = stream{index: int32(i)}
	}
	room := int(order.number("inflight", 256))
	if room == 0 {
		room = count
	}
	c.reconnect = order.number("reconnect", 0) == 1
	c.opening = opening{
		active: true, next: begin, end: begin + count, room: room, startedAt: now(),
		deadline: now() + order.number("timeout", 60)*1e9, path: order.text("path", "/events"), id: order.text("id", ""),
		modulo: order.number("modulo", 0), receiveBuffer: int(order.number("rcvbuf", 0)),
	}
}

func (c *client) canConnect() bool {
	return c.opening.active && c.opening.next < c.opening.end && c.opening.inFlight < c.opening.room
}

func (c *client) connectSome() {
	o := &c.opening
	for range connectBatch {
		if !c.canConnect() {
			break
		}
		s := &c.streams[o.next]
		o.next++
		o.inFlight++
		c.connect(s, o.id)
		o.issuedAt = now()
	}
	if o.active && (o.next == o.end && o.inFlight == 0 || now() > o.deadline) {
		c.reportOpening()
	}
}

func (c *client) connect(s *stream, id string) {
	*s = stream{index: s.index, tracker: s.tracker, startedAt: now(), id: append(s.id[:0], id...), retryMS: s.retryMS}
	s.tracker.startAfter(c.phase.first - 1)
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		c.fails(s, err)
		s.state = closed
		return
	}
	s.fd, s.state = int32(fd), connecting
	syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	if c.opening.receiveBuffer > 0 {
		syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF, c.opening.receiveBuffer)
	}
	err = connectFrom(fd, s.index, loopback(c.port))
	if err != nil && err != syscall.EINPROGRESS {
		c.lose(s, err)
		return
	}
	events := uint32(syscall.EPOLLIN)
	if err == syscall.EINPROGRESS {
		events = syscall.EPOLLOUT
	}
	watch(c.poll, syscall.EPOLL_CTL_ADD, fd, s.index, events)
	if err == nil {
		c.request(s)
	}
}

// connectFrom connects a stream's socket; on loopback from the source address that it shares with some others.
func connectFrom(fd int, index int32, server *syscall.SockaddrInet4) error {
	if server.Addr[0] != 127 {
		return syscall.Connect(fd, server)
	}
	// The port is chosen by connect(), which may share it with other destinations; bind() alone would reserve it.
	syscall.SetsockoptInt(fd, syscall.IPPROTO_IP, ipBindAddressNoPort, 1)
	from := &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, byte(1 + index/perAddress)}}
	if err := syscall.Bind(fd, from); err != nil {
		return err
	}
	return syscall.Connect(fd, server)
}

// connected goes on with a connection that was not made at once.
func (c *client) connected(s *stream) {
	wrong, err := syscall.GetsockoptInt(int(s.fd), syscall.SOL_SOCKET, syscall.SO_ERROR)
	if err != nil || wrong != 0 {
		c.lose(s, syscall.Errno(wrong))
		return
	}
	watch(c.poll, syscall.EPOLL_CTL_MOD, int(s.fd), s.index, syscall.EPOLLIN)
	c.request(s)
}

func (c *client) request(s *stream) {
	path := c.opening.path
	if c.opening.modulo > 0 {
		path = strings.Replace(path, "%d", fmt.Sprint(int64(s.index)%c.opening.modulo), 1)
	}
	s.state = awaitingHead
	if _, err := syscall.Write(int(s.fd), requestFor(path, s.id)); err != nil {
		c.lose(s, err)
	}
}

// requestFor is how an EventSource asks for a stream, and after a while for what comes after the last id.
func requestFor(path string, id []byte) []byte {
	text := "GET " + path + " HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n"
	if len(id) > 0 {
		text += "Last-Event-ID: " + string(id) + "\r\n"
	}
	return []byte(text + "\r\n")
}

// opened counts a stream whose head is complete.
func (c *client) opened(s *stream, at int64) {
	c.open++
	if c.opening.active {
		c.opening.inFlight--
		c.opening.heads.add(at - s.startedAt)
	}
}

func (c *client) fails(s *stream, reason error) {
	if c.opening.active {
		c.opening.inFlight--
	}
	if !s.failed {
		fmt.Fprintf(os.Stderr, "fanbench client: stream %d failed in state %d after %.0f ms: %v\n", s.index, s.state, ms(now()-s.startedAt), reason)
	}
	s.failed = true
	c.failed++
	c.opening.failed++
}

type openReport struct {
	Type    string  `json:"type"`
	Open    int     `json:"open"`
	Failed  int64   `json:"failed"`
	Elapsed float64 `json:"elapsed_ms"`
	Issued  float64 `json:"issued_ms"` // of that, until the client had asked for the last connection
	P50     float64 `json:"p50_ms"`
	P99     float64 `json:"p99_ms"`
	Max     float64 `json:"max_ms"`
}

func (c *client) reportOpening() {
	o := &c.opening
	o.active = false
	say(openReport{"opened", c.open, o.failed, ms(now() - o.startedAt), ms(o.issuedAt - o.startedAt), ms(o.heads.quantile(0.5)),
		ms(o.heads.quantile(0.99)), ms(o.heads.max)})
}

func (c *client) retryLater(s *stream) {
	c.retries = append(c.retries, retry{now() + max(s.retryMS, minRetryMS)*1e6, s.index})
}

// reopenDue opens what has waited long enough, with the last id that it had.
func (c *client) reopenDue() {
	if len(c.retries) == 0 {
		return
	}
	at, waiting := now(), c.retries[:0]
	var due []int32
	for _, each := range c.retries {
		if each.at <= at && len(due) < connectBatch {
			due = append(due, each.index)
		} else {
			waiting = append(waiting, each)
		}
	}
	c.retries = waiting
	for _, index := range due {
		c.reconnects++
		s := &c.streams[index]
		kept := s.tracker
		if c.opening.active {
			c.opening.inFlight++
		}
		c.connect(s, string(s.id))
		s.tracker = kept // what it has had before still counts
	}
}
