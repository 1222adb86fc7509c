package ssecast

import (
	"cmp"
	"context"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/grafana/sobek"
	"github.com/sirupsen/logrus"
	"go.k6.io/k6/lib"

	"ssecast.dev/xk6-ssecast/internal/tally"
)

const (
	streamsMost   = 1_000_000
	subjectsMost  = 1_000_000
	complaints    = 5 // different ones that are logged
	settleLook    = 100 * time.Millisecond
	everySecond   = time.Second
	secondsMinute = 60
)

// countings are the ways in which a fleet counts: by the numbers of all events, by those of each subject, or not at all.
var countings = []string{"all", "subject", "none"}

// fleetOptions are what a script asks for; README.md says what each means.
type fleetOptions struct {
	url, run, count        string
	streams, subjects      int
	ramp, duration, settle time.Duration
	slow                   float64 // bytes per second; 0: as they come
	churn                  float64 // share of the streams that is cut within a minute
	away                   time.Duration
	storms                 []stormOptions
	stalls                 stallOptions
	receiveBuffer          int
	headers                http.Header
}

type stormOptions struct {
	at    time.Duration
	share float64
}

type stallOptions struct {
	share float64 // of the streams that begins to stall within a minute
	lasts time.Duration
}

func (i *instance) fleetOptions(p *params, tags *gauger) fleetOptions {
	o := fleetOptions{
		url:           p.text("url", ""),
		run:           p.text("run", "k6"),
		count:         p.oneOf("count", countings...),
		streams:       int(p.number("streams", 1, 1, streamsMost)),
		subjects:      int(p.number("subjects", 1, 1, subjectsMost)),
		ramp:          p.seconds("ramp", 0),
		duration:      p.seconds("duration", 10*time.Second),
		settle:        p.seconds("settle", 30*time.Second),
		slow:          p.number("slow", 0, 0, 1e9),
		churn:         p.number("churn", 0, 0, 60),
		away:          p.seconds("away", 0),
		receiveBuffer: int(p.number("receiveBuffer", 0, 0, 1<<30)),
		headers:       p.headers("headers"),
	}
	p.each("storms", func(each *params) {
		o.storms = append(o.storms, stormOptions{each.seconds("at", 0), each.number("share", 1, 0, 1)})
	})
	slices.SortFunc(o.storms, func(one, other stormOptions) int { return cmp.Compare(one.at, other.at) })
	o.stalls = stallOptions{p.number("stalls", 0, 0, 60), p.seconds("stallFor", 5*time.Second)}
	p.tags("tags", &tags.tags)
	if _, err := parseAddress(addressOf(o.url, 0)); err != nil {
		p.fail("url: %w", err)
	}
	return o
}

// addressOf a stream: `{i}` is its number, so that each can ask for a subject of its own.
func addressOf(pattern string, number int) string {
	return strings.ReplaceAll(pattern, "{i}", strconv.Itoa(number))
}

// counts are added to by all streams at once.
type counts struct {
	open, opened, refused, turnedAway, gaveUp, neverBegun, absent atomic.Int64
	events, replayed, lost, duplicates, outOfOrder                atomic.Int64
	foreign, malformed, gaps, reconnects                          atomic.Int64
}

// fleet holds its streams open, and does to them what the options say.
type fleet struct {
	options fleetOptions
	book    *tally.Ledger
	dialer  *dialer
	headers http.Header
	report  *report
	logger  logrus.FieldLogger
	streams []*stream
	counts  counts
	delays  tally.Delays

	mutex      sync.Mutex
	firstBytes []time.Duration // since the last report
	stormTimes []time.Duration // likewise
	said       map[string]bool
	epoch      string // all positions share one: it is kept once
}

// fleet is `sse.fleet(options)`: it holds the VU for as long as the streams live, and returns what they counted.
func (i *instance) fleet(from sobek.Value) (map[string]any, error) {
	state := i.vu.State()
	if state == nil {
		return nil, errInit
	}
	tags := newGauger(state)
	p := readParams(i.vu.Runtime(), "fleet", from)
	options := i.fleetOptions(p, tags)
	if err := p.done(); err != nil {
		return nil, err
	}
	return newFleet(i, state, options, tags).run(i.vu.Context()), nil
}

func newFleet(i *instance, state *lib.State, options fleetOptions, tags *gauger) *fleet {
	f := &fleet{
		options: options, book: i.ledger(options.run), dialer: newDialer(state), headers: options.headers,
		logger: state.Logger, said: map[string]bool{},
	}
	f.dialer.receiveBuffer = options.receiveBuffer
	f.report = newReport(f, i.meters, state.BuiltinMetrics, tags)
	addresses := make([]*url.URL, options.subjects)
	for n := range addresses {
		addresses[n], _ = parseAddress(addressOf(options.url, n)) // as readable as that of the first, which was looked at
	}
	first := i.ordinals.Add(int64(options.streams)) - int64(options.streams)
	for n := range options.streams {
		f.streams = append(f.streams, newStream(f, first+int64(n), addresses[n%len(addresses)]))
	}
	return f
}

func (f *fleet) run(ctx context.Context) map[string]any {
	living, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	f.report.second()
	for n, each := range f.streams {
		begin := time.Duration(float64(f.options.ramp) * float64(n) / float64(len(f.streams)))
		all.Go(func() { each.live(living, begin) })
	}
	f.hold(ctx)
	f.settle(ctx)
	f.reckon()
	f.report.second() // while the streams are still open: how many there are in the end is a figure of its own
	cancel()
	for _, each := range f.streams {
		each.drop()
	}
	all.Wait()
	return f.report.totals()
}

