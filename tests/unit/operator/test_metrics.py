"""What Prometheus is told of the operator."""

from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ssecast_operator.actions import SetReplicas
from ssecast_operator.broadcaster import Pause
from ssecast_operator.decide import decide
from ssecast_operator.fleet import Fleet
from ssecast_operator.memory import Memory
from ssecast_operator.metrics import Metrics
from ssecast_operator.rebalance import BalanceMemory, rebalance
from ssecast_operator.store import Key
from ssecast_operator.victims import plan
from tests.fleets import LONG_AGO, NOW, budget, experienced, fleet, pod, pods, spec_of

KEY = Key("shop", "news")
OF = {"namespace": "shop", "broadcaster": "news"}


@pytest.fixture
def metrics() -> Metrics:
    """After a round with more demand than two pods hold, and two at most."""
    metrics, shown = Metrics(), fleet(6000, 9000)
    spec = spec_of({"maxReplicas": 2, "minReplicas": 1})
    decision = decide(spec, shown, experienced(), NOW, Pause())
    steps = plan(shown, decision.replicas, budget(), 0, NOW)
    moving = rebalance(shown, spec.scaling, budget(), BalanceMemory(), NOW)
    metrics.decided(KEY, decision, steps, moving, 400.0)
    metrics.found(
        KEY, replace(shown, rollout=True, pods=(replace(shown.pods[0], cordoned=True), *shown.pods[1:])), False
    )
    metrics.acted(KEY, SetReplicas(2, 3))
    return metrics


def samples(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    families = text_string_to_metric_families(metrics.render().decode())
    return {
        (sample.name.removeprefix("ssecast_operator_"), frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def test_a_round_is_told_under_the_name_of_its_broadcaster(metrics: Metrics) -> None:
    """By the same labels as its pods have, so that both meet in one query."""
    told = samples(metrics)

    def value(name: str, **labels: str) -> float:
        return told[name, frozenset((OF | labels).items())]

    assert (value("desired_pods"), value("current_pods"), value("free_slots")) == (2, 2, 5000)
    assert value("demand_streams", where="open") == 15_000
    assert value("limited", by="AtMaxReplicas") == 1
    assert value("phase", phase="Steady") == 1
    assert (value("rolling_out"), value("rollout_stuck"), value("cordoned_pods")) == (1, 0, 1)
    assert value("actions_total", action="ScaleUp") == 1


def test_planned_reconnects_are_those_of_who_closes_now_and_not_of_who_will() -> None:
    """One of three pods is to go: it closes nobody for a while, then 4,000 streams within 60 s, and is done."""
    metrics, spec = Metrics(), spec_of({"tolerance": {"down": 0}, "burst": 0, "minReplicas": 1})
    patient = budget(delay=5, patience=600)

    def planned(shown: Fleet, now: float) -> float:
        decision = decide(spec, shown, Memory(LONG_AGO, fresh_at=now), now, Pause())
        moving = rebalance(shown, spec.scaling, patient, BalanceMemory(), now)
        metrics.decided(KEY, decision, plan(shown, 2, patient, 4000, now), moving, 400.0)
        return samples(metrics)["planned_reconnects_per_second", frozenset(OF.items())]

    assert planned(fleet(4000, 4000, 4000), NOW) == 0
    told, others = NOW + 600, pods(4000, 4000, 4000, age=-600.0)[1:]
    leaving = pod("pod-0", 4000, age=-600.0, drain_deadline=NOW + 665)
    assert planned(Fleet(3, (leaving, *others)), told) == 0
    leaving = pod("pod-0", 4000, age=-600.0, drain_deadline=NOW + 665, draining=True, deadline=NOW + 665)
    shown = Fleet(3, (leaving, *others))
    assert planned(shown, told + 4) == 0
    assert planned(shown, told + 6) == pytest.approx(4000 / 60)
    assert planned(shown, told + 66) == 0
    metrics.forget(KEY)
    assert planned(shown, told + 6) == 0


def test_gauges_go_with_their_broadcaster(metrics: Metrics) -> None:
    """What is gone neither has streams nor is late."""
    metrics.forget(KEY)
    left = {name for name, labels in samples(metrics) if ("broadcaster", "news") in labels}
    assert {name for name in left if not name.endswith(("_total", "_created"))} == set()
