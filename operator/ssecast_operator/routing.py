"""Where clients connect: round-robin, least connections, or the better of two pods drawn by chance. Pure.

Expectations, not draws: a fleet takes thousands of clients per second, and chance evens out.
"""

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PORTIONS = 4
"""With two choices, ranks change while clients connect: so many looks at them per second."""


class Routing(StrEnum):
    ROUND_ROBIN = "round-robin"
    """Also what picks a pod by chance, as kube-proxy does."""
    LEAST_CONNECTIONS = "least-connections"
    POWER_OF_TWO = "power-of-two"


def placed(count: float, streams: Floats, room: Floats, routing: Routing) -> tuple[Floats, Floats]:
    """So many clients connect to pods with so many streams and free slots: per pod those it takes, and those it refuses."""
    if routing is Routing.LEAST_CONNECTIONS:
        return filled_evenly(count, streams, room)
    if routing is Routing.POWER_OF_TWO:
        return _two_choices(count, streams, room)
    return _asked(np.full(len(streams), count / len(streams)), room)


def _asked(shares: Floats, room: Floats) -> tuple[Floats, Floats]:
    """A proxy does not know that a pod is full."""
    taken = np.minimum(shares, room)
    return taken, shares - taken


def _two_choices(count: float, streams: Floats, room: Floats) -> tuple[Floats, Floats]:
    """Of k pods, the one with rank r (0: fewest streams) is the better of two with ((k-r)^2 - (k-r-1)^2) / k^2."""
    pods = len(streams)
    above = np.arange(pods, 0, -1, dtype=np.float64)
    by_rank = (above**2 - (above - 1) ** 2) / pods**2
    taken, refused = np.zeros(pods), np.zeros(pods)
    for _ in range(PORTIONS):
        shares = np.empty(pods)
        shares[np.argsort(streams + taken, kind="stable")] = by_rank * (count / PORTIONS)
        more, turned_away = _asked(shares, room - taken)
        taken += more
        refused += turned_away
    return taken, refused


def filled_evenly(count: float, streams: Floats, room: Floats) -> tuple[Floats, Floats]:
    """As water fills a vessel: the emptiest pods first, up to a level; who finds every pod full is refused by all alike."""
    pods = len(streams)
    total = float(room.sum())
    if count >= total:
        return room.copy(), np.full(pods, (count - total) / pods)
    taken, open_ = np.zeros(pods), np.arange(pods)
    left = count
    while left > 0 and len(open_):
        share = np.maximum(_level(left, streams[open_]) - streams[open_], 0.0)
        full = share > room[open_]
        if not full.any():
            taken[open_] = share
            break
        # What they cannot take raises the level for the others, so they stay full.
        taken[open_[full]] = room[open_[full]]
        left -= float(room[open_[full]].sum())
        open_ = open_[~full]
    return taken, np.zeros(pods)


def _level(count: float, streams: Floats) -> float:
    """How high so many clients fill pods with so many streams."""
    rising = np.sort(streams)
    sums = np.cumsum(rising)
    numbers = np.arange(1, len(rising) + 1)
    reached = int(np.count_nonzero(rising * numbers - sums < count))
    return (count + float(sums[reached - 1])) / reached
