// Package tally counts what streams had of what was published: lost, duplicated, out of order, and how late. It knows no
// network, no clock, and nothing of k6.
package tally

import (
	"bytes"
	"strconv"
)

// Payload is what the publisher of a run sends: `RUN NUMBER OWN MICROSECONDS SUBJECT FILLER`. Number counts all of its
// events from 1, Own those of their subject; Sent is when it was first handed over, in microseconds of Unix time.
type Payload struct {
	Run, Subject      []byte
	Number, Own, Sent int64
}

// Append writes the payload, filled up to a size.
func (p Payload) Append(out []byte, size int) []byte {
	begin := len(out)
	out = append(append(out, p.Run...), ' ')
	for _, number := range []int64{p.Number, p.Own, p.Sent} {
		out = append(strconv.AppendInt(out, number, 10), ' ')
	}
	out = append(append(out, p.Subject...), ' ')
	return append(out, bytes.Repeat([]byte{'.'}, max(size-(len(out)-begin), 0))...)
}

// Parse reads a payload; false where it is none of such a publisher's.
func Parse(data []byte) (Payload, bool) {
	var p Payload
	words := data
	if p.Run, words = word(words); len(p.Run) == 0 {
		return p, false
	}
	for _, number := range []*int64{&p.Number, &p.Own, &p.Sent} {
		var digits []byte
		digits, words = word(words)
		value, ok := natural(digits)
		if !ok {
			return p, false
		}
		*number = value
	}
	p.Subject, _ = word(words)
	return p, len(p.Subject) > 0
}

func word(text []byte) (first, rest []byte) {
	first, rest, _ = bytes.Cut(text, []byte(" "))
	return first, rest
}

// natural reads digits without the copy that strconv would make of them for each event.
func natural(digits []byte) (int64, bool) {
	if len(digits) == 0 || len(digits) > 18 {
		return 0, false
	}
	var value int64
	for _, char := range digits {
		if char < '0' || char > '9' {
			return 0, false
		}
		value = value*10 + int64(char-'0')
	}
	return value, true
}

// Position is where a stream stands: `epoch-seq`.
type Position struct {
	Epoch string
	Seq   int64
}

// ParsePosition reads an event's id; false where it is none.
func ParsePosition(id []byte) (Position, bool) {
	dash := bytes.LastIndexByte(id, '-')
	if dash < 1 {
		return Position{}, false
	}
	seq, ok := natural(id[dash+1:])
	return Position{string(id[:dash]), seq}, ok
}
