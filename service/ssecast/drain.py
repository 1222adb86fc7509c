"""Which streams are closed when: drains and sheds, each spread uniformly over its window, and ages. Pure.

The window does the spreading; the `retry:` that each stream gets with its farewell only blurs it.
Times are seconds of the clock that the caller uses.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from heapq import heappop, heappush
from math import inf
from typing import NamedTuple

from ssecast.channel import Place, Subscriber

PATIENCE = 5.0
"""Seconds that a stream whose age is over gets to take the bytes that wait for it; then it is cut."""


def is_busy(sub: Subscriber) -> bool:
    """Whether a stream is owed something: it waits for its replay or is in it, or bytes wait for its socket."""
    return sub.blocked or sub.place in (Place.BEHIND, Place.WAITING)


class Closing:
    """A plan that closes streams within a window: as many slots, evenly spread, as there were streams when it was made.

    Each slot takes the next stream. One that is busy is passed over then and comes after all others, so that a replay
    has the rest of the window to finish; the slot goes to the next one, and the rate stays what it was. The slot of a
    stream that ended by itself stays empty. At the deadline everybody goes who is left.
    """

    def __init__(self) -> None:
        self.deadline: float | None = None
        self._queue: deque[Subscriber] = deque()
        self._late: deque[Subscriber] = deque()
        self._begin = self._step = 0.0
        self._slots_used = 0

    @property
    def left(self) -> int:
        """Streams that the plan has yet to close."""
        return sum(sub.place is not Place.GONE for group in (self._queue, self._late) for sub in group)

    def spread(self, subs: Sequence[Subscriber], begin: float, window: float) -> None:
        """Plans the streams in the order given; replaces what was planned before."""
        self._queue, self._late = deque(subs), deque()
        self._begin, self._step, self._slots_used = begin, window / len(subs) if subs else inf, 0
        self.deadline = begin + window

    def join(self, sub: Subscriber) -> None:
        """A stream that opened meanwhile: closed at the deadline, or earlier where a slot is to spare."""
        self._late.append(sub)

    def cancel(self) -> None:
        self._queue.clear()
        self._late.clear()
        self.deadline = None

    def is_over(self, now: float) -> bool:
        return self.deadline is not None and now >= self.deadline

    def due(self, now: float) -> Iterator[Subscriber]:
        """Takes the streams whose time has come."""
        if self.is_over(now):
            yield from self._rest()
        if self.deadline is None or not self._begin <= now < self.deadline:
            return
        slots = int((now - self._begin) / self._step + 0.5)  # in the middle of n equal parts of the window
        while self._slots_used < slots:
            self._slots_used += 1
            sub = self._next()
            if sub is not None:
                yield sub

    def _next(self) -> Subscriber | None:
        while self._queue:
            sub = self._queue.popleft()
            if sub.place is Place.GONE:
                return None
            if not is_busy(sub):
                return sub
            self._late.append(sub)
        late = self._late.popleft() if self._late else None
        return None if late is None or late.place is Place.GONE else late

    def _rest(self) -> Iterator[Subscriber]:
        for group in (self._queue, self._late):
            while group:
                sub = group.popleft()
                if sub.place is not Place.GONE:
                    yield sub


class Ages:
    """Streams whose life is limited, by the second in which it ends: no timer per stream, and no search for who is due.

    expires_at of a stream in here must not change.
    """

    def __init__(self) -> None:
        self._by_second: dict[int, dict[Subscriber, None]] = {}
        self._seconds: list[int] = []

    def add(self, sub: Subscriber) -> None:
        if not sub.expires_at:
            return
        second = int(sub.expires_at)
        if second not in self._by_second:
            self._by_second[second] = {}
            heappush(self._seconds, second)
        self._by_second[second][sub] = None

    def remove(self, sub: Subscriber) -> None:
        self._by_second.get(int(sub.expires_at), {}).pop(sub, None)

    def due(self, now: float) -> Iterator[Subscriber]:
        """Takes the streams whose age is over."""
        while self._seconds and self._seconds[0] <= now:
            second = self._seconds[0]
            of_second = self._by_second[second]
            for sub in [sub for sub in of_second if sub.expires_at <= now]:
                del of_second[sub]
                yield sub
            if second + 1 > now:
                return
            del self._by_second[heappop(self._seconds)]


class Leave(NamedTuple):
    """Why a stream ends as soon as its socket has taken the bytes that wait, and when it ends even if it has not.

    patience: when it ends for its age alone; infinite while that is not over.
    """

    reason: str
    until: float
    patience: float = inf


class Departures:
    """Every stream that is to end in good order, and the orders that say so.

    An order says what shall be, and not what to do once more: whoever is not sure that it arrived sends it again.
    oldest_first: the open streams. close: ends one, for a reason.
    """

    def __init__(
        self, oldest_first: Callable[[], Sequence[Subscriber]], close: Callable[[Subscriber, str], None]
    ) -> None:
        self._oldest_first, self._close = oldest_first, close
        self.draining, self.shedding, self.ages = Closing(), Closing(), Ages()
        self.leaving: dict[Subscriber, Leave] = {}
        self.is_draining = False
        self.stops_by: float | None = None
        self.orders: Counter[str] = Counter()
        self._drain_window = self._drain_since = 0.0
        self._shed_order = (0, 0.0)

    @property
    def shed_left(self) -> int:
        """Streams that a shed has yet to close."""
        shedding = sum(leave.reason == "shed" for leave in self.leaving.values())
        return self.shedding.left + shedding

    # Orders

    def drain(self, now: float, window: float, delay: float = 0.0) -> None:
        """Closes every open stream within the window (seconds), which begins after the delay; a shed ends with it.

        delay: until nobody is sent here any more. Who is closed before that may come back to this very pod, be turned away
        and reconnect twice. In a drain that is under way the time since it began counts.
        Again with the same window: nothing changes. With another one: the rest within that one from now on, but never
        later than the pod stops.
        """
        self.orders["drain"] += 1
        if self.is_draining and window == self._drain_window:
            return
        begin = max(now, (self._drain_since if self.is_draining else now) + delay)
        stops_by = begin + window if self.stops_by is None else self.stops_by
        self._plan(now, min(begin, stops_by), min(begin + window, stops_by), window)

    def undrain(self) -> bool:
        """Closes no more; False where the pod is about to stop, which cannot be taken back."""
        if self.stops_by is not None:
            return False
        self.orders["undrain"] += 1
        self.is_draining = False
        self.draining.cancel()
        self._let_stay("drain")
        return True

    def stop(self, now: float, delay: float, window: float) -> float:
        """The pod ends: a drain that closes nobody before the delay is over, and that nothing puts off or takes back.

        A drain that is under way goes on: as it is where it ends in time, else with a window that does, and without a
        pause. Returns what is left of the delay: the time since that drain began counts.
        """
        self.orders["stop"] += 1
        if self.is_draining:
            delay = max(0.0, self._drain_since + delay - now)
        self.stops_by = now + delay + window
        if not self.is_draining:
            self._plan(now, now + delay, self.stops_by, window)
        elif self.draining.deadline is None or self.draining.deadline > self.stops_by:
            self._plan(now, now, self.stops_by, window)
        return delay

    def shed(self, now: float, count: int, window: float) -> None:
        """Closes the oldest `count` streams within the window (seconds). While the pod drains it does nothing.

        The same again while it is under way: nothing changes. Another one replaces it; a count of 0 ends it.
        """
        self.orders["shed"] += 1
        under_way = self.shedding.deadline is not None
        if self.is_draining or (under_way and self._shed_order == (count, window)):
            return
        self._let_stay("shed")
        self._shed_order = (count, window)
        self.shedding.spread(self._oldest_first()[:count], now, window)
        if not count:
            self.shedding.cancel()

    # Streams

    def add(self, sub: Subscriber) -> None:
        self.ages.add(sub)
        if self.is_draining:  # its request was let in just before
            self.draining.join(sub)

    def remove(self, sub: Subscriber) -> None:
        """The stream has ended."""
        self.ages.remove(sub)
        self.leaving.pop(sub, None)

    def close_due(self, now: float) -> None:
        """Closes those whose time has come."""
        for sub in self.ages.due(now):
            self._leave(sub, "age", now + PATIENCE)
        for closing, reason in ((self.draining, "drain"), (self.shedding, "shed")):
            for sub in closing.due(now):
                self._leave(sub, reason, closing.deadline or now)
        for sub, (reason, until, _) in list(self.leaving.items()):
            if until <= now:
                self._close(sub, reason)
        if self.shedding.is_over(now):
            self.shedding.cancel()

    # Inside

    def _plan(self, now: float, begin: float, deadline: float, window: float) -> None:
        if not self.is_draining:
            self.is_draining, self._drain_since = True, now
        self._drain_window = window
        self.shedding.cancel()
        self._let_stay("drain", "shed")
        self.draining.spread(self._oldest_first(), begin, deadline - begin)

    def _leave(self, sub: Subscriber, reason: str, until: float) -> None:
        """Not in the middle of what its socket is taking, unless that takes too long."""
        if not sub.blocked:
            self._close(sub, reason)
            return
        known = self.leaving.get(sub, Leave(reason, until))
        patience = until if reason == "age" else known.patience
        if patience < inf:
            reason = "age"  # it is over whatever becomes of a drain
        self.leaving[sub] = Leave(reason, min(until, known.until), patience)

    def _let_stay(self, *reasons: str) -> None:
        """Takes back the leave of those who have not gone yet; whose age is over has the time that it gives."""
        self.leaving = {
            sub: leave._replace(until=leave.patience) if leave.reason == "age" else leave
            for sub, leave in self.leaving.items()
            if leave.reason not in reasons
        }
