"""What really happened to a Broadcaster, from Prometheus: as a trace for the simulator, and as a run beside simulated ones. Pure.

It reads the answers of Prometheus' `query_range`; nothing here asks it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssecast_operator.simulation import Run, Scaler, Series
from ssecast_operator.spec import Spec
from ssecast_operator.traces import CLIENTS_MAX, Incident, Kind, Trace, TraceError, checked

Floats = NDArray[np.float64]
Points = dict[float, float]
"""Values by the time at which they were, in seconds since the Unix epoch."""

STREAMS = "streams"
"""The one query without which there is no history. By namespace, for a name may stand in several."""

LEAST_RATE_SECONDS = 60.0
"""A rate is taken over at least so long: four scrapes of a Prometheus that asks every 15 s."""

QUERIES: Mapping[str, str] = {
    STREAMS: "sum by (namespace) (ssecast_streams{OF})",
    "waiting": 'max(ssecast_operator_demand_streams{OF,where="refused"})',
    "pods": "count(ssecast_streams{OF})",
    "ready": "count(ssecast_draining{OF} == 0)",
    "desired": "max(ssecast_operator_desired_pods{OF})",
    "hottest": "max(ssecast_streams{OF})",
    "over": "count(ssecast_streams{OF} > TARGET)",
    "capacity": "min(ssecast_capacity_streams{OF})",
    "opened": "sum(rate(ssecast_streams_opened_total{OF}[RATE]))",
    "refused": "sum(rate(ssecast_streams_refused_total{OF}[RATE]))",
    "drained": 'sum(rate(ssecast_streams_closed_total{OF,reason="drain"}[RATE]))',
    "shed": 'sum(rate(ssecast_streams_closed_total{OF,reason="shed"}[RATE]))',
    "ended": 'sum(rate(ssecast_streams_closed_total{OF,reason="shutdown"}[RATE]))',
    "rotated": 'sum(rate(ssecast_streams_closed_total{OF,reason="age"}[RATE]))',
    "rolling_out": "max(ssecast_operator_rolling_out{OF})",
}
"""By what they tell. OF: selects the Broadcaster; TARGET: streams per pod; RATE: over how long."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose history: a Broadcaster. namespace: empty where there is only one of that name."""

    broadcaster: str
    namespace: str = ""

    @property
    def selector(self) -> str:
        labels = {"broadcaster": self.broadcaster} | ({"namespace": self.namespace} if self.namespace else {})
        return ",".join(f"{name}={json.dumps(value)}" for name, value in labels.items())

    def __str__(self) -> str:
        return f"{self.namespace}/{self.broadcaster}" if self.namespace else self.broadcaster


@dataclass(frozen=True, slots=True)
class History:
    """columns: one value for each of the times, by the names of the queries; times: seconds since `began`, evenly spaced but
    for what is missing."""

    name: str
    began: float
    times: Floats
    columns: Mapping[str, Floats]

    @property
    def clients(self) -> Floats:
        """Those with a stream, and those that were refused one and wait to come back."""
        return self.columns[STREAMS] + self.columns["waiting"]

    def at(self, second: float) -> str:
        """A time of it, for people."""
        return f"{datetime.fromtimestamp(self.began + second, UTC):%Y-%m-%d %H:%M} UTC"


def query_of(name: str, subject: Subject, target: int, step: float) -> str:
    """What to ask Prometheus."""
    filled = QUERIES[name].replace("OF", subject.selector).replace("TARGET", str(target))
    return filled.replace("RATE", f"{round(max(step, LEAST_RATE_SECONDS))}s")


# From the answers


def points_of(matrix: Sequence[Mapping[str, Any]]) -> Points:
    """All series of an answer, added up. Raises ValueError where it is none."""
    found: Points = {}
    for series in matrix:
        for at, value in series["values"]:
            number = float(value)
            if isfinite(number):
                found[float(at)] = found.get(float(at), 0.0) + number
    return found


def history_of(name: str, answers: Mapping[str, Points]) -> History:
    """Raises TraceError where it is too short or has a gap. What Prometheus does not know of counts as 0."""
    streams = answers[STREAMS]
    times = sorted(streams)
    began = times[0] if times else 0.0
    checked([at - began for at in times], name, lambda place: _time(times[place]))
    columns = {each: np.array([answers.get(each, {}).get(at, 0.0) for at in times]) for each in QUERIES}
    return History(name, began, np.array(times) - began, columns)


