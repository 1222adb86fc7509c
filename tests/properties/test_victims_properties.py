"""Removing pods, with an operator that is killed after any step, pods that fail and a controller with a mind of its own."""

from itertools import cycle
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ssecast_operator.actions import Cordon, Drain, Mark, SetReplicas, Uncordon, Undrain
from ssecast_operator.budget import Budget
from ssecast_operator.cordon import cordons
from ssecast_operator.fleet import Fleet
from ssecast_operator.victims import Plan, drained, plan
from tests.fleets import NOW, budget, spec_of
from tests.properties.fake_cluster import FakeCluster, FakePod, with_streams

BUDGET = budget(per_second=125, window=20)
"""100 per second are planned with."""

PATIENT = budget(per_second=125, window=20, delay=3, patience=90)
BUDGETS = st.sampled_from([BUDGET, PATIENT])

UNKNOWN = 6000
SCALING = spec_of().scaling
indexes = st.integers(0, 99)
seeds = st.integers(0, 2**32)
"""Of what nothing may depend on: what the ReplicaSet chooses among equals, and where clients connect."""


class RemovalMachine(RuleBasedStateMachine):
    """A fleet, what it is meant to be, and everything that may happen in between."""

    @initialize(streams=st.lists(st.integers(0, 3000), min_size=1, max_size=6), budget=BUDGETS, seed=seeds)
    def begin(self, streams: list[int], budget: Budget, seed: int) -> None:
        self.random, self.budget = Random(seed), budget
        self.cluster = with_streams(*streams, choose=self.choose)
        self.desired = self.cluster.replicas
        self.total = self.cluster.streams

    def choose(self, count: int) -> int:
        return self.random.randrange(count)

    def pick(self, index: int) -> list[FakePod]:
        """One pod, where there is any."""
        among = self.cluster.present
        return among and [among[index % len(among)]]

    # The operator

    @rule(desired=st.integers(1, 8))
    def want(self, desired: int) -> None:
        """The demand turns."""
        self.desired = desired

    @rule(steps=st.sampled_from([0, 1, 2, 3, 99, 99, 99, 99]))
    def operate(self, steps: int) -> None:
        """One round of the operator, which is killed after so many actions. The next one knows nothing but the cluster."""
        shown = self.cluster.fleet()
        found = plan(shown, self.desired, self.budget, UNKNOWN, self.cluster.now)
        doors = cordons(shown, SCALING, self.budget, 1800.0, UNKNOWN, self.cluster.now)
        self.check(shown, found)
        self.check_cordons(shown, doors)
        self.cluster.carry_out([*doors, *found.actions][:steps])

    @rule(rounds=st.integers(2, 12), controlled=st.booleans())
    def go_on(self, rounds: int, controlled: bool) -> None:
        """As it usually goes."""
        for _ in range(rounds):
            self.operate(99)
            if controlled:
                self.control()
            self.pass_time(5)

    @rule(seconds=st.integers(1, 40))
    def pass_time(self, seconds: int) -> None:
        self.cluster.tick(seconds)

    # Everybody else

    @rule()
    def control(self) -> None:
        self.cluster.control()

    @rule(index=indexes)
    def crash(self, index: int) -> None:
        for pod in self.pick(index):
            if not pod.lost:
                self.cluster.restart(pod)

    @rule(index=indexes)
    def lose(self, index: int) -> None:
        """Its node goes. Until it is evicted it is there, not ready; then it is shown as terminating for ever."""
        for pod in self.pick(index):
            self.cluster.lose(pod)

    @rule(index=indexes)
    def evict(self, index: int) -> None:
        for pod in self.pick(index):
            self.cluster.end(pod)

    @rule(index=indexes, reachable=st.booleans())
    def connect(self, index: int, reachable: bool) -> None:
        for pod in self.pick(index):
            pod.reachable = reachable and not pod.lost

    @rule(index=indexes, cost=st.integers(-5, 5))
    def set_cost(self, index: int, cost: int) -> None:
        """Such as Karpenter does."""
        for pod in self.pick(index):
            pod.cost = cost

    @rule(index=indexes, window=st.integers(0, 60))
    def drain_by_hand(self, index: int, window: int) -> None:
        """Somebody tells a pod to drain, without a mark."""
        for pod in self.pick(index):
            pod.marks += 1
            self.cluster.carry_out([Drain(pod.name, "", window)])

    @rule()
    def roll_out(self) -> None:
        """A step of a rollout, or its beginning."""
        if self.cluster.rolling_out:
            self.cluster.replace_one()
        else:
            self.cluster.revision += 1

    # What must hold

    def check(self, shown: Fleet, found: Plan) -> None:
        """A plan asks for no more than it may."""
        marks = {action.pod for action in found.actions if isinstance(action, Mark)}
        drains = {action.pod for action in found.actions if isinstance(action, Drain)}
        spared = {action.pod for action in found.actions if isinstance(action, Undrain)}
        marked = {pod.name for pod in shown.present if pod.marked}
        lowered = [
            action for action in found.actions if isinstance(action, SetReplicas) and action.replicas < action.was
        ]
        assert len(marked | marks) <= max(shown.replicas - self.desired, len(marked)), "never more than asked"
        assert drains <= marked | marks, "who is drained is marked"
        assert not (marks | drains) & spared
        assert not (shown.rolling_out and (marks or drains or lowered)), "never during a rollout"
        for action in lowered:
            self.check_lowered(shown, action)

    def check_cordons(self, shown: Fleet, doors: tuple[Cordon | Uncordon, ...]) -> None:
        """Whoever comes finds a pod, where there is one that is ready and to stay."""
        shut = {action.pod for action in doors if isinstance(action, Cordon)}
        opened = {action.pod for action in doors if isinstance(action, Uncordon)}
        able = {pod.name for pod in shown.present if pod.ready and not pod.leaving}
        open_ = {pod.name for pod in shown.present if not pod.cordoned} - shut | opened
        assert not able or able & open_
        assert not {pod.name for pod in shown.present if pod.marked} & open_

    def check_lowered(self, shown: Fleet, action: SetReplicas) -> None:
        """By as many as do not exist, or have been drained, and never below what is wanted."""
        gone = shown.replicas - len(shown.present)
        done = [pod for pod in shown.present if pod.marked and drained(pod, self.cluster.now)]
        assert action.replicas >= self.desired
        assert action.was - action.replicas <= max(gone, len(done))

    @invariant()
    def nobody_is_drained_twice(self) -> None:
        """A pod begins to drain once for each time that it was marked, and again when it has forgotten all."""
        for pod in getattr(self, "cluster", FakeCluster(0)).pods:
            assert pod.begun <= pod.marks + pod.restarts

    @invariant()
    def no_client_is_forgotten(self) -> None:
        """By the cluster of this test, that is."""
        assert not hasattr(self, "cluster") or self.cluster.streams == self.total

    def teardown(self) -> None:
        """When nothing happens any more, everything is as it should be."""
        if not hasattr(self, "cluster"):
            return
        for pod in self.cluster.present:
            pod.reachable = not pod.lost
            if pod.lost:
                self.cluster.end(pod)  # as Kubernetes does after five minutes
        for _ in range(400):
            while self.cluster.rolling_out:
                self.cluster.replace_one()
            self.cluster.control()
            self.cluster.tick(5)
            self.operate(99)
            if self.settled():
                return
        raise AssertionError(f"not settled: {self.cluster}")

    def settled(self) -> bool:
        pods = self.cluster.present
        left = [pod for pod in pods if pod.mark is not None or pod.draining]
        cordoned = [pod for pod in pods if pod.cordoned and pod.streams < self.cluster.capacity // 2]
        return len(pods) == self.cluster.replicas == self.desired and not left and not cordoned


RemovalMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40)
TestRemoval = RemovalMachine.TestCase


