package ssecast

import (
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"sync"
	"time"

	"ssecast.dev/xk6-ssecast/internal/eventsource"
	"ssecast.dev/xk6-ssecast/internal/tally"
)

const (
	readBytes   = 2 << 10 // each stream's own for as long as it lives, so small
	portionTime = 100 * time.Millisecond
	atOnceLeast = 10 * time.Millisecond // a server that says `retry: 0` and refuses must not be asked a million times a second
)

// stream is one EventSource. It outlives its connections: back `retry` milliseconds after a stream ended, broke or was
// refused, with the last id that it was given; anything but 200 and text/event-stream ends it for good.
type stream struct {
	fleet   *fleet
	ordinal int64
	url     *url.URL

	mutex   sync.Mutex // guards all below: the fleet looks at a stream while it lives
	parser  eventsource.Parser
	track   tally.Track
	conn    net.Conn
	openAt  int64 // microseconds; when this connection's head came
	gone    bool  // it gave up
	storm   *storm
	away    time.Duration // how long it stays away next time, where that is not up to the server
	stalled time.Time     // it reads nothing until then
	handle  func(eventsource.Event)
}

func newStream(f *fleet, ordinal int64, address *url.URL) *stream {
	s := &stream{fleet: f, ordinal: ordinal, url: address, parser: eventsource.NewParser("")}
	s.track.Expect(f.sequences(address)...)
	s.handle = s.take
	return s
}

// live holds the stream open until the context ends, or the server ends it for good.
func (s *stream) live(ctx context.Context, begin time.Duration) {
	if !pause(ctx, begin) {
		return
	}
	for again := false; ctx.Err() == nil; again = true {
		if again {
			s.fleet.counts.reconnects.Add(1)
		}
		err := s.connection(ctx)
		var fatal *eventsource.Fatal
		if errors.As(err, &fatal) {
			s.giveUp(fatal)
			return
		}
		if !pause(ctx, s.patience()) {
			return
		}
	}
}

// connection is one of them, from its beginning to its end. Only a *eventsource.Fatal matters to the caller.
func (s *stream) connection(ctx context.Context) error {
	began := time.Now()
	ask := streamAsk{url: s.url, headers: s.fleet.headers, lastID: s.lastID()}
	got, err := s.fleet.dialer.openStream(ctx, ask, s.ordinal, func(conn net.Conn) { s.hold(ctx, conn) })
	defer s.drop()
	if err != nil {
		if ctx.Err() == nil {
			s.fleet.counts.refused.Add(1)
			s.fleet.complain(err)
		}
		return err
	}
	now := time.Now()
	s.fleet.begun(now.Sub(began))
	defer s.fleet.counts.open.Add(-1)
	s.mutex.Lock()
	s.parser.Restart()
	s.openAt = now.UnixMicro()
	s.mutex.Unlock()
	err = s.read(ctx, got.body)
	s.mutex.Lock()
	turnedAway := !s.track.Placed()
	s.mutex.Unlock()
	if turnedAway && ctx.Err() == nil {
		s.fleet.counts.turnedAway.Add(1)
	}
	return err
}

// read takes what comes until the stream ends. A slow one takes a little at a time, a stalled one nothing.
func (s *stream) read(ctx context.Context, body io.Reader) error {
	buffer := make([]byte, readBytes)
	if rate := s.fleet.options.slow; rate > 0 {
		buffer = buffer[:min(max(int(rate*portionTime.Seconds()), 1), readBytes)]
	}
	for {
		count, err := body.Read(buffer)
		if wrong := s.feed(buffer[:count]); wrong != nil {
			s.fleet.counts.malformed.Add(1)
			return wrong
		}
		if err != nil {
			return err
		}
		if !pause(ctx, s.rest(count)) {
			return ctx.Err()
		}
	}
}

func (s *stream) feed(wire []byte) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.parser.Feed(wire, s.handle)
}

