"""From the number of pods that there are to the one that was decided on, without cutting a stream. Pure.

Adding pods is one write. Removing them takes steps, and each round finds out anew from the cluster which one is next:

mark the pods with the fewest streams -> be patient -> tell them to drain -> wait until they have none, or for the deadline ->
see to it that the ReplicaSet will choose them -> lower the replicas -> wait until as many pods are gone -> a marked pod that is
still there has survived: it takes streams again.

Patience: a pod that is marked is cordoned, so it gets no more streams, and for a while it closes none either. What ends by
itself meanwhile costs no client a reconnect that it would not have had. It is ready all that time, so nobody else takes it for
a pod that is ill. Further victims are marked when it is their turn: when the closings that are planned will be over by the
time that theirs begin, so that each has the whole budget.

Nothing is remembered here: an operator that is killed after any step goes on with the next one. When the demand turns, the
marked pods take streams again first. While a rollout is under way no pod is marked and none removed: with two ReplicaSets
nobody knows whom the Deployment chooses. Pods that are marked by then stay so, since the rollout replaces them too.

What is shown must include what was done: a cache that lags behind one's own writes has to be waited for.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ssecast_operator.actions import Action, Drain, Mark, SetDeletionCost, SetReplicas, Undrain, Unmark
from ssecast_operator.budget import Budget
from ssecast_operator.demand import streams_of
from ssecast_operator.fleet import Fleet, Pod

DRAIN_GRACE_SECONDS = 15.0
"""How long after its deadline a pod may still have streams, or give no answer, before it is removed all the same."""

SETTLE_SECONDS = 120.0
"""How long after the deadline is waited for a pod that is not marked, but would be removed first as it is not ready.

Most become ready again. After that the replicas are lowered all the same: it goes, and a marked one survives.
"""

LEAD_SECONDS = 10.0
"""So long before they close the first stream, pods that are marked are told to drain: two rounds."""

COST_MIN = -(2**31)


class Phase(StrEnum):
    """Where the fleet is on its way."""

    STEADY = "Steady"
    ADDING = "Adding"
    ROLLING_OUT = "RollingOut"
    """Pods are to be removed, after the rollout."""
    BLIND = "Blind"
    """Pods are to be removed, when enough of them answer. Those that drain go on, and wait."""
    EMPTYING = "Emptying"
    """Pods that are to be removed take no more streams, and do not close any yet."""
    DRAINING = "Draining"
    RANKING = "Ranking"
    """It is seen to that the ReplicaSet will choose the drained pods."""
    REMOVING = "Removing"
    UNDRAINING = "Undraining"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now, and a sentence about it."""

    phase: Phase
    message: str
    actions: tuple[Action, ...] = ()


def plan(fleet: Fleet, desired: int, budget: Budget, unknown: int, now: float, *, blind: bool = False) -> Plan:
    """The next step from the fleet to `desired` pods.

    unknown: streams that a ready pod counts as which does not answer. blind: too few pods answer to remove any.
    """
    if desired >= fleet.replicas:
        return _keep_or_add(fleet, desired, unknown, now)
    if fleet.rolling_out:
        return Plan(Phase.ROLLING_OUT, "pods are removed when the rollout is over")
    if blind:
        return Plan(Phase.BLIND, "pods are removed when more of them say how many streams they have")
    return _remove(fleet, desired, budget, unknown, now)


