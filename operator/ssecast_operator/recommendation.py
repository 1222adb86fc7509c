"""From what happened to what `spec.scaling` might be, each number with its reason. Pure.

Arithmetic that a person would do with the same curves, nothing more: the simulator then says what would have come of it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import ceil, floor, log10
from textwrap import wrap

import numpy as np
from numpy.typing import NDArray

from ssecast_operator.broadcaster import GROUP, KIND, VERSION
from ssecast_operator.scaling import MAX_PODS, MAX_STREAMS, PLANNED_PERCENT, Scaling
from ssecast_operator.spec import Spec

Floats = NDArray[np.float64]

LEAD_SECONDS = 60.0
"""From clients that come to a pod that takes them: a sample, a round, the scheduler, the pod's start, and the endpoints."""

USUAL_SHARE = 0.999
"""Of all minutes; what comes in the others is a surge, for which nobody keeps pods."""

UNEVEN = 0.05
"""No fleet is quite even: its fullest pod has so much more than the mean."""

DRAIN_SECONDS = 60.0
"""Within which a full pod should be drained: longer ones make rollouts long."""

WIDTH = 100


@dataclass(frozen=True, slots=True)
class Past:
    """What is known of the past. times: seconds since its beginning; clients: at those. began: words for its beginning.

    capacity: streams that a pod takes, as the pods say it; 0: unknown. hottest: of the fullest pod; 0: unknown.
    opened: streams that were opened per second, at most; 0: unknown.
    """

    what: str
    times: Floats
    clients: Floats
    capacity: int = 0
    hottest: int = 0
    opened: float = 0.0


@dataclass(frozen=True, slots=True)
class Advice:
    """A number, why it is that, and what the policy has now."""

    value: int
    reason: str
    now: int

    @property
    def words(self) -> str:
        changed = f" Now {self.now:,}." if self.now != self.value else ""
        return f"{self.reason}{changed}"


@dataclass(frozen=True, slots=True)
class Recommendation:
    """By the fields of `spec.scaling`."""

    what: str
    name: str
    target: Advice
    limit: Advice
    burst: Advice
    budget: Advice
    most: Advice
    notes: tuple[str, ...] = field(default=())

    @property
    def text(self) -> str:
        """A Broadcaster in YAML that `simulate` takes as it is."""
        return "\n".join(_lines(self)) + "\n"


def recommend(past: Past, spec: Spec, name: str) -> Recommendation:
    """What might be better than spec."""
    scaling = spec.scaling
    rise = Rises(past)
    limit = _limit(past, scaling)
    burst = _burst(past, rise, scaling)
    target = _target(past, rise, limit.value, scaling)
    pods = ceil((float(past.clients.max()) + burst.value) / target.value)
    most = _most(pods, scaling)
    if burst.value > most.value * target.value:
        burst = replace(
            burst, value=most.value * target.value, reason=f"{burst.reason} More do not fit into {most.value:,} pods."
        )
    return Recommendation(
        past.what, name, target, limit, burst, _budget(past, rise, limit.value, spec), most, tuple(_notes(past, rise))
    )


class Rises:
    """How many more clients there were a lead later, at each time."""

    def __init__(self, past: Past) -> None:
        step = min(LEAD_SECONDS, float(np.median(np.diff(past.times))))
        at = np.arange(past.times[0], past.times[-1] - LEAD_SECONDS, step)
        before, after = (np.interp(each, past.times, past.clients) for each in (at, at + LEAD_SECONDS))
        more = np.maximum(after - before, 0.0)
        self.usual = float(np.quantile(more, USUAL_SHARE, method="higher")) if len(more) else 0.0
        self.largest = float(more.max()) if len(more) else 0.0
        self.largest_at = float(at[int(more.argmax())]) if len(more) else 0.0


def _limit(past: Past, scaling: Scaling) -> Advice:
    now = scaling.streams_per_pod.limit
    if not past.capacity:
        return Advice(now, "What the policy says; this history does not tell what a pod takes.", now)
    full = f"the fullest pod had {past.hottest:,} of them" if past.hottest else "how full they were is not known"
    reason = (
        f"The pods say that they take {past.capacity:,}; {full}. A history cannot show more than that: make bench can."
    )
    return Advice(past.capacity, reason, now)


def _burst(past: Past, rise: Rises, scaling: Scaling) -> Advice:
    value = _rounded_up(rise.usual)
    reason = (
        f"In {USUAL_SHARE:.1%} of all minutes no more than {rise.usual:,.0f} clients came on top, which is as long as a new "
        "pod takes."
    )
    return Advice(min(value, 100 * MAX_STREAMS), reason, scaling.burst)


