"""A run from beginning to end: the clients come, the faults happen, all grow quiet, and everything is weighed."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

import nats.errors

from loadtest.chaos import faults
from loadtest.chaos.effects import LAG_MS, Look, effect
from loadtest.chaos.patience import all_back
from loadtest.chaos.plan import Fault, first_part, second_part
from loadtest.chaos.pods import Pod, Sample
from loadtest.chaos.publisher import clocks_ms, now_ms
from loadtest.chaos.stage import SETTLE_SECONDS, Options, Stage, staged
from loadtest.chaos.traffic import crowd
from loadtest.chaos.treadmill import STREAMS, tread
from loadtest.chaos.truth import Truth

OLDEST = 0
"""The pod that no fault ends after the first one."""

GAPS_SECONDS, ROLLOUT_SECONDS = 35.0, 6.0
"""What one round of the second part takes, about, and new settings before it beside the shed that follows them."""

LEAST_SECONDS = 15.0
"""Of the first part, beside what happens alone."""

ROUND_MINUTES = 10.0
"""One round of the second part for each of these."""

WEIGH_SECONDS = 20.0
LOOKS = 5
"""At a pod, at least, before it counts as weighed."""

TRACEBACK_CHARS = 300
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Happened:
    """A fault as it came about. Times are milliseconds of the monotonic clock."""

    part: int
    fault: Fault
    began: int
    ended: int
    what: str
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class PodWeight:
    """A pod at rest. streams: open ones; files: beside one for each of them."""

    pod: int
    streams: int
    files: int
    rss: int


@dataclass
class Outcome:
    """All that the report is made of, but for what the clients wrote down. began, ended: with clients; milliseconds."""

    options: Options
    ledger: Path
    truth: Truth
    plan: tuple[list[Fault], list[Fault]]
    proxy: bool
    began: int = 0
    ended: int = 0
    happened: list[Happened] = field(default_factory=list)
    weights: dict[str, list[PodWeight]] = field(default_factory=dict)
    counters: Counter[str] = field(default_factory=Counter)
    died: list[str] = field(default_factory=list)
    tracebacks: list[str] = field(default_factory=list)
    samples: list[list[Sample]] = field(default_factory=list)
    """Of each pod."""
    histories: list[list[Look]] = field(default_factory=list)
    """What each pod had counted, again and again, and what was counted of what is no pod's."""
    attempts: int = 0
    unsettled: int = 0
    """Clients that had not come to the stream's head at the end of a part."""
    trodden: list[int] = field(default_factory=list)
    """Bytes of the oldest pod after each round on the treadmill."""
    trouble: str = ""
    """What kept it from that."""


def planned(options: Options, *, proxy: bool) -> tuple[list[Fault], list[Fault]]:
    """The faults of both parts."""
    rounds = max(1, round(options.minutes / ROUND_MINUTES))
    bounds = options.bounds(
        options.minutes * 60 - rounds * GAPS_SECONDS - options.window_seconds - ROLLOUT_SECONDS, proxy=proxy
    )
    least = bounds.measured_until + LEAST_SECONDS
    return (
        first_part(options.seed, replace(bounds, seconds=max(bounds.seconds, least))),
        second_part(options.seed, rounds),
    )


async def chaos(options: Options, folder: Path, tell: Tell) -> Outcome:
    """Makes a run in an empty folder. Raises RuntimeError or OSError where it cannot even begin."""
    async with staged(options, folder) as stage:
        outcome = Outcome(
            options, stage.ledger, stage.truth, planned(options, proxy=stage.proxy is not None), stage.proxy is not None
        )
        outcome.weights["before"] = await _weigh(stage, [], empty=True)
        async with _watched(stage):
            await _play(stage, outcome, tell)
        for pod in stage.pods:
            pod.check()
            outcome.counters += pod.counters
            outcome.died += pod.died
            outcome.samples.append(pod.samples)
            outcome.histories.append(pod.history)
        outcome.histories.append(stage.history)
        outcome.attempts = stage.publisher.attempts
        outcome.tracebacks = [line for pod in stage.pods for line in _tracebacks(pod)]
        return outcome


async def _play(stage: Stage, outcome: Outcome, tell: Tell) -> None:
    outcome.began = now_ms()
    stage.truth.clocks.append(clocks_ms())
    placed = await stage.clients.open(crowd(stage.options.clients), stage.options.rate)
    tell(f"{placed:,} of {stage.options.clients:,} clients have begun")
    stage.publisher.go_on()
    first, second = outcome.plan
    await _happen_at_their_times(stage, outcome, first, tell)
    await _once_more(stage, outcome, tell)
    await _grow_quiet(stage, outcome, tell)
    outcome.weights["between"] = await _weigh(stage, outcome.weights["before"], empty=False)
    stage.publisher.go_on()
    for fault in second:
        await _happen(stage, outcome, 2, fault, tell)
    await _grow_quiet(stage, outcome, tell)
    await stage.clients.close()
    outcome.ended = now_ms()
    stage.truth.clocks.append(clocks_ms())
    outcome.weights["after"] = await _weigh(stage, outcome.weights["before"], empty=True)
    oldest = stage.pods[OLDEST]
    try:
        if int(str(oldest.settings["max_streams"])) < STREAMS:
            await oldest.change(max_streams=STREAMS)
        outcome.trodden = await tread(oldest)
    except (OSError, RuntimeError) as wrong:
        outcome.trouble = f"pod {OLDEST} could not be looked at for leaks: {str(wrong) or type(wrong).__name__}"
        tell(outcome.trouble)


