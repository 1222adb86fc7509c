"""rebalance.py: rule 8."""

from typing import Any

import pytest

from ssecast_operator.actions import Shed
from ssecast_operator.fleet import Fleet, Pod
from ssecast_operator.instants import rfc3339
from ssecast_operator.rebalance import (
    FRESH_START,
    LASTING_SECONDS,
    ROUND_SECONDS,
    SETTLE_SECONDS,
    Balance,
    BalanceMemory,
    Levels,
    Rebalancing,
    giving,
    levels_of,
    rebalance,
    restored_balance,
)
from tests.fleets import NOW, budget, fleet, pod, pods, spec_of

BUDGET = budget(per_second=500)
"""400 per second are planned with."""

LASTING = BalanceMemory(uneven_since=NOW - LASTING_SECONDS)
MOVING = BalanceMemory(moving=True)


SMALL = {"target": 100, "limit": 10_000}
"""So that a pod's share is the mean."""


def rebalanced(
    shown: Fleet, memory: BalanceMemory = LASTING, *, busy: str = "", each: Any = SMALL, **settings: Any
) -> Rebalancing:
    scaling = spec_of({"streamsPerPod": each, "rebalance": {"threshold": 0.2} | settings}).scaling
    return rebalance(shown, scaling, BUDGET, memory, NOW, busy=busy)


def test_a_pod_far_above_the_mean_sheds_until_it_is_less_far() -> None:
    """After a scale-up from two pods to three: the mean is 4,000, they keep 4,720, and 2,560 streams take 6.4 s."""
    assert rebalanced(fleet(6000, 6000, 0)) == Rebalancing(
        Balance.MOVING,
        "2 pods shed 2,560 streams, over 6 s",
        BalanceMemory(until=NOW + 6.4 + SETTLE_SECONDS, moving=True),
        (Shed("pod-0", "uid-pod-0", 1280, 6.4), Shed("pod-1", "uid-pod-1", 1280, 6.4)),
    )


@pytest.mark.parametrize(
    ("streams", "state"),
    [((1200, 800), Balance.EVEN), ((1201, 799), Balance.MOVING), ((1000, 1000), Balance.EVEN), ((0, 0), Balance.EVEN)],
)
def test_a_fifth_above_the_mean_is_tolerated(streams: tuple[int, ...], state: Balance) -> None:
    assert rebalanced(fleet(*streams)).state is state


@pytest.mark.parametrize(("streams", "state"), [((1181, 819), Balance.EVEN), ((1182, 818), Balance.MOVING)])
def test_once_begun_it_goes_on_until_each_has_what_it_may_keep(streams: tuple[int, ...], state: Balance) -> None:
    """Hysteresis: otherwise it would begin again with the next client. A hundredth of the target is not looked at."""
    assert rebalanced(fleet(*streams), MOVING).state is state
    assert rebalanced(fleet(*streams)).state is Balance.EVEN


@pytest.mark.parametrize(("streams", "state"), [((7200, 0, 0), Balance.EVEN), ((7201, 0, 0), Balance.MOVING)])
def test_a_pod_that_has_no_more_than_it_should_is_left_alone_however_uneven(
    streams: tuple[int, ...], state: Balance
) -> None:
    """It has room, and its streams' ages even out the fleet for nothing."""
    assert rebalanced(fleet(*streams), each={"target": 6000, "limit": 10_000}).state is state


def test_a_pod_that_is_nearly_full_sheds_whatever_the_threshold_says() -> None:
    """It would soon turn clients away for whom there is room elsewhere."""
    each = {"target": 9000, "limit": 10_000}
    assert rebalanced(fleet(9950, 0), each=each, threshold=5).state is Balance.EVEN
    (shed,) = rebalanced(fleet(9951, 0), each=each, threshold=5).actions
    assert shed.count == 9951 - 9855


def test_a_pod_that_takes_less_than_the_mean_is_no_donor() -> None:
    assert levels_of(5000.0, 1000, spec_of({"streamsPerPod": SMALL}).scaling) == Levels(5001.0, 5000.9)