@settings(max_examples=100)
@given(
    streams=st.lists(st.integers(0, 3000), min_size=2, max_size=8),
    wishes=st.lists(st.tuples(st.integers(1, 8), st.integers(1, 60)), min_size=1, max_size=5),
    late=st.integers(0, 60),
    budget=BUDGETS,
    seed=seeds,
)
def test_drains_keep_the_budget(
    streams: list[int], wishes: list[tuple[int, int]], late: int, budget: Budget, seed: int
) -> None:
    """Over every ten seconds, whatever the demand does; one pod cannot be reached at first. Each may be one stream early."""
    cluster = with_streams(*streams, choose=Random(seed).randrange)
    cluster.pods[0].reachable = False
    for desired, rounds in wishes:
        for _ in range(rounds):
            cluster.pods[0].reachable = cluster.now - NOW >= late
            cluster.control()
            cluster.carry_out(plan(cluster.fleet(), desired, budget, UNKNOWN, cluster.now).actions)
            cluster.tick(5)
    tens = [sum(cluster.closed[at : at + 10]) for at in range(len(cluster.closed) - 9)]
    assert max(tens, default=0) <= 10 * budget.per_second + len(streams)


@settings(max_examples=200)
@example([1, 1], [(1, 18), (2, 1)], [True, *[False] * 5], [0, 0, 0, 0, 0, 0, 1, 1, 2, 0], BUDGET, 0)
@given(
    streams=st.lists(st.integers(1, 3000), min_size=2, max_size=8),
    wishes=st.lists(st.tuples(st.integers(1, 8), st.integers(1, 25)), min_size=1, max_size=5),
    controls=st.lists(st.booleans(), min_size=5, max_size=20),
    kills=st.lists(st.sampled_from([0, 1, 2, 3, 99]), min_size=5, max_size=20),
    budget=BUDGETS,
    seed=seeds,
)
def test_no_pod_is_removed_with_streams(
    streams: list[int], wishes: list[tuple[int, int]], controls: list[bool], kills: list[int], budget: Budget, seed: int
) -> None:
    """Where no pod fails: the demand may turn, the operator be killed after any step, and the controller take its time."""
    cluster = with_streams(*streams, choose=Random(seed).randrange)
    steps, acts = cycle(kills), cycle(controls)
    for desired, rounds in wishes:
        for _ in range(rounds):
            cluster.carry_out(plan(cluster.fleet(), desired, budget, UNKNOWN, cluster.now).actions[: next(steps)])
            had = {pod: pod.streams for pod in cluster.present}
            if next(acts):
                cluster.control()
            removed = [pod for pod in had if pod.ends_at is not None]
            assert all(had[pod] == 0 or late(pod, cluster.now) for pod in removed)
            cluster.tick(5)


