"""Plots of a run, as PNG and SVG: latency, memory and deliveries per second against the number of streams."""

from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from loadtest.bench.results import Results, number

mpl.rcParams["svg.hashsalt"] = "ssecast"  # the same measurements make the same file

COLOURS = {
    "ssecast": "#c62828",
    "ssecast-1": "#ff8a80",
    "go-hub": "#1565c0",
    "floor-n": "#212121",
    "floor-1": "#9e9e9e",
    "fastapi-streaming": "#ef6c00",
    "sse-starlette": "#00897b",
    "nchan": "#2e7d32",
    "express": "#6a1b9a",
    "express-cluster": "#ab47bc",
}
DASHED = ("floor-n", "floor-1")


class Plot(NamedTuple):
    """One picture; scale turns the metric's unit into that of the axis."""

    file: str
    scenario: str
    metric: str
    title: str
    axis: str
    scale: float = 1.0
    logarithmic: bool = False


PLOTS = (
    Plot("latency", "one", "last_ms", "One event: until the last stream has it", "milliseconds", logarithmic=True),
    Plot("memory", "one", "memory_per_stream", "Server memory per open stream", "KB", 1e-3, True),
    Plot("opening", "open", "heads_ms", "All streams opened at once: until the last one has its head", "milliseconds"),
    Plot("bursts", "burst", "burst50_per_s", "Burst of 50 events", "deliveries per second", logarithmic=True),
    Plot("burst-p99", "burst", "burst50_p99_ms", "Burst of 50 events: p99 of a delivery", "milliseconds", 1, True),
    Plot("idle", "idle", "cpu_percent", "CPU of idle streams", "% of one core"),
)


def draw(results: Results, folder: Path, subtitle: str) -> list[str]:
    """Draws what was measured; returns the names of the pictures."""
    drawn = []
    for plot in PLOTS:
        if results.of(plot.scenario):
            figure = Figure(figsize=(8, 5), layout="constrained")
            axes = figure.subplots()
            _lines(axes, results, plot)
            _dress(axes, results, plot, subtitle)
            figure.savefig(folder / f"{plot.file}.png", dpi=120)
            figure.savefig(folder / f"{plot.file}.svg", metadata={"Date": None})
            drawn.append(plot.file)
    return drawn


def _lines(axes: Axes, results: Results, plot: Plot) -> None:
    for peer in results.peers(plot.scenario):
        points = [
            (streams, spread)
            for streams in results.streams(plot.scenario)
            if (spread := results.spread(plot.scenario, peer, streams, plot.metric)) is not None
        ]
        if not points:
            continue
        middle = [spread.median * plot.scale for _, spread in points]
        below = [(spread.median - spread.least) * plot.scale for _, spread in points]
        above = [(spread.most - spread.median) * plot.scale for _, spread in points]
        if len(results.streams(plot.scenario)) == 1:  # one number of streams is no line
            axes.bar(peer, middle, yerr=[below, above], color=COLOURS.get(peer), capsize=3)
            continue
        axes.errorbar(
            [streams for streams, _ in points],
            middle,
            yerr=[below, above],
            label=peer,
            color=COLOURS.get(peer),
            linestyle="--" if peer in DASHED else "-",
            linewidth=2.4 if peer == "ssecast" else 1.5,
            marker="o",
            markersize=4,
            capsize=3,
        )


def _dress(axes: Axes, results: Results, plot: Plot, subtitle: str) -> None:
    axes.set_title(f"{plot.title}\n", fontsize=12)
    axes.text(0.5, 1.02, subtitle, transform=axes.transAxes, ha="center", fontsize=8, color="#555555")
    axes.set_ylabel(plot.axis)
    sweep = results.streams(plot.scenario)
    if len(sweep) == 1:
        axes.set_xlabel(f"{sweep[0]:,} open streams")
    else:
        axes.set_xlabel("open streams")
        axes.set_xticks(sweep, [f"{streams:,}" for streams in sweep])
        axes.legend(fontsize=8)
    if plot.logarithmic and len(sweep) > 1:  # a bar needs its zero
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, place: number(value)))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_ylim(bottom=0)
    axes.grid(visible=True, axis="y", alpha=0.25)
