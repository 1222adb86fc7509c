"""`make dashboard-pictures`: draws docs/dashboards from a live fleet, for lack of a Grafana.

Some minutes of a lively day: clients come, the fleet grows, streams move to new pods, a rollout replaces all pods, NATS
restarts, clients leave, and pods are drained away. Prometheus watches; then each panel's queries are drawn in the
dashboard's own grid. Everything is on loopback.
"""

import asyncio
import json
import math
import re
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from monitoring.dashboards import DASHBOARDS, text_of
from monitoring.panels import COLUMNS
from tests.monitoring.fleet import Fleet, fleets
from tests.monitoring.names import filled
from tests.monitoring.prometheus import Prometheus, watching
from tests.monitoring.rules import ROOT

FOLDER = ROOT / "docs" / "dashboards"
SCRAPE_SECONDS = 2.0
LEGEND_MAX = 8

Series = list[dict[str, Any]]

SCALING: Mapping[str, Any] = {
    "maxReplicas": 6,
    "behavior": {"scaleDown": {"stabilizationWindowSeconds": 20}},
    "surge": {"holdSeconds": 15},
    "rebalance": {"minPodAgeSeconds": 20, "threshold": 0.1},
}


class Look(NamedTuple):
    """What time a picture shows."""

    start: float
    end: float
    step: float


async def a_lively_day(fleet: Fleet) -> None:
    """About six minutes. The stream is kept in memory, so that NATS has lost it when it is back."""
    for streams, seconds in ((60, 30), (260, 75)):
        fleet.crowd.wanted = streams
        await asyncio.sleep(seconds)
    fleet.roll_out()
    await asyncio.sleep(110)
    await asyncio.to_thread(fleet.server.stop)
    await asyncio.sleep(8)
    await asyncio.to_thread(fleet.server.start)
    await asyncio.sleep(20)
    fleet.crowd.wanted = 60
    await asyncio.sleep(110)


async def draw_all() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in ("fleet", "prometheus"):
            (Path(folder) / name).mkdir()
        async with (
            fleets(Path(folder) / "fleet", streams=30, **SCALING) as fleet,
            watching(fleet, Path(folder) / "prometheus", SCRAPE_SECONDS) as prometheus,
        ):
            start = time.time()
            await a_lively_day(fleet)
            look = Look(start, time.time(), SCRAPE_SECONDS)
            for dashboard in DASHBOARDS:
                await draw(json.loads(text_of(dashboard)), FOLDER / f"{dashboard.name}.png", prometheus, look)


async def draw(body: dict[str, Any], path: Path, prometheus: Prometheus, look: Look) -> None:
    """One dashboard; a row of its grid is 0.27 inches high."""
    panels = body["panels"]
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    figure = Figure(figsize=(16, 0.27 * rows + 0.6), dpi=80)
    figure.suptitle(
        body["title"], x=0.01, y=1 - 0.12 / figure.get_figheight(), ha="left", va="top", size=14, weight="bold"
    )
    top = 1 - 0.5 / figure.get_figheight()
    for panel in panels:
        place = panel["gridPos"]
        unit = top / rows
        x, w = place["x"] / COLUMNS, place["w"] / COLUMNS
        bottom, height = top - (place["y"] + place["h"]) * unit, place["h"] * unit
        if panel["type"] == "row":
            figure.text(0.01, bottom + height / 3, panel["title"], size=11, weight="bold", color="#555555")
            continue
        left = 0.09 if panel["type"] == "state-timeline" else 0.04
        inner = (x + left, bottom + 0.28 * height, w - left - 0.01, 0.55 * height)
        axes = figure.add_axes((x + 0.01, bottom, w - 0.02, height) if panel["type"] == "stat" else inner)
        await _panel(axes, panel, prometheus, look)
    figure.savefig(path)


async def _panel(axes: Axes, panel: dict[str, Any], prometheus: Prometheus, look: Look) -> None:
    found = [
        (target, await prometheus.query_range(filled(target["expr"], prometheus.rate_interval), *look))
        for target in panel["targets"]
    ]
    lines = [(_legend(target["legendFormat"], one["metric"]), _points(one)) for target, many in found for one in many]
    DRAWERS[panel["type"]](axes, panel, sorted(lines, key=lambda line: line[0]))
    if panel["type"] != "stat":
        axes.set_title(panel["title"], size=9, loc="left")
        axes.set_xlim(look.start, look.end)
        axes.set_xticks(range(math.ceil(look.start / 60) * 60, int(look.end), 60))
        axes.xaxis.set_major_formatter(lambda at, _: time.strftime("%H:%M", time.gmtime(at)))
        axes.tick_params(labelsize=7)


Line = tuple[str, list[tuple[float, float]]]


