"""Every way in which a request can end gives its slot back: doormen, uvicorn's protocol and streams on fake transports."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ssecast.access import Open
from ssecast.app import create_app
from ssecast.channel import Place, Subscriber
from ssecast.door import Door, Listener, Proxies, listener
from ssecast.events import Events, EventsOptions
from ssecast.frame import Position
from ssecast.hub import Hub
from ssecast.limits import Limits
from ssecast.log import EventLog
from ssecast.stream import Connection
from ssecast.visitors import Visitors

DEFECT = 13
"""A resume from this position fails, as a defect in the pod would."""

HEAD = b"Host: x\r\nAccept: text/event-stream\r\nX-Forwarded-For: 192.0.2.%d\r\n"
REQUESTS = [
    b"GET /events HTTP/1.1\r\n" + HEAD + b"\r\n",
    b"GET /events HTTP/1.0\r\n" + HEAD + b"\r\n",
    b"GET /events?subject=events.a HTTP/1.1\r\n" + HEAD + b"\r\n" + b"GET /events HTTP/1.1\r\n" + HEAD + b"\r\n",
    b"GET /events HTTP/1.1\r\n" + HEAD + b"Last-Event-ID: e-%d\r\n\r\n" % DEFECT,
    b"GET /events HTTP/1.1\r\n" + HEAD + b"Last-Event-ID: e-12\r\n\r\n",
    b"GET /events HTTP/1.1\r\n" + HEAD + b"Content-Length: 3\r\n\r\nabc",
    b"GET /events?subjects=a HTTP/1.1\r\n" + HEAD + b"\r\n",
    b"HEAD /events HTTP/1.1\r\n" + HEAD + b"\r\n",
    b"POST /events HTTP/1.1\r\n" + HEAD + b"Content-Length: 100\r\n\r\nnot all of it",
    b"GET /info HTTP/1.1\r\n" + HEAD + b"\r\n" + b"GET /events HTTP/1.1\r\n" + HEAD + b"\r\n",
    b"GET /nothing HTTP/1.1\r\n" + HEAD + b"\r\n",
    b"GET /events HTTP/1.1\r\nbad header\r\n\r\n",
    b"\r\n",
    b"x" * 40_000,
]
indexes = st.integers(0, 99)


class FakeSocket:
    def __init__(self, fd: int) -> None:
        self.fd = fd

    def fileno(self) -> int:
        return self.fd

    def getpeername(self) -> tuple[str, int]:
        return ("127.0.0.1", 5000 + self.fd)

    def getsockname(self) -> tuple[str, int]:
        return ("127.0.0.1", 8080)


class FakeTransport(asyncio.Transport):
    """A transport whose peer takes everything, and that tells its protocol of its end in a later turn, as real ones do."""

    def __init__(self, fd: int, protocol: asyncio.BaseProtocol) -> None:
        super().__init__({"socket": FakeSocket(fd)})
        self.protocol = protocol
        self.gone = self.lost = False
        self.written = 0

    def write(self, data: Any) -> None:
        self.written += len(data)

    def is_closing(self) -> bool:
        return self.gone

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...

    def abort(self) -> None:
        self.end(None)

    close = abort

    def end(self, error: Exception | None) -> None:
        if not self.gone:
            self.gone = True
            asyncio.get_running_loop().call_soon(self._tell, error)

    def _tell(self, error: Exception | None) -> None:
        self.lost = True
        self.protocol.connection_lost(error)


class SlotMachine(RuleBasedStateMachine):
    """A pod's public port without a network: peers connect, send pieces of requests, stop reading and vanish."""

    @initialize(capacity=st.integers(1, 4), per_client=st.integers(0, 2))
    def begin(self, capacity: int, per_client: int) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(lambda loop, context: None)  # the defects are ours
        self.capacity, self.per_client = capacity, per_client
        log = EventLog(10, 10_000, "e", 20)
        log.floor = 15
        self.hub = Hub(log, lambda fds, wire: [], lambda: None, lambda _: 1000)
        self.visitors = Visitors()
        limits = Limits(self.hub, capacity, lambda: False, None, self.visitors, per_client)
        events = Events(self.hub, EventsOptions(1000, 0, 0.0), limits, Open(("events.>",)), self.look_up)
        app = create_app(events, subjects=("events.>",), publish=None, page=False, max_payload_bytes=1000)
        door = Door(events.admit, Proxies("127.0.0.1") if per_client else None)
        self.server: Listener = listener(
            app, door=door, visitors=self.visitors, forwarded_allow_ips="127.0.0.1", backlog=1
        )
        self.server.config.load()
        self.transports: list[FakeTransport] = []

    def look_up(self, sub: Subscriber, position: Position) -> None:
        if position.seq == DEFECT:
            raise RuntimeError("a defect")

    def in_loop(self, action: Callable[[], Any]) -> None:
        """Transports need a running loop; none of its turns passes."""

        async def run() -> None:
            action()

        self.loop.run_until_complete(run())

    @property
    def open_transports(self) -> list[FakeTransport]:
        return [transport for transport in self.transports if not transport.gone]

    def pick(self, index: int) -> FakeTransport:
        return self.open_transports[index % len(self.open_transports)]

    # Peers

    @rule(count=st.integers(1, 3))
    def connect(self, count: int) -> None:
        for _ in range(count):
            make = cast(Callable[..., asyncio.Protocol], self.server.config.http_protocol_class)
            protocol = make(self.server.config, self.server.server_state, {}, self.loop)
            transport = FakeTransport(100 + len(self.transports), protocol)
            self.transports.append(transport)
            self.in_loop(lambda protocol=protocol, transport=transport: protocol.connection_made(transport))  # type: ignore[misc]

    @precondition(lambda self: self.open_transports)
    @rule(index=indexes, request=st.sampled_from(REQUESTS), address=st.integers(1, 2), cut=st.integers(0, 200))
    def send(self, index: int, request: bytes, address: int, cut: int) -> None:
        """In one piece, or in two that the pod sees one after the other."""
        data = request.replace(b"%d", b"%d" % address)
        transport = self.pick(index)
        for piece in (data[:cut], data[cut:]):
            if piece:
                self.in_loop(lambda piece=piece: self.receive(transport, piece))  # type: ignore[misc]
                self.turn(1)

    def receive(self, transport: FakeTransport, data: bytes) -> None:
        if not transport.gone:
            cast(asyncio.Protocol, transport.protocol).data_received(data)

    @rule(address=st.integers(1, 2))
    def hold_back(self, address: int) -> None:
        """A peer that is let in, and whose head has to wait because it does not read."""
        self.connect(1)
        transport = self.transports[-1]
        request = REQUESTS[0].replace(b"%d", b"%d" % address)
        self.in_loop(lambda: self.receive(transport, request[:20]))
        self.turn(1)
        self.in_loop(cast(asyncio.Protocol, transport.protocol).pause_writing)
        self.in_loop(lambda: self.receive(transport, request[20:]))
        self.turn(1)

    @precondition(lambda self: self.open_transports)
    @rule(index=indexes, reads=st.booleans())
    def read(self, index: int, reads: bool) -> None:
        """The peer stops reading, or goes on: a head may have to wait for it."""
        protocol = cast(asyncio.Protocol, self.pick(index).protocol)
        self.in_loop(protocol.resume_writing if reads else protocol.pause_writing)

    @precondition(lambda self: self.open_transports)
    @rule(index=indexes, how=st.sampled_from(["reset", "closed", "half"]))
    def leave(self, index: int, how: str) -> None:
        transport = self.pick(index)
        if how == "half":
            self.in_loop(lambda: cast(asyncio.Protocol, transport.protocol).eof_received() or transport.close())
        else:
            self.in_loop(lambda: transport.end(ConnectionResetError() if how == "reset" else None))

    # The pod

    @rule(turns=st.integers(1, 5))
    def turn(self, turns: int) -> None:
        for _ in range(turns):
            self.loop.run_until_complete(asyncio.sleep(0))

    @rule()
    def wait(self) -> None:
        """Everything that is owed is overdue."""
        self.in_loop(lambda: self.visitors.end_overdue(float("inf")))

    @precondition(lambda self: self.hub.streams)
    @rule(reason=st.sampled_from(["age", "drain", "slow"]))
    def close(self, reason: str) -> None:
        self.in_loop(lambda: self.hub.close(next(iter(self.hub.wheel)), reason))

    @rule()
    def cancel(self) -> None:
        """uvicorn is in a hurry to stop."""
        for task in self.server.server_state.tasks:
            task.cancel()

    # What must hold

    @invariant()
    def no_more_streams_than_slots(self) -> None:
        if not hasattr(self, "hub"):
            return
        assert self.hub.streams <= self.capacity
        held = [t.protocol for t in self.transports if not t.lost and isinstance(t.protocol, Connection)]
        opened = [connection for connection in held if connection.place is not Place.GONE]
        assert self.hub.streams == len(opened)
        assert self.hub.clients == Counter(connection.client for connection in opened if connection.client)
        assert not self.per_client or all(count <= self.per_client for count in self.hub.clients.values())

    def teardown(self) -> None:
        if not hasattr(self, "hub"):
            return
        for transport in self.open_transports:
            self.in_loop(lambda transport=transport: transport.end(ConnectionResetError()))  # type: ignore[misc]
        self.turn(20)
        state = self.server.server_state
        assert self.hub.streams == self.hub.channels == 0
        assert not self.hub.clients
        assert not state.connections
        assert not state.tasks
        assert sum(self.hub.closed.values()) == self.hub.opened
        assert self.visitors.opened == len(self.transports)
        self.loop.close()


TestSlots = SlotMachine.TestCase
TestSlots.settings = settings(max_examples=100, stateful_step_count=40, report_multiple_bugs=False)
