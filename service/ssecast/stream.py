"""One open stream on a real connection: a Subscriber that owns a transport, and the same on plain ASGI."""

import asyncio
import errno
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NamedTuple, Protocol

from ssecast.channel import Bytes, Subscriber, Want
from ssecast.frame import LAST_CHUNK, Position, chunked, retry_block
from ssecast.hub import Hub

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

Headers = tuple[tuple[bytes, bytes], ...]

Address = tuple[str, int]
"""Host and port, as ASGI names the client of a request."""

HANDOFF = "ssecast.handoff"
"""Key of the ASGI scope under which a server offers its connection."""

HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]
CLOSE = (b"connection", b"close")
"""A handed-off connection serves no second request; a proxy must not keep it for one."""

UNASKED_BYTES = 64 * 2**10
"""A client of an open stream has nothing to say. So much is dropped, as the body of a GET may be; who sends more is
closed: each piece costs a turn of the loop."""

VANISHED = frozenset({errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN})
"""Errors of a connection whose peer answers no more."""


class Answer(NamedTuple):
    """A whole response, for a request that gets no stream."""

    status: int
    headers: Headers
    body: bytes


def come_back(retry_ms: int, reason: str) -> bytes:
    """The body of a stream that ends at once. A browser gives up for good after any error; after this it comes back."""
    return retry_block(retry_ms) + b": %b, come back\n\n" % reason.encode()


class Handoff(Protocol):
    """What a server's HTTP protocol offers: its connection, once the head of the response is sent."""

    def prepare(self) -> bool:
        """Before the head is sent: whether the connection can be had; HTTP/1.0 will get no chunks."""

    def take(self, connection: "Connection") -> tuple[asyncio.Transport, bytes] | None:
        """Makes the connection the transport's protocol; returns it with the head, which has yet to be written.

        None where the client is gone already.
        """


class Connection(Subscriber):
    """A stream on a transport of its own, after the hand-off. It is the transport's protocol."""

    __slots__ = ("_head", "_unasked", "hub", "transport")

    transport: asyncio.Transport

    def __init__(self, hub: Hub) -> None:
        super().__init__()
        self.hub = hub
        self._head = b""
        self._unasked = 0

    def adopt(self, transport: asyncio.Transport, head: bytes, fd: int | None = None) -> None:
        """Takes the transport; the head leaves with the first block, and not a byte waits in user space unnoticed.

        fd: its descriptor, where that is known to be free of TLS.
        """
        self.transport, self._head = transport, head
        transport.set_write_buffer_limits(high=0)
        self.blocked = transport.get_write_buffer_size() > 0
        if fd is not None:
            self.fd = fd
        elif transport.get_extra_info("sslcontext") is None:
            self.fd = transport.get_extra_info("socket").fileno()

    def write(self, data: Bytes) -> None:
        if self._head:
            data, self._head = self._head + data, b""
        self.transport.write(data)

    def end(self, farewell: bytes) -> None:
        self.transport.write(farewell)
        self.transport.close()

    def abort(self) -> None:
        self.transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Never called: the connection was made long before the hand-off."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The descriptor is closed after this returns, and may be another connection's a moment later."""
        vanished = isinstance(exc, OSError) and exc.errno in VANISHED
        self.hub.lost(self, "dead" if vanished else "client")

    def data_received(self, data: bytes) -> None:
        """What a client sends all the same is dropped, as long as it is little."""
        self._unasked += len(data)
        if self._unasked > UNASKED_BYTES:
            self.hub.close(self, "garbage")

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self.blocked = True

    def resume_writing(self) -> None:
        self.blocked = False
        self.hub.unblock(self)