def _timeseries(axes: Axes, panel: dict[str, Any], lines: Sequence[Line]) -> None:
    custom, unit = panel["fieldConfig"]["defaults"]["custom"], panel["fieldConfig"]["defaults"]["unit"]
    lines = [line for line in lines if any(value for _, value in line[1])] or list(lines[:1])
    if custom["stacking"]["mode"] == "normal" and lines:
        times = sorted({at for _, points in lines for at, _ in points})
        known = [dict(points) for _, points in lines]
        stacks = [[_finite(each.get(at, 0.0)) for at in times] for each in known]
        axes.stackplot(times, stacks, labels=[name for name, _ in lines], alpha=0.75)
    else:
        for name, points in lines:
            drawn = [(at, value) for at, value in points if math.isfinite(value)]
            axes.plot([at for at, _ in drawn], [value for _, value in drawn], label=name, linewidth=1.2)
    axes.set_ylim(bottom=0)
    axes.set_yticks(_ticks(axes.get_ylim()[1], unit))
    axes.yaxis.set_major_formatter(lambda value, _: _in_unit(value, unit))
    axes.grid(alpha=0.25)
    _write_legend(axes, len(lines))


def _stat(axes: Axes, panel: dict[str, Any], lines: Sequence[Line]) -> None:
    axes.set_axis_off()
    field = panel["fieldConfig"]["defaults"]
    value = lines[0][1][-1][1] if lines else math.nan
    colors = [step["color"] for step in field["thresholds"]["steps"] if step["value"] is None or value >= step["value"]]
    axes.text(0, 0.95, panel["title"], size=9, va="top")
    shown = "no data" if math.isnan(value) else _in_unit(value, field["unit"])
    axes.text(0.5, 0.35, shown, size=20, ha="center", va="center", color={"red": "#c4162a"}.get(colors[-1], "#37872d"))


def _heatmap(axes: Axes, panel: dict[str, Any], lines: Sequence[Line]) -> None:
    """Buckets are cumulative in Prometheus, and not in a heat map."""
    by_bound = sorted(((float(name), dict(points)) for name, points in lines), key=lambda each: each[0])
    times = sorted({at for _, points in by_bound for at in points})
    cells, below = [], dict.fromkeys(times, 0.0)
    for _, points in by_bound:
        cells.append([max(0.0, points.get(at, 0.0) - below[at]) for at in times])
        below = {at: points.get(at, 0.0) for at in times}
    axes.pcolormesh(times, range(len(cells)), cells, cmap="Oranges", shading="nearest")
    ticks = range(0, len(by_bound), 3)
    axes.set_yticks(ticks, [_in_unit(by_bound[at][0], "s") for at in ticks])


def _timeline(axes: Axes, panel: dict[str, Any], lines: Sequence[Line]) -> None:
    for at, (name, points) in enumerate(lines):
        spans = [(moment, SCRAPE_SECONDS) for moment, value in points if value == 1]
        axes.broken_barh(spans, (at - 0.4, 0.8), color=f"C{at % 10}", label=name)
    axes.set_yticks(range(len(lines)), [name.rpartition(" ")[2] for name, _ in lines])
    axes.set_ylim(-0.6, max(0, len(lines) - 1) + 0.6)


DRAWERS: Mapping[str, Callable[[Axes, dict[str, Any], Sequence[Line]], None]] = {
    "timeseries": _timeseries,
    "stat": _stat,
    "heatmap": _heatmap,
    "state-timeline": _timeline,
}


def _write_legend(axes: Axes, count: int) -> None:
    handles, names = axes.get_legend_handles_labels()
    if count:
        shown = slice(LEGEND_MAX)
        axes.legend(
            handles[shown], names[shown], ncols=4, fontsize=6, frameon=False, loc="upper left", bbox_to_anchor=(-0.02, -0.12),
            columnspacing=0.8, handlelength=1.2, borderpad=0,
        )  # fmt: skip


def _points(one: dict[str, Any]) -> list[tuple[float, float]]:
    return [(float(at), float(value)) for at, value in one["values"]]


def _legend(pattern: str, labels: Mapping[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda name: labels.get(name[1], ""), pattern)


def _ticks(top: float, unit: str) -> list[float]:
    """Four or five round numbers, as the unit has them."""
    base = {"bytes": 1024.0, "Bps": 1024.0, "s": 60.0 if top > 120 else 1.0}.get(unit, 1.0)
    scale = base ** math.floor(math.log(max(top, 1e-9), base)) if base > 60 else base
    raw = top / scale / 4
    ten = 10 ** math.floor(math.log10(raw))
    step = scale * next(ten * nice for nice in (1, 2, 2.5, 5, 10) if ten * nice >= raw)
    return [at * step for at in range(int(top / step) + 1)]


def _finite(value: float) -> float:
    return value if math.isfinite(value) else 0.0


def _in_unit(value: float, unit: str) -> str:
    """About as Grafana writes it."""
    if not math.isfinite(value):
        return str(value)
    match unit:
        case "percentunit":
            return f"{100 * value:.3g} %"
        case "s":
            return (
                f"{1000 * value:.3g} ms"
                if 0 < abs(value) < 1
                else f"{value:.3g} s"
                if abs(value) < 120
                else f"{value / 60:.3g} min"
            )
        case "bytes" | "Bps":
            for prefix in ("", "Ki", "Mi", "Gi"):
                if abs(value) < 1024 or prefix == "Gi":
                    return f"{value:.3g} {prefix}B{'/s' if unit == 'Bps' else ''}"
                value /= 1024
    return f"{value:.4g}{'/s' if unit in ('reqps', 'cps', 'ops') else ''}"


def main() -> None:
    mpl.use("agg")
    asyncio.run(draw_all())


if __name__ == "__main__":
    main()
