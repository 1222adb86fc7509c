package main

// tracker knows which of the last 64 event numbers one stream has had.
type tracker struct {
	last   int64
	window uint64 // bit k: it has had number last-k
}

type arrival uint8

const (
	next      arrival = iota
	afterHole         // some numbers before it are missing, so far
	late              // fills a hole
	duplicate
)

// startAfter makes the number after `last` the next one; everything up to it counts as had.
func (t *tracker) startAfter(last int64) {
	t.last, t.window = last, ^uint64(0)
}

// see takes the number of an event. holes is how many numbers are missing because of it; -1 where it filled a hole.
// A number that is further behind than the window counts as a duplicate.
func (t *tracker) see(event int64) (kind arrival, holes int64) {
	step := event - t.last
	switch {
	case step == 1:
		t.last, t.window = event, t.window<<1|1
		return next, 0
	case step > 1:
		t.last, t.window = event, t.window<<min(step, 64)|1
		return afterHole, step - 1
	case step > -64 && t.window>>-step&1 == 0:
		t.window |= 1 << -step
		return late, -1
	}
	return duplicate, 0
}
