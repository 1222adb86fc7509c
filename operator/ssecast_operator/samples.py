"""What one pod last said about its load, and how much that is still worth. Pure.

No answer is no data, never zero.
"""

import json
from dataclasses import dataclass
from enum import Enum, auto
from math import inf
from typing import Any

from ssecast_operator.instants import instant

FRESH_SECONDS = 15.0
"""Three rounds of asking every 5 s: one answer that is lost makes no sample stale."""

STALE_SECONDS = 60.0
"""As long the last value is assumed to hold still; then it says nothing any more."""

PROBLEM_MAX_CHARS = 500

COUNT_MAX = 10**9
"""Larger counts than this are a defect, or a lie."""


class Freshness(Enum):
    FRESH = auto()
    STALE = auto()
    """The last value is assumed to hold still."""
    MISSING = auto()


class NoLoadError(ValueError):
    """An answer that is not this pod's load: one sentence."""


@dataclass(frozen=True, slots=True)
class Load:
    """What of a pod's `/load` the operator uses."""

    boot_id: str
    streams: int
    capacity: int
    draining: bool = False
    drain_deadline: float | None = None
    refused_per_second: float = 0.0
    problem: str = ""
    """What is wrong with its connection to NATS or with the stream, in a sentence."""


@dataclass(frozen=True, slots=True)
class Sample:
    """load: the last answer, None where there never was one. read_at: when it was read."""

    load: Load | None = None
    read_at: float = -inf

    def freshness(self, now: float) -> Freshness:
        if self.load is None:
            return Freshness.MISSING
        age = now - self.read_at
        if age <= FRESH_SECONDS:
            return Freshness.FRESH
        return Freshness.STALE if age <= STALE_SECONDS else Freshness.MISSING

    def fresh(self, now: float) -> Load | None:
        """The load, where it is fresh."""
        return self.load if now - self.read_at <= FRESH_SECONDS else None

    def assumed(self, now: float) -> Load | None:
        """The load, where it is fresh or at least assumed to hold still."""
        return self.load if now - self.read_at <= STALE_SECONDS else None


NO_SAMPLE = Sample()


def read_load(body: bytes, uid: str) -> Load:
    """The answer of the pod with this UID. Raises NoLoadError.

    An address may belong to another pod by the time that it answers: what names another UID is no data.
    """
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):  # the latter: brackets in brackets, as deep as the answer is long
        raise NoLoadError("the answer is not JSON") from None
    if not isinstance(answer, dict):
        raise NoLoadError("the answer is not a JSON object")
    if answer.get("pod_uid") != uid:
        raise NoLoadError(f"the answer is that of pod {str(answer.get('pod_uid'))[:80]!r}, not of {uid!r}")
    return Load(
        boot_id=_text(answer, "boot_id"),
        streams=int(_count(answer, "streams")),
        capacity=int(_count(answer, "capacity")),
        draining=_flag(answer, "draining"),
        drain_deadline=instant(answer.get("drain_deadline")),
        refused_per_second=_count(answer, "refused_per_second"),
        problem=_text({"problem": ""} | answer, "problem")[:PROBLEM_MAX_CHARS],
    )


def _text(answer: dict[str, Any], name: str) -> str:
    value = answer.get(name)
    if not isinstance(value, str):
        raise NoLoadError(f"{name} is {str(value)[:80]!r}, not a text")
    return value


def _flag(answer: dict[str, Any], name: str) -> bool:
    value = answer.get(name)
    if not isinstance(value, bool):
        raise NoLoadError(f"{name} is {str(value)[:80]!r}, not true or false")
    return value


def _count(answer: dict[str, Any], name: str) -> float:
    value = answer.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= COUNT_MAX:
        return float(value)
    raise NoLoadError(f"{name} is {str(value)[:80]!r}, not a number from 0 to {COUNT_MAX}")
