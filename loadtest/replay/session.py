"""A replay from beginning to end: few clients, a kick-off, nearly all of them leave, and the fleet is small again."""

import asyncio
import time
from collections.abc import Callable, Mapping, Set
from dataclasses import asdict
from statistics import mean
from typing import Any

from loadtest.bench.command import beside
from loadtest.chaos.publisher import now_ms
from loadtest.chaos.records import read
from loadtest.chaos.traffic import KINDS
from loadtest.fleet.objects import broadcaster
from loadtest.fleet.stage import Stage
from loadtest.replay.records import Seconds
from ssecast_operator.instants import instant

FIRST_SHARE = 0.1
"""Of the clients are there before the others come, and after they have left."""

CALM_SECONDS, STAY_SECONDS, LEAVE_SECONDS, LEAVE_STEPS = 30.0, 180.0, 60.0, 12
GROW_SECONDS, SHRINK_SECONDS, END_SECONDS = 240.0, 900.0, 30.0

PLAIN = KINDS[0]

Tell = Callable[[str], None]


async def replay(stage: Stage, streams: int, tell: Tell) -> dict[str, Any]:
    """Everything that was seen, as `results.json` holds it. Raises RuntimeError where the fleet does not follow in time."""
    began, marks = now_ms(), {}

    def mark(name: str, what: str) -> None:
        marks[name] = (now_ms() - began) / 1000
        tell(f"{marks[name]:.0f} s: {what}")

    async with beside(stage.watch()):
        first = round(streams * FIRST_SHARE)
        await stage.clients.open({PLAIN: first}, stage.rate)
        stage.publisher.go_on()
        await asyncio.sleep(CALM_SECONDS)
        before = {each["metadata"]["uid"] for each in await stage.pods()}
        mark("kick-off", f"{streams - first:,} clients come to {first:,}")
        await stage.clients.open({PLAIN: streams - first}, stage.rate)
        mark("arrived", "all of them have a stream")
        starts = await _grown(stage, before)
        mark("grown", f"{stage.policy.pods[1]} pods are ready; the new ones took {starts:.1f} s")
        await asyncio.sleep(STAY_SECONDS)
        mark("leave", "they leave again")
        await _leave(stage, streams - first)
        mark("left", f"{first:,} clients are left")
        await _shrunk(stage)
        mark("shrunk", f"{stage.policy.pods[0]} pods are left")
        await asyncio.sleep(END_SECONDS)
        until = now_ms()
    await stage.publisher.rest()
    await stage.clients.close()
    seconds = _seconds(stage, began, until)
    return {
        "clients": streams,
        "spec": broadcaster(stage.policy)["spec"],
        "start_seconds": starts,
        "marks": marks,
        "looks": [asdict(look) | {"at": look.at - began} for look in stage.looks if look.at <= until],
        "gave_up": seconds.gave_up,
        **seconds.columns,
    }


async def _grown(stage: Stage, before: Set[str]) -> float:
    """Until there are as many pods as there may be; how long one took from its creation until it was ready, beside those
    that were there before (their uids)."""
    most = stage.policy.pods[1]
    await stage.until(lambda look: look.ready >= most and look.desired == most, f"{most} pods are ready", GROW_SECONDS)
    starts = [_start_of(each) for each in await stage.pods() if each["metadata"]["uid"] not in before]
    return mean(start for start in starts if start is not None)


def _start_of(pod: Mapping[str, Any]) -> float | None:
    """Seconds from its creation until it was ready, as Kubernetes writes it down: in whole seconds."""
    for each in pod["status"].get("conditions", ()):
        if each["type"] == "Ready" and each["status"] == "True":
            created, ready = instant(pod["metadata"]["creationTimestamp"]), instant(each["lastTransitionTime"])
            return None if created is None or ready is None else ready - created
    return None


async def _leave(stage: Stage, count: int) -> None:
    left = count
    for step in range(LEAVE_STEPS):
        portion = left // (LEAVE_STEPS - step)
        left -= await stage.clients.leave(portion, seed=step + 1)
        await asyncio.sleep(LEAVE_SECONDS / LEAVE_STEPS)
    deadline = time.monotonic() + LEAVE_SECONDS
    while left and time.monotonic() < deadline:  # some were between two streams
        left -= await stage.clients.leave(left, seed=99)
        await asyncio.sleep(1)


async def _shrunk(stage: Stage) -> None:
    least = stage.policy.pods[0]
    await stage.until(
        lambda look: look.replicas == least and look.pods == least, f"{least} pods are left", SHRINK_SECONDS
    )


def _seconds(stage: Stage, began: int, until: int) -> Seconds:
    found = Seconds(began, until)
    for client in read(stage.ledger).clients:
        found.add(client.entries())
    return found
