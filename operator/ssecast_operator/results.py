"""What came of a simulation in a few figures, and beside each other. Pure.

Every figure is about one run: a trace, a policy, and who scaled.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssecast_operator.simulation import Run

RECOVERED_SHARE = 0.01
"""A fleet has recovered when less than this share of the clients is without a stream."""

REVERSAL_SECONDS = 600
"""Who turns round twice within so long has oscillated; a single turn may be the clients', who came and went."""

CLIENT = 0.5
"""Less than this is a fraction that is left over, no client."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one run. label: who scaled, or by which policy."""

    label: str
    trace: str
    seed: int
    client_hours: float
    pod_hours: float
    most_pods: int
    refused: float
    """How often a client was turned away; one that comes back three times counts three times."""
    given_up: float
    seconds_over_limit: int
    """Seconds in which a client was turned away."""
    seconds_to_recover: int
    """The longest time during which more than a hundredth of the clients had no stream."""
    over_target: float
    """Share of the pods' time that they had more streams than they should."""
    forced_per_client_hour: float
    """Streams that the fleet has closed; the next three are what they are made of, in streams."""
    drained: float
    """On pods that were told to drain."""
    shed: float
    ended: float
    """On pods that were told to terminate: replaced in a rollout, or removed by who does not drain first."""
    peak_reconnects: float
    """Most clients that reconnected in one second because the fleet had closed their streams."""
    budget: int
    """maxReconnectsPerSecond."""
    oscillations: int
    skew: float
    """Streams of the fullest pod by the mean, on average."""

    @property
    def within_budget(self) -> bool:
        return self.peak_reconnects <= self.budget


def figures_of(run: Run, label: str = "") -> Figures:
    """What came of a run."""
    series = run.series
    hours = float(series.connected.sum()) / 3600
    ready = float(series.ready.sum())
    busy = series.mean > 1
    return Figures(
        label=label or run.scaler.value,
        trace=run.trace.name,
        seed=run.seed,
        client_hours=hours,
        pod_hours=float(series.pods.sum()) / 3600,
        most_pods=int(series.pods.max()),
        refused=float(series.refused.sum()),
        given_up=float(series.given_up[-1]),
        seconds_over_limit=int((series.refused > CLIENT).sum()),
        seconds_to_recover=longest(series.waiting + series.given_up > RECOVERED_SHARE * np.maximum(series.clients, 1)),
        over_target=float(series.over.sum()) / ready if ready else 0.0,
        forced_per_client_hour=float(series.forced.sum()) / hours if hours else 0.0,
        drained=float(series.drained.sum()),
        shed=float(series.shed.sum()),
        ended=float(series.ended.sum()),
        peak_reconnects=float(series.returned.max()),
        budget=run.spec.scaling.max_reconnects_per_second,
        oscillations=oscillations(series.desired),
        skew=float((series.hottest[busy] / series.mean[busy]).mean()) if busy.any() else 1.0,
    )


def longest(true: NDArray[np.bool_]) -> int:
    """How many seconds in a row it was true at most."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], true, [False])).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max()) if len(edges) else 0


def oscillations(desired: Floats) -> int:
    """How often the number turned round and back again within a short time."""
    steps = np.diff(desired)
    changes = np.flatnonzero(steps)
    turned = np.diff(np.sign(steps[changes])) != 0
    soon = changes[2:] - changes[:-2] <= REVERSAL_SECONDS
    return int((turned[1:] & turned[:-1] & soon).sum())


class Row(NamedTuple):
    """One figure in words."""

    words: str
    shown: Callable[[Figures], str]


ROWS = (
    Row("pod-hours", lambda each: f"{each.pod_hours:,.1f}"),
    Row("most pods", lambda each: f"{each.most_pods:,}"),
    Row("refused connections", lambda each: f"{each.refused:,.0f}"),
    Row("clients that gave up", lambda each: f"{each.given_up:,.0f}"),
    Row("time over limit, s", lambda each: f"{each.seconds_over_limit:,}"),
    Row("time to recover, s", lambda each: f"{each.seconds_to_recover:,}"),
    Row("pods over target, % of their time", lambda each: f"{100 * each.over_target:.1f}"),
    Row("forced disconnects per client-hour", lambda each: f"{each.forced_per_client_hour:.4f}"),
    Row("- streams drained", lambda each: f"{each.drained:,.0f}"),
    Row("- streams shed", lambda each: f"{each.shed:,.0f}"),
    Row("- streams on pods that ended", lambda each: f"{each.ended:,.0f}"),
    Row("peak reconnects per second", lambda each: f"{each.peak_reconnects:,.0f} of {each.budget:,}"),
    Row("oscillations", lambda each: f"{each.oscillations:,}"),
    Row("skew (fullest pod / mean)", lambda each: f"{each.skew:.3f}"),
)


def as_json(found: Sequence[Figures]) -> list[dict[str, Any]]:
    """Rounded, so that a file made anew differs only where something has changed."""
    return [
        {key: round(value, 6) if isinstance(value, float) else value for key, value in asdict(each).items()}
        for each in found
    ]
