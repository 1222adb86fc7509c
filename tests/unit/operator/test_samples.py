"""samples.py: what a pod's answer is worth, and which answers are none."""

import json
from typing import Any

import pytest

from ssecast_operator.samples import FRESH_SECONDS, STALE_SECONDS, Freshness, Load, NoLoadError, Sample, read_load

ANSWER = {
    "version": "1.2.3",
    "pod_uid": "uid-1",
    "boot_id": "b1",
    "started_at": "2027-01-15T07:00:00.000Z",
    "streams": 6000,
    "capacity": 10_000,
    "draining": True,
    "drain_deadline": "2027-01-15T08:00:00.000Z",
    "opened_total": 70_000,
    "refused_total": 12,
    "refused_per_second": 1.5,
    "closed_total": {"client": 1},
    "position": "e-1",
    "source_lag_seconds": 0.0,
}


def answer(**changes: Any) -> bytes:
    return json.dumps(ANSWER | changes).encode()


@pytest.mark.parametrize(
    ("age", "freshness", "fresh", "assumed"),
    [
        (0.0, Freshness.FRESH, True, True),
        (FRESH_SECONDS, Freshness.FRESH, True, True),
        (FRESH_SECONDS + 0.1, Freshness.STALE, False, True),
        (STALE_SECONDS, Freshness.STALE, False, True),
        (STALE_SECONDS + 0.1, Freshness.MISSING, False, False),
    ],
)
def test_a_sample_grows_stale_and_then_says_nothing(
    age: float, freshness: Freshness, fresh: bool, assumed: bool
) -> None:
    sample = Sample(Load("b1", 10, 100), read_at=1000.0)
    assert sample.freshness(1000.0 + age) is freshness
    assert (sample.fresh(1000.0 + age) is not None) is fresh
    assert (sample.assumed(1000.0 + age) is not None) is assumed


def test_a_pod_that_never_answered_is_missing_not_empty() -> None:
    assert Sample().freshness(0.0) is Freshness.MISSING
    assert (Sample().fresh(0.0), Sample().assumed(0.0)) == (None, None)


def test_what_the_operator_uses_of_an_answer() -> None:
    assert read_load(answer(), "uid-1") == Load("b1", 6000, 10_000, True, 1_800_000_000.0, 1.5)


def test_a_pod_that_does_not_drain_has_no_deadline() -> None:
    assert read_load(answer(draining=False, drain_deadline=None), "uid-1").drain_deadline is None


def test_the_answer_of_another_pod_is_no_data() -> None:
    """An address that was a pod's may be another one's by now."""
    with pytest.raises(NoLoadError, match="the answer is that of pod 'uid-1', not of 'uid-2'"):
        read_load(answer(), "uid-2")


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff\xfe", b"[1]", b"7", b"null"])
def test_what_is_no_object_is_no_data(body: bytes) -> None:
    with pytest.raises(NoLoadError, match=r"is not (a )?JSON"):
        read_load(body, "uid-1")


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("streams", None, "streams is 'None', not a number from 0 to 1000000000"),
        ("streams", -1, "streams is '-1', not a number"),
        ("streams", True, "streams is 'True', not a number"),
        ("streams", "6000", "streams is '6000', not a number"),
        ("streams", 10**10, "streams is '10000000000', not a number"),
        ("capacity", float("nan"), "capacity is 'nan', not a number"),
        ("refused_per_second", float("inf"), "refused_per_second is 'inf', not a number"),
        ("draining", "yes", "draining is 'yes', not true or false"),
        ("boot_id", 5, "boot_id is '5', not a text"),
    ],
)
def test_a_field_that_cannot_be_is_no_data(field: str, value: object, problem: str) -> None:
    with pytest.raises(NoLoadError, match=problem):
        read_load(answer(**{field: value}), "uid-1")