def _keep_or_add(fleet: Fleet, desired: int, unknown: int, now: float) -> Plan:
    """Marked pods take streams again, those with most left first; more pods come after that.

    As many stay marked as the ReplicaSet has yet to remove: it would take others else, or these when they have filled again.
    Where it has yet to remove some that are wanted after all, the replicas are raised first, before it does.
    """
    marked = [pod for pod in fleet.present if pod.marked]
    removed = 0 if fleet.rolling_out else max(0, len(fleet.present) - desired)
    spared = _fullest(marked, max(0, len(marked) - removed), unknown, now)
    again = (*_undrain(spared), *_undrain_strays(fleet, now))
    if desired > fleet.replicas:
        raised = _set(fleet, desired)
        lowered = not fleet.rolling_out and len(fleet.present) > fleet.replicas
        actions = (raised, *again) if lowered else (*again, raised)
        added = desired - fleet.replicas
        return Plan(Phase.ADDING, "1 pod is added" if added == 1 else f"{added} pods are added", actions)
    if again:
        return Plan(Phase.UNDRAINING, "pods that are not to be removed take streams again", again)
    if removed:
        return Plan(Phase.REMOVING, f"{removed} drained pods are about to be removed")
    return Plan(Phase.STEADY, "there are as many pods as there should be")


def _remove(fleet: Fleet, desired: int, budget: Budget, unknown: int, now: float) -> Plan:
    """The next step of removing pods; outside of rollouts."""
    absent = fleet.replicas - len(fleet.present)
    if absent > 0:
        fewer = max(desired, len(fleet.present))
        return Plan(Phase.REMOVING, "pods that do not exist yet are no longer asked for", (_set(fleet, fewer),))
    if absent < 0:
        return Plan(Phase.REMOVING, f"{-absent} drained pods are about to be removed")
    surplus = fleet.replicas - desired
    marked = [pod for pod in fleet.present if pod.marked]
    if len(marked) > surplus:
        return _spare(marked, len(marked) - surplus, unknown, now)
    if len(marked) < surplus and not strays(fleet, now):
        others = [pod for pod in fleet.present if not pod.marked]
        victims = choose(others, surplus - len(marked), unknown, now)
        if now + _pause(victims, budget, unknown, now) >= _closed_by(pod for pod in marked if not drained(pod, now)):
            return _begin(victims, budget, unknown, now)
    if marked:
        return _finish(fleet, marked, budget, unknown, now)
    # Perhaps ours, and what we see of its mark is late: marking others would drain twice.
    return Plan(Phase.UNDRAINING, "a pod drains that is not marked", _undrain_strays(fleet, now))


def _pause(victims: Sequence[Pod], budget: Budget, unknown: int, now: float) -> float:
    """Seconds until they begin to close: who has a tenth of what a pod should have is worth a tenth of the patience."""
    streams = sum(streams_of(pod, unknown, now) for pod in victims)
    return budget.delay + budget.patience * min(1.0, streams / max(1, unknown * len(victims)))


def choose(pods: Iterable[Pod], count: int, unknown: int, now: float) -> list[Pod]:
    """The victims. First those that the ReplicaSet would remove before all others whatever we say; then fewest streams.

    The youngest first where they have equally many, as the ReplicaSet does; then by name, so that two looks agree.
    """
    ranked = sorted(pods, key=lambda pod: (standing(pod), streams_of(pod, unknown, now), -pod.created_at, pod.name))
    return ranked[:count]


def standing(pod: Pod) -> int:
    """What the ReplicaSet looks at before the deletion cost: not on a node, not running, not ready, ready."""
    if not pod.scheduled:
        return 0
    if not pod.running:
        return 1
    return 3 if pod.ready else 2


# Steps


def _begin(victims: Sequence[Pod], budget: Budget, unknown: int, now: float) -> Plan:
    """All at once and over one window, so that together they keep the budget.

    It begins when no client is sent to them any more (`drain.delaySeconds`): who came back to one of them would be turned
    away, and reconnect twice. And not before the patience is over.
    """
    streams = sum(streams_of(pod, unknown, now) for pod in victims)
    window, delay = budget.drain_window(streams), _pause(victims, budget, unknown, now)
    marks = tuple(Mark(pod.name, now + delay + window) for pod in victims)
    if delay > budget.delay + LEAD_SECONDS:
        message = f"{_names(victims)} take no more streams; what is left of {streams:,} in {delay:.0f} s they close, over {window:.0f} s"
        return Plan(Phase.EMPTYING, message, marks)
    drains = tuple(Drain(pod.name, pod.uid, window, delay) for pod in victims)
    message = f"{_names(victims)} with {streams:,} streams begin to drain, over {window:.0f} s"
    return Plan(Phase.DRAINING, message, (*marks, *drains))