def _target(past: Past, rise: Rises, limit: int, scaling: Scaling) -> Advice:
    """As many as leave room for the clients of one pod that dies, at the peak, with what the tolerance lets pass."""
    peak, pods = float(past.clients.max()), scaling.min_replicas
    target = limit
    for _ in range(20):
        share = (pods - 1) / pods if pods > 1 else 1.0
        target = max(1, _rounded_down(limit * share / (1 + scaling.tolerance.up) / (1 + UNEVEN)))
        wanted = max(scaling.min_replicas, ceil(peak / target))
        if wanted == pods:
            break
        pods = wanted
    each = peak / pods
    dead = (
        f"when one of them dies, the others have {each * pods / (pods - 1):,.0f}" if pods > 1 else "there is only one"
    )
    reason = (
        f"At the peak of {peak:,.0f} clients these are {pods} pods with {each:,.0f} each; {dead}. With {scaling.tolerance.up:.0%} "
        f"more that the tolerance lets pass, and {UNEVEN:.0%} on the fullest, that stays below {limit:,}."
    )
    return Advice(min(target, limit), reason, scaling.streams_per_pod.target)


def _budget(past: Past, rise: Rises, limit: int, spec: Spec) -> Advice:
    needed = ceil(limit * 100 / PLANNED_PERCENT / DRAIN_SECONDS)
    age = spec.stream.max_age_seconds
    seen, how = past.opened, "The front has let in"
    if not seen:
        seen = rise.largest / LEAD_SECONDS + (float(past.clients.max()) / age if age else 0.0)
        how = "By the curve and the ages of streams the front has let in about"
    value = max(needed, _rounded_down(seen))
    reason = f"{how} up to {seen:,.0f} streams per second; a full pod is drained within a minute by {needed:,}."
    if seen < needed:
        reason += " That is more than has been seen: load the front before."
    return Advice(min(value, MAX_STREAMS), reason, spec.scaling.max_reconnects_per_second)


def _most(pods: int, scaling: Scaling) -> Advice:
    value = min(MAX_PODS, max(scaling.max_replicas, ceil(1.25 * pods)))
    return Advice(
        value, f"The peak takes {pods} pods, with burst; a quarter more is left for a higher one.", scaling.max_replicas
    )


def _notes(past: Past, rise: Rises) -> Iterator[str]:
    days = (past.times[-1] - past.times[0]) / 86_400
    yield (
        f"From {past.what}: {days:.1f} days, {past.clients.min():,.0f} to {past.clients.max():,.0f} clients, "
        f"{np.median(past.clients):,.0f} in the median."
    )
    if rise.largest > 2 * max(1.0, rise.usual):
        yield (
            f"Once, {rise.largest_at / 3600:.1f} hours after the beginning, {rise.largest:,.0f} came within a minute: such "
            "a surge is met by new pods, and until they are ready clients are told to come back. A burst of that size would "
            "let them all in, and be paid for at all times."
        )
    if past.capacity and past.hottest >= past.capacity:
        yield "A pod was full meanwhile, and refused clients: a lower target, or a larger burst, leaves more room."


def _lines(found: Recommendation) -> Iterator[str]:
    for note in found.notes:
        yield from _comment(note, "")
    yield f"apiVersion: {GROUP}/{VERSION}"
    yield f"kind: {KIND}"
    yield f"metadata: {{name: {found.name}}}"
    yield "spec:"
    yield "  scaling:"
    yield from _field(found.most, "maxReplicas", "    ")
    yield "    streamsPerPod:"
    yield from _field(found.target, "target", "      ")
    yield from _field(found.limit, "limit", "      ")
    yield from _field(found.burst, "burst", "    ")
    yield from _field(found.budget, "maxReconnectsPerSecond", "    ")


def _field(advice: Advice, name: str, indent: str) -> Iterator[str]:
    yield from _comment(advice.words, indent)
    yield f"{indent}{name}: {advice.value}"


def _comment(words: str, indent: str) -> Iterator[str]:
    return (f"{indent}# {line}" for line in wrap(words, WIDTH - len(indent) - len("# ")))


def _step(value: float) -> int:
    """Two digits are enough for whoever reads them."""
    return int(10 ** max(0, floor(log10(value)) - 1)) if value >= 1 else 1


def _rounded_up(value: float) -> int:
    step = _step(value)
    return ceil(value / step) * step


def _rounded_down(value: float) -> int:
    step = _step(value)
    return floor(value / step) * step
