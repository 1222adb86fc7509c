package main

import (
	"bytes"
	"fmt"
)

type streamState uint8

const (
	unopened streamState = iota
	connecting
	awaitingHead
	inBody
	closed
)

type eventKind uint8

const (
	message  eventKind = iota // no name, or a name of the publisher's
	position                  // only moves the id
	gap                       // says that events are missing
)

const maxHead = 16 << 10

// stream is one connection of the client: what of its head, chunks, lines and events the reads have brought so far.
type stream struct {
	fd        int32
	index     int32
	state     streamState
	chunked   bool
	stalled   bool
	failed    bool // its head was not that of an event stream
	kind      eventKind
	hasData   bool
	chunks    chunks
	startedAt int64 // when it was connected, ns
	retryMS   int64
	event     int64 // number of the event that is being read
	sentAt    int64 // when the publisher stamped it, ns
	tracker   tracker
	carry     []byte // of a head or line that the last read cut
	id        []byte
}

// sink takes what streams read.
type sink interface {
	deliver(s *stream, event, sentAt, at int64)
	sawGap(s *stream)
}

// feed takes the bytes of one read, made at a time. It returns an error where they are no event stream.
func (s *stream) feed(wire []byte, at int64, to sink) error {
	if s.state == awaitingHead {
		rest, err := s.head(wire)
		if err != nil || s.state == awaitingHead {
			return err
		}
		wire = rest
	}
	if !s.chunked {
		s.lines(wire, at, to)
		return nil
	}
	for len(wire) > 0 {
		data, rest, err := s.chunks.next(wire)
		if err != nil {
			return err
		}
		s.lines(data, at, to)
		wire = rest
	}
	return nil
}

// head collects the response's head; it returns the bytes that follow it.
func (s *stream) head(wire []byte) ([]byte, error) {
	s.carry = append(s.carry, wire...)
	end := bytes.Index(s.carry, []byte("\r\n\r\n"))
	if end < 0 {
		if len(s.carry) > maxHead {
			return nil, fmt.Errorf("a head of more than %d bytes", maxHead)
		}
		return nil, nil
	}
	head := bytes.ToLower(s.carry[:end])
	rest := wire[len(wire)-(len(s.carry)-end-4):]
	s.carry = nil
	status, fields, _ := bytes.Cut(head, []byte("\r\n"))
	if !bytes.Contains(status, []byte(" 200")) || !bytes.Contains(fields, []byte("text/event-stream")) {
		return nil, fmt.Errorf("no event stream: %s", status)
	}
	s.chunked = bytes.Contains(fields, []byte("transfer-encoding: chunked"))
	s.state = inBody
	return rest, nil
}

// lines cuts the data at line feeds; a line end of CR alone, which the standard allows, no peer sends.
func (s *stream) lines(data []byte, at int64, to sink) {
	for len(data) > 0 {
		end := bytes.IndexByte(data, '\n')
		if end < 0 {
			s.carry = append(s.carry, data...)
			return
		}
		line := data[:end]
		data = data[end+1:]
		if len(s.carry) > 0 {
			s.carry = append(s.carry, line...)
			line = s.carry
			s.carry = s.carry[:0]
		}
		if len(line) > 0 && line[len(line)-1] == '\r' {
			line = line[:len(line)-1]
		}
		if len(line) == 0 {
			s.dispatch(at, to)
		} else {
			s.field(line)
		}
	}
}

func (s *stream) field(line []byte) {
	name, value, found := bytes.Cut(line, []byte(":"))
	if !found {
		return
	}
	if len(value) > 0 && value[0] == ' ' {
		value = value[1:]
	}
	switch string(name) {
	case "data":
		if !s.hasData {
			s.hasData = true
			var rest []byte
			s.event, rest = leadingNumber(value)
			s.sentAt, _ = leadingNumber(rest)
		}
	case "id":
		s.id = append(s.id[:0], value...)
	case "event":
		s.kind = kindOf(value)
	case "retry":
		s.retryMS, _ = leadingNumber(value)
	}
}

func kindOf(name []byte) eventKind {
	switch string(name) {
	case "position":
		return position
	case "gap":
		return gap
	}
	return message
}

func (s *stream) dispatch(at int64, to sink) {
	if s.kind == gap {
		to.sawGap(s)
	} else if s.kind == message && s.hasData {
		to.deliver(s, s.event, s.sentAt, at)
	}
	s.kind, s.hasData = message, false
}

// leadingNumber reads digits, and passes over one space after them; -1 where there are none.
func leadingNumber(text []byte) (int64, []byte) {
	var number int64
	i := 0
	for ; i < len(text) && text[i] >= '0' && text[i] <= '9'; i++ {
		number = number*10 + int64(text[i]-'0')
	}
	if i == 0 {
		return -1, text
	}
	if i < len(text) && text[i] == ' ' {
		return number, text[i+1:]
	}
	return number, text[i:]
}
