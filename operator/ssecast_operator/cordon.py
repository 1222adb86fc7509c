"""Which pods take new streams. Pure.

A pod that is cordoned keeps the streams that it has and stays ready; only the Service no longer leads to it. What ends there
by itself, at its age or because its client leaves, comes back elsewhere, and costs nobody a reconnect that would not have
been. Four kinds of pods are cordoned:

- those that are marked to be removed; that goes with the mark (`victims`), and is only kept here,
- those that give streams away (`rebalance`), until they have: some of what they close would come back to them,
- in a rollout, those of the old template: who came to one of them would be moved once more when it is its turn,
- those that are nearly full, while others have room: a proxy does not know, and would send clients to be refused.

Never so many that the others could not take what comes until the next look has had its effect: then pods of the old template
stay open, those with the fewest streams first. Where all of them together could not, those are open that take the most before
one refuses: a pod that is full helps no other, it only refuses whoever is sent to it. And none but the marked ones are cordoned
where there is no patience: some load balancers cut what they no longer lead to.
"""

from bisect import bisect_left
from collections.abc import Collection, Sequence
from typing import NamedTuple

from ssecast_operator.actions import Cordon, Uncordon
from ssecast_operator.budget import Budget
from ssecast_operator.demand import streams_of
from ssecast_operator.fleet import Fleet, Pod
from ssecast_operator.scaling import Scaling

HORIZON_SECONDS = 15.0
"""From one look until the next one has had its effect: a round, a write, and until every proxy has heard."""

NEARLY_FULL = 0.85
"""A pod with so much of what it takes gets no more while others have room. The rest is for what was already on its way, and
below what makes a pod shed."""

ROOM_AGAIN = 0.05
"""So much of it must have become free before it is opened again."""


class Space(NamedTuple):
    """What a pod has and could still take, in streams."""

    pod: Pod
    streams: float
    room: float
    """Until it is nearly full. A pod that is cordoned needs some more to be opened."""
    free: float
    """Until it refuses."""
    has_much: bool
    """So much free that it is worth to be opened."""


def cordons(
    fleet: Fleet,
    scaling: Scaling,
    budget: Budget,
    max_age: float,
    unknown: int,
    now: float,
    giving: Collection[str] = (),
) -> tuple[Cordon | Uncordon, ...]:
    """What has to change so that the right pods take new streams.

    max_age: seconds after which a stream ends, 0: never. unknown: streams that a pod counts as which does not answer.
    giving: names of pods that give streams away. Of pods that are not ready, or drain, nothing is changed: no client is sent
    to them.
    """
    pods = [pod for pod in fleet.present if pod.ready and not pod.leaving]
    open_ = {pod.name for pod in pods}
    if budget.patience:
        spaces = [_space(pod, scaling, unknown, now) for pod in pods]
        open_ = {space.pod.name for space in _open(fleet, spaces, budget, max_age, giving)}
    again = [pod for pod in pods if pod.cordoned and pod.name in open_]
    shut = [pod for pod in pods if not pod.cordoned and pod.name not in open_]
    shut += [pod for pod in fleet.present if not pod.cordoned and pod.marked]
    return (*(Uncordon(pod.name) for pod in again), *(Cordon(pod.name) for pod in shut))


def nearly_full(limit: float) -> float:
    """Streams from which a pod that takes `limit` may be cordoned."""
    return NEARLY_FULL * limit


def coming(streams: float, most: float, budget: Budget, max_age: float) -> float:
    """How many clients may connect before the next look has had its effect: those of a pod that drains or dies, as fast as the
    budget lets them, and those whose stream reaches its maximum age. streams: of the whole fleet; most: of its fullest pod."""
    rotated = streams / max_age * HORIZON_SECONDS if max_age else 0.0
    return min(most, budget.per_second * HORIZON_SECONDS) + rotated


def _space(pod: Pod, scaling: Scaling, unknown: int, now: float) -> Space:
    limit = scaling.streams_per_pod.limit
    takes = min(limit, pod.sample.load.capacity) if pod.sample.load else limit
    streams, again = streams_of(pod, unknown, now), ROOM_AGAIN * takes
    free = max(0.0, takes - streams)
    return Space(
        pod, streams, nearly_full(takes) - (again if pod.cordoned else 0.0) - streams, free, free >= max(1.0, again)
    )


def _open(
    fleet: Fleet, spaces: Sequence[Space], budget: Budget, max_age: float, giving: Collection[str]
) -> Sequence[Space]:
    """As few of the old template as can be; of the rest, all that have room for their part."""
    streams = [space.streams for space in spaces]
    expected = coming(sum(streams), max(streams, default=0), budget, max_age)
    new, old = _by_template(fleet, [space for space in spaces if space.pod.name not in giving])
    # Those that are open already first: each change is one for every proxy.
    old.sort(key=lambda space: (space.pod.cordoned, space.streams, space.pod.name))
    kept = bisect_left(range(len(old)), True, key=lambda count: bool(_taking([*new, *old[:count]], expected)))
    return _taking([*new, *old[:kept]], expected) or _taking_most(spaces)


def _by_template(fleet: Fleet, spaces: Sequence[Space]) -> tuple[list[Space], list[Space]]:
    """(of the newest template, of older ones). Where none of the newest is ready yet, all are alike."""
    newest = max(fleet.present, key=lambda pod: (pod.created_at, pod.name)).revision if fleet.present else ""
    new = [space for space in spaces if space.pod.revision == newest]
    return (new, [space for space in spaces if space.pod.revision != newest]) if new else (list(spaces), [])


def _taking(spaces: Sequence[Space], expected: float) -> Sequence[Space]:
    """The most of them that each have room for an equal part of what comes; none where that is too much for any number."""
    by_room = sorted(spaces, key=lambda space: (-space.room, space.pod.name))
    enough = [count for count, space in enumerate(by_room, 1) if space.room * count >= expected]
    return by_room[: enough[-1]] if enough else []


def _taking_most(spaces: Sequence[Space]) -> Sequence[Space]:
    """Those that together take the most, each an equal part, before one of them refuses; all where no pod has much left.

    A pod that is open is one of them until it is full, and one that is cordoned when it has much left: otherwise fleets that
    are full up to a few streams here and there would change with every look.
    """
    if not any(space.has_much for space in spaces):
        return spaces
    able = [space for space in spaces if space.has_much or (space.free and not space.pod.cordoned)]
    by_free = sorted(able, key=lambda space: (-space.free, space.pod.name))
    return by_free[: max(range(1, len(by_free) + 1), key=lambda count: (by_free[count - 1].free * count, count))]
