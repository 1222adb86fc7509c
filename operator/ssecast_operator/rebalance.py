"""Streams move from pods that have many to pods that have few, as after a scale-up. Pure.

A pod that has well more than the mean, and more than it should have, sheds some of it. Until it has, it is cordoned, so that
the clients come back elsewhere; where it cannot be (`cordon`), by chance also to where they were: so it is done in rounds,
until no pod is far above. It waits until the fleet is calm: nobody drains, no rollout, every pod ready for a while, and every
pod's load known. A pod that does not answer is not an empty one.

Every stream that is moved is a client that reconnects, and streams that reach their maximum age even out the fleet for
nothing. So only that is moved which cannot wait: pods that have room are left alone, however uneven they are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from math import floor
from typing import Any, NamedTuple

from ssecast_operator.actions import Shed
from ssecast_operator.budget import Budget
from ssecast_operator.fleet import Fleet, Pod
from ssecast_operator.instants import instant, rfc3339
from ssecast_operator.samples import Load
from ssecast_operator.scaling import Scaling

LASTING_SECONDS = 30.0
"""Pods must be uneven for this long: what a moment does, the next one undoes."""

ROUND_SECONDS = 60.0
"""Longest round. Larger surpluses take several, each after a look at what the one before has brought."""

SETTLE_SECONDS = 20.0
"""After a round, until clients are back and every sample is newer than that."""

LEAST_SHARE = 100
"""A surplus of less than target / this is not worth a reconnect, however few streams there are."""

MOST_OF_ITS_ROOM = 0.95
"""A pod that has used so much of what lies between its share and what it takes at most sheds, whatever the threshold says."""

KEPT = 0.9
"""Of what it has above its share then."""


class Balance(StrEnum):
    """What rebalancing is doing, in one word."""

    OFF = "Off"
    WAITING = "Waiting"
    """The fleet is not calm, or not known."""
    EVEN = "Even"
    UNEVEN = "Uneven"
    """Not for long enough."""
    MOVING = "Moving"
    STOPPED = "Stopped"
    """In the middle of a round: something else needs the budget."""


@dataclass(frozen=True, slots=True)
class BalanceMemory:
    """until: when the round that is under way has settled. moving: between the first round and the last.

    uneven_since: when pods became uneven; None: they are even.
    """

    until: float = 0.0
    moving: bool = False
    uneven_since: float | None = None

    def to_status(self) -> dict[str, Any]:
        """What must survive a restart: a round that is under way has its share of the budget."""
        return {"movingUntil": rfc3339(self.until)} if self.moving else {}


FRESH_START = BalanceMemory()


Loads = Sequence[tuple[Pod, Load]]
"""Every pod with what it says of itself."""


class Donor(NamedTuple):
    """A pod that has far more than its share, and how many streams it should give away."""

    pod: Pod
    surplus: int


class Levels(NamedTuple):
    """Streams of a pod above which it begins to shed, and those that it keeps."""

    begin: float
    keep: float


@dataclass(frozen=True, slots=True)
class Rebalancing:
    """What to do now, a sentence about it, and what to remember."""

    state: Balance
    message: str
    memory: BalanceMemory
    actions: tuple[Shed, ...] = ()


def restored_balance(status: Mapping[str, Any] | None, now: float) -> BalanceMemory:
    """The memory of an operator that has just started."""
    until = instant((status or {}).get("movingUntil"))
    return (
        FRESH_START if until is None else BalanceMemory(min(until, now + ROUND_SECONDS + SETTLE_SECONDS), moving=True)
    )


def rebalance(
    fleet: Fleet, scaling: Scaling, budget: Budget, memory: BalanceMemory, now: float, *, busy: str = ""
) -> Rebalancing:
    """The next round, if it is time for one.

    busy: why nothing may be moved, such as pods that are about to be removed, or a pause; empty: it may.
    """
    if not scaling.rebalance.enabled:
        return Rebalancing(Balance.OFF, "streams are not moved", FRESH_START)
    obstacle = busy or disturbance(fleet, now)
    if obstacle:
        return _stop(fleet, memory, obstacle, now)
    if now < memory.until:
        return Rebalancing(Balance.MOVING, f"streams move for another {memory.until - now:.0f} s", memory)
    obstacle = not_ready_to_judge(fleet, scaling, now)
    if obstacle:
        return Rebalancing(Balance.WAITING, obstacle, FRESH_START)
    return _judge(fleet, scaling, budget, memory, now)


def disturbance(fleet: Fleet, now: float) -> str:
    """What else makes clients reconnect now; empty: nothing."""
    if fleet.rolling_out:
        return "a rollout is under way"
    if any(pod.leaving for pod in fleet.there(now)):
        return "pods are leaving"
    return ""


def not_ready_to_judge(fleet: Fleet, scaling: Scaling, now: float) -> str:
    """Why it cannot be said yet who has too many streams; empty: it can."""
    pods = fleet.there(now)
    if len(pods) != fleet.replicas or any(not pod.ready for pod in pods):
        return "not all pods are ready"
    least_age = scaling.rebalance.min_pod_age_seconds
    if any(now - (pod.ready_since or 0.0) < least_age for pod in pods):
        return f"not all pods have been ready for {least_age} s"
    if any(pod.sample.fresh(now) is None for pod in pods):
        return "not all pods answer"
    return ""


def levels_of(mean: float, capacity: int, scaling: Scaling) -> Levels:
    """For a pod that takes `capacity` streams, in a fleet whose pods have `mean` streams.

    Its share is the mean, or the target where that is more. It keeps nine tenths of what it has above that when it begins: room
    for those who come is all that it needs, and to shed down to the share would move ten times as many.
    """
    target = scaling.streams_per_pod.target
    share = max(mean, float(target))
    least = max(1.0, target / LEAST_SHARE)
    far = max(least, min(scaling.rebalance.threshold * share, MOST_OF_ITS_ROOM * (capacity - share)))
    return Levels(share + far, share + far * KEPT)


def donors_of(loads: Loads, scaling: Scaling, *, moving: bool) -> list[Donor]:
    """The pods that have far too many streams, and how many they should give away.

    moving: once begun, it goes on until each has what it may keep. Otherwise it would begin again with the next client.
    """
    mean = _mean(loads)
    least = max(1.0, scaling.streams_per_pod.target / LEAST_SHARE)
    donors = []
    for pod, load in loads:
        begin, keep = _levels(load, mean, scaling)
        if load.streams > (keep + least if moving else begin):
            donors.append(Donor(pod, floor(load.streams - keep)))
    return donors


def giving(fleet: Fleet, scaling: Scaling, found: Rebalancing, now: float) -> frozenset[str]:
    """Names of the pods that give streams away in the round that is under way, until it has settled: the last ones of them
    would come back otherwise."""
    if found.state is not Balance.MOVING:
        return frozenset()
    loads = _loads(fleet, now)
    mean = _mean(loads)
    return frozenset(pod.name for pod, load in loads if load.streams >= _levels(load, mean, scaling).keep)


def _loads(fleet: Fleet, now: float) -> Loads:
    return [(pod, load) for pod in fleet.pods if (load := pod.sample.fresh(now)) is not None]


def _mean(loads: Loads) -> float:
    return sum(load.streams for _, load in loads) / max(1, len(loads))


def _levels(load: Load, mean: float, scaling: Scaling) -> Levels:
    return levels_of(mean, min(load.capacity, scaling.streams_per_pod.limit), scaling)


def _stop(fleet: Fleet, memory: BalanceMemory, obstacle: str, now: float) -> Rebalancing:
    """A round that is under way is called off: two at once would be more than the budget. A drain ends a pod's shed itself."""
    if now >= memory.until:
        return Rebalancing(Balance.WAITING, obstacle, FRESH_START)
    actions = tuple(Shed(pod.name, pod.uid, 0, 0.0) for pod in fleet.present if not pod.leaving)
    return Rebalancing(Balance.STOPPED, obstacle, FRESH_START, actions)