def test_a_few_streams_are_not_worth_a_reconnect() -> None:
    """One per cent of the target, and never less than one."""
    assert rebalanced(fleet(6060, 0), each={"target": 6000, "limit": 6010}).state is Balance.EVEN
    assert rebalanced(fleet(6061, 0), each={"target": 6000, "limit": 6010}).state is Balance.MOVING
    assert rebalanced(fleet(2, 0), each={"target": 1, "limit": 9}).state is Balance.EVEN
    assert rebalanced(fleet(4, 0), each={"target": 1, "limit": 9}).state is Balance.MOVING


def test_it_must_last() -> None:
    first = rebalanced(fleet(6000, 0), FRESH_START)
    assert (first.state, first.actions, first.memory) == (Balance.UNEVEN, (), BalanceMemory(uneven_since=NOW))
    later = rebalanced(fleet(6000, 0), BalanceMemory(uneven_since=NOW - LASTING_SECONDS + 1))
    assert (later.state, later.memory.uneven_since) == (Balance.UNEVEN, NOW - LASTING_SECONDS + 1)
    assert rebalanced(fleet(3000, 3000), BalanceMemory(uneven_since=NOW - 9)).memory == FRESH_START


def test_a_round_is_waited_for() -> None:
    waiting = BalanceMemory(until=NOW + 7, moving=True)
    assert rebalanced(fleet(6000, 0), waiting) == Rebalancing(Balance.MOVING, "streams move for another 7 s", waiting)


@pytest.mark.parametrize(
    ("shown", "why"),
    [
        (fleet(6000, 0, replicas=3), "not all pods are ready"),
        (Fleet(2, (pod("a", 6000), pod("b", 0, ready_since=None))), "not all pods are ready"),
        (Fleet(2, (pod("a", 6000), pod("b", 0, ready_since=NOW - 59))), "not all pods have been ready for 60 s"),
        (Fleet(2, (pod("a", 6000), pod("b", None))), "not all pods answer"),
        (Fleet(2, (pod("a", 6000), pod("b", 0, age=16.0))), "not all pods answer"),
        (Fleet(2, pods(6000, 0), rollout=True), "a rollout is under way"),
        (Fleet(2, (*pods(6000, 0), pod("c", terminating=True))), "pods are leaving"),
        (Fleet(2, (pod("a", 6000), pod("b", 0, drain_deadline=NOW))), "pods are leaving"),
    ],
)
def test_it_waits_for_a_fleet_that_is_calm_and_known(shown: Fleet, why: str) -> None:
    """A pod that does not answer is not an empty one."""
    assert rebalanced(shown) == Rebalancing(Balance.WAITING, why, FRESH_START)


@pytest.mark.parametrize("lost", [pod("c", None, terminating=True), pod("c", 9000, age=61.0, terminating=True)])
def test_it_does_not_wait_for_a_pod_whose_end_nobody_confirms(lost: Pod) -> None:
    """Its node is away, perhaps for ever; for as long nothing would be moved."""
    assert rebalanced(Fleet(2, (*pods(6000, 0), lost))) == rebalanced(fleet(6000, 0))


def test_what_is_busy_otherwise_moves_no_streams() -> None:
    assert rebalanced(fleet(6000, 0), busy="pods drain") == Rebalancing(Balance.WAITING, "pods drain", FRESH_START)


@pytest.mark.parametrize(
    ("shown", "busy", "why"),
    [
        (Fleet(2, pods(6000, 0), rollout=True), "", "a rollout is under way"),
        (fleet(6000, 0), "pods drain", "pods drain"),
    ],
)
def test_a_round_is_called_off_when_the_budget_is_needed_elsewhere(shown: Fleet, busy: str, why: str) -> None:
    """Two at once would be more than the budget; a shed of nothing ends the one before."""
    running = BalanceMemory(until=NOW + 7, moving=True)
    stops = tuple(Shed(f"pod-{at}", f"uid-pod-{at}", 0, 0.0) for at in range(2))
    assert rebalanced(shown, running, busy=busy) == Rebalancing(Balance.STOPPED, why, FRESH_START, stops)


