"""Which pods take new streams. Pure.

A pod that is cordoned keeps the streams that it has and stays ready; only the Service no longer leads to it. What ends there
by itself, at its age or because its client leaves, comes back elsewhere, and costs nobody a reconnect that would not have
been. Three kinds of pods are cordoned:

- those that are marked to be removed; that goes with the mark (`victims`), and is only kept here,
- in a rollout, those of the old template: who came to one of them would be moved once more when it is its turn,
- those that are nearly full, while others have room: a proxy does not know, and would send clients to be refused.

Never so many that the others could not take what comes until the next look has had its effect: then pods of the old template
stay open, those with the fewest streams first, and in the end all. And none but the marked ones where there is no patience: some
load balancers cut what they no longer lead to.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence

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


def cordons(
    fleet: Fleet, scaling: Scaling, budget: Budget, max_age: float, unknown: int, now: float
) -> tuple[Cordon | Uncordon, ...]:
    """What has to change so that the right pods take new streams.

    max_age: seconds after which a stream ends, 0: never. unknown: streams that a pod counts as which does not answer. Of
    pods that are not ready, or drain, nothing is changed: no client is sent to them.
    """
    pods = [pod for pod in fleet.present if pod.ready and not pod.leaving]
    open_ = {pod.name for pod in _open(fleet, pods, scaling, budget, max_age, unknown, now)}
    again = [pod for pod in pods if pod.cordoned and pod.name in open_]
    shut = [pod for pod in pods if not pod.cordoned and pod.name not in open_]
    shut += [pod for pod in fleet.present if not pod.cordoned and pod.marked]
    return (*(Uncordon(pod.name) for pod in again), *(Cordon(pod.name) for pod in shut))


def nearly_full(limit: int) -> float:
    """Streams from which a pod that takes `limit` may be cordoned."""
    return NEARLY_FULL * limit


def coming(streams: float, most: float, budget: Budget, max_age: float) -> float:
    """How many clients may connect before the next look has had its effect: those of a pod that drains or dies, as fast as the
    budget lets them, and those whose stream reaches its maximum age. streams: of the whole fleet; most: of its fullest pod."""
    rotated = streams / max_age * HORIZON_SECONDS if max_age else 0.0
    return min(most, budget.per_second * HORIZON_SECONDS) + rotated


def _open(
    fleet: Fleet, pods: Sequence[Pod], scaling: Scaling, budget: Budget, max_age: float, unknown: int, now: float
) -> Sequence[Pod]:
    """As few of the old template as can be; of the rest, all that have room for their part."""
    if not budget.patience:
        return pods
    streams = {pod.name: streams_of(pod, unknown, now) for pod in pods}
    expected = coming(sum(streams.values()), max(streams.values(), default=0), budget, max_age)
    limit = scaling.streams_per_pod.limit

    def room(pod: Pod) -> float:
        takes = min(limit, pod.sample.load.capacity) if pod.sample.load else limit
        return nearly_full(takes) - (ROOM_AGAIN * takes if pod.cordoned else 0.0) - streams[pod.name]

    new, old = _by_template(fleet, pods)
    # Those that are open already first: each change is one for every proxy.
    old.sort(key=lambda pod: (pod.cordoned, streams[pod.name], pod.name))
    kept = bisect_left(range(len(old)), True, key=lambda count: bool(_taking([*new, *old[:count]], room, expected)))
    return _taking([*new, *old[:kept]], room, expected) or pods


def _by_template(fleet: Fleet, pods: Sequence[Pod]) -> tuple[list[Pod], list[Pod]]:
    """(of the newest template, of older ones). Where none of the newest is ready yet, all are alike."""
    newest = max(fleet.present, key=lambda pod: (pod.created_at, pod.name)).revision if fleet.present else ""
    new = [pod for pod in pods if pod.revision == newest]
    return (new, [pod for pod in pods if pod.revision != newest]) if new else (list(pods), [])


def _taking(pods: Sequence[Pod], room: Callable[[Pod], float], expected: float) -> Sequence[Pod]:
    """The most of them that each have room for an equal part of what comes; none where that is too much for any number."""
    by_room = sorted(pods, key=lambda pod: (-room(pod), pod.name))
    enough = [count for count, pod in enumerate(by_room, 1) if room(pod) * count >= expected]
    return by_room[: enough[-1]] if enough else []
