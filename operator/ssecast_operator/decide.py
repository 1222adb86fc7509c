"""How many pods: `decide(spec, fleet, memory, now)`. Each rule is a function. Pure.

The way of a number: what the demand asks for -> tolerance and headroom -> missing data -> stabilisation windows, or a surge
-> rate policies -> holds -> bounds -> pauses. For the same fleet and memory more demand never means fewer pods.
"""

from dataclasses import dataclass, field, replace
from typing import NamedTuple

from ssecast_operator.broadcaster import Pause
from ssecast_operator.budget import budget_of
from ssecast_operator.decision import LACK_OF_DATA, Decision, Reason, Steps
from ssecast_operator.demand import Census, Demand, census_of, demand_of, target_of
from ssecast_operator.fleet import Fleet
from ssecast_operator.memory import Last, Memory
from ssecast_operator.scaling import Fallback, Scaling
from ssecast_operator.spec import Spec
from ssecast_operator.windows import (
    down_limit,
    highest,
    lowest,
    mean,
    stabilised,
    surge_state,
    up_limit,
    with_high,
    with_low,
    with_recent,
)

RUNNING = Pause()


@dataclass(frozen=True, slots=True)
class Case:
    """What a decision is about: everything that the rules look at. memory: as it came, with what was observed since."""

    scaling: Scaling
    asked: int
    """Replicas of the Deployment."""
    base: int
    """Those that are meant to stay."""
    census: Census
    demand: Demand
    target: int
    memory: Memory
    now: float


class Kept(NamedTuple):
    """asked: replicas of the Deployment. base: those that are meant to stay."""

    asked: int
    base: int


class Wish(NamedTuple):
    """How many pods, and why."""

    replicas: int
    reason: Reason


def decide(spec: Spec, fleet: Fleet, memory: Memory, now: float, pause: Pause = RUNNING) -> Decision:
    """How many pods the Deployment should have, and why; now: seconds since the Unix epoch.

    The fleet holds the samples, and the base: the Deployment's own `spec.replicas`, less the pods that are being drained for
    removal. That has been decided; a demand that wavers about the tolerance, or a restart, must not take it back.
    """
    census = census_of(fleet, spec.scaling.streams_per_pod.limit, now)
    return decide_by(spec, census, Kept(fleet.replicas, fleet.kept), memory, now, pause)


def decide_by(spec: Spec, census: Census, pods: Kept, memory: Memory, now: float, pause: Pause = RUNNING) -> Decision:
    """The same, for who has counted already."""
    case = _case(spec, census, pods, memory, now)
    if spec.scaling.mode == "operator":
        return _scaled(case, pause)
    reason = Reason.BY_HPA if spec.scaling.mode == "hpa" else Reason.BY_HAND
    return _followed(case, Wish(spec.replicas, reason), pause)


def _case(spec: Spec, census: Census, pods: Kept, memory: Memory, now: float) -> Case:
    scaling = spec.scaling
    memory = memory.rewound(now).observing(pods.base, now, _longest_period(scaling))
    if census.fresh:
        memory = replace(memory, fresh_at=now)
    demand = demand_of(census, scaling, budget_of(spec))
    return Case(scaling, pods.asked, pods.base, census, demand, target_of(census, scaling), memory, now)


def _longest_period(scaling: Scaling) -> int:
    behavior = scaling.behavior
    return max(policy.period_seconds for rules in (behavior.scale_up, behavior.scale_down) for policy in rules.policies)


# What the demand asks for


