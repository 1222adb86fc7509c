"""Resumes that the pod's log cannot answer: where the stream stands, and shared backfills out of it.

Thousands may wait at once, after another pod died; they share each reading of the stream's state and each backfill.
"""

import asyncio
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

import structlog

from ssecast.channel import Place, Subscriber
from ssecast.dial import Backoff, until_cancelled
from ssecast.feed import HEARTBEAT_SECONDS, Delivery, Feed
from ssecast.frame import Frame, Position, refusal
from ssecast.hub import Hub
from ssecast.jetstream import JetStream, StreamState
from ssecast.log import EventLog
from ssecast.memory import Memory
from ssecast.refusals import JetStreamError
from ssecast.source import Source
from ssecast.subjects import collide, covered, reduce

CLUSTER_HEARTBEAT_SECONDS = 0.2
"""In a cluster only a heartbeat tells that a consumer has seen all there is, and streams wait for it."""

AHEAD_SECONDS = 1.0
"""In a cluster the server that tells the stream's state may be behind others for a moment: a position ahead of it is
looked at twice."""

MAX_FILTERS = 64
"""Most subjects of one consumer; with more of them, a backfill reads all that the pod serves."""

SEGMENTS_MAX = 4
"""Backfills of full size that may be in memory at once: those that slow streams are still reading, and the next one. Where
memory is short there is the next one alone, and none is begun or kept where it is critical."""

KEPT_SECONDS = 10.0
"""So long a finished backfill is kept for who comes a little later: a dead pod's clients come over several seconds."""

LOOK_EVERY = 256
"""Events of a backfill between two looks whether anybody still waits for it."""

LOOK_BYTES = 2 * 2**20
"""Bytes of a backfill between two looks at the memory: it may bring a hundred megabytes within a second."""

