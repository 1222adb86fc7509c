"""The operator on a real cluster with real pods: what it makes, keeps, tells and leaves alone."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.parts import Cluster, Operator, apply, broadcaster, condition, eventually, pods, ready, status
from tests.harness import Client

CHILDREN = (
    "serviceaccount/live", "configmap/live-settings", "service/live", "service/live-admin", "poddisruptionbudget/live",
    "networkpolicy/live", "deployment/live", "secret/live-admin-token",
)  # fmt: skip

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def live(nats: Cluster, operator: Operator) -> Cluster:
    """With a Broadcaster whose one pod is ready."""
    apply(nats, broadcaster())
    eventually(lambda: ready(nats, 1), "the first pod", 120)
    eventually(lambda: condition(nats, "Available")["status"] == "True", "word of it")
    return nats


class Crowd:
    """Streams to the Service, from this machine; those that end come back as browsers do."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._tasks: list[asyncio.Task[None]] = []
        self.reconnects = 0

    def come(self, count: int) -> None:
        self._tasks += [asyncio.create_task(self._stay()) for _ in range(count)]

    async def leave(self, count: int | None = None) -> None:
        going, self._tasks = self._tasks[:count], self._tasks[len(self._tasks) if count is None else count :]
        for task in going:
            task.cancel()
        await asyncio.gather(*going, return_exceptions=True)

    async def _stay(self) -> None:
        host, port = self._address
        while True:
            try:
                client = await Client.open(port, host=host)
                try:
                    assert client.task is not None
                    await asyncio.wait([client.task])
                finally:
                    await client.close()
            except OSError:
                pass
            self.reconnects += 1
            await asyncio.sleep(0.3)


@pytest.fixture
async def crowd(live: Cluster) -> AsyncIterator[Crowd]:
    address = live.get("service", "live")["spec"]["clusterIP"]
    found = Crowd((address, 80))
    yield found
    await found.leave()


def test_everything_is_made_and_told(live: Cluster, operator: Operator) -> None:
    for each in CHILDREN:
        live("get", each)
    found = status(live)
    assert found["selector"] == "app.kubernetes.io/name=ssecast,ssecast.dev/broadcaster=live"
    assert (found["replicas"], found["readyReplicas"]) == (1, 1)
    for type_, holds in (
        ("Reconciled", "True"),
        ("Available", "True"),
        ("ScalingActive", "True"),
        ("StreamReady", "True"),
    ):
        eventually(lambda type_=type_, holds=holds: condition(live, type_)["status"] == holds, type_)  # type: ignore[misc]
    row = live("get", "broadcasters", "--no-headers").split()
    assert row[:2] == ["live", "1"]
    events = live("get", "events", "--field-selector=involvedObject.kind=Broadcaster", "--output=json")
    assert json.loads(events)["items"], "an Event of a change"
    deployment = live.get("deployment", "live")
    assert deployment["spec"]["minReadySeconds"] == found["budget"]["minReadySeconds"]
    assert live.get("pod", pods(live)[0]["metadata"]["name"])["status"]["qosClass"] == "Burstable"


def test_a_steady_state_makes_no_writes(live: Cluster, operator: Operator) -> None:
    eventually(lambda: condition(live, "Progressing")["reason"] == "Steady", "calm")
    eventually(lambda: status(live)["autoscaler"]["reason"] == "AtMinReplicas", "the last change of mind")
    began = operator.rounds
    eventually(lambda: operator.rounds > began + 1, "the round in which that was written is over")
    began, writes = operator.rounds, operator.writes
    eventually(lambda: operator.rounds >= began + 6, "six rounds")
    assert operator.writes == writes


