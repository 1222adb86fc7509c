"""Parts for tests that break NATS: a cluster, a publisher that knows what was acknowledged, clients that check it all."""

import asyncio
import contextlib
import json
import os
import subprocess
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import nats
import nats.errors
from nats.aio.client import Client as Nats
from nats.js.errors import Error as JetStreamApiError

from ssecast.dev import EmbeddedNats, find_nats_server
from tests.harness import Client, Pod, free_port, until

NATS_CLI = "go install github.com/nats-io/natscli/nats@v0.5.0"
"""What installs `nats`."""

PAUSE = 0.005
"""Seconds between two events of a steady publisher: rare enough that two cores can follow, and dense enough for a fault
to hit many."""


async def _quiet(_: Exception) -> None:
    """A test's own NATS client says nothing of faults that the test makes."""


async def connect(url: str, **options: Any) -> Nats:
    """A client that knows nothing but NATS, and that no fault drives away."""
    return await nats.connect(
        url.split(","),
        error_cb=_quiet,
        max_reconnect_attempts=-1,
        reconnect_time_wait=0.1,
        ping_interval=2,
        **options,
    )


class Publisher:
    """Publishes the numbers from 1 on, each until it is acknowledged, odd and even ones on subjects of their own."""

    def __init__(self, client: Nats) -> None:
        self.client = client
        self.last = 0

    async def publish(self, count: int = 1) -> None:
        for _ in range(count):
            await self._publish(self.last + 1)
            self.last += 1

    async def _publish(self, number: int) -> None:
        text = str(number)
        while True:
            with contextlib.suppress(nats.errors.Error, JetStreamApiError, OSError):
                await self.client.jetstream().publish(
                    f"events.{'odd' if number % 2 else 'even'}",
                    text.encode(),
                    timeout=1.0,
                    headers={"Nats-Msg-Id": text},
                )
                return
            await asyncio.sleep(0.05)

    @contextlib.asynccontextmanager
    async def steadily(self, pause: float = PAUSE) -> AsyncIterator[None]:
        """Goes on publishing for as long as the block lasts; every number that was begun is acknowledged at its end."""
        going = True

        async def go() -> None:
            while going:
                await self.publish()
                await asyncio.sleep(pause)

        task = asyncio.create_task(go())
        try:
            yield
        finally:
            going = False
            await task

    async def some(self, count: int = 50) -> None:
        """Waits until so many more were published by `steadily`."""
        goal = self.last + count
        await until(lambda: self.last >= goal, f"the publisher to reach {goal} (it is at {self.last})")


def whole(value: str) -> int:
    return int(json.loads(value)["data"]) if value.startswith("{") else int(value)


class Audience:
    """Clients of one pod that ask for different things, and know what each of them must get."""

    ASKED: ClassVar[tuple[tuple[str, Callable[[int], bool]], ...]] = (
        ("/events", lambda _: True),
        ("/events?subject=events.odd", lambda number: number % 2 == 1),
        ("/events?subject=events.even&format=json", lambda number: number % 2 == 0),
        ("/events?interval=40", lambda _: True),
        ("/events?subject=events.nothing", lambda _: False),
    )

    def __init__(self, clients: list[Client]) -> None:
        self.clients = clients

    @classmethod
    async def open(cls, pod: Pod, **options: Any) -> "Audience":
        return cls([await Client.open(pod.port, path, **options) for path, _ in cls.ASKED])

    def got(self) -> Iterator[tuple[Client, list[int], Callable[[int], bool]]]:
        """Each client with the numbers that it got and what it wanted."""
        for client, (_, wants) in zip(self.clients, self.ASKED, strict=True):
            yield client, [whole(value) for value in client.data], wants

    async def has(self, numbers: Iterable[int]) -> None:
        """Every client keeps its stream and gets its share of the numbers: all of them, once, in order, without a gap."""
        await self.reaches(numbers := list(numbers))
        for client, got, wants in self.got():
            assert got == [number for number in numbers if wants(number)]
            assert not client.gaps, client.gaps

    async def reaches(self, numbers: list[int]) -> None:
        """Waits until each client got the last number of its share; none of them may lose its stream."""

        def reached() -> bool:
            assert not any(client.ended for client in self.clients), "a stream ended"
            shares = ((got, [number for number in numbers if wants(number)]) for _, got, wants in self.got())
            return all(not share or share[-1] in got[-len(share) :] for got, share in shares)

        await until(reached, f"the clients to get {numbers[-1] if numbers else 'nothing'}")

    async def told(self, *reasons: str) -> None:
        """Waits until every client was told of so many gaps, and compares their reasons."""
        await until(lambda: all(len(client.gaps) >= len(reasons) for client in self.clients), f"the gaps {reasons}")
        for client in self.clients:
            assert [gap["reason"] for gap in client.gaps] == list(reasons)


async def flood(client: Nats, subject: str, count: int) -> None:
    """Publishes more than sockets hold: numbered events of 16 KB."""
    for number in range(count):
        await client.publish(subject, b"x%08d" % number + b"." * 16_000)
        if number % 100 == 99:
            await client.flush(30)
    await client.flush(30)


def log_lines(pod: Pod) -> list[dict[str, Any]]:
    """What the pod logged; every line is JSON, and a traceback is none."""
    return [json.loads(line) for line in pod.log.read_text().splitlines()]


def troubles(pod: Pod) -> list[str]:
    """What the pod said was wrong with NATS, line by line."""
    return [line["problem"] for line in log_lines(pod) if line["event"] == "trouble with NATS"]


def problem(pod: Pod) -> str:
    """What `/readyz` says is wrong now, whether the pod is ready or not."""
    _, body = pod.admin("GET", "/readyz")
    return str(body.get("problem", body.get("reason", "")))


