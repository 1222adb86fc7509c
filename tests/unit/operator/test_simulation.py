"""simulation.py: what happens to a fleet is what the trace says, and each autoscaler sees it its own way."""

import pytest

from ssecast_operator.rivals import Hpa
from ssecast_operator.simulation import BEGIN, Other, Run, Scaler, settings_of_pods, simulate
from ssecast_operator.traces import Incident, Kind, Trace
from ssecast_operator.world import USUAL, World
from tests.fleets import spec_of

SPEC = spec_of({"streamsPerPod": {"target": 60, "limit": 100}, "burst": 10, "maxReconnectsPerSecond": 50})


def run(*clients: float, incident: Incident | None = None, scaler: Scaler = Scaler.OPERATOR) -> Run:
    times = tuple(300.0 * at for at in range(len(clients)))
    return simulate(Trace("drawn", times, clients, (incident,) if incident else ()), SPEC, scaler)


def test_it_begins_with_as_many_pods_as_the_demand_takes() -> None:
    assert run(300, 300).series.pods[0] == 6


@pytest.mark.parametrize("scaler", Scaler)
def test_more_clients_bring_more_pods(scaler: Scaler) -> None:
    series = run(100, 1000, 1000, scaler=scaler).series
    assert series.ready[-1] >= 15


def test_a_rollout_replaces_every_pod_within_the_budget() -> None:
    series = run(100, 100, 100, 100, incident=Incident(Kind.ROLLOUT, 60)).series
    assert series.forced.sum() == pytest.approx(100, rel=0.1), "hardly anybody is moved twice"
    assert series.refused.sum() == 0
    assert series.returned.max() <= SPEC.scaling.max_reconnects_per_second


def test_an_outage_cuts_every_stream_and_everybody_comes_back() -> None:
    series = run(300, 300, incident=Incident(Kind.OUTAGE, 60, 30)).series
    assert series.lost.sum() == pytest.approx(300)
    assert series.connected[70] == 0
    assert series.connected[-1] == pytest.approx(300)


def test_a_lost_node_takes_its_share_of_the_pods() -> None:
    series = run(300, 300, incident=Incident(Kind.NODE_LOSS, 60, share=0.5)).series
    assert series.lost.sum() == pytest.approx(150)
    assert series.pods[-1] == 6


def test_while_nobody_answers_no_pod_is_removed_and_afterwards_it_is() -> None:
    series = run(1000, 100, 100, 100, incident=Incident(Kind.BLINDNESS, 0, 600)).series
    assert series.desired[590] == series.desired[0]
    assert series.desired[-1] < series.desired[0]


def test_an_hpa_sees_what_was_some_time_ago_and_acts_a_moment_later() -> None:
    world = World(settings_of_pods(SPEC, Scaler.HPA), USUAL, 2, 100, BEGIN, 0)
    hpa = Other(Hpa(SPEC.scaling), world, delay=15)
    changes = []
    for second in range(40):
        hpa.step()
        world.tick(200)
        if world.replicas != 2:
            changes.append(second)
    assert changes[0] == 31, "seen at 15, asked about at 30, written at 31"
