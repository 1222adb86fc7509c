"""The simulator loses no client, decides what the operator decides, and does the same thing twice."""

import json
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssecast_operator.actions import Action
from ssecast_operator.budget import budget_of
from ssecast_operator.decide import decide
from ssecast_operator.decision import Decision
from ssecast_operator.demand import census_of, target_of
from ssecast_operator.fleet import DELETION_COST, DRAIN_DEADLINE, TEMPLATE_HASH, Fleet, Pod, pods_of
from ssecast_operator.instants import rfc3339
from ssecast_operator.memory import Memory
from ssecast_operator.rebalance import FRESH_START
from ssecast_operator.routing import Routing
from ssecast_operator.samples import Sample, read_load
from ssecast_operator.simulation import BEGIN, Operator, Run, Scaler, Series, settings_of_pods, simulate
from ssecast_operator.spec import Spec
from ssecast_operator.traces import Incident, Kind, Trace
from ssecast_operator.verdict import Verdict, verdict_on
from ssecast_operator.victims import plan
from ssecast_operator.world import Surroundings, World
from tests.fleets import spec_of

SLOW = settings(max_examples=15)

incidents = st.builds(
    Incident, st.sampled_from(Kind), st.floats(10, 300), st.floats(10, 120), st.floats(0.1, 1)
)  # fmt: skip


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    clients = draw(st.lists(st.floats(0, 3000), min_size=2, max_size=6))
    times = tuple(120.0 * at for at in range(len(clients)))
    return Trace("drawn", times, tuple(clients), tuple(draw(st.lists(incidents, max_size=2))))


specs = st.builds(
    lambda target, spread, overload, age, patience, threshold: spec_of(
        {
            "streamsPerPod": {"target": target, "limit": target + spread},
            "maxReplicas": 40,
            "burst": 20,
            "maxReconnectsPerSecond": 50,
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 30}},
            "rebalance": {"threshold": threshold},
        },
        drain={"patienceSeconds": patience},
        stream={"overload": overload, "maxAgeSeconds": age, "heartbeatSeconds": 5},
    ),
    st.integers(50, 300), st.integers(0, 200), st.sampled_from(["retry", "503"]), st.sampled_from([0, 60, 1800]),
    st.sampled_from([0, 60, 600]), st.sampled_from([0.1, 1.0]),
)  # fmt: skip

surroundings = st.builds(
    Surroundings, st.sampled_from(Routing), st.floats(0, 60), st.just(0.3), st.sampled_from([0.0, 0.3]), st.floats(0, 8)
)


def columns(run: Run) -> dict[str, Any]:
    return {each.name: getattr(run.series, each.name) for each in fields(Series)}


@SLOW
@given(traces(), specs, surroundings, st.sampled_from(Scaler), st.integers(0, 99))
def test_every_client_is_connected_waits_or_has_given_up(
    trace: Trace, spec: Spec, around: Surroundings, scaler: Scaler, seed: int
) -> None:
    series = simulate(trace, spec, scaler, around, seed).series
    assert series.connected + series.waiting + series.given_up == pytest.approx(series.clients, rel=1e-6, abs=1e-3)
    for values in columns(Run(trace, scaler, spec, seed, series)).values():
        assert (values >= 0).all()
    assert (series.hottest <= spec.scaling.streams_per_pod.limit + 1e-6).all()
    if spec.stream.overload == "retry":
        assert not series.given_up.any()


@SLOW
@given(traces(), specs, surroundings, st.integers(0, 99))
def test_the_simulator_decides_what_the_operator_decides(
    trace: Trace, spec: Spec, around: Surroundings, seed: int
) -> None:
    """Called as the operator's rooms document it, each decision and plan comes out again from what was seen."""
    seen: list[tuple[Fleet, Memory, float, Verdict]] = []
    run = simulate(trace, spec, surroundings=around, seed=seed, watch=lambda _, *told: seen.append(told))
    assert seen
    decisions: list[Decision] = []
    for fleet, memory, now, verdict in seen:
        decision = decide(spec, fleet, memory, now)
        assert decision == verdict.decision
        census = decision.census
        unknown, blind = target_of(census, spec.scaling), census.fresh * 2 < census.pods
        assert plan(fleet, decision.replicas, budget_of(spec), unknown, now, blind=blind) == verdict.plan
        decisions.append(decision)
    assert set(run.series.desired) <= {float(each.replicas) for each in decisions}


