"""Which streams are closed when: a drain or a shed, spread uniformly over its window. Pure.

The window does the spreading; the `retry:` that each stream gets with its farewell only blurs it.
"""

from collections import deque
from collections.abc import Iterator, Sequence

from ssecast.channel import Place, Subscriber


class Closing:
    """Streams with the time at which each is closed. Times are seconds of the clock that the caller uses."""

    def __init__(self) -> None:
        self._plan: deque[tuple[float, Subscriber]] = deque()
        self.deadline: float | None = None

    def __len__(self) -> int:
        return len(self._plan)

    def spread(self, subs: Sequence[Subscriber], now: float, window: float) -> None:
        """Plans one close after the other, the last one at now + window; replaces what was planned before.

        Streams in the middle of a replay come last: they have most to gain from the time that is left.
        """
        calm_first = sorted(subs, key=lambda sub: sub.place in (Place.BEHIND, Place.WAITING))
        step = window / max(len(calm_first), 1)
        self._plan = deque((now + step * at, sub) for at, sub in enumerate(calm_first, start=1))
        self.deadline = now + window

    def cancel(self) -> None:
        self._plan.clear()
        self.deadline = None

    def due(self, now: float) -> Iterator[Subscriber]:
        """Takes the streams whose time has come; those that ended by themselves are passed over."""
        while self._plan and self._plan[0][0] <= now:
            _, sub = self._plan.popleft()
            if sub.place is not Place.GONE:
                yield sub
