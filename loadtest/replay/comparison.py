"""What was measured on the cluster beside what the simulator says of the same clients, policy and pods. Pure.

Everything comes from the body of `results.json`: the page and the picture can be made anew without a cluster.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssecast_operator.results import RECOVERED_SHARE, longest
from ssecast_operator.simulation import Series, simulate
from ssecast_operator.spec import Spec
from ssecast_operator.traces import Trace
from ssecast_operator.world import Surroundings

Floats = NDArray[np.float64]


class BodyError(ValueError):
    """A `results.json` that is none of a replay: one sentence."""


@dataclass(frozen=True, slots=True)
class Side:
    """One value per second of each: measured, or simulated. marks: when what happened, in seconds."""

    wanted: Floats
    streams: Floats
    pods: Floats
    ready: Floats
    forced: Floats
    refused: Floats
    marks: Mapping[str, float]

    @property
    def seconds(self) -> int:
        return len(self.wanted)


class Compared(NamedTuple):
    spec: Spec
    measured: Side
    simulated: Side


def compared(body: Mapping[str, Any]) -> Compared:
    """Runs the simulator. Raises BodyError."""
    try:
        spec, measured = Spec.model_validate(body["spec"]), _measured(body)
        start = float(body["start_seconds"])
    except (KeyError, TypeError, ValueError, IndexError) as wrong:
        raise BodyError(f"this is no results.json of a replay: {type(wrong).__name__} at {wrong}") from None
    times = tuple(float(at) for at in range(measured.seconds))
    trace = Trace("replay", times, tuple(measured.wanted.tolist()))
    series = simulate(trace, spec, surroundings=Surroundings(start_seconds=start)).series
    return Compared(spec, measured, _simulated(series, measured.marks))


def _measured(body: Mapping[str, Any]) -> Side:
    seconds = len(body["wanted"])
    at = np.array([look["at"] / 1000 for look in body["looks"]])
    places = np.clip(np.searchsorted(at, np.arange(1, seconds + 1), side="right") - 1, 0, len(at) - 1)

    def looked(name: str) -> Floats:
        found: Floats = np.array([float(look[name]) for look in body["looks"]])[places]
        return found

    def counted(name: str) -> Floats:
        return np.array(body[name], dtype=np.float64)

    return Side(
        counted("wanted"), counted("streams"), looked("pods"), looked("ready"), counted("forced"), counted("refused"),
        {name: float(second) for name, second in body["marks"].items()},
    )  # fmt: skip


def _simulated(series: Series, marks: Mapping[str, float]) -> Side:
    """The trace ends with the last second that was measured, so there is one second less."""

    def whole(values: Floats) -> Floats:
        return np.append(values, values[-1:])

    return Side(
        whole(series.clients), whole(series.connected), whole(series.pods), whole(series.ready), whole(series.returned),
        whole(series.refused), marks,
    )  # fmt: skip


# Figures


class Row(NamedTuple):
    """One figure of a side. close: within which share, or how much, both sides are called alike."""

    words: str
    value: Callable[[Side], float]
    share: float = 0.15
    much: float = 0.0

    @property
    def within(self) -> str:
        return f"{self.share:.0%}" + (f" or {self.much:g}" if self.much else "")

    def alike(self, one: float, other: float) -> bool:
        return abs(one - other) <= max(self.much, self.share * max(abs(one), abs(other)))


ROWS = (
    Row("most pods", lambda side: float(side.pods.max()), much=0.5),
    Row("seconds from the kick-off until all pods were ready", lambda side: _until_most(side), much=10),
    Row("seconds from the last one that left until the fewest pods", lambda side: _until_least(side), much=20),
    Row("pod-minutes", lambda side: float(side.pods.sum()) / 60),
    Row("seconds in a row with more than 1 % without a stream", lambda side: float(_without(side)), much=5),
    Row("refused connections", lambda side: float(side.refused.sum()), share=0.4, much=50),
    Row("streams that the fleet ended", lambda side: float(side.forced.sum()), share=0.25, much=50),
    Row("most reconnects of those in one second", lambda side: float(side.forced.max()), share=0.25, much=10),
)


def _until_most(side: Side) -> float:
    begin = int(side.marks["kick-off"])
    later = side.ready[begin:]
    return float(np.argmax(later == later.max()))


def _until_least(side: Side) -> float:
    """The end, where it was never so."""
    begin = int(side.marks["left"])
    later = side.pods[begin:] <= side.pods[:begin].min(initial=np.inf, where=side.pods[:begin] > 0)
    return float(np.argmax(later)) if later.any() else float(len(later))


def _without(side: Side) -> int:
    return longest(side.wanted - side.streams > RECOVERED_SHARE * np.maximum(side.wanted, 1))


class Line(NamedTuple):
    """A figure of both sides, and whether they are alike."""

    words: str
    measured: float
    simulated: float
    alike: bool
    within: str


def table(found: Compared) -> list[Line]:
    rows = ((row, row.value(found.measured), row.value(found.simulated)) for row in ROWS)
    return [Line(row.words, one, other, row.alike(one, other), row.within) for row, one, other in rows]
