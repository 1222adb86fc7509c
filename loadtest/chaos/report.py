"""Files of a run: JSON with every figure, a Markdown page, and the plot."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from loadtest.chaos.effects import SIGNS
from loadtest.chaos.faults import ORDERLY, SUDDEN
from loadtest.chaos.figures import MUST_BE_ZERO, Figures, spread
from loadtest.chaos.plan import WHAT
from loadtest.chaos.plot import draw
from loadtest.chaos.pods import Sample
from loadtest.chaos.proxy import LEFT_OUT
from loadtest.chaos.session import OLDEST, Outcome, PodWeight
from loadtest.chaos.traffic import KINDS
from loadtest.chaos.treadmill import ROUNDS, STREAMS

HOW = """What it is and how it is judged: [loadtest/README.md](../../README.md#chaos). Everything ran on one machine, on loopback."""
SAMPLES_SHOWN = 120
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
    yield from _deliveries(outcome, found)
    yield from _faults(outcome, found)
    yield from _pods(outcome, found)
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
        f"most of them, of an orderly fault alone ({_alone(found, ORDERLY)})": _peak(
            found.peak(ORDERLY, alone=True), options.budget
        ),
        f"most of them, of a sudden fault alone ({_alone(found, SUDDEN)})": _peak(
            found.peak(SUDDEN, alone=True), options.budget
        ),
        f"most of them, of the {counts['reconnects_aged']:,} after streams that ended by age": _peak(
            found.peak_aged, options.budget
        ),
        f"most of them, around orderly faults that overlap others ({', '.join(sorted(ORDERLY))})": _most(
            found.peak(ORDERLY, alone=False)
        ),
        f"most of them, around sudden faults that overlap others ({', '.join(sorted(SUDDEN))})": _most(
            found.peak(SUDDEN, alone=False)
        ),
        "events whose time in the JSON form was compared": f"{counts['times_compared']:,}",
    }
    yield from (f"| {what} | {value} |" for what, value in rows.items())
    yield "\nDeliveries expected are worked out from the publisher's log, where each client began, and the gaps that it was told"
    yield "of. Peaks are of any second; those of faults that overlap are those of several, and are reported, not judged."


def _deliveries(outcome: Outcome, found: Figures) -> Iterator[str]:
    """By kind of client, in the order in which they are defined."""
    yield "\n## Pauses and delays\n"
    yield "Of each client its longest pause between two events, less the time in which the publisher rested, and the longest"
    yield "way of an event, from when it was handed to NATS until the client had it; of all clients of a kind the median, the"
    yield "99th percentile and the most. Who asks for one subject of several has pauses by nature, and so have `interval` and"
    yield "`latest`; whoever is behind a fault has both.\n"
    yield "| clients | how many | asks for | longest pause: median | p99 | most | longest way: median | p99 | most |"
    yield "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    for kind in KINDS:
        if each := found.deliveries.get(kind.name):
            values = [*spread(each.pauses).values(), *spread(each.delays).values()]
            cells = " | ".join(f"{value / 1000:.1f} s" for value in values)
            asks = f"`{kind.query}`" if kind.query else "everything" + ", and reads slowly" * bool(kind.rate)
            yield f"| {kind.name} | {len(each.pauses):,} | {asks} | {cells} |"
    if found.latest is not None:
        way, client = found.latest
        yield f"\nLongest waited client {client.index} ({client.kind}), {way.delay / 1000:.1f} s for an event of second"
        yield f"{(way.sent - outcome.began) / 1000:.1f}."


def _faults(outcome: Outcome, found: Figures) -> Iterator[str]:
    peaks = {id(happened): peak for happened, peak in found.peaks}
    effects = {id(happened): had for happened, had in found.effects}
    yield "\n## Faults\n"
    yield "Effect is how much those counters rose that tell of a fault of this kind, on its pod or on all pods.\n"
    yield "| part | second | fault | pod | lasted | effect | peak of reconnects | |"
    yield "| ---: | ---: | --- | ---: | ---: | ---: | ---: | --- |"
    for each in sorted(outcome.happened, key=lambda happened: happened.began):
        began = (each.began - outcome.began) / 1000
        lasted = (each.ended - each.began) / 1000
        pod = str(each.fault.pod) if each.fault.pod >= 0 else ""
        peak = str(peaks.get(id(each), ""))
        name = f"{each.fault.name}, alone" if each.fault.alone else each.fault.name
        what = each.trouble or each.what
        yield f"| {each.part} | {began:.1f} | {name} | {pod} | {lasted:.1f} s | {effects[id(each)]:,} | {peak} | {what} |"
    yield ""
    names = dict.fromkeys(each.fault.name for each in outcome.happened)
    yield from (f"- `{name}`: {WHAT[name]}; it shows in {_signs(name)}" for name in names)


def _signs(name: str) -> str:
    return ", ".join(f"`{sign.removeprefix('ssecast_')}`" for sign in SIGNS[name])


def _pods(outcome: Outcome, found: Figures) -> Iterator[str]:
    yield "\n## Pods\n"
    if found.growth is None:
        yield f"Pod {OLDEST} did not live long enough to say how it grew.\n"
    else:
        yield f"Pod {OLDEST} was not ended after the first blackout. In the {found.growth.seconds:.0f} s of its life its memory"
        yield f"beside the log grew by **{found.growth.rss / 2**20:.1f} MiB** by the median of the slopes between all samples"
        yield f"({found.growth.rss_per_minute / 2**20:.2f} MiB per minute; the log by {found.growth.kept / 2**20:.1f} MiB), and its open files beside its streams by"
        yield f"**{found.growth.files}**. The plot shows the memory over time: a pod keeps the highest that it ever needed.\n"
    if found.kept is not None:
        yield f"At the end, alone, it was given {ROUNDS} times the same {STREAMS} streams: of each it kept **{found.kept:.0f} bytes**.\n"
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


def _peak(peak: int | None, budget: float) -> str:
    return "-" if peak is None else f"{peak:,} {'✓' if peak <= budget else '✗'}"


def _most(peak: int | None) -> str:
    return "-" if peak is None else f"{peak:,}"


def _alone(found: Figures, names: frozenset[str]) -> str:
    kinds = {each.fault.name for each, _ in found.peaks if each.fault.alone and each.fault.name in names}
    return ", ".join(sorted(kinds)) or "none"


def thinned(samples: Sequence[Sample]) -> Sequence[Sample]:
    """Some of them, evenly spread."""
    return samples[:: max(len(samples) // SAMPLES_SHOWN, 1)]


def _body(outcome: Outcome, found: Figures, machine: Mapping[str, str]) -> dict[str, Any]:
    effects = {id(happened): had for happened, had in found.effects}
    peaks = {id(happened): peak for happened, peak in found.peaks}
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
                "alone": bool(each.fault.alone),
                "effect": effects[id(each)],
                "peak": peaks.get(id(each)),
                "what": each.what,
                "trouble": each.trouble,
            }
            for each in outcome.happened
        ],
        "weights": {when: [asdict(weight) for weight in weights] for when, weights in outcome.weights.items()},
        "counters": dict(sorted(outcome.counters.items())),
        "oldest_pod": [
            {
                "second": each.at // 1000 - outcome.began // 1000,
                "streams": each.streams,
                "rss": each.rss,
                "files": each.files,
                "log_bytes": each.kept,
            }
            for each in thinned(outcome.samples[OLDEST])
        ],
        "open_streams": found.timeline.open_streams,
        "reconnects_per_second": found.timeline.reconnects_per_second,
    }
