"""What a pod holds more after a long life than at its beginning: memory and descriptors, out of its samples. Pure.

Of the life with faults it is told, and not judged: see `treadmill`, whose rounds are judged here.

The slope is Theil's and Sen's (P. K. Sen, 1968): the median of the slopes between all pairs of samples. One step, as when
all streams come to one pod for the first time, is in less than half of the pairs, and so is whatever came and went.
"""

import statistics
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import NamedTuple, Protocol

WARM_MS = 15_000
"""A pod that has just started still grows: streams come, pools fill up, code is run for the first time."""

LEAST, MOST = 15, 300
"""Samples, or nothing is said; and how many are compared with each other."""


class Sample(Protocol):
    """A pod at one moment: milliseconds, open streams (-1: unknown), bytes in all, open files, and bytes of events that it
    is there to keep."""

    @property
    def at(self) -> int: ...
    @property
    def streams(self) -> int: ...
    @property
    def rss(self) -> int: ...
    @property
    def files(self) -> int: ...
    @property
    def kept(self) -> int: ...


class Growth(NamedTuple):
    """By the slope of the whole life. seconds: how long that was. rss: bytes beside the log; files: beside one for each
    stream. kept: bytes by which the log grew."""

    seconds: float
    rss: int
    files: int
    kept: int

    @property
    def rss_per_minute(self) -> float:
        return self.rss / self.seconds * 60


def growth(samples: Sequence[Sample]) -> Growth | None:
    """Of one life, in order; None where it was too short."""
    if not samples:
        return None
    lived = [each for each in samples if each.at - samples[0].at >= WARM_MS and each.streams >= 0 and each.rss]
    if len(lived) < LEAST:
        return None
    compared = lived[:: -(-len(lived) // MOST)]
    lasted = lived[-1].at - lived[0].at

    def grown(value: Callable[[Sample], int]) -> int:
        return round(_slope([(each.at, value(each)) for each in compared]) * lasted)

    return Growth(
        lasted / 1000,
        grown(lambda each: each.rss - each.kept),
        grown(lambda each: each.files - each.streams),
        grown(lambda each: each.kept),
    )


def kept_per_stream(rounds: Sequence[int], streams: int) -> float | None:
    """Bytes that each of so many streams in a round let the pod grow by; rounds: its bytes after each. None without rounds."""
    return _slope(list(enumerate(rounds))) / streams if len(rounds) > 1 else None


def _slope(points: Sequence[tuple[int, int]]) -> float:
    """Per unit of the first number of each point."""
    return statistics.median((after - before) / (then - at) for (at, before), (then, after) in combinations(points, 2))
