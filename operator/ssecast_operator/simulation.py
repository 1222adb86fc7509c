"""A trace, a policy and an autoscaler in virtual time: a day in a minute. No clock.

The operator's part is its own: `verdict_on`, with samples as old as they are in the cluster.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from ssecast_operator.actions import Action, SetReplicas
from ssecast_operator.broadcaster import Pause
from ssecast_operator.budget import budget_of
from ssecast_operator.cordon import coming, nearly_full
from ssecast_operator.decide import RUNNING, Kept, decide_by, pods_for
from ssecast_operator.fleet import Fleet
from ssecast_operator.memory import Memory
from ssecast_operator.rebalance import FRESH_START, levels_of
from ssecast_operator.rivals import Hpa, Knative, Metrics, Rival
from ssecast_operator.samples import FRESH_SECONDS, STALE_SECONDS
from ssecast_operator.spec import Spec
from ssecast_operator.traces import Incident, Kind, Trace
from ssecast_operator.verdict import Verdict, verdict_on
from ssecast_operator.world import USUAL, PodSettings, Surroundings, World

BEGIN = 1_800_000_000.0
"""Seconds since the Unix epoch at which every simulation begins, so that all are alike."""

ROUND_SECONDS = 5.0
"""As long as the operator waits between two looks."""

POD_SPREAD_SECONDS = 4.0
"""Random part of a client's wait where no operator sets it: the pod's own default (SSECAST_RETRY_SPREAD_MS)."""


class Scaler(StrEnum):
    """Who says how many pods there are."""

    OPERATOR = "operator"
    HPA = "hpa"
    KNATIVE = "knative"


@dataclass(frozen=True, slots=True)
class Series:
    """One value for each second."""

    clients: NDArray[np.float64]
    connected: NDArray[np.float64]
    waiting: NDArray[np.float64]
    given_up: NDArray[np.float64]
    pods: NDArray[np.float64]
    """That exist, those that leave among them."""
    ready: NDArray[np.float64]
    desired: NDArray[np.float64]
    refused: NDArray[np.float64]
    forced: NDArray[np.float64]
    """Closed by the fleet; the next three are what it is made of."""
    drained: NDArray[np.float64]
    shed: NDArray[np.float64]
    ended: NDArray[np.float64]
    """On pods that were told to terminate."""
    lost: NDArray[np.float64]
    rotated: NDArray[np.float64]
    returned: NDArray[np.float64]
    hottest: NDArray[np.float64]
    """Streams of the fullest pod that is ready."""
    mean: NDArray[np.float64]
    """Streams of a pod that is ready."""
    over: NDArray[np.float64]
    """Ready pods that have more streams than the target."""


@dataclass(frozen=True, slots=True)
class Run:
    """What came of it."""

    trace: Trace
    scaler: Scaler
    spec: Spec
    seed: int
    series: Series


Watch = Callable[[Spec, Fleet, Memory, float, Verdict], None]
"""Is told what the operator saw, and what it made of it."""


class Operator:
    """Rounds of one Broadcaster: ask, judge, act."""

    def __init__(self, spec: Spec, world: World, watch: Watch | None = None, pause: Pause = RUNNING) -> None:
        self._spec, self._world, self._watch, self._pause = spec, world, watch, pause
        # It has watched for long: a start is a story of its own.
        self._memory, self._balance = Memory(started_at=BEGIN - 86_400), FRESH_START
        self._due: list[tuple[float, Action]] = []
        self._next = world.now
        self.desired = world.replicas

    def step(self) -> None:
        """What is due now: orders that take effect, and perhaps a round."""
        world = self._world
        while self._due and self._due[0][0] <= world.now:
            world.carry_out(self._due.pop(0)[1])
        if world.now >= self._next and not self._due:
            self._next = world.now + ROUND_SECONDS
            self._round()

    def _round(self) -> None:
        world = self._world
        world.ask()
        if not self._watch and self._is_calm():
            decision = decide_by(
                self._spec, world.census(), Kept(world.replicas, world.replicas), self._memory, world.now, self._pause
            )
            if decision.replicas == world.replicas:
                self._memory, self.desired = decision.memory, decision.replicas
                return
        fleet = world.fleet()
        verdict = verdict_on(fleet, self._spec, self._memory, self._balance, world.now, self._pause)
        if self._watch:
            self._watch(self._spec, fleet, self._memory, world.now, verdict)
        self._memory, self._balance = verdict.decision.memory, verdict.rebalancing.memory
        self.desired = verdict.decision.replicas
        at = world.now + world.surroundings.api_delay
        self._due = [(at, action) for action in verdict.actions]

    def _is_calm(self) -> bool:
        """Whether a look can bring nothing but a decision: no pod leaves, is missing or is replaced, none is cordoned or nearly
        full, and none is far above the mean.

        Then there is no step to plan and no stream to move, and the decision needs the census alone, not a thousand pods as
        objects. A test holds runs with and without this short cut equal.
        """
        world, pods = self._world, self._world.pods
        if self._balance != FRESH_START or world.leaving.any() or pods.draining.any() or world.rolling_out:
            return False
        if len(pods.number) != world.replicas or pods.cordoned.any() or not self._has_room():
            return False
        scaling, streams = self._spec.scaling, pods.seen_streams
        if not scaling.rebalance.enabled or (world.now - pods.seen_at > FRESH_SECONDS).any():
            return True  # whoever does not know every pod moves no streams
        mean = float(streams.sum()) / max(1, len(streams))
        return not bool((streams > levels_of(mean, scaling.streams_per_pod.limit, scaling).begin).any())

    def _has_room(self) -> bool:
        """Whether every pod that is ready has room for its part of what comes, or that matters not."""
        world, pods, spec = self._world, self._world.pods, self._spec
        known = world.now - pods.seen_at <= STALE_SECONDS
        streams = np.where(known, pods.seen_streams, world.settings.target)[world.serving]
        if not len(streams) or not spec.drain.patience_seconds:
            return True
        most = float(streams.max())
        expected = coming(float(streams.sum()), most, budget_of(spec), spec.stream.max_age_seconds)
        return (nearly_full(world.settings.limit) - most) * len(streams) >= expected


class Other:
    """A rival at the same fleet: it writes the Deployment's replicas and knows no more of the pods than its metrics."""

    def __init__(self, rival: Rival, world: World, delay: float) -> None:
        self._rival, self._world, self._delay = rival, world, delay
        self._next = world.now
        self._seen: list[tuple[float, Metrics]] = []
        self._due: list[tuple[float, SetReplicas]] = []
        self.desired = world.replicas

    def step(self) -> None:
        world = self._world
        while self._due and self._due[0][0] <= world.now:
            world.carry_out(self._due.pop(0)[1])
        if world.now < self._next or self._due:
            return
        self._next = world.now + self._rival.seconds
        self._seen.append((world.now, self._metrics()))
        while len(self._seen) > 1 and self._seen[1][0] <= world.now - self._delay:
            self._seen.pop(0)
        self.desired = self._rival.scale(self._seen[0][1], world.replicas, int(world.serving.sum()), world.now)
        if self.desired != world.replicas:
            self._due.append((world.now + world.surroundings.api_delay, SetReplicas(world.replicas, self.desired)))

    def _metrics(self) -> Metrics:
        """Pods with a deletionTimestamp are forgotten; what is not scraped is missing."""
        world = self._world
        answers = world.present & (world.pods.ready_at <= world.now)
        if world.blindness:
            answers = answers & (world.chance.random(len(answers)) >= world.blindness)
        return Metrics(world.pods.streams[answers].tolist(), int(world.present.sum() - answers.sum()))


