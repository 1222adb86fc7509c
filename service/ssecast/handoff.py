"""uvicorn's HTTP protocol with a way out: a response can take the connection and leave the HTTP machinery behind.

This is the only file that knows uvicorn's internals (0.54): look here first when uvicorn changes.
"""

import asyncio
import contextlib
import re
import time
from collections import deque
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from ssecast.stream import CLOSE, HANDOFF, HEADERS, Connection, EventStream, Headers

PLAIN_REQUEST = re.compile(
    rb"GET /events(?:\?(?P<query>[!-\"$-~]*))? HTTP/1\.1\r\n"
    rb"(?P<headers>(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t -~\x80-\xff]*\r\n)+)\r\n"
)
NOT_PLAIN = frozenset({b"content-length", b"transfer-encoding", b"upgrade", b"expect"})
"""Headers that promise more than a head, or ask for something else than an answer."""

DOOR = "ssecast_door"
"""Attribute of uvicorn's config that holds the Door."""

Admit = Callable[[MutableMapping[str, Any]], EventStream | None]

OPENS_PER_TURN = 32
"""Requests answered between two looks at NATS and the sockets: about two milliseconds."""

HEAD_SECONDS = 10.0
"""A request whose head is not complete after this is closed; so is a connection that sends nothing."""


class Door:
    """What all doormen of a server share. admit: the stream that a plain GET is answered with, or None.

    Requests wait here for their turn: a reconnect storm brings thousands at once, and live events must not wait until
    all of them are opened.
    """

    def __init__(self, admit: Admit) -> None:
        self.admit = admit
        self._waiting: deque[Doorman] = deque()
        self._default_headers: list[tuple[bytes, bytes]] | None = None
        self._heads: dict[Headers, bytes] = {}

    def knock(self, doorman: "Doorman") -> None:
        """Opens for the doorman soon, in the order of arrival."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._open_some)
        self._waiting.append(doorman)

    def _open_some(self) -> None:
        """One that fails loses its own connection; the others get their turn all the same."""
        doorman = None
        try:
            for _ in range(min(OPENS_PER_TURN, len(self._waiting))):
                doorman = self._waiting.popleft()
                doorman.open()
        except BaseException:
            if doorman is not None:
                doorman.transport.abort()
            raise
        finally:
            if self._waiting:
                asyncio.get_running_loop().call_soon(self._open_some)

    def head(self, default_headers: list[tuple[bytes, bytes]], own_headers: Headers) -> bytes:
        """The head of a stream's response, as uvicorn would write it; uvicorn makes its list anew every second."""
        if default_headers is not self._default_headers:
            self._default_headers = default_headers
            self._heads.clear()
        head = self._heads.get(own_headers)
        if head is None:
            headers = [*default_headers, *HEADERS, *own_headers, CLOSE, (b"transfer-encoding", b"chunked")]
            lines = b"".join([b"%b: %b\r\n" % header for header in headers])
            head = self._heads[own_headers] = b"HTTP/1.1 200 OK\r\n%b\r\n" % lines
        return head


class Doorman(asyncio.Protocol):
    """The first protocol of a connection: opens a plain stream at once, and calls uvicorn for everything else.

    A whole head that says GET /events in HTTP/1.1 and no more than headers needs no parser, task, cycle or app: opening
    a stream costs half (80 against 160 us of CPU, 5,000 at once). The pattern is strict, so that nothing passes which uvicorn
    would read in another way; a head in pieces, another method, a body, an upgrade, a refusal, an error: uvicorn's.
    """

    __slots__ = ("_arguments", "_data", "_door", "server_state", "transport", "waiting_since")

    transport: asyncio.Transport

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._arguments = (config, server_state, app_state, _loop)
        self._door: Door = getattr(config, DOOR)
        self._data = b""
        self.server_state = server_state
        self.waiting_since: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.waiting_since = time.monotonic()
        self.server_state.connections.add(self)  # type: ignore[arg-type]

    def data_received(self, data: bytes) -> None:
        if not self._data:
            self._door.knock(self)
        self._data += data

    def open(self) -> None:
        """Answers what has come; called by the door."""
        if self.transport.is_closing():
            return
        stream = self._admit(self._data)
        self.server_state.connections.discard(self)
        if stream is None:
            self._call_uvicorn(self._data)
        else:
            connection = Connection(stream.hub)
            self.transport.set_protocol(connection)  # type: ignore[arg-type]
            head = self._door.head(self.server_state.default_headers, stream.headers)
            stream.open(connection, self.transport, head, chunk=True)

    def connection_lost(self, exc: Exception | None) -> None:
        self.server_state.connections.discard(self)

    def eof_received(self) -> bool:
        return False

    def shutdown(self) -> None:
        """uvicorn stops: a connection without a request is let go."""
        self.transport.close()

    def _admit(self, data: bytes) -> EventStream | None:
        plain = PLAIN_REQUEST.fullmatch(data)
        if plain is None:
            return None
        lines = plain["headers"].split(b"\r\n")[:-1]
        headers = [(name.lower(), value.strip(b" \t")) for name, _, value in (line.partition(b":") for line in lines)]
        if not NOT_PLAIN.isdisjoint([name for name, _ in headers]):
            return None
        return self._door.admit({"query_string": plain["query"] or b"", "headers": headers, "client": None})

    def _call_uvicorn(self, data: bytes) -> None:
        protocol = HandoffProtocol(*self._arguments)
        protocol.connection_made(self.transport)
        self.transport.set_protocol(protocol)
        protocol.data_received(data)


class HandoffProtocol(HttpToolsProtocol):
    """Puts an Offer into the scope; a stream's response takes the transport by it."""

    waiting_since: float | None = None

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.waiting_since = time.monotonic()

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self.waiting_since = None
        self.scope[HANDOFF] = Offer(self)  # type: ignore[literal-required]

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self.waiting_since = None  # uvicorn's keep-alive timer watches from here on

    def leave(self) -> None:
        """Lets go of what holds the HTTP machinery of the connection together: without it, all of it is freed."""
        self._unset_keepalive_if_required()
        self.connections.discard(self)
        self.flow.resume_reading()
        self.pipeline.clear()
        self.cycle = self.transport = self.parser = None  # type: ignore[assignment]


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
            if isinstance(connection, Doorman | HandoffProtocol)
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
        http=Doorman if admit else "httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        forwarded_allow_ips=forwarded_allow_ips,
        backlog=backlog,
        timeout_graceful_shutdown=2,
    )
    if admit:
        setattr(config, DOOR, Door(admit))
    return Listener(config)
