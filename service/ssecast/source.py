"""The NATS side of a pod: follows the stream with a consumer of its own and feeds the hub, in order and without holes.

A consumer lives until the least doubt about its order; then the next one goes on after the log's head. What cannot be
had any more is a break, and said. It reconnects for ever.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import (
    DEFAULT_SUB_PENDING_BYTES_LIMIT,
    DEFAULT_SUB_PENDING_MSGS_LIMIT,
    Subscription,
)

from ssecast.dial import CONNECT_SECONDS, Address, dial, until_cancelled
from ssecast.feed import Delivery, Feed
from ssecast.frame import Event, refusal
from ssecast.hub import Hub
from ssecast.jetstream import EVENT_NAME, JetStream, JetStreamError, StreamLimits, StreamState, base36
from ssecast.subjects import covered

FIRST_DELAY, LONGEST_DELAY = 0.25, 2.0
"""Seconds between two attempts, doubled each time."""

ADVANCE_SECONDS = 2.0
"""An idle pod asks this often whether the stream went on with subjects of others."""

COMPLAINTS_MAX = 1000
"""Subjects that are remembered so that each is complained about once."""

log = structlog.get_logger()

Trace = Callable[[str, Mapping[str, str] | None], None]
"""Told the subject and the headers of every event."""


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """Values, not settings. stream: empty for core NATS. The pending limits are those of nats-py's queue."""

    nats_url: str
    subjects: tuple[str, ...]
    stream: str
    creds_file: str | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    max_age_seconds: float = 600.0
    max_bytes: int = 2**30
    replicas: int = 1
    storage: str = "file"
    warm_events: int = 100_000
    warm_bytes: int = 2**26
    max_payload_bytes: int = 2**20
    pending_msgs: int = DEFAULT_SUB_PENDING_MSGS_LIMIT
    pending_bytes: int = DEFAULT_SUB_PENDING_BYTES_LIMIT

    @property
    def address(self) -> Address:
        return Address(self.nats_url, self.creds_file, self.ca_file, self.cert_file, self.key_file)

    @property
    def limits(self) -> StreamLimits:
        return StreamLimits(self.max_age_seconds, self.max_bytes, self.replicas, self.storage)


