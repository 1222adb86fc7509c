"""What the clients of a replay did, second by second: who wanted a stream, had one, was refused, or was sent away. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from loadtest.chaos.records import Connected, Ended, Entry, GaveUp, Placed, Refused, Run
from loadtest.chaos.timeline import IN_GOOD_ORDER

LEFT = "own-leave"
"""How clients call it that they have gone for good; what they end in the end is `own-close`."""

OWN = frozenset({LEFT, "own-close", "own-reset"})


@dataclass
class Seconds:
    """Counts per second since `began`, milliseconds of the monotonic clock; what comes after `until` does not count.

    A stream counts from its position on: a pod that is full ends the stream that it has just answered with.
    """

    began: int
    until: int
    wanted: list[int] = field(default_factory=list)
    """Changes, as the next one."""
    streams: list[int] = field(default_factory=list)
    forced: list[int] = field(default_factory=list)
    """Reconnects of clients whose stream was ended in good order."""
    refused: list[int] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    """Streams that ended otherwise."""
    gave_up: int = 0

    def add(self, entries: Iterable[Entry]) -> None:
        """One client's record."""
        came = placed = sent_away = False
        for entry in entries:
            at = entry.until if isinstance(entry, Run) else getattr(entry, "at", self.began)
            if at > self.until:
                return
            match entry:
                case Connected():
                    self._count(self.wanted, at, int(not came))
                    self._count(self.forced, at, int(sent_away))
                    came, placed, sent_away = True, False, False
                case Placed() if not placed:
                    self._count(self.streams, at, 1)
                    placed = True
                case Refused():
                    self._count(self.refused, at, 1)
                case Ended(_, how):
                    self._ended(at, how, placed)
                    sent_away, placed = placed and how == IN_GOOD_ORDER, False
                case GaveUp():
                    self.gave_up += 1
                case _:
                    pass

    def _ended(self, at: int, how: str, placed: bool) -> None:
        self._count(self.streams, at, -int(placed))
        self._count(self.wanted, at, -int(how == LEFT))
        self._count(self.refused, at, int(not placed and how not in OWN))
        self._count(self.lost, at, int(placed and how != IN_GOOD_ORDER and how not in OWN))

    def _count(self, counts: list[int], at: int, by: int) -> None:
        place = max(0, at - self.began) // 1000
        counts.extend([0] * (place + 1 - len(counts)))
        counts[place] += by

    @property
    def columns(self) -> dict[str, list[int]]:
        """Of equal length; those of `wanted` and `streams` are how many there are at the end of each second."""
        length = (self.until - self.began) // 1000
        found = {}
        for name in ("wanted", "streams", "forced", "refused", "lost"):
            counts = (getattr(self, name) + [0] * length)[:length]
            found[name] = _added_up(counts) if name in ("wanted", "streams") else counts
        return found


def _added_up(changes: Iterable[int]) -> list[int]:
    total, found = 0, []
    for change in changes:
        total += change
        found.append(total)
    return found
