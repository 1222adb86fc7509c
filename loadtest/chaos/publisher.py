"""Publishes at a steady rate whatever happens, and keeps at each event until JetStream has acknowledged it.

Each event goes by its number as `Nats-Msg-Id`: asked again, JetStream says where it was stored the first time.
"""

import asyncio
import contextlib
import time
from typing import Self

import nats
import nats.errors
from nats.aio.client import Client
from nats.js import JetStreamContext

from loadtest.chaos.traffic import name_of, payload, subject_of
from loadtest.chaos.truth import Span, Stored, Truth

ANSWER_SECONDS = 2.0
AGAIN_SECONDS = 0.1
IN_FLIGHT_MOST = 5000
EVENT_NAME = "Ssecast-Event"
MESSAGE_ID = "Nats-Msg-Id"


def now_ms() -> int:
    return time.monotonic_ns() // 1_000_000


def clocks_ms() -> int:
    """What the wall clock is ahead of the monotonic one."""
    return (time.time_ns() - time.monotonic_ns()) // 1_000_000


class Publisher:
    """Numbers its events from 1. attempts: how often it published, for that many events or fewer."""

    def __init__(self, url: str, rate: float, truth: Truth) -> None:
        self.url, self.rate, self.truth = url, rate, truth
        self.number = 0
        self.attempts = 0
        self._flowing = asyncio.Event()
        self._in_flight: set[asyncio.Task[None]] = set()
        self.client: Client | None = None
        self.failed: BaseException | None = None
        self._resting_since = 0

    async def start(self) -> Self:
        self.client = await nats.connect(
            self.url, max_reconnect_attempts=-1, reconnect_time_wait=0.2, ping_interval=2, error_cb=_ignore
        )
        self._task = asyncio.create_task(self._run())
        return self

    @property
    def jetstream(self) -> JetStreamContext:
        assert self.client is not None
        return self.client.jetstream(timeout=ANSWER_SECONDS)

    @property
    def in_flight(self) -> int:
        return len(self._in_flight)

    def go_on(self) -> None:
        if self._resting_since:
            self.truth.rests.append(Span(self._resting_since, now_ms()))
            self._resting_since = 0
        self._flowing.set()

    async def rest(self) -> None:
        """Publishes nothing more until it is told to go on; returns when all is acknowledged."""
        self._flowing.clear()
        while self._in_flight:
            await asyncio.wait(set(self._in_flight))
        if self.failed is not None:
            raise self.failed
        self._resting_since = self._resting_since or now_ms()

    def burst(self, count: int) -> None:
        """Publishes some events at once, beside the steady ones."""
        for _ in range(min(count, IN_FLIGHT_MOST - self.in_flight)):
            self._publish_next()

    async def stop(self) -> None:
        tasks = [self._task, *self._in_flight]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.client is not None:
            with contextlib.suppress(nats.errors.Error, OSError):
                await asyncio.wait_for(self.client.close(), ANSWER_SECONDS)

    async def _run(self) -> None:
        due = time.monotonic()
        while True:
            while not self._flowing.is_set():  # again: it may have been told to rest once more before this ran
                await self._flowing.wait()
                due = time.monotonic()
            if self.in_flight < IN_FLIGHT_MOST:
                self._publish_next()
            due += 1 / self.rate
            await asyncio.sleep(max(due - time.monotonic(), 0))

    def _publish_next(self) -> None:
        self.number += 1
        task = asyncio.create_task(self._publish(self.number))
        self._in_flight.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.failed = self.failed or task.exception()

    async def _publish(self, number: int) -> None:
        sent, era = now_ms(), len(self.truth.eras) - 1
        headers = {MESSAGE_ID: str(number)}
        if name_of(number):
            headers[EVENT_NAME] = name_of(number)
        seq = 0
        while not seq:
            self.attempts += 1
            try:
                seq = await self._attempt(number, headers)
            except (nats.errors.Error, OSError):
                await asyncio.sleep(AGAIN_SECONDS)
        self.truth.store(Stored(number, subject_of(number), era, seq, sent, now_ms()))

    async def _attempt(self, number: int, headers: dict[str, str]) -> int:
        data = payload(number, time.monotonic_ns())
        answer = await self.jetstream.publish(subject_of(number), data, timeout=ANSWER_SECONDS, headers=headers)
        return answer.seq


async def _ignore(_: Exception) -> None:
    """nats-py would print every error that a restart of the server brings."""
