"""A run from beginning to end: k6 runs its scenario, pods come and go, and all of them are weighed meanwhile."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from loadtest.bench.command import beside
from loadtest.chaos.pods import Sample
from loadtest.chaos.publisher import now_ms
from loadtest.soak.k6 import K6Run, Result, memory
from loadtest.soak.stage import Life, Options, Stage, staged

SAMPLES_MOST = 1800
"""Of each pod, about."""

SPARE_SECONDS = 600.0
"""That k6 may take longer than the scenario says, which for `polling` is twice the time."""

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Change:
    """A pod that was drained, and another one that was started. Milliseconds of the monotonic clock."""

    began: int
    ended: int
    what: str
    trouble: str = ""


@dataclass
class Outcome:
    """All that the report is made of. began, ended: of k6; milliseconds. samples: of each pod. cpu: seconds of all pods."""

    options: Options
    result: Result
    began: int = 0
    ended: int = 0
    samples: list[list[Sample]] = field(default_factory=list)
    lives: list[Life] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    died: list[str] = field(default_factory=list)
    tracebacks: list[str] = field(default_factory=list)
    k6_memory: int = 0
    """The most that k6 took, bytes."""


async def soak(options: Options, folder: Path, tell: Tell) -> Outcome:
    """Makes a run in an empty folder. Raises RuntimeError or OSError where it cannot even begin."""
    async with staged(options, folder) as stage:
        outcome = Outcome(options, Result(0, "", 0.0, [], {}))
        with K6Run(options.scenario, folder, options.environment(stage)) as k6:
            outcome.began = now_ms()
            tell(f"k6 runs {options.scenario} for {options.minutes:g} minutes with {options.streams:,} streams")
            async with beside(_watch(stage, k6, outcome)), beside(_change(stage, outcome, tell)):
                outcome.result = await k6.ended(options.minutes * 120 + SPARE_SECONDS)
            outcome.ended = now_ms()
        stage.end_lives()
        outcome.lives = stage.lives
        for pod in stage.pods:
            pod.check()
            outcome.died += pod.died
            outcome.samples.append(pod.samples)
        outcome.tracebacks = [line for pod in stage.pods for line in pod.tracebacks()]
        return outcome


async def _watch(stage: Stage, k6: K6Run, outcome: Outcome) -> None:
    every = max(1.0, stage.options.minutes * 60 / SAMPLES_MOST)
    while True:
        await stage.sample()
        outcome.k6_memory = max(outcome.k6_memory, memory(k6))
        await asyncio.sleep(every)


async def _change(stage: Stage, outcome: Outcome, tell: Tell) -> None:
    began = time.monotonic()
    for at in stage.options.changes:
        await asyncio.sleep(max(began + at - time.monotonic(), 0))
        since, what, trouble = now_ms(), "", ""
        try:
            what = await stage.change()
        except (RuntimeError, OSError) as wrong:
            trouble = str(wrong) or type(wrong).__name__
        outcome.changes.append(Change(since, now_ms(), what, trouble))
        tell(f"{(since - outcome.began) / 1000:6.1f} s  {trouble or what}")
