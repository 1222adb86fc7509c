"""decide.py: each rule by its name."""

from dataclasses import replace
from typing import Any

import pytest

from ssecast_operator.broadcaster import Pause
from ssecast_operator.decide import decide
from ssecast_operator.decision import Decision, Reason
from ssecast_operator.fleet import Fleet
from ssecast_operator.memory import Last, Memory
from ssecast_operator.windows import Change, SurgeState
from tests.fleets import NOW, experienced, fleet, pod, pods, spec_of

AT_ONCE: dict[str, Any] = {"scaleDown": {"stabilizationWindowSeconds": 0}}
PLAIN: dict[str, Any] = {"burst": 0, "behavior": AT_ONCE, "minReplicas": 1, "surge": {"enabled": False}}
"""Demand alone: no burst, no windows, no surges; 6,000 streams per pod."""


def decided(shown: Fleet, memory: Memory | None = None, pause: Pause | None = None, **scaling: Any) -> Decision:
    return decide(spec_of(PLAIN | scaling), shown, memory or experienced(), NOW, pause or Pause())


def outcome(decision: Decision) -> tuple[int, Reason]:
    return decision.replicas, decision.reason


# 1. Demand


@pytest.mark.parametrize(
    ("streams", "burst", "replicas", "reason"),
    [
        ((6000, 6000), 0, 2, Reason.STEADY),
        ((9000, 9000), 0, 3, Reason.DEMAND_ROSE),
        ((9000, 9001), 0, 4, Reason.DEMAND_ROSE),
        ((6000, 6000), 2000, 3, Reason.DEMAND_ROSE),
        ((1000, 1000), 0, 1, Reason.DEMAND_FELL),
        ((0, 0), 0, 1, Reason.AT_MIN_REPLICAS),
    ],
)
def test_rule_1_pods_are_demand_by_target_rounded_up(
    streams: tuple[int, ...], burst: int, replicas: int, reason: Reason
) -> None:
    assert outcome(decided(fleet(*streams), burst=burst)) == (replicas, reason)


def test_rule_1_streams_on_pods_that_drain_want_a_place() -> None:
    shown = Fleet(2, (pod("a", 6000), pod("b", 6000), pod("c", 6000, terminating=True)))
    assert outcome(decided(shown)) == (3, Reason.DEMAND_ROSE)


def test_rule_1_full_pods_alone_would_hide_a_kick_off() -> None:
    """Two pods that are full, and 20,000 clients that wait: 12,000 of them are believed at once."""
    assert outcome(decided(fleet(10_000, 10_000), maxReplicas=50)) == (4, Reason.DEMAND_ROSE)
    full = fleet(10_000, 10_000, refused=20_000 / 14.5 / 2)
    assert outcome(decided(full)) == (6, Reason.DEMAND_ROSE)


# 2. Headroom


def test_rule_2_the_demand_must_fit_even_within_tolerance() -> None:
    """A fifth above target is tolerated here; the last burst slots are not given away for it."""
    tight: dict[str, Any] = {
        "streamsPerPod": {"target": 6000, "limit": 6500},
        "tolerance": {"up": 0.2, "down": 0.2},
        "burst": 1000,
    }
    assert outcome(decided(fleet(6000, 6000), **tight)) == (2, Reason.STEADY)
    assert outcome(decided(fleet(6000, 6001), **tight)) == (3, Reason.HEADROOM)


def test_rule_2_pods_on_their_way_count_so_that_a_crash_loop_does_not_grow_the_fleet() -> None:
    """Four pods that never become ready: more of them would not either."""
    crashing = tuple(pod(f"c{at}", None, ready_since=None) for at in range(4))
    shown = Fleet(5, (pod("a", 9000), *crashing))
    assert outcome(decided(shown, burst=2000)) == (5, Reason.STEADY)


def test_rule_2_no_pod_is_removed_while_ready_ones_could_not_take_a_burst() -> None:
    shown = Fleet(
        4, (pod("a", 9000), pod("b", 0, ready_since=None), pod("c", 0, ready_since=None), pod("d", 0, ready_since=None))
    )
    assert outcome(decided(shown, burst=2000)) == (4, Reason.FEW_FREE_SLOTS)
    assert outcome(decided(shown, burst=1000)) == (2, Reason.DEMAND_FELL)


def test_rule_2_pods_that_take_less_than_the_target_are_not_filled_beyond_it() -> None:
    assert outcome(decided(fleet(4000, 4000, 1000, capacity=4000), minReplicas=1)) == (3, Reason.STEADY)


# 3. Tolerance


