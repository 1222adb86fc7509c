"""`status` of a Broadcaster: its schema, and what a decision writes into it. Everything that `explain` says stands here.

The API server gives it back as it was written; what of it a restarted operator reads, `memory` and `rebalance` know.
"""

from typing import Any, Literal

from ssecast_operator.budget import Budget
from ssecast_operator.decision import Decision
from ssecast_operator.rebalance import BalanceMemory
from ssecast_operator.wire import Model, Time, keyed, of


def _count(description: str) -> Any:
    return of(None, description)


class Condition(Model):
    """One aspect of the state, as Kubernetes has it."""

    type: str = of(..., "Which aspect: Available, Progressing, ScalingActive, ScalingLimited, StreamReady, …")
    status: Literal["True", "False", "Unknown"] = of(..., "Whether it holds.")
    reason: str = of(..., "Why, in one word.")
    message: str = of(..., "Why, in a sentence.")
    last_transition_time: Time = of(..., "When status changed last.")
    observed_generation: int | None = of(None, "Generation of the spec that it is about.")


class DemandStatus(Model):
    """Streams that want a place, by where they are."""

    total: int | None = _count("All of them: what pods are added for.")
    open: int | None = _count("On pods that stay.")
    leaving: int | None = _count("On pods that are drained or terminate; their clients come back.")
    refused: int | None = _count("Clients that were turned away and wait to come back.")
    burst: int | None = _count("Free slots to be kept.")
    unknown: int | None = _count("What pods without data may have; it counts only against removing pods.")


class SamplesStatus(Model):
    """What is known of the pods that stay."""

    fresh: int | None = _count("Pods that answered when asked for their load.")
    stale: int | None = _count("Pods that did not, whose last answer is assumed to hold still.")
    missing: int | None = _count("Pods of which nothing is known.")
    ready: int | None = _count("Pods that are ready.")
    leaving: int | None = _count("Pods that are drained or terminate.")
    free_slots: int | None = _count("Streams that the ready pods could still take.")


class StepsStatus(Model):
    """How many pods after each step of the decision."""

    raw: int | None = _count("What the demand asks for: demand / target, rounded up.")
    recommended: int | None = _count("After tolerance, headroom and assumptions about pods without data.")
    stabilized: int | None = _count("After the stabilisation windows, or a surge.")
    rated: int | None = _count("After the rate policies.")
    held: int | None = _count("After what forbids to remove pods for now.")
    bounded: int | None = _count("After minReplicas and maxReplicas.")
    final: int | None = _count("After pauses.")


class ChangeStatus(Model):
    """A change of the number of pods that rate policies may still look at."""

    time: Time = of(..., "When.")
    by: int = of(..., "By how many pods; negative: removed.")


class SurgeStatus(Model):
    """A surge that is on."""

    reached_at: Time = of(..., "When its threshold was last reached.")
    peak: int = of(..., "Most pods that were wanted in it.")


class AutoscalerStatus(Model):
    """The last decision: how many pods, why, and from what."""

    current: int | None = _count(
        "Pods that were meant to stay until then: replicas of the Deployment, less those that are being drained."
    )
    desired: int | None = _count("Pods that were decided on.")
    reason: str | None = of(None, "Why, in one word.")
    message: str | None = of(None, "Why, in a sentence.")
    valid: bool | None = of(
        None, "Whether the data was good enough; where it was not, desired is what is safe without."
    )
    limited_by: tuple[str, ...] = of(
        (), "What kept desired from what the demand asks for, in the order in which it was asked."
    )
    demand: DemandStatus | None = of(None, "Streams that want a place, by where they are.")
    samples: SamplesStatus | None = of(None, "What is known of the pods that stay.")
    steps: StepsStatus | None = of(None, "How many pods after each step of the decision.")
    target: int | None = _count("Streams per pod that it was reckoned with.")
    last_scale_time: Time | None = of(None, "When the number of pods last changed.")
    changes: tuple[ChangeStatus, ...] = of((), "Changes of the number of pods that rate policies may still look at.")
    surge: SurgeStatus | None = of(None, "A surge that is on.")
    moving_until: Time | None = of(None, "Until when streams move from full pods to others.")


class BudgetStatus(Model):
    """What follows from maxReconnectsPerSecond."""

    reconnects_per_second: float | None = of(None, "Reconnects that are planned per second.")
    drain_seconds: float | None = of(None, "Over how long a pod that terminates closes its streams.")
    retry_spread_seconds: float | None = of(None, "Random part of a client's wait before it reconnects.")
    min_ready_seconds: int | None = _count("minReadySeconds of the Deployment.")
    termination_grace_period_seconds: int | None = _count("terminationGracePeriodSeconds of the pods.")
    progress_deadline_seconds: int | None = _count("progressDeadlineSeconds of the Deployment.")


class Status(Model):
    """What there is, and why."""

    observed_generation: int | None = _count("Generation of the spec that this is about.")
    replicas: int | None = _count("Pods that exist, draining ones included.")
    ready_replicas: int | None = _count("Pods that are ready.")
    streams: int | None = _count("Open streams, as far as pods answer.")
    selector: str | None = of(None, "Selector of the pods, for the scale subresource.")
    phase: str | None = of(None, "Where the fleet is on its way to the desired number of pods.")
    phase_message: str | None = of(None, "The same in a sentence.")
    conditions: tuple[Condition, ...] = of(
        (),
        "The state, aspect by aspect.",
        max_length=32,
        schema=keyed("type"),
    )
    autoscaler: AutoscalerStatus | None = of(None, "The last decision: how many pods, why, and from what.")
    budget: BudgetStatus | None = of(None, "What follows from maxReconnectsPerSecond.")


def autoscaler_status(decision: Decision, balance: BalanceMemory) -> dict[str, Any]:
    """`status.autoscaler`, whole: what explains the decision, and what the next operator must know."""
    demand, census, steps = decision.demand, decision.census, decision.steps
    explained = {
        "reason": decision.reason.value,
        "message": decision.message,
        "valid": decision.valid,
        "limitedBy": [limit.value for limit in decision.limits],
        "demand": {
            "total": demand.known,
            "open": demand.open,
            "leaving": demand.leaving,
            "refused": demand.refused,
            "burst": demand.burst,
            "unknown": demand.unknown,
        },
        "samples": {
            "fresh": census.fresh,
            "stale": census.stale,
            "missing": census.missing,
            "ready": census.ready,
            "leaving": census.leaving,
            "freeSlots": census.free_slots,
        },
        "steps": {name: getattr(steps, name) for name in type(steps).__slots__},
        "target": decision.target,
    }
    return explained | decision.memory.to_status() | balance.to_status()


def budget_status(budget: Budget, replicas: int) -> dict[str, Any]:
    """`status.budget`, for a Deployment with so many replicas."""
    return {
        "reconnectsPerSecond": budget.per_second,
        "drainSeconds": budget.pod_window,
        "retrySpreadSeconds": budget.retry_spread,
        "minReadySeconds": budget.min_ready,
        "terminationGracePeriodSeconds": budget.grace,
        "progressDeadlineSeconds": budget.progress_deadline(replicas),
    }
