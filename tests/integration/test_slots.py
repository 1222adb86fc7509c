"""Slots come back when the pod itself fails or is in a hurry: a defect behind the request, a cancelled task."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from ssecast.access import Open
from ssecast.app import create_app
from ssecast.channel import Subscriber
from ssecast.door import Door, Listener, listener
from ssecast.events import Events, EventsOptions
from ssecast.frame import Position
from ssecast.hub import Hub, HubOptions
from ssecast.limits import Limits
from ssecast.log import EventLog
from ssecast.pump import Pump
from ssecast.sockets import Flusher, bind
from ssecast.visitors import Visitors
from tests.harness import until
from tests.peers import BEGUN, STREAM, Peer, exchange, in_pieces

BROKEN = STREAM.replace(b"Host", b"Last-Event-ID: e-1\r\nHost")


class Defect(Exception):
    """What a defect in the pod raises."""


def break_down(sub: Subscriber, position: Position) -> None:
    """Asked to look up a position that memory does not hold, when the stream is open already."""
    raise Defect


class Front:
    """The public port of a pod in this process, whose resumes fail."""

    def __init__(self, capacity: int) -> None:
        loop = asyncio.get_running_loop()
        self.errors: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _, context: self.errors.append(context))
        self.pump, self.flusher, self.visitors = Pump(loop), Flusher(1), Visitors()
        log = EventLog(1000, 10**6, "e", 5)
        self.hub = Hub(log, self.flusher.write_many, self.pump.wake, lambda _: 1000, HubOptions())
        limits = Limits(self.hub, capacity, lambda: False, None, self.visitors)
        self.events = Events(self.hub, EventsOptions(1000, 0, 0.0), limits, Open(("events.>",)), break_down)
        self.app = create_app(self.events, subjects=("events.>",), publish=None, page=False, max_payload_bytes=1000)

    async def start(self) -> int:
        [sock] = bind("127.0.0.1", 0, 100)
        self.pump.start(self.hub)
        self.server: Listener = listener(
            self.app, door=Door(self.events.admit), visitors=self.visitors, forwarded_allow_ips="", backlog=100
        )
        self.serving = asyncio.ensure_future(self.server.serve(sockets=[sock]))
        port: int = sock.getsockname()[1]
        await until(lambda: self.server.started, "the server")
        return port

    async def stop(self) -> None:
        self.server.stop(at_once=False)
        await self.serving
        self.pump.stop()
        self.flusher.close()


@pytest.fixture
async def front() -> AsyncIterator[Front]:
    front = Front(capacity=3)
    yield front
    await front.stop()


@pytest.mark.parametrize("way", [lambda request: (request,), in_pieces], ids=["at the door", "by uvicorn"])
async def test_a_request_that_fails_in_the_pod_loses_its_connection_and_keeps_no_slot(
    front: Front, way: Callable[[bytes], tuple[bytes, ...]]
) -> None:
    port = await front.start()
    for _ in range(10):
        await exchange(port, *way(BROKEN))
    await until(lambda: front.hub.streams == 0, "every slot back")
    assert front.hub.opened == 10
    assert not front.visitors.present
    peer = await Peer.connect(port)
    await peer.send(STREAM)
    assert b"event: position" in await peer.read(BEGUN)


async def test_on_another_server_a_failure_gives_the_slot_back_too(front: Front) -> None:
    await front.start()
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/events", "query_string": b"", "http_version": "2"}
    with pytest.raises(Defect):
        await front.app(scope | {"headers": [(b"last-event-id", b"e-1")]}, asyncio.Event().wait, send)  # type: ignore[arg-type]
    assert front.hub.streams == 0
    assert front.hub.closed == {"error": 1}


async def test_a_request_that_is_cancelled_gives_its_slot_back(front: Front) -> None:
    await front.start()

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None: ...

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/events",
        "query_string": b"",
        "http_version": "2",
        "headers": [],
    }
    task = asyncio.ensure_future(front.app(scope, receive, send))
    await until(lambda: front.hub.streams == 1, "the stream")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert front.hub.streams == 0


async def test_who_was_let_in_and_then_had_to_wait_for_its_head_is_turned_away_when_the_pod_is_full_by_then(
    front: Front,
) -> None:
    """A client that does not read holds back its own head: it must not come in later as one more than there are slots."""
    port = await front.start()
    held = asyncio.Event()
    answers: list[Any] = []

    async def send(message: Any) -> None:
        await held.wait()
        answers.append(message)

    async def receive() -> Any:
        await asyncio.Event().wait()

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/events",
        "query_string": b"",
        "http_version": "2",
        "headers": [],
    }
    late = asyncio.ensure_future(front.app(scope, receive, send))
    await asyncio.sleep(0)
    peers = [await Peer.connect(port) for _ in range(3)]
    for peer in peers:
        await peer.send(STREAM)
        await peer.read(BEGUN)
    held.set()
    await late
    assert front.hub.streams == 3
    assert answers[0]["status"] == 200
    assert answers[1] == {
        "type": "http.response.body",
        "body": b"retry: 1000\n\n: full, come back\n\n",
        "more_body": False,
    }
    assert front.hub.refused == {"full": 1}
