"""How many streams want a place: what the samples of a fleet add up to. Pure.

demand = streams on pods that stay + streams on pods that leave (they come back) + clients that were refused + burst.

A pod without data may have anything: it counts as full as it is meant to be where pods might be removed, and as empty
where pods might be added. A pod that terminates and does not answer has ended, and counts for nothing.
"""

from dataclasses import dataclass

from ssecast_operator.budget import Budget
from ssecast_operator.fleet import Fleet, Pod
from ssecast_operator.samples import Freshness
from ssecast_operator.scaling import Scaling


@dataclass(frozen=True, slots=True)
class Census:
    """Counts over a fleet. The first block is about pods that stay, the second about those that leave."""

    pods: int
    ready: int
    fresh: int
    stale: int
    missing: int
    streams: int
    """Fresh values, and stale ones."""
    capacity: int
    """Streams that one pod takes, on average of those that say; where none does, the limit of the spec."""
    free_slots: int
    """On ready pods with data."""

    leaving: int
    leaving_missing: int
    """Those that do not answer and have not been told to end."""
    leaving_streams: int

    refused_per_second: float
    """On all pods."""


@dataclass(frozen=True, slots=True)
class Demand:
    """Streams that want a place, by where they are."""

    open: int
    """On pods that stay."""
    leaving: int
    """On pods that are drained or terminate."""
    refused: int
    """Clients that were turned away and wait to come back."""
    burst: int
    """Free slots to be kept."""
    unknown: int
    """What pods without data may have; counted only against removing pods."""

    @property
    def known(self) -> int:
        """What adding pods is decided by."""
        return self.open + self.leaving + self.refused + self.burst

    @property
    def possible(self) -> int:
        """What removing pods is decided by."""
        return self.known + self.unknown


def census_of(fleet: Fleet, limit: int, now: float) -> Census:
    """Counts the fleet in one pass; limit: streams that a pod takes at most by its spec."""
    ready = fresh = stale = missing = streams = capacity = free = 0
    leaving = leaving_missing = leaving_streams = 0
    refused = 0.0
    for pod in fleet.pods:
        freshness = pod.sample.freshness(now)
        load = None if freshness is Freshness.MISSING else pod.sample.load
        if load is not None:
            refused += load.refused_per_second
        if pod.leaving:
            leaving += 1
            leaving_streams += load.streams if load is not None else 0
            leaving_missing += load is None and not pod.terminating
            continue
        ready += pod.ready
        if load is None:
            missing += 1
            continue
        fresh += freshness is Freshness.FRESH
        stale += freshness is Freshness.STALE
        streams += load.streams
        takes = min(load.capacity, limit)
        capacity += takes
        if pod.ready:
            free += max(0, takes - load.streams)
    known = fresh + stale
    return Census(
        pods=known + missing,
        ready=ready,
        fresh=fresh,
        stale=stale,
        missing=missing,
        streams=streams,
        capacity=max(1, capacity // known) if known else limit,
        free_slots=free,
        leaving=leaving,
        leaving_missing=leaving_missing,
        leaving_streams=leaving_streams,
        refused_per_second=refused,
    )


def demand_of(census: Census, scaling: Scaling, budget: Budget) -> Demand:
    """What the counts mean."""
    return Demand(
        open=census.streams,
        leaving=census.leaving_streams,
        refused=refused_demand(census, scaling, budget),
        burst=scaling.burst,
        unknown=(census.missing + census.leaving_missing) * target_of(census, scaling),
    )


def refused_demand(census: Census, scaling: Scaling, budget: Budget) -> int:
    """Clients between two attempts: each comes back once per mean retry, so rate x mean retry of them are waiting.

    At most as many as the ready pods are meant to have. So refusals at most double what is ready, and again when that is
    ready; clients that ignore `retry:`, or a version that refuses everybody, cannot drive the fleet to its maximum.
    """
    waiting = census.refused_per_second * budget.mean_retry
    return min(int(waiting), max(1, census.ready) * scaling.streams_per_pod.target)


def target_of(census: Census, scaling: Scaling) -> int:
    """Streams that a pod should have: fewer than the spec's, where pods cannot take that many (open files, memory)."""
    return min(scaling.streams_per_pod.target, census.capacity)


def streams_of(pod: Pod, unknown: int, now: float) -> int:
    """A pod's streams for choosing among pods; unknown: what a ready pod counts as that does not answer."""
    load = pod.sample.assumed(now)
    if load is not None:
        return load.streams
    return unknown if pod.ready else 0