def simulate(
    trace: Trace,
    spec: Spec,
    scaler: Scaler = Scaler.OPERATOR,
    surroundings: Surroundings = USUAL,
    seed: int = 0,
    watch: Watch | None = None,
    pause: Pause = RUNNING,
) -> Run:
    """Every second of the trace; the same arguments give the same run. pause: what annotations bar the operator from."""
    clients = np.interp(np.arange(trace.seconds + 1), trace.times, trace.clients)
    world = World(
        settings_of_pods(spec, scaler),
        surroundings,
        _first_replicas(spec, float(clients[0])),
        float(clients[0]),
        BEGIN,
        seed,
    )
    who = _scaler(scaler, spec, world, watch, pause)
    happenings = _happenings(trace.incidents)
    recorded = np.zeros((len(Series.__dataclass_fields__), trace.seconds))
    for second in range(trace.seconds):
        while happenings and happenings[-1][0] <= second:
            happenings.pop()[1](world)
        who.step()
        world.tick(float(clients[second + 1]))
        recorded[:, second] = _look(world, who.desired)
    return Run(trace, scaler, spec, seed, Series(*recorded))


def settings_of_pods(spec: Spec, scaler: Scaler) -> PodSettings:
    """The operator derives them from the budget; elsewhere a pod has what its Deployment would say."""
    budget, ours = budget_of(spec), scaler is Scaler.OPERATOR
    window = budget.pod_window if ours else budget.window
    return PodSettings(
        limit=budget.limit,
        target=spec.scaling.streams_per_pod.target,
        delay=budget.delay,
        window=window,
        grace=budget.grace if ours else budget.delay + window + 15,
        retry=budget.retry,
        spread=budget.retry_spread if ours else POD_SPREAD_SECONDS,
        max_age=spec.stream.max_age_seconds,
        gives_up=spec.stream.overload == "503",
        min_ready=budget.min_ready if ours else 0,
    )


