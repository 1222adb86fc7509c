"""A node goes without a word, with a pod and its streams: what the operator makes of it, and what clients notice.

Nobody confirms that the pod has ended. Its Node is deleted at once, as an autoscaler of nodes does, and Kubernetes collects
the pod; or the Node stays, and its pod is shown as Terminating for ever.
"""

import asyncio
import contextlib
import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.ghost import Ghost
from tests.cluster.helm import Browsers, Publishing
from tests.cluster.parts import Cluster, Operator, apply, broadcaster, condition, eventually, pods, ready, status

SILENCE_SECONDS = 10.0
"""A hundred times as long as between two events. Who is to notice nothing yet has no such time."""

DEMAND, SAMPLES = "ssecast_operator_demand_streams", "ssecast_operator_samples"

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
async def ghost(nats: Cluster, operator: Operator, tmp_path: Path) -> AsyncIterator[Ghost]:
    found = Ghost(nats, tmp_path)
    try:
        yield await asyncio.to_thread(found.come)
    finally:
        await found.remove()


class Fleet:
    """A Broadcaster with two pods, one of them on a ghost, and browsers at each; from now on one pod is enough for it."""

    def __init__(self, cluster: Cluster, operator: Operator, ghost: Ghost, until: contextlib.AsyncExitStack) -> None:
        self.cluster, self.operator, self.ghost, self._until = cluster, operator, ghost, until

    async def begin(self, on_ghost: int, elsewhere: int) -> Browsers:
        body = broadcaster(
            scaling={"minReplicas": 2},
            stream={"retryMilliseconds": 200, "heartbeatSeconds": 10},
            drain={"delaySeconds": 1, "patienceSeconds": 3, "windowSeconds": 5},
            podTemplate=self.ghost.template,
        )
        apply(self.cluster, body)
        taken = await self.ghost.run()
        await self.eventually(lambda: ready(self.cluster, 2), "two pods", 120)
        nats = self.cluster.get("service", "nats")["spec"]["clusterIP"]
        self._publishing = await self._until.enter_async_context(Publishing.to(4222, nats))
        (other,) = (pod for pod in pods(self.cluster) if pod["metadata"]["uid"] != taken["metadata"]["uid"])
        browsers = self.browsers()
        browsers.come(on_ghost, (taken["status"]["podIP"], 8080))
        browsers.come(elsewhere, (other["status"]["podIP"], 8080))
        await self.all_have_what_comes(browsers)
        await self.eventually(lambda: self.sample(DEMAND, where="open") == on_ghost + elsewhere, "all are counted")
        self.patch({"scaling": {"minReplicas": 1}})
        return browsers

    def browsers(self) -> Browsers:
        """Nobody yet; whoever comes, comes to the Service."""
        address = self.cluster.get("service", "live")["spec"]["clusterIP"]
        found = Browsers(address, 80)
        self._until.push_async_callback(found.leave)
        return found

    async def all_have_what_comes(self, browsers: Browsers) -> None:
        """What is published from now on, that is."""
        number = self._publishing.number + 3
        await self.eventually(lambda: browsers.all_have(number), f"event {number} at everybody")

    @staticmethod
    async def eventually(look: Any, what: str, seconds: float = 90) -> Any:
        return await asyncio.to_thread(eventually, look, what, seconds)

    def sample(self, name: str, **labels: str) -> float:
        """Of the operator, just now."""
        found = self.operator.samples(name)
        return sum(value for key, value in found.items() if set(labels.items()) <= key)

    def patch(self, spec: dict[str, Any]) -> None:
        self.cluster("patch", "broadcaster", "live", "--type=merge", f"--patch={json.dumps({'spec': spec})}")

    def settled(self, count: int) -> bool:
        """So many pods, all ready and on nodes that there are, and nothing more to do."""
        nodes = {pod["spec"].get("nodeName") for pod in pods(self.cluster)}
        if self.ghost.name in nodes or not ready(self.cluster, count):
            return False
        found = status(self.cluster)
        figures = [found["replicas"], found["readyReplicas"], found["autoscaler"]["desired"]]
        reason = condition(self.cluster, "Progressing")["reason"]
        return (found["phase"], reason, figures) == ("Steady", "Steady", [count] * 3)

    @contextlib.contextmanager
    def replicas(self) -> Iterator[list[int]]:
        """Every number that the Deployment has had, once the block is over."""
        command = ["kubectl", "--namespace", self.cluster.namespace, "get", "deployment", "live", "--watch"]
        watching = subprocess.Popen([*command, '--output=jsonpath={.spec.replicas}{"\\n"}'], stdout=subprocess.PIPE)
        seen: list[int] = []
        try:
            yield seen
        finally:
            watching.terminate()
            seen += map(int, watching.communicate(timeout=30)[0].split())