def late(pod: FakePod, now: float) -> bool:
    """The operator was dead for so long that the deadline of its drain has passed."""
    return pod.mark is not None and now >= pod.mark


@pytest.mark.parametrize("budget", [BUDGET, PATIENT], ids=["at once", "patient"])
@pytest.mark.parametrize("killed_after", range(1, 12))
def test_an_operator_that_is_killed_after_each_step_arrives_at_the_same_fleet(
    killed_after: int, budget: Budget
) -> None:
    """Six pods become two, and each that goes is drained once, whichever step was the last of the operator's first life."""
    cluster = with_streams(600, 500, 400, 300, 200, 100)
    pods = list(cluster.pods)
    left = killed_after
    for _ in range(60):
        actions = plan(cluster.fleet(), 2, budget, UNKNOWN, cluster.now).actions
        cluster.carry_out(actions[:left] if left > 0 else actions)
        left -= len(actions)
        cluster.control()
        cluster.tick(5)
    assert cluster.present == pods[:2]
    assert [(pod.marks, pod.begun, pod.mark, pod.draining) for pod in pods[:2]] == [(0, 0, None, False)] * 2
    assert [(pod.marks, pod.begun) for pod in pods[2:]] == [(1, 1)] * 4
    assert sum(pod.streams for pod in pods[:2]) == 2100
