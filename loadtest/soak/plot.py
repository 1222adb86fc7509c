"""The plot of a run: streams, memory and descriptors of each pod over time, with the lines that were put through them."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loadtest.chaos.pods import Sample
from loadtest.soak.figures import Figures
from loadtest.soak.session import Outcome

mpl.rcParams["svg.hashsalt"] = "ssecast"  # the same measurements make the same file

CHANGE_COLOUR = "#c62828"


def draw(outcome: Outcome, found: Figures, folder: Path, title: str) -> None:
    """Writes soak.png and soak.svg."""
    figure = Figure(figsize=(12, 9), layout="constrained")
    streams, memory, files = figure.subplots(3, 1, sharex=True, height_ratios=(3, 4, 2))
    for number, samples in enumerate(outcome.samples):
        _pod(outcome, number, samples, (streams, memory, files))
    _lines(outcome, found, memory)
    for axes, label in (
        (streams, "open streams"),
        (memory, "MiB beside the log"),
        (files, "open files beside streams"),
    ):
        axes.set_ylabel(label)
        axes.set_ylim(0, axes.get_ylim()[1] * 1.1)
        axes.grid(visible=True, axis="x", alpha=0.25)
        for each in outcome.changes:
            axes.axvspan(_minute(outcome, each.began), _minute(outcome, each.ended), color=CHANGE_COLOUR, alpha=0.15)
    streams.legend(loc="lower left", fontsize=8)
    streams.set_title(f"{title}; red: a pod is drained, and another one started", fontsize=11)
    files.set_xlabel("minutes")
    figure.savefig(folder / "soak.png", dpi=110)
    figure.savefig(folder / "soak.svg", metadata={"Date": None})


def _pod(outcome: Outcome, number: int, samples: list[Sample], axes: tuple[Axes, Axes, Axes]) -> None:
    colour = f"C{number}"
    for boot in sorted({each.boot for each in samples}):
        life = [each for each in samples if each.boot == boot and each.streams >= 0]
        at = [_minute(outcome, each.at) for each in life]
        label = f"pod {number}" if boot == 1 else None
        axes[0].plot(at, [each.streams for each in life], color=colour, label=label)
        axes[1].plot(at, [(each.rss - each.kept) / 2**20 for each in life], color=colour, alpha=0.5)
        axes[2].plot(at, [each.files - each.streams for each in life], color=colour)


def _lines(outcome: Outcome, found: Figures, axes: Axes) -> None:
    """Through the middle of what was watched of each life, with the slope that was found."""
    for each in found.growths:
        life, (_, _, seconds) = each.life, each.memory
        watched = [
            (sample.rss - sample.kept) / 2**20
            for sample in outcome.samples[life.pod]
            if sample.boot == life.boot
            and life.until - seconds * 1000 <= sample.at <= life.until
            and sample.streams >= 0
        ]
        if watched:
            middle, half = sum(watched) / len(watched), each.memory.grown / 2**21
            ends = [_minute(outcome, life.until) - seconds / 60, _minute(outcome, life.until)]
            axes.plot(ends, [middle - half, middle + half], color="black", linewidth=1, linestyle="--")


def _minute(outcome: Outcome, at: int) -> float:
    return (at - outcome.began) / 60_000
