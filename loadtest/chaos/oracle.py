"""What each client must have seen, against what it saw. Pure: it reads the truth and the client's record, and counts.

A client that was given a position is owed every event of its subjects after it, once and in order, until it is told of
a gap. A gap is true where the client steps from one era of the stream into a later one, or where the stream no longer
held the event after the client's position; what a true gap passes over is not owed, unless the stream still held it.
Whatever a gap says must be so: the position that the client had, the one from which it goes on, an oldest one in between,
and a reason that fits.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from loadtest.chaos.records import Connected, Entry, Gap, GaveUp, Malformed, Placed, Run
from loadtest.chaos.traffic import Kind
from loadtest.chaos.truth import CAUSES, EXPIRED, Owed, Truth, index_after

FAULTS = (
    "lost", "duplicated", "out_of_order", "foreign", "malformed", "false_gaps", "missing_gaps", "gave_up", "never_begun",
)  # fmt: skip
"""What must be zero."""

FINDINGS_MOST = 20


@dataclass
class Verdict:
    """Counts over one client or many: FAULTS, and `made`, `gaps`. findings: the first of what is wrong, in words."""

    counts: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not any(self.counts[name] for name in FAULTS)

    def add(self, other: "Verdict") -> None:
        self.counts += other.counts
        self.findings += other.findings[: FINDINGS_MOST - len(self.findings)]


def judge(truth: Truth, kind: Kind, entries: Iterable[Entry], name: str = "client", began: int = 0) -> Verdict:
    """Reads one client's record from beginning to end. Findings tell their time since `began`, milliseconds."""
    reader = (LatestReader if kind.latest else Reader)(truth, kind.subjects, name, began)
    for entry in entries:
        reader.read(entry)
    reader.finish()
    return reader.verdict


