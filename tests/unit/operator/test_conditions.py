"""conditions.py: what a person sees of a round, and when it is worth a write."""

from dataclasses import replace
from typing import Any

import pytest

from ssecast_operator.broadcaster import Broadcaster
from ssecast_operator.budget import budget_of
from ssecast_operator.conditions import Problem, Round, is_stuck, status_of, troubles_of, worth_writing
from ssecast_operator.crd import structural
from ssecast_operator.decide import decide
from ssecast_operator.fleet import Fleet
from ssecast_operator.instants import rfc3339
from ssecast_operator.rebalance import BalanceMemory, rebalance
from ssecast_operator.samples import Load, Sample
from ssecast_operator.status import Status
from ssecast_operator.victims import plan
from tests.fleets import NOW, experienced, fleet, pod
from tests.unit.operator.test_configuration import broadcaster
from tests.unit.operator.test_status import unknown


def seen(shown: Fleet, found: Broadcaster | None = None, now: float = NOW, **more: Any) -> Round:
    """A whole round over a fleet."""
    found = found or broadcaster()
    decision = decide(found.spec, shown, experienced(), now, found.pause)
    budget = budget_of(found.spec)
    steps = plan(shown, decision.replicas, budget, 6000, now)
    moving = rebalance(shown, found.spec.scaling, budget, BalanceMemory(), now)
    return Round(found, now, {}, shown, (), decision, steps, moving, **more)


def conditions(round_: Round, before: dict[str, Any] | None = None) -> dict[str, dict[str, Any]]:
    return {each["type"]: each for each in status_of(round_, before or {})["conditions"]}


def test_a_calm_fleet() -> None:
    found = conditions(seen(fleet(4000, 4000)))
    assert {type_: (each["status"], each["reason"]) for type_, each in found.items()} == {
        "Reconciled": ("True", "AsSpecified"),
        "Available": ("True", "AllPodsReady"),
        "Progressing": ("False", "Steady"),
        "ScalingActive": ("True", "Steady"),
        "ScalingLimited": ("False", "AsWished"),
        "StreamReady": ("True", "Following"),
    }


def test_pods_that_drain_to_be_removed_are_not_missed() -> None:
    leaving = pod("c", 4000, ready_since=None, draining=True, drain_deadline=NOW + 600)
    available = conditions(seen(Fleet(3, (*fleet(4000, 4000).pods, leaving))))["Available"]
    assert (available["reason"], available["message"]) == ("AllPodsReady", "2 of 2 pods are ready")


def test_all_of_it_fits_the_schema() -> None:
    assert unknown(status_of(seen(fleet(4000, 4000), contested="kubectl"), {}), structural(Status)) == []


def test_figures() -> None:
    found = status_of(seen(Fleet(3, (*fleet(4000, 3000).pods, pod("c", None, ready_since=None)))), {})
    assert (found["replicas"], found["readyReplicas"], found["streams"]) == (3, 2, 7000)
    assert found["selector"] == "app.kubernetes.io/name=ssecast,ssecast.dev/broadcaster=live"
    assert found["observedGeneration"] == 3


def test_problems_are_told_all_of_them() -> None:
    problems = (Problem("NameTaken", "a is taken"), Problem("SecretMissing", "b is missing"))
    reconciled = conditions(seen(fleet(1), problems=problems))["Reconciled"]
    assert (reconciled["status"], reconciled["reason"]) == ("False", "NameTaken")
    assert reconciled["message"] == "a is taken; b is missing"


def test_what_the_pods_say_of_nats() -> None:
    one, other = fleet(4000, 4000).pods
    load = one.sample.load
    assert load is not None
    troubled = replace(one, sample=Sample(replace(load, problem="the stream does not cover orders.>"), NOW))
    found = conditions(seen(Fleet(2, (troubled, other))))["StreamReady"]
    assert (found["status"], found["message"]) == ("False", "the stream does not cover orders.>")
    assert conditions(seen(fleet(None, None)))["StreamReady"]["status"] == "Unknown"


