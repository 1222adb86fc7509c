"""The public port's front: a Doorman meets each connection, opens plain streams at once, and calls uvicorn for the rest.

Beside `handoff` the only file that knows uvicorn's internals (0.54).
"""

import asyncio
import contextlib
import re
from collections import deque
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from http import HTTPStatus
from typing import Any, Protocol

import uvicorn
from uvicorn.middleware.proxy_headers import _TrustedHosts
from uvicorn.protocols.utils import get_remote_addr
from uvicorn.server import ServerState

from ssecast.handoff import MAX_HEAD_BYTES, MAX_HEADERS, VISITORS, BoundedProtocol, HandoffProtocol
from ssecast.stream import CLOSE, HEADERS, Address, Answer, Connection, EventStream, Headers
from ssecast.visitors import Visitors

PLAIN_REQUEST = re.compile(
    rb"GET /events(?:\?(?P<query>[!-\"$-~]*))? HTTP/1\.1\r\n"
    rb"(?P<headers>(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t -~\x80-\xff]*\r\n)+)\r\n"
)
NOT_PLAIN = frozenset({b"content-length", b"transfer-encoding", b"upgrade", b"expect"})
"""Headers that promise more than a head, or ask for something else than an answer."""

CHUNKED = (b"transfer-encoding", b"chunked")

DOOR = "ssecast_door"
"""Attribute of uvicorn's config that holds the Door."""

OPENS_PER_TURN = 32
"""Requests answered between two looks at NATS and the sockets: about two milliseconds."""

HEAD_RENEWAL_SECONDS = 1.0
"""The date in a head is as old as this at most."""

Admit = Callable[[MutableMapping[str, Any]], EventStream | Answer | None]


class Counting(Protocol):
    """Counts the streams of each client as long as per_client is not 0."""

    per_client: int


class Proxies:
    """Who a request is from, told as uvicorn tells it to the app: both ways of a request must count the same clients.

    allow: the proxies whose X-Forwarded-For is believed, as uvicorn's forwarded_allow_ips.
    """

    def __init__(self, allow: str) -> None:
        self._trusted = _TrustedHosts(allow)

    def client(self, peer: Address | None, headers: Sequence[tuple[bytes, bytes]]) -> Address | None:
        """The client's address and port; peer is the other end of the connection."""
        if (peer[0] if peer else None) not in self._trusted:
            return peer
        hops = b", ".join([value for name, value in headers if name == b"x-forwarded-for"])
        host, port = self._trusted.get_trusted_client_address(hops.decode("latin-1"))
        return (host, port) if host else peer


class Door:
    """What all doormen of a server share. admit: the stream or the answer that a plain GET gets, None where only the app
    can tell. counting: who asks whose request it is, as long as it counts; the answer costs a system call.

    Requests wait here for their turn: a reconnect storm brings thousands at once, and live events must not wait until
    all of them are opened.
    """

    def __init__(self, admit: Admit, proxies: Proxies | None = None, counting: Counting | None = None) -> None:
        self.admit, self.proxies, self.counting = admit, proxies, counting
        self._waiting: deque[Doorman] = deque()
        self._default_headers: list[tuple[bytes, bytes]] | None = None
        self._heads: dict[Headers, bytes] = {}
        self._answers: dict[tuple[int, Headers, int], bytes] = {}

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
        """The head of a stream's response, as uvicorn would write it."""
        if default_headers is not self._default_headers:
            self._renew(default_headers)
        head = self._heads.get(own_headers)
        if head is None:
            head = self._heads[own_headers] = _head(200, (*default_headers, *HEADERS, *own_headers, CLOSE, CHUNKED))
        return head

    def whole(self, default_headers: list[tuple[bytes, bytes]], answer: Answer) -> bytes:
        """A whole response. A full pod turns away thousands at once, with a few heads."""
        if default_headers is not self._default_headers:
            self._renew(default_headers)
        key = (answer.status, answer.headers, len(answer.body))
        head = self._answers.get(key)
        if head is None:
            length = (b"content-length", b"%d" % len(answer.body))
            head = self._answers[key] = _head(answer.status, (*default_headers, *answer.headers, length, CLOSE))
        return head + answer.body

    def _renew(self, default_headers: list[tuple[bytes, bytes]]) -> None:
        """uvicorn makes its list anew every second, with the date in it."""
        self._default_headers = default_headers
        self._heads.clear()
        self._answers.clear()


def _head(status: int, headers: Headers) -> bytes:
    lines = b"".join([b"%b: %b\r\n" % header for header in headers])
    return b"HTTP/1.1 %d %b\r\n%b\r\n" % (status, HTTPStatus(status).phrase.encode(), lines)


