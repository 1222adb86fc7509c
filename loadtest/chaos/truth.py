"""What was stored, where and when: the publisher's log, the stream's incarnations, and how long it kept events. Pure.

Times are milliseconds of the monotonic clock, which publisher and clients share.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple


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


CAUSES = {"recreated": frozenset({"epoch"}), "rewound": frozenset({"rewound", "ahead"})}
"""Reasons that a gap may give for the step into an era."""


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
