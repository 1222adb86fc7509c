"""Drives the hub: the one place where it meets the event loop and the clock.

The clock is time.monotonic: uvloop's own is cached and counts milliseconds.
Whatever arrives before the flush runs leaves in it: coalescing by load, without a timer and without added delay.
"""

import asyncio
import time
from collections.abc import Callable

from ssecast.histogram import Histogram
from ssecast.hub import TICK, Hub


class Pump:
    """Calls hub.flush soon after hub.wake, and hub.tick ten times a second."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._hub: Hub | None = None
        self._soon: asyncio.Handle | None = None
        self._later: asyncio.TimerHandle | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._woken_at = 0.0
        self.fanout = Histogram()
        self.loop_lag = 0.0
        self.on_flushed: Callable[[], None] = lambda: None
        self.on_tick: Callable[[float], None] = lambda _: None

    def start(self, hub: Hub) -> None:
        self._hub = hub
        self._ticker = self._loop.call_later(TICK, self._tick, time.monotonic() + TICK)

    def stop(self) -> None:
        for handle in (self._soon, self._later, self._ticker):
            if handle is not None:
                handle.cancel()

    def wake(self) -> None:
        """Asks for a flush once the loop is through with what it has at hand."""
        if self._soon is None:
            self._woken_at = time.monotonic()
            self._soon = self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        assert self._hub is not None
        self._soon = None
        frames = self._hub.egress.frames
        again_at = self._hub.flush(time.monotonic())
        now = time.monotonic()
        if self._hub.egress.frames != frames:
            self.fanout.observe(now - self._woken_at)
        self.on_flushed()
        if self._later is not None:
            self._later.cancel()
            self._later = None
        if again_at is None:
            return
        if again_at <= now:
            self.wake()
        else:
            self._later = self._loop.call_later(again_at - now, self.wake)

    def _tick(self, due: float) -> None:
        assert self._hub is not None
        now = time.monotonic()
        self.loop_lag = max(now - due, 0.0)
        following = max(due + TICK, now)
        self._ticker = self._loop.call_later(following - now, self._tick, following)  # first: a defect must not stop it
        self._hub.tick(now)
        self.on_tick(now)
