"""Fleets for tests of the operator's rooms: short ways to say what the cluster shows."""

from typing import Any

from ssecast_operator.budget import Budget, budget_of
from ssecast_operator.fleet import Fleet, Pod
from ssecast_operator.memory import Memory
from ssecast_operator.samples import Load, Sample
from ssecast_operator.spec import Spec

NOW = 1_800_000_000.0
"""A point in time, in seconds since the Unix epoch; tests go on from it."""

LONG_AGO = NOW - 86_400.0


def spec_of(scaling: dict[str, Any] | None = None, **sections: Any) -> Spec:
    """A spec as the cluster has it, with defaults for what is not said."""
    return Spec.model_validate({"scaling": scaling or {}, **sections})


def budget(per_second: int = 500, limit: int = 10_000, window: int = 60, delay: int = 0, patience: int = 0) -> Budget:
    scaling = {"maxReconnectsPerSecond": per_second, "streamsPerPod": {"target": 1, "limit": limit}}
    drain = {"windowSeconds": window, "delaySeconds": delay, "patienceSeconds": patience}
    return budget_of(spec_of(scaling, drain=drain))


def pod(name: str = "pod-0", streams: int | None = 0, **fields: Any) -> Pod:
    """A ready pod. streams: what it said just now, None: it never answered.

    age: of its answer, in seconds. capacity, refused, draining, deadline: more of what it said.
    """
    said = {key: fields.pop(key) for key in ("age", "capacity", "refused", "draining", "deadline") if key in fields}
    told: dict[str, Any] = {"uid": f"uid-{name}", "ready_since": LONG_AGO, "sample": sample(streams, **said)}
    return Pod(name, **(told | fields))


def sample(
    streams: int | None,
    age: float = 0.0,
    capacity: int = 10_000,
    refused: float = 0.0,
    draining: bool = False,
    deadline: float | None = None,
) -> Sample:
    if streams is None:
        return Sample()
    return Sample(Load("boot", streams, capacity, draining, deadline, refused), NOW - age)


def pods(*streams: int | None, **fields: Any) -> tuple[Pod, ...]:
    """Ready pods that are alike but for their streams."""
    return tuple(pod(f"pod-{at}", each, **fields) for at, each in enumerate(streams))


def fleet(*streams: int | None, replicas: int | None = None, **fields: Any) -> Fleet:
    """Ready pods, as many as the Deployment asks for."""
    return Fleet(len(streams) if replicas is None else replicas, pods(*streams, **fields))


def experienced() -> Memory:
    """The memory of an operator that has watched for long, and seen nothing worth remembering."""
    return Memory(started_at=LONG_AGO)
