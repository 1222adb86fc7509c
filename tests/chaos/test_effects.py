"""A fault that does nothing is found out by counters that did not rise."""

from collections import Counter

import pytest

from loadtest.chaos.effects import LAG_MS, SIGNS, Look, effect, risen
from loadtest.chaos.figures import without_effect
from ssecast.metrics import BREAKS, CLOSED, REFUSED, RESTARTS, RESUMES

OVERFLOW = 'ssecast_source_restarts_total{reason="overflow"}'
NAMES = {
    "ssecast_source_restarts_total": RESTARTS,
    "ssecast_streams_closed_total": CLOSED,
    "ssecast_streams_refused_total": REFUSED,
    "ssecast_resumes_total": RESUMES,
    "ssecast_breaks_total": BREAKS,
}


def history(*counts: tuple[int, int], name: str = OVERFLOW) -> list[Look]:
    return [Look(at, Counter({name: count, "other": at})) for at, count in counts]


BUSY = history((0, 3), (1000, 3), (2000, 5), (9000, 6), (20_000, 9))
IDLE = history((0, 3), (1000, 3), (30_000, 3))


def test_what_rose_during_a_fault_and_shortly_after_it_is_its_effect() -> None:
    assert effect("overflow", 0, 1500, 1900, [BUSY, IDLE]) == 3
    assert effect("overflow", 0, 1500, 1900 - LAG_MS, [BUSY, IDLE]) == 2
    assert effect("overflow", 0, 10_000, 11_000, [BUSY, IDLE]) == 3


def test_what_rose_on_another_pod_is_no_effect_of_a_pods_fault() -> None:
    assert effect("overflow", 1, 1500, 1900, [BUSY, IDLE]) == 0
    stalls = history((0, 0), (5000, 1), name='ssecast_streams_closed_total{reason="stalled"}')
    assert effect("stall", -1, 1000, 4000, [IDLE, stalls]) == 1, "that of the clients is one on any"


def test_what_rose_before_or_by_another_name_is_no_effect() -> None:
    assert effect("overflow", 0, 21_000, 22_000, [BUSY]) == 0
    assert effect("behind", 0, 0, 30_000, [BUSY]) == 0
    assert risen([], [OVERFLOW], 0, 1) == 0


def test_a_kind_is_without_effect_where_none_of_its_faults_had_one() -> None:
    assert without_effect(Counter(kill=3, overflow=0, stall=1)) == ["overflow"]


@pytest.mark.parametrize("kind", SIGNS)
def test_the_counters_that_are_looked_at_are_those_that_pods_have(kind: str) -> None:
    for sign in SIGNS[kind]:
        family, _, label = sign.partition("{")
        if family.startswith("ssecast_"):
            assert not label or label.partition('"')[2].removesuffix('"}') in NAMES[family]
        else:
            assert family.startswith("chaos_")
