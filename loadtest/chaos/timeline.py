"""What the clients did second by second: open streams and reconnects. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from loadtest.chaos.records import Connected, Ended, Entry, Opened

BIN_MS = 100
A_SECOND = 1000 // BIN_MS


@dataclass
class Timeline:
    """Counts in bins of BIN_MS since `began`, milliseconds of the monotonic clock."""

    began: int
    reconnects: list[int] = field(default_factory=list)
    changes: list[int] = field(default_factory=list)
    """Streams opened less streams ended."""

    def add(self, entries: Iterable[Entry]) -> None:
        """One client's record. Its first connection is no reconnect."""
        came = False
        for entry in entries:
            match entry:
                case Connected(at):
                    if came:
                        self._count(self.reconnects, at, 1)
                    came = True
                case Opened(at):
                    self._count(self.changes, at, 1)
                case Ended(at):
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
        bins = self.reconnects[first:last]
        return max(
            (sum(bins[place : place + A_SECOND]) for place in range(max(len(bins) - A_SECOND + 1, 1))), default=0
        )

    def _bin(self, at: int) -> int:
        return (at - self.began) // BIN_MS

    def _count(self, counts: list[int], at: int, by: int) -> None:
        place = max(self._bin(at), 0)
        counts.extend([0] * (place + 1 - len(counts)))
        counts[place] += by
