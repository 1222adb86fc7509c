package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"os"
	"strconv"
	"time"
)

// ledger writes down what the sources saw, one line for each thing that happened to one of them:
//
//	G name first count path              a group: the sources first .. first+count-1 ask for this
//	i c time port id                     source i connects, and asks for what comes after id ("-": for nothing)
//	i x time error                       its connection was refused, or broke before there was a head
//	i h time                             the head of an event stream
//	i p time epoch seq                   a position block
//	i r first last epoch seq number step stride count
//	                                     a run of events: count of them between two times, the first at seq with the
//	                                     publisher's number, each next one step and stride further
//	i g time epoch seq json              a gap block: from where the stream goes on, and its data
//	i b time what                        something that no source should ever see
//	i e time how                         the connection ended
//	i f time status                      it gave up for good
//	i q until since                      at the end: one of the longest pauses between two events
//	i s delay at                         at the end: the longest way of an event, and when it was sent
//	T number time                        when an event was stored, as the first source with format=json was told:
//	                                     microseconds of Unix time
//
// Times are milliseconds of CLOCK_MONOTONIC.
type ledger struct {
	file *os.File
	out  *bufio.Writer
}

func newLedger(path string) (*ledger, error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	return &ledger{file, bufio.NewWriterSize(file, 1<<20)}, nil
}

func (l *ledger) group(name string, first, count int, path string) {
	fmt.Fprintf(l.out, "G %s %d %d %s\n", name, first, count, path)
}

// line writes one thing that happened to a source, after the run of events that came before it.
func (l *ledger) line(s *source, kind byte, at int64, rest string) {
	s.run.end(l, s.index)
	fmt.Fprintf(l.out, "%d %c %d", s.index, kind, at/1e6)
	if rest != "" {
		l.out.WriteByte(' ')
		l.out.WriteString(rest)
	}
	l.out.WriteByte('\n')
}

func (l *ledger) summary(s *source) {
	s.run.end(l, s.index)
	for _, each := range s.pauses {
		fmt.Fprintf(l.out, "%d q %d %d\n", s.index, each.until/1e6, each.since/1e6)
	}
	fmt.Fprintf(l.out, "%d s %d %d\n", s.index, s.delay/1e6, s.delayAt/1e6)
}

func (l *ledger) close() error {
	if err := l.out.Flush(); err != nil {
		return err
	}
	return l.file.Close()
}

// run is a row of events whose seqs rise by one step, and their numbers by one stride.
type run struct {
	epoch                    []byte
	first, last              int64 // times
	seq, number              int64 // of the first event
	lastSeq, lastNumber      int64
	step, stride, deliveries int64
}

func (r *run) add(l *ledger, index int32, epoch []byte, seq, number, at int64) {
	step, stride := seq-r.lastSeq, number-r.lastNumber
	fits := r.deliveries > 0 && bytes.Equal(r.epoch, epoch) && (r.deliveries == 1 || step == r.step && stride == r.stride)
	if !fits {
		r.end(l, index)
		r.epoch, r.first, r.seq, r.number = append(r.epoch[:0], epoch...), at, seq, number
		step, stride = 0, 0
	}
	r.last, r.lastSeq, r.lastNumber, r.step, r.stride = at, seq, number, step, stride
	r.deliveries++
}

func (r *run) end(l *ledger, index int32) {
	if r.deliveries == 0 {
		return
	}
	line := l.out.AvailableBuffer()
	line = strconv.AppendInt(line, int64(index), 10)
	line = append(line, " r"...)
	for _, at := range []int64{r.first, r.last} {
		line = strconv.AppendInt(append(line, ' '), at/1e6, 10)
	}
	line = append(append(line, ' '), r.epoch...)
	for _, number := range []int64{r.seq, r.number, r.step, r.stride, r.deliveries} {
		line = strconv.AppendInt(append(line, ' '), number, 10)
	}
	l.out.Write(append(line, '\n'))
	r.deliveries = 0
}

// payload is what the publisher of a chaos test sends: `number sent subject name padding crc`, where crc is the IEEE
// checksum, in eight digits, of all that stands before the space in front of it.
type payload struct {
	number, sent  int64
	subject, name []byte
	stored        int64 // microseconds of Unix time, in the JSON form only
}

func parsePayload(data []byte) (payload, error) {
	body, sum := data[:max(len(data)-9, 0)], data[max(len(data)-8, 0):]
	given, err := strconv.ParseUint(string(sum), 16, 32)
	if err != nil || len(data) < 9 || crc32.ChecksumIEEE(body) != uint32(given) {
		return payload{}, fmt.Errorf("a payload of %d bytes with a wrong checksum", len(data))
	}
	var out payload
	out.number, body = leadingNumber(body)
	out.sent, body = leadingNumber(body)
	out.subject, body, _ = bytes.Cut(body, []byte(" "))
	out.name, _, _ = bytes.Cut(body, []byte(" "))
	return out, nil
}

// wrapped is the data of a stream with format=json.
type wrapped struct {
	Subject string `json:"subject"`
	Time    string `json:"time"`
	Data    string `json:"data"`
}

// unwrap returns the payload in the JSON form of an event, whose own subject must be the payload's.
func unwrap(data []byte) (payload, error) {
	var outer wrapped
	if err := json.Unmarshal(data, &outer); err != nil {
		return payload{}, err
	}
	inner, err := parsePayload([]byte(outer.Data))
	if err != nil {
		return inner, err
	}
	stored, err := time.Parse(time.RFC3339Nano, outer.Time)
	if err != nil || string(inner.subject) != outer.Subject {
		return inner, fmt.Errorf("the JSON form of %s says subject %q and time %q", inner.subject, outer.Subject, outer.Time)
	}
	inner.stored = stored.UnixMicro()
	return inner, nil
}

// times knows when each event was stored: all sources must be told the same, whatever pod and however late.
type times map[int64]int64

func (t times) check(l *ledger, event payload) error {
	known, found := t[event.number]
	if !found {
		t[event.number] = event.stored
		fmt.Fprintf(l.out, "T %d %d\n", event.number, event.stored)
	} else if known != event.stored {
		return fmt.Errorf("event %d says that it was stored at %d, and said %d before", event.number, event.stored, known)
	}
	return nil
}

// cutPosition reads an id as `epoch-seq`.
func cutPosition(id []byte) (epoch []byte, seq int64, ok bool) {
	at := bytes.LastIndexByte(id, '-')
	if at < 1 {
		return nil, 0, false
	}
	seq, rest := leadingNumber(id[at+1:])
	return id[:at], seq, seq >= 0 && len(rest) == 0
}
