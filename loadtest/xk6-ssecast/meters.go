package ssecast

import (
	"errors"
	"time"

	"go.k6.io/k6/lib"
	"go.k6.io/k6/metrics"
)

// meters are k6's metrics, in which everything is told. Their meaning stands in README.md.
type meters struct {
	streams, most, opened, refused, turnedAway, gaveUp, neverBegun, absent *metrics.Metric
	event, replayed, lost, duplicates, outOfOrder, foreign, malformed      *metrics.Metric
	gaps, reconnects, reconnectsMost, storm                                *metrics.Metric
	firstByte, delivery, delayMedian, delay99, delayMost                   *metrics.Metric
	published, unpublished, publishRetries, publishTime                    *metrics.Metric
}

func registerMeters(registry *metrics.Registry) (*meters, error) {
	var m meters
	var wrong []error
	add := func(to **metrics.Metric, name string, kind metrics.MetricType, unit ...metrics.ValueType) {
		made, err := registry.NewMetric(name, kind, unit...)
		*to, wrong = made, append(wrong, err)
	}
	for name, to := range map[string]**metrics.Metric{
		"sse_streams": &m.streams, "sse_streams_most": &m.most, "sse_reconnects_most": &m.reconnectsMost,
	} {
		add(to, name, metrics.Gauge)
	}
	for name, to := range map[string]**metrics.Metric{
		"sse_opened": &m.opened, "sse_refused": &m.refused, "sse_turned_away": &m.turnedAway, "sse_gave_up": &m.gaveUp,
		"sse_never_begun": &m.neverBegun, "sse_absent": &m.absent, "sse_event": &m.event, "sse_replayed": &m.replayed, "sse_lost": &m.lost,
		"sse_duplicates": &m.duplicates, "sse_out_of_order": &m.outOfOrder, "sse_foreign": &m.foreign,
		"sse_malformed": &m.malformed, "sse_gaps": &m.gaps, "sse_reconnects": &m.reconnects,
		"sse_published": &m.published, "sse_unpublished": &m.unpublished, "sse_publish_retries": &m.publishRetries,
	} {
		add(to, name, metrics.Counter)
	}
	for name, to := range map[string]**metrics.Metric{
		"sse_delay_p50": &m.delayMedian, "sse_delay_p99": &m.delay99, "sse_delay_most": &m.delayMost,
	} {
		add(to, name, metrics.Gauge, metrics.Time)
	}
	for name, to := range map[string]**metrics.Metric{
		"sse_first_byte": &m.firstByte, "sse_delivery": &m.delivery, "sse_storm": &m.storm,
		"sse_publish_time": &m.publishTime,
	} {
		add(to, name, metrics.Trend, metrics.Time)
	}
	return &m, errors.Join(wrong...)
}

// gauger pushes samples that share their tags.
type gauger struct {
	out  chan<- metrics.SampleContainer
	tags metrics.TagsAndMeta
}

func newGauger(state *lib.State) *gauger {
	return &gauger{state.Samples, state.Tags.GetCurrentValues()}
}

// batch collects samples of one moment.
type batch struct {
	*gauger
	at      time.Time
	samples metrics.Samples
}

func (g *gauger) batch() *batch {
	return &batch{gauger: g, at: time.Now()}
}

func (b *batch) add(metric *metrics.Metric, value float64) {
	b.samples = append(b.samples, metrics.Sample{
		TimeSeries: metrics.TimeSeries{Metric: metric, Tags: b.tags.Tags},
		Time:       b.at, Metadata: b.tags.Metadata, Value: value,
	})
}

// push may be called only by who holds up the VU: k6 closes the channel when the last of them has returned.
func (b *batch) push() {
	if len(b.samples) > 0 {
		b.out <- b.samples
	}
}

func milliseconds(microseconds int64) float64 {
	return float64(microseconds) / 1000
}
