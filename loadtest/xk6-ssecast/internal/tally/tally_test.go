package tally

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func at(seq int64) Position { return Position{"e", seq} }

// published makes a ledger in which events lie at these seqs.
func published(subject string, seqs ...int64) *Ledger {
	ledger := NewLedger()
	ledger.Begin()
	for _, seq := range seqs {
		ledger.Store(subject, at(seq))
	}
	return ledger
}

func total(t *Track, book Book, name string, numbers ...int64) (lost, duplicates, late int) {
	for _, number := range numbers {
		out := t.See(book, []byte(name), number)
		lost += int(out.Lost)
		if out.Duplicate {
			duplicates++
		}
		if out.OutOfOrder {
			late++
		}
	}
	return lost, duplicates, late
}

func TestWhatAPublisherWroteIsRead(t *testing.T) {
	want := Payload{[]byte("r1"), []byte("a.b"), 7, 3, 1_700_000_000_000_000}
	data := want.Append(nil, 60)
	got, ok := Parse(data)
	if !ok || len(data) != 60 || string(got.Run) != "r1" || string(got.Subject) != "a.b" || got.Number != 7 || got.Own != 3 ||
		got.Sent != want.Sent {
		t.Errorf("%q: %+v, %v", data, got, ok)
	}
	for _, other := range []string{"", "x", "r 1 2", "r 1 2 3", "r 1 2 3 ", "r a 2 3 s", "r 1 2 9999999999999999999 s", " 1 2 3 s", "{\"a\": 1}"} {
		if _, ok := Parse([]byte(other)); ok {
			t.Errorf("%q passes for one", other)
		}
	}
}

func TestAPositionIsAnEpochAndANumber(t *testing.T) {
	if got, ok := ParsePosition([]byte("ab-c-12")); !ok || got != (Position{"ab-c", 12}) {
		t.Errorf("%+v, %v", got, ok)
	}
	for _, other := range []string{"", "12", "-12", "e-", "e-x"} {
		if _, ok := ParsePosition([]byte(other)); ok {
			t.Errorf("%q passes for one", other)
		}
	}
}

func TestAStreamThatHasAllLosesNothing(t *testing.T) {
	track, ledger := Track{}, published("s", 11, 12, 15)
	track.Place(at(10))
	if lost, duplicates, late := total(&track, ledger, All, 1, 2, 3); lost+duplicates+late != 0 {
		t.Error(lost, duplicates, late)
	}
	if track.Behind(ledger) || track.Reckon(ledger) != 0 {
		t.Error("something is still missing")
	}
}

func TestLostDuplicatedAndLateEventsAreToldApart(t *testing.T) {
	track := Track{}
	lost, duplicates, late := total(&track, nil, All, 5, 6, 9, 7, 7, 9, 10, 6, 4)
	if lost != 2 || late != 1 || duplicates != 4 {
		t.Error(lost, duplicates, late)
	}
}

func TestANumberFarBehindIsADuplicate(t *testing.T) {
	track := Track{}
	lost, duplicates, late := total(&track, nil, All, 1, 200, 100, 199)
	if lost != 198 || duplicates != 1 || late != 1 {
		t.Error(lost, duplicates, late)
	}
}

func TestTheFirstEventOfAStreamCanBeMissed(t *testing.T) {
	track, ledger := Track{}, published("s", 11, 12, 13)
	track.Place(at(11))
	if lost, _, _ := total(&track, ledger, All, 3); lost != 1 {
		t.Error("number 2, after the position, is not missed:", lost)
	}
	silent := Track{}
	silent.Expect(All)
	silent.Place(at(11))
	if !silent.Behind(ledger) || silent.Reckon(ledger) != 2 || silent.Behind(ledger) {
		t.Error("a stream to which nothing comes is not found out")
	}
}

func TestAPromiseThatWasNotKeptIsALoss(t *testing.T) {
	track, ledger := Track{}, published("s", 11, 12, 13, 14)
	track.Place(at(10))
	total(&track, ledger, All, 1)
	if lost := track.Promise(ledger, at(11)); lost != 0 {
		t.Error("what it has is lost:", lost)
	}
	if lost := track.Promise(ledger, at(13)); lost != 2 {
		t.Error(lost)
	}
	if lost, duplicates, late := total(&track, ledger, All, 2, 4); lost != 0 || duplicates != 0 || late != 1 {
		t.Error("what comes after it was promised is late:", lost, duplicates, late)
	}
}

