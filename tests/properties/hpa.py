"""A HorizontalPodAutoscaler, written from its documentation and nothing else: an oracle for our windows and rates.

https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/ ("Algorithm details", "Configurable scaling
behavior"). It keeps everything that it ever recommended and did, and looks through all of it each time. One metric, streams
per pod as an average, and every pod reports.
"""

from dataclasses import dataclass, field
from math import ceil, floor
from typing import Any


@dataclass
class Hpa:
    """behavior: as in the API. tolerance: by direction."""

    target: int
    min_replicas: int
    max_replicas: int
    tolerance_up: float
    tolerance_down: float
    behavior: dict[str, Any]
    recommendations: list[tuple[float, int]] = field(default_factory=list)
    added: list[tuple[float, int]] = field(default_factory=list)
    deleted: list[tuple[float, int]] = field(default_factory=list)

    def scale(self, now: float, current: int, streams: int) -> int:
        """The number of replicas it scales to, and remembers to have done so."""
        desired = self.recommend(current, streams)
        self.recommendations.append((now, desired))
        desired = self.stabilize(now, current, desired)
        desired = self.limit_rate(now, current, desired)
        desired = max(self.min_replicas, min(self.max_replicas, desired))
        if desired > current:
            self.added.append((now, desired - current))
        elif desired < current:
            self.deleted.append((now, current - desired))
        return desired

    def recommend(self, current: int, streams: int) -> int:
        """desiredReplicas = ceil[currentReplicas * (currentMetricValue / desiredMetricValue)], unless near enough to 1.

        With an average per pod that is the sum by the target; in whole numbers, so that nothing is lost by rounding.
        """
        ratio = streams / (self.target * current)
        if 1 - self.tolerance_down <= ratio <= 1 + self.tolerance_up:
            return current
        return -(-streams // self.target)

    def stabilize(self, now: float, current: int, desired: int) -> int:
        """Down to no less than the highest recommendation of the window; up to no more than the lowest of its window."""
        if desired > current:
            return max(current, min([desired, *self.within(now, "scaleUp")]))
        return min(current, max([desired, *self.within(now, "scaleDown")]))

    def within(self, now: float, direction: str) -> list[int]:
        window = self.behavior[direction]["stabilizationWindowSeconds"]
        return [wanted for at, wanted in self.recommendations if at > now - window]

    def limit_rate(self, now: float, current: int, desired: int) -> int:
        if desired > current:
            return min(desired, self.most(now, current))
        if desired < current:
            return max(desired, self.fewest(now, current))
        return desired

    def at_start(self, now: float, current: int, period: float) -> int:
        """periodStartReplicas = currentReplicas - replicasAddedInCurrentPeriod + replicasDeletedInCurrentPeriod."""
        added = sum(count for at, count in self.added if at > now - period)
        deleted = sum(count for at, count in self.deleted if at > now - period)
        return current - added + deleted

    def most(self, now: float, current: int) -> int:
        rules = self.behavior["scaleUp"]
        if rules["selectPolicy"] == "Disabled":
            return current
        allowed: list[int] = []
        for policy in rules["policies"]:
            start = self.at_start(now, current, policy["periodSeconds"])
            change = policy["value"] if policy["type"] == "Pods" else start * policy["value"] / 100
            allowed.append(ceil(start + change))
        return max(current, (min if rules["selectPolicy"] == "Min" else max)(allowed))

    def fewest(self, now: float, current: int) -> int:
        """selectPolicy Max allows the largest change, and so leaves the fewest pods."""
        rules = self.behavior["scaleDown"]
        if rules["selectPolicy"] == "Disabled":
            return current
        allowed: list[int] = []
        for policy in rules["policies"]:
            start = self.at_start(now, current, policy["periodSeconds"])
            change = policy["value"] if policy["type"] == "Pods" else start * policy["value"] / 100
            allowed.append(floor(start - change))
        return min(current, (max if rules["selectPolicy"] == "Min" else min)(allowed))