def _first_replicas(spec: Spec, clients: float) -> int:
    """As many as the demand takes, as if it had been so for long."""
    scaling = spec.scaling
    if scaling.mode != "operator":
        return spec.replicas
    wanted = pods_for(clients + scaling.burst, scaling.streams_per_pod.target)
    return max(scaling.min_replicas, min(scaling.max_replicas, wanted))


def _scaler(scaler: Scaler, spec: Spec, world: World, watch: Watch | None, pause: Pause) -> Operator | Other:
    if scaler is Scaler.OPERATOR:
        return Operator(spec, world, watch, pause)
    if scaler is Scaler.HPA:
        return Other(Hpa(spec.scaling), world, world.surroundings.metrics_delay)
    return Other(Knative(spec.scaling), world, 0.0)


def _happenings(incidents: tuple[Incident, ...]) -> list[tuple[float, Callable[[World], None]]]:
    """What is done to the world and when, the last one first."""
    found: list[tuple[float, Callable[[World], None]]] = []
    for incident in incidents:
        found.append((incident.at, lambda world, incident=incident: _strike(world, incident)))  # type: ignore[misc]
        if incident.kind is Kind.BLINDNESS:
            found.append((incident.at + incident.seconds, _see_again))
    return sorted(found, key=lambda each: -each[0])


def _strike(world: World, incident: Incident) -> None:
    match incident.kind:
        case Kind.ROLLOUT:
            world.revision += 1
        case Kind.NODE_LOSS:
            world.lose_nodes(incident.share)
        case Kind.OUTAGE:
            world.cut(world.pods.streams > 0)
            world.unreachable_until = world.now + incident.seconds
        case Kind.BLINDNESS:
            world.blindness = incident.share


def _see_again(world: World) -> None:
    world.blindness = 0.0


def _look(world: World, desired: int) -> tuple[float, ...]:
    """In the order of `Series`."""
    serving = world.pods.streams[world.serving]
    count, tally, crowd = len(serving), world.tally, world.crowd
    return (
        world.wanted,
        world.connected,
        crowd.waiting,
        crowd.given_up,
        len(world.pods.number),
        count,
        desired,
        tally.refused,
        tally.forced,
        tally.drained,
        tally.shed,
        tally.ended,
        tally.lost,
        tally.rotated,
        tally.returned,
        float(serving.max()) if count else 0.0,
        float(serving.mean()) if count else 0.0,
        float(np.count_nonzero(serving > world.settings.target)),
    )