class Reader:
    """One client of the usual kind: where it stands in which era, and what it still misses there."""

    def __init__(self, truth: Truth, subjects: frozenset[str], name: str, began: int) -> None:
        self.truth, self.subjects, self.name, self.began = truth, subjects, name, began
        self.verdict = Verdict()
        self.era = -1
        self.last_id = ""
        self.last_seq = 0
        self.at = 0
        self.owed = Owed([], [])
        self.next = 0
        self.missing: set[int] = set()
        self.passed: set[int] = set()

    def read(self, entry: Entry) -> None:
        match entry:
            case Run():
                self.at = entry.until
                self._run(entry)
            case Placed(at, epoch, seq):
                self.at = at
                self._placed(epoch, seq)
            case Gap():
                self.at = entry.at
                self._gap(entry)
            case Malformed(at, what):
                self.at = at
                self._wrong("malformed", what)
            case GaveUp(at, status):
                self.at = at
                self._wrong("gave_up", f"gave up for good: {status}")
            case Connected(at, _, last_id):
                self.at = at
                if last_id != self.last_id:
                    self._wrong("malformed", f"asks for {last_id!r} after it was given {self.last_id!r}")
            case _:
                pass

    def finish(self) -> None:
        """Nothing comes any more: what is missing now is lost."""
        if self.era < 0:
            self._wrong("never_begun", "was never given a position")
            return
        if self.era < len(self.truth.eras) - 1:
            self._wrong("missing_gaps", f"never heard of the stream's era {len(self.truth.eras) - 1}")
        else:
            self._hole(len(self.owed.numbers), "at the end")
        self._leave()

    # What it reads

    def _run(self, run: Run) -> None:
        """Nearly always it is what comes next, and one comparison of two slices says so."""
        seqs, numbers = zip(*run.events(), strict=True)
        here = slice(self.next, self.next + run.length)
        if self._goes_on(run.epoch, list(seqs), list(numbers), here):
            self.next += run.length
            self.verdict.counts["made"] += run.length
            self._stand(run.epoch, seqs[-1])
            return
        for seq, number in zip(seqs, numbers, strict=True):
            self._event(run.epoch, seq, number)

    def _goes_on(self, epoch: str, seqs: list[int], numbers: list[int], here: slice) -> bool:
        return (
            self.era >= 0
            and self.truth.eras[self.era].epoch == epoch
            and self.owed.numbers[here] == numbers
            and self.owed.seqs[here] == seqs
        )

    def _event(self, epoch: str, seq: int, number: int) -> None:
        event = self.truth.by_number.get(number)
        if event is None or event.seq != seq or self.truth.eras[event.era].epoch != epoch:
            self._wrong("foreign", f"event {number} at {epoch}-{seq}, where it was never stored")
        elif event.subject not in self.subjects:
            self._wrong("foreign", f"event {number} of {event.subject}, which it did not ask for")
        elif self.era < 0:
            self._wrong("foreign", f"event {number} before any position")
        elif event.era < self.era:
            self._wrong("duplicated", f"event {number} of era {event.era} in era {self.era}")
        else:
            if event.era > self.era:
                self._wrong("missing_gaps", f"event {number} of era {event.era} in era {self.era}, without a gap")
                self._enter(event.era, seq - 1)
            self._place(index_after(self.owed, seq) - 1, number)
        self._stand(epoch, seq)

    def _place(self, index: int, number: int) -> None:
        if index < self.next:
            self._again(index, number)
            return
        self._hole(index, f"before event {number}")
        self.next = index + 1
        self.verdict.counts["made"] += 1

    def _again(self, index: int, number: int) -> None:
        if index in self.missing:
            self.missing.discard(index)
            self.verdict.counts["made"] += 1
            self._wrong("out_of_order", f"event {number} late")
        elif index in self.passed:
            self.passed.discard(index)
            self._wrong("out_of_order", f"event {number} from before its position")
        else:
            self._wrong("duplicated", f"event {number} again")

    def _placed(self, epoch: str, seq: int) -> None:
        if self.era < 0 or self.truth.eras[self.era].epoch != epoch:
            era = self.truth.era_at(epoch, self.at)
            if era is None:
                self._wrong("foreign", f"position {epoch}-{seq} of no era")
                return
            if self.era >= 0:
                self._wrong("missing_gaps", f"position {epoch}-{seq} of era {era} in era {self.era}, without a gap")
            self._enter(era, seq)
        elif seq < self.last_seq:
            self._wrong("out_of_order", f"position {seq} after {self.last_seq}")
        else:
            self._hole(index_after(self.owed, seq), f"before position {seq}")
        self._stand(epoch, seq)

    def _gap(self, gap: Gap) -> None:
        what = f"gap from {gap.requested} to {gap.following}, oldest {gap.oldest}, reason {gap.reason}"
        era = self._era_of(gap)
        untrue = self._untrue(gap)
        if era is None or self.era < 0 or untrue:
            self._wrong("false_gaps", f"{what}: {untrue or 'in no era'}; it stood at {self.last_id!r}")
            if era is None:
                return
            self._enter(era, gap.seq)
        elif era > self.era:
            self._step(era, gap, what)
        elif era < self.era or gap.seq < self.last_seq:
            self._wrong("false_gaps", f"{what}: backwards")
        else:
            self._pass_over(gap, what)
        self._stand(gap.epoch, gap.seq)

    def _untrue(self, gap: Gap) -> str:
        """What a gap says that is not so, whatever its reason; empty where there is nothing."""
        if gap.requested != self.last_id:
            return "that is not the client's position"
        if gap.following != f"{gap.epoch}-{gap.seq}":
            return f"its id is {gap.epoch}-{gap.seq}"
        epoch, _, seq = gap.oldest.rpartition("-")
        if epoch != gap.epoch or not seq.isdecimal() or int(seq) > gap.seq:
            return "the oldest position is none of the stream's, or after the one from which it goes on"
        return ""

    def _step(self, era: int, gap: Gap, what: str) -> None:
        """From one era into a later one; a gap for each in between, or one for all, is as it should be."""
        causes = frozenset[str]().union(*(CAUSES[each.cause] for each in self.truth.eras[self.era + 1 : era + 1]))
        if gap.reason not in causes:
            self._wrong("false_gaps", f"{what}: the reason is none of {', '.join(sorted(causes))}")
        elif gap.reason == "ahead" and self.last_seq <= gap.seq:
            self._wrong("false_gaps", f"{what}: its position was not ahead")
        else:
            self.verdict.counts["gaps"] += 1
        self._enter(era, gap.seq)

    def _pass_over(self, gap: Gap, what: str) -> None:
        """Within one era: true where the stream had dropped what comes next, and only for what it had dropped; a pod whose
        memory went back to the client's position had no reason for it."""
        if gap.reason != EXPIRED:
            self._wrong("false_gaps", f"{what}: within one era nothing but {EXPIRED} is a reason")
        elif not self.truth.expired(self.era, self.last_seq + 1, self.at):
            self._wrong("false_gaps", f"{what}: the stream still held what comes next")
        elif int(gap.oldest.rpartition("-")[2]) <= self.last_seq:
            self._wrong("false_gaps", f"{what}: the oldest position is not after the client's")
        else:
            self.verdict.counts["gaps"] += 1
        until = max(index_after(self.owed, gap.seq), self.next)
        kept = [index for index in range(self.next, until) if not self._expired(index)]
        if kept:
            self._lost(kept, f"passed over by a {what}, and still kept")
        self.passed.update(index for index in range(self.next, until) if index not in self.missing)
        self.next = until

    def _era_of(self, gap: Gap) -> int | None:
        """A gap within an epoch may be a step into the restored copy of it: its reason says so."""
        if self.era >= 0 and self.truth.eras[self.era].epoch == gap.epoch and gap.reason not in CAUSES["rewound"]:
            return self.era
        return self.truth.era_at(gap.epoch, gap.at)

    # Where it stands

    def _stand(self, epoch: str, seq: int) -> None:
        self.last_id, self.last_seq = f"{epoch}-{seq}", seq

    def _enter(self, era: int, seq: int) -> None:
        """Goes on after seq in an era; what it missed in the one before is lost."""
        self._leave()
        self.era, self.owed = era, self.truth.owed(era, self.subjects)
        self.next = index_after(self.owed, seq)
        self.passed = set(range(self.next))

    def _leave(self) -> None:
        self.verdict.counts["lost"] += len(self.missing)
        self.missing = set()

    def _hole(self, until: int, where: str) -> None:
        """It has come to `until` and was not sent what lies before."""
        if until > self.next:
            indices = range(self.next, until)
            self._lost(indices, where)
            if any(self._expired(index) for index in indices):
                self._wrong("missing_gaps", f"events had expired {where}, and it was not told")
            self.next = until

    def _lost(self, indices: Iterable[int], where: str) -> None:
        """Missing for now: what comes late is out of order instead. Counted when it leaves the era."""
        found = list(indices)
        self.missing.update(found)
        first, last = self.owed.numbers[found[0]], self.owed.numbers[found[-1]]
        self._say(f"{len(found)} events missing {where}: {first}" + (f" to {last}" if last != first else ""))

    def _expired(self, index: int) -> bool:
        return self.truth.expired(self.era, self.owed.seqs[index], self.at)

    def _wrong(self, fault: str, what: str) -> None:
        self.verdict.counts[fault] += 1
        self._say(f"{fault.replace('_', ' ')}: {what}")

    def _say(self, what: str) -> None:
        if len(self.verdict.findings) < FINDINGS_MOST:
            self.verdict.findings.append(f"{self.name} at {(self.at - self.began) / 1000:.1f} s: {what}")


