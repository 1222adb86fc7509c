"""A small cluster without Kubernetes: a Deployment's pods with streams that move, and the controller that adds and removes.

Written from the documentation of Kubernetes and of our own pods; it knows nothing of how the operator thinks.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

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
from ssecast_operator.fleet import Fleet, Pod
from ssecast_operator.samples import NO_SAMPLE, Load, Sample
from tests.fleets import NOW

RETRY = 2
"""Seconds after which a client that was refused comes back at the earliest."""

REFUSED_WINDOW_SECONDS = 10
"""Pods tell their refusals per second as an average over so long."""


@dataclass
class Closing:
    """Streams that are closed one after the other, the last one at the end of the window."""

    since: float
    count: int
    window: float
    done: int = 0

    def due(self, now: float) -> int:
        """How many more by now."""
        if now < self.since:
            return 0
        share = 1.0 if self.window <= 0 else min(1.0, (now - self.since) / self.window)
        due = int(self.count * share + 1e-6) - self.done
        self.done += due
        return due


@dataclass(eq=False)
class FakePod:
    """One pod. begun: how often it went from serving to draining by order; marks: how often it was marked."""

    name: str
    created_at: float
    ready_at: float
    revision: int = 1
    scheduled: bool = True
    streams: int = 0
    draining: bool = False
    drain: Closing | None = None
    shed: Closing | None = None
    ends_at: float | None = None
    mark: float | None = None
    cordoned: bool = False
    cost: int = 0
    reachable: bool = True
    sample: Sample = NO_SAMPLE
    begun: int = 0
    marks: int = 0
    restarts: int = 0
    lost: bool = False
    """With its node."""


@dataclass
class FakeCluster:
    """choose: which of so many pods that are equal to the ReplicaSet it removes, and where a client connects."""

    replicas: int
    choose: Callable[[int], int] = lambda count: 0
    start_seconds: float = 10.0
    capacity: int = 10_000
    now: float = NOW
    revision: int = 1
    pods: list[FakePod] = field(default_factory=list)
    homeless: list[tuple[float, int]] = field(default_factory=list)
    """(when they connect, how many)."""
    made: int = 0
    retry_spread: int = 0
    """Seconds by which a refused client may come back later, by chance."""
    refused: list[int] = field(default_factory=list)
    """Second by second."""
    closed: list[int] = field(default_factory=list)
    """Streams that were closed by drains and sheds, second by second."""

    # What the operator sees and does

    def fleet(self) -> Fleet:
        """The cluster with samples read just now, where pods answer."""
        for pod in self.pods:
            if pod in self.answering:
                deadline = pod.drain.since + pod.drain.window if pod.drain else None
                share = (
                    sum(self.refused[-REFUSED_WINDOW_SECONDS:]) / REFUSED_WINDOW_SECONDS / max(1, len(self.answering))
                )
                load = Load(f"b{pod.restarts}", pod.streams, self.capacity, pod.draining, deadline, share)
                pod.sample = Sample(load, self.now)
        return Fleet(self.replicas, tuple(self.seen(pod) for pod in self.pods), rollout=self.rolling_out)

    def seen(self, pod: FakePod) -> Pod:
        return Pod(
            name=pod.name,
            uid=f"uid-{pod.name}",
            created_at=pod.created_at,
            ready_since=pod.ready_at if self.ready(pod) else None,
            scheduled=pod.scheduled,
            terminating=pod.ends_at is not None,
            revision=str(pod.revision),
            drain_deadline=pod.mark,
            deletion_cost=pod.cost,
            sample=pod.sample,
            cordoned=pod.cordoned,
        )

    def carry_out(self, actions: Sequence[Action]) -> None:
        """As the operator must: when an action on a pod fails, the later ones on it are left out."""
        failed: set[str] = set()
        for action in actions:
            if isinstance(action, SetReplicas):
                assert action.was == self.replicas, "written from what is no longer true"
                self.replicas = action.replicas
            elif action.pod not in failed and not self._do(action):
                failed.add(action.pod)

    def _do(self, action: Cordon | Uncordon | Mark | Drain | Undrain | Unmark | SetDeletionCost | Shed) -> bool:
        pod = next((pod for pod in self.present if pod.name == action.pod), None)
        if pod is None:
            return False
        match action:
            case Mark(_, deadline):
                pod.marks += pod.mark is None
                pod.mark, pod.cordoned = deadline, True
            case Unmark():
                pod.mark, pod.cost, pod.cordoned = None, 0, False
            case Cordon() | Uncordon():
                pod.cordoned = isinstance(action, Cordon)
            case SetDeletionCost(_, cost):
                pod.cost = cost
            case _:
                return self._order(pod, action)
        return True

    def _order(self, pod: FakePod, action: Drain | Undrain | Shed) -> bool:
        """An HTTP request to the pod."""
        if not pod.reachable or self.now < pod.ready_at:
            return False
        match action:
            case Drain(_, _, window, delay):
                pod.begun += not pod.draining
                pod.draining = True
                pod.drain = Closing(self.now + delay, pod.streams, window)
            case Undrain():
                pod.draining, pod.drain = False, None
            case Shed(_, _, count, window):
                assert count <= pod.streams
                pod.shed = Closing(self.now, count, window)
        return True

    # What there is

    @property
    def present(self) -> list[FakePod]:
        return [pod for pod in self.pods if pod.ends_at is None]

    @property
    def serving(self) -> list[FakePod]:
        return [pod for pod in self.present if self.ready(pod)]

    @property
    def answering(self) -> list[FakePod]:
        return [pod for pod in self.pods if pod.reachable and self.now >= pod.ready_at]

    @property
    def streams(self) -> int:
        """Of all clients, wherever they are."""
        return sum(pod.streams for pod in self.pods) + sum(count for _, count in self.homeless)

    @property
    def rolling_out(self) -> bool:
        return any(pod.revision != self.revision for pod in self.present)

    def ready(self, pod: FakePod) -> bool:
        return self.now >= pod.ready_at and not pod.draining

    # What happens

    def control(self) -> None:
        """The ReplicaSet does what it is there for, at once."""
        while len(self.present) < self.replicas:
            self.add()
        surplus = len(self.present) - self.replicas
        for pod in self.removal_order()[: max(0, surplus)]:
            self.end(pod)

    def add(self, *, ready: bool = False, streams: int = 0) -> FakePod:
        self.made += 1
        ready_at = self.now - 3600 if ready else self.now + self.start_seconds
        pod = FakePod(f"pod-{self.made}", self.now, ready_at, self.revision, streams=streams)
        self.pods.append(pod)
        return pod

    def removal_order(self) -> list[FakePod]:
        """Not on a node, not ready, cheap; the rest of its rules are left to chance, since nothing may depend on them."""
        keyed = [
            (pod.scheduled, self.ready(pod), pod.cost, self.choose(1000), at) for at, pod in enumerate(self.present)
        ]
        present = self.present
        return [present[key[-1]] for key in sorted(keyed)]

    def end(self, pod: FakePod, grace: float = 5.0) -> None:
        """SIGTERM: its clients come back somewhere, and it is gone after a while; where its node is away, never."""
        pod.ends_at = math.inf if pod.lost else self.now + grace
        self.scatter(pod, pod.streams)

    def scatter(self, pod: FakePod, count: int, after: float = 1.0) -> None:
        pod.streams -= count
        if count:
            self.homeless.append((self.now + after, count))

    def lose(self, pod: FakePod) -> None:
        """Its node goes without a word: its clients come back elsewhere, and it is shown until somebody says that it has
        ended."""
        pod.lost, pod.reachable, pod.ready_at = True, False, math.inf
        self.scatter(pod, pod.streams)

    def restart(self, pod: FakePod) -> None:
        """Its container starts anew and remembers nothing."""
        self.scatter(pod, pod.streams)
        pod.draining, pod.drain, pod.shed = False, None, None
        pod.restarts += 1
        pod.ready_at = self.now + self.start_seconds

    def replace_one(self) -> None:
        """A step of a rollout: an old pod goes, a new one comes; a pod that is not ready first."""
        old = [pod for pod in self.removal_order() if pod.revision != self.revision]
        if old:
            self.end(old[0])
            self.add()

    def tick(self, seconds: int) -> None:
        """Time passes, second by second: drains and sheds close streams, clients come back, pods end."""
        for _ in range(seconds):
            self.now += 1
            self.pods = [pod for pod in self.pods if pod.ends_at is None or self.now < pod.ends_at]
            self.closed.append(
                sum(self._close(pod, closing) for pod in self.pods for closing in (pod.drain, pod.shed) if closing)
            )
            self._connect()

    def _close(self, pod: FakePod, closing: Closing) -> int:
        count = min(pod.streams, closing.due(self.now))
        self.scatter(pod, count)
        return count

    def _connect(self) -> None:
        """Who is due connects to a pod by chance, or is refused and comes back later."""
        due = sum(count for at, count in self.homeless if at <= self.now)
        self.homeless = [(at, count) for at, count in self.homeless if at > self.now]
        self.refused.append(0)
        for size in _portions(due):
            pod = self._any_open()
            taken = 0 if pod is None else min(size, self.capacity - pod.streams)
            if pod is not None:
                pod.streams += taken
            self.refused[-1] += size - taken
            if size > taken:
                self.homeless.append((self.now + RETRY + self.choose(self.retry_spread + 1), size - taken))

    def _any_open(self) -> FakePod | None:
        open_ = [pod for pod in self.serving if not pod.cordoned]
        return open_[self.choose(len(open_))] if open_ else None


def _portions(count: int) -> list[int]:
    """Clients in at most 20 portions: they connect by chance, but not one by one, which would take long."""
    size = max(1, -(-count // 20))
    return [min(size, count - at) for at in range(0, count, size)]


def with_streams(*streams: int, **more: object) -> FakeCluster:
    """A cluster with a ready pod for each."""
    cluster = replace(FakeCluster(len(streams)), **more)  # type: ignore[arg-type]
    for each in streams:
        cluster.add(ready=True, streams=each)
    return cluster