@pytest.mark.parametrize(
    ("kind", "name", "patch"),
    [
        ("service", "live", {"spec": {"ports": [{"name": "http", "port": 8888, "targetPort": "http"}]}}),
        ("configmap", "live-settings", {"data": {"SSECAST_RETRY_MS": "9"}}),
        ("deployment", "live", {"spec": {"minReadySeconds": 1}}),
        ("poddisruptionbudget", "live", {"spec": {"maxUnavailable": 3}}),
        ("networkpolicy", "live", {"spec": {"ingress": []}}),
    ],
)
def test_drift_is_repaired(live: Cluster, operator: Operator, kind: str, name: str, patch: dict[str, Any]) -> None:
    before = live.get(kind, name)
    live("patch", kind, name, "--type=merge", f"--patch={json.dumps(patch)}")
    field = next(iter(patch))
    eventually(lambda: live.get(kind, name)[field] == before[field], "as it was", 30)
    assert live.get(kind, name)["metadata"]["uid"] == before["metadata"]["uid"]


@pytest.mark.parametrize(
    "each", ["service/live", "configmap/live-settings", "poddisruptionbudget/live", "secret/live-admin-token"]
)
def test_what_is_deleted_is_made_anew(live: Cluster, operator: Operator, each: str) -> None:
    uid = live.get(*each.split("/"))["metadata"]["uid"]
    live("delete", each)
    eventually(
        lambda: not live.run("get", each).returncode and live.get(*each.split("/"))["metadata"]["uid"] != uid,
        "another one",
    )


def test_what_is_somebody_elses_is_left_alone(nats: Cluster, operator: Operator) -> None:
    theirs = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "taken"},
        "spec": {"selector": {"app": "other"}, "ports": [{"port": 7}]},
    }
    apply(nats, theirs)
    before = nats.get("service", "taken")
    try:
        apply(nats, broadcaster("taken"))
        eventually(lambda: condition(nats, "Reconciled", "taken")["reason"] == "NameTaken", "word of it")
        assert "Service 'taken' belongs to somebody else" in condition(nats, "Reconciled", "taken")["message"]
        nats("delete", "broadcaster", "taken")
        assert nats.get("service", "taken") == before
    finally:
        nats("delete", "service", "taken")


def test_a_secret_that_is_missing_is_a_condition_and_no_crash(nats: Cluster, operator: Operator) -> None:
    auth = {"keySecret": {"name": "no-such-secret", "key": "key.pem"}}
    apply(nats, broadcaster(auth=auth))
    eventually(lambda: condition(nats, "Reconciled")["reason"] == "SecretMissing", "word of it")
    assert condition(nats, "Reconciled")["message"] == "the Secret 'no-such-secret' does not exist"
    assert condition(nats, "Available")["status"] == "False"


def test_an_image_that_cannot_be_pulled_is_told_and_gets_no_more_pods(live: Cluster, operator: Operator) -> None:
    live("patch", "broadcaster", "live", "--type=merge", '--patch={"spec": {"image": "localhost/no-such-image:1"}}')
    eventually(lambda: "no-such-image" in condition(live, "Available")["message"], "word of it", 120)
    assert condition(live, "Available")["status"] == "True", "the old pod serves on"
    assert live.get("deployment", "live")["spec"]["replicas"] == 1


async def test_pods_follow_streams_up_and_down_and_nobody_is_cut_off(
    live: Cluster, operator: Operator, crowd: Crowd
) -> None:
    crowd.come(60)
    # Who is refused at first counts more or less often: there may be one more for a while.
    await asyncio.to_thread(
        eventually, lambda: ready(live, 3) and status(live)["autoscaler"]["desired"] == 3, "three pods", 180
    )
    crowd.reconnects = 0
    await crowd.leave(45)
    await asyncio.to_thread(eventually, lambda: ready(live, 1), "one pod", 240)
    events = live("get", "events", "--field-selector=involvedObject.kind=Broadcaster", "--output=json")
    reasons = {each["reason"] for each in json.loads(events)["items"]}
    assert {"DemandRose", "Adding", "Draining", "Removing"} <= reasons, reasons
    assert all("drain-deadline" not in json.dumps(pod["metadata"]) for pod in pods(live)), "nothing is left marked"


