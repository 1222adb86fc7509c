"""Follows the JetStream stream: one consumer after the other, each checked against what the log holds.

A consumer lives until the least doubt about its order; then the next one goes on after the log's head. What cannot be
had any more is a break, and said.
"""

import asyncio
import random
from dataclasses import dataclass
from typing import Protocol

from ssecast.feed import Delivery, Feed
from ssecast.frame import Event, refusal
from ssecast.intake import Intake
from ssecast.jetstream import JetStream, StreamLimits, StreamState
from ssecast.refusals import STREAM_NOT_FOUND, JetStreamError, Unanswered
from ssecast.subjects import covered

LOOK_SECONDS = 5.0
"""Between two looks at the stream while a consumer is followed: somebody may have changed it, or nobody may answer."""

LOOKS_UNANSWERED = 3
"""So many looks in vain, and the connection is not believed any more, though its heartbeats come: a server that is cut
off from its cluster sends those too."""

REWIND_LOOKS, REWIND_SECONDS = 6, 0.5
"""In a cluster the server that tells the stream's state may be behind the one whose consumer this pod has: a state below
the head is looked at again before it counts as a rewind."""


@dataclass(frozen=True, slots=True)
class FollowerOptions:
    """limits: what a missing stream is created with. warm_*: about what the log may hold. pending: nats-py's queue."""

    subjects: tuple[str, ...]
    limits: StreamLimits
    warm_events: int
    warm_bytes: int
    pending: tuple[int, int]


class Report(Protocol):
    """Who is told how it goes."""

    def fine(self) -> None:
        """The stream is followed, and can serve."""

    def trouble(self, problem: str) -> None:
        """Something is wrong with the stream, in words."""