def test_what_a_pod_said_of_nats_before_it_fell_silent_is_not_said_for_ever() -> None:
    """It was cut off from NATS and then from us: its node is away, and the others are well."""
    silent = Sample(Load("boot", 4000, 10_000, problem="no connection to NATS"), NOW - 61)
    shown = Fleet(2, (*fleet(4000, 4000).pods, pod("c", sample=silent, terminating=True)))
    found = status_of(seen(shown), {})
    assert conditions(seen(shown))["StreamReady"]["status"] == "True"
    assert conditions(seen(shown))["Available"]["message"] == "2 of 2 pods are ready"
    assert (found["replicas"], found["readyReplicas"], found["streams"]) == (2, 2, 8000)


def test_without_a_ready_pod() -> None:
    starting = Fleet(2, tuple(pod(name, None, ready_since=None) for name in "ab"))
    assert conditions(seen(starting))["Available"]["message"] == "none of 2 pods is ready"


def test_who_else_writes_the_replicas_is_named() -> None:
    assert (
        "kubectl-scale writes spec.replicas"
        in conditions(seen(fleet(1), contested="kubectl-scale"))["ReplicasContested"]["message"]
    )
    assert "ReplicasContested" not in conditions(seen(fleet(1)))


def test_modes_and_pauses() -> None:
    off = broadcaster(scaling={"mode": "off"}, replicas=2)
    assert conditions(seen(fleet(1, 1), off))["ScalingActive"]["reason"] == "ReplicasByHand"
    paused = replace(broadcaster(), pause=broadcaster().pause._replace(scale_in=True, scale_out=True))
    assert conditions(seen(fleet(1, 1), paused))["ScalingActive"]["reason"] == "Paused"


def test_a_transition_has_the_time_at_which_it_was() -> None:
    first = status_of(seen(fleet(4000, 4000)), {})
    later = seen(fleet(4000, None), now=NOW + 100, problems=(Problem("NameTaken", "a"),))
    found = conditions(later, first)
    assert found["Available"]["lastTransitionTime"] == rfc3339(NOW)
    assert found["Reconciled"]["lastTransitionTime"] == rfc3339(NOW + 100)


def test_what_is_not_known_in_a_round_stays_as_it_was() -> None:
    before = status_of(seen(fleet(4000, 4000)), {})
    after = status_of(Round(broadcaster(), NOW + 5, problems=(Problem("NameTaken", "a"),)), before)
    assert after["autoscaler"] == before["autoscaler"]
    assert after["streams"] == 8000


def test_figures_are_written_now_and_then_and_news_at_once() -> None:
    before = status_of(seen(fleet(4000, 4000)), {})
    more = status_of(seen(fleet(4000, 4001)), before)
    assert not worth_writing(before, before, 0.0, NOW)
    assert not worth_writing(more, before, NOW - 10, NOW)
    assert worth_writing(more, before, NOW - 30, NOW)
    news = status_of(seen(fleet(4000, 4000), contested="kubectl"), before)
    assert worth_writing(news, before, NOW - 1, NOW)


@pytest.mark.parametrize("reason", ["ImagePullBackOff", "CrashLoopBackOff", "CreateContainerConfigError"])
def test_what_keeps_containers_from_running_is_told_once(reason: str) -> None:
    waiting = {"state": {"waiting": {"reason": reason, "message": "m" * 1000}}}
    bodies = [{"metadata": {"name": name}, "status": {"containerStatuses": [waiting]}} for name in ("a", "b")]
    assert troubles_of(bodies) == [f"a: {reason}: {'m' * 300}"]


def test_a_pod_without_a_node_is_told_and_one_that_starts_is_not() -> None:
    unscheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}
    starting = {"state": {"waiting": {"reason": "ContainerCreating"}}}
    assert troubles_of([{"metadata": {"name": "a"}, "status": {"conditions": [unscheduled]}}]) == [
        "a: Unschedulable: 0/1 nodes"
    ]
    assert troubles_of([{"metadata": {"name": "a"}, "status": {"containerStatuses": [starting]}}]) == []


@pytest.mark.parametrize(
    ("conditions", "stuck"),
    [
        ([], False),
        ([{"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated"}], False),
        ([{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}], True),
        ([{"type": "Available", "status": "False", "reason": "MinimumReplicasUnavailable"}], False),
    ],
    ids=["unknown", "under way", "given up", "too few"],
)
def test_a_rollout_is_stuck_when_kubernetes_has_given_up_waiting(conditions: list[dict[str, str]], stuck: bool) -> None:
    """Its deadline is derived from the budget; nobody else judges."""
    assert is_stuck({"status": {"conditions": conditions}}) is stuck
    assert not is_stuck(None)