PENDING_BYTES = 64 * 2**20
"""More than ever waits: NATS's flow control lets 32 MiB be under way."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ResumeOptions:
    """Bounds of one backfill."""

    max_events: int
    max_bytes: int


@dataclass(slots=True, eq=False)
class Waiter:
    """A stream that waits. cursor: from where it goes on; gap: why that is not where it asked for, empty if it is.

    counted: it was counted as a resume before. looks: how often it was found ahead of the stream. later: its next look
    is yet to come. answered: it was told where it goes on, or is gone.
    """

    sub: Subscriber
    requested: Position
    cursor: int
    counted: bool = False
    gap: str = ""
    looks: int = 0
    later: bool = False
    _answered: bool = False

    @property
    def answered(self) -> bool:
        return self._answered or self.sub.place is Place.GONE

    def answer(self) -> bool:
        """Marks it answered; True where there is somebody to tell."""
        open_still = not self.answered
        self._answered = True
        return open_still


class Kept(NamedTuple):
    """A finished backfill. first: the stream's first seq after it, 0 where it was without a jump. breaks: of the hub when
    it was made; after another one nobody knows whether it is true."""

    segment: EventLog
    filters: tuple[str, ...]
    first: int
    breaks: int


class Broken(Exception):
    """There can be no backfill now, or its order cannot be vouched for: start again."""


NO_MEMORY = "there is no memory for a backfill"


class Resumer:
    """Answers the streams that wait, in rounds: all that wait when a round begins are answered by it."""

    def __init__(self, hub: Hub, source: Source, options: ResumeOptions, memory: Memory | None = None) -> None:
        self.hub, self.source, self.options = hub, source, options
        self.memory = memory or Memory([])
        self._waiting: list[Waiter] = []
        self._wake = asyncio.Event()
        self._stuck = False
        self._segments: weakref.WeakSet[EventLog] = weakref.WeakSet()
        self._kept: Kept | None = None
        hub.on_evicted = self._go_round_again

    def lookup(self, sub: Subscriber, requested: Position) -> None:
        """Takes a waiting stream; it goes on, or gets its gap, when the stream's state is known."""
        if self.source.jetstream is None:
            self._answer_core(sub, requested)
            return
        self._add(Waiter(sub, requested, requested.seq))

    def give_back(self) -> None:
        """Lets go of all backfills: memory is critical. Who reads one is looked up again, or ends where it is slow."""
        self._kept = None
        for segment in list(self._segments):
            self._segments.discard(segment)
            self.hub.take_back(segment)

    async def run(self) -> None:
        """Answers who waits until it is cancelled. Those that wait while NATS is away wait on."""
        await until_cancelled(self._run())

    async def _run(self) -> None:
        backoff = Backoff()
        while True:
            await self._wake.wait()
            self._wake.clear()
            waiting, self._waiting = self._waiting, []
            try:
                await self._round(waiting)
                backoff.reset()
                self._tell("")
            except (JetStreamError, Broken) as error:
                self._tell(str(error), len(waiting))
                await asyncio.sleep(backoff.next())
            for waiter in waiting:
                if not waiter.answered and not waiter.later:  # the round ended early
                    self._add(waiter)

    def _tell(self, problem: str, streams: int = 0) -> None:
        """Once when resumes begin to wait, and once when they go on."""
        if bool(problem) is not self._stuck:
            self._stuck = bool(problem)
            if problem:
                log.info("resumes wait", streams=streams, why=problem)
            else:
                log.info("resumes go on")

    def _add(self, waiter: Waiter) -> None:
        self._waiting.append(waiter)
        self._wake.set()

    def _go_round_again(self, sub: Subscriber, cursor: int) -> None:
        """The log evicted what this stream needs next, before it was its turn."""
        if self.source.jetstream is None:
            self._answer_core(sub, Position(self.hub.log.epoch, cursor))
            return
        self._add(Waiter(sub, Position(self.hub.log.epoch, cursor), cursor, counted=True))

    def _answer_core(self, sub: Subscriber, requested: Position) -> None:
        if requested.epoch != self.hub.log.epoch:
            self.hub.resume_gap(sub, str(requested), self.hub.log.head, "epoch")
            return
        behind = requested.seq < self.hub.log.floor
        seq, reason = (self.hub.log.floor, "expired") if behind else (self.hub.log.head, "ahead")
        self.hub.resume_gap(sub, str(requested), seq, reason)

    async def _round(self, waiting: Sequence[Waiter]) -> None:
        jetstream = self.source.jetstream
        assert jetstream is not None
        state = await jetstream.state()  # asked for after all of them had arrived
        if state.epoch != self.hub.log.epoch:
            self.source.doubt()
            raise Broken("the source has not seen yet that the stream is another one")
        behind = [waiter for waiter in waiting if not waiter.answered and not self._answer(waiter, state)]
        behind = [waiter for waiter in behind if not self._answer_from_kept(waiter)]
        if behind:
            await self._backfill(jetstream, state, sorted(behind, key=lambda waiter: waiter.cursor))

    def _answer(self, waiter: Waiter, state: StreamState) -> bool:
        """Answers who needs no backfill; False for the others."""
        own = self.hub.log
        if waiter.requested.epoch != own.epoch:
            self._gap(waiter, own.head, "epoch")
            return True
        if waiter.cursor > max(own.head, state.last):
            if state.replicas > 1 and not waiter.looks:
                self._look_later(waiter)
            else:
                self._gap(waiter, own.head, "ahead")
            return True
        if waiter.cursor + 1 < state.first:
            waiter.cursor, waiter.gap = state.first - 1, "expired"
        rewound = self.source.rewound
        if rewound.epoch == own.epoch and waiter.cursor < rewound.seq:
            waiter.cursor, waiter.gap = rewound.seq, "rewound"
        if waiter.cursor < own.floor:
            return False
        self._go_on(waiter, waiter.cursor, "ahead" if waiter.cursor > own.head else "memory")
        return True

    def _answer_from_kept(self, waiter: Waiter) -> bool:
        kept, own = self._kept, self.hub.log
        if kept is None or kept.breaks != self.hub.breaks.total():
            return False
        segment, subjects = kept.segment, waiter.sub.channel.want.subjects
        if not segment.floor <= waiter.cursor <= segment.head or segment.head < own.floor:
            return False
        if not all(covered(subject, kept.filters) for subject in subjects):
            return False
        self._hand_over(waiter, segment, kept.first)
        return True

    def _look_later(self, waiter: Waiter) -> None:
        def come_back() -> None:
            waiter.later = False
            self._add(waiter)

        waiter.looks += 1
        waiter.later = True
        asyncio.get_running_loop().call_later(AHEAD_SECONDS, come_back)

    def _go_on(self, waiter: Waiter, cursor: int, counter: str, segment: EventLog | None = None) -> None:
        if waiter.gap:
            self._gap(waiter, cursor, waiter.gap, segment)
            return
        if waiter.answer():
            if not waiter.counted:
                self.hub.resumes[counter] += 1
            self.hub.resume(waiter.sub, cursor, segment)

    def _gap(self, waiter: Waiter, seq: int, reason: str, segment: EventLog | None = None) -> None:
        if waiter.answer():
            self.hub.resume_gap(waiter.sub, str(waiter.requested), seq, reason, segment)

    # Backfill

    async def _backfill(self, jetstream: JetStream, state: StreamState, waiting: Sequence[Waiter]) -> None:
        """One consumer for all of them, in the order of their cursors; it ends early when nobody waits any more."""
        self._kept = None
        self._make_room()
        breaks = self.hub.breaks.total()
        filters = self._filters(waiting)
        served, upto = waiting, self._upto()
        span = Span(filters, served[0].cursor, upto, alone=state.replicas == 1)
        backfill = Backfill(self, jetstream, span, waiting)
        if not await backfill.run():
            served = await self._near_enough(jetstream, waiting, filters, upto)
            if served:
                backfill = Backfill(self, jetstream, span._replace(after=served[0].cursor), served)
                await backfill.run(whatever=True)
        if backfill.abandoned:
            return
        if self.hub.breaks.total() != breaks:
            raise Broken("there was a break meanwhile")
        if not served:
            for waiter in waiting:
                self._gap(waiter, self.hub.log.floor, "too_far")
            return
        after = await jetstream.state()
        if after.epoch != state.epoch:
            raise Broken("the stream was made anew meanwhile, perhaps before the consumer was made")
        first = after.first if backfill.jumped else 0
        if self.hub.breaks.total() != breaks:
            raise Broken("there was a break meanwhile")
        self._segments.add(backfill.segment)
        self._keep(Kept(backfill.segment, filters, first, breaks))
        for waiter in waiting:
            self._hand_over(waiter, backfill.segment, first)

    def _keep(self, kept: Kept) -> None:
        def let_go() -> None:
            if self._kept is kept:
                self._kept = None

        self._kept = kept
        asyncio.get_running_loop().call_later(KEPT_SECONDS, let_go)

    def _make_room(self) -> None:
        """Takes earlier backfills from those who still read them, the largest first, until memory has room for the next
        one: whoever reads slowly must not keep all others waiting. Raises Broken where there is none to be had.
        """
        if self.memory.is_critical:
            raise Broken(NO_MEMORY)
        room = 0 if self.memory.is_short else (SEGMENTS_MAX - 1) * self.options.max_bytes
        while sum(segment.bytes for segment in self._segments) > room:
            largest = max(self._segments, key=lambda segment: segment.bytes)
            self._segments.discard(largest)
            self.hub.take_back(largest)

    def _hand_over(self, waiter: Waiter, segment: EventLog, first: int) -> None:
        """first: the stream's first seq after the backfill, 0 where the backfill was without a jump."""
        if waiter.cursor < segment.floor:
            self._gap(waiter, segment.floor, "too_far", segment)
        elif waiter.cursor + 1 < first:
            self._gap(waiter, max(segment.floor, min(first - 1, segment.head)), "expired", segment)
        else:
            self._go_on(waiter, waiter.cursor, "jetstream", segment)

    def _upto(self) -> int:
        """A backfill ends in the middle of the pod's log: the older half need not be fetched twice, and the newer half
        is the time that it may take before the log has gone past its end."""
        own = self.hub.log
        older = own.after(own.floor, own.head, len(own) // 2)
        return older[-1].seq if older else own.head

    async def _near_enough(
        self, jetstream: JetStream, waiting: Sequence[Waiter], filters: tuple[str, ...], upto: int
    ) -> Sequence[Waiter]:
        """Those with few enough events before upto, found by bisection: a look costs a consumer."""
        most = self.options.max_events + await jetstream.count_after(upto, filters)
        far, near = -1, len(waiting)
        while near - far > 1:
            middle = (far + near) // 2
            if await jetstream.count_after(waiting[middle].cursor, filters) > most:
                far = middle
            else:
                near = middle
        return waiting[near:]

    def _filters(self, waiting: Sequence[Waiter]) -> tuple[str, ...]:
        """The subjects of all of them, where a consumer can have those: filters must not overlap."""
        subjects = {subject for waiter in waiting for subject in waiter.sub.channel.want.subjects}
        if len(subjects) <= 4 * MAX_FILTERS:  # reducing costs the square
            union = reduce(subjects)
            if len(union) <= MAX_FILTERS and not any(collide(one, other) for one, other in combinations(union, 2)):
                return union
        return self.source.options.subjects


class Span(NamedTuple):
    """What a backfill fetches: after < seq <= upto. alone: the stream has one replica, so that whatever was seen of it
    is known to every consumer of it."""

    filters: tuple[str, ...]
    after: int
    upto: int
    alone: bool


class Backfill:
    """One consumer's messages of a span, as a temporary log. abandoned: nobody waited for it any more. starved: there was
    not enough memory for it."""

    def __init__(self, resumer: Resumer, jetstream: JetStream, span: Span, waiting: Sequence[Waiter]) -> None:
        self._jetstream, self._span, self._waiting = jetstream, span, waiting
        self._options = resumer.options
        self._max_payload = resumer.source.options.max_payload_bytes
        self._memory, self._hub = resumer.memory, resumer.hub
        self._unlooked = 0
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._last = span.after
        self._taken = 0
        self.jumped = self.abandoned = self.starved = False
        self.segment = EventLog(self._options.max_events, self._options.max_bytes, resumer.hub.log.epoch, span.after)

    async def run(self, *, whatever: bool = False) -> bool:
        """Fetches; False where it would be too much, unless it shall be done whatever it is.

        Raises JetStreamError or Broken.
        """
        span = self._span
        heartbeat = HEARTBEAT_SECONDS if span.alone else CLUSTER_HEARTBEAT_SECONDS
        pending = (0, PENDING_BYTES)
        feed = Feed(self._jetstream, span.after + 1, span.filters, self._take, self._idle, pending, heartbeat)
        async with feed:
            if feed.num_pending > self._options.max_events and not whatever:
                return False
            if feed.num_pending == 0 and span.alone:
                self._finish()
            awaited: list[asyncio.Future[Any]] = [self._done, feed.broken]
            await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
        if not self._done.done():
            raise Broken(f"the backfill's consumer broke: {feed.broken.result()}")
        if self.starved:
            raise Broken(NO_MEMORY)
        self.segment.advance(span.upto)
        return True

    async def _take(self, delivery: Delivery) -> None:
        event, span = delivery.event, self._span
        if self._done.done():
            return
        self._taken += 1
        if self._is_starving(len(event.data)):
            self.starved = True
            self._finish()
            return
        if self._taken % LOOK_EVERY == 0 and all(waiter.answered for waiter in self._waiting):
            self.abandoned = True
            self._finish()
            return
        self.jumped = self.jumped or event.seq != self._last + 1
        self._last = event.seq
        if event.seq <= span.upto and not refusal(event.data, event.name, self._max_payload):
            self.segment.append(Frame(event, self.segment.epoch))
        if event.seq >= span.upto or (delivery.pending == 0 and span.alone):
            self._finish()

    def _is_starving(self, size: int) -> bool:
        self._unlooked += size
        if self._unlooked >= LOOK_BYTES:
            self._unlooked = 0
            self._memory.look(self._hub.streams)
        return self._memory.is_critical

    async def _idle(self, seq: int) -> None:
        if seq >= self._span.upto:
            self._finish()

    def _finish(self) -> None:
        if not self._done.done():
            self.jumped = self.jumped or self._last < self._span.upto
            self._done.set_result(None)
