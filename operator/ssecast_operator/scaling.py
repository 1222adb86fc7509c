"""`spec.scaling`: how many pods, how fast, and how many clients may have to reconnect for it."""

from typing import Literal

from ssecast_operator.wire import Model, of, ruled

MAX_PODS = 1000
MAX_STREAMS = 10**6
WINDOW_MAX = 3600
"""Seconds; the HPA's own bound of a stabilisation window, and ours of everything that drains."""
PERIOD_MAX = 1800
"""Seconds; the HPA's own bound of a policy's period."""

PLANNED_PERCENT = 80
"""Share of `maxReconnectsPerSecond` that is planned with; why, `budget` says."""


class StreamsPerPod(Model):
    """How many streams one pod is meant to have, and how many it takes at most."""

    model_config = ruled(
        ("self.target <= self.limit", "target must not exceed limit: a pod cannot be meant to have more than it takes")
    )

    target: int = of(
        6000,
        "Streams that a pod should have. The fleet has as many pods as it takes for this: (open streams + refused "
        "clients + burst) / target, rounded up. Keep a distance from limit: what lies between is there for a pod that "
        "dies, whose clients come back to the others.",
        ge=1,
        le=MAX_STREAMS,
    )
    limit: int = of(
        10_000,
        "Streams that a pod takes at most; further clients are told to come back, which takes them to another pod. A "
        "change reaches running pods without a rollout.",
        ge=1,
        le=MAX_STREAMS,
        setting="MAX_STREAMS",
    )


class Tolerance(Model):
    """How far the demand may be from what the pods are meant for before anything is done, as a share (0.1: 10 %)."""

    up: float = of(0.1, "No pod is added while the demand is at most this much above pods x target.", ge=0, le=10)
    down: float = of(
        0.1,
        "No pod is removed while the demand is at most this much below pods x target.",
        ge=0,
        le=1,
    )


class Policy(Model):
    """The most that may change within a period."""

    type: Literal["Pods", "Percent"] = of(
        ..., "Whether value is a number of pods, or a percentage of the pods there were when the period began."
    )
    value: int = of(..., "How many pods, or how many percent of them.", ge=1, le=2**31 - 1)
    period_seconds: int = of(..., "Length of the period.", ge=1, le=PERIOD_MAX)


SelectPolicy = Literal["Max", "Min", "Disabled"]
_SELECT = (
    "Which policy counts where there are several: Max, the one that allows the largest change; Min, the one that allows "
    "the smallest; Disabled: no change in this direction."
)


class ScaleUp(Model):
    """How fast pods are added."""

    stabilization_window_seconds: int = of(
        0, "Pods are added when they were wanted throughout this long: the lowest wish counts.", ge=0, le=WINDOW_MAX
    )
    select_policy: SelectPolicy = of("Max", _SELECT)
    policies: tuple[Policy, ...] = of(
        (Policy(type="Pods", value=4, period_seconds=15), Policy(type="Percent", value=100, period_seconds=15)),
        "The most that may be added within a period.",
        min_length=1,
        max_length=16,
    )


class ScaleDown(Model):
    """How fast pods are removed. Whatever is allowed here, they are drained within maxReconnectsPerSecond first."""

    stabilization_window_seconds: int = of(
        300,
        "Pods are removed when they were not wanted throughout this long: the highest wish counts. As long, nothing is "
        "removed after a start of the operator or a time without data.",
        ge=0,
        le=WINDOW_MAX,
    )
    select_policy: SelectPolicy = of("Max", _SELECT)
    policies: tuple[Policy, ...] = of(
        (Policy(type="Percent", value=100, period_seconds=15),),
        "The most that may be removed within a period.",
        min_length=1,
        max_length=16,
    )


class Behavior(Model):
    """Windows and rates in the shape, with the meaning and with the defaults of a HorizontalPodAutoscaler's behavior."""

    scale_up: ScaleUp = of(ScaleUp(), "How fast pods are added.")
    scale_down: ScaleDown = of(
        ScaleDown(),
        "How fast pods are removed. Whatever is allowed here, they are drained within maxReconnectsPerSecond first.",
    )


class Surge(Model):
    """What happens when clients arrive much faster than usual."""

    enabled: bool = of(True, "Whether surges are looked for.")
    threshold: float = of(
        2.0, "A surge is on when the demand wants this many times the pods that are ready.", ge=1.1, le=1000
    )
    window_seconds: int = of(6, "The demand is averaged over this long for it.", ge=1, le=60)
    hold_seconds: int = of(60, "A surge ends when the threshold was not reached for this long.", ge=1, le=WINDOW_MAX)


