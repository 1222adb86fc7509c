"""What holds for every decision, whatever the fleet, the spec and what came before."""

from dataclasses import replace
from itertools import pairwise
from random import Random
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ssecast_operator.broadcaster import Pause
from ssecast_operator.budget import budget_of
from ssecast_operator.decide import decide
from ssecast_operator.decision import Decision, Reason
from ssecast_operator.fleet import Fleet, Pod
from ssecast_operator.memory import Memory, restored
from ssecast_operator.rebalance import FRESH_START
from ssecast_operator.spec import Spec
from ssecast_operator.status import autoscaler_status
from ssecast_operator.victims import plan
from tests.fleets import LONG_AGO, NOW, experienced, fleet, pod, spec_of
from tests.properties.fake_cluster import FakeCluster
from tests.properties.hpa import Hpa

TARGET = 1000

policies = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["Pods", "Percent"]),
        "value": st.sampled_from([1, 3, 10, 50, 100]),
        "periodSeconds": st.sampled_from([5, 15, 60, 600]),
    }
)
rules = st.fixed_dictionaries(
    {
        "stabilizationWindowSeconds": st.sampled_from([0, 5, 30, 300]),
        "selectPolicy": st.sampled_from(["Max", "Max", "Min", "Disabled"]),
        "policies": st.lists(policies, min_size=1, max_size=3),
    }
)
behaviors = st.fixed_dictionaries({"scaleUp": rules, "scaleDown": rules})
tolerances = st.fixed_dictionaries(
    {"up": st.sampled_from([0, 0.05, 0.1, 0.5]), "down": st.sampled_from([0, 0.1, 0.2, 0.5])}
)
scalings = st.fixed_dictionaries(
    {
        "streamsPerPod": st.just({"target": TARGET, "limit": 2 * TARGET}),
        "minReplicas": st.integers(1, 3),
        "maxReplicas": st.integers(3, 12),
        "burst": st.sampled_from([0, 500, 3000]),
        "tolerance": tolerances,
        "behavior": behaviors,
        "surge": st.fixed_dictionaries({"enabled": st.booleans()}),
    },
    optional={"fallback": st.fixed_dictionaries({"replicas": st.integers(1, 3), "afterSeconds": st.just(20)})},
)
specs = scalings.map(spec_of)


