"""Clients without a stream: those that wait to come back, second by second, and those that have given up. Pure.

Numbers, no objects: ten million clients cost as much as ten. A fraction of a client is meant as an expectation.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

AGAIN_SECONDS = 1.0
"""After an orderly close a client is told to come back within 50 to 1000 ms: in the second that follows."""


@lru_cache(maxsize=64)
def spread_evenly(first: float, spread: float) -> tuple[int, Floats]:
    """Waits from `first` to `first + spread` seconds: the first second of them, and each second's share. They add up to 1."""
    begin, end = max(1.0, first), max(1.0, first) + max(spread, 1e-9)
    seconds = np.arange(int(begin), int(np.ceil(end)) + 1)
    overlap = np.clip(np.minimum(seconds + 1, end) - np.maximum(seconds, begin), 0, None)
    shares = overlap / overlap.sum()
    return int(begin), shares


class Crowd:
    """Who waits. forced: those whose stream the fleet has closed; others: new ones, and those that were refused."""

    def __init__(self, longest: float) -> None:
        """longest: no client waits longer, in seconds."""
        size = int(np.ceil(longest)) + 4
        self._forced = np.zeros(size)
        self._others = np.zeros(size)
        self._at = 0
        self.given_up = 0.0

    @property
    def waiting(self) -> float:
        return float(self._forced.sum() + self._others.sum())

    def wait(self, count: float, first: float, spread: float, *, forced: bool) -> None:
        """So many come back after `first` to `first + spread` seconds."""
        begin, shares = spread_evenly(first, spread)
        ring = self._forced if forced else self._others
        # From the front and round the end: the ring is longer than any wait.
        at = (self._at + begin) % len(ring)
        head = min(len(shares), len(ring) - at)
        ring[at : at + head] += shares[:head] * count
        if head < len(shares):
            ring[: len(shares) - head] += shares[head:] * count

    def come(self) -> tuple[float, float]:
        """A second passes: who comes back in it, forced ones and others."""
        self._at = (self._at + 1) % len(self._forced)
        forced, others = float(self._forced[self._at]), float(self._others[self._at])
        self._forced[self._at] = self._others[self._at] = 0.0
        return forced, others

    def leave(self, share: float) -> None:
        """This share of them does not want a stream any more."""
        self._forced *= 1 - share
        self._others *= 1 - share
        self.given_up *= 1 - share