async def healthy(pod: Pod) -> None:
    """Waits until the pod says that it follows NATS, and checks that its metrics say the same."""
    await until(lambda: pod.admin("GET", "/readyz") == (200, {"ready": True}), f"no problem (it is {problem(pod)!r})")
    assert (pod.metric("ssecast_source_connected"), pod.metric("ssecast_source_problem")) == (1, 0)


async def troubled(pod: Pod, *words: str) -> str:
    """Waits until the pod says a problem with all of these words, its metric too; returns the sentence."""
    said = ""

    def right() -> bool:
        nonlocal said
        flag, said = pod.metric("ssecast_source_problem"), problem(pod)
        return flag == 1 and all(word in said for word in words)

    try:
        await until(right, f"a problem with {words}")
    except AssertionError as wrong:
        raise AssertionError(f"{wrong}; it said {said!r}") from None
    return said


class Way:
    """One direction of one connection."""

    def __init__(self) -> None:
        self.swallows = False
        self.flows = asyncio.Event()
        self.flows.set()


class Wire:
    """A TCP relay between a pod and NATS that does what networks do."""

    CHUNK = 65536

    def __init__(self, target: int) -> None:
        self.target = target
        self.refuses = False
        self.delay = 0.0
        self.accepted = 0
        self._open: dict[asyncio.StreamWriter, Way] = {}
        self._up: set[Way] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "Wire":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Resets what is open."""
        for writer in list(self._open):
            writer.transport.abort()

    def swallow(self, *, up: bool = True, down: bool = True) -> None:
        """What is open stays open, and nothing arrives any more: towards NATS, towards the pod, or either way."""
        for way in self._open.values():
            way.swallows = up if way in self._up else down

    def dam(self) -> None:
        """Nobody takes what the pod sends any more: it fills the buffers."""
        for way in self._up:
            way.flows.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refuses:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        self.accepted += 1
        up, down = Way(), Way()
        self._up.add(up)
        self._open |= {far_writer: up, writer: down}
        for each in (self._copy(reader, far_writer, up), self._copy(far_reader, writer, down)):
            self._tasks.add(copying := asyncio.create_task(each))
            copying.add_done_callback(self._tasks.discard)

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Way) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1024 if self.delay else self.CHUNK):
                await way.flows.wait()
                if self.delay:
                    await asyncio.sleep(self.delay)
                if not way.swallows:
                    writer.write(data)
                    await writer.drain()
        self._open.pop(writer, None)
        self._up.discard(way)
        writer.close()


class Cluster:
    """Three nats-servers with JetStream, on ports that stay the same."""

    SIZE = 3

    def __init__(self, config: str = "") -> None:
        routes = [free_port() for _ in range(self.SIZE)]
        self.monitors = [free_port() for _ in range(self.SIZE)]
        urls = ", ".join(f"nats://127.0.0.1:{port}" for port in routes)
        self.servers = [
            EmbeddedNats(
                port=free_port(),
                config=f"server_name: n{index}\nhttp: 127.0.0.1:{monitor}\n"
                f"cluster {{ name: c, listen: 127.0.0.1:{route}, routes: [{urls}] }}\n{config}",
            )
            for index, (route, monitor) in enumerate(zip(routes, self.monitors, strict=True))
        ]

    def __enter__(self) -> "Cluster":
        try:
            for server in self.servers:
                server.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers:
            server.close()

    @property
    def url(self) -> str:
        return ",".join(server.url for server in self.servers)

    def name(self, server: EmbeddedNats) -> str:
        return f"n{self.servers.index(server)}"

    def server(self, name: str) -> EmbeddedNats:
        return self.servers[int(name.removeprefix("n"))]

    async def leader(self, client: Nats, stream: str = "ssecast") -> EmbeddedNats:
        """The server that leads the stream; waits until there is one."""
        while True:
            with contextlib.suppress(nats.errors.Error, JetStreamApiError):
                cluster = (await client.jetstream().stream_info(stream)).cluster
                if cluster is not None and cluster.leader:
                    return self.server(cluster.leader)
            await asyncio.sleep(0.05)

    async def meta_leader(self) -> EmbeddedNats:
        """The server that leads JetStream; waits until two servers agree about it."""
        found = ""

        def agreed() -> bool:
            nonlocal found
            said = [name for name in map(self._meta_leader, self.monitors) if name]
            found = max(said, key=said.count, default="")
            return said.count(found) >= self.SIZE // 2 + 1

        await until(agreed, "a leader of JetStream")
        return self.server(found)

    @staticmethod
    def _meta_leader(monitor: int) -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{monitor}/jsz", timeout=2) as answer:
                return str(json.load(answer).get("meta_cluster", {}).get("leader", ""))
        except OSError:
            return ""

    async def whole(self, client: Nats, stream: str = "ssecast") -> None:
        """Waits until every replica of the stream is there and has caught up."""

        async def current() -> bool:
            with contextlib.suppress(nats.errors.Error, JetStreamApiError):
                cluster = (await client.jetstream().stream_info(stream)).cluster
                if cluster is None or not cluster.leader or len(cluster.replicas or ()) != self.SIZE - 1:
                    return False
                return all(peer.current and not peer.offline for peer in cluster.replicas or ())
            return False

        await until(current, "every replica to be current")


def lame_duck(server: EmbeddedNats) -> None:
    """Tells a server to close its clients one by one, and to end then."""
    subprocess.run([find_nats_server(), "--signal", f"ldm={server.pid}"], check=True, timeout=20)


def ended(server: EmbeddedNats) -> bool:
    """Whether the server's process has ended, by itself or otherwise."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(server.pid, 0)
        return Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def configured(folder: Path, name: str, text: str) -> str:
    """A file with this content; returns its path."""
    path = folder / name
    path.write_text(text)
    return str(path)
