"""Asks a Prometheus what happened to a Broadcaster."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import httpx2

from ssecast_operator.history import QUERIES, STREAMS, History, Points, Subject, history_of, points_of, query_of
from ssecast_operator.traces import TraceError

ASK_SECONDS = 60.0
POINTS_MAX = 10_000
"""Prometheus answers with 11,000 per series at most."""

STEP_SECONDS = 15
"""Steps are multiples of this; shorter ones than it is scraped show nothing more."""

Matrix = list[dict[str, Any]]


class PrometheusError(RuntimeError):
    """There is no history: one sentence."""


@dataclass(frozen=True, slots=True)
class Source:
    """seconds: how far back. token: sent as a bearer; empty: none."""

    url: str
    seconds: float
    subject: Subject
    token: str = ""

    @property
    def step(self) -> int:
        """Seconds between two points."""
        return STEP_SECONDS * ceil(max(1.0, self.seconds / POINTS_MAX / STEP_SECONDS))


def history(source: Source, target: int, now: float) -> History:
    """Up to now. target: streams per pod that it is looked at with. Raises PrometheusError."""
    headers = {"Authorization": f"Bearer {source.token}"} if source.token else {}
    with httpx2.Client(timeout=ASK_SECONDS, headers=headers, follow_redirects=True) as http:
        found = _ask(http, source, STREAMS, target, now)
        subject = _one_of(source, found)
        answers = {STREAMS: _points(found)}
        for name in QUERIES.keys() - {STREAMS}:
            answers[name] = _points(_ask(http, replace(source, subject=subject), name, target, now))
    try:
        return history_of(f"{subject.namespace}-{subject.broadcaster}", answers)
    except TraceError as wrong:
        raise PrometheusError(f"the history cannot be replayed: {wrong}; a shorter --range may do") from None


def _one_of(source: Source, found: Matrix) -> Subject:
    """The Broadcaster with its namespace."""
    namespaces = sorted({each["metric"].get("namespace", "") for each in found})
    if not namespaces:
        raise PrometheusError(
            f"{source.url} knows no ssecast_streams of a Broadcaster {str(source.subject)!r}; expected is the name of one "
            "whose pods it scrapes, with the labels of the chart's PodMonitor"
        )
    if len(namespaces) > 1:
        raise PrometheusError(
            f"there is a Broadcaster {source.subject.broadcaster!r} in {', '.join(namespaces)}; expected is --namespace"
        )
    return replace(source.subject, namespace=namespaces[0])


def _points(found: Matrix) -> Points:
    try:
        return points_of(found)
    except (KeyError, TypeError, ValueError):
        raise PrometheusError(
            "the answer of Prometheus has series without [time, value]; is it a Prometheus?"
        ) from None


def _ask(http: httpx2.Client, source: Source, name: str, target: int, now: float) -> Matrix:
    end = now // source.step * source.step
    form = {
        "query": query_of(name, source.subject, target, source.step),
        "start": f"{end - source.seconds:.3f}",
        "end": f"{end:.3f}",
        "step": str(source.step),
    }
    url = f"{source.url.rstrip('/')}/api/v1/query_range"
    try:
        answer = http.post(url, data=form)
    except (httpx2.HTTPError, httpx2.InvalidURL) as wrong:
        raise PrometheusError(f"{source.url} does not answer: {str(wrong) or type(wrong).__name__}") from None
    try:
        body = answer.json()
        if body["status"] != "success":
            raise PrometheusError(f"{source.url} says: {str(body.get('error'))[:300]}")
        found: Sequence[Any] = body["data"]["result"]
        return list(found)
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError):
        raise PrometheusError(
            f"{source.url} has answered {answer.status_code} and no result; expected is the address of a Prometheus"
        ) from None
