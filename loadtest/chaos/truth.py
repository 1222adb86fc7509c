"""What was stored, where and when: the publisher's log, the stream's incarnations, and how long it kept events. Pure.

Times are milliseconds of the monotonic clock, which publisher and clients share.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

CLOCK_MS = 20
"""What two looks at two clocks may differ by."""


class Stored(NamedTuple):
    """An event that JetStream acknowledged. sent: when it was first handed to NATS, so it is not older than that."""

    number: int
    subject: str
    era: int
    seq: int
    sent: int
    acked: int


class Era(NamedTuple):
    """One incarnation of the stream as its clients must see it. began: when the first pod could know of it.

    A restored copy has the epoch of the stream that it was copied from, and is an era of its own all the same: events
    before and after it share positions.
    """

    epoch: str
    began: int
    cause: str


class Span(NamedTuple):
    """A piece of time."""

    since: int
    until: int

    def overlap(self, other: "Span") -> int:
        return max(min(self.until, other.until) - max(self.since, other.since), 0)


CAUSES = {"recreated": frozenset({"epoch"}), "rewound": frozenset({"rewound", "ahead"})}
"""Reasons that a gap may give for the step into an era."""

EXPIRED = "expired"
"""The only reason that a gap may give within an era."""


class Owed(NamedTuple):
    """What one era held for some subjects, in order."""

    seqs: list[int]
    numbers: list[int]


@dataclass
class Truth:
    """Filled while the test runs, read by the oracle afterwards."""

    eras: list[Era] = field(default_factory=list)
    by_number: dict[int, Stored] = field(default_factory=dict)
    retention: list[tuple[int, float]] = field(default_factory=list)
    """(since when, seconds) that the stream kept events."""
    rests: list[Span] = field(default_factory=list)
    """When nothing was published, and all that had been was acknowledged."""
    clocks: list[int] = field(default_factory=list)
    """What the wall clock was ahead of the monotonic one, milliseconds, as often as somebody looked."""
    _by_place: dict[tuple[int, int], Stored] = field(default_factory=dict)
    _owed: dict[tuple[int, frozenset[str]], Owed] = field(default_factory=dict)

    def store(self, event: Stored) -> None:
        """Raises ValueError where the publisher got two answers for one event, or one place for two events."""
        known = self.by_number.setdefault(event.number, event)
        placed = self._by_place.setdefault((event.era, event.seq), event)
        if known is not event or placed is not event:
            raise ValueError(f"{event} was acknowledged, and before it {known if known is not event else placed}")

    def owed(self, era: int, subjects: frozenset[str]) -> Owed:
        key = (era, subjects)
        if key not in self._owed:
            self._owed[key] = Owed(*self._sorted(era, subjects))
        return self._owed[key]

    def _sorted(self, era: int, subjects: frozenset[str]) -> Iterator[list[int]]:
        found = sorted(
            (each.seq, each.number) for each in self.by_number.values() if each.era == era and each.subject in subjects
        )
        yield [seq for seq, _ in found]
        yield [number for _, number in found]

    def era_at(self, epoch: str, at: int) -> int | None:
        """The newest era with this epoch that had begun; None where there is none."""
        found = [number for number, era in enumerate(self.eras) if era.epoch == epoch and era.began <= at]
        return found[-1] if found else None

    def expired(self, era: int, seq: int, at: int) -> bool:
        """Whether the stream may have dropped this event by then; False where it never held it."""
        event = self._at(era, seq)
        if event is None:
            return False
        for place, (since, seconds) in enumerate(self.retention):
            until = self.retention[place + 1][0] if place + 1 < len(self.retention) else at
            if since <= at and event.sent + seconds * 1000 <= min(until, at):
                return True
        return False

    def pause(self, since: int, until: int) -> int:
        """How long nothing came between two events, less the publisher's rests."""
        pause = Span(since, until)
        return until - since - sum(pause.overlap(rest) for rest in self.rests)

    def was_stored_at(self, number: int, wall_us: int) -> bool:
        """Whether JetStream may have stored this event at that time of the wall clock: after it was first handed over, and
        before it was acknowledged."""
        event = self.by_number.get(number)
        if event is None:
            return False
        first, last = event.sent + min(self.clocks), event.acked + max(self.clocks)
        return first - CLOCK_MS <= wall_us / 1000 <= last + CLOCK_MS

    def _at(self, era: int, seq: int) -> Stored | None:
        """Also what an era took over from the one that it was copied from."""
        epoch = self.eras[era].epoch
        for number in range(era, -1, -1):
            event = self._by_place.get((number, seq))
            if event is not None and self.eras[number].epoch == epoch:
                return event
        return None


def index_after(owed: Owed, seq: int) -> int:
    """The place of the first event after seq."""
    return bisect_right(owed.seqs, seq)
