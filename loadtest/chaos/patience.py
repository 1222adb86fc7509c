"""What faults wait for, each with a bound: that somebody is there, that all have what they are owed, that pods follow NATS."""

import asyncio
import time
from contextlib import suppress

import nats.errors as nats_errors

from loadtest.chaos.pods import Pod
from loadtest.chaos.stage import SETTLE_SECONDS, Stage

PEOPLED_SECONDS = 6.0
"""A fault waits so long, at most, for somebody whom it can hit: others may have just cut all streams."""

CROWD_SHARE = 0.6
"""Of the clients: so many with an open stream are enough."""

BACK_SECONDS = 60.0
"""At most, until all have a stream again: on a busy machine pods take a while to start."""


class Unsettled(RuntimeError):
    """What a fault waits for has not come in time."""


async def all_back(stage: Stage) -> None:
    """Until every client has a stream, and every pod is ready for more; or not, where they do not come in time."""
    deadline = time.monotonic() + BACK_SECONDS
    while time.monotonic() < deadline:
        with suppress(RuntimeError):  # whether one has died is another question
            await asyncio.gather(*(pod.wait_until("/readyz") for pod in stage.pods))
        if (await stage.clients.report())["open"] == stage.options.clients:
            return
        await asyncio.sleep(0.2)


async def peopled(pod: Pod) -> None:
    """Until the pod has streams; or not, where nobody comes in time: then the fault will show no effect."""
    deadline = time.monotonic() + PEOPLED_SECONDS
    await pod.sample()
    while not pod.streams and time.monotonic() < deadline:
        await asyncio.sleep(0.1)
        await pod.sample()


async def crowded(stage: Stage) -> None:
    """Until most clients have a stream, which no reload is about to cut; or not, where they do not come in time."""
    async with stage.reload_turn:
        pass
    deadline = time.monotonic() + PEOPLED_SECONDS
    while time.monotonic() < deadline:
        if (await stage.clients.report())["open"] >= stage.part_of(CROWD_SHARE):
            return
        await asyncio.sleep(0.1)


async def settled(stage: Stage, *, exactly: bool = False) -> None:
    behind = await stage.settle(exactly=exactly)
    if behind:
        raise Unsettled(
            f"{behind} clients had not come to the stream's head, and for {SETTLE_SECONDS:.0f} s nothing came"
        )


async def empty(stage: Stage) -> None:
    deadline = time.monotonic() + SETTLE_SECONDS
    while (await stage.head())[2]:
        if time.monotonic() > deadline:
            raise Unsettled(f"the stream had not dropped its events after {SETTLE_SECONDS:.0f} s")
        await asyncio.sleep(0.1)


async def following(stage: Stage) -> None:
    """Until NATS answers, and every pod has come to the stream's head as it was then."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while not await _followed(stage):
        if time.monotonic() > deadline:
            raise Unsettled(f"the pods had not come to the stream's head after {SETTLE_SECONDS:.0f} s")
        await asyncio.sleep(0.1)


async def _followed(stage: Stage) -> bool:
    try:
        epoch, seq, _ = await stage.head()
        loads = await asyncio.gather(*(pod.ask("GET", "/load") for pod in stage.pods))
    except (nats_errors.Error, OSError):  # NATS is starting, or a pod is
        return False
    return all(_reached(load["position"], epoch, seq) for load in loads)


def _reached(position: str | None, epoch: str, seq: int) -> bool:
    its, _, at = (position or "-0").rpartition("-")
    return its == epoch and int(at) >= seq


async def pause(stage: Stage, pod: int, seconds: float) -> int:
    """Pauses a pod's consumers, as soon as it has some: NATS may be just away. Returns how many."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while not (paused := await stage.pause(pod, seconds)):
        if time.monotonic() > deadline:
            raise Unsettled(f"pod {pod} had no consumer for {SETTLE_SECONDS:.0f} s")
        await asyncio.sleep(0.2)
    return paused