def test_a_pod_that_drains_is_told_nothing_more() -> None:
    """It takes no order to shed, and its drain has ended the one before."""
    shown = Fleet(2, (pod("a", 6000), pod("b", 0, draining=True)))
    running = BalanceMemory(until=NOW + 7, moving=True)
    assert rebalanced(shown, running).actions == (Shed("a", "uid-a", 0, 0.0),)


def test_a_young_pod_may_be_allowed() -> None:
    young = Fleet(2, (pod("a", 6000), pod("b", 0, ready_since=NOW - 5)))
    assert rebalanced(young, minPodAgeSeconds=5).state is Balance.MOVING
    assert rebalanced(young, minPodAgeSeconds=6).state is Balance.WAITING


def test_it_can_be_switched_off() -> None:
    found = rebalanced(fleet(6000, 0), MOVING, enabled=False)
    assert (found.state, found.actions, found.memory) == (Balance.OFF, (), FRESH_START)


def test_a_round_is_bounded_and_each_gives_the_same_share() -> None:
    """400 per second for a minute are 24,000 streams; the rest has to wait for the next round."""
    found = rebalanced(fleet(*[10_000] * 8, *[0] * 8), threshold=0.1)
    assert {shed.count for shed in found.actions} == {3000}
    assert {shed.window for shed in found.actions} == {ROUND_SECONDS}


def test_no_more_is_shed_than_the_others_can_take() -> None:
    """A pod may be smaller than the mean."""
    shown = Fleet(2, (pod("a", 9000), pod("b", 100, capacity=1000)))
    assert [shed.count for shed in rebalanced(shown).actions] == [900]  # of 3,631
    full = Fleet(2, (pod("a", 9000), pod("b", 1000, capacity=1000)))
    assert rebalanced(full).state is Balance.EVEN


def test_a_small_round_still_takes_a_second() -> None:
    assert rebalanced(fleet(200, 0)).actions == (Shed("pod-0", "uid-pod-0", 82, 1.0),)


def test_who_gives_streams_away_is_known_until_the_round_has_settled() -> None:
    scaling = spec_of({"streamsPerPod": SMALL, "rebalance": {"threshold": 0.2}}).scaling
    shown = fleet(6000, 0)
    begun = rebalanced(shown)
    assert giving(shown, scaling, begun, NOW) == {"pod-0"}
    assert giving(shown, scaling, rebalanced(shown, begun.memory), NOW) == {"pod-0"}
    given = fleet(3540, 2460)
    assert giving(given, scaling, rebalanced(given, begun.memory), NOW) == {"pod-0"}, "the last are on their way"
    assert giving(given, scaling, rebalanced(given, MOVING), NOW) == frozenset()
    assert giving(shown, scaling, rebalanced(shown, busy="a pause"), NOW) == frozenset()


def test_a_round_survives_the_operator() -> None:
    running = BalanceMemory(until=NOW + 7, moving=True)
    assert restored_balance(running.to_status(), NOW) == running
    assert restored_balance(FRESH_START.to_status(), NOW) == FRESH_START
    assert restored_balance(None, NOW) == FRESH_START


def test_no_round_lasts_for_ever_whatever_a_status_says() -> None:
    edited = {"movingUntil": rfc3339(NOW + 10**6)}
    assert restored_balance(edited, NOW).until == NOW + ROUND_SECONDS + SETTLE_SECONDS
    assert restored_balance({"movingUntil": "later"}, NOW) == FRESH_START


def test_a_fleet_of_none_or_one_is_even() -> None:
    lone: tuple[Pod, ...] = (pod("a", 6000),)
    assert (rebalanced(Fleet(0)).state, rebalanced(Fleet(1, lone)).state) == (Balance.EVEN, Balance.EVEN)