def _time(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


def trace_of(history: History) -> Trace:
    """Rollouts are repeated when they began; pods that were lost are not: their clients only look as if they had left."""
    rolling = history.columns["rolling_out"] > 0
    began = [
        float(at) for at, before, now in zip(history.times[1:], rolling, rolling[1:], strict=False) if now > before
    ]
    incidents = tuple(Incident(Kind.ROLLOUT, at) for at in began)
    return Trace(history.name, tuple(history.times.tolist()), tuple(history.clients.tolist()), incidents)


def measured(history: History, spec: Spec) -> Run:
    """What really happened, second by second, as if it had been simulated. Peaks within a step of the history are not in it."""
    trace = trace_of(history)
    seconds = np.arange(trace.seconds, dtype=np.float64)
    place = np.searchsorted(history.times, seconds, side="right") - 1

    def smooth(name: str) -> Floats:
        found: Floats = np.interp(seconds, history.times, history.columns[name])
        return found

    def held(name: str) -> Floats:
        found: Floats = history.columns[name][place]
        return found

    nothing = np.zeros(len(seconds))
    connected, ready = smooth(STREAMS), held("ready")
    drained, shed, ended = held("drained"), held("shed"), held("ended")
    forced = drained + shed + ended
    series = Series(
        clients=connected + smooth("waiting"),
        connected=connected,
        waiting=smooth("waiting"),
        given_up=nothing,
        pods=held("pods"),
        ready=ready,
        desired=held("desired"),
        refused=held("refused"),
        forced=forced,
        drained=drained,
        shed=shed,
        ended=ended,
        lost=nothing,
        rotated=held("rotated"),
        returned=forced,
        hottest=held("hottest"),
        mean=np.divide(connected, ready, out=np.zeros_like(connected), where=ready > 0),
        over=held("over"),
    )
    return Run(trace, Scaler.OPERATOR, spec, 0, series)


# From a file


def read_range(text: str, file: str) -> Trace:
    """A saved answer of `query_range` whose values are clients, such as of `sum(ssecast_streams)`. Raises TraceError."""
    expected = "expected is an answer of Prometheus' query_range, with resultType matrix"
    try:
        body = json.loads(text)
    except json.JSONDecodeError as wrong:
        raise TraceError(f"{file}, line {wrong.lineno}: {wrong.msg}; expected is JSON") from None
    except RecursionError:
        raise TraceError(f"{file}, line 1: brackets stand in brackets without end; {expected}") from None
    if isinstance(body, dict) and body.get("status") == "error":
        raise TraceError(f"{file}, line 1: Prometheus says {str(body.get('error'))[:200]!r}; {expected}")
    data = body.get("data") if isinstance(body, dict) else None
    if not isinstance(data, dict) or data.get("resultType") != "matrix" or not isinstance(data.get("result"), list):
        found = data.get("resultType") if isinstance(data, dict) else None
        raise TraceError(f"{file}, line 1: {f'resultType is {found!r}' if found else 'there are no data'}; {expected}")
    for number, series in enumerate(data["result"]):
        _check_series(series, number, text, file)
    clients = points_of(data["result"])
    times = sorted(clients)
    checked([at - times[0] for at in times], file, lambda place: f"line {_line_of(times[place], text)}")
    found = Trace(file, tuple(at - times[0] for at in times), tuple(clients[at] for at in times))
    for at, count in zip(times, found.clients, strict=True):
        if not 0 <= count <= CLIENTS_MAX:
            raise TraceError(
                f"{file}, line {_line_of(at, text)}: a value is {count:g}; expected are clients, from 0 to {CLIENTS_MAX:,}"
            )
    return found


def _check_series(series: Any, number: int, text: str, file: str) -> None:
    if not isinstance(series, dict) or not isinstance(series.get("values"), list):
        raise TraceError(f"{file}, line 1: series {number} has no values; expected is a list of [time, value]")
    for pair in series["values"]:
        try:
            at, value = pair
            if not isfinite(float(at)) or isinstance(at, str):
                raise ValueError(f"{at} is no time")
            float(value)
        except (TypeError, ValueError):
            line = _line_of(pair[0], text) if isinstance(pair, list) and pair else 1
            raise TraceError(
                f"{file}, line {line}: {json.dumps(pair)[:60]} is no point of series {number}; expected is [time, value]"
            ) from None


def _line_of(at: object, text: str) -> str:
    """Where a time stands: most files have but one line."""
    place = text.find(json.dumps(at)) if "\n" in text else -1
    if place < 0 and isinstance(at, float) and at.is_integer():
        place = text.find(json.dumps(int(at)))
    return str(text.count("\n", 0, max(place, 0)) + 1)
