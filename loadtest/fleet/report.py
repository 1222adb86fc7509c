"""Files of a run: JSON with every figure, a Markdown page, and the plot."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from loadtest.chaos.oracle import FAULTS
from loadtest.fleet.objects import Policy
from loadtest.fleet.session import Outcome

mpl.rcParams["svg.hashsalt"] = "ssecast"  # the same measurements make the same file

MUST_BE_ZERO = (*FAULTS, "gaps", "unsettled")


def wrong(outcome: Outcome, policy: Policy) -> list[str]:
    """What is not as it must be, in words."""
    found = [f"{name}: {outcome.counts[name]:,}, which must be 0" for name in MUST_BE_ZERO if outcome.counts[name]]
    for step in outcome.steps:
        peak = outcome.peak(step)
        if peak > policy.budget:
            found.append(f"{step.name}: {peak:,} reconnects in one second, more than the budget of {policy.budget:,}")
    return found


def write(folder: Path, outcome: Outcome, policy: Policy, machine: Mapping[str, str]) -> None:
    """Writes all files of a run into a folder, which is made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(_body(outcome, policy, machine), indent=1) + "\n")
    _draw(folder, outcome, policy)
    (folder / "README.md").write_text("\n".join(_page(outcome, policy, machine)) + "\n")
    for name, text in outcome.described.items():
        (folder / f"described-{name.replace(' ', '-')}.txt").write_text(text + "\n")


def _page(outcome: Outcome, policy: Policy, machine: Mapping[str, str]) -> Iterator[str]:
    counts = outcome.counts
    yield f"# A fleet of {policy.pods[0]} to {policy.pods[1]} pods under {outcome.streams:,} streams\n"
    problems = wrong(outcome, policy)
    yield (
        f"{'; '.join(problems)}.\n"
        if problems
        else (
            f"{counts['made']:,} deliveries of {counts['published']:,} events on a real cluster: none lost, duplicated or out "
            f"of order, no gap, no client gave up, and never more than {policy.budget} reconnects in a second.\n"
        )
    )
    yield "![Pods, streams and reconnects per second over time](fleet.png)\n"
    yield "| step | lasted | most reconnects in a second | budget | |\n| --- | ---: | ---: | ---: | --- |"
    for step in outcome.steps:
        seconds = (step.ended - step.began) / 1000
        yield f"| {step.name} | {seconds:.0f} s | {outcome.peak(step):,} | {policy.budget:,} | {step.what} |"
    yield "\n| what | |\n| --- | ---: |"
    rows = {"published": "events published", "made": "deliveries", "reconnects": "reconnects"}
    yield from (f"| {what} | {counts[name]:,} |" for name, what in rows.items())
    yield from (f"| **{name.replace('_', ' ')}** | **{counts[name]:,}** |" for name in MUST_BE_ZERO)
    if outcome.findings:
        yield "\n## What was found\n"
        yield from (f"- {' '.join(finding.split())}" for finding in outcome.findings)
    yield "\n`described-*.txt` hold what `kubectl describe` and the operator said after each step.\n"
    yield "| machine | |\n| --- | --- |"
    yield from (f"| {name} | {value} |" for name, value in machine.items())


def _draw(folder: Path, outcome: Outcome, policy: Policy) -> None:
    figure = Figure(figsize=(12, 8), layout="constrained")
    pods, streams, rates = figure.subplots(3, 1, sharex=True)
    seconds = [(look.at - outcome.began) / 1000 for look in outcome.looks]
    for name, style in (("desired", "--"), ("replicas", "-"), ("ready", ":")):
        pods.step(seconds, [getattr(look, name) for look in outcome.looks], style, where="post", label=name)
    pods.set_ylabel("pods")
    pods.legend(loc="lower right")
    streams.plot(outcome.timeline.open_streams, color="#2e7d32")
    streams.set_ylabel("open streams")
    rates.plot(outcome.timeline.reconnects_per_second, color="#212121")
    rates.axhline(policy.budget, color="#c62828", linestyle="--", linewidth=1)
    rates.annotate("maxReconnectsPerSecond", (0, policy.budget), color="#c62828", va="bottom", fontsize=8)
    rates.set_ylabel("reconnects per second")
    rates.set_xlabel("seconds")
    for axes in (pods, streams, rates):
        axes.set_ylim(bottom=0)
        axes.grid(visible=True, axis="x", alpha=0.25)
        for step in outcome.steps:
            axes.axvline((step.began - outcome.began) / 1000, color="#90a4ae", linewidth=0.8)
    for step in outcome.steps:
        pods.annotate(step.name, ((step.began - outcome.began) / 1000, 0.2), fontsize=8, rotation=90, va="bottom")
    figure.savefig(folder / "fleet.png", dpi=110)
    figure.savefig(folder / "fleet.svg", metadata={"Date": None})


def _body(outcome: Outcome, policy: Policy, machine: Mapping[str, str]) -> dict[str, Any]:
    return {
        "machine": dict(machine),
        "policy": asdict(policy),
        "streams": outcome.streams,
        "counts": dict(outcome.counts),
        "findings": outcome.findings,
        "steps": [
            {
                "name": step.name,
                "second": (step.began - outcome.began) / 1000,
                "seconds": (step.ended - step.began) / 1000,
                "peak_reconnects": outcome.peak(step),
                "what": step.what,
            }
            for step in outcome.steps
        ],
        "looks": [asdict(look) | {"at": look.at - outcome.began} for look in outcome.looks],
        "open_streams": outcome.timeline.open_streams,
        "reconnects_per_second": outcome.timeline.reconnects_per_second,
    }