func TestAfterAGapOnlyWhatFollowsIsOwed(t *testing.T) {
	track, ledger := Track{}, published("s", 11, 12, 13, 14, 15)
	track.Place(at(10))
	total(&track, ledger, All, 1)
	track.Restart(at(13))
	if lost, _, _ := total(&track, ledger, All, 5); lost != 1 {
		t.Error("number 4, after the gap, is not missed:", lost)
	}
}

func TestEachSubjectHasNumbersOfItsOwn(t *testing.T) {
	ledger := published("a", 1, 3)
	ledger.Store("b", at(4))
	ledger.Store("b", at(6))
	track := Track{}
	track.Expect("a", "b")
	track.Place(at(2))
	if lost, _, _ := total(&track, ledger, "a", 2); lost != 0 {
		t.Error(lost)
	}
	if lost, _, _ := total(&track, ledger, "b", 2); lost != 1 {
		t.Error("b's first one is not missed:", lost)
	}
	if next := ledger.Next(All); next != 5 {
		t.Error("all together are numbered too:", next)
	}
}

func TestWithoutAPublisherNothingIsOwedBeforeTheFirstEvent(t *testing.T) {
	track, ledger := Track{}, NewLedger()
	track.Place(at(10))
	if lost, _, _ := total(&track, ledger, All, 500, 501); lost != 0 {
		t.Error(lost)
	}
	if track.Behind(ledger) || track.Reckon(ledger) != 0 {
		t.Error("it is owed something")
	}
}

func TestWhoWasNeverPlacedIsOwedNothing(t *testing.T) {
	track, ledger := Track{}, published("s", 11)
	track.Expect(All)
	if track.Behind(ledger) || track.Reckon(ledger) != 0 {
		t.Error("it is owed something")
	}
}

func TestAnotherEpochIsAnotherStream(t *testing.T) {
	ledger := published("s", 11, 12)
	ledger.Store("s", Position{"f", 1})
	if _, known := ledger.After(All, at(11)); known {
		t.Error("the old stream's positions still mean something")
	}
	if number, known := ledger.After(All, Position{"f", 1}); number != 4 || !known {
		t.Error(number, known)
	}
	if next := ledger.Next(All); next != 4 {
		t.Error(next)
	}
}

func TestALongRunForgetsItsBeginningAndSaysSo(t *testing.T) {
	ledger := published("s")
	for seq := int64(1); seq <= keptEvents+1; seq++ {
		ledger.Store("s", at(seq))
	}
	if _, known := ledger.After(All, at(5)); known {
		t.Error("it knows what it has forgotten")
	}
	if number, known := ledger.After(All, at(keptEvents)); number != keptEvents+1 || !known {
		t.Error(number, known)
	}
	if next := ledger.Next(All); next != keptEvents+2 {
		t.Error(next)
	}
}

func TestTheEndIsToldOnce(t *testing.T) {
	ledger := NewLedger()
	select {
	case <-ledger.Done():
		t.Error("it has ended before it began")
	default:
	}
	ledger.End()
	ledger.End()
	<-ledger.Done()
}

func TestQuantilesAreThoseOfTheSortedValues(t *testing.T) {
	var delays Delays
	var all []int64
	random := rand.New(rand.NewPCG(3, 4))
	for range 20_000 {
		delay := int64(1) << random.IntN(30)
		delay += random.Int64N(delay)
		delays.Add(delay)
		all = append(all, delay)
	}
	slices.Sort(all)
	for _, share := range []float64{0.01, 0.5, 0.9, 0.99, 1} {
		want := all[max(int(share*float64(len(all)))-1, 0)]
		if got := delays.Quantile(share); got < want || float64(got) > float64(want)*1.04 {
			t.Errorf("%g: %d instead of %d", share, got, want)
		}
	}
	if delays.Most() != all[len(all)-1] {
		t.Error(delays.Most())
	}
}

func TestOfFewDelaysAllAreDrawnAndOfManySome(t *testing.T) {
	var delays Delays
	for _, each := range []int64{5, -3, 7} {
		delays.Add(each)
	}
	if got := delays.Draw(); !slices.Equal(got, []int64{5, 0, 7}) {
		t.Error(got)
	}
	if got := delays.Draw(); len(got) != 0 {
		t.Error("twice the same:", got)
	}
	for each := range int64(10_000) {
		delays.Add(each)
	}
	drawn := delays.Draw()
	if len(drawn) != drawnMost || slices.Max(drawn) < 5_000 || slices.Min(drawn) > 5_000 {
		t.Error("not from all of them:", drawn)
	}
	var none Delays
	if none.Quantile(0.99) != 0 {
		t.Error("a quantile of nothing")
	}
}