class Source:
    """Feeds one hub for as long as `run` runs.

    ready: the log was warmed once. problem: what is wrong now, empty when nothing is. lag_events: what the consumer had
    left to deliver after the last message. restarts: consumers that had to be made anew, by reason.
    """

    def __init__(self, hub: Hub, options: SourceOptions, time_ns: Callable[[], int]) -> None:
        self.hub, self.options, self.time_ns = hub, options, time_ns
        self.ready = False
        self.problem = "starting"
        self.lag_events = 0
        self.restarts: Counter[str] = Counter()
        self.trace: Trace | None = None
        self.nc: Client | None = None
        self.jetstream = JetStream(lambda: self.nc, options.stream) if options.stream else None
        self._up = asyncio.Event()
        self._last_ns = 0
        self._warm_until = 0
        self._feed: Feed | None = None
        self._unsure = False
        self._first, self._first_holds_until = 0, 0
        self._narrow = False
        self._core: set[Subscription] = set()
        self._core_broken: asyncio.Future[str] | None = None
        self._core_ended = ""
        self._complained: set[str] = set()

    @property
    def lag_seconds(self) -> float:
        """Age of the last message while more are known to wait, else 0."""
        known = self.lag_events and self._last_ns
        return max(0.0, (self.time_ns() - self._last_ns) / 1e9) if known else 0.0

    async def run(self) -> None:
        """Connects and feeds the hub until it is cancelled."""
        try:
            await until_cancelled(self._run())
        finally:
            client, self.nc = self.nc, None
            if client is not None:
                await client.close()

    async def _run(self) -> None:
        while True:
            self.nc = await self._connect()
            self._up.set()
            await self._follow(self.nc)
            self.nc = None

    async def publish(
        self, subject: str, data: bytes, name: str | None = None, message_id: str | None = None
    ) -> tuple[int, bool]:
        """Publishes an event; returns its sequence and whether it is a duplicate. Raises JetStreamError.

        Core NATS knows neither: there the sequence is that of the head.
        """
        if self.jetstream is not None:
            return await self.jetstream.publish(subject, data, name, message_id)
        if self.nc is None or not self.nc.is_connected:
            raise JetStreamError("NATS is not connected")
        try:
            await self.nc.publish(subject, data, headers={EVENT_NAME: name} if name else None)
            await self.nc.flush(CONNECT_SECONDS)
        except (nats.errors.Error, OSError) as error:
            raise JetStreamError(f"NATS: {error}") from error
        return self.hub.log.head, False

    # The connection

    async def _connect(self) -> Client:
        delay = FIRST_DELAY
        while True:
            try:
                return await dial(self.options.address, self._on_error, self._on_disconnected, self._on_up)
            except Exception as error:  # nats-py lets through what TLS, name lookup and key files raise
                self._say(
                    f"NATS at {self.options.address.hosts} cannot be reached: {str(error) or type(error).__name__}"
                )
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))
            delay = min(2 * delay, LONGEST_DELAY)

    async def _on_error(self, error: Exception) -> None:
        if isinstance(error, nats.errors.SlowConsumerError):
            if self.jetstream is not None:
                self.jetstream.overflowed(error.sub)
            if error.sub in self._core:
                self._break_core("overflow")
        elif self.nc is not None and self.nc.is_connected:  # else it is part of a problem that is said already
            log.warning("NATS", error=str(error) or type(error).__name__)

    async def _on_disconnected(self) -> None:
        self._up.clear()
        if self.nc is None:  # closed by ourselves
            return
        self._say(f"the connection to NATS at {self.options.address.hosts} broke")
        if self.jetstream is not None:
            self.jetstream.disconnected()
        self._break_core("disconnected")

    async def _on_up(self) -> None:
        """Connected again, or closed for good: either way there is something to do."""
        self._up.set()

    def _say(self, problem: str) -> None:
        """Notes what is wrong; logs it when it is news."""
        if problem != self.problem:
            self.problem = problem
            log.warning("not following NATS", problem=problem)

    def _fine(self) -> None:
        if self.problem:
            self.problem = ""
            log.info("following NATS", hosts=self.options.address.hosts, position=str(self.hub.log.position))

    # One consumer after the other

    async def _follow(self, client: Client) -> None:
        """Until nats-py closes the connection for good, as it does when the server throws it out."""
        delay = FIRST_DELAY
        while not client.is_closed:
            if not client.is_connected:
                with suppress(TimeoutError):  # nats-py does not tell of every way to close
                    await asyncio.wait_for(self._up.wait(), 1.0)
                continue
            try:
                self.restarts[await self._live(client)] += 1
                delay = FIRST_DELAY
            except JetStreamError as error:
                self._say(str(error))
                await asyncio.sleep(delay * random.uniform(0.5, 1.0))
                delay = min(2 * delay, LONGEST_DELAY)

    async def _live(self, client: Client) -> str:
        """The life of one consumer; returns what ended it."""
        if self.jetstream is None:
            return await self._live_core(client)
        state = await self.jetstream.ensure(self.options.subjects, self.options.limits)
        self._go_on(state)
        self._warm_until, self._unsure, self._first_holds_until = state.last, True, 0
        self._narrow = state.is_copy or not all(covered(each, self.options.subjects) for each in state.subjects)
        limits = (self.options.pending_msgs, self.options.pending_bytes)
        self._feed = Feed(self.jetstream, self.hub.log.head + 1, self.options.subjects, self._take, *limits)
        async with self._feed as feed:
            if feed.consumer_seq == 0:
                self.lag_events = feed.num_pending
            if feed.num_pending == 0:
                self.hub.advance(state.last)
                self._warmed()
            if self.ready:
                self._fine()
            idle = asyncio.create_task(self._advance_when_idle(self.jetstream, feed))
            try:
                return await feed.broken
            finally:
                idle.cancel()

    def _go_on(self, state: StreamState) -> None:
        """Compares what the log holds with what the stream is, and starts the log anew where they do not fit."""
        own = self.hub.log
        if state.epoch != own.epoch:
            self._break("epoch", state.epoch, self._tail(state))
        elif state.last < own.head:
            self._break("rewound", state.epoch, state.last)
        elif own.head + 1 < state.first:
            self._break("expired", state.epoch, state.first - 1)

    def _tail(self, state: StreamState) -> int:
        """The seq after which a new log begins, so that it holds about what it may."""
        events = self.options.warm_events
        if state.bytes:
            events = min(events, max(1, self.options.warm_bytes * state.messages // state.bytes))
        return max(state.first, state.last - events + 1) - 1

    def _break(self, reason: str, epoch: str, seq: int) -> None:
        """Before the log was warm once, nobody has a stream that could be interrupted."""
        if not self.ready:
            self.hub.log.start(epoch, seq)
            return
        log.error("events were missed", reason=reason, before=str(self.hub.log.position), after=f"{epoch}-{seq}")
        self.hub.interrupt(reason, epoch, seq)

    async def _take(self, delivery: Delivery) -> None:
        event, feed = delivery.event, self._feed
        assert feed is not None
        if event.seq > self.hub.log.head + 1 and (not self._narrow or self._behind(delivery)):
            await self._look_for_hole(feed, event.seq)
            if feed.broken.done():
                return
        self._unsure = False
        self.lag_events, self._last_ns = delivery.pending, event.time_ns
        self._admit(event, delivery.headers)
        if not self.ready and (delivery.pending == 0 or event.seq >= self._warm_until):
            self._warmed()

    def _behind(self, delivery: Delivery) -> bool:
        """On a stream with subjects of others every other event may be a jump. One that is delivered as it is stored
        is not looked into: that would cost a request per event, and no sane limit removes events within a millisecond.
        """
        return self._unsure or self.lag_events > 0 or delivery.pending > 0

    async def _look_for_hole(self, feed: Feed, seq: int) -> None:
        """Sequences jump where subjects of others or deleted events lie between, but also where the stream's limits
        were faster than this pod: the consumer passes that over in silence.

        A first sequence read now tells of every jump among the messages that have arrived: one look for all of them.
        """
        assert self.jetstream is not None
        if feed.received > self._first_holds_until:
            arrived = feed.received + feed.waiting
            state = await self.jetstream.state()
            if state.epoch != self.hub.log.epoch:
                feed.fail("stream")
                return
            self._first, self._first_holds_until = state.first, arrived
        if self.hub.log.head + 1 < self._first:
            self._break("expired", self.hub.log.epoch, seq - 1)

    def _admit(self, event: Event, headers: Mapping[str, str] | None) -> None:
        if event.seq <= self.hub.log.head:
            return
        refused = refusal(event.data, event.name, self.options.max_payload_bytes)
        if refused is not None:
            self._drop(event, refused.value)
            return
        if self.trace is not None:
            self.trace(event.subject, headers)
        self.hub.publish(event)

    def _drop(self, event: Event, reason: str) -> None:
        self.hub.dropped[reason] += 1
        self.hub.advance(event.seq)
        if event.subject not in self._complained and len(self._complained) < COMPLAINTS_MAX:
            self._complained.add(event.subject)
            log.warning("an event cannot be broadcast", reason=reason, subject=event.subject, bytes=len(event.data))

    def _warmed(self) -> None:
        if not self.ready:
            self.ready = True
            log.info("warm", position=str(self.hub.log.position), events=len(self.hub.log))
        self._fine()

    async def _advance_when_idle(self, jetstream: JetStream, feed: Feed) -> None:
        """Keeps a narrow pod on a wide stream from falling behind the stream's first sequence."""
        seen = feed.consumer_seq
        while not feed.broken.done():
            await asyncio.sleep(ADVANCE_SECONDS)
            if seen == feed.consumer_seq:
                with suppress(JetStreamError):
                    await self._advance(jetstream, feed)
            seen = feed.consumer_seq

    async def _advance(self, jetstream: JetStream, feed: Feed) -> None:
        """The order matters: what was stored up to `last` is delivered when nothing is pending later."""
        head = self.hub.log.head
        state = await jetstream.state()
        if state.epoch != self.hub.log.epoch or state.last < head:
            feed.fail("stream")
        elif state.last > self.hub.log.head:
            delivered, pending = await jetstream.consumer_info(feed.name)
            if pending == 0 and delivered == feed.consumer_seq and not feed.broken.done():
                self.lag_events = 0  # a purge may have taken what was left to deliver
                self.hub.advance(state.last)

    # Core NATS

    async def _live_core(self, client: Client) -> str:
        """Subscriptions instead of a consumer; sequences are the pod's own, and whatever ends them is a break."""
        own = self.hub.log
        if not own.epoch:
            own.start(base36(self.time_ns() // 1000), 0)
        if self._core_ended:
            self._break(self._core_ended, own.epoch, own.head + 1)
            self._core_ended = ""
        broken: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._core_broken = broken
        try:
            await self._subscribe(client)
            self._warmed()
            self._core_ended = await broken
        except (nats.errors.Error, OSError) as error:
            raise JetStreamError(f"NATS: {error}") from error
        finally:
            for subscription in self._core:
                with suppress(nats.errors.Error, OSError):
                    await subscription.unsubscribe()
            self._core.clear()
        return self._core_ended

    async def _subscribe(self, client: Client) -> None:
        limits = (self.options.pending_msgs, self.options.pending_bytes)
        for subject in self.options.subjects:
            self._core.add(
                await client.subscribe(
                    subject, cb=self._take_core, pending_msgs_limit=limits[0], pending_bytes_limit=limits[1]
                )
            )
        await client.flush(CONNECT_SECONDS)

    async def _take_core(self, msg: Msg) -> None:
        if self._core_broken is None or self._core_broken.done():
            return
        name = (msg.headers.get(EVENT_NAME) if msg.headers else None) or None
        self._admit(Event(msg.subject, self.hub.log.head + 1, msg.data, name, self.time_ns()), msg.headers)

    def _break_core(self, reason: str) -> None:
        if self._core_broken is not None and not self._core_broken.done():
            self._core_broken.set_result(reason)
