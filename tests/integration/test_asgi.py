"""The same response without the hand-off: through `send`, on plain ASGI and on another server."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, MutableMapping
from typing import Any

import pytest
import uvicorn

from ssecast.access import Open
from ssecast.app import create_app
from ssecast.events import Events, EventsOptions
from ssecast.frame import Event
from ssecast.hub import TICK, Hub, HubOptions
from ssecast.limits import Limits
from ssecast.log import EventLog
from ssecast.pump import Pump
from ssecast.sockets import Flusher, bind
from tests.harness import Client, until
from tests.sse_parser import EventStreamParser


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    """A hub that a real pump drives; its log begins at a-0."""
    pump = Pump(asyncio.get_running_loop())
    flusher = Flusher(2)
    log = EventLog(1000, 1 << 20, "a", 0)
    hub = Hub(log, flusher.write_many, pump.wake, lambda _: 1000, HubOptions(heartbeat=1.0))
    pump.start(hub)
    yield hub
    pump.stop()
    flusher.close()


def app_of(hub: Hub, max_age: float = 0.0) -> Any:
    options = EventsOptions(1000, 0, max_age)
    limits = Limits(hub, 100, lambda: False)
    events = Events(hub, options, limits, Open(("events.>",)), lambda sub, _: hub.close(sub, "error"))
    return create_app(events, subjects=("events.>",), publish=None, page=False, max_payload_bytes=1000)


def publish(hub: Hub, first: int, last: int) -> None:
    for seq in range(first, last + 1):
        hub.publish(Event("events.x", seq, str(seq).encode()))


class Call:
    """One request to an ASGI app, without a server and without a socket."""

    def __init__(self, app: Any, query: str = "", may_send: asyncio.Event | None = None, **headers: str) -> None:
        self.may_send = may_send or asyncio.Event()
        if may_send is None:
            self.may_send.set()
        self.sent: list[MutableMapping[str, Any]] = []
        self.parser = EventStreamParser()
        self.data: list[str] = []
        self.gone = asyncio.Event()
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "2",
            "method": "GET",
            "path": "/events",
            "raw_path": b"/events",
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
        }
        self.task = asyncio.ensure_future(app(scope, self.receive, self.send))

    async def receive(self) -> MutableMapping[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        await self.may_send.wait()
        self.sent.append(message)
        events = self.parser.feed(message.get("body", b""))
        self.data += [event.data for event in events if event.name == "message"]


async def test_events_leave_through_send_where_no_connection_can_be_had(hub: Hub) -> None:
    publish(hub, 1, 3)
    call = Call(app_of(hub), last_event_id="a-1")
    await until(lambda: call.data == ["2", "3"], "the replay")
    publish(hub, 4, 5)
    await until(lambda: call.data == ["2", "3", "4", "5"], "live events")
    assert (b"connection", b"close") not in call.sent[0]["headers"]
    call.gone.set()
    await call.task
    assert hub.streams == 0
    assert hub.closed["client"] == 1


async def test_an_orderly_close_ends_the_body(hub: Hub) -> None:
    call = Call(app_of(hub))
    await until(lambda: hub.streams == 1, "the stream")
    for sub in list(hub.wheel):
        hub.close(sub, "drain")
    await call.task
    assert call.sent[-1]["more_body"] is False
    assert call.parser.retry == 1000


async def test_a_stream_ends_at_its_age_in_good_order(hub: Hub) -> None:
    """Though all that it is sent waits in user space for a moment, as a full socket would make it."""
    app = app_of(hub, max_age=2.0)
    begin = time.monotonic()
    calls = [Call(app) for _ in range(10)]
    await until(lambda: hub.streams == 10, "all streams")
    seq = 0
    while not all(call.task.done() for call in calls):
        seq += 1
        publish(hub, seq, seq)
        await asyncio.sleep(0.01)
    assert time.monotonic() - begin >= 2.0 * 0.8 - 2 * TICK
    assert hub.closed == {"age": 10}
    assert hub.cut == 0
    for call in calls:
        assert call.sent[-1]["more_body"] is False
        assert call.parser.retries == [1000, 1000]
        assert call.parser.idle
        assert call.data == [str(number) for number in range(1, len(call.data) + 1)]


async def test_a_drain_waits_for_what_a_send_is_taking(hub: Hub) -> None:
    free = asyncio.Event()
    free.set()
    call = Call(app_of(hub), may_send=free)
    await until(lambda: hub.streams == 1, "the stream")
    await until(lambda: bool(call.sent), "its head")
    await until(lambda: call.parser.last_id != "", "its first block")
    free.clear()
    publish(hub, 1, 1)
    hub.departures.drain(time.monotonic(), 10.0)
    await until(lambda: bool(hub.departures.leaving), "its time")
    assert not call.task.done()
    free.set()
    await call.task
    assert (call.data, call.parser.retries, hub.closed, hub.cut) == (["1"], [1000, 1000], {"drain": 1}, 0)


async def test_a_send_that_blocks_holds_back_its_own_stream_only(hub: Hub) -> None:
    app = app_of(hub)
    stuck, free = Call(app, may_send=asyncio.Event()), Call(app)
    await until(lambda: hub.streams == 1, "the free stream")
    publish(hub, 1, 50)
    await until(lambda: len(free.data) == 50, "all events at the free one")
    assert not stuck.data
    stuck.may_send.set()
    await until(lambda: hub.streams == 2, "the other stream")
    publish(hub, 51, 51)
    await until(lambda: stuck.data == free.data[-1:] == ["51"], "the event at both")
    for call in (stuck, free):
        call.gone.set()
        await call.task


async def test_another_server_streams_without_the_hand_off(hub: Hub) -> None:
    [sock] = bind("127.0.0.1", 0, 10)
    config = uvicorn.Config(app_of(hub), http="h11", lifespan="off", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[assignment, method-assign]
    serving = asyncio.ensure_future(server.serve(sockets=[sock]))
    client = await Client.open(sock.getsockname()[1])
    publish(hub, 1, 3)
    assert await client.has(3) == ["1", "2", "3"]
    await client.close()
    await until(lambda: hub.streams == 0, "the slot back")
    server.should_exit = True
    await serving