@pytest.fixture
async def fleet(nats: Cluster, operator: Operator, ghost: Ghost) -> AsyncIterator[Fleet]:
    async with contextlib.AsyncExitStack() as until:
        yield Fleet(nats, operator, ghost, until)


def told(cluster: Cluster) -> set[str]:
    """Reasons of the Events of this Broadcaster; others before it had the same name."""
    uid = cluster.get("broadcaster", "live")["metadata"]["uid"]
    events = cluster("get", "events", f"--field-selector=involvedObject.uid={uid}", "--output=json")
    return {each["reason"] for each in json.loads(events)["items"]}


def left_over(cluster: Cluster) -> list[str]:
    """Pods with something that was written for a removal which is over."""
    texts = {pod["metadata"]["name"]: json.dumps(pod["metadata"]) for pod in pods(cluster)}
    return [name for name, text in texts.items() if "drain-deadline" in text or "pod-deletion-cost" in text]


async def test_a_node_that_is_deleted_takes_its_pod_along_and_no_event_of_a_client(nats: Cluster, fleet: Fleet) -> None:
    """Twelve of 24 streams fall silent. Without them one pod would be enough, and the other one drained."""
    browsers = await fleet.begin(on_ghost=12, elsewhere=12)
    await fleet.eventually(lambda: status(nats)["autoscaler"]["reason"] == "Steady", "24 streams take two pods")
    with fleet.replicas() as replicas:
        fleet.ghost.vanish()
        await fleet.eventually(lambda: fleet.sample(SAMPLES, freshness="stale") == 1, "it is missed")
        nats("delete", "node", fleet.ghost.name)  # Kubernetes waits for 40 s at least before it believes that
        rounds = fleet.operator.rounds
        await fleet.eventually(lambda: fleet.operator.rounds >= rounds + 3, "what a pod too many would be drained in")
        assert fleet.sample(DEMAND, where="open") == 24, "silent is not empty"
        assert browsers.reconnects == 0
        browsers.silence = SILENCE_SECONDS
        await fleet.eventually(lambda: status(nats)["autoscaler"]["samples"]["stale"] == 1, "word of it")
        await fleet.eventually(lambda: browsers.reconnects == 12, "those that waited are elsewhere")
        await fleet.all_have_what_comes(browsers)
        await fleet.eventually(lambda: fleet.ghost.pod() is None, "Kubernetes collects the pod", 120)
        await fleet.eventually(lambda: fleet.settled(2), "another pod has taken its place")
    assert set(replicas) == {2}
    assert not told(nats) & {"DemandFell", "Emptying", "Draining", "Removing"}
    assert left_over(nats) == []
    await fleet.eventually(lambda: status(nats)["streams"] == 24, "nobody is counted twice any more")
    await fleet.all_have_what_comes(browsers)
    assert (browsers.wrong, browsers.gaps, browsers.reconnects) == ([], 0, 12)


async def test_a_pod_whose_end_nobody_confirms_holds_up_no_drain_no_rollout_and_no_scaling(
    nats: Cluster, fleet: Fleet
) -> None:
    """The node goes in the middle of the drain of its pod."""
    browsers = await fleet.begin(on_ghost=3, elsewhere=12)
    drained = fleet.ghost.pod()
    assert drained is not None
    assert fleet.ghost.process is not None
    process = fleet.ghost.process
    await fleet.eventually(lambda: process.load["draining"], "15 streams take one pod: the one with the fewest drains")
    fleet.ghost.vanish()
    browsers.silence = SILENCE_SECONDS
    with fleet.replicas() as replicas:
        await fleet.eventually(
            lambda: ready(nats, 1) and status(nats)["phase"] == "Steady", "when its time is over it is removed", 120
        )
    assert set(replicas) == {2, 1}
    await fleet.all_have_what_comes(browsers)

    more = fleet.browsers()
    more.come(15)
    await fleet.eventually(lambda: ready(nats, 2), "30 streams take two pods: it goes on scaling", 120)
    await fleet.all_have_what_comes(more)
    before = {pod["metadata"]["uid"] for pod in pods(nats)}
    fleet.patch({"podTemplate": {"annotations": {"example.org/touched": "yes"}}})
    await fleet.eventually(
        lambda: ready(nats, 2) and not before & {pod["metadata"]["uid"] for pod in pods(nats)}, "a rollout", 180
    )
    await more.leave()
    await fleet.eventually(lambda: fleet.settled(1), "15 streams take one pod", 120)
    still = fleet.ghost.pod()
    assert still is not None, "it is shown all the time"
    assert still["metadata"]["uid"] == drained["metadata"]["uid"]
    assert condition(nats, "Available")["message"] == "1 of 1 pods are ready"
    assert condition(nats, "StreamReady")["status"] == "True"
    assert left_over(nats) == []
    await fleet.all_have_what_comes(browsers)
    assert (browsers.wrong, browsers.gaps, more.wrong, more.gaps) == ([], 0, [], 0)
