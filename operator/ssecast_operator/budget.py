"""What follows from `maxReconnectsPerSecond`: windows of drains, and the timing of Deployment and pods. Pure.

The promise is a maximum, and closes that are spread evenly do not arrive evenly: each client adds 50 to 1000 ms of its own
before it reconnects, and streams that reach their maximum age reconnect meanwhile. So everything is planned with four
fifths of the budget (`PLANNED_PERCENT`); the last fifth is what the peaks are made of.

- Scale-down: all victims share one window, `streams of all of them / budget`.
- Rollout: the Deployment does not wait for pods that terminate. With `maxSurge: 1, maxUnavailable: 0` it ends the next pod
  as soon as its successor was ready for `minReadySeconds`, so drains overlap: as many as there are such steps in a window.
  `minReadySeconds` makes that few enough, whatever the window is.
- A pod that dies without a word: its clients come back after `retry` plus a random part, which is as long as a full pod
  takes within the budget.
"""

from dataclasses import dataclass
from math import ceil, floor

from ssecast_operator.scaling import PLANNED_PERCENT
from ssecast_operator.spec import Spec

GRACE_MARGIN_SECONDS = 15
"""From the end of the window to SIGKILL: the last farewells, closing NATS, and the time until the kubelet acts."""

START_SECONDS = 60
"""A new pod may take so long until it is ready: pulling the image, warming its log."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Everything in seconds. Derived from a spec by `budget_of`."""

    per_second: float
    """Reconnects that are planned per second: four fifths of `maxReconnectsPerSecond`."""
    window: float
    """`drain.windowSeconds`: no drain is faster, however few streams there are."""
    delay: float
    patience: float
    """`drain.patienceSeconds`: how long the streams of a victim may end by themselves before they are closed."""
    limit: int
    """Streams of a full pod."""
    retry: float
    """Shortest wait of a client before it reconnects."""

    def seconds_for(self, streams: int) -> float:
        """How long so many clients take to reconnect."""
        return streams / self.per_second

    def drain_window(self, streams: int) -> float:
        """The one window that all victims of a scale-down share; streams: of all of them."""
        return max(self.window, self.seconds_for(streams))

    @property
    def pod_window(self) -> float:
        """Over how long a pod that is told to terminate closes its streams, full as it may be (DRAIN_SECONDS)."""
        return self.drain_window(self.limit)

    @property
    def retry_spread(self) -> float:
        """Random part of a client's wait: what the clients of a full pod that dies are spread over (RETRY_SPREAD_MS)."""
        return self.seconds_for(self.limit)

    @property
    def mean_retry(self) -> float:
        """How long a client that was refused waits on average."""
        return self.retry + self.retry_spread / 2

    @property
    def longest_retry(self) -> float:
        return self.retry + self.retry_spread

    @property
    def min_ready(self) -> int:
        """minReadySeconds of the Deployment.

        So many full pods may drain at once: budget x window / limit, rounded down. With a step of window / that, no more
        do. A step shorter than the window would otherwise let the last instant of one drain meet the first of another.
        """
        at_once = max(1, floor(self.per_second * self.pod_window / self.limit))
        return ceil(self.pod_window / at_once)

    @property
    def grace(self) -> int:
        """terminationGracePeriodSeconds of the pods; it counts from the delete and includes the wait for endpoints."""
        return ceil(self.delay + self.pod_window) + GRACE_MARGIN_SECONDS

    def progress_deadline(self, replicas: int) -> int:
        """progressDeadlineSeconds of the Deployment: longer than a rollout of all pods, one after the other."""
        return (replicas + 1) * (START_SECONDS + self.min_ready + self.grace)


def budget_of(spec: Spec) -> Budget:
    """The budget of a Broadcaster."""
    scaling = spec.scaling
    return Budget(
        per_second=scaling.max_reconnects_per_second * PLANNED_PERCENT / 100,
        window=float(spec.drain.window_seconds),
        delay=float(spec.drain.delay_seconds),
        patience=float(spec.drain.patience_seconds),
        limit=scaling.streams_per_pod.limit,
        retry=spec.stream.retry_milliseconds / 1000,
    )
