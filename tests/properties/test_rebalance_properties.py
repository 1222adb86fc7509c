"""Moving streams in a fleet whose clients come back by chance; where no pod is cordoned, also to where they were."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from ssecast_operator.budget import Budget
from ssecast_operator.cordon import cordons
from ssecast_operator.fleet import Fleet
from ssecast_operator.rebalance import FRESH_START, Balance, BalanceMemory, Rebalancing, giving, levels_of, rebalance
from tests.fleets import budget as budget_of
from tests.fleets import fleet, spec_of
from tests.properties.fake_cluster import FakeCluster, with_streams

BUDGET = budget_of(per_second=125)
"""100 per second are planned with. Without patience, which means that no pod is cordoned."""

PATIENT = budget_of(per_second=125, patience=600)

SCALING = spec_of({"streamsPerPod": {"target": 1000, "limit": 10_000}, "rebalance": {"threshold": 0.2}}).scaling
ROUNDS = 400
"""Of five seconds each."""


def one_round(cluster: FakeCluster, memory: BalanceMemory, budget: Budget = BUDGET) -> Rebalancing:
    shown = cluster.fleet()
    found = rebalance(shown, SCALING, budget, memory, cluster.now)
    donors = giving(shown, SCALING, found, cluster.now)
    doors = cordons(shown, SCALING, budget, 0.0, 1000, cluster.now, donors)
    cluster.carry_out([*doors, *found.actions])
    cluster.tick(5)
    return found


def run(cluster: FakeCluster, budget: Budget = BUDGET) -> list[Rebalancing]:
    """Until it is even for a while."""
    found = [one_round(cluster, FRESH_START, budget)]
    while len(found) < ROUNDS and [each.state for each in found[-20:]] != [Balance.EVEN] * 20:
        found.append(one_round(cluster, found[-1].memory, budget))
    return found


fleets = st.lists(st.integers(0, 3000), min_size=2, max_size=8)
budgets = st.sampled_from([BUDGET, PATIENT])


@settings(max_examples=60)
@given(streams=fleets, seed=st.integers(0, 2**32), budget=budgets)
def test_it_comes_to_an_end_and_the_fleet_is_even(streams: list[int], seed: int, budget: Budget) -> None:
    cluster = with_streams(*streams, choose=Random(seed).randrange)
    assert run(cluster, budget)[-1].state is Balance.EVEN
    mean = cluster.streams / len(streams)
    assert max(pod.streams for pod in cluster.pods) <= levels_of(mean, 10_000, SCALING).begin


@settings(max_examples=60)
@given(streams=fleets, seed=st.integers(0, 2**32), budget=budgets)
def test_a_pod_whose_node_is_away_for_ever_does_not_keep_the_fleet_uneven(
    streams: list[int], seed: int, budget: Budget
) -> None:
    cluster = with_streams(*streams, choose=Random(seed).randrange)
    cluster.fleet()  # it has answered before
    lost = cluster.pods[0]
    cluster.lose(lost)
    cluster.end(lost)
    cluster.control()
    assert run(cluster, budget)[-1].state is Balance.EVEN
    assert lost in cluster.pods
    present = [pod.streams for pod in cluster.present]
    assert max(present) <= levels_of(sum(present) / len(present), 10_000, SCALING).begin


@settings(max_examples=60)
@given(streams=fleets, seed=st.integers(0, 2**32), budget=budgets)
def test_it_keeps_the_budget(streams: list[int], seed: int, budget: Budget) -> None:
    cluster = with_streams(*streams, choose=Random(seed).randrange)
    run(cluster, budget)
    tens = [sum(cluster.closed[at : at + 10]) for at in range(len(cluster.closed) - 9)]
    assert max(tens) <= 10 * BUDGET.per_second + len(streams)


@settings(max_examples=60)
@given(count=st.integers(1, 4), each=st.integers(1000, 3000), seed=st.integers(0, 2**32))
def test_no_stream_comes_back_to_who_has_just_shed_it(count: int, each: int, seed: int) -> None:
    """So each is moved once, and no more than those above what their pods keep."""
    uneven, empty = [each] * count, [0] * max(2, count)
    cluster = with_streams(*uneven, *empty, choose=Random(seed).randrange)
    levels = levels_of(cluster.streams / len(uneven + empty), 10_000, SCALING)
    run(cluster, PATIENT)
    assert sum(cluster.closed) <= sum(max(0.0, streams - levels.keep) for streams in uneven)
    assert not any(pod.cordoned for pod in cluster.pods), "in the end everybody takes streams"


@given(streams=st.lists(st.integers(0, 10_000), min_size=1, max_size=50), moving=st.booleans())
def test_nobody_sheds_below_the_mean_or_the_target(streams: list[int], moving: bool) -> None:
    found = rebalance(fleet(*streams), SCALING, BUDGET, BalanceMemory(moving=moving, uneven_since=0.0), 1.8e9)
    left = dict(zip((f"pod-{at}" for at in range(len(streams))), streams, strict=True))
    for shed in found.actions:
        left[shed.pod] -= shed.count
    mean = sum(streams) / len(streams)
    assert all(left[shed.pod] >= max(mean, SCALING.streams_per_pod.target) for shed in found.actions)


def test_a_fleet_that_loses_its_calm_is_left_alone() -> None:
    """In the middle of a round a rollout begins: what was not closed yet stays."""
    cluster = with_streams(3000, 0)
    memory = FRESH_START
    while not cluster.closed or not cluster.closed[-1]:
        memory = one_round(cluster, memory).memory
    shown = cluster.fleet()
    stopped = rebalance(Fleet(shown.replicas, shown.pods, rollout=True), SCALING, BUDGET, memory, cluster.now)
    cluster.carry_out(stopped.actions)
    cluster.tick(60)
    assert stopped.state is Balance.STOPPED
    assert not any(cluster.closed[-60:])
