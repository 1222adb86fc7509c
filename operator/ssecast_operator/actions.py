"""What the pure rooms want to be done, as values; others do it, in order. A leaf.

Each is harmless when it is done twice. When one on a pod fails, the later ones on the same pod wait for the next round.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cordon:
    """Take the pod out of the Service: it gets no new streams, and keeps those it has."""

    pod: str


@dataclass(frozen=True, slots=True)
class Uncordon:
    """Put it back."""

    pod: str


@dataclass(frozen=True, slots=True)
class Mark:
    """Annotate the pod: it is drained to be removed, by the deadline. It is cordoned by the same write."""

    pod: str
    deadline: float


@dataclass(frozen=True, slots=True)
class Drain:
    """`POST /drain`: the pod takes no more streams and closes those it has, spread over the window, which begins after the
    delay (seconds)."""

    pod: str
    uid: str
    window: float
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class Undrain:
    """`POST /undrain`: the pod takes streams again."""

    pod: str
    uid: str


@dataclass(frozen=True, slots=True)
class Unmark:
    """Remove our annotations, the deletion cost among them, and put the pod back into the Service."""

    pod: str


@dataclass(frozen=True, slots=True)
class SetDeletionCost:
    """Annotate the pod, so that its ReplicaSet removes it before others that are ready as it is."""

    pod: str
    cost: int


@dataclass(frozen=True, slots=True)
class SetReplicas:
    """Write the Deployment's `spec.replicas`, if it still is what it was."""

    was: int
    replicas: int


@dataclass(frozen=True, slots=True)
class Shed:
    """`POST /shed`: the pod closes its oldest streams, so many, spread over the window (seconds)."""

    pod: str
    uid: str
    count: int
    window: float


Action = Cordon | Uncordon | Mark | Drain | Undrain | Unmark | SetDeletionCost | SetReplicas | Shed
