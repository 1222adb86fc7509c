"""What a pod holds more after a long life than at its beginning: memory and descriptors, out of its samples. Pure.

A mean slope would be that of the last burst: the medians of the first and of the last third are compared, when streams
were about as many, and whatever came and went is in neither.
"""

import statistics
from collections.abc import Sequence
from typing import NamedTuple, Protocol

WARM_MS = 15_000
"""A pod that has just started still grows: streams come, pools fill up, code is run for the first time."""

LEAST = 15
"""Samples, or nothing is said."""


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
    """seconds: from the middle of the first third to that of the last. rss: bytes beside the log; files: beside one for each
    stream. kept: bytes by which the log grew meanwhile."""

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
    third = len(lived) // 3
    if len(lived) < LEAST:
        return None
    first, last = lived[:third], lived[-third:]
    return Growth(
        (_median([each.at for each in last]) - _median([each.at for each in first])) / 1000,
        round(_median([each.rss - each.kept for each in last]) - _median([each.rss - each.kept for each in first])),
        round(
            _median([each.files - each.streams for each in last])
            - _median([each.files - each.streams for each in first])
        ),
        round(_median([each.kept for each in last]) - _median([each.kept for each in first])),
    )


def _median(values: Sequence[int]) -> float:
    return statistics.median(values)
