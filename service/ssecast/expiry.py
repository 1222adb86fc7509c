"""Streams by the tick in which they must end, because their token does: no timer per stream. Pure.

Only streams with such an end are here. The heartbeat's wheel would be too coarse: it comes round every few seconds, and
a stream must not outlive its token by one of them.
"""

from ssecast.channel import Subscriber


class Expiry:
    """Streams with an end; each costs its place here for as long as it is open, and nothing after."""

    def __init__(self, tick: float) -> None:
        self._tick = tick
        self._slots: dict[int, dict[Subscriber, None]] = {}
        self._slot_of: dict[Subscriber, int] = {}
        self._turned = 0

    def __len__(self) -> int:
        return len(self._slot_of)

    def add(self, sub: Subscriber, at: float) -> None:
        """The stream is due in the tick that holds `at`, or in the next one where that has passed."""
        slot = max(int(at / self._tick), self._turned + 1)
        self._slots.setdefault(slot, {})[sub] = None
        self._slot_of[sub] = slot

    def remove(self, sub: Subscriber) -> None:
        """Forgets the stream, where it is known."""
        slot = self._slot_of.pop(sub, None)
        if slot is not None:
            del self._slots[slot][sub]
            if not self._slots[slot]:
                del self._slots[slot]

    def due(self, now: float) -> list[Subscriber]:
        """The streams that must end by now; they stay known until they are removed, which closing them does."""
        before, self._turned = self._turned, max(self._turned, int(now / self._tick))
        passed = range(before + 1, self._turned + 1)
        # After a long sleep fewer slots are filled than ticks have passed.
        slots = passed if len(passed) < len(self._slots) else sorted(slot for slot in self._slots if slot in passed)
        return [sub for slot in slots for sub in self._slots.get(slot, ())]
