"""The chart in a real cluster: Helm's command line, a volume, tunnels, and browsers that count what they get."""

import asyncio
import contextlib
import json
import math
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import nats
import pytest
import yaml
from nats.js import JetStreamContext

from loadtest.fleet.objects import Images
from tests.cluster.parts import Cluster, eventually, pods
from tests.harness import Client, free_port

CHART = Path(__file__).parents[2] / "charts" / "ssecast"
CLAIM = "data-ssecast-nats-0"
RELEASE = "ssecast"

HEAD_SECONDS = 5.0
"""So long a proxy waits for the head of an answer before it tries again; tests name no slower pod."""


def named(image: str) -> dict[str, str]:
    repository, _, tag = image.rpartition(":")
    return {"repository": repository, "tag": tag}


def images() -> dict[str, Any]:
    """Values that name the images of this cluster. Those of NATS and of its version are the chart's own."""
    return {"image": named(Images.service), "operator": {"image": named(Images.operator)}}


class Helm:
    """helm in the namespace of a cluster."""

    def __init__(self, cluster: Cluster) -> None:
        if shutil.which("helm") is None:
            pytest.skip("helm is not installed (go install helm.sh/helm/v4/cmd/helm@latest)")
        self.cluster = cluster

    def run(self, *arguments: str, given: dict[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
        command = ["helm", *arguments, "--namespace", self.cluster.namespace]
        if given is not None:
            command += ["--values", "-"]
        text = None if given is None else yaml.safe_dump(given)
        return subprocess.run(command, input=text, capture_output=True, text=True, timeout=300)

    def __call__(self, *arguments: str, given: dict[str, Any] | None = None) -> str:
        """The output; fails with what Helm said."""
        done = self.run(*arguments, given=given)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def install(self, given: dict[str, Any]) -> str:
        return self("install", RELEASE, str(CHART), given=given)

    def upgrade(self, given: dict[str, Any]) -> str:
        return self("upgrade", RELEASE, str(CHART), "--wait", "--timeout", "5m", given=given)


@contextlib.contextmanager
def volume(cluster: Cluster) -> Iterator[None]:
    """A folder of this machine for NATS, where the cluster makes no volumes of its own."""
    classes = json.loads(cluster("get", "storageclasses", "--output=json"))["items"]
    if any(each["metadata"].get("annotations", {}).get(DEFAULT_CLASS) == "true" for each in classes):
        yield
        return
    folder = tempfile.mkdtemp(prefix="ssecast-nats-")
    os.chmod(folder, 0o777)  # whoever runs in the pod is nobody here
    name = f"nats-{cluster.namespace}"
    body = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "2Gi"},
            "claimRef": {"namespace": cluster.namespace, "name": CLAIM},
            "hostPath": {"path": folder},
            "persistentVolumeReclaimPolicy": "Retain",
        },
    }
    cluster("apply", "--filename", "-", given=body)
    try:
        yield
    finally:
        cluster("delete", "persistentvolume", name, "--wait=false", "--ignore-not-found")
        shutil.rmtree(folder, ignore_errors=True)


DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"


@contextlib.contextmanager
def definitions(cluster: Cluster, *theirs: dict[str, Any]) -> Iterator[None]:
    """Another project's definitions; where they are not the cluster's own, they go again."""
    missing = [each for each in theirs if cluster.run("get", "crd", each["metadata"]["name"]).returncode]
    try:
        for each in missing:
            cluster("apply", "--server-side", "--filename", "-", given=each)
        for each in missing:
            cluster("wait", "--for=condition=Established", f"crd/{each['metadata']['name']}", "--timeout=30s")
        yield
    finally:
        for each in missing:
            cluster.run("delete", "crd", each["metadata"]["name"], "--timeout=50s")


def others(cluster: Cluster) -> list[str]:
    """Namespaces of other tests, and Broadcasters: with their definition they would go."""
    active = cluster("get", "namespaces", "--field-selector=status.phase=Active", "--output=name").split()
    found = [name for name in active if name.startswith("namespace/ssecast-") and not name.endswith(cluster.namespace)]
    return found + cluster.run("get", "broadcasters", "--all-namespaces", "--output=name").stdout.split()


def reaches_pods(cluster: Cluster, port: int = 8080) -> bool:
    """Whether the addresses of pods lead anywhere from here. There must be one that is ready."""
    address = pods(cluster, RELEASE)[0]["status"]["podIP"]
    with contextlib.suppress(OSError), socket.create_connection((address, port), 3):
        return True
    return False


