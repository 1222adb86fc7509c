"""All streams of the pod, on a wheel that comes round once per heartbeat: one ticker, no timer per stream. Pure."""

from collections.abc import Iterable, Iterator
from itertools import chain

from ssecast.channel import Subscriber


class Wheel:
    """Streams spread over slots; each turn hands out one slot, and `period` seconds bring every slot round once."""

    def __init__(self, period: float, tick: float) -> None:
        self._slots: list[dict[Subscriber, None]] = [{} for _ in range(max(1, round(period / tick)))]
        self._tick = tick
        self._turned_at: float | None = None
        self._at = 0
        self._number = 0
        self.count = 0

    def add(self, sub: Subscriber) -> None:
        """Numbers the stream in order of opening and puts it into the slots in turn."""
        self._number += 1
        sub.number = self._number
        self._slot(sub)[sub] = None
        self.count += 1

    def remove(self, sub: Subscriber) -> None:
        del self._slot(sub)[sub]
        self.count -= 1

    def resize(self, period: float) -> None:
        """Another period; the streams keep their numbers, and each gets its next heartbeat within the new one."""
        subs = list(self)
        self._slots = [{} for _ in range(max(1, round(period / self._tick)))]
        self._at = 0
        for sub in subs:
            self._slot(sub)[sub] = None

    def turn(self, now: float) -> Iterable[Subscriber]:
        """The streams whose heartbeat is due now; a late call hands out all that it missed, each stream once."""
        if self._turned_at is None:
            self._turned_at = now
        steps = min(int((now - self._turned_at) / self._tick), len(self._slots))
        self._turned_at += steps * self._tick
        if now - self._turned_at > self._tick:
            self._turned_at = now
        due: list[Subscriber] = []
        for _ in range(steps):
            due += self._slots[self._at]
            self._at = (self._at + 1) % len(self._slots)
        return due

    def __iter__(self) -> Iterator[Subscriber]:
        return chain.from_iterable([list(slot) for slot in self._slots])

    def oldest_first(self) -> list[Subscriber]:
        return sorted(self, key=lambda sub: sub.number)

    def _slot(self, sub: Subscriber) -> dict[Subscriber, None]:
        return self._slots[sub.number % len(self._slots)]