class AsgiStream(Subscriber):
    """A stream on any ASGI server: what is written waits here until `send` has taken it."""

    __slots__ = ("_closing", "_waiting", "_wake", "hub")

    def __init__(self, hub: Hub) -> None:
        super().__init__()
        self.hub = hub
        self._waiting: list[Bytes] = []
        self._wake = asyncio.Event()
        self._closing = False

    def write(self, data: Bytes) -> None:
        self._waiting.append(data)
        self.blocked = True
        self._wake.set()

    def end(self, farewell: bytes) -> None:
        self.write(farewell)
        self._closing = True

    def abort(self) -> None:
        self._waiting.clear()
        self._closing = True
        self._wake.set()

    async def run(self, receive: Receive, send: Send) -> None:
        """Sends until the stream ends or the client is gone."""
        gone = asyncio.ensure_future(_disconnected(receive))
        gone.add_done_callback(lambda _: self._lose())
        try:
            while not self._closing or self._waiting:
                await self._wake.wait()
                self._wake.clear()
                await self._send_waiting(send)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            gone.cancel()
            self._lose()

    async def _send_waiting(self, send: Send) -> None:
        while self._waiting:
            data, self._waiting = b"".join(self._waiting), []
            await send({"type": "http.response.body", "body": data, "more_body": True})
        if self.blocked and not self._closing:
            self.blocked = False
            self.hub.unblock(self)

    def _lose(self) -> None:
        self.hub.lost(self)
        self.abort()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class EventStream:
    """The response of /events: sends the head through the normal stack, then hands the connection to the hub.

    client: whose stream it is, for limits. headers: of the response, beside those of every stream. end_by: when its token
    makes it end, on the monotonic clock; 0 for never. refusal: asked again when the head is on its way, for a server may
    have taken its time with it.
    """

    __slots__ = (
        "_end_by", "_lifetime", "_lookup", "_refusal", "_requested", "_want", "client", "headers", "hub",
    )  # fmt: skip

    def __init__(
        self,
        hub: Hub,
        want: Want,
        requested: str | None,
        lifetime: float,
        lookup: Callable[[Subscriber, Position], None],
        client: str = "",
        headers: Headers = (),
        end_by: float = 0.0,
        refusal: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        self.hub, self._want, self._requested = hub, want, requested
        self._lifetime, self._lookup, self._end_by = lifetime, lookup, end_by
        self.client, self.headers = client, headers
        self._refusal = refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        handoff: Handoff | None = scope.get(HANDOFF)
        can_be_had = handoff is not None and handoff.prepare()
        headers = [*HEADERS, *self.headers, CLOSE] if can_be_had else [*HEADERS, *self.headers]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        reason = self._refusal(self.client)
        if handoff is not None and can_be_had:
            connection = Connection(self.hub)
            taken = handoff.take(connection)
            if taken is not None:
                self.open(connection, *taken, chunk=scope["http_version"] != "1.0", reason=reason)
        elif reason:
            await send({"type": "http.response.body", "body": self._refuse(reason), "more_body": False})
        else:
            await self._run(AsgiStream(self.hub), receive, send)

    def open(
        self,
        connection: Connection,
        transport: asyncio.Transport,
        head: bytes,
        *,
        chunk: bool,
        reason: str | None = None,
        fd: int | None = None,
    ) -> None:
        """Opens the stream on a transport whose protocol the connection is by now; ends it where there is a reason.

        fd: the transport's descriptor, where the caller knows it.
        """
        if reason:
            body = self._refuse(reason)
            transport.write(head + (chunked(body) + LAST_CHUNK if chunk else body))
            transport.close()
            return
        connection.adopt(transport, head, fd)
        self._open(connection, chunk=chunk)

    async def _run(self, stream: AsgiStream, receive: Receive, send: Send) -> None:
        try:
            self._open(stream, chunk=False)
            await stream.run(receive, send)
        finally:
            self.hub.lost(stream, "error")  # unless it has ended in a better way

    def _refuse(self, reason: str) -> bytes:
        self.hub.refused[reason] += 1
        return come_back(self.hub.draw_retry(False), reason)

    def _open(self, sub: Subscriber, *, chunk: bool) -> None:
        sub.client = self.client
        if self._lifetime:
            sub.expires_at = time.monotonic() + self._lifetime
        want = self._want if self._want.chunk is chunk else self._want._replace(chunk=chunk)
        position = self.hub.open(sub, want, self._requested)
        if self._end_by:
            self.hub.end_by(sub, self._end_by)
        if position is not None:
            self._lookup(sub, position)
