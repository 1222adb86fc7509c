"""What the shipped policy should reach against its rivals, and whether it does: a page made from figures alone."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from ssecast_operator.results import Figures

NOBODY = 1.0
"""Fewer refusals than this are none."""


class Totals(NamedTuple):
    """Over several runs."""

    pod_hours: float
    refused: float
    forced_per_client_hour: float
    peak: float
    over_budget: int
    """Runs whose peak was above the budget."""
    oscillations: int
    over_target: float
    recover: int


def totals(found: Iterable[Figures]) -> Totals:
    """Sums; disconnects by the hours of all clients; the worst peak and the longest recovery."""
    runs = list(found)
    hours = sum(each.client_hours for each in runs)
    pods = sum(each.pod_hours for each in runs)
    return Totals(
        pod_hours=pods,
        refused=sum(each.refused for each in runs),
        forced_per_client_hour=sum(each.forced_per_client_hour * each.client_hours for each in runs) / hours,
        peak=max(each.peak_reconnects for each in runs),
        over_budget=sum(not each.within_budget for each in runs),
        oscillations=sum(each.oscillations for each in runs),
        over_target=sum(each.over_target * each.pod_hours for each in runs) / pods,
        recover=max(each.seconds_to_recover for each in runs),
    )


class Goal(NamedTuple):
    """met: by the operator's totals and a rival's. shown: what is compared, in words."""

    words: str
    rival: str
    shown: Callable[[Totals, Totals], str]
    met: Callable[[Totals, Totals], bool]


def ratio(ours: float, theirs: float) -> float:
    """Nothing by nothing is as good as each other."""
    return ours / theirs if theirs > 1e-9 else (1.0 if ours < NOBODY else float("inf"))


GOALS = (
    Goal(
        "forced disconnects per client-hour at most 0.3x",
        "hpa",
        lambda ours, hpa: f"{ratio(ours.forced_per_client_hour, hpa.forced_per_client_hour):.2f}x",
        lambda ours, hpa: ours.forced_per_client_hour <= 0.3 * hpa.forced_per_client_hour + 1e-9,
    ),
    Goal(
        "refused connections at most 0.5x",
        "hpa",
        lambda ours, hpa: f"{ratio(ours.refused, hpa.refused):.2f}x",
        lambda ours, hpa: ours.refused <= 0.5 * hpa.refused + NOBODY,
    ),
    Goal(
        "pod-hours at most 1.05x",
        "hpa",
        lambda ours, hpa: f"{ratio(ours.pod_hours, hpa.pod_hours):.3f}x",
        lambda ours, hpa: ours.pod_hours <= 1.05 * hpa.pod_hours,
    ),
    Goal(
        "peak reconnects within the budget, always",
        "hpa",
        lambda ours, hpa: f"{ours.peak:,.0f} per second at most; HPA {hpa.peak:,.0f}",
        lambda ours, _: not ours.over_budget,
    ),
    Goal(
        "no oscillation",
        "hpa",
        lambda ours, hpa: f"{ours.oscillations}; HPA {hpa.oscillations}",
        lambda ours, _: not ours.oscillations,
    ),
    Goal(
        "pod-hours at most 0.9x at no more refusals",
        "knative",
        lambda ours, knative: (
            f"{ratio(ours.pod_hours, knative.pod_hours):.3f}x, refusals {ratio(ours.refused, knative.refused):.2f}x"
        ),
        lambda ours, knative: ours.pod_hours <= 0.9 * knative.pod_hours and ours.refused <= knative.refused + NOBODY,
    ),
)

HEAD = """# The shipped policy in the simulator

Made by `make simulator`: a Broadcaster of which nothing is said, up to {clients:,} clients, seeds {seeds}, beside an HPA and
Knative's rule at the same target. What the model knows, and what each figure means: [docs/simulate.md](../../../docs/simulate.md).
The figures are the same whenever it is made anew.

## Goals, over all traces

| goal | against | reached | |
| --- | --- | --- | --- |
"""

TRACES = """
## By trace

Totals over the seeds. Time to recover and peak are the worst of them; *over target* is the share of the pods' time that they
had more streams than `streamsPerPod.target`.

| trace | who | pod-hours | refused | time to recover | forced disconnects per client-hour | peak reconnects per second | oscillations | over target |
| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
"""

WORSE = """
## Where ours is worse

"""

PICTURES = """
## Pictures

Seed {seed}.

"""


def report(found: Sequence[Figures], clients: int) -> str:
    """The whole page."""
    names = list(dict.fromkeys(each.trace for each in found))
    seeds = sorted({each.seed for each in found})
    parts = [HEAD.format(clients=clients, seeds=", ".join(map(str, seeds)))]
    parts += [goal_line(goal, of(found, "operator"), of(found, goal.rival)) for goal in GOALS]
    parts.append(TRACES)
    parts += [trace_line(name, who, of(found, who, name)) for name in names for who in ("operator", "hpa", "knative")]
    parts.append(WORSE)
    parts += [f"- {sentence}\n" for sentence in worse(found, names)] or ["Nowhere.\n"]
    parts.append(PICTURES.format(seed=seeds[0]))
    parts += [f"![Clients, pods, reconnects and refusals over time: {name}]({name}.png)\n" for name in names]
    return "".join(parts)


def of(found: Sequence[Figures], who: str, trace: str = "") -> Totals:
    return totals(each for each in found if each.label == who and trace in ("", each.trace))


def goal_line(goal: Goal, ours: Totals, theirs: Totals) -> str:
    verdict = "met" if goal.met(ours, theirs) else "**missed**"
    return f"| {goal.words} | {goal.rival} | {goal.shown(ours, theirs)} | {verdict} |\n"


def trace_line(name: str, who: str, seen: Totals) -> str:
    cells = (
        name, who, f"{seen.pod_hours:,.1f}", f"{seen.refused:,.0f}", f"{seen.recover:,} s", f"{seen.forced_per_client_hour:.4f}",
        f"{seen.peak:,.0f}", str(seen.oscillations), f"{100 * seen.over_target:.1f} %",
    )  # fmt: skip
    return f"| {' | '.join(cells)} |\n"


def worse(found: Sequence[Figures], names: Sequence[str]) -> list[str]:
    """One sentence per trace and rival for each figure in which the rival does better."""
    sentences = []
    for name in names:
        ours = of(found, "operator", name)
        for who, called in (("hpa", "the HPA"), ("knative", "Knative's rule")):
            theirs = of(found, who, name)
            better = [
                f"{words} ({shown.format(mine)} against {shown.format(other)})"
                for words, shown, mine, other, slack in (
                    ("forced disconnects per client-hour", "{:.4f}", ours.forced_per_client_hour, theirs.forced_per_client_hour, 5e-5),
                    ("refused connections", "{:,.0f}", ours.refused, theirs.refused, NOBODY),
                    ("pod-hours", "{:,.1f}", ours.pod_hours, theirs.pod_hours, 0.05),
                    ("peak reconnects per second", "{:,.0f}", ours.peak, theirs.peak, 0.5),
                    ("time to recover, s", "{:,}", ours.recover, theirs.recover, 0.5),
                )
                if mine > other + slack
            ]  # fmt: skip
            if better:
                sentences.append(f"`{name}`, {called} has less: {'; '.join(better)}.")
    return sentences
