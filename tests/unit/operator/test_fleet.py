"""fleet.py: pods as the API has them."""

from typing import Any

import pytest

from ssecast_operator.conditions import troubles_of
from ssecast_operator.fleet import (
    DELETION_COST,
    DRAIN_DEADLINE,
    SERVING,
    Fleet,
    Pod,
    drained_among,
    essentials_of,
    labelled,
    pod_of,
    pods_of,
)
from ssecast_operator.loads import addresses
from tests.fleets import NOW, pod, sample

BODY: dict[str, Any] = {
    "metadata": {
        "name": "fleet-7d9-abcde",
        "uid": "u1",
        "creationTimestamp": "2027-01-15T08:00:00Z",
        "labels": {"pod-template-hash": "7d9"},
        "annotations": {DRAIN_DEADLINE: "2027-01-15T08:01:00.500Z", DELETION_COST: "-7"},
    },
    "spec": {"nodeName": "node-1"},
    "status": {
        "phase": "Running",
        "conditions": [
            {"type": "Initialized", "status": "True"},
            {"type": "Ready", "status": "True", "lastTransitionTime": "2027-01-15T08:00:30Z"},
        ],
    },
}


def changed(**sections: dict[str, Any]) -> dict[str, Any]:
    return {name: BODY[name] | sections.get(name, {}) for name in BODY}


def test_a_pod_of_the_api() -> None:
    said = sample(5)
    assert pod_of(BODY, said) == Pod(
        name="fleet-7d9-abcde",
        uid="u1",
        created_at=1_800_000_000.0,
        ready_since=1_800_000_030.0,
        revision="7d9",
        drain_deadline=1_800_000_060.5,
        deletion_cost=-7,
        sample=said,
        cordoned=True,
    )


@pytest.mark.parametrize(("labels", "cordoned"), [({SERVING: "true"}, False), ({SERVING: "false"}, True), ({}, True)])
def test_a_pod_is_cordoned_where_the_service_does_not_lead_to_it(labels: dict[str, str], cordoned: bool) -> None:
    found = pod_of(changed(metadata={"labels": labels}))
    assert found is not None
    assert found.cordoned is cordoned
    assert labelled([changed(metadata={"labels": labels})]) is bool(labels)


def test_a_pod_that_was_just_made_has_next_to_nothing() -> None:
    made = pod_of({"metadata": {"name": "p", "uid": "u"}})
    assert made == Pod("p", "u", scheduled=False, running=False, cordoned=True)
    assert (made.ready, made.marked, made.leaving) == (False, False, False)


def test_what_nobody_looks_at_is_not_kept() -> None:
    containers = [{"name": "ssecast", "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "again"}}}]
    seen = changed(metadata={"namespace": "news"}, status={"containerStatuses": containers, "podIP": "10.0.0.1"})
    whole = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": seen["metadata"] | {"managedFields": [{"manager": "kubelet"}], "ownerReferences": []},
        "spec": seen["spec"] | {"containers": [{"name": "ssecast", "image": "ssecast:1"}]},
        "status": seen["status"] | {"qosClass": "Burstable"},
    }
    kept = essentials_of(whole)
    assert kept == seen
    assert essentials_of(kept) == kept
    assert pod_of(kept) == pod_of(whole)
    assert addresses([kept]) == addresses([whole])
    assert troubles_of([kept]) == troubles_of([whole]) != []


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_that_has_ended_is_none(phase: str) -> None:
    assert pod_of(changed(status={"phase": phase})) is None
    assert pods_of([changed(status={"phase": phase}), BODY], {}) == (pod_of(BODY),)


def test_samples_find_their_pods_by_uid() -> None:
    assert [each.sample for each in pods_of([BODY], {"u1": sample(5), "u2": sample(6)})] == [sample(5)]


def test_a_pod_that_is_not_ready_has_not_been_so_since_anything() -> None:
    not_ready = {"conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": "2027-01-15T08:00:30Z"}]}
    found = pod_of(changed(status=not_ready))
    assert found is not None
    assert (found.ready, found.ready_since) == (False, None)


@pytest.mark.parametrize("cost", ["cheap", "", "1.5"])
def test_a_deletion_cost_that_is_no_number_counts_as_none(cost: str) -> None:
    found = pod_of(changed(metadata={"annotations": {DELETION_COST: cost, DRAIN_DEADLINE: "soon"}}))
    assert found is not None
    assert (found.deletion_cost, found.marked) == (0, False)


def test_pods_that_drain_to_be_removed_are_counted_until_they_are_told_to_end() -> None:
    """For as long as they are patient they are ready, and in nobody's way."""
    drains: dict[str, Any] = {"conditions": []}
    ended = changed(status=drains, metadata={"deletionTimestamp": "2027-01-15T08:00:30Z"})
    unreadable, unmarked = (
        changed(status=drains, metadata={"annotations": each}) for each in ({DRAIN_DEADLINE: "soon"}, {})
    )
    assert drained_among([BODY, changed(status=drains), ended, unreadable, unmarked]) == 1


@pytest.mark.parametrize(
    ("leaving", "why"),
    [
        (False, pod()),
        (False, pod(streams=None)),
        (True, pod(terminating=True)),
        (True, pod(drain_deadline=0.0)),
        (True, pod(draining=True)),
    ],
)
def test_who_leaves(leaving: bool, why: Pod) -> None:
    """Streams of such a pod are on their way to other pods."""
    assert why.leaving is leaving


@pytest.mark.parametrize(
    ("lost", "shown"),
    [
        (False, pod(age=99.0)),
        (False, pod(terminating=True, age=60.0)),
        (True, pod(terminating=True, age=61.0)),
        (True, pod(streams=None, terminating=True)),
    ],
)
def test_who_was_told_to_end_and_has_long_been_silent_is_lost(lost: bool, shown: Pod) -> None:
    """Its node may be away, and nobody confirm for ever that it has ended. Who was not told is only silent."""
    assert shown.lost(NOW) is lost
    assert Fleet(1, (shown,)).there(NOW) == (() if lost else (shown,))


def test_pods_that_terminate_are_not_present() -> None:
    staying = pod("a")
    assert Fleet(2, (staying, pod("b", terminating=True))).present == (staying,)


@pytest.mark.parametrize(
    ("replicas", "marked", "unmarked", "rollout", "kept"),
    [
        (5, 0, 5, False, 5),
        (5, 2, 3, False, 3),
        (5, 2, 2, False, 3),
        (3, 2, 3, False, 3),
        (4, 2, 3, False, 3),
        (5, 2, 4, True, 3),
        (0, 2, 0, True, 0),
    ],
)
def test_pods_that_are_drained_are_not_meant_to_stay(
    replicas: int, marked: int, unmarked: int, rollout: bool, kept: int
) -> None:
    """While they drain; one that is missing; lowered, but not gone yet; one of them gone; with a surge pod of a rollout."""
    pods = [pod(f"m{at}", drain_deadline=0.0) for at in range(marked)] + [pod(f"u{at}") for at in range(unmarked)]
    assert Fleet(replicas, tuple(pods), rollout=rollout).kept == kept


def test_a_rollout_is_what_the_deployment_says_or_pods_of_several_revisions() -> None:
    old, new = pod("a", revision="1"), pod("b", revision="2")
    assert not Fleet(1, (old,)).rolling_out
    assert Fleet(1, (old,), rollout=True).rolling_out
    assert Fleet(2, (old, new)).rolling_out
    assert not Fleet(1, (pod("a", revision="1", terminating=True), new)).rolling_out
