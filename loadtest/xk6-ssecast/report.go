package ssecast

import (
	"errors"
	"net"
	"sync/atomic"

	"go.k6.io/k6/metrics"
)

// report pushes what a fleet counted into k6's metrics, once a second: k6 keeps every sample of a trend for the whole run,
// so that hundreds of thousands of events in a second would fill the memory within minutes.
type report struct {
	fleet    *fleet
	meters   *meters
	builtin  *metrics.BuiltinMetrics
	tags     *gauger
	counters []counter
	most     struct{ open, reconnects int64 }
}

// counter is one that only grows, as far as it has been pushed.
type counter struct {
	name   string
	metric *metrics.Metric
	value  *atomic.Int64
	pushed int64
}

func newReport(f *fleet, m *meters, builtin *metrics.BuiltinMetrics, tags *gauger) *report {
	c := &f.counts
	return &report{fleet: f, meters: m, builtin: builtin, tags: tags, counters: []counter{
		{"opened", m.opened, &c.opened, 0}, {"refused", m.refused, &c.refused, 0},
		{"turnedAway", m.turnedAway, &c.turnedAway, 0}, {"gaveUp", m.gaveUp, &c.gaveUp, 0},
		{"neverBegun", m.neverBegun, &c.neverBegun, 0}, {"absent", m.absent, &c.absent, 0},
		{"events", m.event, &c.events, 0},
		{"replayed", m.replayed, &c.replayed, 0}, {"lost", m.lost, &c.lost, 0},
		{"duplicates", m.duplicates, &c.duplicates, 0}, {"outOfOrder", m.outOfOrder, &c.outOfOrder, 0},
		{"foreign", m.foreign, &c.foreign, 0}, {"malformed", m.malformed, &c.malformed, 0},
		{"gaps", m.gaps, &c.gaps, 0}, {"reconnects", m.reconnects, &c.reconnects, 0},
		{"received", builtin.DataReceived, &f.dialer.received, 0}, {"sent", builtin.DataSent, &f.dialer.sent, 0},
	}}
}

// second pushes what came since it was last called.
func (r *report) second() {
	b, f := r.tags.batch(), r.fleet
	open := f.counts.open.Load()
	r.most.open = max(r.most.open, open)
	for i := range r.counters {
		each := &r.counters[i]
		now := each.value.Load()
		if each.name == "reconnects" {
			r.most.reconnects = max(r.most.reconnects, now-each.pushed)
		}
		b.add(each.metric, float64(now-each.pushed)) // also nothing: a metric without any sample would be no metric
		each.pushed = now
	}
	b.add(r.meters.streams, float64(open))
	b.add(r.meters.most, float64(r.most.open))
	b.add(r.meters.reconnectsMost, float64(r.most.reconnects))
	r.times(b)
	b.push()
}

func (r *report) times(b *batch) {
	f := r.fleet
	f.mutex.Lock()
	firstBytes, storms := f.firstBytes, f.stormTimes
	f.firstBytes, f.stormTimes = nil, nil
	f.mutex.Unlock()
	for _, each := range firstBytes {
		b.add(r.meters.firstByte, metrics.D(each))
	}
	for _, each := range storms {
		b.add(r.meters.storm, metrics.D(each))
	}
	for _, each := range f.delays.Draw() {
		b.add(r.meters.delivery, milliseconds(each))
	}
	b.add(r.meters.delayMedian, milliseconds(f.delays.Quantile(0.5)))
	b.add(r.meters.delay99, milliseconds(f.delays.Quantile(0.99)))
	b.add(r.meters.delayMost, milliseconds(f.delays.Most()))
}

// totals are what the script gets.
func (r *report) totals() map[string]any {
	out := map[string]any{
		"streams": len(r.fleet.streams), "streamsMost": r.most.open, "reconnectsMost": r.most.reconnects,
		"delayMedian": milliseconds(r.fleet.delays.Quantile(0.5)),
		"delay99":     milliseconds(r.fleet.delays.Quantile(0.99)),
		"delayMost":   milliseconds(r.fleet.delays.Most()),
	}
	for i := range r.counters {
		out[r.counters[i].name] = r.counters[i].pushed
	}
	return out
}

// reason says why a connection could not be made, without the ports of each: the same reason is the same sentence.
func reason(err error) string {
	var operation *net.OpError
	if errors.As(err, &operation) && operation.Err != nil {
		return operation.Err.Error()
	}
	return err.Error()
}
