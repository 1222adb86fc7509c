"""The pods of a Broadcaster as the cluster shows them, each with its sample; and what the operator writes on a pod. Pure.

What survives the operator stands in annotations of the pods, so whoever looks at the cluster sees what is going on.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ssecast_operator.broadcaster import GROUP
from ssecast_operator.instants import instant
from ssecast_operator.samples import NO_SAMPLE, Sample

POD = "Pod"
"""The kind, as the API names it."""

DRAIN_DEADLINE = f"{GROUP}/drain-deadline"
"""Marks a pod that is drained to be removed; its value: when its streams are closed at the latest."""

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
"""Kubernetes' own: among pods that are alike, the ReplicaSet removes the one with the lowest value first."""

SERVING = f"{GROUP}/serving"
"""The label by which the Service knows a pod that takes new streams; without it, or with another value, it is cordoned."""

YES, NO = "true", "false"

TEMPLATE_HASH = "pod-template-hash"

LOOKED_AT = {
    "metadata": (
        "name", "namespace", "uid", "resourceVersion", "creationTimestamp", "deletionTimestamp", "labels", "annotations",
    ),
    "spec": ("nodeName",),
    "status": ("phase", "podIP", "conditions", "containerStatuses"),
}  # fmt: skip
"""Of a pod of the API, what anybody here looks at."""


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod. Pods that have ended (phase Succeeded or Failed) are none: their ReplicaSet has replaced them."""

    name: str
    uid: str
    created_at: float = 0.0
    ready_since: float | None = None
    """None: not ready."""
    scheduled: bool = True
    running: bool = True
    """Phase Running, ready or not."""
    terminating: bool = False
    """It has been told to end, and cannot be told otherwise."""
    revision: str = ""
    drain_deadline: float | None = None
    """From the annotation; None: not marked."""
    deletion_cost: int = 0
    sample: Sample = NO_SAMPLE
    cordoned: bool = False
    """No new streams are sent to it, ready as it may be."""

    @property
    def ready(self) -> bool:
        return self.ready_since is not None

    @property
    def marked(self) -> bool:
        return self.drain_deadline is not None

    @property
    def leaving(self) -> bool:
        """Whether its streams are on their way to other pods."""
        load = self.sample.load
        return self.terminating or self.drain_deadline is not None or (load is not None and load.draining)

    def lost(self, now: float) -> bool:
        """It has been told to end and does not answer, and yet is shown: on a node that is away nobody confirms an end, so it
        may be shown for ever. Nothing is to be expected of it, and nothing may wait for it."""
        return self.terminating and self.sample.assumed(now) is None


@dataclass(frozen=True)
class Fleet:
    """All pods of a Broadcaster. replicas: `spec.replicas` of its Deployment, not its status: a rollout's surge would count.

    rolling_out: the Deployment has not finished to replace pods; pods of several revisions mean it too.
    """

    replicas: int
    pods: tuple[Pod, ...] = ()
    rollout: bool = False

    @cached_property
    def present(self) -> tuple[Pod, ...]:
        """Pods that are there to stay, as far as the cluster knows: all but those that terminate."""
        return tuple(pod for pod in self.pods if not pod.terminating)

    def there(self, now: float) -> tuple[Pod, ...]:
        """All pods, those that terminate among them, but not those that are lost."""
        return tuple(pod for pod in self.pods if not pod.lost(now))

    @cached_property
    def kept(self) -> int:
        """Pods that are meant to stay: the replicas, less those of them that are drained to be removed.

        When the replicas have been lowered, as many marked pods do not count in them any more as the ReplicaSet has yet to
        remove; in a rollout that cannot be told from its surge.
        """
        marked = sum(pod.marked for pod in self.present)
        removed = 0 if self.rolling_out else max(0, len(self.present) - self.replicas)
        return max(0, self.replicas - max(0, marked - removed))

    @cached_property
    def rolling_out(self) -> bool:
        return self.rollout or len({pod.revision for pod in self.present}) > 1


def pod_of(body: Mapping[str, Any], sample: Sample = NO_SAMPLE) -> Pod | None:
    """A pod of the API; None where it has ended."""
    metadata, status = body["metadata"], body.get("status") or {}
    phase = status.get("phase", "Pending")
    if phase in ("Succeeded", "Failed"):
        return None
    annotations, labels = metadata.get("annotations") or {}, metadata.get("labels") or {}
    conditions = {each.get("type"): each for each in status.get("conditions") or ()}
    return Pod(
        name=metadata["name"],
        uid=metadata["uid"],
        created_at=instant(metadata.get("creationTimestamp")) or 0.0,
        ready_since=_ready_since(conditions.get("Ready")),
        scheduled=bool((body.get("spec") or {}).get("nodeName")),
        running=phase == "Running",
        terminating=metadata.get("deletionTimestamp") is not None,
        revision=labels.get(TEMPLATE_HASH, ""),
        drain_deadline=instant(annotations.get(DRAIN_DEADLINE)),
        deletion_cost=_cost(annotations.get(DELETION_COST)),
        sample=sample,
        cordoned=labels.get(SERVING) != YES,
    )


def essentials_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """A pod of the API without what nobody looks at, most of all the template that it has from its Deployment: of a thousand
    pods that is 28 of 31 MB."""
    sections = ((name, body.get(name), fields) for name, fields in LOOKED_AT.items())
    return {
        name: {field: known[field] for field in fields if field in known} for name, known, fields in sections if known
    }


def pods_of(bodies: Iterable[Mapping[str, Any]], samples: Mapping[str, Sample]) -> tuple[Pod, ...]:
    """All pods of the API that have not ended; samples by UID."""
    found = (pod_of(body, samples.get(body["metadata"]["uid"], NO_SAMPLE)) for body in bodies)
    return tuple(pod for pod in found if pod is not None)


def drained_among(bodies: Iterable[Mapping[str, Any]]) -> int:
    """How many pods of the API are not ready because they are drained to be removed, and have not been yet."""
    annotated = (body for body in bodies if DRAIN_DEADLINE in (body["metadata"].get("annotations") or {}))
    pods = (pod_of(body) for body in annotated)
    return sum(pod is not None and pod.marked and not pod.ready and not pod.terminating for pod in pods)


def labelled(bodies: Iterable[Mapping[str, Any]]) -> bool:
    """Whether every pod of the API says if it takes new streams; those of an operator that did not know of it do not."""
    return all(SERVING in (body["metadata"].get("labels") or {}) for body in bodies)


def _ready_since(condition: Mapping[str, Any] | None) -> float | None:
    if condition is None or condition.get("status") != "True":
        return None
    return instant(condition.get("lastTransitionTime")) or 0.0


def _cost(text: object) -> int:
    """As the ReplicaSet reads it: what is no number counts as 0."""
    try:
        return int(str(text))
    except ValueError:
        return 0
