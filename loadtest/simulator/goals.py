"""What the shipped policy should reach against its rivals, and whether it does: from figures alone."""

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
    drained: float
    shed: float
    ended: float
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
        drained=sum(each.drained for each in runs),
        shed=sum(each.shed for each in runs),
        ended=sum(each.ended for each in runs),
        peak=max(each.peak_reconnects for each in runs),
        over_budget=sum(not each.within_budget for each in runs),
        oscillations=sum(each.oscillations for each in runs),
        over_target=sum(each.over_target * each.pod_hours for each in runs) / pods,
        recover=max(each.seconds_to_recover for each in runs),
    )


def of(found: Sequence[Figures], who: str, trace: str = "") -> Totals:
    return totals(each for each in found if each.label == who and trace in ("", each.trace))


class Goal(NamedTuple):
    """met: by the operator's totals and a rival's; None: it is no goal, but good to know. shown: what is compared, in words.
    without: traces that are left out."""

    words: str
    rival: str
    shown: Callable[[Totals, Totals], str]
    met: Callable[[Totals, Totals], bool] | None
    without: tuple[str, ...] = ()


def ratio(ours: float, theirs: float) -> float:
    """Nothing by nothing is as good as each other."""
    return ours / theirs if theirs > 1e-9 else (1.0 if ours < NOBODY else float("inf"))


FILLED = "knative, filled"
"""Knative's rule that may fill pods to our target: with a target of its own that is larger by as much as it leaves free."""


def _pods_and_refusals(ours: Totals, theirs: Totals) -> str:
    return f"{ratio(ours.pod_hours, theirs.pod_hours):.3f}x, refusals {ratio(ours.refused, theirs.refused):.2f}x"


GOALS = (
    Goal(
        "forced disconnects per client-hour at most 0.3x",
        "hpa",
        lambda ours, hpa: f"{ratio(ours.forced_per_client_hour, hpa.forced_per_client_hour):.2f}x",
        lambda ours, hpa: ours.forced_per_client_hour <= 0.3 * hpa.forced_per_client_hour + 1e-9,
    ),
    Goal(
        "the same, but for the rollout",
        "hpa",
        lambda ours, hpa: f"{ratio(ours.forced_per_client_hour, hpa.forced_per_client_hour):.2f}x",
        lambda ours, hpa: ours.forced_per_client_hour <= 0.3 * hpa.forced_per_client_hour + 1e-9,
        without=("rolling-upgrade",),
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
        _pods_and_refusals,
        lambda ours, knative: ours.pod_hours <= 0.9 * knative.pod_hours and ours.refused <= knative.refused + NOBODY,
    ),
    Goal("the same, where it fills pods to the target too", FILLED, _pods_and_refusals, None),
)
