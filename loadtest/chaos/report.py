"""Files of a run: JSON with every figure, a Markdown page, and the plot."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from loadtest.chaos.faults import ORDERLY, SUDDEN
from loadtest.chaos.figures import MUST_BE_ZERO, Figures, spread
from loadtest.chaos.plan import WHAT
from loadtest.chaos.plot import draw
from loadtest.chaos.proxy import LEFT_OUT
from loadtest.chaos.session import Outcome, PodWeight

HOW = """What it is and how it is judged: [loadtest/README.md](../../README.md#chaos). Everything ran on one machine, on loopback."""
SHOWN = ("source_restarts", "resumes", "gaps", "breaks", "streams_closed", "streams_refused")


def write(folder: Path, outcome: Outcome, found: Figures, machine: Mapping[str, str]) -> None:
    """Writes all files of a run into a folder, which is made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(_body(outcome, found, machine), indent=1) + "\n")
    draw(outcome, found, folder, title(outcome))
    (folder / "README.md").write_text("\n".join(page(outcome, found, machine)) + "\n")


def title(outcome: Outcome) -> str:
    options = outcome.options
    return (
        f"{options.clients:,} clients, {options.pods} pods, {options.minutes:g} minutes of faults, seed {options.seed}"
    )


def verdict(found: Figures) -> str:
    """One sentence."""
    if found.wrong:
        return f"{'; '.join(found.wrong)}: all of these must be 0."
    counts = found.counts
    return (
        f"{counts['made']:,} deliveries of {counts['published']:,} events: none lost, duplicated or out of order, "
        f"{counts['gaps']:,} gaps and all of them true, none missing, and no client gave up."
    )


def page(outcome: Outcome, found: Figures, machine: Mapping[str, str]) -> Iterator[str]:
    yield f"# Chaos: {title(outcome)}\n"
    yield f"{verdict(found)}\n"
    yield f"{HOW}\n"
    if not outcome.proxy:
        yield f"{LEFT_OUT}.\n"
    yield "![Faults, open streams and reconnects per second over time](chaos.png)\n"
    yield from _figures(outcome, found)
    yield from _faults(outcome, found)
    yield from _pods(outcome)
    if found.findings:
        yield "\n## What was found\n"
        yield from (f"- {' '.join(finding.split())}" for finding in found.findings)
    yield "\n## Where\n"
    yield "| machine | |\n| --- | --- |"
    yield from (f"| {name} | {value} |" for name, value in machine.items())


def _figures(outcome: Outcome, found: Figures) -> Iterator[str]:
    counts, options = found.counts, outcome.options
    yield "## Figures\n"
    yield "| what | |\n| --- | ---: |"
    rows = {
        "events published and acknowledged": f"{counts['published']:,}",
        "attempts that it took": f"{outcome.attempts:,}",
        "deliveries expected": f"{counts['expected']:,}",
        "deliveries made": f"{counts['made']:,}",
        **{f"**{what}**": f"**{counts[name]:,}**" for name, what in MUST_BE_ZERO.items()},
        "true gaps": f"{counts['gaps']:,}",
        "reconnects": f"{counts['reconnects']:,}",
        "budget of reconnects per second": f"{options.budget:,.0f}",
        f"most of them, around orderly faults ({', '.join(sorted(ORDERLY))})": _peak(
            found.peak(ORDERLY), options.budget
        ),
        f"most of them, around sudden faults ({', '.join(sorted(SUDDEN))})": _peak(found.peak(SUDDEN), options.budget),
        "longest way of an event, per client: median, p99, most": _seconds(spread(found.delays)),
        "longest pause between two events, per client": _seconds(spread(found.pauses)),
    }
    yield from (f"| {what} | {value} |" for what, value in rows.items())
    yield "\nPauses hold those of the publisher, which rests in some faults; the way of an event, from when it was handed to NATS"
    yield "until a client had it, does not. Both are of the clients that are owed every event. Faults overlap, so a peak may"
    yield "be that of several."


def _faults(outcome: Outcome, found: Figures) -> Iterator[str]:
    peaks = {id(happened): peak for happened, peak in found.peaks}
    yield "\n## Faults\n"
    yield "| part | second | fault | pod | lasted | peak of reconnects | |\n| ---: | ---: | --- | ---: | ---: | ---: | --- |"
    for each in sorted(outcome.happened, key=lambda happened: happened.began):
        began = (each.began - outcome.began) / 1000
        lasted = (each.ended - each.began) / 1000
        pod = str(each.fault.pod) if each.fault.pod >= 0 else ""
        peak = str(peaks.get(id(each), ""))
        yield f"| {each.part} | {began:.1f} | {each.fault.name} | {pod} | {lasted:.1f} s | {peak} | {each.trouble or each.what} |"
    yield ""
    names = dict.fromkeys(each.fault.name for each in outcome.happened)
    yield from (f"- `{name}`: {WHAT[name]}" for name in names)


def _pods(outcome: Outcome) -> Iterator[str]:
    yield "\n## Pods\n"
    yield "At rest, before the first client, between the parts with all clients, and after the last one was gone. Files are those"
    yield "beside one for each stream.\n"
    yield "| pod | when | streams | open files | memory |\n| ---: | --- | ---: | ---: | ---: |"
    for when, weights in outcome.weights.items():
        yield from (_weight(when, weight) for weight in weights)
    yield "\nWhat they counted, as far as they could be asked before they were killed:\n"
    yield "| what | how often |\n| --- | ---: |"
    counted = ((name.removeprefix("ssecast_"), value) for name, value in sorted(outcome.counters.items()))
    yield from (f"| `{name}` | {value:,} |" for name, value in counted if value and name.startswith(SHOWN))


def _weight(when: str, weight: PodWeight) -> str:
    return f"| {weight.pod} | {when} | {weight.streams:,} | {weight.files} | {weight.rss / 2**20:.0f} MiB |"


def _peak(peak: int, budget: float) -> str:
    return f"{peak:,} {'✓' if peak <= budget else '✗'}"


def _seconds(values: Mapping[str, float]) -> str:
    return ", ".join(f"{value / 1000:.1f} s" for value in values.values())


def _body(outcome: Outcome, found: Figures, machine: Mapping[str, str]) -> dict[str, Any]:
    return {
        "machine": dict(machine),
        "options": asdict(outcome.options),
        "proxy": outcome.proxy,
        "figures": found.as_json(),
        "findings": found.findings,
        "plan": [[asdict(fault) for fault in part] for part in outcome.plan],
        "happened": [
            {
                "part": each.part,
                "fault": each.fault.name,
                "pod": each.fault.pod,
                "second": (each.began - outcome.began) / 1000,
                "seconds": (each.ended - each.began) / 1000,
                "what": each.what,
                "trouble": each.trouble,
            }
            for each in outcome.happened
        ],
        "weights": {when: [asdict(weight) for weight in weights] for when, weights in outcome.weights.items()},
        "counters": dict(sorted(outcome.counters.items())),
        "open_streams": found.timeline.open_streams,
        "reconnects_per_second": found.timeline.reconnects_per_second,
    }