class Rebalance(Model):
    """Moving streams from pods that have many to those that have few, as after a scale-up."""

    enabled: bool = of(True, "Whether streams are moved at all.")
    threshold: float = of(
        1.0,
        "A pod that has this share more streams (1.0: 100 %) than the mean of all, and than streamsPerPod.target, sheds a "
        "tenth of what it has above that, oldest streams first, within maxReconnectsPerSecond; at the latest when 95 % of "
        "what lies between that and streamsPerPod.limit are used, so that it can let clients in again. Less unevenness is "
        "left to stream.maxAgeSeconds, which evens out the fleet by itself.",
        ge=0.05,
        le=10,
    )
    min_pod_age_seconds: int = of(
        60, "Nothing is moved before every pod has been ready this long: new pods fill by themselves.", ge=0, le=86_400
    )


class Fallback(Model):
    """What to do when pods are ready but none of them can be asked for its load."""

    replicas: int = of(..., "Pods to have then, where there are fewer; never fewer than there are.", ge=1, le=MAX_PODS)
    after_seconds: int = of(120, "How long no pod must have answered.", ge=15, le=86_400)


class Scaling(Model):
    """How many pods, how fast, and how many clients may have to reconnect for it."""

    model_config = ruled(
        ("self.minReplicas <= self.maxReplicas", "minReplicas must not exceed maxReplicas"),
        (
            "!has(self.fallback) || self.fallback.replicas <= self.maxReplicas",
            "fallback.replicas must not exceed maxReplicas",
        ),
        (
            "self.burst <= self.maxReplicas * self.streamsPerPod.target",
            "burst is more than maxReplicas pods of streamsPerPod.target streams can have: raise maxReplicas, or lower burst",
        ),
        (
            f"self.streamsPerPod.limit * 100 <= {WINDOW_MAX * PLANNED_PERCENT} * self.maxReconnectsPerSecond",
            "maxReconnectsPerSecond is so low that draining one full pod would take more than an hour: raise it, or lower "
            "streamsPerPod.limit",
        ),
    )

    mode: Literal["operator", "hpa", "off"] = of(
        "operator",
        "Who says how many pods there are. operator: we do, from the streams that are open, and spec.replicas is ignored; "
        "hpa: a HorizontalPodAutoscaler, which scales this Broadcaster by its scale subresource; off: people, by "
        '`kubectl scale` (write it with quotes, "off": YAML takes a bare off for false). In the latter two spec.replicas is carried out as it stands, without minReplicas, maxReplicas '
        "and behavior; pods are drained all the same. Before changing from operator to one of them, set spec.replicas to "
        "the number of pods there are.",
    )
    min_replicas: int = of(
        2, "Fewest pods in mode operator. With one, there is none while it restarts.", ge=1, le=MAX_PODS
    )
    max_replicas: int = of(50, "Most pods in mode operator.", ge=1, le=MAX_PODS)
    streams_per_pod: StreamsPerPod = of(
        StreamsPerPod(), "How many streams one pod is meant to have, and how many it takes at most."
    )
    burst: int = of(
        2000,
        "Free slots kept ready for clients that come all at once. It counts as demand, and pods are not removed while "
        "the ready ones have fewer free slots than this.",
        ge=0,
        le=100 * MAX_STREAMS,
    )
    max_reconnects_per_second: int = of(
        500,
        "How many clients per second may have to reconnect because of scaling down, rebalancing and rollouts. From it "
        "come the drain windows, minReadySeconds and the grace period of pods (see status.budget), and how long clients "
        "of a pod that dies wait. A fifth of it is kept in reserve for streams that reach their maximum age and for "
        "what clients add by chance.",
        ge=1,
        le=MAX_STREAMS,
    )
    tolerance: Tolerance = of(Tolerance(), "How far the demand may be off before anything is done, as a share.")
    behavior: Behavior = of(
        Behavior(),
        "Windows and rates in the shape, with the meaning and with the defaults of a HorizontalPodAutoscaler's behavior.",
    )
    surge: Surge = of(
        Surge(),
        "When the demand outgrows the ready pods by a factor, pods are added at once, without the window and rates of "
        "behavior.scaleUp (save selectPolicy Disabled), and none is removed until it is over.",
    )
    rebalance: Rebalance = of(
        Rebalance(), "Moving streams from pods that have many to those that have few, as after a scale-up."
    )
    fallback: Fallback | None = of(
        None,
        "What to do when pods are ready but none of them can be asked for its load. Without it, the number of pods stays "
        "as it is.",
    )
