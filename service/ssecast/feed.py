"""One consumer's messages in the order of the stream, or word that some were lost.

It stands in for nats-py's ordered consumer, which passes holes over in silence.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import NamedTuple

import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from ssecast.frame import Event
from ssecast.jetstream import EVENT_NAME, JetStream
from ssecast.refusals import JetStreamError

HEARTBEAT_SECONDS = 1.0
MISSED_HEARTBEATS = 3


class Delivery(NamedTuple):
    """One message of a consumer. pending: what the consumer has left to deliver after it."""

    event: Event
    consumer_seq: int
    pending: int
    headers: dict[str, str] | None


def parse(msg: Msg) -> Delivery:
    """A message as a Delivery, its numbers read from the reply subject. Raises ValueError where it has none.

    `$JS.ACK.stream.consumer.delivered.seq.consumer_seq.time.pending`, or with domain and account after `ACK` (11 or
    12 tokens).
    """
    tokens = msg.reply.split(".")
    at = 5 if len(tokens) == 9 else 7
    if tokens[:2] != ["$JS", "ACK"] or len(tokens) not in (9, 11, 12):
        raise ValueError(f"{msg.reply!r} is not the reply subject of a JetStream message")
    seq, consumer_seq, time_ns, pending = (int(token) for token in tokens[at : at + 4])
    name = (msg.headers.get(EVENT_NAME) if msg.headers else None) or None
    return Delivery(Event(msg.subject, seq, msg.data, name, time_ns), consumer_seq, pending, msg.headers)


class Feed:
    """One consumer's messages in the order of the stream, from start_seq on, or word that some were lost.

    `take` is awaited for each message, one at a time; `idle`, between two of them, with a sequence up to which the
    consumer has looked: whatever was ours below it has been taken. `broken` comes true with the reason when the order
    cannot be vouched for any more; nothing is taken after that. Use it in `async with`; entering raises JetStreamError.
    """

    def __init__(
        self,
        jetstream: JetStream,
        start_seq: int,
        filter_subjects: tuple[str, ...],
        take: Callable[[Delivery], Awaitable[None]],
        idle: Callable[[int], Awaitable[None]],
        pending: tuple[int, int],
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        self.num_pending = 0
        self.name = ""
        self.consumer_seq = 0
        self.received = 0
        self._sound: int | None = None
        self.broken: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._jetstream, self._take, self._idle = jetstream, take, idle
        self._start_seq, self._filter = start_seq, filter_subjects
        self._limits, self._heartbeat_seconds = pending, heartbeat_seconds
        self._subscription: Subscription | None = None
        self._watchdog: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Feed":
        try:
            await self._open()
        except BaseException:
            await self.__aexit__()
            raise
        self._watchdog = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.fail("closed")
        if self._watchdog is not None:
            self._watchdog.cancel()
        if self._subscription is None:
            return
        self._jetstream.forget(self._subscription)
        # nats-py refuses on a closed connection; there is nothing to unsubscribe from then.
        with suppress(nats.errors.Error, OSError):
            await self._subscription.unsubscribe()
        if self.name:
            await self._jetstream.delete_consumer(self.name)

    @property
    def waiting(self) -> int:
        """Messages that have come and are not taken yet."""
        return self._subscription.pending_msgs if self._subscription is not None else 0

    def fail(self, reason: str) -> None:
        """The order cannot be vouched for any more."""
        if not self.broken.done():
            self.broken.set_result(reason)

    def overflow(self) -> None:
        """A message was dropped: those that wait now came before it and are taken still, or a small limit would let
        nothing through for ever."""
        if self._sound is None:
            self._sound = self.received + self.waiting
        if self.received >= self._sound:
            self.fail("overflow")

    async def _open(self) -> None:
        client = self._jetstream.client
        inbox = client.new_inbox()
        msgs, size = self._limits
        try:
            self._subscription = await client.subscribe(
                inbox, cb=self._receive, pending_msgs_limit=msgs, pending_bytes_limit=size
            )
        except (nats.errors.Error, OSError) as error:
            raise JetStreamError(f"NATS: {error}") from error
        self._jetstream.register(self._subscription, self)
        self.name, self.num_pending = await self._jetstream.create_consumer(
            inbox, self._start_seq, self._filter, self._heartbeat_seconds
        )

    async def _receive(self, msg: Msg) -> None:
        if self.broken.done():
            return
        self.received += 1
        await self._sort(msg)
        if self._sound is not None and self.received >= self._sound:
            self.fail("overflow")

    async def _sort(self, msg: Msg) -> None:
        try:
            # Only NATS sends a status; a publisher's own headers with one come with a reply subject of JetStream.
            if msg.headers and "Status" in msg.headers and not msg.reply.startswith("$JS.ACK."):
                await self._control(msg, msg.headers)
            else:
                await self._deliver(parse(msg))
        except JetStreamError:
            self.fail("error")
        except Exception:
            self.fail("error")
            raise

    async def _deliver(self, delivery: Delivery) -> None:
        if delivery.consumer_seq != self.consumer_seq + 1:
            self.fail("sequence")
            return
        self.consumer_seq += 1
        await self._take(delivery)

    async def _control(self, msg: Msg, headers: dict[str, str]) -> None:
        """A flow control request is answered once all that came before it was taken; so is a stall, which a heartbeat
        tells of when a request was lost.

        A heartbeat comes the way the messages come, and its counts are those of what was sent before it.
        """
        last = headers.get("Nats-Last-Consumer")
        if headers["Status"] != "100" or (last is not None and int(last) != self.consumer_seq):
            self.fail("sequence")
            return
        stalled = headers.get("Nats-Consumer-Stalled")
        if stalled or msg.reply:
            with suppress(JetStreamError, nats.errors.Error, OSError):
                await self._jetstream.client.publish(stalled or msg.reply)
        if last is not None and not stalled:
            await self._idle(int(headers.get("Nats-Last-Stream", "0")))

    async def _watch(self) -> None:
        """Silence is trouble. It is counted in looks, not by the clock: a loop that stood still proves nothing."""
        silent, received = 0, self.received
        while silent < MISSED_HEARTBEATS:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            silent = silent + 1 if self.received == received and not self.waiting else 0
            received = self.received
        self.fail("heartbeat")
