"""What goes wrong around the operator: an API server that is away or refuses, partitions, versions that crash, a wrong stream."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from nats import connect
from nats.js.api import StorageType, StreamConfig

from tests.cluster.api_relay import ApiRelay
from tests.cluster.parts import Cluster, Operator, apply, broadcaster, condition, eventually, pods, ready, status
from tests.harness import Client

LEADING: dict[frozenset[tuple[str, str]], float] = {frozenset(): 1.0}
FOLLOWING: dict[frozenset[tuple[str, str]], float] = {frozenset(): 0.0}

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def relay() -> Iterator[ApiRelay]:
    with ApiRelay().running() as found:
        yield found


@pytest.fixture
def remote(nats: Cluster, relay: ApiRelay, tmp_path: Path) -> Iterator[Operator]:
    """An operator whose way to the API server is the relay."""
    running = Operator(nats, tmp_path / "remote.log", relay.kubeconfig(tmp_path / "kubeconfig")).start()
    yield running
    running.stop()
    nats("delete", "broadcasters", "--all", "--wait=true")
    eventually(
        lambda: not nats("get", "pods", "--selector=ssecast.dev/broadcaster", "--output=name"), "no pods left", 180
    )


@pytest.fixture
def far(nats: Cluster, remote: Operator) -> Cluster:
    """With a Broadcaster whose one pod is ready."""
    apply(nats, broadcaster())
    eventually(lambda: ready(nats, 1), "the first pod", 120)
    eventually(lambda: condition(nats, "Available")["status"] == "True", "word of it")
    return nats


def leading(operator: Operator) -> dict[frozenset[tuple[str, str]], float]:
    return operator.samples("ssecast_operator_leading")


async def test_an_api_server_that_was_away_is_caught_up_with(far: Cluster, remote: Operator, relay: ApiRelay) -> None:
    client = await Client.open(80, host=far.get("service", "live")["spec"]["clusterIP"])
    uids = [pod["metadata"]["uid"] for pod in pods(far)]
    relay.cut()
    eventually(lambda: leading(remote) == FOLLOWING, "it lets go of the Lease that it cannot renew", 60)
    far("delete", "service", "live-admin")
    assert json.loads(remote.get("/healthz"))["stuck"] == []
    relay.mend()
    eventually(lambda: not far.run("get", "service", "live-admin").returncode, "what was deleted meanwhile", 90)
    assert [pod["metadata"]["uid"] for pod in pods(far)] == uids
    assert not client.ended, "streams do not notice"


def test_writes_that_fail_are_tried_again(nats: Cluster, remote: Operator, relay: ApiRelay) -> None:
    eventually(lambda: leading(remote) == LEADING, "the Lease")
    relay.fail_writes(429, 500, 503, 409, 500, 429)
    apply(nats, broadcaster())
    eventually(lambda: ready(nats, 1), "the first pod", 180)
    eventually(lambda: condition(nats, "Reconciled")["status"] == "True", "everything is made")
    assert [code for _, code in relay.failed] == [429, 500, 503, 409, 500, 429]
    codes = {dict(labels)["code"] for labels in remote.samples("ssecast_operator_api_calls_total")}
    assert {"429", "500", "503", "409", "200"} <= codes


def test_one_that_was_cut_off_does_not_act_when_it_comes_back(
    far: Cluster, remote: Operator, relay: ApiRelay, tmp_path: Path
) -> None:
    second = Operator(far, tmp_path / "second.log").start()
    try:
        relay.cut()
        eventually(lambda: leading(second) == LEADING, "the other one takes over", 60)
        assert leading(remote) == FOLLOWING, "there are never two"
        relay.mend()
        actions = remote.samples("ssecast_operator_actions_total")
        rounds = second.rounds
        far("patch", "broadcaster", "live", "--type=merge", '--patch={"spec": {"scaling": {"minReplicas": 2}}}')
        eventually(lambda: ready(far, 2), "the other one acts", 120)
        eventually(lambda: second.rounds > rounds + 2, "rounds")
        assert (leading(second), leading(remote)) == (LEADING, FOLLOWING)
        assert remote.samples("ssecast_operator_actions_total") == actions
    finally:
        second.stop()


def test_a_version_that_crashes_gets_no_more_pods_and_the_old_one_serves_on(nats: Cluster, operator: Operator) -> None:
    apply(nats, broadcaster())
    eventually(lambda: ready(nats, 1), "the first pod", 120)
    old = pods(nats)[0]["metadata"]["name"]
    crashing = {"podTemplate": {"env": [{"name": "SSECAST_LOG_MAX_EVENTS", "value": "many"}]}}
    nats("patch", "broadcaster", "live", "--type=merge", f"--patch={json.dumps({'spec': crashing})}")
    eventually(lambda: "CrashLoopBackOff" in condition(nats, "Available")["message"], "word of it", 180)
    assert condition(nats, "Available")["status"] == "True"
    assert nats.get("deployment", "live")["spec"]["replicas"] == 1
    assert {pod["metadata"]["name"] for pod in pods(nats)} > {old}
    assert status(nats)["autoscaler"]["desired"] == 1
    nats("patch", "broadcaster", "live", "--type=merge", '--patch={"spec": {"podTemplate": {"env": []}}}')
    eventually(lambda: ready(nats, 1), "the way back", 120)


async def test_a_stream_that_does_not_fit_is_told_with_the_line_that_mends_it(
    nats: Cluster, operator: Operator
) -> None:
    name = f"{nats.namespace}-live"
    client = await connect(f"nats://{nats.get('service', 'nats')['spec']['clusterIP']}:4222")
    jetstream = client.jetstream()
    for left in await jetstream.streams_info():  # Broadcasters of the other tests are gone, their events are not
        await jetstream.delete_stream(left.config.name or "")
    try:
        stream = StreamConfig(name=name, subjects=["other.>"], storage=StorageType.MEMORY)
        await jetstream.add_stream(stream)
        apply(nats, broadcaster())
        eventually(lambda: condition(nats, "StreamReady")["status"] == "False", "word of it", 120)
        assert f"nats stream edit {name}" in condition(nats, "StreamReady")["message"]
        await jetstream.update_stream(stream.evolve(subjects=["other.>", "events.>"]))
        eventually(lambda: condition(nats, "StreamReady")["status"] == "True", "all is well", 120)
        eventually(lambda: ready(nats, 1), "the pod", 120)
    finally:
        await jetstream.delete_stream(name)
        await client.close()
