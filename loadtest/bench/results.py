"""Measurements and what they say together: medians with their spread, and ratios of what ran side by side. Pure."""

import json
import math
import statistics
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple


@dataclass(frozen=True, slots=True)
class Measurement:
    """One run of one scenario."""

    scenario: str
    peer: str
    streams: int
    round: int
    metrics: Mapping[str, float]


class Spread(NamedTuple):
    """Median, least and most of some rounds."""

    median: float
    least: float
    most: float


@dataclass(frozen=True, slots=True)
class Results:
    """All measurements of a run of the benchmark."""

    measurements: tuple[Measurement, ...]

    def of(self, scenario: str) -> list[Measurement]:
        return [each for each in self.measurements if each.scenario == scenario]

    def streams(self, scenario: str) -> list[int]:
        return sorted({each.streams for each in self.of(scenario)})

    def peers(self, scenario: str) -> list[str]:
        """In the order in which they first ran."""
        return list(dict.fromkeys(each.peer for each in self.of(scenario)))

    def values(self, scenario: str, peer: str, streams: int, metric: str) -> dict[int, float]:
        """The metric's finite values by round."""
        found = {
            each.round: each.metrics[metric]
            for each in self.of(scenario)
            if each.peer == peer and each.streams == streams and metric in each.metrics
        }
        return {number: value for number, value in found.items() if math.isfinite(value)}

    def spread(self, scenario: str, peer: str, streams: int, metric: str) -> Spread | None:
        values = self.values(scenario, peer, streams, metric).values()
        return Spread(statistics.median(values), min(values), max(values)) if values else None

    def ratio(self, scenario: str, streams: int, metric: str, peer: str, rival: str) -> Spread | None:
        """peer / rival, round by round: what drifts in between hits both."""
        mine, its = (self.values(scenario, name, streams, metric) for name in (peer, rival))
        ratios = [mine[number] / its[number] for number in mine if its.get(number)]
        return Spread(statistics.median(ratios), min(ratios), max(ratios)) if ratios else None


def to_json(results: Results, machine: Mapping[str, str], notes: Iterable[str]) -> str:
    body: dict[str, Any] = {"machine": dict(machine), "notes": list(notes)}
    body["measurements"] = [asdict(each) for each in results.measurements]
    return json.dumps(body, indent=1) + "\n"


def from_json(text: str) -> tuple[Results, dict[str, str], list[str]]:
    body = json.loads(text)
    return Results(tuple(Measurement(**each) for each in body["measurements"])), body["machine"], body["notes"]


def table(results: Results, scenario: str, metrics: Iterable[str]) -> Iterator[str]:
    """A Markdown table of the medians; where there were several rounds, with least and most."""
    shown = list(metrics)
    yield f"| streams | peer | {' | '.join(map(heading, shown))} |"
    yield "| ---: | --- |" + " ---: |" * len(shown)
    for streams in results.streams(scenario):
        for peer in results.peers(scenario):
            cells = [results.spread(scenario, peer, streams, metric) for metric in shown]
            if any(cells):
                texts = [cell(spread, metric) for spread, metric in zip(cells, shown, strict=True)]
                yield f"| {streams:,} | {peer} | {' | '.join(texts)} |"


UNITS = {
    "_ms": "ms", "_us": "µs", "_us_per_delivery": "µs per delivery", "_per_s": "per s", "_percent": "%",
    "memory_per_stream": "KB per stream", "_bytes": "MB",
}  # fmt: skip
SCALES = {"memory_per_stream": 1e-3, "_bytes": 1e-6}


def _suffix(metric: str) -> str:
    return max((suffix for suffix in UNITS if metric.endswith(suffix)), key=len, default="")


def heading(metric: str) -> str:
    suffix = _suffix(metric)
    name = metric.removesuffix(suffix) or "memory"
    return f"{name.replace('_', ' ')}{', ' if suffix else ''}{UNITS.get(suffix, '')}"


def cell(spread: Spread | None, metric: str) -> str:
    if spread is None:
        return ""
    median, least, most = (number(value * SCALES.get(_suffix(metric), 1)) for value in spread)
    return median if least == most else f"{median} ({least}-{most})"


def number(value: float) -> str:
    """Three digits that count."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
