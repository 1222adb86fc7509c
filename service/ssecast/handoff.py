"""uvicorn's HTTP protocol with a way out: a response can take the connection and leave the HTTP machinery behind.

This is the only file that knows uvicorn's internals (0.54): look here first when uvicorn changes.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from ssecast.stream import CLOSE, HANDOFF, HEADERS, Connection, EventStream

EVENTS_PATH = b"/events"
ADMIT = "ssecast_admit"
"""Attribute of uvicorn's config that holds an Admit."""

Admit = Callable[[MutableMapping[str, Any]], EventStream | None]

HEAD_SECONDS = 10.0
"""A request whose head is not complete after this is closed; so is a connection that sends nothing."""


class HandoffProtocol(HttpToolsProtocol):
    """Puts itself into the scope; a stream's response takes the transport from it.

    A plain GET for a stream is answered without a task, a cycle and an app in between (`admit` of the config): opening
    a stream costs half as much (CPU per stream, 5,000 at once). Everything else goes the ordinary way.
    """

    waiting_since: float | None = None
    _admitted: EventStream | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Addresses and scope are left to the ordinary way: a plain stream needs neither."""
        self.connections.add(self)
        self.transport = transport  # type: ignore[assignment]
        self.flow = FlowControl(self.transport)
        self.waiting_since = time.monotonic()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._admitted is not None and self.transport is not None:
            stream, self._admitted = self._admitted, None
            self._open(stream)

    def on_message_begin(self) -> None:
        self.url, self.headers, self.expect_100_continue = b"", [], False
        self.waiting_since = time.monotonic()

    def on_headers_complete(self) -> None:
        if self._admitted is not None:
            return  # a second request behind one for a stream: nobody will answer it
        self._admitted = self._admit()
        if self._admitted is None:
            self._go_the_ordinary_way()
        self.waiting_since = None

    def _go_the_ordinary_way(self) -> None:
        """Makes up for what connection_made and on_message_begin have left out."""
        url, headers, expect = self.url, self.headers, self.expect_100_continue
        if self.scheme is None:
            super().connection_made(self.transport)
        super().on_message_begin()
        self.url, self.headers, self.expect_100_continue = url, headers, expect
        self.scope["headers"] = headers
        super().on_headers_complete()
        self.scope[HANDOFF] = self  # type: ignore[literal-required]

    def on_body(self, body: bytes) -> None:
        if self._admitted is None:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._admitted is None:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self.waiting_since = None  # uvicorn's keep-alive timer watches from here on

    def _admit(self) -> EventStream | None:
        path, _, query = self.url.partition(b"?")
        if path != EVENTS_PATH or self.parser.get_method() != b"GET" or self.parser.get_http_version() != "1.1":
            return None
        cycle: RequestResponseCycle | None = self.cycle
        if self.parser.should_upgrade() or (cycle is not None and not cycle.response_complete):
            return None
        admit: Admit | None = getattr(self.config, ADMIT, None)
        return admit({"query_string": query, "headers": self.headers}) if admit is not None else None

    def _open(self, stream: EventStream) -> None:
        transport = self.transport
        if transport.is_closing():
            return
        connection = Connection(stream.hub)
        head = _head(self.server_state.default_headers)
        self._leave(connection)
        stream.open(connection, transport, head, chunk=True)

    def _leave(self, connection: Connection) -> None:
        """uvicorn must neither wait for the connection at shutdown nor keep its timer.

        What holds the HTTP machinery of the connection together is let go, and with it all of it is freed.
        """
        self.transport.set_protocol(connection)  # type: ignore[arg-type]
        self._unset_keepalive_if_required()
        self.connections.discard(self)
        self.flow.resume_reading()
        self.pipeline.clear()
        self.cycle = self.transport = self.parser = None  # type: ignore[assignment]

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
        write; None where the client is gone already. uvicorn must not close it when the app returns.
        """
        transport, cycle = self.transport, self.cycle
        if cycle.disconnected or transport.is_closing():
            return None
        head = cycle.transport.head  # type: ignore[attr-defined]
        cycle.response_complete = cycle.disconnected = True
        cycle.message_event.set()
        self._leave(connection)
        return transport, head


def _head(default_headers: list[tuple[bytes, bytes]]) -> bytes:
    """The head of a stream's response, as uvicorn would write it."""
    headers = [*default_headers, *HEADERS, CLOSE, (b"transfer-encoding", b"chunked")]
    return b"HTTP/1.1 200 OK\r\n%b\r\n" % b"".join([b"%b: %b\r\n" % header for header in headers])


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


def listener(app: Any, *, admit: Admit | None, forwarded_allow_ips: str, backlog: int) -> Listener:
    """A server for an app; with admit, responses can take their connections, and plain ones do so at once."""
    config = uvicorn.Config(
        app,
        http=HandoffProtocol if admit else "httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        forwarded_allow_ips=forwarded_allow_ips,
        backlog=backlog,
        timeout_graceful_shutdown=2,
    )
    setattr(config, ADMIT, admit)
    return Listener(config)