// rest is how long it reads nothing after so many bytes.
func (s *stream) rest(count int) time.Duration {
	var slow time.Duration
	if rate := s.fleet.options.slow; rate > 0 {
		slow = time.Duration(float64(count) / rate * float64(time.Second))
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.stalled.IsZero() {
		return slow
	}
	return max(slow, time.Until(s.stalled))
}

// take is the handler of blocks; the stream's lock is held.
func (s *stream) take(event eventsource.Event) {
	switch string(event.Name) {
	case "position":
		s.placed(event.ID)
	case "gap":
		s.fleet.counts.gaps.Add(1)
		if at, ok := s.fleet.position(event.ID); ok {
			s.track.Restart(at)
		}
	default:
		s.deliver(event)
	}
}

func (s *stream) placed(id []byte) {
	at, ok := s.fleet.position(id)
	if !ok {
		s.fleet.counts.malformed.Add(1)
		return
	}
	if s.track.Placed() {
		s.fleet.lost(s.track.Promise(s.fleet.book, at))
	}
	s.track.Place(at)
	if s.storm != nil {
		s.storm.back()
		s.storm = nil
	}
}

func (s *stream) deliver(event eventsource.Event) {
	counts := &s.fleet.counts
	counts.events.Add(1)
	payload, ok := tally.Parse(event.Data)
	if !ok || !s.fleet.isOurs(payload.Run) {
		counts.foreign.Add(1)
		return
	}
	if payload.Sent < s.openAt {
		counts.replayed.Add(1) // the time that it was away says nothing of how fast events are delivered
	} else {
		s.fleet.delays.Add(time.Now().UnixMicro() - payload.Sent)
	}
	name, number := s.fleet.sequence(payload)
	if number == 0 {
		return
	}
	seen := s.track.See(s.fleet.book, name, number)
	s.fleet.lost(seen.Lost)
	if seen.Duplicate {
		counts.duplicates.Add(1)
	}
	if seen.OutOfOrder {
		counts.outOfOrder.Add(1)
	}
}

func (s *stream) giveUp(why error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.gone = true
	if s.storm != nil {
		s.storm.back()
		s.storm = nil
	}
	s.fleet.counts.gaveUp.Add(1)
}

// patience is how long it stays away now.
func (s *stream) patience() time.Duration {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	wait := max(time.Duration(s.parser.Retry)*time.Millisecond, atOnceLeast, s.away)
	s.away = 0
	return wait
}

func (s *stream) lastID() []byte {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return append([]byte(nil), s.parser.LastID()...)
}

func (s *stream) hold(ctx context.Context, conn net.Conn) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.conn = conn
	if ctx.Err() != nil { // the fleet closed what there was just before
		conn.Close()
	}
}

func (s *stream) drop() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.conn != nil {
		s.conn.Close()
		s.conn, s.openAt = nil, 0
	}
}

// cut resets the connection of an open stream, as a network that fails does; false where there is none.
// away: how long it stays away at least. of: the storm that it belongs to, if any.
func (s *stream) cut(away time.Duration, of *storm) bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.openAt == 0 || s.conn == nil || !s.track.Placed() || s.storm != nil || time.Now().Before(s.stalled) {
		return false
	}
	s.away, s.storm = away, of
	if of != nil {
		of.waiting.Add(1)
	}
	s.conn.Close()
	return true
}

// stall makes an open stream read nothing for a while; false where it is not open, or does so already.
func (s *stream) stall(until time.Time) bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.openAt == 0 || time.Now().Before(s.stalled) {
		return false
	}
	s.stalled = until
	return true
}

// settled tells whether nothing more is to be waited for: it is open and has all, or gave up.
func (s *stream) settled() bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.gone || s.openAt > 0 && s.track.Placed() && !s.track.Behind(s.fleet.book)
}

// pause waits; false where the context ended meanwhile.
func pause(ctx context.Context, duration time.Duration) bool {
	if duration <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