async def test_a_pod_that_is_to_go_is_ready_and_gets_no_new_streams(nats: Cluster, operator: Operator) -> None:
    """For as long as its streams may end by themselves. Nobody takes it for a pod that is ill, and it is there when the demand
    turns."""
    drain = {"delaySeconds": 1, "patienceSeconds": 3000, "windowSeconds": 5}
    apply(nats, broadcaster(drain=drain, scaling={"minReplicas": 2}))
    await asyncio.to_thread(eventually, lambda: len(addressed(nats)) == 2, "two pods", 120)
    crowd = Crowd((nats.get("service", "live")["spec"]["clusterIP"], 80))
    for count in range(1, 19):  # one by one: the node may lead to the second pod a moment later than the Service
        crowd.come(1)
        await asyncio.to_thread(eventually, lambda count=count: sum(streams(nats)) == count, "a stream")
    assert all(streams(nats))
    least(nats, 1)
    marked = await asyncio.to_thread(eventually, lambda: being_drained(nats), "a mark", 120)
    assert cordoned(nats) == marked
    await asyncio.to_thread(eventually, lambda: len(addressed(nats)) == 1, "the Service without it")
    assert not marked & addressed(nats)
    assert ready(nats, 2)
    assert status(nats)["phase"] == "Emptying"
    await asyncio.to_thread(
        eventually, lambda: nats.get("deployment", "live")["status"]["availableReplicas"] == 2, "both to be available"
    )
    least(nats, 2)
    await asyncio.to_thread(
        eventually, lambda: not being_drained(nats) and not cordoned(nats), "the demand to turn", 60
    )
    await asyncio.to_thread(eventually, lambda: len(addressed(nats)) == 2, "the Service with it")
    assert crowd.reconnects == 0, "nobody was closed"
    await crowd.leave()


def least(cluster: Cluster, replicas: int) -> None:
    spec = {"spec": {"scaling": {"minReplicas": replicas}}}
    cluster("patch", "broadcaster", "live", "--type=merge", f"--patch={json.dumps(spec)}")


def streams(cluster: Cluster) -> list[int]:
    """Of each pod, as it says."""
    path = f"/api/v1/namespaces/{cluster.namespace}/pods/{{}}:9090/proxy/load"
    names = [pod["metadata"]["name"] for pod in pods(cluster)]
    return [json.loads(cluster("get", "--raw", path.format(name)))["streams"] for name in names]


def cordoned(cluster: Cluster) -> set[str]:
    return {
        pod["metadata"]["name"] for pod in pods(cluster) if pod["metadata"]["labels"]["ssecast.dev/serving"] == "false"
    }


def addressed(cluster: Cluster) -> set[str]:
    """Pods to which the Service leads."""
    found = json.loads(cluster("get", "endpointslices", "--selector=kubernetes.io/service-name=live", "--output=json"))
    endpoints = [each for item in found["items"] for each in item["endpoints"] or ()]
    return {each["targetRef"]["name"] for each in endpoints if each["conditions"]["ready"]}


async def test_in_a_rollout_new_streams_go_to_new_pods(live: Cluster, operator: Operator, crowd: Crowd) -> None:
    """So nobody is closed twice: each stream ends once, when it is the turn of its pod."""
    live(
        "patch", "broadcaster", "live", "--type=merge", '--patch={"spec": {"replicas": 3, "scaling": {"mode": "off"}}}'
    )
    await asyncio.to_thread(eventually, lambda: ready(live, 3), "three pods", 120)
    old = {pod["metadata"]["name"] for pod in pods(live)}
    crowd.come(30)
    await asyncio.to_thread(eventually, lambda: status(live)["autoscaler"]["demand"]["open"] == 30, "all streams")
    env = {"spec": {"podTemplate": {"env": [{"name": "SSECAST_LOG_MAX_EVENTS", "value": "5000"}]}}}
    live("patch", "broadcaster", "live", "--type=merge", f"--patch={json.dumps(env)}")

    def shut() -> bool:
        left = old & {pod["metadata"]["name"] for pod in pods(live)}
        assert left, "they went before"
        return left <= cordoned(live)

    await asyncio.to_thread(eventually, shut, "the old pods to be cordoned", 120)
    await asyncio.to_thread(
        eventually,
        lambda: ready(live, 3) and not old & {pod["metadata"]["name"] for pod in pods(live)},
        "new pods",
        180,
    )
    await asyncio.to_thread(eventually, lambda: not cordoned(live), "all of them to serve")
    await asyncio.to_thread(eventually, lambda: status(live)["autoscaler"]["demand"]["open"] == 30, "all streams")
    assert crowd.reconnects == 30


