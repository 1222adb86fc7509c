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
	length    int64 // what is left of a body whose length the head told, else -1
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
	id        []byte // of the last block that was complete: what a reconnect asks for
	nextID    []byte // of the block that is being read
	hasID     bool
	keeps     bool   // whether name and data are wanted whole, and not only the numbers that the data begins with
	name      []byte // what it keeps, of the block that is being read
	data      []byte
}

// sink takes what streams read.
type sink interface {
	deliver(s *stream, event, sentAt, at int64)
	sawPosition(s *stream, at int64)
	sawGap(s *stream, at int64)
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
		if s.length >= 0 {
			wire = wire[:min(int64(len(wire)), s.length)]
			s.length -= int64(len(wire))
		}
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
	status, _, _ := bytes.Cut(head, []byte("\r\n"))
	fields := head[len(status):]
	if !bytes.Contains(status, []byte(" 200")) || !bytes.Contains(fields, []byte("text/event-stream")) {
		return nil, fmt.Errorf("no event stream: %s", status)
	}
	s.chunked = bytes.Contains(fields, []byte("transfer-encoding: chunked"))
	s.length = -1
	if _, length, found := bytes.Cut(fields, []byte("\r\ncontent-length: ")); found && !s.chunked {
		s.length, _ = leadingNumber(length)
	}
	s.state = inBody
	return rest, nil
}

// complete tells whether the body has come to its end; one of unknown length does with its connection.
func (s *stream) complete() bool {
	return s.state == inBody && (s.chunked && s.chunks.state == atEnd || !s.chunked && s.length == 0)
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
		s.takeData(value)
	case "id":
		s.nextID, s.hasID = append(s.nextID[:0], value...), true
	case "event":
		s.kind = kindOf(value)
		if s.keeps {
			s.name = append(s.name[:0], value...)
		}
	case "retry":
		if milliseconds, rest := leadingNumber(value); milliseconds >= 0 && len(rest) == 0 {
			s.retryMS = milliseconds
		}
	}
}

func (s *stream) takeData(value []byte) {
	if s.keeps {
		if s.hasData {
			s.data = append(s.data, '\n')
		}
		s.data = append(s.data, value...)
	}
	if !s.hasData {
		s.hasData = true
		var rest []byte
		s.event, rest = leadingNumber(value)
		s.sentAt, _ = leadingNumber(rest)
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

// dispatch ends a block. Only now its id counts: one that was cut off before its data is to be sent again.
func (s *stream) dispatch(at int64, to sink) {
	if s.hasID {
		s.id, s.nextID = s.nextID, s.id
	}
	switch {
	case s.kind == gap:
		to.sawGap(s, at)
	case s.kind == position:
		to.sawPosition(s, at)
	case s.hasData:
		to.deliver(s, s.event, s.sentAt, at)
	}
	s.kind, s.hasData, s.hasID = message, false, false
	s.name, s.data = s.name[:0], s.data[:0]
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