def pods_for(streams: float, each: int) -> int:
    """streams / each, rounded up."""
    return int(-(-streams // each))


def wish_of(case: Case) -> Wish:
    """What the demand asks for, where there is data to say so."""
    if not case.census.fresh:
        return without_data(case)
    return by_tolerance(case)


def by_tolerance(case: Case) -> Wish:
    """Nothing changes while the demand is near what the pods there are are meant for, and fits into them."""
    scaling, base, target = case.scaling, case.base, case.target
    known, possible = case.demand.known, case.demand.possible
    if base == 0:
        return Wish(pods_for(known, target), Reason.DEMAND_ROSE)
    if known / (target * base) > 1 + scaling.tolerance.up:
        return Wish(pods_for(known, target), Reason.DEMAND_ROSE)
    if headroom(case) > base:
        return Wish(headroom(case), Reason.HEADROOM)
    fewer = pods_for(possible, target)
    if possible / (target * base) < 1 - scaling.tolerance.down and fewer < base:
        return Wish(fewer, Reason.DEMAND_FELL)
    return Wish(base, Reason.STEADY)


def headroom(case: Case) -> int:
    """Pods that it takes for `burst` free slots to be left, however full they are.

    Pods that are not ready yet count: they are on their way, and if they never arrive, more of them would not either.
    """
    return pods_for(case.demand.known, case.census.capacity)


def without_data(case: Case) -> Wish:
    """Not one pod answers: their number stays; after a while, at least the fallback.

    Only where pods are ready, so that it is the asking which fails: a version that never starts gets no more pods.
    """
    fallback = case.scaling.fallback
    if fallback is None or not case.census.ready or not _silent_for_long(case, fallback):
        return Wish(case.base, Reason.NO_DATA)
    return Wish(max(case.base, fallback.replicas), Reason.FALLBACK)


def _silent_for_long(case: Case, fallback: Fallback) -> bool:
    since = case.memory.started_at if case.memory.fresh_at is None else case.memory.fresh_at
    return case.now - since >= fallback.after_seconds


def few_samples(case: Case) -> bool:
    """Less than half of the pods are known: what is missing could be most of the streams."""
    return case.census.fresh * 2 < case.census.pods


# Windows and surges


def remembered(case: Case, wanted: int) -> Memory:
    """The memory with this wish in its windows."""
    behavior, memory = case.scaling.behavior, case.memory
    return replace(
        memory,
        lows=with_low(memory.lows, case.now, wanted, behavior.scale_up.stabilization_window_seconds),
        highs=with_high(memory.highs, case.now, wanted, behavior.scale_down.stabilization_window_seconds),
    )


def surge_of(case: Case, memory: Memory, wanted: int) -> Memory:
    """The memory with the surge that is on after this round, if any; wanted: pods by the windows."""
    settings = case.scaling.surge
    if not settings.enabled:
        return replace(memory, surge=None, recent=())
    if not case.census.fresh:
        return memory
    recent = with_recent(memory.recent, case.now, case.demand.known, settings.window_seconds)
    short = pods_for(mean(recent), case.target)
    surge = surge_state(memory.surge, settings, wanted, short, case.census.ready, case.now)
    return replace(memory, surge=surge, recent=recent)


# What forbids to remove pods for now


def just_started(case: Case) -> bool:
    """Nothing is remembered of the time before; what was wanted then may be wanted again in a moment."""
    window = case.scaling.behavior.scale_down.stabilization_window_seconds
    return case.now < case.memory.started_at + window


def few_free_slots(case: Case) -> bool:
    """Ready pods could not take a burst as it is."""
    return case.census.free_slots < case.scaling.burst


# The way of a number


@dataclass(slots=True)
class _Way:
    """A number on its way through the steps, and what limited it."""

    wish: Reason
    replicas: int
    limits: list[Reason] = field(default_factory=list)

    def at_most(self, most: int, limit: Reason) -> None:
        if self.replicas > most:
            self.replicas = most
            self.limits.append(limit)

    def at_least(self, fewest: int, limit: Reason) -> None:
        if self.replicas < fewest:
            self.replicas = fewest
            self.limits.append(limit)


def _scaled(case: Case, pause: Pause) -> Decision:
    """In mode operator."""
    wish = wish_of(case)
    way = _Way(wish.reason, wish.replicas)
    if few_samples(case):
        way.at_least(case.base, Reason.FEW_SAMPLES)
    memory = _stabilise(way, case)
    stabilized = way.replicas
    _rate(way, case, surging=memory.surge is not None)
    rated = way.replicas
    _hold(way, case)
    held = way.replicas
    _bound(way, case.scaling)
    bounded = way.replicas
    _pause(way, case.asked, pause)
    raw = pods_for(case.demand.known, case.target)
    return _decision(case, way, memory, Steps(raw, wish.replicas, stabilized, rated, held, bounded, way.replicas))


def _followed(case: Case, wish: Wish, pause: Pause) -> Decision:
    """In the modes hpa and off: somebody else says the number, and its bounds.

    The windows remember the number that there is, so that a change to mode operator removes nothing at once.
    """
    way = _Way(wish.reason, wish.replicas)
    _pause(way, case.asked, pause)
    raw = pods_for(case.demand.known, case.target)
    said = wish.replicas
    memory = replace(remembered(case, case.base), surge=None, recent=())
    return _decision(case, way, memory, Steps(raw, said, said, said, said, said, way.replicas))


def _stabilise(way: _Way, case: Case) -> Memory:
    """Windows, or a surge, which does not wait for them; within it nothing is removed."""
    memory = remembered(case, way.replicas)
    settled = stabilised(case.base, lowest(memory.lows), highest(memory.highs))
    memory = surge_of(case, memory, settled)
    if memory.surge is not None and memory.surge.peak > case.base:
        way.wish, way.replicas = Reason.SURGE, memory.surge.peak
        return memory
    way.at_most(settled, Reason.SCALE_UP_STABILIZED)
    way.at_least(settled, Reason.SCALE_DOWN_STABILIZED)
    if memory.surge is not None:
        way.at_least(case.base, Reason.SURGE_HOLD)
    return memory


def _rate(way: _Way, case: Case, *, surging: bool) -> None:
    """The policies of behavior; a surge knows no rate, but does not overrule that pods may not be added at all."""
    up, down = case.scaling.behavior.scale_up, case.scaling.behavior.scale_down
    changes = case.memory.changes
    if not surging or up.select_policy == "Disabled":
        limit = up_limit(case.base, changes, up, case.now)
        way.at_most(max(limit, case.asked), Reason.SCALE_UP_LIMIT)  # pods that drain may come back without limit
    way.at_least(down_limit(case.base, changes, down, case.now), Reason.SCALE_DOWN_LIMIT)


def _hold(way: _Way, case: Case) -> None:
    if just_started(case):
        way.at_least(case.base, Reason.JUST_STARTED)
    if few_free_slots(case):
        way.at_least(case.asked, Reason.FEW_FREE_SLOTS)


def _bound(way: _Way, scaling: Scaling) -> None:
    way.at_least(scaling.min_replicas, Reason.AT_MIN_REPLICAS)
    way.at_most(scaling.max_replicas, Reason.AT_MAX_REPLICAS)


def _pause(way: _Way, asked: int, pause: Pause) -> None:
    """A pause means the pods that there are, also those that are being drained: they take streams again."""
    if pause.scale_in:
        way.at_least(asked, Reason.PAUSED_SCALE_IN)
    if pause.scale_out:
        way.at_most(asked, Reason.PAUSED_SCALE_OUT)


def _decision(case: Case, way: _Way, memory: Memory, steps: Steps) -> Decision:
    return Decision(
        at=case.now,
        base=case.base,
        replicas=way.replicas,
        reason=way.limits[-1] if way.limits else way.wish,
        wish=way.wish,
        limits=tuple(way.limits),
        valid=LACK_OF_DATA.isdisjoint((way.wish, *way.limits)),
        demand=case.demand,
        census=case.census,
        target=case.target,
        steps=steps,
        memory=replace(memory, last=Last(case.now, case.base, way.replicas)),
    )