class Follower:
    """Feeds the intake from one stream."""

    def __init__(self, jetstream: JetStream, intake: Intake, options: FollowerOptions, report: Report) -> None:
        self._jetstream, self._intake, self._hub = jetstream, intake, intake.hub
        self._options, self._report = options, report
        self._feed: Feed | None = None
        self._warm_until = 0
        self._unsure = False
        self._first, self._first_holds_until = 0, 0
        self._narrow = False

    async def live(self) -> str:
        """The life of one consumer; returns what ended it. Raises JetStreamError where none can be had."""
        state = await self._go_on(await self._jetstream.ensure(self._options.subjects, self._options.limits))
        self._warm_until, self._unsure, self._first_holds_until = state.last, True, 0
        self._narrow = self._is_narrow(state)
        self._feed = Feed(
            self._jetstream, self._start(), self._options.subjects, self._take, self._idle, self._options.pending
        )
        async with self._feed as feed:
            if feed.consumer_seq == 0:
                self._intake.lag_events = feed.num_pending
            if feed.num_pending == 0:
                self._intake.warmed()
            if self._intake.ready:
                self._report.fine()
            looking = asyncio.create_task(self._look_regularly(feed))
            try:
                return await feed.broken
            finally:
                looking.cancel()

    def doubt(self) -> None:
        """Ends the life of the consumer: the next one begins with a look at the stream."""
        if self._feed is not None:
            self._feed.fail("stream")

    # What the stream is, against what the log holds

    async def _go_on(self, state: StreamState) -> StreamState:
        """Starts the log anew where the two do not fit; returns the state by which it was decided."""
        own = self._hub.log
        for _ in range(REWIND_LOOKS if state.replicas > 1 else 0):
            if state.epoch != own.epoch or state.last >= own.head:
                break
            await asyncio.sleep(REWIND_SECONDS)
            state = await self._jetstream.state()
        if state.epoch != own.epoch:
            self._intake.miss("epoch", state.epoch, self._tail(state))
        elif state.last < own.head:
            self._intake.miss("rewound", state.epoch, state.last)
        elif own.head + 1 < state.first:
            self._intake.miss("expired", state.epoch, state.first - 1)
        return state

    def _tail(self, state: StreamState) -> int:
        """The seq after which a new log begins, so that it holds about what it may."""
        events = self._options.warm_events
        if state.bytes:
            events = min(events, max(1, self._options.warm_bytes * state.messages // state.bytes))
        return max(state.first, state.last - events + 1) - 1

    def _start(self) -> int:
        """A consumer begins with the newest event that the log has: that it is still the same one is all that tells a
        stream that was rewound, and has grown past the head since, from the one that this pod knows."""
        newest = self._hub.log.newest
        return newest.seq if newest is not None else self._hub.log.head + 1

    def _is_narrow(self, state: StreamState) -> bool:
        """Whether the stream may hold what this pod does not serve."""
        return state.is_copy or not all(covered(each, self._options.subjects) for each in state.subjects)

    # Events, and the silence between them

    async def _take(self, delivery: Delivery) -> None:
        event, feed = delivery.event, self._feed
        assert feed is not None
        if event.seq > self._hub.log.head + 1 and (not self._narrow or self._behind(delivery.pending)):
            await self._look_for_hole(feed, event.seq)
            if feed.broken.done():
                return
        self._unsure = False
        self._intake.lag_events, self._intake.last_ns = delivery.pending, event.time_ns
        if not self._is_known(event):
            self._intake.admit(event, delivery.headers)
        if not self._intake.ready and (delivery.pending == 0 or event.seq >= self._warm_until):
            self._intake.warmed()
            self._report.fine()

    async def _idle(self, seq: int) -> None:
        """The head moves without an event too, so that a narrow pod on a wide stream does not fall behind the stream's
        first sequence.

        What a consumer itself says is the one sound measure: in a cluster the stream's state comes from another server,
        which may have stored what this consumer has yet to see.
        """
        feed = self._feed
        assert feed is not None
        if seq > self._hub.log.head and (not self._narrow or self._behind(0)):
            await self._look_for_hole(feed, seq + 1)  # a purge, say, took what was left to deliver
            if feed.broken.done():
                return
        self._unsure = False
        self._intake.lag_events = 0
        self._hub.advance(seq)

    def _is_known(self, event: Event) -> bool:
        """Whether the log has it already. One that differs from what the log has in its place, or is where the log
        knows that nothing was, is of another past: the stream was rewound, and then went on."""
        own = self._hub.log
        if event.seq > own.head:
            return False
        if event.seq <= own.floor or refusal(event.data, event.name, self._intake.max_payload_bytes) is not None:
            return True
        known = own.after(event.seq - 1, event.seq, 1)
        if known and known[0].time_ns == event.time_ns:
            return True
        self._intake.miss("rewound", own.epoch, event.seq - 1)
        return False

    def _behind(self, pending: int) -> bool:
        """On a stream with subjects of others every other event may be a jump. One that is delivered as it is stored
        is not looked into: that would cost a request per event, and no sane limit removes events within a millisecond.
        """
        return self._unsure or self._intake.lag_events > 0 or pending > 0

    async def _look_for_hole(self, feed: Feed, seq: int) -> None:
        """Sequences jump where subjects of others or deleted events lie between, but also where the stream's limits
        were faster than this pod: the consumer passes that over in silence.

        A first sequence read now tells of every jump among the messages that have arrived: one look for all of them.
        """
        if feed.received > self._first_holds_until:
            arrived = feed.received + feed.waiting
            state = await self._jetstream.state()
            if state.epoch != self._hub.log.epoch:
                feed.fail("stream")
                return
            self._first, self._first_holds_until = state.first, arrived
        if self._hub.log.head + 1 < self._first:
            self._intake.miss("expired", self._hub.log.epoch, seq - 1)

    # Looks at the stream

    async def _look_regularly(self, feed: Feed) -> None:
        unanswered = 0
        while unanswered < LOOKS_UNANSWERED:
            await asyncio.sleep(LOOK_SECONDS * random.uniform(0.8, 1.2))
            try:
                await self._look(feed)
                unanswered = 0
            except JetStreamError as error:
                if feed.broken.done():  # nats-py may have swallowed the cancellation that came with it
                    return
                unanswered += isinstance(error, Unanswered)
                self._report.trouble(str(error))
        feed.fail("unanswered")

    async def _look(self, feed: Feed) -> None:
        """Raises JetStreamError with what is wrong with a stream that is followed all the same."""
        head = self._hub.log.head
        try:
            state = await self._jetstream.state()
        except JetStreamError as error:
            if error.code != STREAM_NOT_FOUND:
                raise
            feed.fail("stream")
            return
        if state.epoch != self._hub.log.epoch or state.last < head:
            feed.fail("stream")
            return
        self._narrow = self._is_narrow(state)
        if (
            not self._narrow and self._hub.log.head == head
        ):  # what a stalled consumer does not deliver, it does not tell
            self._intake.lag_events = max(self._intake.lag_events, state.last - head)
        self._jetstream.check(state, self._options.subjects)
        if self._intake.ready:
            self._report.fine()