@SLOW
@given(traces(), specs, surroundings, st.integers(0, 99))
def test_a_cluster_with_the_same_pods_is_judged_as_the_simulated_one(
    trace: Trace, spec: Spec, around: Surroundings, seed: int
) -> None:
    """As the API server shows pods and as they answer `/load`, read by the operator's own rooms."""
    seen: list[tuple[Fleet, Memory, float, Verdict]] = []
    simulate(trace, spec, surroundings=around, seed=seed, watch=lambda _, *told: seen.append(told))
    balance = FRESH_START
    for fleet, memory, now, verdict in seen:
        samples = {pod.uid: answered(pod) for pod in fleet.pods}
        shown = Fleet(fleet.replicas, pods_of(map(body_of, fleet.pods), samples), rollout=fleet.rollout)
        found = verdict_on(shown, spec, memory, balance, now)
        balance = verdict.rebalancing.memory
        assert found.decision == verdict.decision
        assert found.plan.phase == verdict.plan.phase
        assert alike(found.plan.actions, verdict.plan.actions), (found.plan, verdict.plan)
        assert found.rebalancing == verdict.rebalancing


def body_of(pod: Pod) -> dict[str, Any]:
    """As the API server returns it."""
    annotations = {DELETION_COST: str(pod.deletion_cost)} if pod.deletion_cost else {}
    if pod.drain_deadline is not None:
        annotations[DRAIN_DEADLINE] = rfc3339(pod.drain_deadline)
    metadata = {
        "name": pod.name,
        "uid": pod.uid,
        "creationTimestamp": rfc3339(pod.created_at),
        "labels": {TEMPLATE_HASH: pod.revision},
        "annotations": annotations,
    }
    if pod.terminating:
        metadata["deletionTimestamp"] = rfc3339(pod.created_at)
    ready = {"type": "Ready", "status": "True" if pod.ready else "False"}
    if pod.ready_since is not None:
        ready["lastTransitionTime"] = rfc3339(pod.ready_since)
    status = {"phase": "Running" if pod.running else "Pending", "conditions": [ready]}
    return {"metadata": metadata, "spec": {"nodeName": "node" if pod.scheduled else ""}, "status": status}


def answered(pod: Pod) -> Sample:
    """What it said last, through its `/load`."""
    load = pod.sample.load
    if load is None:
        return pod.sample
    answer = {
        "pod_uid": pod.uid,
        "boot_id": load.boot_id,
        "streams": load.streams,
        "capacity": load.capacity,
        "draining": load.draining,
        "drain_deadline": None if load.drain_deadline is None else rfc3339(load.drain_deadline),
        "refused_per_second": load.refused_per_second,
    }
    return Sample(read_load(json.dumps(answer).encode(), pod.uid), pod.sample.read_at)


def alike(found: Sequence[Action], expected: Sequence[Action]) -> bool:
    """Times within a hundredth of a second: in the cluster they have milliseconds."""
    if [type(each) for each in found] != [type(each) for each in expected]:
        return False
    pairs = ((getattr(one, each.name), getattr(other, each.name))
             for one, other in zip(found, expected, strict=True) for each in fields(one))  # fmt: skip
    return all(abs(one - other) < 0.01 if isinstance(one, float) else one == other for one, other in pairs)


@SLOW
@given(traces(), specs, surroundings, st.sampled_from(Scaler), st.integers(0, 99))
def test_the_same_seed_makes_the_same_run(
    trace: Trace, spec: Spec, around: Surroundings, scaler: Scaler, seed: int
) -> None:
    first, second = (columns(simulate(trace, spec, scaler, around, seed)) for _ in range(2))
    assert all(np.array_equal(first[name], second[name]) for name in first)


@SLOW
@given(traces(), specs, surroundings, st.integers(0, 99))
def test_the_short_cut_of_calm_rounds_changes_nothing(
    trace: Trace, spec: Spec, around: Surroundings, seed: int
) -> None:
    """Whoever watches is shown every fleet in full, without it."""
    short = columns(simulate(trace, spec, surroundings=around, seed=seed))
    full = columns(simulate(trace, spec, surroundings=around, seed=seed, watch=lambda *_: None))
    assert all(np.array_equal(short[name], full[name]) for name in short)


@SLOW
@given(traces(), specs, surroundings, st.integers(0, 99))
def test_columns_are_counted_as_pods_are(trace: Trace, spec: Spec, around: Surroundings, seed: int) -> None:
    clients = np.interp(np.arange(trace.seconds), trace.times, trace.clients)
    world = World(settings_of_pods(spec, Scaler.OPERATOR), around, 8, float(clients[0]), BEGIN, seed)
    operator = Operator(spec, world)
    for second, wanted in enumerate(clients):
        operator.step()
        world.tick(float(wanted))
        if second % 7 == 0:
            assert world.census() == census_of(world.fleet(), spec.scaling.streams_per_pod.limit, world.now)
