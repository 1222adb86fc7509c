"""Raw bytes on the sockets of a real pod, at random with a seed: it stays up, leaks nothing, and the others see nothing."""

import asyncio
import contextlib
import re
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

from nats.aio.client import Client as Nats

from ssecast.dev import EmbeddedNats
from ssecast.visitors import BODY_SECONDS
from tests.fuzz.effort import SECONDS, SEED
from tests.fuzz.grammar import pieces, stream
from tests.harness import PATIENCE, Client, Pod, until

ATTACKERS = 16
SHOWN_CHARS = 800
ESTABLISHED, CLOSE_WAIT = "01", "08"
HONEST = frozenset({0, 100, 200, 202, 204, 400, 404, 405, 408, 411, 413, 414, 417, 422, 431, 503})
"""Statuses that a request may earn, whatever it is; 0: a connection closed without one."""

NO_LINGER = struct.pack("ii", 1, 0)
"""close() resets the connection."""


class Attacker:
    """Opens one connection after the other, and does to each what its random source says."""

    def __init__(self, port: int, number: int) -> None:
        self._port, self._rng = port, Random(f"{SEED} {number}")
        self.sent = 0
        self.statuses: Counter[int] = Counter()

    async def run(self, deadline: float) -> None:
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):  # the pod was faster to end it
                await self._visit()

    async def _visit(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            await self._talk(writer, stream(self._rng))
            await self._part(reader, writer)
        finally:
            writer.transport.abort()
            self.sent += 1

    async def _talk(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        """Sends a part of it or all of it, in packets, with pauses."""
        upto = len(data) if self._rng.random() < 0.8 else self._rng.randint(0, len(data))
        for piece in pieces(self._rng, data[:upto]):
            writer.write(piece.data)
            await writer.drain()
            await asyncio.sleep(self._rng.choice([0, 0.001, 0.01]) if piece.rest else 0)

    async def _part(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Ends the connection: with a reset, a half-close or a close; before the answer, after it or in its middle."""
        sock: socket.socket = writer.transport.get_extra_info("socket")
        if self._rng.random() < 0.5:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        if self._rng.random() < 0.3:
            writer.write_eof()
        if self._rng.random() < 0.7:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.1):
                    self._note(await reader.read(self._rng.choice([1, 100, 65536])))

    def _note(self, answer: bytes) -> None:
        found = re.match(rb"HTTP/1\.1 (\d{3}) ", answer)
        if found or not answer:
            self.statuses[int(found[1]) if found else 0] += 1


class Watched:
    """A pod seen from the outside: its descriptors, its connections, what it logged."""

    def __init__(self, pod: Pod) -> None:
        assert pod.process is not None
        self._pod, self._process = pod, pod.process

    @property
    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self._process.pid}/fd").iterdir()))

    @property
    def connections(self) -> int:
        """Connections of the public port that the pod has not closed."""
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        port = f":{self._pod.port:04X}"
        return sum(row[1].endswith(port) and row[3] in (ESTABLISHED, CLOSE_WAIT) for row in rows)

    @property
    def complaints(self) -> list[str]:
        """What it logged as an error, or with a traceback: the end of it."""
        lines = self._pod.log.read_text().splitlines()
        return [line[-SHOWN_CHARS:] for line in lines if "Traceback" in line or '"level": "error"' in line]

    async def is_as_before(self, descriptors: int, streams: int) -> None:
        """Waits until nothing is left of the run, and nothing was wrong."""
        assert self._process.poll() is None
        assert self._pod.admin("GET", "/healthz") == (200, {"healthy": True})
        await until(lambda: self._pod.metric("ssecast_streams") == streams, f"{streams} streams")
        await until(lambda: self.connections == streams, f"{streams} connections")
        await until(lambda: self.descriptors <= descriptors, f"at most {descriptors} descriptors")
        assert not self.complaints, f"{len(self.complaints)} complaints"


async def publish_until(done: asyncio.Event, publisher: Nats) -> list[str]:
    """Publishes numbers until it is done; returns them."""
    published: list[str] = []
    while not done.is_set():
        published.append(str(len(published)))
        await publisher.publish("events.watched", published[-1].encode())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(done.wait(), 0.01)
    await publisher.flush()
    return published


async def test_a_long_run_of_raw_bytes_leaves_nothing_behind_and_disturbs_nobody(
    nats_server: EmbeddedNats, make_pod: Callable[..., Pod], publisher: Nats
) -> None:
    """Mutated requests in packets and drips, resets, half-closes: streams that were open all the time lose nothing."""
    pod = await make_pod(nats_server.url, publish="true", page="true", heartbeat_seconds=1).start()
    watchers = [await Client.open(pod.port, "/events?subject=events.watched") for _ in range(4)]
    watched = Watched(pod)
    await until(lambda: watched.connections == len(watchers), "the watchers' connections alone")
    descriptors = watched.descriptors
    done = asyncio.Event()
    publishing = asyncio.ensure_future(publish_until(done, publisher))
    attackers = [Attacker(pod.port, number) for number in range(ATTACKERS)]
    deadline = time.monotonic() + SECONDS
    await asyncio.gather(*[attacker.run(deadline) for attacker in attackers])
    done.set()
    published = await publishing
    statuses = sum((attacker.statuses for attacker in attackers), Counter[int]())
    print(f"seed {SEED}: {sum(attacker.sent for attacker in attackers)} connections, statuses {dict(statuses)}")
    await watched.is_as_before(descriptors, len(watchers))
    assert set(statuses) <= HONEST, statuses
    for watcher in watchers:
        assert await watcher.has(len(published)) == published
        assert not watcher.gaps
        assert not watcher.ended


ANSWERED = b"GET /info HTTP/1.1\r\nHost: x\r\n"
WITHHELD = {
    "nothing": (b"", b""),
    "half a head": (b"GET /events HTTP/1.1\r\nHo", b""),
    "a head in drips": (b"GET /events HTTP/1.1\r\nX: ", b"x"),
    "blank lines": (b"\r\n", b"\r\n"),
    "a blank line": (b"\r\n", b""),
    "an answer, then nothing": (ANSWERED + b"\r\n", b""),
    "an answer, then blank lines": (ANSWERED + b"\r\n", b"\r\n"),
    "an answer, then half a head": (ANSWERED + b"\r\nGET /info HTTP/1.1\r\nX: ", b"x"),
    "an answer, then a body": (ANSWERED + b"Content-Length: 99999\r\n\r\n", b"x"),
    "an answer, then chunks": (ANSWERED + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "an answer to an upgrade": (ANSWERED + b"Connection: upgrade\r\nUpgrade: h2c\r\n\r\n", b"\r\n"),
    "a refusal": (b"GARBAGE\r\n\r\n", b"x"),
}


async def hold(port: int, first: bytes, drip: bytes) -> None:
    """Keeps a connection up for as long as the pod lets it, sending a little now and then; returns when it is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(first)
        while not reader.at_eof():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(reader.read(65536), 1)
            writer.write(drip)
            await writer.drain()
    except ConnectionError:
        pass  # it was reset, which is as good
    finally:
        writer.transport.abort()


async def test_nobody_holds_a_connection_for_ever_by_what_he_does_not_send(
    nats_server: EmbeddedNats, make_pod: Callable[..., Pod]
) -> None:
    """A descriptor costs an attacker nothing and the pod a stream: without one, a connection is closed, dripping or not."""
    pod = await make_pod(nats_server.url, publish="true").start()
    holding = {name: asyncio.ensure_future(hold(pod.port, *bytes_)) for name, bytes_ in WITHHELD.items()}
    await asyncio.wait(holding.values(), timeout=BODY_SECONDS + PATIENCE)
    still = [name for name, task in holding.items() if not task.done()]
    for task in holding.values():
        task.cancel()
    assert not still
    await asyncio.gather(*holding.values())
    assert not Watched(pod).complaints
