"""uvicorn's HTTP protocol with a way out: a response can take the connection and leave the HTTP machinery behind.

This is the only file that knows uvicorn's internals (0.54): look here first when uvicorn changes.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ssecast.stream import HANDOFF, Connection

HEAD_SECONDS = 10.0
"""A request whose head is not complete after this is closed; so is a connection that sends nothing."""


class HandoffProtocol(HttpToolsProtocol):
    """Puts itself into the scope; a stream's response takes the transport from it."""

    waiting_since: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self.waiting_since = time.monotonic()

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self.waiting_since = None
        self.scope[HANDOFF] = self  # type: ignore[literal-required]

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self.waiting_since = None  # uvicorn's keep-alive timer watches from here on

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.waiting_since = time.monotonic()

    def prepare(self) -> bool:
        """Before the head of a stream is sent. uvicorn would send chunks even to HTTP/1.0: it must not."""
        cycle = self.cycle
        if cycle.scope is not self.scope or cycle.response_started:
            return False
        if self.scope["http_version"] == "1.0":
            cycle.chunked_encoding = False
        cycle.transport = HeadHolder(cycle.transport)  # type: ignore[assignment]
        return True

    def take(self, connection: Connection) -> tuple[asyncio.Transport, bytes] | None:
        """Makes the connection the transport's protocol and returns it with the head, which the connection has yet to
        write; None where the client is gone already.

        uvicorn must neither wait for the connection at shutdown, nor close it when the app returns, nor keep its timer.
        """
        transport, cycle = self.transport, self.cycle
        if cycle.disconnected or transport.is_closing():
            return None
        head = cycle.transport.head  # type: ignore[attr-defined]
        transport.set_protocol(connection)  # type: ignore[arg-type]
        self._unset_keepalive_if_required()
        self.connections.discard(self)
        cycle.response_complete = cycle.disconnected = True
        cycle.message_event.set()
        self.flow.resume_reading()
        self.pipeline.clear()
        # These hold the HTTP machinery of the connection together; without them all of it is freed.
        self.cycle = self.transport = self.parser = None  # type: ignore[assignment]
        return transport, head


class HeadHolder:
    """Stands in for the transport while the head of a stream is sent, so that it leaves with the first block.

    One system call for both: opening streams is a third cheaper than with two (10,000 at once, loopback).
    """

    __slots__ = ("_transport", "head")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.head = b""

    def write(self, data: bytes) -> None:
        self.head += data

    def close(self) -> None:
        """uvicorn closes when the app has failed: the client gets what there is of an answer."""
        self._transport.write(self.head)
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()


class Listener(uvicorn.Server):
    """A uvicorn server that leaves signals to our own Server, and closes who never sends a request."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def close_silent(self, now: float) -> int:
        """Closes connections whose request head is overdue; returns how many."""
        overdue = [
            connection
            for connection in self.server_state.connections
            if isinstance(connection, HandoffProtocol)
            and connection.waiting_since is not None
            and now - connection.waiting_since > HEAD_SECONDS
        ]
        for connection in overdue:
            connection.transport.abort()
        return len(overdue)


def listener(app: Any, *, streams: bool, forwarded_allow_ips: str, backlog: int) -> Listener:
    """A server for an app; with streams, responses can take their connections."""
    config = uvicorn.Config(
        app,
        http=HandoffProtocol if streams else "httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        forwarded_allow_ips=forwarded_allow_ips,
        backlog=backlog,
        timeout_graceful_shutdown=2,
    )
    return Listener(config)