@pytest.mark.parametrize(
    ("streams", "replicas"),
    [(66_000, 10), (66_001, 12), (54_000, 10), (53_999, 9)],
)
def test_rule_3_nothing_changes_within_10_percent(streams: int, replicas: int) -> None:
    assert decided(fleet(*[streams // 10] * 9, streams - streams // 10 * 9)).replicas == replicas


def test_rule_3_a_fleet_that_is_small_does_not_swing() -> None:
    """Half of the target of two pods is below tolerance, but one pod could not take it."""
    assert outcome(decided(fleet(4000, 4000))) == (2, Reason.STEADY)


def test_rule_3_the_base_is_what_the_deployment_asks_for() -> None:
    """A rollout shows one pod more, of which 12,000 streams are within tolerance; it asks for two."""
    assert decided(fleet(4000, 4000, 4000, replicas=2)).base == 2
    assert outcome(decided(fleet(4800, 4800, 4800, replicas=2))) == (3, Reason.DEMAND_ROSE)


def test_rule_3_a_drain_that_has_begun_is_not_taken_back_by_a_demand_that_wavers() -> None:
    """10 pods become 8 at a fifth below; 47,999 or 48,001 streams must not make the difference while they drain."""
    draining = [pod(f"m{at}", 0, draining=True, drain_deadline=NOW + 30) for at in range(2)]
    shown = Fleet(10, (*pods(*[6000] * 7, 6001), *draining))
    assert outcome(decided(shown)) == (8, Reason.STEADY)
    assert decided(shown).base == 8


# 4. Missing samples


def test_rule_4_a_pod_that_does_not_answer_keeps_its_last_value_for_a_while() -> None:
    assert outcome(decided(Fleet(2, (pod("a", 9000), pod("b", 9000, age=30.0))))) == (3, Reason.DEMAND_ROSE)


def test_rule_4_then_it_counts_as_full_for_removing_and_empty_for_adding() -> None:
    silent = pod("b", 9000, age=90.0)
    assert outcome(decided(Fleet(2, (pod("a", 9000), silent)))) == (2, Reason.STEADY)
    assert outcome(decided(Fleet(2, (pod("a", 100), silent)))) == (2, Reason.STEADY)
    assert outcome(decided(Fleet(2, (pod("a", 100), pod("b", 0))))) == (1, Reason.DEMAND_FELL)


def test_rule_4_under_half_fresh_nothing_is_removed() -> None:
    half = decided(fleet(10, 10, None, None))
    assert (outcome(half), half.valid) == ((3, Reason.DEMAND_FELL), True)
    less = decided(Fleet(4, (*pods(10, None, None), pod("stale", 0, age=30.0))))
    assert (outcome(less), less.valid) == ((4, Reason.FEW_SAMPLES), False)


def test_rule_4_under_half_fresh_pods_may_still_be_added() -> None:
    more = decided(Fleet(3, (pod("a", 10_000), pod("b", 10_000, age=30.0), pod("c", None))))
    assert (outcome(more), more.valid) == ((4, Reason.DEMAND_ROSE), True)


@pytest.mark.parametrize("shown", [fleet(None, None), fleet(0, 0, age=16.0), Fleet(2)])
def test_rule_4_without_data_the_number_stays(shown: Fleet) -> None:
    """Not one fresh sample: stale ones are not enough to act on."""
    found = decided(shown)
    assert (outcome(found), found.valid) == ((2, Reason.NO_DATA), False)


def test_rule_4_without_data_a_drain_that_has_begun_goes_on() -> None:
    shown = Fleet(2, (pod("a", None), pod("b", None, drain_deadline=NOW + 30)))
    assert outcome(decided(shown)) == (1, Reason.NO_DATA)


@pytest.mark.parametrize(
    ("fresh_at", "replicas", "reason"),
    [
        (NOW - 119.0, 2, Reason.NO_DATA),
        (NOW - 120.0, 7, Reason.FALLBACK),
        (None, 7, Reason.FALLBACK),
    ],
)
def test_rule_4_later_there_is_a_fallback(fresh_at: float | None, replicas: int, reason: Reason) -> None:
    """None: not one pod has answered since the operator started, long ago."""
    memory = replace(experienced(), fresh_at=fresh_at)
    rates: dict[str, Any] = {"scaleUp": {"policies": [{"type": "Pods", "value": 100, "periodSeconds": 15}]}}
    found = decided(fleet(None, None), memory, fallback={"replicas": 7}, behavior=rates)
    assert (outcome(found), found.valid) == ((replicas, reason), False)


def test_rule_4_a_fallback_never_removes_pods() -> None:
    assert outcome(decided(fleet(None, None, None), fallback={"replicas": 1})) == (3, Reason.FALLBACK)


def test_rule_4_a_version_that_never_starts_gets_no_fallback() -> None:
    """Pods that are not ready do not answer because there is nobody, not because we cannot reach them."""
    assert outcome(decided(fleet(None, None, ready_since=None), fallback={"replicas": 7})) == (2, Reason.NO_DATA)


def test_rule_4_a_time_without_data_is_followed_by_a_whole_window() -> None:
    """What was wanted in it is unknown, so what there was is taken for it."""
    window: dict[str, Any] = {"scaleDown": {"stabilizationWindowSeconds": 300}}
    blind = decided(fleet(None, None), behavior=window)
    assert outcome(decided(fleet(0, 0), blind.memory, behavior=window)) == (2, Reason.SCALE_DOWN_STABILIZED)


def test_rule_4_data_is_remembered_to_have_been_there() -> None:
    assert decided(fleet(0)).memory.fresh_at == NOW
    assert decided(fleet(None), replace(experienced(), fresh_at=NOW - 7)).memory.fresh_at == NOW - 7


# 5. Windows, rates, surges


def test_rule_5_pods_are_removed_when_none_was_wanted_for_the_window() -> None:
    window: dict[str, Any] = {"scaleDown": {"stabilizationWindowSeconds": 300}}
    wanted = replace(experienced(), highs=((NOW - 299, 3),))
    assert outcome(decided(fleet(*[10] * 4), wanted, behavior=window)) == (3, Reason.SCALE_DOWN_STABILIZED)
    assert outcome(decided(fleet(*[10] * 4), experienced(), behavior=window)) == (1, Reason.DEMAND_FELL)


def test_rule_5_pods_are_added_when_they_were_wanted_throughout_the_window() -> None:
    window: dict[str, Any] = {"scaleUp": {"stabilizationWindowSeconds": 30}}
    unwanted = replace(experienced(), lows=((NOW - 29, 3),))
    assert outcome(decided(fleet(9000, 9000, 9000), unwanted, behavior=window)) == (3, Reason.SCALE_UP_STABILIZED)
    assert outcome(decided(fleet(9000, 9000, 9000), experienced(), behavior=window)) == (5, Reason.DEMAND_ROSE)


def test_rule_5_rates_limit_what_is_added() -> None:
    """The HPA's default: four pods or twice as many within 15 s."""
    huge: dict[str, Any] = {"streamsPerPod": {"target": 100, "limit": 10_000}}
    assert outcome(decided(fleet(10_000), **huge)) == (5, Reason.SCALE_UP_LIMIT)
    grown = replace(experienced(), changes=(Change(NOW - 10, 4),))
    assert outcome(decided(fleet(*[2000] * 5), grown, **huge)) == (5, Reason.SCALE_UP_LIMIT)


def test_rule_5_rates_limit_what_is_removed() -> None:
    slow: dict[str, Any] = {
        "scaleDown": {"stabilizationWindowSeconds": 0, "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}
    }
    assert outcome(decided(fleet(*[10] * 5), behavior=slow)) == (4, Reason.SCALE_DOWN_LIMIT)
    shrunk = replace(experienced(), last=Last(NOW - 30, 5, 4))
    assert outcome(decided(fleet(*[10] * 4), shrunk, behavior=slow)) == (4, Reason.SCALE_DOWN_LIMIT)


def test_rule_5_changes_are_remembered_for_the_longest_of_all_periods() -> None:
    """Also when there are newer ones."""
    rates = {
        "selectPolicy": "Min",
        "policies": [
            {"type": "Pods", "value": 4, "periodSeconds": 60},
            {"type": "Pods", "value": 9, "periodSeconds": 5},
        ],
    }
    grown = replace(experienced(), changes=(Change(NOW - 50, 4),), last=Last(NOW - 10, 4, 5))
    behavior = AT_ONCE | {"scaleUp": rates}
    assert outcome(decided(fleet(*[9000] * 5), grown, behavior=behavior)) == (5, Reason.SCALE_UP_LIMIT)


def test_rule_5_pods_that_drain_come_back_without_a_rate() -> None:
    slow = {"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}}
    draining = [pod(f"m{at}", 6000, draining=True, drain_deadline=NOW + 30) for at in range(3)]
    shown = Fleet(5, (pod("a", 9000), pod("b", 9000), *draining))
    assert outcome(decided(shown, behavior=slow)) == (5, Reason.SCALE_UP_LIMIT)


def test_rule_5_a_surge_waits_for_neither_window_nor_rate() -> None:
    """Twenty pods are wanted and two are ready."""
    patient: dict[str, Any] = {"scaleUp": {"stabilizationWindowSeconds": 30}}
    usual = replace(experienced(), lows=((NOW - 10, 2),))
    many: dict[str, Any] = {"streamsPerPod": {"target": 1000, "limit": 10_000}, "behavior": patient}
    assert outcome(decided(fleet(10_000, 10_000), usual, **many)) == (2, Reason.SCALE_UP_STABILIZED)
    surge = decided(fleet(10_000, 10_000), usual, surge={"enabled": True}, **many)
    assert (outcome(surge), surge.limits) == ((20, Reason.SURGE), ())
    assert surge.memory.surge == SurgeState(NOW, 20)


def test_rule_5_a_surge_does_not_overrule_that_pods_may_not_be_added() -> None:
    never: dict[str, Any] = {"scaleUp": {"selectPolicy": "Disabled"}}
    many: dict[str, Any] = {
        "streamsPerPod": {"target": 1000, "limit": 10_000},
        "behavior": never,
        "surge": {"enabled": True},
    }
    assert outcome(decided(fleet(10_000, 10_000), **many)) == (2, Reason.SCALE_UP_LIMIT)


def test_rule_5_in_a_surge_nothing_is_removed() -> None:
    surging = replace(experienced(), surge=SurgeState(NOW - 30, 2))
    assert outcome(decided(fleet(10, 10, 10, 10), surging, surge={"enabled": True})) == (4, Reason.SURGE_HOLD)
    over = replace(experienced(), surge=SurgeState(NOW - 61, 2))
    assert outcome(decided(fleet(10, 10, 10, 10), over, surge={"enabled": True})) == (1, Reason.DEMAND_FELL)


def test_rule_5_a_surge_that_cannot_be_seen_is_not_over() -> None:
    surging = replace(experienced(), surge=SurgeState(NOW - 61, 2))
    assert decided(fleet(None, None), surging, surge={"enabled": True}).memory.surge == surging.surge


def test_rule_5_surges_that_are_switched_off_are_forgotten() -> None:
    surging = replace(experienced(), surge=SurgeState(NOW, 9), recent=((NOW, 9),))
    memory = decided(fleet(10), surging).memory
    assert (memory.surge, memory.recent) == (None, ())


# 6. Restart


def test_rule_6_after_a_restart_nothing_is_removed_for_one_window() -> None:
    window: dict[str, Any] = {"scaleDown": {"stabilizationWindowSeconds": 300}}
    assert outcome(decided(fleet(0, 0), Memory(NOW - 299), behavior=window)) == (2, Reason.JUST_STARTED)
    assert outcome(decided(fleet(0, 0), Memory(NOW - 300), behavior=window)) == (1, Reason.AT_MIN_REPLICAS)
    assert outcome(decided(fleet(9000, 9000), Memory(NOW), behavior=window)) == (3, Reason.DEMAND_ROSE)


def test_rule_6_a_restart_does_not_take_back_a_drain_that_has_begun() -> None:
    """Its clients would have moved for nothing, and would have to move again after the window."""
    window = {"scaleDown": {"stabilizationWindowSeconds": 300}}
    shown = Fleet(3, (pod("a", 100), pod("b", 100), pod("c", 50, draining=True, drain_deadline=NOW + 30)))
    assert outcome(decided(shown, Memory(NOW), behavior=window)) == (2, Reason.JUST_STARTED)


# Bounds


def test_bounds_hold_whatever_is_wanted() -> None:
    assert outcome(decided(fleet(9000, 9000), maxReplicas=2)) == (2, Reason.AT_MAX_REPLICAS)
    assert outcome(decided(fleet(0, 0, 0), minReplicas=2)) == (2, Reason.AT_MIN_REPLICAS)
    assert outcome(decided(fleet(6000, replicas=1), minReplicas=4)) == (4, Reason.AT_MIN_REPLICAS)
    assert outcome(decided(fleet(*[6000] * 6), maxReplicas=4)) == (4, Reason.AT_MAX_REPLICAS)


def test_bounds_hold_without_data() -> None:
    assert outcome(decided(Fleet(0), minReplicas=2)) == (2, Reason.AT_MIN_REPLICAS)
    assert outcome(decided(fleet(None, None, None), maxReplicas=2)) == (2, Reason.AT_MAX_REPLICAS)


def test_a_deployment_with_nothing_gets_what_the_demand_asks_for() -> None:
    """Such as after mode off with no pods, while one of them still ends."""
    assert outcome(decided(Fleet(0, (pod("a", 12_000), pod("b", 0))))) == (2, Reason.DEMAND_ROSE)


# 9. Modes


@pytest.mark.parametrize(("mode", "reason"), [("hpa", Reason.BY_HPA), ("off", Reason.BY_HAND)])
@pytest.mark.parametrize("replicas", [0, 1, 3, 700])
def test_rule_9_in_other_modes_somebody_else_says_the_number(mode: str, reason: Reason, replicas: int) -> None:
    """Without our bounds, windows and data."""
    spec = spec_of({"mode": mode}, replicas=replicas)
    found = decide(spec, fleet(None, 9000), Memory(NOW), NOW)
    assert (outcome(found), found.valid) == ((replicas, reason), True)


def test_rule_9_a_change_to_mode_operator_removes_nothing_at_once() -> None:
    """In the other modes the windows remember the number that there was."""
    by_hand = decide(spec_of({"mode": "off"}, replicas=4), fleet(0, 0, 0, 0), experienced(), NOW)
    window: dict[str, Any] = {"scaleDown": {"stabilizationWindowSeconds": 300}}
    assert outcome(decided(fleet(0, 0, 0, 0), by_hand.memory, behavior=window)) == (4, Reason.SCALE_DOWN_STABILIZED)


# 10. Pauses


@pytest.mark.parametrize(
    ("pause", "falling", "rising"),
    [
        (Pause(), (1, Reason.DEMAND_FELL), (4, Reason.DEMAND_ROSE)),
        (Pause(scale_in=True), (2, Reason.PAUSED_SCALE_IN), (4, Reason.DEMAND_ROSE)),
        (Pause(scale_out=True), (1, Reason.DEMAND_FELL), (2, Reason.PAUSED_SCALE_OUT)),
        (Pause(scale_in=True, scale_out=True), (2, Reason.PAUSED_SCALE_IN), (2, Reason.PAUSED_SCALE_OUT)),
    ],
)
def test_rule_10_pauses(pause: Pause, falling: tuple[int, Reason], rising: tuple[int, Reason]) -> None:
    assert outcome(decided(fleet(10, 10), pause=pause)) == falling
    assert outcome(decided(fleet(10_000, 10_000), pause=pause)) == rising


def test_rule_10_a_pause_takes_back_a_drain_that_has_begun() -> None:
    """Whoever sets it wants the pods that there are."""
    shown = Fleet(2, (pod("a", 100), pod("b", 50, draining=True, drain_deadline=NOW + 30)))
    assert outcome(decided(shown)) == (1, Reason.STEADY)
    assert outcome(decided(shown, pause=Pause(scale_in=True))) == (2, Reason.PAUSED_SCALE_IN)


@pytest.mark.parametrize("mode", ["operator", "hpa", "off"])
def test_rule_10_a_pause_stands_above_modes_and_bounds(mode: str) -> None:
    pause = Pause(scale_in=True, scale_out=True)
    for base in (1, 9):
        spec = spec_of({"mode": mode, "minReplicas": 4, "maxReplicas": 5}, replicas=7)
        assert decide(spec, fleet(*[6000] * base), experienced(), NOW, pause).replicas == base


# What comes out


def test_every_step_is_told() -> None:
    """20 pods are asked for, 8 allowed by rate, 6 by maxReplicas, none by the pause."""
    found = decided(
        fleet(*[5000] * 4), pause=Pause(scale_out=True), streamsPerPod={"target": 1000, "limit": 10_000}, maxReplicas=6
    )
    steps = found.steps
    assert (steps.raw, steps.recommended, steps.stabilized, steps.rated, steps.held, steps.bounded, steps.final) == (
        20,
        20,
        20,
        8,
        8,
        6,
        4,
    )
    assert found.limits == (Reason.SCALE_UP_LIMIT, Reason.AT_MAX_REPLICAS, Reason.PAUSED_SCALE_OUT)
    assert found.outcome == (4, Reason.PAUSED_SCALE_OUT, found.limits)
    assert (found.wish, found.target, found.at) == (Reason.DEMAND_ROSE, 1000, NOW)


def test_the_memory_knows_the_decision() -> None:
    assert decided(fleet(9000, 9000)).memory.last == Last(NOW, 2, 3)


def test_the_same_question_has_the_same_answer() -> None:
    """Nothing is kept anywhere but in the memory that goes in and comes out."""
    shown, memory = fleet(9000, 9000), experienced()
    assert decided(shown, memory) == decided(shown, memory)
