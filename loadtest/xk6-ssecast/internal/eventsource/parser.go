// Package eventsource holds the rules of the HTML standard's EventSource, and knows no network: how a stream is read
// (section 9.2.6), and which answers end an EventSource for good (9.2.2).
package eventsource

import (
	"bytes"
	"errors"
	"math"
	"strconv"
)

// DefaultRetry is how many milliseconds a browser waits before it reconnects while no server has told it (Chromium).
const DefaultRetry = 3000

const (
	maxBlock = 16 << 20 // bytes of one event; a pod has no payloads near that size
	keptSize = 1 << 10  // larger buffers are given back: one large event must not cost its size for as long as the stream lives
)

// ErrTooLarge ends a stream that sends a block without end.
var ErrTooLarge = errors.New("an event of more than 16 MiB")

var byteOrderMark = []byte("\xEF\xBB\xBF")

// Event is one dispatched block. Its slices are the parser's own, and hold until the handler returns.
// Name is empty where the server named none; a Comment comes alone, and only to those who want comments.
type Event struct {
	ID, Name, Data, Comment []byte
}

// Parser reads one stream, however reads cut it. A reconnected stream goes on with the same parser after Restart.
type Parser struct {
	Retry    int64 // milliseconds until a reconnect
	Comments bool  // whether comments are wanted too

	line    []byte // what the last read cut
	id      []byte // of the block that is being read; stays until a block changes it
	lastID  []byte // of the last block that was complete: what a reconnect asks for
	name    []byte
	data    []byte // with a line feed after each line
	comment []byte
	begun   bool
	afterCR bool
}

// NewParser makes a parser for a stream that has had nothing yet. lastID: what it asks for when it first connects.
func NewParser(lastID string) Parser {
	return Parser{Retry: DefaultRetry, id: []byte(lastID), lastID: []byte(lastID)}
}

// LastID is what a reconnect asks for; empty for nothing.
func (p *Parser) LastID() []byte {
	return p.lastID
}

// Restart drops what is incomplete: a new connection begins. A block that was cut off before its end never was.
func (p *Parser) Restart() {
	p.line, p.name, p.data, p.comment = nil, p.name[:0], kept(p.data), nil
	p.id = append(p.id[:0], p.lastID...)
	p.begun, p.afterCR = false, false
}

// Feed takes the bytes of one read, and hands each block that they complete to the handler.
func (p *Parser) Feed(wire []byte, handle func(Event)) error {
	for len(wire) > 0 {
		if p.afterCR {
			p.afterCR = false
			if wire[0] == '\n' {
				wire = wire[1:]
				continue
			}
		}
		end := lineEnd(wire)
		if end < 0 {
			p.line = append(p.line, wire...)
			break
		}
		line := wire[:end]
		if len(p.line) > 0 {
			p.line = append(p.line, line...)
			line = p.line
		}
		p.afterCR = wire[end] == '\r'
		p.take(line, handle)
		p.line = kept(p.line)
		wire = wire[end+1:]
	}
	if len(p.line)+len(p.data) > maxBlock {
		return ErrTooLarge
	}
	return nil
}

// lineEnd is where the first CR or LF stands, -1 where there is none. The standard knows no other line ends.
func lineEnd(wire []byte) int {
	end := bytes.IndexByte(wire, '\n')
	before := wire
	if end >= 0 {
		before = wire[:end]
	}
	if carriage := bytes.IndexByte(before, '\r'); carriage >= 0 {
		return carriage
	}
	return end
}

func (p *Parser) take(line []byte, handle func(Event)) {
	if !p.begun {
		p.begun = true
		line = bytes.TrimPrefix(line, byteOrderMark)
	}
	if len(line) == 0 {
		p.dispatch(handle)
		return
	}
	field, value, _ := bytes.Cut(line, []byte(":"))
	if len(value) > 0 && value[0] == ' ' {
		value = value[1:]
	}
	switch string(field) {
	case "":
		if p.Comments {
			p.comment = append(p.comment, value...)
		}
	case "data":
		p.data = append(append(p.data, value...), '\n')
	case "event":
		p.name = append(p.name[:0], value...)
	case "id":
		if bytes.IndexByte(value, 0) < 0 {
			p.id = append(p.id[:0], value...)
		}
	case "retry":
		p.setRetry(value)
	}
}

// setRetry takes digits only; a number that no clock can hold is as long as one can.
func (p *Parser) setRetry(value []byte) {
	for _, char := range value {
		if char < '0' || char > '9' {
			return
		}
	}
	milliseconds, err := strconv.ParseInt(string(value), 10, 64)
	switch {
	case err == nil:
		p.Retry = min(milliseconds, math.MaxInt64/int64(1e6))
	case errors.Is(err, strconv.ErrRange):
		p.Retry = math.MaxInt64 / int64(1e6)
	}
}

// dispatch ends a block. Its id counts now, also where it has no data.
func (p *Parser) dispatch(handle func(Event)) {
	p.lastID = append(p.lastID[:0], p.id...)
	switch {
	case len(p.data) > 0:
		handle(Event{ID: p.lastID, Name: p.name, Data: p.data[:len(p.data)-1], Comment: p.comment})
	case len(p.comment) > 0:
		handle(Event{ID: p.lastID, Comment: p.comment})
	}
	p.name, p.data, p.comment = p.name[:0], kept(p.data), p.comment[:0]
}

func kept(buffer []byte) []byte {
	if cap(buffer) > keptSize {
		return nil
	}
	return buffer[:0]
}
