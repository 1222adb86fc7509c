package tally

import (
	"math/bits"
	"math/rand/v2"
	"sync/atomic"
)

const (
	fine      = 5 // bits of a delay that are kept below its highest one: a quantile is at most 3 % too high
	cells     = 64 << fine
	drawnMost = 64
)

// Delays counts how long events took, in microseconds. It takes them from many goroutines, in the same memory however many.
type Delays struct {
	counts [cells]atomic.Int64
	total  atomic.Int64
	most   atomic.Int64

	since atomic.Int64 // those since the last Draw
	drawn [drawnMost]atomic.Int64
}

// Add takes one; less than nothing, which two clocks can make of it, is nothing.
func (d *Delays) Add(delay int64) {
	delay = max(delay, 0)
	d.counts[cell(delay)].Add(1)
	d.total.Add(1)
	for most := d.most.Load(); delay > most && !d.most.CompareAndSwap(most, delay); most = d.most.Load() {
	}
	d.sample(delay)
}

// sample keeps a few of them, each with the same chance (Vitter's algorithm R).
func (d *Delays) sample(delay int64) {
	place := d.since.Add(1) - 1
	if place >= drawnMost {
		place = rand.Int64N(place + 1)
	}
	if place < drawnMost {
		d.drawn[place].Store(delay)
	}
}

// Draw takes out a few of those that came since it was last called, at random; all of them where they were few.
func (d *Delays) Draw() []int64 {
	count := min(d.since.Swap(0), drawnMost)
	out := make([]int64, count)
	for i := range out {
		out[i] = d.drawn[i].Load()
	}
	return out
}

// Quantile is what a share of all does not exceed; 0 where there are none.
func (d *Delays) Quantile(share float64) int64 {
	rank := max(int64(share*float64(d.total.Load())), 1)
	var seen int64
	for i := range d.counts {
		seen += d.counts[i].Load()
		if seen >= rank {
			return min(ceiling(i), d.most.Load())
		}
	}
	return d.most.Load()
}

// Most is the longest.
func (d *Delays) Most() int64 {
	return d.most.Load()
}

// cell of a delay: itself while it is small, else its highest bits.
func cell(delay int64) int {
	above := max(bits.Len64(uint64(delay))-fine-1, 0)
	return above<<fine + int(delay>>above)
}

// ceiling is the longest delay that falls into a cell.
func ceiling(of int) int64 {
	above := max(of>>fine-1, 0)
	return int64(of-above<<fine+1)<<above - 1
}
