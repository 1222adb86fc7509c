package tally

import (
	"sort"
	"sync"
)

// All is the sequence of everything that a publisher sent, whatever the subject.
const All = ""

const (
	keptEvents  = 1 << 20 // of a sequence; whoever begins further back is not told what it is owed
	dropAtOnce  = keptEvents / 4
	firstNumber = 1
)

// Ledger is what a publisher knows to be stored, and where: from it follows what a stream that stands at a position is
// owed. Events come one by one: the next one is published only when the last one is known to be stored.
type Ledger struct {
	mutex     sync.RWMutex
	epoch     string
	sequences map[string]*sequence
	begun     bool
	ended     bool
	done      chan struct{}
}

// sequence holds the stream's seqs of some events whose numbers rise by one.
type sequence struct {
	dropped int64 // numbers before the first one that is held
	seqs    []int64
}

// NewLedger makes one in which nothing is stored.
func NewLedger() *Ledger {
	return &Ledger{sequences: map[string]*sequence{}, done: make(chan struct{})}
}

// Begin says that a publisher is there: before that, a ledger knows nothing of what is owed to anybody.
func (l *Ledger) Begin() {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.begun = true
}

// Begun tells whether there is, or was, a publisher.
func (l *Ledger) Begun() bool {
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	return l.begun
}

// Store notes the next event of a subject. Of another epoch nothing that was before counts any more.
func (l *Ledger) Store(subject string, at Position) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if at.Epoch != l.epoch {
		for _, each := range l.sequences {
			each.dropped += int64(len(each.seqs))
			each.seqs = nil
		}
		l.epoch = at.Epoch
	}
	for _, name := range []string{All, subject} {
		each := l.sequences[name]
		if each == nil {
			each = &sequence{}
			l.sequences[name] = each
		}
		each.add(at.Seq)
	}
}

func (s *sequence) add(seq int64) {
	s.seqs = append(s.seqs, seq)
	if len(s.seqs) > keptEvents {
		s.seqs = append([]int64(nil), s.seqs[dropAtOnce:]...)
		s.dropped += dropAtOnce
	}
}

// End says that nothing more will be published.
func (l *Ledger) End() {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if !l.ended {
		l.ended = true
		close(l.done)
	}
}

// Done is closed when nothing more will be published.
func (l *Ledger) Done() <-chan struct{} {
	return l.done
}

// After is the number of the first event of a sequence that a stream at a position is owed: one past the last where there
// is none yet. False where that cannot be told: the position is of another epoch, or too long ago, or nobody publishes here.
func (l *Ledger) After(name string, at Position) (int64, bool) {
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	each := l.sequences[name]
	if !l.begun || l.epoch != "" && l.epoch != at.Epoch {
		return 0, false
	}
	if each == nil {
		return firstNumber, true
	}
	place := sort.Search(len(each.seqs), func(i int) bool { return each.seqs[i] > at.Seq })
	return firstNumber + each.dropped + int64(place), place > 0 || each.dropped == 0
}

// Next is one past the last number of a sequence.
func (l *Ledger) Next(name string) int64 {
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	each := l.sequences[name]
	if each == nil {
		return firstNumber
	}
	return firstNumber + each.dropped + int64(len(each.seqs))
}
