"""From what a round has seen and decided to `status`: conditions, figures, and whether that is worth a write. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ssecast_operator.actions import Action
from ssecast_operator.broadcaster import Broadcaster
from ssecast_operator.budget import budget_of
from ssecast_operator.children import selector
from ssecast_operator.decision import Decision, Reason
from ssecast_operator.fleet import Fleet
from ssecast_operator.instants import instant, rfc3339
from ssecast_operator.rebalance import Balance, Rebalancing
from ssecast_operator.status import autoscaler_status, budget_status
from ssecast_operator.victims import Phase, Plan

REFRESH_SECONDS = 30.0
"""Figures that change all the time are written this often; everything else at once."""

TELLING = frozenset(
    {
        "CrashLoopBackOff", "CreateContainerConfigError", "CreateContainerError", "ErrImageNeverPull", "ErrImagePull",
        "ImageInspectError", "ImagePullBackOff", "InvalidImageName", "RunContainerError",
    }
)  # fmt: skip
"""Reasons for which a container waits that do not pass by themselves."""

Conditions = list[dict[str, Any]]


class Problem(NamedTuple):
    """Something that only the operator can see: a reason in one word, and a sentence."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Round:
    """What a round has seen and decided. deployment: its body, None where there is none yet.

    actions: what is to be done, in order. problems: why not everything is as it should be. contested: who else writes the replicas, empty: nobody. pods: their
    bodies.
    """

    broadcaster: Broadcaster
    now: float
    deployment: Mapping[str, Any] | None = None
    fleet: Fleet | None = None
    pods: tuple[Mapping[str, Any], ...] = ()
    decision: Decision | None = None
    plan: Plan | None = None
    rebalancing: Rebalancing | None = None
    actions: tuple[Action, ...] = ()
    problems: tuple[Problem, ...] = ()
    contested: str = ""


def status_of(seen: Round, before: Mapping[str, Any]) -> dict[str, Any]:
    """The whole status; before: the one that stands in the cluster, for the times of transitions and what is not known."""
    status: dict[str, Any] = {
        "observedGeneration": seen.broadcaster.generation,
        "selector": ",".join(f"{key}={value}" for key, value in selector(seen.broadcaster.name).items()),
        "conditions": _with_times(list(_conditions(seen)), before.get("conditions") or [], seen),
        "budget": budget_status(budget_of(seen.broadcaster.spec), seen.fleet.replicas if seen.fleet else 1),
    }
    if seen.fleet is not None:
        there = seen.fleet.there(seen.now)
        status["replicas"] = len(there)
        status["readyReplicas"] = sum(pod.ready for pod in there)
    if seen.decision is not None and seen.rebalancing is not None:
        status["streams"] = seen.decision.demand.open + seen.decision.demand.leaving
        status["autoscaler"] = autoscaler_status(seen.decision, seen.rebalancing.memory)
    for name in ("replicas", "readyReplicas", "streams", "autoscaler"):
        if name not in status and name in before:
            status[name] = before[name]
    if seen.plan is not None and seen.rebalancing is not None:
        status["phase"], status["phaseMessage"] = phase_of(seen.plan, seen.rebalancing)
    return status


def phase_of(plan: Plan, rebalancing: Rebalancing) -> tuple[str, str]:
    """Where the fleet is on its way, and the same in a sentence."""
    if plan.phase is Phase.STEADY and rebalancing.state is Balance.MOVING:
        return "Rebalancing", rebalancing.message
    return plan.phase.value, plan.message


def worth_writing(status: Mapping[str, Any], before: Mapping[str, Any], written_at: float, now: float) -> bool:
    """Whether something has changed that is told at once, or anything at all and it is time for it."""
    if status == before:
        return False
    return now - written_at >= REFRESH_SECONDS or _essence(status) != _essence(before)


def _essence(status: Mapping[str, Any]) -> Any:
    """Of a status, what does not change with every stream that opens."""
    autoscaler = status.get("autoscaler") or {}
    return (
        status.get("observedGeneration"),
        status.get("selector"),
        status.get("replicas"),
        status.get("readyReplicas"),
        status.get("phase"),
        status.get("budget"),
        [(each["type"], each["status"], each["reason"]) for each in status.get("conditions") or ()],
        [
            autoscaler.get(key)
            for key in ("current", "desired", "reason", "limitedBy", "lastScaleTime", "changes", "surge")
        ],
        autoscaler.get("movingUntil"),
    )


# Conditions


def _conditions(seen: Round) -> Iterable[dict[str, Any]]:
    yield _reconciled(seen)
    yield _available(seen)
    yield _progressing(seen)
    if seen.decision is not None:
        yield _scaling_active(seen, seen.decision)
        yield _scaling_limited(seen.decision)
    yield _stream_ready(seen)
    if seen.contested:
        yield _condition(
            "ReplicasContested",
            True,
            "WrittenByAnother",
            f"{seen.contested} writes spec.replicas of the Deployment too, and is overruled: only the operator may; "
            "people and a HorizontalPodAutoscaler write those of the Broadcaster",
        )


def _reconciled(seen: Round) -> dict[str, Any]:
    if seen.problems:
        return _condition(
            "Reconciled", False, seen.problems[0].reason, "; ".join(problem.message for problem in seen.problems)
        )
    return _condition("Reconciled", True, "AsSpecified", "what belongs to the Broadcaster is as it should be")


