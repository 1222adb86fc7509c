"""One run: a nats-server, a peer's servers, clients and a publisher, all of them new, and gone afterwards."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loadtest.bench.peers import Peer
from loadtest.bench.processes import Child, Driver, Usage, free_port
from ssecast.dev import EmbeddedNats

SUBJECT = "bench.a"
WARM_UP_STREAMS = 20
SETTLE_SECONDS = 0.3
OPEN_SECONDS = 120


@dataclass
class Rig:
    """A peer that is up, and how to load it. Event numbers go on over the whole run."""

    peer: Peer
    nats_url: str
    folder: Path
    stack: ExitStack
    publisher: Driver
    servers: list[Child] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)
    clients: list[Driver] = field(default_factory=list)
    published: int = 0
    """Number of the last event."""

    def add_server(self) -> int:
        """Starts one more server of the peer; returns its port."""
        port = free_port()
        places = {"port": port, "admin_port": free_port(), "nats_url": self.nats_url}
        env = {"NATS_URL": self.nats_url, **self.peer.environment(places)}
        log = self.folder / f"server-{len(self.servers)}.log"
        server = Child(self.peer.command_line(places), log, env=env, cores=server_cores(self.peer))
        self.servers.append(self.stack.enter_context(server))
        server.wait_until_up(port, self.peer.ready.format_map(places))
        self.ports.append(port)
        return port

    def add_client(self, port: int) -> Driver:
        log = self.folder / f"client-{len(self.clients)}.log"
        client = Driver(["client", str(port)], log, nats_url=self.nats_url, cores=client_cores(self.peer))
        self.clients.append(self.stack.enter_context(client))
        return client

    def usage(self) -> Usage:
        each = [server.usage() for server in self.servers]
        return Usage(sum(used.cpu for used in each), sum(used.rss for used in each))

    def open(self, client: Driver, streams: int, **options: object) -> dict[str, Any]:
        """Opens streams, some hundred at a time; all of them must come up."""
        opened = self.storm(client, streams, **options)
        if opened["failed"]:
            said = client.log.read_text()[:200]
            raise RuntimeError(f"{self.peer.name}: {opened['failed']} of {streams} streams failed: {said}")
        return opened

    def storm(self, client: Driver, streams: int, **options: object) -> dict[str, Any]:
        """Opens streams, all at once with inflight=0; `failed` says how many did not come up."""
        order = {"n": streams, "timeout": OPEN_SECONDS, "path": self.peer.path, **options}
        return client.ask("open", "opened", OPEN_SECONDS + 10, order)

    def expect(self, client: Driver, streams: int, events: int, **options: object) -> None:
        """Begins a phase: the next events, each of them to so many streams."""
        order = {"first": self.published + 1, "count": events, "deliveries": streams * events, **options}
        client.ask("expect", "expecting", values=order)

    def publish(self, events: int, *, seconds: float = 60.0, **options: object) -> dict[str, Any]:
        order = {"subject": SUBJECT, "first": self.published + 1, "count": events, **options}
        self.published += events
        return self.publisher.ask("pub", "published", seconds, order)

    def deliver(
        self, client: Driver, streams: int, events: int, *, seconds: float = 60.0, **options: object
    ) -> dict[str, Any]:
        """One phase from beginning to end; seconds: how long publishing may take."""
        self.expect(client, streams, events)
        self.publish(events, seconds=seconds, **options)
        return finish(client)

    def warm_up(self, client: Driver) -> None:
        """What a server does only once (imports, pools, first pages) belongs to no stream."""
        self.open(client, WARM_UP_STREAMS)
        for _ in range(3):
            self.deliver(client, WARM_UP_STREAMS, 1)
        client.ask("close", "closed")
        time.sleep(SETTLE_SECONDS)


def finish(client: Driver, seconds: float = 20.0) -> dict[str, Any]:
    """The report of a phase when all deliveries are there, or after the time given, with what is missing as `lost`."""
    try:
        return client.answer("done", seconds)
    except TimeoutError:
        return client.ask("report", "report")


@contextmanager
def rig(peer: Peer) -> Iterator[Rig]:
    """A nats-server and a publisher, for a peer whose servers are still to be started."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ssecast-bench-")))
        nats = stack.enter_context(EmbeddedNats())
        publisher = stack.enter_context(Driver(["publish"], folder / "publisher.log", nats_url=nats.url))
        yield Rig(peer, nats.url, folder, stack, publisher)


@contextmanager
def served(peer: Peer) -> Iterator[tuple[Rig, Driver]]:
    """One server and one client, warmed up."""
    with rig(peer) as made:
        client = made.add_client(made.add_server())
        made.warm_up(client)
        yield made, client


def server_cores(peer: Peer) -> set[int] | None:
    """The first half of the cores, for servers that need no more; None: all of them.

    On two cores a server that sends on both is not pinned: it shares them with its client, as all its rivals do.
    """
    cores = sorted(os.sched_getaffinity(0))
    half = len(cores) // 2
    return set(cores[:half]) if half and (peer.threads == 1 or half >= 2) else None


def client_cores(peer: Peer) -> set[int] | None:
    """The other half."""
    taken = server_cores(peer)
    return None if taken is None else os.sched_getaffinity(0) - taken
