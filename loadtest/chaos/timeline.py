"""What the clients did second by second: open streams, reconnects, and which of these came after a stream's age. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from loadtest.chaos.records import Connected, Ended, Entry, Opened
from loadtest.chaos.truth import Span

BIN_MS = 100
A_SECOND = 1000 // BIN_MS

YOUNGEST = 0.8
"""Share of its maximum age at which a stream may end."""

IN_GOOD_ORDER = "end"
"""How clients call it that a stream ended with its last chunk."""

LATE_MS = 1500
"""What an end by age may be late by: the pod's grain, the proxy, and clients that are many."""


@dataclass
class Timeline:
    """Counts in bins of BIN_MS since `began`, milliseconds of the monotonic clock. age: milliseconds that a stream may last;
    0: for ever. disturbed: when ends do not tell why, because pods could not keep time."""

    began: int
    age: int = 0
    disturbed: Sequence[Span] = ()
    reconnects: list[int] = field(default_factory=list)
    changes: list[int] = field(default_factory=list)
    """Streams opened less streams ended."""
    aged: list[int] = field(default_factory=list)
    """Reconnects of clients whose stream ended in good order at its age."""

    def add(self, entries: Iterable[Entry]) -> None:
        """One client's record. Its first connection is no reconnect."""
        came, by_age, opened = False, False, 0
        for entry in entries:
            match entry:
                case Connected(at):
                    if came:
                        self._count(self.reconnects, at, 1)
                    if by_age:
                        self._count(self.aged, at, 1)
                    came, by_age = True, False
                case Opened(at):
                    opened = at
                    self._count(self.changes, at, 1)
                case Ended(at, how):
                    by_age = how == IN_GOOD_ORDER and self._is_age(opened, at)
                    self._count(self.changes, at, -1)
                case _:
                    pass

    @property
    def open_streams(self) -> list[int]:
        """At the end of each second."""
        total, found = 0, []
        for place in range(0, len(self.changes), A_SECOND):
            total += sum(self.changes[place : place + A_SECOND])
            found.append(total)
        return found

    @property
    def reconnects_per_second(self) -> list[int]:
        return [sum(self.reconnects[place : place + A_SECOND]) for place in range(0, len(self.reconnects), A_SECOND)]

    def peak(self, since: int, until: int) -> int:
        """Most reconnects within one second, wherever it begins, between two times."""
        first, last = max(self._bin(since), 0), min(self._bin(until) + 1, len(self.reconnects))
        return most_in_a_second(self.reconnects[first:last])

    def _is_age(self, opened: int, ended: int) -> bool:
        lasted = ended - opened
        in_time = self.age and self.age * YOUNGEST <= lasted <= self.age + LATE_MS
        return bool(in_time) and not any(span.since <= ended <= span.until + LATE_MS for span in self.disturbed)

    def _bin(self, at: int) -> int:
        return (at - self.began) // BIN_MS

    def _count(self, counts: list[int], at: int, by: int) -> None:
        place = max(self._bin(at), 0)
        counts.extend([0] * (place + 1 - len(counts)))
        counts[place] += by


def most_in_a_second(bins: Sequence[int]) -> int:
    """Wherever the second begins."""
    return max((sum(bins[place : place + A_SECOND]) for place in range(max(len(bins) - A_SECOND + 1, 1))), default=0)
