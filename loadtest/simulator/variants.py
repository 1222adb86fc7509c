"""Other policies than the shipped one, and what each of them trades for what: a table and a picture from figures alone."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from loadtest.simulator.goals import Totals, of, ratio
from ssecast_operator.results import Figures
from ssecast_operator.spec import Spec

ROLLOUT = "rolling-upgrade"
"""Its pods are replaced by the Deployment, whoever says how many there are."""

FORCED_GOAL, PODS_GOAL = 0.3, 1.05


def _drain(**fields: int) -> dict[str, Any]:
    return {"drain": fields}


def _scaling(**fields: Any) -> dict[str, Any]:
    return {"scaling": fields}


VARIANTS: Mapping[str, dict[str, Any]] = {
    "patienceSeconds 0": _drain(patienceSeconds=0),
    "patienceSeconds 600": _drain(patienceSeconds=600),
    "patienceSeconds 1200": _drain(patienceSeconds=1200),
    "rebalance off": _scaling(rebalance={"enabled": False}),
    "tolerance.down 0.05": _scaling(tolerance={"down": 0.05}),
    "tolerance.down 0.15": _scaling(tolerance={"down": 0.15}),
    "rebalance.threshold 0.2": _scaling(rebalance={"threshold": 0.2}),
    "burst 0": _scaling(burst=0),
    "streamsPerPod.target 7000": _scaling(streamsPerPod={"target": 7000}),
}
"""Everything that is not said is as shipped. The rivals have the shipped target."""


def spec_of(variant: str) -> Spec:
    return Spec.model_validate(VARIANTS[variant])


class Point(NamedTuple):
    """A policy against the rivals over all traces."""

    name: str
    forced: float
    """Forced disconnects per client-hour by those of the HPA."""
    forced_but_rollout: float
    pods: float
    """Pod-hours by those of the HPA."""
    pods_knative: float
    refused: float
    """By those of the HPA."""
    refused_knative: float
    peak: float


def points(found: Sequence[Figures]) -> list[Point]:
    """The shipped policy and every variant that was run, by the seeds that both have."""
    seeds = {each.seed for each in found if each.label in VARIANTS}
    fair = [each for each in found if each.seed in seeds]
    labels = ["operator", *(name for name in VARIANTS if any(each.label == name for each in fair))]
    return [_point(fair, label) for label in labels] if seeds else []


def _point(found: Sequence[Figures], label: str) -> Point:
    calm = [each for each in found if each.trace != ROLLOUT]
    ours, hpa, knative = of(found, label), of(found, "hpa"), of(found, "knative")
    return Point(
        "shipped" if label == "operator" else label,
        _forced(ours, hpa),
        _forced(of(calm, label), of(calm, "hpa")),
        ratio(ours.pod_hours, hpa.pod_hours),
        ratio(ours.pod_hours, knative.pod_hours),
        ratio(ours.refused, hpa.refused),
        ratio(ours.refused, knative.refused),
        ours.peak,
    )


def _forced(ours: Totals, theirs: Totals) -> float:
    return ratio(ours.forced_per_client_hour, theirs.forced_per_client_hour)


HEAD = """
## What other policies would do

Each has a thing or two that differ from the shipped policy; over all traces, seed{plural} {seeds}. The rivals are always at the
shipped target. *But for the rollout*: without the trace `rolling-upgrade`, in which all pods are replaced, whoever says how many
there are.

![Forced disconnects against pod-hours, by policy](tradeoffs.png)

| policy | forced disconnects, of the HPA's | but for the rollout | pod-hours, of the HPA's | of Knative's | refused, of the HPA's | of Knative's | peak |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
"""


def section(found: Sequence[Figures]) -> Iterator[str]:
    """Nothing, where no variant was run."""
    shown = points(found)
    if not shown:
        return
    seeds = sorted({each.seed for each in found if each.label in VARIANTS})
    yield HEAD.format(plural="s" if len(seeds) > 1 else "", seeds=", ".join(map(str, seeds)))
    for each in shown:
        cells = (
            f"{each.forced:.2f}x", f"{each.forced_but_rollout:.2f}x", f"{each.pods:.3f}x", f"{each.pods_knative:.3f}x",
            f"{each.refused:.2f}x", f"{each.refused_knative:.2f}x", f"{each.peak:,.0f}",
        )  # fmt: skip
        yield f"| {each.name} | {' | '.join(cells)} |\n"


def draw(shown: Sequence[Point]) -> Figure:
    """What is nearer to the lower left corner is better in both."""
    figure = Figure(figsize=(10, 6), layout="constrained")
    axes = figure.subplots()
    for number, each in enumerate(shown):
        colour = "#c62828" if each.name == "shipped" else "#1565c0"
        axes.plot([each.pods] * 2, [each.forced, each.forced_but_rollout], "-", color=colour, linewidth=0.8, alpha=0.5)
        # Numbers, for names of neighbours would cover each other; on both sides for the same reason.
        axes.plot(each.pods, each.forced, "o", color=colour, label=f"{number}  {each.name}")
        axes.plot(each.pods, each.forced_but_rollout, "o", color=colour, fillstyle="none")
        place = (6, -3) if number % 2 else (-11 - 5 * (number > 9), -3)
        axes.annotate(str(number), (each.pods, each.forced), place, textcoords="offset points", fontsize=8)
    axes.legend(loc="center left", fontsize=8, markerscale=0, handlelength=0)
    axes.plot(1, 1, "s", color="#616161")
    axes.annotate(" HPA", (1, 1), fontsize=8, va="bottom")
    axes.axhline(FORCED_GOAL, color="#2e7d32", linestyle="--", linewidth=1)
    axes.axvline(PODS_GOAL, color="#2e7d32", linestyle="--", linewidth=1)
    axes.set_xlabel("pod-hours, of the HPA's (goal: left of the line)")
    axes.set_ylabel(
        "forced disconnects per client-hour, of the HPA's\n(goal: below the line; hollow: but for the rollout)"
    )
    axes.set_ylim(bottom=0)
    axes.set_xlim(right=max([PODS_GOAL, *(each.pods for each in shown)]) + 0.06)
    axes.grid(visible=True, alpha=0.3)
    return figure
