"""The same seed gives the same faults, all kinds of them, in good time."""

import pytest

from loadtest.chaos.faults import CARRY_OUT
from loadtest.chaos.plan import CALM_SECONDS, PODS_FAULTS, SECONDS, WHAT, first_part, second_part
from loadtest.chaos.session import planned
from loadtest.chaos.stage import Options


def test_the_same_seed_gives_the_same_plan_and_another_seed_another_one() -> None:
    first = [first_part(seed, 100, 3, proxy=True) for seed in (7, 7, 8)]
    second = [second_part(seed, 2) for seed in (7, 7, 8)]
    for one, same, other in (first, second):
        assert one == same
        assert one != other


@pytest.mark.parametrize("seed", range(5))
def test_a_plan_has_every_kind_of_fault_and_ends_in_time(seed: int) -> None:
    plan = first_part(seed, 180, 3, proxy=True)
    assert {fault.name for fault in plan} == set(SECONDS)
    assert [fault.at for fault in plan] == sorted(fault.at for fault in plan)
    for fault in plan:
        assert CALM_SECONDS <= fault.at <= 180 - SECONDS[fault.name]
        assert (fault.pod >= 0) == (fault.name in PODS_FAULTS or fault.name == "quiet")


def test_without_a_proxy_there_is_nothing_to_reload() -> None:
    assert "reload" not in {fault.name for fault in first_part(1, 300, 2, proxy=False)}


def test_a_short_run_has_faults_of_both_parts() -> None:
    first, second = planned(Options(minutes=0.5), proxy=True)
    assert len(first) >= 3
    assert {fault.name for fault in second} == {"rollout", "expired", "recreated", "rewound"}


def test_every_fault_can_be_carried_out_and_is_described() -> None:
    assert set(CARRY_OUT) == set(WHAT)
    assert set(SECONDS) < set(WHAT)