@st.composite
def pods(draw: st.DrawFn) -> Pod:
    """Any pod, in any state."""
    return pod(
        f"pod-{draw(st.integers(0, 10**6))}",
        draw(st.one_of(st.none(), st.integers(0, 3 * TARGET))),
        age=draw(st.sampled_from([0.0, 0.0, 0.0, 30.0, 90.0])),
        refused=draw(st.sampled_from([0.0, 0.0, 5.0, 500.0])),
        capacity=draw(st.sampled_from([2 * TARGET, 2 * TARGET, TARGET // 2])),
        ready_since=draw(st.sampled_from([LONG_AGO, LONG_AGO, None])),
        terminating=draw(st.sampled_from([False, False, False, True])),
        draining=draw(st.sampled_from([False, False, False, True])),
    )


fleets = st.builds(Fleet, replicas=st.integers(0, 14), pods=st.lists(pods(), max_size=7).map(tuple))
pauses = st.builds(Pause, st.sampled_from([False, False, True]), st.sampled_from([False, False, True]))


def aged(shown: Fleet, seconds: float) -> Fleet:
    """The same fleet at another time: its samples are as old as before."""
    moved = (replace(each, sample=replace(each.sample, read_at=each.sample.read_at + seconds)) for each in shown.pods)
    return Fleet(shown.replicas, tuple(moved))


@st.composite
def memories(draw: st.DrawFn, spec: Spec) -> Memory:
    """What is remembered after some rounds with any fleets, the last one five seconds ago."""
    history = draw(st.lists(fleets, max_size=3))
    memory = Memory(NOW - draw(st.sampled_from([10, 10_000])))
    for back, shown in zip(range(len(history), 0, -1), history, strict=True):
        memory = decide(spec, aged(shown, -5.0 * back), memory, NOW - 5 * back).memory
    return memory


@st.composite
def questions(draw: st.DrawFn) -> tuple[Spec, Fleet, Memory]:
    spec = draw(specs)
    return spec, draw(fleets), draw(memories(spec))


@given(question=questions(), pause=pauses)
def test_bounds_and_pauses_are_kept(question: tuple[Spec, Fleet, Memory], pause: Pause) -> None:
    spec, shown, memory = question
    decision = decide(spec, shown, memory, NOW, pause)
    unpaused = decide(spec, shown, memory, NOW).replicas
    assert spec.scaling.min_replicas <= unpaused <= spec.scaling.max_replicas
    assert decision.replicas >= shown.replicas or not pause.scale_in
    assert decision.replicas <= shown.replicas or not pause.scale_out


@given(question=questions())
def test_nothing_is_removed_on_missing_data(question: tuple[Spec, Fleet, Memory]) -> None:
    """Less than half of the pods that stay have fresh samples; only maxReplicas may still say otherwise."""
    spec, shown, memory = question
    staying = [each for each in shown.pods if not each.leaving]
    fresh = [each for each in staying if each.sample.fresh(NOW)]
    assume(not fresh or 2 * len(fresh) < len(staying))
    decision = decide(spec, shown, memory, NOW)
    assert decision.replicas >= min(shown.replicas, spec.scaling.max_replicas)
    assert not decision.valid or decision.wish not in (Reason.DEMAND_FELL, Reason.NO_DATA, Reason.FALLBACK)


@given(question=questions(), index=st.integers(0, 9), more=st.integers(1, 3 * TARGET), refused=st.integers(0, 500))
def test_more_demand_never_means_fewer_pods(
    question: tuple[Spec, Fleet, Memory], index: int, more: int, refused: int
) -> None:
    """One pod has more streams, and refuses more; everything else is the same."""
    spec, shown, memory = question
    assume(shown.pods)
    at = index % len(shown.pods)
    load = shown.pods[at].sample.load
    assume(load is not None)
    assert load is not None
    grown = replace(load, streams=load.streams + more, refused_per_second=load.refused_per_second + refused)
    busier = replace(shown.pods[at], sample=replace(shown.pods[at].sample, load=grown))
    crowded = Fleet(shown.replicas, (*shown.pods[:at], busier, *shown.pods[at + 1 :]))
    assert decide(spec, crowded, memory, NOW).replicas >= decide(spec, shown, memory, NOW).replicas


@given(question=questions())
def test_within_a_window_of_a_start_nothing_is_removed(question: tuple[Spec, Fleet, Memory]) -> None:
    spec, shown, memory = question
    window = spec.scaling.behavior.scale_down.stabilization_window_seconds
    started = replace(memory, started_at=NOW - window + 1)
    decision = decide(spec, shown, started, NOW)
    assert decision.replicas >= min(shown.replicas, spec.scaling.max_replicas)


@given(question=questions())
def test_a_decision_survives_its_status(question: tuple[Spec, Fleet, Memory]) -> None:
    """What an operator reads that starts in that moment is what the last one knew, as far as it must survive."""
    spec, shown, memory = question
    decision = decide(spec, shown, memory, NOW)
    status = autoscaler_status(decision, FRESH_START)
    found = restored(status, NOW)
    known = decision.memory
    assert (found.last, found.surge, found.scaled_at) == (known.last, known.surge, known.scaled_at)
    assert sum(change.by for change in found.changes) == sum(change.by for change in known.changes)
    assert status["message"] == decision.message


# The HPA


@settings(max_examples=200)
@given(
    behavior=behaviors,
    tolerance=tolerances,
    bounds=st.tuples(st.integers(1, 4), st.integers(4, 40)),
    rounds=st.lists(st.tuples(st.sampled_from([1, 5, 15, 40]), st.integers(0, 50 * TARGET)), min_size=1, max_size=40),
)
def test_without_our_own_terms_it_decides_as_an_hpa(
    behavior: dict[str, Any], tolerance: dict[str, float], bounds: tuple[int, int], rounds: list[tuple[int, int]]
) -> None:
    """No burst, no surge, pods that take any number, every pod known, and what is decided is done at once."""
    scaling = {
        "streamsPerPod": {"target": TARGET, "limit": 10**6},
        "minReplicas": bounds[0],
        "maxReplicas": bounds[1],
        "burst": 0,
        "tolerance": tolerance,
        "behavior": behavior,
        "surge": {"enabled": False},
    }
    hpa = Hpa(TARGET, *bounds, tolerance["up"], tolerance["down"], behavior)
    spec, memory, now, replicas = spec_of(scaling), experienced(), NOW, bounds[0]
    for seconds, streams in rounds:
        now += seconds
        each = [streams // replicas] * (replicas - 1)
        shown = fleet(*each, streams - sum(each), capacity=10**6, age=NOW - now)
        decision = decide(spec, shown, memory, now)
        assert decision.replicas == hpa.scale(now, replicas, streams), decision.message
        replicas, memory = decision.replicas, decision.memory


# Many rounds


class Run:
    """A fleet whose operator decides and carries out, every five seconds, with a constant number of clients."""

    def __init__(self, spec: Spec, cluster: FakeCluster) -> None:
        self.spec, self.cluster = spec, cluster
        self.memory = experienced()
        self.decisions: list[Decision] = []

    def go(self, rounds: int) -> None:
        for _ in range(rounds):
            self.go_on()

    def restart(self) -> None:
        """Another operator takes over, which knows what the last one wrote."""
        if self.decisions:
            self.memory = restored(autoscaler_status(self.decisions[-1], FRESH_START), self.cluster.now)

    def black_out(self, rounds: int) -> None:
        """Nobody answers for a while."""
        for each in self.cluster.pods:
            each.reachable = False
        self.go(rounds)
        for each in self.cluster.pods:
            each.reachable = True

    def go_on(self) -> None:
        cluster = self.cluster
        shown = cluster.fleet()
        decision = decide(self.spec, shown, self.memory, cluster.now)
        budget, target = budget_of(self.spec), decision.target
        found = plan(shown, decision.replicas, budget, target, cluster.now, blind=not decision.valid)
        cluster.carry_out(found.actions)
        cluster.control()
        cluster.tick(5)
        self.decisions.append(decision)
        self.memory = decision.memory

    @property
    def turns(self) -> int:
        """How often the number of pods that is asked for changes its direction."""
        moves = [after > before for before, after in pairwise(self.replicas) if after != before]
        return sum(one != other for one, other in pairwise(moves))

    @property
    def replicas(self) -> list[int]:
        return [decision.base for decision in self.decisions]


def calm_run(tolerance: dict[str, float], burst: int, pods: int, start: int, seed: int) -> Run:
    scaling = {
        "streamsPerPod": {"target": TARGET, "limit": 2 * TARGET},
        "maxReplicas": 40,
        "minReplicas": 1,
        "burst": burst,
        "tolerance": tolerance,
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}},
        "maxReconnectsPerSecond": 1000,
    }
    # Less patience than usual, or nothing would have come to its end when a test does.
    spec = spec_of(scaling, drain={"patienceSeconds": 300})
    cluster = FakeCluster(pods, Random(seed).randrange, start_seconds=start, capacity=2 * TARGET)
    cluster.retry_spread = int(budget_of(spec).retry_spread)
    for _ in range(pods):
        cluster.add(ready=True)
    return Run(spec, cluster)


@settings(max_examples=60)
@given(
    streams=st.lists(st.integers(0, 2 * TARGET), min_size=1, max_size=12),
    start=st.sampled_from([1, 10, 45]),
    burst=st.sampled_from([0, 500, 3000]),
    tolerance=tolerances,
    seed=st.integers(0, 2**32),
    troubles=st.lists(st.tuples(st.integers(0, 40), st.sampled_from([0, 0, 2, 6, 20])), max_size=3),
)
def test_under_a_constant_demand_it_goes_in_one_direction_and_rests(
    streams: list[int],
    start: int,
    burst: int,
    tolerance: dict[str, float],
    seed: int,
    troubles: list[tuple[int, int]],
) -> None:
    """From any number of pods, with pods that take their time, and clients that move while others drain.

    Restarts of the operator and times without data change nothing of that, and nobody is drained for nothing.
    """
    run = calm_run(tolerance, burst, len(streams), start, seed)
    pods = list(run.cluster.pods)
    for each, count in zip(pods, streams, strict=True):
        each.streams = count
    for rounds, trouble in troubles:
        run.go(rounds)
        run.black_out(trouble) if trouble else run.restart()
    run.go(260)
    assert [pod.begun for pod in pods] == [int(pod not in run.cluster.present) for pod in pods]
    assert set(run.replicas[-60:]) == {run.replicas[-1]}
    assert run.turns == 0
    assert run.replicas[-1] * 2 * TARGET >= sum(streams) + burst


@settings(max_examples=60)
@given(
    clients=st.integers(0, 20 * TARGET),
    pods=st.integers(1, 12),
    start=st.sampled_from([1, 10, 45]),
    tolerance=tolerances,
    seed=st.integers(0, 2**32),
)
def test_after_a_kick_off_it_rests_with_a_place_for_everybody(
    clients: int, pods: int, start: int, tolerance: dict[str, float], seed: int
) -> None:
    """All clients come at once. How many wait is an estimate, so it may add too many; it corrects that once."""
    run = calm_run(tolerance, 500, pods, start, seed)
    run.cluster.homeless.append((NOW, clients))
    run.cluster.tick(1)
    run.go(200)
    assert set(run.replicas[-60:]) == {run.replicas[-1]}
    assert run.turns <= 1
    assert run.cluster.homeless == []
