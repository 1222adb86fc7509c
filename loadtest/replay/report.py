"""The page and the picture of a replay, from its `results.json`."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loadtest.replay.comparison import Compared, Side, compared, table

mpl.rcParams["svg.hashsalt"] = "ssecast"  # the same measurements make the same file

MEASURED, SIMULATED, BUDGET = "#1565c0", "#ef6c00", "#c62828"

DIFFERENCES = """
## Where they differ, and why

What the simulator leaves out, in the order of what it is worth:

- **Chance.** It deals out clients evenly, and each second gets what is expected of it. Real clients meet pods by chance and come
  back within 50 to 1000 ms of their own: seconds are uneven, and some pods are full before others. Peaks are above those of
  the plan for it, and stay below `maxReconnectsPerSecond`, whose last fifth is there for that.
- **When the operator looks.** Both look every five seconds, not at the same ones: a step may come up to a round earlier or later.
- **Kubernetes takes its time.** The model changes the pods a second after a decision and ends a pod when its last stream has
  gone; the scheduler, the kubelet, endpoints and the process itself take a few seconds for each, which the pods' curve shows
  at both ends.
- **Who is ready.** A pod of the model is ready when it has started; a probe finds it ready up to two seconds later, and a proxy
  later still.
- **A pod closes the oldest streams first**, one of the model any of them. Which ones does not change how many.
"""


def write(folder: Path, body: Mapping[str, Any]) -> None:
    """Writes all files of a run into a folder, which is made where it is missing. Raises BodyError."""
    found = compared(body)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(body, indent=1) + "\n")
    (folder / "README.md").write_text("\n".join(page(body, found)) + "\n")
    figure = draw(found)
    figure.savefig(folder / "replay.png", dpi=110, metadata={"Software": None})
    figure.savefig(folder / "replay.svg", metadata={"Date": None})


def page(body: Mapping[str, Any], found: Compared) -> Iterator[str]:
    rows = table(found)
    apart = [row.words for row in rows if not row.alike]
    yield f"# A kick-off with {body['clients']:,} real streams, and the simulator beside it\n"
    yield "Made by `make replay`. The simulator was given the clients that there were, second by second, the Broadcaster, and how long"
    yield f"a pod took to start ({body['start_seconds']:.1f} s), and nothing of what came of it.\n"
    yield "![Clients, pods, reconnects and refusals over time, measured and simulated](replay.png)\n"
    yield "| | measured | simulated | |\n| --- | ---: | ---: | --- |"
    for row in rows:
        verdict = f"within {row.within}" if row.alike else f"**not within {row.within}**"
        yield f"| {row.words} | {row.measured:,.0f} | {row.simulated:,.0f} | {verdict} |"
    yield f"\nBudget: {found.spec.scaling.max_reconnects_per_second:,} reconnects per second. Clients that gave up: {body['gave_up']:,}."
    yield f"\n{'Further apart than that: ' + '; '.join(apart) + '.' if apart else 'No figure is further apart than that.'}"
    yield DIFFERENCES
    yield "| machine | |\n| --- | --- |"
    yield from (f"| {name} | {value} |" for name, value in body.get("machine", {}).items())


def draw(found: Compared) -> Figure:
    """Both sides in one picture."""
    figure = Figure(figsize=(12, 10), layout="constrained")
    clients, pods, forced, refused = figure.subplots(4, 1, sharex=True)
    clients.plot(found.measured.wanted, ":", color="#9e9e9e", label="clients that want a stream")
    for label, side, colour in (("measured", found.measured, MEASURED), ("simulated", found.simulated, SIMULATED)):
        clients.plot(side.streams, color=colour, label=f"streams, {label}")
        pods.step(range(side.seconds), side.pods, "-", where="post", color=colour, label=f"pods, {label}")
        pods.step(range(side.seconds), side.ready, ":", where="post", color=colour, label=f"ready, {label}")
        forced.plot(side.forced, color=colour, label=label)
        refused.plot(side.refused, color=colour, label=label)
    budget = found.spec.scaling.max_reconnects_per_second
    forced.axhline(budget, color=BUDGET, linestyle="--", linewidth=1, label="maxReconnectsPerSecond")
    names = ("clients", "pods", "reconnects per second\nof streams that the fleet ended", "refused per second")
    for axes, name in zip((clients, pods, forced, refused), names, strict=True):
        _finish(axes, name, found.measured)
    refused.set_xlabel("seconds")
    return figure


def _finish(axes: Axes, name: str, side: Side) -> None:
    axes.set_ylabel(name)
    axes.set_ylim(bottom=0)
    axes.grid(visible=True, axis="x", alpha=0.25)
    axes.legend(loc="upper right", fontsize=8)
    for index, (mark, second) in enumerate(side.marks.items()):
        axes.axvline(second, color="#90a4ae", linewidth=0.8)
        axes.annotate(
            mark,
            (second, 0.02 + 0.35 * (index % 2)),  # two may be only seconds apart
            xycoords=axes.get_xaxis_transform(),
            fontsize=7,
            rotation=90,
            va="bottom",
            color="#546e7a",
        )
