"""One Broadcaster, round by round: look, keep, ask, decide, act, tell. Level-based: a round begins with what there is."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import structlog

from ssecast_operator.actions import (
    Action,
    Cordon,
    Drain,
    Mark,
    SetDeletionCost,
    SetReplicas,
    Shed,
    Uncordon,
    Undrain,
    Unmark,
)
from ssecast_operator.broadcaster import Broadcaster, SpecError, parse
from ssecast_operator.budget import budget_of
from ssecast_operator.children import Surroundings
from ssecast_operator.cluster import (
    BROADCASTERS,
    DEPLOYMENTS,
    MANAGER,
    PODS,
    SCALER,
    Cluster,
    Conflict,
    NotFound,
    Refused,
)
from ssecast_operator.conditions import Problem, Round, is_stuck, phase_of, status_of, worth_writing
from ssecast_operator.decision import Decision
from ssecast_operator.fleet import DELETION_COST, DRAIN_DEADLINE, NO, SERVING, YES, Fleet, pods_of
from ssecast_operator.instants import rfc3339
from ssecast_operator.loads import Loads, OrderError
from ssecast_operator.memory import Memory, restored
from ssecast_operator.rebalance import BalanceMemory, Rebalancing, restored_balance
from ssecast_operator.store import Key, Store
from ssecast_operator.upkeep import Upkeep
from ssecast_operator.verdict import verdict_on
from ssecast_operator.victims import Phase, Plan

CONTESTED_SECONDS = 300.0
"""So long it is told that somebody else has written the replicas: they are set right within a moment."""

NOTHING: Mapping[str, Any] = {}

log = structlog.get_logger()


class Observer(Protocol):
    """Told of what is going on, for metrics and Events."""

    def decided(self, key: Key, decision: Decision, plan: Plan, rebalancing: Rebalancing, budget: float) -> None: ...

    def found(self, key: Key, fleet: Fleet, stuck: bool) -> None: ...

    def acted(self, key: Key, action: Action) -> None: ...

    async def tell(self, body: Mapping[str, Any], kind: str, reason: str, message: str) -> None: ...


class Reconciler:
    """Rounds of one Broadcaster. may_act: asked before every order and every change of the number of pods."""

    def __init__(
        self,
        key: Key,
        store: Store,
        cluster: Cluster,
        loads: Loads,
        surroundings: Surroundings,
        observer: Observer,
        may_act: Callable[[], bool] = lambda: True,
    ) -> None:
        self.key, self._store, self._cluster, self._loads = key, store, cluster, loads
        self._observer, self._may_act = observer, may_act
        self.upkeep = Upkeep(key, store, cluster, surroundings)
        self._uid = ""
        self._memory: Memory | None = None
        self._balance = BalanceMemory()
        self._written_at = float("-inf")
        self._told: tuple[Any, ...] = ()
        self._phase = ""
        self._contested = ("", 0.0)

    async def round(self, now: float) -> None:
        """Once through everything. Raises Unavailable where the API server cannot answer now; the next round goes on."""
        body = self._store.broadcaster(self.key)
        if body is None or body["metadata"].get("deletionTimestamp"):
            return
        self._begin(body, now)
        try:
            broadcaster = parse(body)
        except SpecError as wrong:
            await self._write_problem(body, "; ".join(wrong.sentences), now)
            return
        deployment = self._deployment()
        self._look_for_rivals(deployment, now)
        replicas = deployment["spec"].get("replicas", 1) if deployment else 1
        pods = tuple(self._store.children(self.key, PODS.kind))
        problems = await self.upkeep.keep(broadcaster, replicas, pods, now)
        deployment = self._deployment()
        if deployment is None:
            await self._write(body, Round(broadcaster, now, problems=tuple(problems)), now)
            return
        pods = tuple(self._store.children(self.key, PODS.kind))
        await self._claim_replicas(deployment)
        await self._loads.ask(pods, now)
        seen = self._decide(broadcaster, deployment, pods, problems, now)
        await self._act(seen, body)
        await self._write(body, seen, now)

    def _begin(self, body: Mapping[str, Any], now: float) -> None:
        """Another object of the same name is another Broadcaster."""
        uid = body["metadata"]["uid"]
        if self._memory is None or uid != self._uid:
            status = (body.get("status") or {}).get("autoscaler")
            self._uid, self._memory, self._balance = uid, restored(status, now), restored_balance(status, now)
            self.upkeep.token = ""

    def _deployment(self) -> Mapping[str, Any] | None:
        return self._store.child(self.key, DEPLOYMENTS.kind, self.key.name)

    # Decide

    def _decide(
        self,
        broadcaster: Broadcaster,
        deployment: Mapping[str, Any],
        pods: tuple[Mapping[str, Any], ...],
        problems: list[Problem],
        now: float,
    ) -> Round:
        assert self._memory is not None
        spec, budget = broadcaster.spec, budget_of(broadcaster.spec)
        rollout = is_rolling_out(deployment, self.upkeep.rolling_from)
        fleet = Fleet(deployment["spec"].get("replicas", 1), pods_of(pods, self._loads.of(pods)), rollout=rollout)
        verdict = verdict_on(fleet, spec, self._memory, self._balance, now, broadcaster.pause)
        decision, steps, moving = verdict.decision, verdict.plan, verdict.rebalancing
        self._memory = decision.memory
        self._balance = moving.memory
        self._observer.decided(self.key, decision, steps, moving, budget.per_second)
        self._observer.found(self.key, fleet, is_stuck(deployment))
        return Round(
            broadcaster,
            now,
            deployment,
            fleet,
            pods,
            decision,
            steps,
            moving,
            verdict.actions,
            tuple(problems),
            self._contested[0] if now < self._contested[1] else "",
        )

    def _look_for_rivals(self, deployment: Mapping[str, Any] | None, now: float) -> None:
        """Before the replicas are claimed: that takes the others' names out of the object."""
        others = [each for each in owners_of_replicas(deployment or {}) if each not in (SCALER, MANAGER)]
        if others:
            self._contested = (others[0], now + CONTESTED_SECONDS)

    # Act

    async def _act(self, seen: Round, body: Mapping[str, Any]) -> None:
        assert seen.plan is not None
        assert seen.rebalancing is not None
        assert seen.decision is not None
        await self._tell_changes(seen, body)
        failed: set[str] = set()
        for action in seen.actions:
            pod = getattr(action, "pod", "")
            if not self._may_act():
                return
            if pod in failed:
                continue
            try:
                await self._carry_out(action, seen)
            except (OrderError, Conflict, NotFound, Refused) as wrong:
                failed.add(pod)
                log.warning("an action failed", broadcaster=str(self.key), action=repr(action), why=str(wrong))
                if not pod:
                    return  # the number of pods is not what it was thought to be: look again
            else:
                log.info("acted", broadcaster=str(self.key), action=repr(action))
                self._observer.acted(self.key, action)

    async def _carry_out(self, action: Action, seen: Round) -> None:
        match action:
            case SetReplicas():
                await self._set_replicas(action)
            case Cordon(pod):
                await self._write_on(pod, labels={SERVING: NO})
            case Uncordon(pod):
                await self._write_on(pod, labels={SERVING: YES})
            case Mark(pod, deadline):
                await self._write_on(pod, {DRAIN_DEADLINE: rfc3339(deadline)}, {SERVING: NO})
            case Unmark(pod):
                await self._write_on(pod, {DRAIN_DEADLINE: None, DELETION_COST: None}, {SERVING: YES})
            case SetDeletionCost(pod, cost):
                await self._write_on(pod, {DELETION_COST: str(cost)})
            case Drain() | Undrain() | Shed():
                await self._loads.order(action, self._ip(action.pod, action.uid), self.upkeep.token)

    async def _claim_replicas(self, deployment: Mapping[str, Any]) -> None:
        """As they are. Kubernetes writes down who scales a Deployment only where somebody has owned the number before."""
        if SCALER not in owners_of_replicas(deployment):
            replicas = deployment["spec"].get("replicas", 1)
            try:
                await self._set_replicas(SetReplicas(replicas, replicas))
            except (Conflict, NotFound, Refused) as wrong:
                log.warning("the replicas could not be claimed", broadcaster=str(self.key), why=str(wrong))

    async def _set_replicas(self, action: SetReplicas) -> None:
        """If it still is what it was: by the version that was read."""
        live = self._deployment()
        if live is None or live["spec"].get("replicas", 1) != action.was:
            raise Conflict("the Deployment's replicas are not what they were")
        written = await self._cluster.apply(
            {
                "apiVersion": DEPLOYMENTS.api_version,
                "kind": DEPLOYMENTS.kind,
                "metadata": {
                    "name": self.key.name,
                    "namespace": self.key.namespace,
                    "resourceVersion": live["metadata"]["resourceVersion"],
                },
                "spec": {"replicas": action.replicas},
            },
            SCALER,
        )
        self._store.put(DEPLOYMENTS.kind, written)

    async def _write_on(
        self, name: str, annotations: Mapping[str, str | None] = NOTHING, labels: Mapping[str, str] = NOTHING
    ) -> None:
        pod = self._store.child(self.key, PODS.kind, name)
        if pod is None:
            raise NotFound(f"pod {name!r} is gone")
        patch = {"metadata": {"uid": pod["metadata"]["uid"], "annotations": {**annotations}, "labels": {**labels}}}
        self._store.put(PODS.kind, await self._cluster.merge(PODS, self.key.namespace, name, patch))

    def _ip(self, name: str, uid: str) -> str:
        pod = self._store.child(self.key, PODS.kind, name)
        ip = ((pod or {}).get("status") or {}).get("podIP")
        if pod is None or pod["metadata"]["uid"] != uid or not ip:
            raise OrderError(f"pod {name!r} has no address")
        return str(ip)

    # Tell

    async def _tell_changes(self, seen: Round, body: Mapping[str, Any]) -> None:
        """An Event per change of mind, and per step on the way to it."""
        decision, steps = seen.decision, seen.plan
        assert decision is not None
        assert steps is not None
        assert seen.rebalancing is not None
        if decision.outcome != self._told:
            first, self._told = not self._told, decision.outcome
            if not first or decision.replicas != decision.base:
                kind = "Normal" if decision.valid else "Warning"
                await self._event(body, kind, decision.reason.value, decision.message)
        phase, message = phase_of(steps, seen.rebalancing)
        if phase != self._phase:
            first, self._phase = not self._phase, phase
            if not (first and phase == Phase.STEADY):
                await self._event(body, "Normal", phase, message)

    async def _event(self, body: Mapping[str, Any], kind: str, reason: str, message: str) -> None:
        log.info("event", broadcaster=str(self.key), reason=reason, message=message)
        await self._observer.tell(body, kind, reason, message)

    async def _write_problem(self, body: Mapping[str, Any], message: str, now: float) -> None:
        """Of a spec that cannot be read nothing is known: what runs, runs on."""
        before = body.get("status") or {}
        old = [each for each in before.get("conditions") or () if each.get("type") != "Reconciled"]
        known: Mapping[str, Any] = next(
            (each for each in before.get("conditions") or () if each.get("type") == "Reconciled"), {}
        )
        since = known.get("lastTransitionTime") if known.get("status") == "False" else None
        condition = {
            "type": "Reconciled",
            "status": "False",
            "reason": "SpecInvalid",
            "message": message,
            "lastTransitionTime": since or rfc3339(now),
            "observedGeneration": body["metadata"].get("generation", 0),
        }
        if {**known, "lastTransitionTime": ""} != {**condition, "lastTransitionTime": ""}:
            await self._patch_status(body, before | {"conditions": [*old, condition]})

    async def _write(self, body: Mapping[str, Any], seen: Round, now: float) -> None:
        before = body.get("status") or {}
        status = status_of(seen, before)
        if worth_writing(status, before, self._written_at, now):
            self._written_at = now
            await self._patch_status(body, status)

    async def _patch_status(self, body: Mapping[str, Any], status: dict[str, Any]) -> None:
        """A merge patch does not take away what is no longer said: that is said to be nothing."""
        gone = dict.fromkeys((body.get("status") or {}).keys() - status.keys())
        autoscaler = status.get("autoscaler")
        if autoscaler is not None:
            known = (body.get("status") or {}).get("autoscaler") or {}
            status = status | {"autoscaler": dict.fromkeys(known.keys() - autoscaler.keys()) | autoscaler}
        patch = {"metadata": {"uid": body["metadata"]["uid"]}, "status": gone | status}
        try:
            written = await self._cluster.merge(BROADCASTERS, self.key.namespace, self.key.name, patch, status=True)
        except (Conflict, NotFound):
            return  # it is gone, or another one
        self._store.put(BROADCASTERS.kind, written)


def is_rolling_out(deployment: Mapping[str, Any], since: int) -> bool:
    """Whether pods of another template are there, or are known to be: since the generation that changed it."""
    status = deployment.get("status") or {}
    if status.get("observedGeneration", 0) < since:
        return True
    return bool(status.get("updatedReplicas", 0) < status.get("replicas", 0))


def owners_of_replicas(deployment: Mapping[str, Any]) -> list[str]:
    """Field managers that have written `spec.replicas`, whoever was last."""
    entries = (deployment.get("metadata") or {}).get("managedFields") or ()
    return [
        str(entry.get("manager"))
        for entry in entries
        if "f:replicas" in ((entry.get("fieldsV1") or {}).get("f:spec") or {})
    ]