def _available(seen: Round) -> dict[str, Any]:
    ready = sum(pod.ready for pod in seen.fleet.there(seen.now)) if seen.fleet else 0
    wanted = seen.fleet.kept if seen.fleet else 0
    troubles = troubles_of(seen.pods)
    if ready:
        reason = "AllPodsReady" if ready >= wanted else "SomePodsReady"
        return _condition("Available", True, reason, _and(f"{ready} of {wanted} pods are ready", troubles))
    if seen.fleet is not None and not wanted:
        return _condition("Available", False, "NoPodsWanted", "there are to be no pods")
    return _condition("Available", False, "NoPodReady", _and(f"none of {wanted} pods is ready", troubles))


def _progressing(seen: Round) -> dict[str, Any]:
    late = _deployment_condition(seen.deployment, "Progressing")
    if is_stuck(seen.deployment):
        troubles = troubles_of(seen.pods)
        return _condition("Progressing", False, str(late.get("reason")), _and("the rollout does not go on", troubles))
    if seen.fleet is not None and seen.fleet.rolling_out:
        return _condition("Progressing", True, "RollingOut", "pods are replaced by those of another template")
    if seen.plan is not None and seen.rebalancing is not None:
        phase, message = phase_of(seen.plan, seen.rebalancing)
        if phase != Phase.STEADY.value:
            return _condition("Progressing", True, phase, message)
        return _condition("Progressing", False, "Steady", message)
    return _condition("Progressing", True, "Starting", "the Deployment is made")


def _scaling_active(seen: Round, decision: Decision) -> dict[str, Any]:
    scaling, pause = seen.broadcaster.spec.scaling, seen.broadcaster.pause
    if scaling.mode == "off":
        return _condition("ScalingActive", False, Reason.BY_HAND.value, decision.message)
    if pause.scale_in and pause.scale_out:
        return _condition("ScalingActive", False, "Paused", "an annotation forbids to add pods and to remove them")
    return _condition("ScalingActive", decision.valid, decision.reason.value, decision.message)


def _scaling_limited(decision: Decision) -> dict[str, Any]:
    if decision.limits:
        return _condition("ScalingLimited", True, decision.limits[-1].value, decision.message)
    return _condition("ScalingLimited", False, "AsWished", "there are as many pods as the demand asks for")


def _stream_ready(seen: Round) -> dict[str, Any]:
    """By those that answer: of who was cut off from NATS and then from us, the last word would stand for ever."""
    loads = [pod.sample.assumed(seen.now) for pod in seen.fleet.pods] if seen.fleet else []
    known = [load for load in loads if load is not None]
    problems = sorted({load.problem for load in known if load.problem})
    if problems:
        return _condition("StreamReady", False, "SourceTrouble", "; ".join(problems))
    if not known:
        return _condition("StreamReady", None, "NoData", "no pod says whether it follows NATS")
    return _condition("StreamReady", True, "Following", "the pods follow NATS")


def is_stuck(deployment: Mapping[str, Any] | None) -> bool:
    """Whether Kubernetes has given up waiting for pods: nothing has moved for progressDeadlineSeconds."""
    return bool(_deployment_condition(deployment, "Progressing").get("status") == "False")


def troubles_of(pods: Sequence[Mapping[str, Any]]) -> list[str]:
    """What keeps containers from running, each once: image that cannot be pulled, a crash loop, a pod without a node."""
    found: dict[str, str] = {}
    for pod in pods:
        for reason, message in _troubles(pod):
            found.setdefault(reason, f"{pod['metadata']['name']}: {reason}{': ' if message else ''}{message[:300]}")
    return list(found.values())


def _troubles(pod: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    status = pod.get("status") or {}
    for each in status.get("conditions") or ():
        if each.get("type") == "PodScheduled" and each.get("status") == "False":
            yield str(each.get("reason")), str(each.get("message") or "")
    for each in status.get("containerStatuses") or ():
        waiting = (each.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in TELLING:
            yield str(waiting["reason"]), str(waiting.get("message") or "")


def _deployment_condition(deployment: Mapping[str, Any] | None, type_: str) -> Mapping[str, Any]:
    conditions = ((deployment or {}).get("status") or {}).get("conditions") or ()
    return next((each for each in conditions if each.get("type") == type_), {})


def _and(sentence: str, more: Sequence[str]) -> str:
    return "; ".join([sentence, *more])


def _condition(type_: str, holds: bool | None, reason: str, message: str) -> dict[str, Any]:
    status = "Unknown" if holds is None else "True" if holds else "False"
    return {"type": type_, "status": status, "reason": reason, "message": message}


def _with_times(conditions: Conditions, before: Sequence[Mapping[str, Any]], seen: Round) -> Conditions:
    """When each status changed last: as it stands in the cluster where it is the same."""
    known = {each.get("type"): each for each in before}
    for condition in conditions:
        old = known.get(condition["type"], {})
        since = old.get("lastTransitionTime") if old.get("status") == condition["status"] else None
        condition["lastTransitionTime"] = since if instant(since) is not None else rfc3339(seen.now)
        condition["observedGeneration"] = seen.broadcaster.generation
    return conditions