def _judge(fleet: Fleet, scaling: Scaling, budget: Budget, memory: BalanceMemory, now: float) -> Rebalancing:
    """Hysteresis: it begins with a pod above the threshold, for a while, and ends when none is above half of it."""
    loads = _loads(fleet, now)
    donors = donors_of(loads, scaling, moving=memory.moving)
    sheds = share_out(donors, loads, scaling.streams_per_pod.limit, budget)
    if not sheds:
        return Rebalancing(Balance.EVEN, "no pod has far more streams than its share", FRESH_START)
    since = now if memory.uneven_since is None else memory.uneven_since
    if not memory.moving and now - since < LASTING_SECONDS:
        message = f"{len(sheds)} pods have far more streams than their share, but not for long"
        return Rebalancing(Balance.UNEVEN, message, replace(memory, uneven_since=since))
    total, window = sum(shed.count for shed in sheds), sheds[0].window
    message = f"{len(sheds)} pods shed {total:,} streams, over {window:.0f} s"
    return Rebalancing(Balance.MOVING, message, BalanceMemory(now + window + SETTLE_SECONDS, moving=True), sheds)


def share_out(donors: list[Donor], loads: Loads, limit: int, budget: Budget) -> tuple[Shed, ...]:
    """How many streams each donor sheds in this round, over a window that all share.

    At most what a round's budget allows, and what fits into the other pods; each donor gives the same share of its surplus.
    """
    surplus = sum(donor.surplus for donor in donors)
    if not surplus:
        return ()
    giving = {donor.pod.uid for donor in donors}
    room = sum(max(0, min(load.capacity, limit) - load.streams) for pod, load in loads if pod.uid not in giving)
    most = min(surplus, room, int(budget.per_second * ROUND_SECONDS))
    counts = [(donor.pod, donor.surplus * most // surplus) for donor in donors]
    window = max(1.0, budget.seconds_for(sum(count for _, count in counts)))
    return tuple(Shed(pod.name, pod.uid, count, window) for pod, count in counts if count)
