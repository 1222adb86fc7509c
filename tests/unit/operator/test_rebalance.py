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
    Rebalancing,
    rebalance,
    restored_balance,
)
from tests.fleets import NOW, budget, fleet, pod, pods, spec_of

BUDGET = budget(per_second=500)
"""400 per second are planned with."""

LASTING = BalanceMemory(uneven_since=NOW - LASTING_SECONDS)
MOVING = BalanceMemory(moving=True)


def rebalanced(shown: Fleet, memory: BalanceMemory = LASTING, *, busy: str = "", **settings: Any) -> Rebalancing:
    scaling = spec_of({"rebalance": settings}).scaling
    return rebalance(shown, scaling, BUDGET, memory, NOW, busy=busy)


def test_a_pod_far_above_the_mean_sheds_what_it_has_above_it() -> None:
    """After a scale-up from two pods to three: the mean is 4,000, and 4,000 streams take 10 s."""
    assert rebalanced(fleet(6000, 6000, 0)) == Rebalancing(
        Balance.MOVING,
        "2 pods shed 4,000 streams above the mean, over 10 s",
        BalanceMemory(until=NOW + 10 + SETTLE_SECONDS, moving=True),
        (Shed("pod-0", "uid-pod-0", 2000, 10.0), Shed("pod-1", "uid-pod-1", 2000, 10.0)),
    )


@pytest.mark.parametrize(
    ("streams", "state"),
    [((1200, 800), Balance.EVEN), ((1201, 799), Balance.MOVING), ((1000, 1000), Balance.EVEN), ((0, 0), Balance.EVEN)],
)
def test_a_fifth_above_the_mean_is_tolerated(streams: tuple[int, ...], state: Balance) -> None:
    assert rebalanced(fleet(*streams)).state is state


@pytest.mark.parametrize(("streams", "state"), [((1100, 900), Balance.EVEN), ((1101, 899), Balance.MOVING)])
def test_once_begun_it_goes_on_to_half_of_that(streams: tuple[int, ...], state: Balance) -> None:
    """Hysteresis: otherwise it would begin again with the next client."""
    assert rebalanced(fleet(*streams), MOVING).state is state
    assert rebalanced(fleet(*streams)).state is Balance.EVEN


def test_a_few_streams_are_not_worth_a_reconnect() -> None:
    """One per cent of the target, here 60, and never less than one."""
    assert rebalanced(fleet(120, 0)).state is Balance.EVEN
    assert rebalanced(fleet(122, 0)).state is Balance.MOVING


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
    found = rebalanced(fleet(*[10_000] * 8, *[0] * 8))
    assert {shed.count for shed in found.actions} == {3000}
    assert {shed.window for shed in found.actions} == {ROUND_SECONDS}


def test_no_more_is_shed_than_the_others_can_take() -> None:
    """A pod may be smaller than the mean."""
    shown = Fleet(2, (pod("a", 9000), pod("b", 100, capacity=1000)))
    assert [shed.count for shed in rebalanced(shown).actions] == [900]
    full = Fleet(2, (pod("a", 9000), pod("b", 1000, capacity=1000)))
    assert rebalanced(full).state is Balance.EVEN


def test_a_small_round_still_takes_a_second() -> None:
    assert rebalanced(fleet(200, 0)).actions == (Shed("pod-0", "uid-pod-0", 100, 1.0),)


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
