"""uvicorn's HTTP protocol with bounds, and with a way out: a response can take the connection and leave the rest behind.

Beside `door` the only file that knows uvicorn's internals (0.54): look here first when uvicorn changes.
"""

import asyncio
import logging
import time
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from ssecast.stream import HANDOFF, Connection
from ssecast.visitors import BODY_SECONDS, HEAD_SECONDS, Visitors

MAX_HEAD_BYTES = 32 * 2**10
MAX_HEADERS = 128
"""Most that a request head may be, and most headers in it; more is 431. Neither uvicorn nor its parser sets a limit."""

MAX_PIPELINED = 16
"""Most requests that wait behind the one being answered; each costs fifty times its bytes."""

TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 26\r\n"
    b"connection: close\r\n\r\nThe head is over the limit"
)

VISITORS = "ssecast_visitors"
"""Attribute of uvicorn's config that holds the Visitors."""

logger = logging.getLogger("ssecast.http")
logger.setLevel(logging.ERROR)
"""What peers do wrong is counted and not logged, or they would write the log. Errors of the app are logged."""


class OverLimit(Exception):
    """Ends the parsing of what a peer sent; its text is the reason that is counted."""


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol for a connection that may send so much, and take so long: it is a Visitor.

    The parser holds on to an element until it is complete: what has come since the last complete one is counted too.
    """

    deadline: float | None = None
    owes = "head"
    _answering: RequestResponseCycle | None = None

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.logger = logger
        self._visitors: Visitors = getattr(config, VISITORS)
        self._wrong = "malformed"
        self._in_head = True
        self._head_bytes = self._unparsed = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self.deadline is None:
            self._visitors.came(self, transport.get_extra_info("socket").fileno())

    def connection_lost(self, exc: Exception | None) -> None:
        """uvicorn tells only the last request that came of it; the one being answered would write to a closed transport."""
        if self._answering is not None and not self._answering.response_complete:
            self._answering.disconnected = True
            self._answering.message_event.set()
        super().connection_lost(exc)
        self._visitors.left(self)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def abort(self) -> None:
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        cycle: RequestResponseCycle | None = self.cycle
        if self.deadline is None and (cycle is None or cycle.response_complete):
            self._owe("head", HEAD_SECONDS)  # uvicorn's timer ends here, though it may be no more than a line end
        self._unparsed += len(data)
        super().data_received(data)
        if self._unparsed > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._wrong = "too_large"
            self.send_400_response("")

    def send_400_response(self, msg: str) -> None:
        """The peer is in the wrong. uvicorn knows no answer but 400."""
        self.deadline = None
        self._visitors.closed[self._wrong] += 1
        if self._would_be_taken_for_another_answer():
            self.transport.abort()
        elif self._wrong == "too_large":
            self.transport.write(TOO_LARGE)
            self.transport.close()
        else:
            super().send_400_response(msg)

    def _would_be_taken_for_another_answer(self) -> bool:
        """Of a request before this one, or of this one when its own has begun."""
        answering = self._answering
        if answering is None or answering.response_complete:
            return False
        return self._in_head or answering is not self.cycle or answering.response_started

    # The parser's callbacks

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head_bytes, self._unparsed = True, 0, 0
        if self.deadline is None:
            self._owe("head", HEAD_SECONDS)

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Trailers come this way too: nobody asks for them."""
        self._count(len(name) + len(value))
        if self._in_head:
            super().on_header(name, value)
            if len(self.headers) > MAX_HEADERS:
                self._stop("too_large")

    def on_headers_complete(self) -> None:
        self._in_head, self._unparsed = False, 0
        if len(self.pipeline) >= MAX_PIPELINED:
            self._stop("pipelined")
        self._owe("body", BODY_SECONDS)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unparsed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self.deadline, self._in_head, self._unparsed = None, True, 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The rest of a body that nobody waits for has no more time than a head."""
        super().on_response_complete()
        if self.deadline is not None and self.owes == "body":
            self.deadline = min(self.deadline, time.monotonic() + HEAD_SECONDS)

    def _count(self, size: int) -> None:
        self._unparsed = 0
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES:
            self._stop("too_large")

    def _stop(self, reason: str) -> None:
        self._wrong = reason
        raise OverLimit(reason)

    def _owe(self, what: str, seconds: float) -> None:
        self.owes, self.deadline = what, time.monotonic() + seconds


class HandoffProtocol(BoundedProtocol):
    """Puts an Offer into the scope; a stream's response takes the transport by it."""

    def on_header(self, name: bytes, value: bytes) -> None:
        """White space behind a value is no part of it (RFC 9110, 5.5), but httptools leaves it there."""
        super().on_header(name, value.rstrip(b" \t"))

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self.scope[HANDOFF] = Offer(self)  # type: ignore[literal-required]

    def leave(self) -> None:
        """Lets go of what holds the HTTP machinery of the connection together: without it, all of it is freed."""
        self._unset_keepalive_if_required()
        self.deadline = None
        self.connections.discard(self)
        self.flow.resume_reading()
        self.pipeline.clear()
        self.cycle = self._answering = self.transport = self.parser = None  # type: ignore[assignment]


class Offer:
    """A Handoff: the connection of one request. Requests that came behind it are dropped with the hand-off."""

    __slots__ = ("_cycle", "_protocol")

    def __init__(self, protocol: HandoffProtocol) -> None:
        self._protocol, self._cycle = protocol, protocol.cycle

    def prepare(self) -> bool:
        """Before the head of a stream is sent. uvicorn would send chunks even to HTTP/1.0: it must not."""
        cycle = self._cycle
        if cycle.response_started:
            return False
        if cycle.scope["http_version"] == "1.0":
            cycle.chunked_encoding = False
        cycle.transport = HeadHolder(cycle.transport)  # type: ignore[assignment]
        return True

    def take(self, connection: Connection) -> tuple[asyncio.Transport, bytes] | None:
        """Makes the connection the transport's protocol and returns it with the head, which the connection has yet to
        write; None where the client is gone already.

        uvicorn must neither wait for the connection at shutdown, nor close it when the app returns, nor keep its timer.
        """
        cycle, protocol = self._cycle, self._protocol
        transport = protocol.transport
        if cycle.disconnected or transport.is_closing():
            cycle.disconnected = True  # what came behind the request was answered with 400: nobody owes an answer now
            return None
        head = cycle.transport.head  # type: ignore[attr-defined]
        cycle.response_complete = cycle.disconnected = True
        cycle.message_event.set()
        transport.set_protocol(connection)  # type: ignore[arg-type]
        protocol.leave()
        return transport, head


class HeadHolder:
    """Stands in for the transport while the head of a stream is sent, so that it leaves with the first block.

    One system call for both instead of two.
    """

    __slots__ = ("_transport", "head")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.head = b""

    def write(self, data: bytes) -> None:
        self.head += data

    def close(self) -> None:
        """uvicorn closes when the app has failed, or answers all at once: the client gets what there is of an answer."""
        self._transport.write(self.head)
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()
