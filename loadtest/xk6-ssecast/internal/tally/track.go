package tally

// Book tells what streams are owed. A Ledger is one; without any, a stream counts from the first event that it sees.
type Book interface {
	After(name string, at Position) (int64, bool)
	Next(name string) int64
}

// Seen is what one event, or one promise, says about a stream.
type Seen struct {
	Lost                  int64 // events that must have come before it
	Duplicate, OutOfOrder bool
}

// Track is what one stream has had, by sequence: one for everything, or one for each subject that it asked for.
type Track struct {
	at      Position
	placed  bool
	threads []thread
}

// thread is one sequence. next: the number that must come next; 0 while nobody knows, because there was no event yet.
// had: bit k tells whether next-1-k has come, so that a late event is told from one that comes twice.
type thread struct {
	name string
	next int64
	had  uint64
}

// Expect names sequences that the stream is owed even if no event of theirs ever comes.
func (t *Track) Expect(names ...string) {
	for _, name := range names {
		t.thread([]byte(name))
	}
}

// Place gives the stream the position from which it begins; only the first one counts, for later ones promise something.
func (t *Track) Place(at Position) {
	if !t.placed {
		t.at, t.placed = at, true
	}
}

// Placed tells whether it was ever given a position: who never was is owed nothing.
func (t *Track) Placed() bool {
	return t.placed
}

// Restart begins anew after a gap: what lies before the position is not owed any more.
func (t *Track) Restart(at Position) {
	t.at, t.placed = at, true
	for i := range t.threads {
		t.threads[i].next, t.threads[i].had = 0, 0
	}
}

// See takes the number of an event.
func (t *Track) See(book Book, name []byte, number int64) Seen {
	each := t.thread(name)
	if each.next == 0 {
		each.begin(number)
		// What was published before this event is stored by now, so the book is complete up to it.
		if from, known := t.owedFrom(book, each.name); known && from <= number {
			each.next = from
		}
	}
	return each.see(number)
}

// begin makes a number the next one, and all before it count as had.
func (e *thread) begin(number int64) {
	e.next, e.had = number, ^uint64(0)
}

func (e *thread) see(number int64) Seen {
	ahead := number - e.next
	if ahead >= 0 {
		e.next = number + 1
		e.had = shifted(e.had, ahead+1) | 1
		return Seen{Lost: ahead}
	}
	back := -ahead - 1
	if back >= 64 || e.had>>back&1 == 1 {
		return Seen{Duplicate: true}
	}
	e.had |= 1 << back
	return Seen{OutOfOrder: true}
}

func shifted(bits uint64, by int64) uint64 {
	if by >= 64 {
		return 0
	}
	return bits << by
}

// Promise takes a position that is sent to a stream later on: all up to it was sent. It returns how many events were not.
func (t *Track) Promise(book Book, at Position) (lost int64) {
	if book == nil || !t.placed {
		return 0
	}
	for i := range t.threads {
		each := &t.threads[i]
		if from, known := book.After(each.name, at); known && each.next > 0 {
			lost += each.passOver(from)
		}
	}
	return lost
}

// Reckon takes the end of everything: nothing more is published, and nothing more will come. It returns what is missing.
func (t *Track) Reckon(book Book) (lost int64) {
	if book == nil || !t.placed {
		return 0
	}
	for i := range t.threads {
		each := &t.threads[i]
		t.settle(book, each)
		if each.next > 0 {
			lost += each.passOver(book.Next(each.name))
		}
	}
	return lost
}

// Behind tells whether something that was published is still to come.
func (t *Track) Behind(book Book) bool {
	if book == nil || !t.placed {
		return false
	}
	for i := range t.threads {
		each := t.threads[i]
		t.settle(book, &each)
		if each.next > 0 && each.next < book.Next(each.name) {
			return true
		}
	}
	return false
}

// settle finds out what a thread is owed first, where the book is complete.
func (t *Track) settle(book Book, each *thread) {
	if each.next == 0 {
		if from, known := t.owedFrom(book, each.name); known {
			each.begin(from)
		}
	}
}

func (e *thread) passOver(to int64) int64 {
	missing := max(to-e.next, 0)
	if missing > 0 {
		e.had = shifted(e.had, missing)
		e.next = to
	}
	return missing
}

func (t *Track) owedFrom(book Book, name string) (int64, bool) {
	if book == nil || !t.placed {
		return 0, false
	}
	return book.After(name, t.at)
}

func (t *Track) thread(name []byte) *thread {
	for i := range t.threads {
		if t.threads[i].name == string(name) {
			return &t.threads[i]
		}
	}
	t.threads = append(t.threads, thread{name: string(name)})
	return &t.threads[len(t.threads)-1]
}
