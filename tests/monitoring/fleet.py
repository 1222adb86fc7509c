"""A live fleet: NATS, pods, their clients and publisher, and the real operator, all on loopback."""

import asyncio
import contextlib
import random
import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import nats

from ssecast.dev import EmbeddedNats
from ssecast_operator import loads
from ssecast_operator.cluster import BROADCASTERS, PODS, Body
from ssecast_operator.runtime import Operator, Options
from tests.harness import free_port, until
from tests.monitoring.shelf import Kubelet, Shelf

NAMESPACE, NAME, OPERATORS = "shop", "news", "ssecast-system"

SCALING = {
    "minReplicas": 2,
    "maxReplicas": 4,
    "burst": 10,
    "streamsPerPod": {"target": 60, "limit": 100},
    "maxReconnectsPerSecond": 20,
}


ID = re.compile(rb"^id: (\S+)\n", re.MULTILINE)

Target = dict[str, Any]


class OfflineOperator(Operator):
    """All of it but the watches: what happens on the shelf it is told of directly."""

    async def _watch(self, stop: asyncio.Event) -> None:
        await stop.wait()


class Reader(asyncio.Protocol):
    """One client that reads what comes and keeps nothing of it but the last id, as a browser does."""

    def __init__(self, crowd: "Crowd", last_id: bytes) -> None:
        self._crowd, self.last_id = crowd, last_id
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        resume = b"Last-Event-ID: %s\r\n" % self.last_id if self.last_id else b""
        transport.write(b"GET /events HTTP/1.1\r\nHost: news\r\nAccept: text/event-stream\r\n%s\r\n" % resume)

    def data_received(self, data: bytes) -> None:
        """An id that two reads share is passed over: the one before it does as well."""
        if ids := ID.findall(data):
            self.last_id = ids[-1]

    def connection_lost(self, _: Exception | None) -> None:
        self._crowd.lost(self)


class Crowd:
    """Clients, as many as there should be, that come and leave at a bounded rate and find a serving pod by chance. One that
    has lost its stream comes back for what it has missed."""

    def __init__(self, kubelet: Kubelet) -> None:
        self.wanted, self.per_second = 0, 20.0
        self._kubelet = kubelet
        self._readers: set[Reader] = set()
        self._lost: list[bytes] = []

    def lost(self, reader: Reader) -> None:
        if reader in self._readers:
            self._readers.discard(reader)
            self._lost.append(reader.last_id)

    async def run(self) -> None:
        while True:
            if len(self._readers) < self.wanted:
                await self._connect()
            elif len(self._readers) > self.wanted:
                transport = self._readers.pop().transport
                assert transport is not None
                transport.close()
            await asyncio.sleep(1 / self.per_second)

    async def _connect(self) -> None:
        serving = self._kubelet.serving
        if not serving:
            return
        pod = random.choice(serving).pod
        reader = Reader(self, self._lost.pop() if self._lost else b"")
        with contextlib.suppress(OSError):
            await asyncio.get_running_loop().create_connection(lambda: reader, pod.address, pod.port)
            self._readers.add(reader)

    def close(self) -> None:
        self.wanted = 0
        for reader in list(self._readers):
            if reader.transport is not None:
                reader.transport.abort()


