"""Pictures of simulated runs: clients, pods, reconnects and refusals over time. They need matplotlib."""

from collections.abc import Callable, Mapping
from io import StringIO
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ssecast_operator.simulation import Run, Series

mpl.rcParams["svg.hashsalt"] = "ssecast"  # the same runs make the same file

COLOURS = ("#c62828", "#1565c0", "#2e7d32", "#ef6c00", "#6a1b9a")
POINTS_MAX = 2000
"""More do not show in a picture; each stands for the largest value around it, so that no peak is lost."""

Floats = NDArray[np.float64]

PANELS: tuple[tuple[str, Callable[[Series], Floats]], ...] = (
    ("connected clients", lambda series: series.connected),
    ("pods", lambda series: series.pods),
    ("forced reconnects\nper second", lambda series: series.returned),
    ("refused\nper second", lambda series: series.refused),
)


def draw(runs: Mapping[str, Run]) -> Figure:
    """All runs of one trace in one picture; by label."""
    figure = Figure(figsize=(10, 9), layout="constrained")
    panels = figure.subplots(len(PANELS), 1, sharex=True)
    first = next(iter(runs.values()))
    for axes, (name, values) in zip(panels, PANELS, strict=True):
        for (label, run), colour in zip(runs.items(), COLOURS, strict=False):
            _line(axes, values(run.series), label, colour)
        axes.set_ylabel(name)
        axes.grid(visible=True, alpha=0.3)
    _line(panels[0], first.series.clients, "clients of the trace", "#9e9e9e", style=":")
    budget = first.spec.scaling.max_reconnects_per_second
    panels[2].axhline(budget, color="#212121", linestyle="--", linewidth=1, label="maxReconnectsPerSecond")
    panels[2].legend(loc="upper right", fontsize="small")
    panels[0].legend(loc="upper right", fontsize="small")
    for axes in panels:
        # By what is drawn: matplotlib would put the upper end of what never changes right where that is.
        axes.set_ylim(0, 1.05 * max(1.0, *(float(np.max(line.get_ydata())) for line in axes.lines)))
    panels[-1].set_xlabel("hours")
    figure.suptitle(f"{first.trace.name}, seed {first.seed}")
    return figure


def save(figure: Figure, path: Path) -> None:
    """As what the name ends in says, without the time at which it was drawn."""
    metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
    figure.savefig(path, dpi=90, metadata=metadata)


def as_svg(figure: Figure) -> str:
    """For a page; names of its parts are made from what it shows, so two pictures on a page do not mix them up."""
    text = StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def _line(axes: Axes, values: Floats, label: str, colour: str, style: str = "-") -> None:
    step = -(-len(values) // POINTS_MAX)
    padded = np.pad(values, (0, -len(values) % step), mode="edge")
    peaks = padded.reshape(-1, step).max(axis=1)
    axes.plot(np.arange(len(peaks)) * step / 3600, peaks, style, label=label, color=colour, linewidth=1.2)
