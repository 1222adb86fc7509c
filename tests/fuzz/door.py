"""One request read twice, on transports of memory: by the doorman who stands in front, and by uvicorn's protocol alone.

Everything behind the transport is the product: door, uvicorn, app, hub. Nothing depends on the clock, so what the two
write can be compared byte by byte.
"""

import asyncio
import logging
from collections.abc import MutableMapping, Sequence
from typing import Any, NamedTuple, Self

import httptools

from ssecast.access import Headers, Open
from ssecast.app import create_app
from ssecast.channel import Subscriber
from ssecast.door import Door, Doorman, listener
from ssecast.events import Events, EventsOptions
from ssecast.frame import Event, Position
from ssecast.handoff import HandoffProtocol
from ssecast.hub import Hub
from ssecast.limits import Limits
from ssecast.log import EventLog
from ssecast.stream import Answer, Connection, EventStream
from ssecast.visitors import Visitors
from tests.fuzz.grammar import Piece

TURNS = 12
"""Turns of the loop after which nothing moves any more that does not wait for a client or a timer."""

HEARD = ("ssecast", "uvicorn", "fastapi")
"""Who logs in a pod's public side. What asyncio has to say of the house's own loop reaches that loop's handler."""

SERVED = ("events.>",)
PAYLOAD_BYTES = 1000


class Heard(NamedTuple):
    """What the endpoint was asked."""

    query: bytes
    headers: tuple[tuple[bytes, bytes], ...]


class Outcome(NamedTuple):
    """What a client has when everything that it sent was worked on."""

    written: bytes
    closed: bool
    streams: bool
    heard: frozenset[Heard]

    @property
    def status(self) -> int:
        """Of the first response, 0 where there is none."""
        return int(self.written[9:12]) if self.written else 0

    @property
    def body(self) -> bytes:
        return self.written.partition(b"\r\n\r\n")[2]


PEER, HERE = ("127.0.0.1", 5), ("127.0.0.1", 8080)


class Nothing:
    """Stands for the socket: a number and two addresses are all that is asked of it."""

    def fileno(self) -> int:
        return 5

    def getpeername(self) -> tuple[str, int]:
        return PEER

    def getsockname(self) -> tuple[str, int]:
        return HERE