class Doorman(asyncio.Protocol):
    """The first protocol of a connection: opens a plain stream at once, and calls uvicorn for everything else.

    A whole head that says GET /events in HTTP/1.1 and no more than headers needs no parser, task, cycle or app: opening
    a stream costs half (80 against 160 us of CPU, 5,000 at once). The pattern is strict, so that nothing passes which uvicorn
    would read in another way; a head in pieces, another method, a body, an upgrade, an error: uvicorn's.
    """

    __slots__ = ("_arguments", "_data", "_door", "_fd", "_until", "_visitors", "deadline", "server_state", "transport")

    owes = "head"
    transport: asyncio.Transport
    deadline: float | None

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._arguments = (config, server_state, app_state, _loop)
        self._door: Door = getattr(config, DOOR)
        self._visitors: Visitors = getattr(config, VISITORS)
        self._data = b""
        self.server_state = server_state

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self.server_state.connections.add(self)  # type: ignore[arg-type]
        self._fd = transport.get_extra_info("socket").fileno()
        self._visitors.came(self, self._fd)

    def data_received(self, data: bytes) -> None:
        if not self._data:
            self._until, self.deadline = self.deadline, None  # from here on it waits for us
            self._door.knock(self)
        self._data += data
        if len(self._data) > MAX_HEAD_BYTES:
            self.transport.pause_reading()

    def open(self) -> None:
        """Answers what has come; called by the door."""
        if self.transport.is_closing():
            return
        found = self._admit(self._data)
        self.server_state.connections.discard(self)
        if found is None:
            self._call_uvicorn(self._data)
        elif isinstance(found, Answer):
            self.transport.write(self._door.whole(self.server_state.default_headers, found))
            self.transport.close()
        else:
            connection = Connection(found.hub)
            self.transport.set_protocol(connection)  # type: ignore[arg-type]
            head = self._door.head(self.server_state.default_headers, found.headers)
            found.open(connection, self.transport, head, chunk=True, fd=self._fd)

    def abort(self) -> None:
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.server_state.connections.discard(self)
        self._visitors.left(self)

    def eof_received(self) -> bool:
        return False

    def shutdown(self) -> None:
        """uvicorn stops: a connection without a request is let go."""
        self.transport.close()

    def _admit(self, data: bytes) -> EventStream | Answer | None:
        plain = PLAIN_REQUEST.fullmatch(data) if len(data) <= MAX_HEAD_BYTES else None
        if plain is None:
            return None
        lines = plain["headers"].split(b"\r\n")[:-1]
        headers = [(name.lower(), value.strip(b" \t")) for name, _, value in [line.partition(b":") for line in lines]]
        if len(headers) > MAX_HEADERS or not NOT_PLAIN.isdisjoint([name for name, _ in headers]):
            return None
        door = self._door
        client = None
        if door.proxies is not None and (door.counting is None or door.counting.per_client):
            client = door.proxies.client(get_remote_addr(self.transport), headers)
        return door.admit({"query_string": plain["query"] or b"", "headers": headers, "client": client})

    def _call_uvicorn(self, data: bytes) -> None:
        protocol = HandoffProtocol(*self._arguments)
        protocol.deadline = self._until
        protocol.connection_made(self.transport)
        self.transport.set_protocol(protocol)
        self.transport.resume_reading()
        protocol.data_received(data)


class Listener(uvicorn.Server):
    """A uvicorn server that leaves signals to our own Server, and ends who does not send what it owes."""

    def __init__(self, config: uvicorn.Config, visitors: Visitors) -> None:
        super().__init__(config)
        self._stopped = asyncio.Event()
        self.visitors = visitors
        visitors.present = self.server_state.connections  # type: ignore[assignment]

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def stop(self, *, at_once: bool) -> None:
        """Ends the main loop; at_once: without waiting for what is under way."""
        self.should_exit, self.force_exit = True, at_once
        self._stopped.set()

    async def main_loop(self) -> None:
        """As uvicorn's, which looks ten times a second whether it is to end; here it is told, and two listeners that only
        renew the date of their heads cost an idle pod a tenth of that."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), HEAD_RENEWAL_SECONDS)


def listener(app: Any, *, door: Door | None, visitors: Visitors, forwarded_allow_ips: str, backlog: int) -> Listener:
    """A server for an app; with a door, responses can take their connections, and plain ones do so at once."""
    config = uvicorn.Config(
        app,
        http=Doorman if door else BoundedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        forwarded_allow_ips=forwarded_allow_ips,
        backlog=backlog,
        timeout_graceful_shutdown=2,
    )
    setattr(config, DOOR, door)
    setattr(config, VISITORS, visitors)
    return Listener(config, visitors)