class Fleet:
    """Everything together. events_per_second: what the publisher sends."""

    def __init__(self, server: EmbeddedNats, folder: Path) -> None:
        self.server, self.events_per_second = server, 20.0
        options = Options("ssecast", OPERATORS, (NAMESPACE,), manage_crd=False, port=free_port())
        self.shelf = Shelf(lambda *call: self.operator.metrics.called(*call), self._changed)
        self.operator = OfflineOperator(options, self.shelf)
        self.kubelet = Kubelet(self.shelf, folder)
        self.crowd = Crowd(self.kubelet)

    def _changed(self, kind: str, body: Body, there: bool) -> None:
        (self.operator.store.put if there else self.operator.store.drop)(kind, body)

    def order(self, **spec: Any) -> None:
        """Makes the Broadcaster, or changes it."""
        metadata = {"name": NAME, "namespace": NAMESPACE}
        body = {"apiVersion": BROADCASTERS.api_version, "kind": BROADCASTERS.kind, "metadata": metadata, "spec": spec}
        self.shelf.write(body)

    def roll_out(self) -> None:
        """Changes what only new pods take."""
        spec = self.shelf.objects[BROADCASTERS.kind, NAMESPACE, NAME]["spec"]
        self.order(**spec | {"podTemplate": {"annotations": {"rolled-out-at": str(time.time())}}})

    async def publish(self) -> None:
        """Payloads of several sizes, for ever; what NATS does not take is lost, as with any publisher."""

        async def ignore(_: Exception) -> None: ...

        client = await nats.connect(
            self.server.url, max_reconnect_attempts=-1, reconnect_time_wait=0.2, error_cb=ignore
        )
        try:
            while True:
                with contextlib.suppress(nats.errors.Error):
                    await client.publish(f"events.{random.randint(1, 5)}", b"x" * random.choice((20, 200, 2000)))
                await asyncio.sleep(1 / self.events_per_second)
        finally:
            with contextlib.suppress(nats.errors.Error):
                await client.close()

    @property
    def pod_targets(self) -> list[Target]:
        """Terminating ones too."""
        metadata = [(body["status"]["podIP"], body["metadata"]) for body in self.shelf.of_kind(PODS)]
        return [
            target(f"{ip}:{self.kubelet.admin_port}", NAMESPACE, each["name"], each["labels"]) for ip, each in metadata
        ]

    @property
    def operator_targets(self) -> list[Target]:
        return [target(f"127.0.0.1:{self.operator.options.port}", OPERATORS, "ssecast-operator-0", {})]


def target(address: str, namespace: str, name: str, labels: Mapping[str, str]) -> Target:
    """As the discovery of Kubernetes tells Prometheus of a pod, in the format of its files of targets."""
    meta = {"namespace": namespace, "pod_name": name}
    meta |= {f"pod_label_{re.sub('[^a-zA-Z0-9_]', '_', key)}": value for key, value in labels.items()}
    return {"targets": [address], "labels": {f"__meta_kubernetes_{key}": value for key, value in meta.items()}}


@contextlib.asynccontextmanager
async def fleets(folder: Path, streams: int = 40, **scaling: Any) -> AsyncIterator[Fleet]:
    """A fleet that has been decided on, with its clients; all of it is gone at the end."""
    stop = asyncio.Event()
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(EmbeddedNats())
        fleet = Fleet(server, folder)
        # In a cluster each pod has 9090 for itself; here a Prometheus that somebody has installed may listen at it.
        stack.enter_context(patch.object(loads, "ADMIN_PORT", fleet.kubelet.admin_port))
        fleet.order(
            nats={"url": server.url, "stream": {"storage": "memory", "maxBytes": "64Mi"}},
            drain={"windowSeconds": 5, "delaySeconds": 0, "patienceSeconds": 10},
            stream={"retryMilliseconds": 500},
            scaling=SCALING | scaling,
        )
        work = [fleet.operator.run(stop), fleet.kubelet.run(), fleet.crowd.run(), fleet.publish()]
        tasks = [asyncio.ensure_future(each) for each in work]
        try:
            fleet.crowd.wanted = streams
            await until(lambda: _grown(fleet, streams, tasks), "a fleet with its streams")
            yield fleet
        finally:
            fleet.crowd.close()
            stop.set()
            for task in tasks[1:]:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await fleet.kubelet.stop()


def _grown(fleet: Fleet, streams: int, tasks: Sequence["asyncio.Future[None]"]) -> bool:
    for task in tasks:
        if task.done():
            task.result()
    open_streams = sum(each.pod.load["streams"] for each in fleet.kubelet.serving)
    return open_streams >= streams and len(fleet.kubelet.serving) >= 2