def _finish(fleet: Fleet, marked: Sequence[Pod], budget: Budget, unknown: int, now: float) -> Plan:
    """Marked pods on their way out: drain, rank, lower. Who is done does not wait for the others."""
    done = [pod for pod in marked if drained(pod, now)]
    waiting = [pod for pod in marked if not drained(pod, now)]
    draining = _keep_draining(waiting, budget, unknown, now) if waiting else None
    if draining and (draining.actions or not done):
        return draining
    going = {pod.name for pod in done}
    others = [pod for pod in fleet.present if pod.name not in going]
    cost = cost_below(others)
    costs = tuple(SetDeletionCost(pod.name, cost) for pod in done if pod.deletion_cost > cost)
    if costs:
        # In a round of its own: when the replicas are lowered, the ReplicaSet must have seen it.
        return Plan(Phase.RANKING, f"{_names(done)} are drained and will be the first to be removed", costs)
    first = [pod for pod in others if standing(pod) < min(standing(each) for each in done)]
    if first and now < _deadline(done) + SETTLE_SECONDS:
        return Plan(Phase.RANKING, f"{_names(first)} would be removed first; it is waited until they are ready")
    message = f"{_names(done)} are drained and are removed"
    return Plan(Phase.REMOVING, message, (_set(fleet, fleet.replicas - len(done)),))


def _keep_draining(waiting: Sequence[Pod], budget: Budget, unknown: int, now: float) -> Plan:
    """Pods that do not drain yet are told when it is time, to be done when they were meant to be; where that is too soon, they
    are given more.

    They close theirs when the others have closed: what those were told stays, and each has the whole budget.
    """
    untold = {pod.name: pod for pod in waiting if must_be_told(pod, now)}
    empty = {pod.name for pod in untold.values() if has_none(pod, now)}
    at_once = tuple(Drain(name, untold[name].uid, budget.window, budget.delay) for name in sorted(empty))
    left_over = [pod for pod in untold.values() if pod.name not in empty]
    first = min((pod.drain_deadline or 0.0 for pod in left_over), default=0.0)
    told = [pod for pod in left_over if pod.drain_deadline == first]
    streams, left = sum(streams_of(pod, unknown, now) for pod in told), max(0.0, first - now)
    if not told or left - budget.drain_window(streams) > budget.delay + LEAD_SECONDS:
        stage, seconds = _stage(waiting, budget, unknown, now), max(0.0, _deadline(waiting) - now)
        verb = "take no more streams, and have none left in" if stage is Phase.EMPTYING else "drain for another"
        return Plan(stage, f"{_names(waiting)} {verb} {seconds:.0f} s", at_once)
    others = [pod for pod in waiting if pod.name not in untold]
    delay = max(budget.delay, _closed_by(others) - now, left - budget.drain_window(streams))
    window = max(budget.seconds_for(streams), left - delay)
    late = delay + window > left + DRAIN_GRACE_SECONDS
    marks = tuple(Mark(pod.name, now + delay + window) for pod in told) if late else ()
    drains = tuple(Drain(pod.name, pod.uid, window, delay) for pod in told)
    message = f"{_names(told)} with {streams:,} streams begin to drain, over {window:.0f} s"
    if late:
        message = f"{_names(told)} begin late to drain, over {window:.0f} s"
    return Plan(Phase.DRAINING, message, (*at_once, *marks, *drains))


def _stage(waiting: Sequence[Pod], budget: Budget, unknown: int, now: float) -> Phase:
    """Whether the first of them close by now, as far as can be seen from when they will have closed."""
    first = min(pod.drain_deadline or 0.0 for pod in waiting)
    window = budget.drain_window(sum(streams_of(pod, unknown, now) for pod in waiting))
    return Phase.EMPTYING if now < first - window else Phase.DRAINING


