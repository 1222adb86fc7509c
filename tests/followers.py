"""Many streams in one process, each as an EventSource follows it: through every end, and over several pods."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple, cast

from tests.harness import until
from tests.sse_parser import ChunkedDecoder, EventStreamParser

DEFAULT_RETRY_MS = 3000
OPEN_AT_ONCE = 250


class End(NamedTuple):
    """How one response ended. opened, at: seconds of time.monotonic. retry: the last one in it, in milliseconds.

    whole: the body came to its end in good order, and so did its last event. events: of publishers.
    """

    port: int
    opened: float
    at: float
    retry: int | None
    whole: bool
    events: int


class Counted:
    """A body whose length its head told, as that of a refusal."""

    def __init__(self, length: int) -> None:
        self._left = length

    @property
    def ended(self) -> bool:
        return self._left <= 0

    def feed(self, data: bytes) -> bytes:
        self._left -= len(data)
        return data


class Follower(asyncio.Protocol):
    """One EventSource: reconnects after `retry` with the last id, to each of its ports in turn; any error is its last.

    rebound: whether it reconnects at all.
    """

    def __init__(self, ports: Sequence[int], path: str = "/events", *, rebound: bool = True) -> None:
        self.ports, self.path, self.rebound = ports, path, rebound
        self.data: list[str] = []
        self.ends: list[End] = []
        self.gaps = 0
        self.gave_up = ""
        self.last_id = ""
        self.is_open = False
        self._retry = DEFAULT_RETRY_MS
        self._attempts = 0
        self._tasks: set[asyncio.Future[None]] = set()
        self._later: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None

    async def connect(self) -> None:
        self._port = self.ports[self._attempts % len(self.ports)]
        self._attempts += 1
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: self, "127.0.0.1", self._port)
        except OSError:
            self._reconnect()  # as Chromium and WebKit do

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._opened, self._events = time.monotonic(), 0
        self._head: bytes | None = b""
        self._body: ChunkedDecoder | Counted = ChunkedDecoder()
        self._parser = EventStreamParser()
        self._parser.last_id = self.last_id
        resume = f"Last-Event-ID: {self.last_id}\r\n" if self.last_id else ""
        lines = f"GET {self.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n{resume}\r\n"
        self._transport.write(lines.encode())

    def data_received(self, data: bytes) -> None:
        if self._head is not None:
            head, end, data = (self._head + data).partition(b"\r\n\r\n")
            if not end:
                self._head = head
                return
            if not self._accept(head):
                return
        for event in self._parser.feed(self._body.feed(data)):
            if event.name == "gap":
                self.gaps += 1
            elif event.name != "position":
                self.data.append(event.data)
                self._events += 1
        self.last_id = self._parser.last_id
        if self._parser.retry is not None:
            self._retry = self._parser.retry
        if self._body.ended and self._transport is not None:
            self._transport.close()

    def _accept(self, head: bytes) -> bool:
        self._head = None
        first, *lines = head.decode().lower().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        if first.split()[1] != "200" or headers["content-type"] != "text/event-stream":
            self.gave_up = head.decode()
            self.stop()
            return False
        if "content-length" in headers:
            self._body = Counted(int(headers["content-length"]))
        self.is_open = True
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        if self.is_open:
            whole = self._body.ended and self._parser.idle
            end = End(self._port, self._opened, time.monotonic(), self._parser.retry, whole, self._events)
            self.ends.append(end)
        self.is_open, self._transport = False, None
        self._reconnect()

    def _reconnect(self) -> None:
        if self.rebound and not self.gave_up:
            self._later = asyncio.get_running_loop().call_later(self._retry / 1000, self._connect_again)

    def _connect_again(self) -> None:
        task = asyncio.ensure_future(self.connect())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def stop(self) -> None:
        self.rebound = False
        if self._later is not None:
            self._later.cancel()
        for task in self._tasks:
            task.cancel()
        if self._transport is not None:
            self._transport.abort()


class Crowd:
    """Followers, started together and stopped with the block."""

    def __init__(self, count: int, ports: Sequence[int], path: str = "/events", *, rebound: bool = True) -> None:
        self.followers = [Follower(ports, path, rebound=rebound) for _ in range(count)]

    async def __aenter__(self) -> "Crowd":
        for first in range(0, len(self.followers), OPEN_AT_ONCE):
            some = self.followers[first : first + OPEN_AT_ONCE]
            await asyncio.gather(*[follower.connect() for follower in some])
        await until(lambda: all(follower.last_id for follower in self.followers), "every first block")
        return self

    async def __aexit__(self, *_: object) -> None:
        for follower in self.followers:
            follower.stop()
        await until(lambda: not any(follower.is_open for follower in self.followers), "every connection closed")

    @property
    def ends(self) -> list[End]:
        return [end for follower in self.followers for end in follower.ends]

    async def have(self, data: Iterable[str]) -> None:
        """Waits until everybody has as many events, and holds them against these: each once, in order, without a gap."""
        expected = list(data)
        await until(lambda: min(len(f.data) for f in self.followers) >= len(expected), f"{len(expected)} at everybody")
        assert not [follower.gave_up for follower in self.followers if follower.gave_up]
        assert not sum(follower.gaps for follower in self.followers)
        assert not Counter(follower.data == expected for follower in self.followers)[False]
