"""The plot of a run: faults, open streams, reconnects per second and the oldest pod's memory over time."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loadtest.chaos.faults import ORDERLY, SUDDEN
from loadtest.chaos.figures import Figures
from loadtest.chaos.session import OLDEST, Outcome

mpl.rcParams["svg.hashsalt"] = "ssecast"  # the same measurements make the same file

SUDDEN_COLOUR, ORDERLY_COLOUR, OTHER_COLOUR, GAP_COLOUR = "#c62828", "#1565c0", "#616161", "#6a1b9a"
LEAST_WIDTH = 0.4
"""Seconds that a fault takes at least on the plot, or it could not be seen."""


def draw(outcome: Outcome, found: Figures, folder: Path, title: str) -> None:
    """Writes chaos.png and chaos.svg."""
    figure = Figure(figsize=(12, 10.5), layout="constrained")
    lanes, streams, rates, memory = figure.subplots(4, 1, sharex=True, height_ratios=(5, 3, 3, 2))
    _faults(lanes, outcome)
    streams.plot(found.timeline.open_streams, color="#2e7d32")
    streams.set_ylabel("open streams")
    streams.set_ylim(bottom=0)
    rates.plot(found.timeline.reconnects_per_second, color="#212121")
    rates.axhline(outcome.options.budget, color=SUDDEN_COLOUR, linestyle="--", linewidth=1)
    rates.annotate("budget", (0, outcome.options.budget), color=SUDDEN_COLOUR, va="bottom", fontsize=8)
    rates.set_ylabel("reconnects per second")
    rates.set_ylim(bottom=0)
    samples = [each for each in outcome.samples[OLDEST] if each.rss]
    memory.plot(
        [(each.at - outcome.began) / 1000 for each in samples],
        [each.rss / 2**20 for each in samples],
        color=OTHER_COLOUR,
    )
    memory.set_ylabel(f"MiB of pod {OLDEST}")
    memory.set_ylim(bottom=0)
    memory.set_xlabel("seconds")
    for axes in (lanes, streams, rates, memory):
        axes.grid(visible=True, axis="x", alpha=0.25)
    lanes.set_title(title, fontsize=11)
    figure.savefig(folder / "chaos.png", dpi=110)
    figure.savefig(folder / "chaos.svg", metadata={"Date": None})


def _faults(axes: Axes, outcome: Outcome) -> None:
    names = list(dict.fromkeys(each.fault.name for each in outcome.happened))
    for each in outcome.happened:
        began, ended = ((at - outcome.began) / 1000 for at in (each.began, each.ended))
        lane = names.index(each.fault.name)
        axes.broken_barh(
            [(began, max(ended - began, LEAST_WIDTH))],
            (lane - 0.35, 0.7),
            facecolor=_colour(each.part, each.fault.name),
            edgecolor="black" if each.fault.alone else "none",
        )
        if each.fault.pod >= 0:
            axes.annotate(str(each.fault.pod), (began, lane), fontsize=6, va="center", ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_ylabel("faults, with the pod; framed: alone")


def _colour(part: int, name: str) -> str:
    if name in SUDDEN:
        return SUDDEN_COLOUR
    if name in ORDERLY:
        return ORDERLY_COLOUR
    return GAP_COLOUR if part == 2 else OTHER_COLOUR