def must_be_told(pod: Pod, now: float) -> bool:
    """It is marked, and says that it does not drain: it was not reached, or its container has started anew."""
    load = pod.sample.fresh(now)
    return load is not None and not load.draining


def has_none(pod: Pod, now: float) -> bool:
    """It says that it has no stream left."""
    load = pod.sample.fresh(now)
    return load is not None and not load.streams


def drained(pod: Pod, now: float) -> bool:
    """It drains and has no stream left, or its time is over. Who answers that it does not drain was not reached while it was
    time: it is told late, and waited for longer, but not for ever: it may take no orders."""
    load = pod.sample.fresh(now)
    grace = DRAIN_GRACE_SECONDS + (SETTLE_SECONDS if must_be_told(pod, now) else 0.0)
    overdue = pod.drain_deadline is not None and now >= pod.drain_deadline + grace
    return overdue or (load is not None and load.draining and not load.streams)


def _deadline(marked: Iterable[Pod]) -> float:
    return max(pod.drain_deadline or 0.0 for pod in marked)


def _closed_by(marked: Iterable[Pod]) -> float:
    """When the last stream of all of them is closed, also by what they say themselves: who was told late may take longer."""
    loads = ((pod, pod.sample.load) for pod in marked)
    return max(
        (max(pod.drain_deadline or 0.0, (load and load.drain_deadline) or 0.0) for pod, load in loads), default=0.0
    )


def cost_below(others: Iterable[Pod]) -> int:
    """A deletion cost that is lower than that of all the others; others than we may have written some."""
    return max(COST_MIN, min((pod.deletion_cost for pod in others), default=0) - 1)


def _spare(marked: Sequence[Pod], count: int, unknown: int, now: float) -> Plan:
    """Fewer are to be removed than are marked: those with most streams left take streams again."""
    spared = _fullest(marked, count, unknown, now)
    return Plan(Phase.UNDRAINING, f"{_names(spared)} are needed after all and take streams again", _undrain(spared))


def _fullest(marked: Iterable[Pod], count: int, unknown: int, now: float) -> list[Pod]:
    """Those with most streams left: sparing them spares most reconnects."""
    return sorted(marked, key=lambda pod: (-streams_of(pod, unknown, now), pod.name))[:count]


def _undrain(pods: Iterable[Pod]) -> tuple[Action, ...]:
    """The mark goes last, when the pod has heard: nothing is left draining that nobody knows of."""
    return tuple(action for pod in pods for action in (Undrain(pod.name, pod.uid), Unmark(pod.name)))


def strays(fleet: Fleet, now: float) -> list[Pod]:
    """Pods that drain without being marked: somebody told them, or what we see of their mark is late.

    Not those that have long been silent: their node may be away, and none could be removed for as long as they are shown.
    """
    loads = ((pod, pod.sample.assumed(now)) for pod in fleet.present if not pod.marked)
    return [pod for pod, load in loads if load is not None and load.draining]


def _undrain_strays(fleet: Fleet, now: float) -> tuple[Action, ...]:
    """When their drain is over, they take streams again."""
    over = [pod for pod in strays(fleet, now) if _stray_since(pod) + DRAIN_GRACE_SECONDS <= now]
    return tuple(Undrain(pod.name, pod.uid) for pod in over)


def _stray_since(pod: Pod) -> float:
    load = pod.sample.load
    return 0.0 if load is None or load.drain_deadline is None else load.drain_deadline


def _set(fleet: Fleet, replicas: int) -> SetReplicas:
    return SetReplicas(fleet.replicas, replicas)


def _names(pods: Sequence[Pod]) -> str:
    shown = ", ".join(pod.name for pod in pods[:3])
    return shown if len(pods) <= 3 else f"{shown} and {len(pods) - 3} others"
