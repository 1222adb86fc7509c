package main

import "container/heap"

type duty uint8

const (
	reconnect duty = iota
	readAgain
)

// timer is something to be done about a source.
type timer struct {
	at    int64 // ns
	index int32
	duty  duty
}

// timers are those to come, the next one first.
type timers []timer

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].at < t[j].at }
func (t timers) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *timers) Push(each any)     { *t = append(*t, each.(timer)) }

func (t *timers) Pop() any {
	last := len(*t) - 1
	each := (*t)[last]
	*t = (*t)[:last]
	return each
}

func (t *timers) add(at int64, index int32, what duty) {
	heap.Push(t, timer{at, index, what})
}

// due takes the next one whose time has come.
func (t *timers) due(at int64) (timer, bool) {
	if len(*t) == 0 || (*t)[0].at > at {
		return timer{}, false
	}
	return heap.Pop(t).(timer), true
}

// patience is how long to wait for the next one, in milliseconds, -1 where there is none.
func (t timers) patience(at int64) int {
	if len(t) == 0 {
		return -1
	}
	return int(max((t[0].at-at+1e6-1)/1e6, 0))
}
