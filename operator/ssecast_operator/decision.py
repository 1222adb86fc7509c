"""A decision with everything it was made from, and the sentence that a person reads at 3 a.m. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from ssecast_operator.demand import Census, Demand
from ssecast_operator.memory import Memory


class Reason(StrEnum):
    """In one word, for machines and for the column Reason."""

    # What the demand says.
    STEADY = "Steady"
    DEMAND_ROSE = "DemandRose"
    DEMAND_FELL = "DemandFell"
    HEADROOM = "Headroom"
    SURGE = "Surge"

    # What is done without data.
    NO_DATA = "NoData"
    FALLBACK = "Fallback"

    # What keeps the number from being what the demand says.
    SCALE_UP_STABILIZED = "ScaleUpStabilized"
    SCALE_DOWN_STABILIZED = "ScaleDownStabilized"
    SCALE_UP_LIMIT = "ScaleUpLimit"
    SCALE_DOWN_LIMIT = "ScaleDownLimit"
    SURGE_HOLD = "SurgeHold"
    FEW_SAMPLES = "FewSamples"
    FEW_FREE_SLOTS = "FewFreeSlots"
    JUST_STARTED = "JustStarted"
    AT_MIN_REPLICAS = "AtMinReplicas"
    AT_MAX_REPLICAS = "AtMaxReplicas"
    PAUSED_SCALE_IN = "PausedScaleIn"
    PAUSED_SCALE_OUT = "PausedScaleOut"

    # Somebody else says the number.
    BY_HPA = "ReplicasByHPA"
    BY_HAND = "ReplicasByHand"


LACK_OF_DATA = frozenset({Reason.NO_DATA, Reason.FALLBACK, Reason.FEW_SAMPLES})


@dataclass(frozen=True, slots=True)
class Steps:
    """How many pods after each step; the first is what the demand asks for, the last is the decision."""

    raw: int
    """demand / target, rounded up."""
    recommended: int
    """After tolerance, headroom and assumptions about pods without data."""
    stabilized: int
    """After the stabilisation windows, or a surge; without removing pods where too few have data."""
    rated: int
    """After the rate policies."""
    held: int
    """After what forbids to remove pods for now."""
    bounded: int
    """After minReplicas and maxReplicas."""
    final: int
    """After pauses."""


@dataclass(frozen=True, slots=True)
class Decision:
    """How many pods the Deployment should have, why, and whether the data was good enough to say so.

    replicas is always safe to act on: where valid is false, it is what can be said without data.
    """

    at: float
    base: int
    """Pods that were meant to stay: replicas of the Deployment, less those that are being drained for removal."""
    replicas: int
    reason: Reason
    """The limit that had the last word, else what the demand says."""
    wish: Reason
    """What the demand says."""
    limits: tuple[Reason, ...]
    """Everything that kept the number from what the demand says, in the order in which it was asked."""
    valid: bool
    demand: Demand
    census: Census
    target: int
    """Streams per pod that it was reckoned with."""
    steps: Steps
    memory: Memory
    """For the next decision."""

    @property
    def outcome(self) -> tuple[int, Reason, tuple[Reason, ...]]:
        """What an event is worth when it changes; the demand changes all the time."""
        return self.replicas, self.reason, self.limits

    @property
    def message(self) -> str:
        """One sentence."""
        return f"{_change(self)}: {_WISHES[self.wish](self)}{_limits(self)}."


def _change(decision: Decision) -> str:
    if decision.replicas == decision.base:
        return f"{_pods(decision.base)}, no change"
    return f"from {decision.base} to {_pods(decision.replicas)}"


def _pods(count: int) -> str:
    return f"{count} pod" if count == 1 else f"{count:,} pods"


def _demand(decision: Decision) -> str:
    """With what pods without data may have, where that is what decided."""
    demand = decision.demand
    total = demand.known
    parts = [f"{demand.open:,} open"]
    if demand.leaving:
        parts.append(f"{demand.leaving:,} on pods that leave")
    if demand.refused:
        parts.append(f"{demand.refused:,} refused and waiting")
    if demand.burst:
        parts.append(f"{demand.burst:,} kept free")
    if demand.unknown and decision.wish is Reason.DEMAND_FELL:
        total = demand.possible
        parts.append(f"{demand.unknown:,} assumed on pods without data")
    return f"a demand of {total:,} streams ({', '.join(parts)})"


def _needs(decision: Decision) -> str:
    return f"{_demand(decision)} takes {_pods(decision.steps.recommended)} of {decision.target:,}"


def _steady(decision: Decision) -> str:
    unknown = decision.demand.unknown
    more = f", whatever pods without data have (up to {unknown:,})" if unknown else ""
    return f"{_demand(decision)} is within tolerance of {_pods(decision.base)} of {decision.target:,}{more}"


def _headroom(decision: Decision) -> str:
    return (
        f"{_demand(decision)} does not fit into {_pods(decision.base)} that take {decision.census.capacity:,} each and "
        f"needs {_pods(decision.steps.recommended)}"
    )


def _surge(decision: Decision) -> str:
    return f"{_demand(decision)} is a surge for {_pods(decision.census.ready)} ready, so they are added at once"


def _no_data(decision: Decision) -> str:
    return f"none of {_asked(decision)} says how many streams it has, so their number stays as it is"


def _fallback(decision: Decision) -> str:
    fallback = _pods(decision.steps.recommended)
    return f"for long none of {_asked(decision)} has said how many streams it has, so the fallback of {fallback} holds"


def _asked(decision: Decision) -> str:
    return f"{_pods(decision.census.pods)} ({decision.census.ready:,} ready)"


def _by_hpa(_: Decision) -> str:
    return "the HorizontalPodAutoscaler's number in spec.replicas is carried out"


def _by_hand(_: Decision) -> str:
    return "scaling is off, and the number in spec.replicas is carried out"


_WISHES: dict[Reason, Callable[[Decision], str]] = {
    Reason.STEADY: _steady,
    Reason.DEMAND_ROSE: _needs,
    Reason.DEMAND_FELL: _needs,
    Reason.HEADROOM: _headroom,
    Reason.SURGE: _surge,
    Reason.NO_DATA: _no_data,
    Reason.FALLBACK: _fallback,
    Reason.BY_HPA: _by_hpa,
    Reason.BY_HAND: _by_hand,
}

_LIMITS = {
    Reason.SCALE_UP_STABILIZED: "the window of behavior.scaleUp waits for a lasting wish",
    Reason.SCALE_DOWN_STABILIZED: "within the window of behavior.scaleDown more pods were wanted",
    Reason.SCALE_UP_LIMIT: "behavior.scaleUp allows no more for now",
    Reason.SCALE_DOWN_LIMIT: "behavior.scaleDown allows no fewer for now",
    Reason.SURGE_HOLD: "a surge is not over",
    Reason.FEW_SAMPLES: "less than half of the pods answer, so none is removed",
    Reason.FEW_FREE_SLOTS: "ready pods have fewer free slots than burst, so none is removed",
    Reason.JUST_STARTED: "the operator has watched for less than one window of behavior.scaleDown, so none is removed",
    Reason.AT_MIN_REPLICAS: "minReplicas allows no fewer",
    Reason.AT_MAX_REPLICAS: "maxReplicas allows no more",
    Reason.PAUSED_SCALE_IN: "an annotation forbids to remove pods",
    Reason.PAUSED_SCALE_OUT: "an annotation forbids to add pods",
}


def _limits(decision: Decision) -> str:
    return "".join(f"; {_LIMITS[limit]}" for limit in decision.limits)