class Wire(asyncio.Transport):
    """A transport without a socket: remembers what is written, hands data on only while somebody reads."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__({"peername": PEER, "sockname": HERE, "sslcontext": True, "socket": Nothing()})
        self._loop = loop
        self._protocol: asyncio.Protocol
        self._reading, self._closing, self._lost = True, False, False
        self._unread: list[bytes] = []
        self.written = bytearray()

    def connect(self, protocol: asyncio.Protocol) -> None:
        self._protocol = protocol
        protocol.connection_made(self)

    def arrive(self, data: bytes) -> None:
        self._unread.append(data)
        self._hand_on()

    def _hand_on(self) -> None:
        while self._unread and self._reading and not self._closing:
            self._protocol.data_received(self._unread.pop(0))

    def hang_up(self) -> None:
        if not self._closing:
            self.close()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._lost:
            raise RuntimeError("the handler is closed")  # as uvloop has it
        if not self._closing:
            self.written += data

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._loop.call_soon(self._lose)

    def _lose(self) -> None:
        self._lost = True
        self._protocol.connection_lost(None)

    abort = close

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        self._loop.call_soon(self._hand_on)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol | Connection)
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """It never fills."""

    def get_write_buffer_size(self) -> int:
        return 0


class Ear(Open):
    """Access for everybody, which hears every request that comes as far as the app."""

    def __init__(self) -> None:
        super().__init__(SERVED)
        self.heard: set[Heard] = set()

    def move(self, headers: Headers, query: bytes) -> tuple[Headers, bytes]:
        self.heard.add(Heard(query, tuple(headers)))
        return super().move(headers, query)


class House(logging.Handler):
    """A pod's public side with a small log to resume from. defects: what reached the loop's handler or was logged as an
    error by a pod's own parts while the last visitor was there. stored: set while NATS acknowledges what is published.

    Not by anybody: tasks and sockets that tests before this one left behind complain whenever the garbage collector
    finds them, and that is in the middle of some request."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(logging.ERROR)
        self.loop = loop
        self.defects: list[str] = []
        loop.set_exception_handler(lambda _, context: self.defects.append(str(context)))
        for name in HEARD:
            logging.getLogger(name).addHandler(self)
        self.stored = asyncio.Event()
        self.stored.set()
        self.ear = Ear()
        self.admitted: list[MutableMapping[str, Any]] = []
        self.hub = Hub(EventLog(100, 1 << 20, "a", 0), lambda fds, wire: [], self._wake, lambda _: 1000)
        for seq in (1, 2, 3):
            self.hub.publish(Event("events.a", seq, str(seq).encode()))
        self._events = Events(
            self.hub,
            EventsOptions(1000, 0, 0.0, subjects=SERVED),
            Limits(self.hub, 10**6, lambda: False),
            self.ear,
            self._lookup,
        )
        app = create_app(
            self._events, subjects=SERVED, publish=self._publish, page=True, max_payload_bytes=PAYLOAD_BYTES
        )
        self._listener = listener(
            app, door=Door(self._admit), visitors=Visitors(), forwarded_allow_ips="127.0.0.1", backlog=1
        )
        self._listener.config.load()
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # below that it tells of each broken request
        self._listener.server_state.default_headers = [(b"date", b"today")]

    def emit(self, record: logging.LogRecord) -> None:
        self.defects.append(self.format(record))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for name in HEARD:
            logging.getLogger(name).removeHandler(self)

    async def visit(self, packets: Sequence[Piece], *, door: bool = True) -> Outcome:
        """Sends the packets over a connection of their own; with the doorman in front or without."""
        for kept in (self.ear.heard, self.admitted, self.defects):
            kept.clear()
        wire = Wire(self.loop)
        kind = Doorman if door else HandoffProtocol
        wire.connect(kind(self._listener.config, self._listener.server_state, {}, self.loop))
        for packet in packets:
            wire.arrive(packet.data)
            if packet.rest:
                await self._rest()
        await self._rest()
        streams = isinstance(wire.get_protocol(), Connection)
        outcome = Outcome(bytes(wire.written), wire.is_closing(), streams, frozenset(self.ear.heard))
        wire.hang_up()
        await self._rest()
        self.stored.set()
        await self._rest()
        assert not self.hub.streams, "a stream outlives its connection"
        assert not self._listener.server_state.connections, "a connection outlives its transport"
        assert not self._listener.server_state.tasks, "a task outlives its connection"
        return outcome

    async def _rest(self) -> None:
        for _ in range(TURNS):
            await asyncio.sleep(0)

    def _wake(self) -> None:
        self.loop.call_soon(self.hub.flush, 0.0)

    def _admit(self, scope: MutableMapping[str, Any]) -> EventStream | Answer | None:
        stream = self._events.admit(scope)
        if stream is not None:
            self.admitted.append(scope)
        return stream

    def _lookup(self, sub: Subscriber, position: Position) -> None:
        self.hub.resume_gap(sub, str(position), self.hub.log.head, "ahead")

    async def _publish(
        self, subject: str, data: bytes, name: str | None, message_id: str | None
    ) -> tuple[Position, bool]:
        await self.stored.wait()
        return Position("a", 3), False


class Witness:
    """What httptools alone reads: no uvicorn in between, none of its leniencies."""

    def __init__(self, data: bytes) -> None:
        self.url = self.body = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.begun = self.complete = 0
        parser = httptools.HttpRequestParser(self)
        parser.feed_data(data)
        self.method, self.version = parser.get_method(), parser.get_http_version()
        self.upgrade = parser.should_upgrade()

    def on_message_begin(self) -> None:
        self.begun += 1

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value.strip(b" \t")))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete += 1