class LatestReader(Reader):
    """A client with `latest`: in order and never twice, and at last the newest event of each subject."""

    def __init__(self, truth: Truth, subjects: frozenset[str], name: str, began: int) -> None:
        super().__init__(truth, subjects, name, began)
        self._had: set[int] = set()

    def _goes_on(self, epoch: str, seqs: list[int], numbers: list[int], here: slice) -> bool:
        return False

    def _place(self, index: int, number: int) -> None:
        if index >= self.next:
            self.next = index + 1
            self._had.add(index)
            self.verdict.counts["made"] += 1
        elif index in self._had:
            self._wrong("duplicated", f"event {number} again")
        else:
            self._wrong("out_of_order", f"event {number} late")

    def _enter(self, era: int, seq: int) -> None:
        super()._enter(era, seq)
        self._had = set()

    def _hole(self, until: int, where: str) -> None:
        """What was passed over was superseded, or will be: only the end shows whether it was."""

    def finish(self) -> None:
        super().finish()
        if self.era != len(self.truth.eras) - 1:
            return
        newest = {self.truth.by_number[number].subject: index for index, number in enumerate(self.owed.numbers)}
        for subject, index in newest.items():
            if index not in self._had and index not in self.passed:
                self.verdict.counts["lost"] += 1
                self._say(f"event {self.owed.numbers[index]}, the newest of {subject}, is missing at the end")
