"""A client that follows the rules of EventSource, over TLS in HTTP/1.1 or HTTP/2; and plain requests beside it."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Self

import httpcore
import httpx
from httpcore._async import http2

from tests.harness import until
from tests.proxies.proxy import Certificate
from tests.sse_parser import EventStreamParser, Message

FIRST_RETRY_MS = 300
"""Until a server says otherwise; browsers start with three to five seconds."""

CONNECT_SECONDS = 10.0
STREAM_HEADERS = {
    "accept": "text/event-stream",
    "cache-control": "no-store",
    "accept-encoding": "gzip, deflate, br, zstd",
}


class SharedReading(httpcore.AsyncHTTP2Connection):
    """All streams wait for the same read of their connection.

    httpcore lets one after the other read until something for itself comes, while what has come for others lies there:
    a stream may wait for ever for what its connection has brought.
    """

    _reading: asyncio.Task[None] | None = None

    async def _receive_events(self, request: httpcore.Request, stream_id: int | None = None) -> None:
        if self._reading is None or self._reading.done():
            self._reading = asyncio.ensure_future(super()._receive_events(request))
            self._reading.add_done_callback(lambda reading: reading.cancelled() or reading.exception())
        await asyncio.shield(self._reading)


http2.AsyncHTTP2Connection = SharedReading  # type: ignore[misc]


class Browser:
    """What the streams of one browser share: in HTTP/2 one connection. address: its own, one of this machine's."""

    def __init__(self, url: str, certificate: Certificate, *, http2: bool = True, address: str | None = None) -> None:
        self.url = url
        transport = httpx.AsyncHTTPTransport(
            verify=certificate.context(),
            http1=not http2,
            http2=http2,
            trust_env=False,
            limits=httpx.Limits(max_connections=None),
            local_address=address,
        )
        timeout = httpx.Timeout(CONNECT_SECONDS, read=None, pool=None)
        self.client = httpx.AsyncClient(base_url=url, transport=transport, trust_env=False, timeout=timeout)
        self.readers: list[Reader] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def read(self, path: str = "/events") -> "Reader":
        """Opens a stream and keeps it open."""
        self.readers.append(Reader(self.client, path))
        return self.readers[-1]

    async def close(self) -> None:
        for reader in self.readers:
            await reader.close()
        await self.client.aclose()


class Reader:
    """One EventSource. Comes back after every end of a stream, every reset and every refused connection, after `retry`.

    opened: how many streams have begun, those that said nothing but `retry:` included. gave_up: the status, or what else
    it was, that closes an EventSource for good.
    """

    def __init__(self, client: httpx.AsyncClient, path: str) -> None:
        self.events: list[Message] = []
        self.arrived: list[float] = []
        """When each of the events came, on the monotonic clock."""
        self.opened = self.comments = 0
        self.retry_ms = FIRST_RETRY_MS
        self.last_id = ""
        self.gave_up: str | None = None
        self.answer: httpx.Response | None = None
        self._client, self._path = client, path
        self._task = asyncio.ensure_future(self._run())

    @property
    def data(self) -> list[str]:
        """The payloads of what publishers sent, in order of arrival."""
        return [event.data for event in self.events if event.name not in ("position", "gap")]

    @property
    def gaps(self) -> list[str]:
        return [event.data for event in self.events if event.name == "gap"]

    @property
    def connection(self) -> object:
        """What tells the connection of the stream from others: its own address."""
        assert self.answer is not None
        return self.answer.extensions["network_stream"].get_extra_info("client_addr")

    @property
    def version(self) -> str:
        """HTTP/1.1 or HTTP/2."""
        assert self.answer is not None
        return self.answer.http_version

    async def until(self, condition: Callable[["Reader"], bool], what: str) -> None:
        def holds() -> bool:
            assert self.gave_up is None, f"gave up for good: {self.gave_up}"
            assert not self._task.done(), self._task.exception()
            return condition(self)

        await until(holds, what)

    async def has(self, count: int) -> None:
        """Waits until so many events of publishers have come."""
        await self.until(lambda reader: len(reader.data) >= count, f"{count} events")

    async def begins(self) -> None:
        """Waits for the first position, which only a pod knows."""
        await self.until(lambda reader: bool(reader.last_id), "the first block of a stream")

    async def close(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        while self.gave_up is None:
            with contextlib.suppress(httpx.TransportError):
                await self._stream()
            await asyncio.sleep(self.retry_ms / 1000)

    async def _stream(self) -> None:
        headers = STREAM_HEADERS | ({"last-event-id": self.last_id} if self.last_id else {})
        async with self._client.stream("GET", self._path, headers=headers) as answer:
            kind = answer.headers.get("content-type", "")
            if answer.status_code != 200 or not kind.startswith("text/event-stream"):
                self.gave_up = f"{answer.status_code} {kind}"
                return
            self.answer = answer
            self.opened += 1
            await self._parse(answer.aiter_raw())

    async def _parse(self, pieces: AsyncIterator[bytes]) -> None:
        parser, comments = EventStreamParser(), self.comments
        async for piece in pieces:
            self.events += parser.feed(piece)
            self.arrived += [time.monotonic()] * (len(self.events) - len(self.arrived))
            self.last_id = parser.last_id or self.last_id
            self.comments = comments + parser.comments
            self.retry_ms = self.retry_ms if parser.retry is None else parser.retry
