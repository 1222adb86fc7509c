"""By how much a pod's memory or descriptors grow, and how sure that is: a line through its samples by least squares. Pure.

Neighbouring samples say the same twice, which would make any line look certain. So they are first put together into a few
means. What the pod holds also rises with the most streams that it has had, and does not fall with them: that is the second
variable, so that a neighbour's streams that came to it for the first time are no growth of its own.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

BLOCKS = 24
LEAST_BLOCKS = 8
SURE = 2.0
"""Standard errors by which a growth must exceed what is allowed: one run in forty would be wrong by chance."""


class Point(NamedTuple):
    """at: seconds. load: the most streams so far."""

    at: float
    value: float
    load: float


class Slope(NamedTuple):
    """per_second, and its standard error. seconds: how long it was watched."""

    per_second: float
    error: float
    seconds: float

    @property
    def grown(self) -> float:
        """In the whole time."""
        return self.per_second * self.seconds

    @property
    def give_or_take(self) -> float:
        """SURE standard errors of that."""
        return SURE * self.error * self.seconds

    def exceeds(self, allowed: float) -> bool:
        """Whether it surely grew by more than that."""
        return self.grown - self.give_or_take > allowed


def slope(points: Sequence[Point]) -> Slope | None:
    """Of points in the order of time; None where they are too few."""
    if len(points) < LEAST_BLOCKS or points[-1].at <= points[0].at:
        return None
    means = _means(np.array(points, dtype=float))
    if len(means) < LEAST_BLOCKS:
        return None
    at, value, load = means[:, 0] - means[0, 0], means[:, 1], means[:, 2]
    columns = [np.ones_like(at), at]
    if np.ptp(load) > 0:
        columns.append(load)
    matrix = np.column_stack(columns)
    found, _, rank, _ = np.linalg.lstsq(matrix, value, rcond=None)
    if rank < matrix.shape[1]:  # the streams rose as evenly as time goes by: which of the two it was, nobody can tell
        matrix = matrix[:, :2]
        found = np.linalg.lstsq(matrix, value, rcond=None)[0]
    rest = value - matrix @ found
    variance = float(rest @ rest) / (len(value) - matrix.shape[1])
    error = float(np.sqrt(variance * np.linalg.inv(matrix.T @ matrix)[1, 1]))
    return Slope(float(found[1]), error, points[-1].at - points[0].at)


def _means(
    points: "np.ndarray[tuple[int, int], np.dtype[np.float64]]",
) -> "np.ndarray[tuple[int, int], np.dtype[np.float64]]":
    """Of blocks of equal time; those without a point are left out."""
    first, last = points[0, 0], points[-1, 0]
    block = np.minimum((points[:, 0] - first) / (last - first) * BLOCKS, BLOCKS - 1).astype(int)
    return np.array([points[block == number].mean(axis=0) for number in np.unique(block)])
