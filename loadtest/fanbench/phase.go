package main

// maxDetailed is how many events of a phase a report lists one by one.
const maxDetailed = 1000

// phase is what the client counts between two `expect` commands: events first .. first+count-1, and until when the
// wanted deliveries are complete.
type phase struct {
	first, want int64
	began, mark int64 // when it began, ns; the event whose last arrival the report tells, counted from then
	sparse      bool  // streams see only some of the numbers: a hole is no loss
	done        bool

	deliveries, duplicates, disorder, holes, strays, gaps int64
	latencies                                             histogram
	events                                                []eventTimes
	firstSentAt, lastAt                                   int64
}

// eventTimes says when the first and the last stream had an event.
type eventTimes struct {
	sentAt, firstAt, lastAt, count int64
}

func newPhase(first, count, want int64, sparse bool) *phase {
	return &phase{first: first, want: want, sparse: sparse, events: make([]eventTimes, count)}
}

func (p *phase) deliver(s *stream, event, sentAt, at int64) {
	place := event - p.first
	if place < 0 || place >= int64(len(p.events)) {
		p.strays++
		return
	}
	kind, holes := s.tracker.see(event)
	switch kind {
	case duplicate:
		p.duplicates++
		return
	case late:
		p.disorder++
	}
	if !p.sparse {
		p.holes += holes
	}
	p.deliveries++
	p.latencies.add(at - sentAt)
	p.lastAt = max(p.lastAt, at)
	if p.firstSentAt == 0 || sentAt < p.firstSentAt {
		p.firstSentAt = sentAt
	}
	p.events[place].see(sentAt, at)
}

func (p *phase) sawGap(*stream, int64) {
	p.gaps++
}

func (p *phase) sawPosition(*stream, int64) {}

func (p *phase) complete() bool {
	return p.want > 0 && p.deliveries >= p.want
}

func (e *eventTimes) see(sentAt, at int64) {
	if e.count == 0 {
		e.sentAt, e.firstAt = sentAt, at
	}
	e.lastAt = max(e.lastAt, at)
	e.count++
}

type phaseReport struct {
	Type       string        `json:"type"`
	Deliveries int64         `json:"deliveries"`
	Lost       int64         `json:"lost"`
	Holes      int64         `json:"holes"`
	Duplicates int64         `json:"duplicates"`
	Disorder   int64         `json:"out_of_order"`
	Strays     int64         `json:"strays"`
	Gaps       int64         `json:"gaps"`
	P50        float64       `json:"p50_ms"`
	P99        float64       `json:"p99_ms"`
	Max        float64       `json:"max_ms"`
	Elapsed    float64       `json:"elapsed_ms"`
	Marked     float64       `json:"marked_ms"`
	Open       int           `json:"open"`
	Closed     int64         `json:"closed"`
	Failed     int64         `json:"failed"`
	Reconnects int64         `json:"reconnects"`
	ID         string        `json:"last_id"`
	Events     []eventReport `json:"events"`
}

type eventReport struct {
	First float64 `json:"first_ms"`
	Last  float64 `json:"last_ms"`
	Count int64   `json:"count"`
}

// report tells the phase so far; times are milliseconds since the publisher stamped the event.
func (p *phase) report(kind string) phaseReport {
	out := phaseReport{
		Type: kind, Deliveries: p.deliveries, Lost: max(p.want-p.deliveries, 0), Holes: p.holes, Duplicates: p.duplicates,
		Disorder: p.disorder, Strays: p.strays, Gaps: p.gaps, P50: ms(p.latencies.quantile(0.5)),
		P99: ms(p.latencies.quantile(0.99)), Max: ms(p.latencies.max), Events: []eventReport{},
	}
	if p.deliveries > 0 {
		out.Elapsed = ms(p.lastAt - p.firstSentAt)
	}
	if place := p.mark - p.first; place >= 0 && place < int64(len(p.events)) && p.events[place].count > 0 {
		out.Marked = ms(p.events[place].lastAt - p.began)
	}
	for i := 0; i < len(p.events) && i < maxDetailed; i++ {
		each := p.events[i]
		if each.count > 0 {
			out.Events = append(out.Events, eventReport{ms(each.firstAt - each.sentAt), ms(each.lastAt - each.sentAt), each.count})
		}
	}
	return out
}

func ms(ns int64) float64 {
	return float64(ns) / 1e6
}
