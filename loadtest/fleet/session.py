"""A run from beginning to end: streams come, the fleet grows, evens out, rolls out and shrinks, and everything is counted."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from loadtest.bench.command import beside
from loadtest.chaos.oracle import Verdict, judge
from loadtest.chaos.publisher import now_ms
from loadtest.chaos.records import read
from loadtest.chaos.timeline import Timeline
from loadtest.chaos.traffic import KINDS, crowd
from loadtest.fleet.stage import Look, Stage

FIRST_SHARE = 0.3
"""Of the streams are there before the others come."""

GROW_SECONDS, EVEN_SECONDS, ROLL_SECONDS, SHRINK_SECONDS, SETTLE_SECONDS = 180.0, 300.0, 600.0, 400.0, 60.0
CALM_SECONDS = 8.0
"""Between two steps."""

EVEN = 1.25
"""The fullest pod has at most this many times the mean, once streams have moved."""

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened to the fleet. Times are milliseconds of the monotonic clock."""

    name: str
    began: int
    ended: int
    what: str


@dataclass
class Outcome:
    """All that the report is made of. described: what `kubectl describe` said at the end of each step."""

    streams: int
    began: int = 0
    steps: list[Step] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    described: dict[str, str] = field(default_factory=dict)
    timeline: Timeline = field(default_factory=lambda: Timeline(0))

    def peak(self, step: Step) -> int:
        return self.timeline.peak(step.began, step.ended)


async def run(stage: Stage, streams: int, tell: Tell) -> Outcome:
    """Raises RuntimeError, with what the Broadcaster says, where the fleet does not do what it should in time."""
    outcome = Outcome(streams)
    outcome.began = now_ms()
    async with beside(stage.watch()):
        for name, step in STEPS.items():
            began, began_at = now_ms(), time.monotonic()
            what = await step(stage, streams)
            await asyncio.sleep(CALM_SECONDS)  # clients that were closed last are on their way
            outcome.steps.append(Step(name, began, now_ms(), what))
            outcome.described[name] = await stage.describe()
            tell(f"{name}: {what}, after {time.monotonic() - began_at - CALM_SECONDS:.0f} s")
        await _settle(stage, outcome)
    outcome.looks = stage.looks
    _count(stage, outcome)
    return outcome


# Steps


async def _begin(stage: Stage, streams: int) -> str:
    """A part of the clients comes, and events flow."""
    placed = await stage.clients.open(crowd(round(streams * FIRST_SHARE)), stage.rate)
    stage.publisher.go_on()
    return f"{placed:,} streams on {stage.policy.pods[0]} pods"


async def _grow(stage: Stage, streams: int) -> str:
    """The others come all at once."""
    rest = streams - round(streams * FIRST_SHARE)
    placed = await stage.clients.open(crowd(rest), stage.rate)
    most = stage.policy.pods[1]
    await stage.until(lambda look: look.ready >= most and look.desired == most, f"{most} pods are ready", GROW_SECONDS)
    return f"{placed:,} streams, {most} pods are ready"


async def _even_out(stage: Stage, streams: int) -> str:
    """Streams move from the pods that were there to those that came."""
    deadline = time.monotonic() + EVEN_SECONDS
    while True:
        report = await stage.streams()
        if len(report) >= stage.policy.pods[1] and max(report) * len(report) <= EVEN * sum(report):
            return f"the pods have {', '.join(f'{count:,}' for count in sorted(report))} streams"
        if time.monotonic() > deadline:
            raise RuntimeError(f"the pods still have {report} streams\n{await stage.describe()}")
        await asyncio.sleep(1)


async def _roll_out(stage: Stage, streams: int) -> str:
    """Every pod is replaced by one with a new template."""
    before = {each["metadata"]["uid"] for each in await stage.pods()}
    await stage.patch({"podTemplate": {"annotations": {"example.com/version": "2"}}})
    most = stage.policy.pods[1]
    deadline = time.monotonic() + ROLL_SECONDS
    while True:
        pods = await stage.pods()
        if len(pods) == most and not before & {each["metadata"]["uid"] for each in pods} and all(map(_ready, pods)):
            return f"all {most} pods are new ones"
        if time.monotonic() > deadline:
            raise RuntimeError(f"the rollout has not ended\n{await stage.describe()}")
        await asyncio.sleep(1)


async def _take_live(stage: Stage, streams: int) -> str:
    """A setting that running pods take: nobody reconnects for it."""
    before = sorted(each["metadata"]["uid"] for each in await stage.pods())
    await stage.patch({"stream": {"maxPerClient": streams * 2}})
    await asyncio.sleep(CALM_SECONDS)
    after = sorted(each["metadata"]["uid"] for each in await stage.pods())
    if after != before:
        raise RuntimeError(f"pods were replaced for a limit\n{await stage.describe()}")
    return "no pod was replaced"


async def _shrink(stage: Stage, streams: int) -> str:
    """The policy wants fewer pods for the same streams; the operator is killed on the way."""
    await stage.patch({"scaling": {"streamsPerPod": {"target": stage.policy.target_large}}})
    least = stage.policy.pods[0]
    await stage.until(lambda look: look.phase == "Draining", "pods drain", SHRINK_SECONDS)
    await stage.kill_operator()
    await stage.until(
        lambda look: look.replicas == least and look.ready == least, f"{least} pods are left", SHRINK_SECONDS
    )
    deadline = time.monotonic() + SHRINK_SECONDS
    while len(await stage.pods()) > least:
        if time.monotonic() > deadline:
            raise RuntimeError(f"pods have not ended\n{await stage.describe()}")
        await asyncio.sleep(1)
    return f"{least} pods are left; the operator was killed while pods drained"


STEPS: dict[str, Callable[[Stage, int], Awaitable[str]]] = {
    "begin": _begin,
    "grow": _grow,
    "rebalance": _even_out,
    "change a limit": _take_live,
    "roll out": _roll_out,
    "shrink": _shrink,
}


def _ready(pod: Mapping[str, Any]) -> bool:
    conditions = pod["status"].get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


# The end


async def _settle(stage: Stage, outcome: Outcome) -> None:
    """Nothing is published any more, and everybody gets what is still owed."""
    async with asyncio.timeout(SETTLE_SECONDS):
        await stage.publisher.rest()
    epoch, seq = await stage.head()
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        behind = int((await stage.clients.report(epoch, seq))["behind"])
        if not behind or time.monotonic() > deadline:
            break
        await asyncio.sleep(0.5)
    outcome.counts["unsettled"] = behind
    await stage.clients.close()


def _count(stage: Stage, outcome: Outcome) -> None:
    kinds = {kind.name: kind for kind in KINDS}
    outcome.timeline, total = Timeline(outcome.began), Verdict()
    for client in read(stage.ledger).clients:
        entries = list(client.entries())
        outcome.timeline.add(entries)
        name = f"client {client.index} ({client.kind})"
        total.add(judge(stage.truth, kinds[client.kind], entries, name, outcome.began))
    outcome.counts += total.counts
    outcome.counts["published"] = len(stage.truth.by_number)
    outcome.counts["reconnects"] = sum(outcome.timeline.reconnects)
    outcome.findings = total.findings
