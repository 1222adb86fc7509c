"""Two other autoscalers, written from their documentation: a HorizontalPodAutoscaler and Knative's rule. Pure.

Both are told streams per pod, and remember what they did; neither knows who has the fewest streams, drains, or evens out.

Sources: Kubernetes' documentation "Horizontal Pod Autoscaling" (algorithm details, configurable scaling behavior); Knative's
"Autoscaling" (stable and panic windows, scale rates).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import NamedTuple, Protocol

from ssecast_operator.scaling import Behavior, Scaling
from ssecast_operator.windows import (
    Change,
    Wishes,
    down_limit,
    highest,
    lowest,
    stabilised,
    up_limit,
    with_change,
    with_high,
    with_low,
)

HPA_SECONDS = 15.0
"""--horizontal-pod-autoscaler-sync-period."""
HPA_TOLERANCE = 0.1
"""--horizontal-pod-autoscaler-tolerance."""

KNATIVE_SECONDS = 2.0
STABLE_SECONDS = 60.0
PANIC_SECONDS = 6.0
PANIC_THRESHOLD = 2.0
"""panic-threshold-percentage: 200."""
UP_RATE = 1000.0
"""max-scale-up-rate."""
UTILIZATION = 0.7
"""container-concurrency-target-percentage: 70. It means pods to have so much of the target that they are given."""
DOWN_RATE = 2.0
"""max-scale-down-rate."""


class Metrics(NamedTuple):
    """What the metrics say of pods without a deletionTimestamp: streams of those that have some, and how many have none."""

    streams: Sequence[float]
    missing: int


class Rival(Protocol):
    """Looks every so many seconds and says how many pods there should be."""

    seconds: float

    def scale(self, metrics: Metrics, replicas: int, ready: int, now: float) -> int: ...


@dataclass
class Hpa:
    """A metric of type Pods with an averageValue, and the behavior of the policy that it is compared with."""

    scaling: Scaling
    seconds: float = HPA_SECONDS
    _lows: Wishes = ()
    _highs: Wishes = ()
    _changes: tuple[Change, ...] = ()

    def scale(self, metrics: Metrics, replicas: int, ready: int, now: float) -> int:
        behavior = self.scaling.behavior
        wanted = self.recommend(metrics, replicas)
        self._lows = with_low(self._lows, now, wanted, behavior.scale_up.stabilization_window_seconds)
        self._highs = with_high(self._highs, now, wanted, behavior.scale_down.stabilization_window_seconds)
        wanted = stabilised(replicas, lowest(self._lows), highest(self._highs))
        wanted = min(wanted, up_limit(replicas, self._changes, behavior.scale_up, now))
        wanted = max(wanted, down_limit(replicas, self._changes, behavior.scale_down, now))
        wanted = max(self.scaling.min_replicas, min(self.scaling.max_replicas, wanted))
        if wanted != replicas:
            self._changes = with_change(self._changes, Change(now, wanted - replicas), _longest_period(behavior))
        return wanted

    def recommend(self, metrics: Metrics, replicas: int) -> int:
        """desiredReplicas = ceil(currentReplicas x currentMetricValue / desiredMetricValue), unless that is near to 1.

        Pods without metrics are assumed to have the desired value when the number falls, and nothing when it rises; where
        that turns the direction round, nothing is done.
        """
        if not metrics.streams:
            return replicas
        target, known = self.scaling.streams_per_pod.target, len(metrics.streams)
        ratio = sum(metrics.streams) / known / target
        counted = known
        if metrics.missing:
            counted += metrics.missing
            assumed = target * metrics.missing if ratio < 1 else 0.0
            cautious = (sum(metrics.streams) + assumed) / counted / target
            if (cautious < 1) != (ratio < 1):
                return replicas
            ratio = cautious
        if abs(ratio - 1) <= HPA_TOLERANCE:
            return replicas
        wanted = ceil(ratio * counted - 1e-9)
        turned = (wanted > replicas) if ratio < 1 else (wanted < replicas)
        return replicas if turned and metrics.missing else wanted


@dataclass
class Knative:
    """The mean of a minute, or in a panic of six seconds; in a panic the number never falls."""

    scaling: Scaling
    utilization: float = UTILIZATION
    seconds: float = KNATIVE_SECONDS
    _seen: list[tuple[float, float]] = field(default_factory=list)
    _panic_since: float | None = None
    _most: int = 0

    def scale(self, metrics: Metrics, replicas: int, ready: int, now: float) -> int:
        self._seen = [each for each in self._seen if each[0] > now - STABLE_SECONDS]
        if metrics.streams:
            # It takes the mean of those it has asked for the mean of all that are ready.
            self._seen.append((now, sum(metrics.streams) / len(metrics.streams) * max(ready, len(metrics.streams))))
        if not self._seen:
            return replicas
        least, most = ready // DOWN_RATE, ceil(UP_RATE * max(1, ready))
        stable = min(max(self._wanted(now, STABLE_SECONDS), least), most)
        panic = min(max(self._wanted(now, PANIC_SECONDS), least), most)
        wanted = self._in_panic(int(stable), int(panic), ready, now)
        return max(self.scaling.min_replicas, min(self.scaling.max_replicas, wanted))

    def _in_panic(self, stable: int, panic: int, ready: int, now: float) -> int:
        if panic >= PANIC_THRESHOLD * max(1, ready):
            self._most = max(self._most, ready) if self._panic_since is not None else ready
            self._panic_since = now
        elif self._panic_since is not None and now - self._panic_since > STABLE_SECONDS:
            self._panic_since = None
        if self._panic_since is None:
            return stable
        self._most = max(self._most, panic)
        return self._most

    def _wanted(self, now: float, window: float) -> int:
        """Pods for the mean of the window."""
        streams = [value for at, value in self._seen if at > now - window] or [self._seen[-1][1]]
        target = self.scaling.streams_per_pod.target * self.utilization
        return ceil(sum(streams) / len(streams) / target - 1e-9)


def _longest_period(behavior: Behavior) -> int:
    return max(policy.period_seconds for rules in (behavior.scale_up, behavior.scale_down) for policy in rules.policies)
