"""What the Python peers share: one NATS subscription, a bounded queue for each client, and uvicorn as in production."""

import asyncio
import itertools
import os
import resource
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Generic, TypeVar

import nats
import uvicorn
from nats.aio.msg import Msg
from starlette.types import ASGIApp

SUBJECT = "bench.>"
HEARTBEAT_SECONDS = 15  # as the pod's
QUEUE_EVENTS = 256  # as the Go hub's channels: who is further behind misses events, and nobody waits for them
BACKLOG = 4096
SHUTDOWN_SECONDS = 1

Event = TypeVar("Event")


class Clients(Generic[Event]):
    """A queue for each client that listens; event(number, payload) is made once for all of them.

    heartbeat: what goes into all queues every HEARTBEAT_SECONDS, where the framework sends none itself. A timeout around
    each `get` would do as well, but costs a timer per event and client.
    """

    def __init__(self, event: Callable[[int, str], Event], *, heartbeat: Event | None = None) -> None:
        self._event, self._heartbeat = event, heartbeat
        self._numbers = itertools.count(1)
        self._queues: set[asyncio.Queue[Event]] = set()

    @contextmanager
    def queue(self) -> Iterator[asyncio.Queue[Event]]:
        queue: asyncio.Queue[Event] = asyncio.Queue(QUEUE_EVENTS)
        self._queues.add(queue)
        try:
            yield queue
        finally:
            self._queues.discard(queue)

    @asynccontextmanager
    async def lifespan(self, _: object) -> AsyncIterator[None]:
        """Subscribed from before the port opens until after the last stream has ended."""
        client = await nats.connect(os.environ["NATS_URL"])
        await client.subscribe(SUBJECT, cb=self._broadcast)
        await client.flush()
        heartbeats = asyncio.create_task(self._send_heartbeats())
        yield
        heartbeats.cancel()
        await client.close()

    async def _broadcast(self, message: Msg) -> None:
        self._offer(self._event(next(self._numbers), message.data.decode()))

    async def _send_heartbeats(self) -> None:
        while self._heartbeat is not None:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            self._offer(self._heartbeat)

    def _offer(self, event: Event) -> None:
        for queue in self._queues:
            if not queue.full():
                queue.put_nowait(event)


def raise_descriptor_limit() -> int:
    """As many descriptors as the machine allows this process; how many that is."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def serve(app: ASGIApp) -> None:
    """Serves on the port that the command line ends with, until SIGTERM."""
    raise_descriptor_limit()
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(sys.argv[-1]),
        loop="uvloop",
        http="httptools",
        ws="none",
        backlog=BACKLOG,
        access_log=False,
        log_level="critical",  # each stream that the shutdown cuts would be an error with its traceback
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