async def _happen_at_their_times(stage: Stage, outcome: Outcome, plan: list[Fault], tell: Tell) -> None:
    """Faults overlap, but for those that happen alone; what comes after one that took longer than planned keeps its
    distance."""
    began, running = time.monotonic(), set[asyncio.Task[None]]()
    try:
        for fault, following in zip(plan, [*plan[1:], None], strict=True):
            await asyncio.sleep(max(began + fault.at - time.monotonic(), 0))
            if fault.alone:
                await _all_of(running)
                await _happen(stage, outcome, 1, fault, tell)
                await asyncio.sleep(fault.alone)
                await (faults.even_out(stage) if fault.name == "blackout" else all_back(stage))
                if following is not None:
                    began = max(began, time.monotonic() - following.at)
                continue
            task = asyncio.create_task(_happen(stage, outcome, 1, fault, tell))
            running.add(task)
            task.add_done_callback(running.discard)
        await _all_of(running)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _once_more(stage: Stage, outcome: Outcome, tell: Tell) -> None:
    """Faults of a kind that had no effect so far, because others were in their way: now nothing is."""
    await asyncio.sleep(LAG_MS / 1000)
    histories = [*(pod.history for pod in stage.pods), stage.history]
    for name, had in effects(outcome.happened, histories).items():
        fault = next(each.fault for each in outcome.happened if each.fault.name == name)
        if not had:
            await faults.even_out(stage)
            await _happen(stage, outcome, 1, replace(fault, alone=stage.options.back_seconds), tell)
            await asyncio.sleep(stage.options.back_seconds)


def effects(happened: Iterable[Happened], histories: Sequence[Sequence[Look]]) -> Counter[str]:
    """By kind of fault, how much rose what they must make rise."""
    found: Counter[str] = Counter()
    for each in happened:
        found[each.fault.name] += effect(each.fault.name, each.fault.pod, each.began, each.ended, histories)
    return found


async def _all_of(tasks: set[asyncio.Task[None]]) -> None:
    if tasks:
        await asyncio.gather(*tasks)


async def _happen(stage: Stage, outcome: Outcome, part: int, fault: Fault, tell: Tell) -> None:
    began, what, trouble = now_ms(), "", ""
    try:
        what = await faults.CARRY_OUT[fault.name](stage, fault)
    except (RuntimeError, OSError, nats.errors.Error) as wrong:
        trouble = str(wrong) or type(wrong).__name__
        stage.publisher.go_on()
    outcome.happened.append(Happened(part, fault, began, now_ms(), what, trouble))
    pod = f" of pod {fault.pod}" if fault.pod >= 0 else ""
    tell(f"{(began - outcome.began) / 1000:6.1f} s  {fault.name}{pod}: {trouble or what or 'done'}")


async def _grow_quiet(stage: Stage, outcome: Outcome, tell: Tell) -> None:
    """Nothing is published any more, and everybody gets what is still owed."""
    try:
        async with asyncio.timeout(SETTLE_SECONDS):
            await stage.publisher.rest()
    except TimeoutError:
        raise RuntimeError(
            f"{stage.publisher.in_flight} events were not acknowledged in {SETTLE_SECONDS:.0f} s"
        ) from None
    behind = await stage.settle()
    outcome.unsettled += behind
    if behind:
        tell(f"{behind} clients have not come to the stream's head")


async def _weigh(stage: Stage, before: list[PodWeight], *, empty: bool) -> list[PodWeight]:
    """Each pod at rest, at its lightest: a probe or a connection that is just being closed is no leak.

    Waits while a pod holds more files than before, or streams where there should be none; but not for ever.
    """
    known = {each.pod: each.files for each in before}
    best: dict[int, PodWeight] = {}
    deadline = time.monotonic() + WEIGH_SECONDS
    for attempt in count(1):
        for pod in stage.pods:
            with suppress(OSError):
                streams, rss, files = await pod.weigh()
                weight = PodWeight(pod.number, streams, files - streams, rss)
                best[pod.number] = min(
                    best.get(pod.number, weight), weight, key=lambda each: (each.streams * empty, each.files)
                )
        rested = all(
            each.files <= known.get(each.pod, each.files) and not (empty and each.streams) for each in best.values()
        )
        if (rested and attempt >= LOOKS and len(best) == len(stage.pods)) or time.monotonic() > deadline:
            break
        await asyncio.sleep(0.2)
    return [best[number] for number in sorted(best)]


@asynccontextmanager
async def _watched(stage: Stage) -> AsyncIterator[None]:
    task = asyncio.create_task(stage.watch())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _tracebacks(pod: Pod) -> list[str]:
    """What a pod said that no pod should say."""
    text = pod.log.read_text(errors="replace") if pod.log.exists() else ""
    return [f"pod {pod.number}: {_gist(part)}" for part in text.split("Traceback (most recent call last):")[1:]]


def _gist(traceback: str) -> str:
    """What was raised: the end of the line where a log holds it in one, else the first line that is not indented."""
    head, *lines = traceback.splitlines()
    return head[-TRACEBACK_CHARS:] or next((line for line in lines if line and not line[0].isspace()), "")
