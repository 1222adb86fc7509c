"""The same seed gives the same faults, all kinds of them, in good time; and what is measured happens alone."""

from collections import Counter
from dataclasses import replace

import pytest

from loadtest.chaos.effects import SIGNS
from loadtest.chaos.faults import CARRY_OUT, ORDERLY, SUDDEN
from loadtest.chaos.plan import (
    CALM_SECONDS,
    ENDING,
    MEASURED,
    PODS_FAULTS,
    SECONDS,
    WHAT,
    Bounds,
    Fault,
    first_part,
    second_part,
)
from loadtest.chaos.session import planned
from loadtest.chaos.stage import Options

BOUNDS = Bounds(180, 3, tuple(SECONDS), window=6.0, back=10.0)
CI = Options(minutes=3)
SEEDS = 400


def first(seed: int, options: Options = CI, *, proxy: bool = True) -> list[Fault]:
    return planned(replace(options, seed=seed), proxy=proxy)[0]


def test_the_same_seed_gives_the_same_plan_and_another_seed_another_one() -> None:
    one, same, other = (first_part(seed, BOUNDS) for seed in (7, 7, 8))
    assert one == same != other
    gaps, again, others = (second_part(seed, 2) for seed in (7, 7, 8))
    assert gaps == again != others


def test_every_kind_of_fault_happens_in_the_three_minutes_of_ci_whatever_the_seed() -> None:
    """Checked as the run itself plans it: the first part has less than three minutes."""
    missing = {seed: set(SECONDS) - {fault.name for fault in first(seed)} for seed in range(SEEDS)}
    assert not {seed: kinds for seed, kinds in missing.items() if kinds}


def test_no_kind_comes_again_before_every_kind_has_come() -> None:
    for seed in range(20):
        names = [fault.name for fault in first(seed, Options(minutes=10))]
        assert set(names[: len(SECONDS)]) == set(SECONDS)
        assert max(Counter(names).values()) <= len(names) // len(SECONDS) + 1


@pytest.mark.parametrize("seed", range(5))
def test_a_plan_goes_forward_and_ends_in_time(seed: int) -> None:
    plan = first_part(seed, BOUNDS)
    assert [fault.at for fault in plan] == sorted(fault.at for fault in plan)
    for fault in plan:
        assert CALM_SECONDS <= fault.at <= BOUNDS.seconds - SECONDS[fault.name]
        assert (fault.pod >= 0) == (fault.name in PODS_FAULTS or fault.name == "quiet")


def test_a_blackout_a_kill_and_a_drain_happen_alone_before_all_else() -> None:
    """Their peaks of reconnects are theirs: nothing begins until everybody has had time to come back, and no stream has
    come to its age by then."""
    for seed in range(50):
        for options in (
            CI,
            Options(minutes=0.5, clients=300, budget=200, pods=2),
            Options(clients=8000),
            Options(minutes=30),
        ):
            plan = first(seed, options)
            alone, rest = plan[: len(MEASURED)], plan[len(MEASURED) :]
            assert tuple(fault.name for fault in alone) == MEASURED
            assert alone[0].hard
            assert alone[1].pod != alone[2].pod, "one that was just killed has nobody to drain"
            assert {fault.name for fault in alone} & ORDERLY
            assert {fault.name for fault in alone} & SUDDEN
            bounds = options.bounds(0, proxy=True)
            for fault, following in zip(alone, plan[1:], strict=False):
                assert following.at >= fault.at + sum(bounds.measured_seconds(fault.name)) - 0.02
            assert rest[0].at <= 0.8 * options.max_age_seconds


def test_the_oldest_pod_is_not_ended_after_the_first_blackout() -> None:
    for seed in range(50):
        plan = first(seed, Options(minutes=20))
        assert not [fault for fault in plan if fault.name in ENDING and fault.pod == 0]
        assert plan[0].hard
        assert not any(fault.hard for fault in plan[1:] if fault.name == "blackout")


def test_what_there_is_nobody_for_is_left_out() -> None:
    assert "reload" not in {fault.name for fault in first(1, proxy=False)}
    assert "overflow" not in {fault.name for fault in first(1, replace(CI, pod=("ssecast", "serve")))}


def test_a_short_run_has_faults_of_both_parts() -> None:
    begun, second = planned(Options(minutes=0.5), proxy=True)
    assert len(begun) >= len(MEASURED) + 2
    assert {fault.name for fault in second} == {"rollout", "expired", "recreated", "rewound"}


def test_every_fault_can_be_carried_out_and_is_described_and_has_an_effect_to_look_for() -> None:
    assert set(CARRY_OUT) == set(WHAT) == set(SIGNS)
    assert set(SECONDS) < set(WHAT)