@contextlib.contextmanager
def tunnel(cluster: Cluster, what: str, port: int) -> Iterator[int]:
    """A port of this machine that leads to one in the cluster."""
    here = free_port()
    command = ["kubectl", "--namespace", cluster.namespace, "port-forward", what, f"{here}:{port}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    try:
        said = process.stdout.readline()
        assert re.search(rf"Forwarding from \S+:{here} ", said), said
        yield here
    finally:
        process.terminate()
        process.communicate(timeout=30)


def node(cluster: Cluster) -> str:
    """An address where NodePorts are open."""
    nodes = json.loads(cluster("get", "nodes", "--output=json"))["items"]
    return next(str(each["address"]) for each in nodes[0]["status"]["addresses"] if each["type"] == "InternalIP")


class Browsers:
    """Streams that come back as browsers do, each with what it was sent; numbers are the payloads.

    silence: seconds after which a stream without an event is over, as it is for the proxies before browsers. For tests that
    publish all the time, and may say so at any time.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self.silence = math.inf
        self._over = False
        self._tasks: list[asyncio.Task[None]] = []
        self.seen: list[list[int]] = []
        self.gaps = self.reconnects = 0

    def come(self, count: int, first: tuple[str, int] | None = None) -> None:
        """first: where they connect before anything has ended."""
        for _ in range(count):
            self.seen.append([])
            self._tasks.append(asyncio.create_task(self._stay(self.seen[-1], first)))

    async def leave(self) -> None:
        self._over = True  # a task that is closing its client takes no notice of being cancelled
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def all_have(self, number: int) -> bool:
        return all(seen and seen[-1] >= number for seen in self.seen)

    @property
    def wrong(self) -> list[str]:
        """Whoever lost an event, or got one twice or out of order."""
        return [
            f"stream {index}: {seen}"
            for index, seen in enumerate(self.seen)
            if seen != list(range(seen[0], seen[-1] + 1))
        ]

    async def _stay(self, seen: list[int], first: tuple[str, int] | None) -> None:
        last, (host, port) = None, first or (self._host, self._port)
        while not self._over:
            try:
                async with asyncio.timeout(HEAD_SECONDS):
                    client = await Client.open(port, host=host, last_event_id=last)
            except (OSError, asyncio.IncompleteReadError):  # a TimeoutError is an OSError
                await asyncio.sleep(0.2)
                continue
            taken, opened = 0, time.monotonic()
            host, port = self._host, self._port
            try:
                while not client.ended and time.monotonic() - max([opened, *client.arrived[-1:]]) < self.silence:
                    taken = self._take(client, taken, seen)
                    await asyncio.sleep(0.05)
                self._take(client, taken, seen)
                last = client.last_id or last
                self.gaps += len(client.gaps)
                retry = (client.parser.retry or 500) / 1000
            finally:
                await client.close()
            self.reconnects += 1
            await asyncio.sleep(retry)

    @staticmethod
    def _take(client: Client, taken: int, seen: list[int]) -> int:
        data = client.data
        seen += map(int, data[taken:])
        return len(data)


class Publishing:
    """Publishes numbers, one every now and then, each acknowledged by JetStream."""

    def __init__(self, jetstream: JetStreamContext) -> None:
        self._jetstream = jetstream
        self.number = 0
        self.over = False

    async def one(self) -> None:
        self.number += 1
        await self._jetstream.publish("events.number", str(self.number).encode())

    async def on(self) -> None:
        """Until it is over: to be cancelled is lost in `wait_for` when an answer has just come (before Python 3.12)."""
        while not self.over:
            await self.one()
            await asyncio.sleep(0.1)

    @classmethod
    @contextlib.asynccontextmanager
    async def to(cls, port: int, host: str = "127.0.0.1") -> AsyncIterator["Publishing"]:
        client = await nats.connect(f"nats://{host}:{port}")
        publishing = cls(client.jetstream())
        task = asyncio.create_task(publishing.on())
        try:
            yield publishing
        finally:
            publishing.over = True
            await asyncio.gather(task, return_exceptions=True)
            await client.close()


async def receive(web: int, bare: int) -> str:
    """What a stream shows of one event that a bare NATS client publishes."""
    stream = await Client.open(web)
    publisher = await nats.connect(f"nats://127.0.0.1:{bare}")
    try:
        await publisher.publish("events.first", b"hello")
        return (await stream.has(1))[0]
    finally:
        await publisher.close()
        await stream.close()


def pod_uids(cluster: Cluster) -> set[str]:
    """Of the pods that hold streams, those included that end."""
    found = cluster("get", "pods", "--selector", "ssecast.dev/broadcaster", "--output=json")
    return {pod["metadata"]["uid"] for pod in json.loads(found)["items"]}


def available(cluster: Cluster, seconds: float = 120) -> None:
    """The next command of the chart's notes."""
    done = cluster.run("wait", "broadcaster/ssecast", "--for=condition=Available", "--timeout=1s")
    eventually(
        lambda: not cluster.run("wait", "broadcaster/ssecast", "--for=condition=Available", "--timeout=5s").returncode,
        f"Available ({done.stderr.strip()})",
        seconds,
    )
