"""Files of a run: JSON with every figure, k6's own page, a Markdown page, and the plot."""

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from loadtest.chaos.growth import thinned
from loadtest.soak.figures import Figures, Growth
from loadtest.soak.k6 import THRESHOLDS_CROSSED
from loadtest.soak.plot import draw
from loadtest.soak.session import Outcome
from loadtest.soak.slope import Slope

SAMPLES_SHOWN = 120
"""Of each pod."""

HOW = """What it is and how it is judged: [loadtest/README.md](../../README.md#soak). Everything ran on one machine, on loopback."""

SHOWN = {
    "sse_streams_most": "most streams open at once",
    "sse_opened": "streams opened, reconnects included",
    "sse_reconnects": "reconnects",
    "sse_published": "events published",
    "sse_event": "events delivered",
    "sse_replayed": "of those, after a reconnect",
    "sse_lost": "lost",
    "sse_duplicates": "duplicated",
    "sse_out_of_order": "out of order",
    "sse_gaps": "gaps",
    "sse_gave_up": "clients that gave up",
    "sse_turned_away": "streams that a full pod turned away",
}


def write(folder: Path, outcome: Outcome, found: Figures, machine: Mapping[str, str], page_of_k6: Path) -> None:
    """Writes all files of a run into a folder, which is made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(_body(outcome, found, machine), indent=1) + "\n")
    if page_of_k6.exists():
        shutil.copy(page_of_k6, folder / "k6.html")
    draw(outcome, found, folder, title(outcome))
    (folder / "README.md").write_text("\n".join(page(outcome, found, machine)) + "\n")


def title(outcome: Outcome) -> str:
    options = outcome.options
    return f"{options.scenario}, {options.streams:,} streams, {options.pods} pods, {options.minutes:g} minutes"


def verdict(outcome: Outcome, found: Figures) -> str:
    """One sentence."""
    if found.wrong:
        return f"{'; '.join(each.rstrip('.') for each in found.wrong)}."
    result = outcome.result
    return (
        f"{result.value('sse_event'):,.0f} deliveries of {result.value('sse_published'):,.0f} events: none lost, duplicated or "
        f"out of order, every threshold was kept, and no pod leaks."
    )


def page(outcome: Outcome, found: Figures, machine: Mapping[str, str]) -> Iterator[str]:
    yield f"# Soak: {title(outcome)}\n"
    yield f"{verdict(outcome, found)}\n"
    yield f"{HOW}\n"
    yield "![Streams, memory and open files of each pod over time](soak.png)\n"
    yield from _figures(outcome)
    yield from _pods(outcome, found)
    if outcome.changes:
        yield "\n## Pods that came and went\n"
        yield "| second | took | |\n| ---: | ---: | --- |"
        for each in outcome.changes:
            began, took = (each.began - outcome.began) / 1000, (each.ended - each.began) / 1000
            yield f"| {began:.0f} | {took:.1f} s | {each.trouble or each.what} |"
    yield "\n## Where\n"
    yield "| machine | |\n| --- | --- |"
    yield from (f"| {name} | {value} |" for name, value in machine.items())


def _figures(outcome: Outcome) -> Iterator[str]:
    result = outcome.result
    yield "## Thresholds\n"
    yield "| | metric | threshold | value |\n| --- | --- | --- | --- |"
    yield from (
        f"| {'✓' if each.ok else '✗'} | `{each.metric}` | `{each.threshold}` | {each.value} |"
        for each in result.thresholds
    )
    yield "\n## Figures\n"
    yield "| what | |\n| --- | ---: |"
    yield from (f"| {what} | {result.value(name):,.0f} |" for name, what in SHOWN.items() if name in result.metrics)
    yield f"| most memory of k6 | {outcome.k6_memory / 2**20:.0f} MiB |"
    if outcome.options.scenario == "polling":
        yield from _compared(outcome)


def _compared(outcome: Outcome) -> Iterator[str]:
    """Streams and polling side by side."""
    yield "\n## The same information, streamed and polled\n"
    yield "| | streams | polling |\n| --- | ---: | ---: |"
    sides = ("{side:streams}", "{side:polling}")
    for what, names in {
        "requests": ("sse_opened", "http_reqs"),
        "bytes received": ("data_received", "data_received"),
        "bytes sent": ("data_sent", "data_sent"),
        "CPU seconds of the servers": ("compared_cpu", "compared_cpu"),
    }.items():
        values = (outcome.result.value(name + side) for name, side in zip(names, sides, strict=True))
        yield f"| {what} | {' | '.join(f'{value:,.1f}' if 'CPU' in what else f'{value:,.0f}' for value in values)} |"
    streamed = outcome.result.metrics["sse_delay_p50"]["values"]["value"]
    polled = outcome.result.metrics["delivery_polled"]["values"]["med"]
    yield f"| how old an event is when it is there, median | {streamed:,.0f} ms | {polled:,.0f} ms |"


def _pods(outcome: Outcome, found: Figures) -> Iterator[str]:
    yield "\n## Pods\n"
    yield "What each pod held more at the end of a life than at its beginning, beside its log and beside one file for each stream:"
    yield "the slope of a line by least squares, over the time that it was watched, and two standard errors of it.\n"
    yield "| pod | life | watched | memory | per hour | open files |\n| ---: | ---: | ---: | ---: | ---: | ---: |"
    for each in found.growths:
        memory, files = each.memory, each.files
        hourly = memory.per_second * 3600 / 2**20
        yield (
            f"| {each.life.pod} | {each.life.boot} | {memory.seconds:.0f} s | {_spread(memory, 2**20)} MiB | {hourly:+.1f} MiB | "
            f"{_spread(files, 1)} |"
        )
    if found.unwatched:
        yield f"\nLives that were too short to tell anything about: {found.unwatched}."


def _spread(found: Slope, size: int) -> str:
    return f"{found.grown / size:+.2f} ± {found.give_or_take / size:.2f}"


def _body(outcome: Outcome, found: Figures, machine: Mapping[str, str]) -> dict[str, Any]:
    result = outcome.result
    return {
        "machine": dict(machine),
        "options": asdict(outcome.options),
        "passed": not found.wrong,
        "wrong": found.wrong,
        "thresholds_crossed": result.code == THRESHOLDS_CROSSED,
        "thresholds": [each._asdict() for each in result.thresholds],
        "metrics": dict(result.metrics),
        "k6": {"code": result.code, "said": result.said, "seconds": result.seconds, "memory": outcome.k6_memory},
        "pods": [_growth(each) for each in found.growths],
        "changes": [
            {**asdict(each), "began": each.began - outcome.began, "ended": each.ended - outcome.began}
            for each in outcome.changes
        ],
        "samples": [
            [{**asdict(each), "at": each.at - outcome.began} for each in thinned(samples, SAMPLES_SHOWN)]
            for samples in outcome.samples
        ],
    }


def _growth(each: Growth) -> dict[str, Any]:
    return {
        "pod": each.life.pod,
        "life": each.life.boot,
        **{
            name: {**found._asdict(), "grown": found.grown, "give_or_take": found.give_or_take}
            for name, found in (("memory", each.memory), ("files", each.files))
        },
    }