def test_an_operator_that_starts_anew_finds_all_as_it_should_be(live: Cluster, operator: Operator) -> None:
    """It lists what there is, and writes nothing again."""
    operator.kill()
    operator.start()
    eventually(lambda: operator.rounds >= 3, "three rounds")
    assert {of for of in operator.writes if of[1] not in ("broadcasters", "events")} == set()


async def test_an_operator_that_is_killed_in_a_drain_goes_on(live: Cluster, operator: Operator, crowd: Crowd) -> None:
    crowd.come(60)
    await asyncio.to_thread(eventually, lambda: ready(live, 3), "three pods", 180)
    await crowd.leave(45)
    marked = await asyncio.to_thread(eventually, lambda: being_drained(live), "a drain", 240)
    operator.kill()
    await asyncio.to_thread(operator.start)
    await asyncio.to_thread(eventually, lambda: ready(live, 1), "one pod", 240)
    assert not marked & {pod["metadata"]["name"] for pod in pods(live)}, "those that drained are those that went"


def being_drained(cluster: Cluster) -> set[str]:
    return {pod["metadata"]["name"] for pod in pods(cluster) if "drain-deadline" in json.dumps(pod["metadata"])}


def test_of_two_operators_one_acts_and_the_other_takes_over(live: Cluster, operator: Operator, tmp_path: Path) -> None:
    second = Operator(live, tmp_path / "second.log").start()
    try:
        assert second.samples("ssecast_operator_leading") == {frozenset(): 0.0}
        operator.kill()
        eventually(lambda: second.samples("ssecast_operator_leading") == {frozenset(): 1.0}, "the Lease", 60)
        live("delete", "service", "live")
        eventually(lambda: not live.run("get", "service", "live").returncode, "it acts")
    finally:
        second.stop()


def test_everything_goes_with_its_broadcaster_even_without_an_operator(live: Cluster, operator: Operator) -> None:
    assert "finalizers" not in live.get("broadcaster", "live")["metadata"]
    operator.stop()
    live("delete", "broadcaster", "live", "--timeout=30s")
    for each in CHILDREN:
        eventually(lambda each=each: live.run("get", each).returncode, f"no {each}", 120)  # type: ignore[misc]


def test_somebody_else_who_writes_replicas_is_told_and_overruled(live: Cluster, operator: Operator) -> None:
    live("scale", "deployment", "live", "--replicas=3")
    eventually(lambda: condition(live, "ReplicasContested")["status"] == "True", "word of it", 30)
    assert "kubectl" in condition(live, "ReplicasContested")["message"]
    eventually(lambda: live.get("deployment", "live")["spec"]["replicas"] == 1, "one again", 120)


def test_in_mode_off_people_say_the_number(live: Cluster, operator: Operator) -> None:
    live(
        "patch", "broadcaster", "live", "--type=merge", '--patch={"spec": {"replicas": 1, "scaling": {"mode": "off"}}}'
    )
    live("scale", "broadcaster", "live", "--replicas=2")
    eventually(lambda: ready(live, 2), "two pods", 120)
    live("scale", "broadcaster", "live", "--replicas=1")
    eventually(lambda: ready(live, 1), "one pod", 120)
    assert status(live)["autoscaler"]["reason"] == "ReplicasByHand"


def test_a_limit_is_taken_without_new_pods(live: Cluster, operator: Operator) -> None:
    before = pods(live)[0]["metadata"]["uid"]
    live(
        "patch",
        "broadcaster",
        "live",
        "--type=merge",
        '--patch={"spec": {"scaling": {"streamsPerPod": {"limit": 39}}}}',
    )
    eventually(
        lambda: live.get("configmap", "live-settings")["data"]["SSECAST_MAX_STREAMS"] == "39", "the new settings"
    )
    began = operator.rounds
    eventually(lambda: operator.rounds > began + 2, "two rounds")
    assert [pod["metadata"]["uid"] for pod in pods(live)] == [before]