// hold keeps the streams for the time that was asked for, or until the server has ended the last of them for good.
func (f *fleet) hold(ctx context.Context) {
	began, churned, stalled, storms := time.Now(), 0.0, 0.0, f.options.storms
	ticker, end := time.NewTicker(everySecond), time.NewTimer(f.options.duration)
	defer ticker.Stop()
	defer end.Stop()
	for f.counts.gaveUp.Load() < int64(len(f.streams)) {
		select {
		case <-ctx.Done():
			return
		case <-end.C:
			return
		case <-ticker.C:
		}
		f.report.second()
		for len(storms) > 0 && time.Since(began) >= storms[0].at {
			f.stormOver(storms[0].share)
			storms = storms[1:]
		}
		churned = f.some(churned, f.options.churn, func(each *stream) bool { return each.cut(f.options.away, nil) })
		until := time.Now().Add(f.options.stalls.lasts)
		stalled = f.some(stalled, f.options.stalls.share, func(each *stream) bool { return each.stall(until) })
	}
}

// some does something to streams at random, so many in a second that within a minute it is a share of them. owed: parts of
// a stream that are left over, from the second before and for the next one.
func (f *fleet) some(owed, share float64, do func(*stream) bool) float64 {
	owed += share * float64(len(f.streams)) / secondsMinute
	for tries := int(owed) * 4; owed >= 1 && tries > 0; tries-- {
		if do(f.streams[rand.IntN(len(f.streams))]) {
			owed--
		}
	}
	return min(owed, float64(len(f.streams)))
}

// storm is a moment in which many streams end at once. It is over when the last of them has a position again.
type storm struct {
	began   time.Time
	waiting atomic.Int64
	over    func(time.Duration)
}

func (s *storm) back() {
	if s.waiting.Add(-1) == 0 {
		s.over(time.Since(s.began))
	}
}

func (f *fleet) stormOver(share float64) {
	made := &storm{began: time.Now(), over: f.noteStorm}
	made.waiting.Add(1) // ours, so that it is not over before it has begun
	for _, n := range rand.Perm(len(f.streams))[:int(share*float64(len(f.streams)))] {
		f.streams[n].cut(0, made)
	}
	made.back()
}

// settle waits until every stream is open, and where there is a publisher, until it has ended and they have its last event.
func (f *fleet) settle(ctx context.Context) {
	deadline := time.Now().Add(f.options.settle)
	ticker := time.NewTicker(settleLook)
	defer ticker.Stop()
	for looks := 1; time.Now().Before(deadline) && !(f.publisherEnded() && f.allSettled()); looks++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if looks%int(everySecond/settleLook) == 0 {
			f.report.second()
		}
	}
}

func (f *fleet) publisherEnded() bool {
	select {
	case <-f.book.Done():
		return true
	default:
		return !f.book.Begun()
	}
}

func (f *fleet) allSettled() bool {
	for _, each := range f.streams {
		if !each.settled() {
			return false
		}
	}
	return true
}

// reckon counts what is missing at the end. Where the publisher has not ended, what is on its way is nobody's loss.
func (f *fleet) reckon() {
	ended := f.publisherEnded()
	for _, each := range f.streams {
		each.mutex.Lock()
		if !each.track.Placed() {
			f.counts.neverBegun.Add(1)
		} else if ended {
			f.lost(each.track.Reckon(f.book))
		}
		if each.openAt == 0 {
			f.counts.absent.Add(1)
		}
		each.mutex.Unlock()
	}
}

// What streams ask for and tell.

// sequences are those that a stream is owed whatever comes, as far as its address says.
func (f *fleet) sequences(address *url.URL) []string {
	switch f.options.count {
	case "all":
		return []string{tally.All}
	case "subject":
		var names []string
		for _, name := range address.Query()["subject"] {
			if !strings.ContainsAny(name, "*>") {
				names = append(names, name)
			}
		}
		return names
	}
	return nil
}

// sequence tells which one an event belongs to, and its number there; 0 where nothing is counted.
func (f *fleet) sequence(payload tally.Payload) ([]byte, int64) {
	switch f.options.count {
	case "all":
		return nil, payload.Number
	case "subject":
		return payload.Subject, payload.Own
	}
	return nil, 0
}

func (f *fleet) isOurs(run []byte) bool {
	return string(run) == f.options.run
}

// position reads an id. Its epoch is that of all others, most of the time.
func (f *fleet) position(id []byte) (tally.Position, bool) {
	at, ok := tally.ParsePosition(id)
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if at.Epoch == f.epoch {
		at.Epoch = f.epoch
	} else {
		f.epoch = at.Epoch
	}
	return at, ok
}

func (f *fleet) lost(count int64) {
	if count > 0 {
		f.counts.lost.Add(count)
	}
}

func (f *fleet) begun(after time.Duration) {
	f.counts.opened.Add(1)
	f.counts.open.Add(1)
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.firstBytes = append(f.firstBytes, after)
}

func (f *fleet) noteStorm(lasted time.Duration) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.stormTimes = append(f.stormTimes, lasted)
}

// complain logs why a stream could not be opened: a few different reasons, each once.
func (f *fleet) complain(why error) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if sentence := reason(why); !f.said[sentence] && len(f.said) < complaints {
		f.said[sentence] = true
		f.logger.Warnf("sse.fleet: a stream could not be opened: %s", sentence)
	}
}
