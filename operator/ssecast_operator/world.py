"""A Deployment's pods with streams that move, second by second: what an autoscaler looks at and changes. No clock.

Pods are columns of numbers, so that a thousand of them with ten million streams cost little more than one. It knows nothing
of how an autoscaler thinks. Written from what Kubernetes, our pods and EventSource are documented to do.
"""

from dataclasses import dataclass, field, fields
from math import inf, nan

import numpy as np
from numpy.random import Generator, default_rng
from numpy.typing import NDArray

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
from ssecast_operator.clients import AGAIN_SECONDS, Crowd
from ssecast_operator.demand import Census
from ssecast_operator.fleet import Fleet, Pod
from ssecast_operator.routing import Routing, placed
from ssecast_operator.samples import FRESH_SECONDS, NO_SAMPLE, STALE_SECONDS, Load, Sample

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

AGE_STEPS = 20
"""The ages of streams are known to this part of the maximum age."""

REFUSED_SECONDS = 10
"""Pods tell their refusals per second as an average over so long."""

NOBODY = 1e-6
"""Fewer streams than this on a pod are none: what is left over when fractions are closed."""


@dataclass(frozen=True, slots=True)
class PodSettings:
    """How a pod behaves; everything in seconds."""

    limit: int
    target: int
    """Streams that a pod should have; it is only looked at, not kept to."""
    delay: float
    """After SIGTERM, until streams are closed."""
    window: float
    """Over how long a pod that was told to terminate closes its streams."""
    grace: float
    retry: float
    spread: float
    max_age: float
    """0: no limit."""
    gives_up: bool
    """Full pods answer 503, after which EventSource gives up for good."""
    min_ready: float
    """minReadySeconds of the Deployment."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the policy does not say. start_seconds: until a new pod is ready, on average; it varies by start_spread of that."""

    routing: Routing = Routing.ROUND_ROBIN
    start_seconds: float = 20.0
    start_spread: float = 0.3
    scrape_loss: float = 0.0
    """Share of all questions about load that get no answer."""
    api_delay: float = 1.0
    """Seconds from a decision until it is carried out."""
    metrics_delay: float = 15.0
    """Age of what an HPA sees: it asks an adapter, that asks Prometheus, that asks the pods every 15 s."""


USUAL = Surroundings()


def _floats() -> Floats:
    return np.zeros(0)


def _bools() -> Bools:
    return np.zeros(0, dtype=np.bool_)


@dataclass(slots=True)
class Columns:
    """One value per pod. Points in time are seconds as the world counts them; inf: never, nan: not."""

    number: Floats = field(default_factory=_floats)
    created_at: Floats = field(default_factory=_floats)
    ready_at: Floats = field(default_factory=_floats)
    revision: Floats = field(default_factory=_floats)
    cost: Floats = field(default_factory=_floats)
    mark: Floats = field(default_factory=_floats)
    cordoned: Bools = field(default_factory=_bools)
    streams: Floats = field(default_factory=_floats)
    terminating: Bools = field(default_factory=_bools)
    draining: Bools = field(default_factory=_bools)
    drain_since: Floats = field(default_factory=_floats)
    drain_window: Floats = field(default_factory=_floats)
    """That of the last order; the same once more changes nothing."""
    ends_at: Floats = field(default_factory=_floats)
    close_from: Floats = field(default_factory=_floats)
    close_until: Floats = field(default_factory=_floats)
    close_rate: Floats = field(default_factory=_floats)
    shed_until: Floats = field(default_factory=_floats)
    shed_rate: Floats = field(default_factory=_floats)
    seen_at: Floats = field(default_factory=_floats)
    """When the pod last answered, and what."""
    seen_streams: Floats = field(default_factory=_floats)
    seen_refused: Floats = field(default_factory=_floats)
    seen_draining: Bools = field(default_factory=_bools)
    seen_until: Floats = field(default_factory=_floats)

    def add(self, count: int, values: dict[str, Floats | float]) -> None:
        """So many pods more; what is not given is 0."""
        for each in fields(self):
            column = getattr(self, each.name)
            more = np.zeros(count, dtype=column.dtype)
            more[:] = values.get(each.name, 0)
            setattr(self, each.name, np.concatenate((column, more)))

    def keep(self, kept: Bools) -> None:
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name)[kept])


@dataclass(slots=True)
class Tally:
    """What has happened in this second."""

    refused: float = 0.0
    drained: float = 0.0
    """Streams that the fleet has closed on pods that were told to drain, and not yet to terminate."""
    shed: float = 0.0
    ended: float = 0.0
    """Streams on pods that were told to terminate: by a rollout, or by whoever lowers the replicas first."""
    lost: float = 0.0
    """Streams that an incident has cut."""
    rotated: float = 0.0
    """Streams that reached their maximum age."""
    returned: float = 0.0
    """Clients that reconnect because the fleet has closed their stream."""

    @property
    def forced(self) -> float:
        """All that the fleet has closed."""
        return self.drained + self.shed + self.ended


class World:
    """Begins with ready pods that share the clients there are."""

    def __init__(
        self, settings: PodSettings, surroundings: Surroundings, replicas: int, clients: float, now: float, seed: int
    ) -> None:
        self.settings, self.surroundings = settings, surroundings
        self.replicas, self.wanted, self.now = replicas, clients, now
        self.chance: Generator = default_rng(seed)
        self.pods = Columns()
        self.crowd = Crowd(settings.retry + settings.spread + 60)
        self.tally = Tally()
        self._lost = 0.0
        """What was cut since the last second; the next one tells of it."""
        self.revision = 1
        self.blindness = 0.0
        self.unreachable_until = -inf
        self._made = 0
        self._names: list[str] = []
        self._step = settings.max_age / AGE_STEPS if settings.max_age else inf
        self._ages = np.zeros((AGE_STEPS + 2, 0))
        """Streams by the time at which they opened, per pod, up to a factor per pod: what leaves at random changes that only."""
        self._age_sum = np.zeros(0)
        self._row = 0
        self._row_since = now
        self._refused = np.zeros((REFUSED_SECONDS, 0))
        self._second = 0
        self._add(replicas, ready=True)
        self._fill(clients)

    # What there is

    @property
    def connected(self) -> float:
        return float(self.pods.streams.sum())

    @property
    def present(self) -> Bools:
        return ~self.pods.terminating

    @property
    def serving(self) -> Bools:
        """Ready, as the cluster sees it."""
        pods = self.pods
        return (pods.ready_at <= self.now) & ~pods.draining & ~pods.terminating

    @property
    def open(self) -> Bools:
        """Those that clients are sent to."""
        return self.serving & ~self.pods.cordoned

    @property
    def rolling_out(self) -> bool:
        return self.revision > 1 and bool((self.pods.revision[self.present] != self.revision).any())

    def ask(self) -> None:
        """Every pod is asked for its load; some do not answer."""
        pods = self.pods
        answers = pods.ready_at <= self.now
        loss = max(self.surroundings.scrape_loss, self.blindness)
        if loss > 0:
            answers = answers & (self.chance.random(len(answers)) >= loss)
        pods.seen_at[answers] = self.now
        pods.seen_streams[answers] = np.rint(pods.streams[answers])
        pods.seen_refused[answers] = self._refused.mean(axis=0)[answers]
        pods.seen_draining[answers] = pods.draining[answers]
        pods.seen_until[answers] = pods.close_until[answers]

    def fleet(self) -> Fleet:
        """As the operator sees it: pods as the cluster shows them, samples as they were last read."""
        columns, limit = self.pods, self.settings.limit
        serving = self.serving
        rows = zip(
            self._names, columns.created_at.tolist(), columns.ready_at.tolist(), serving.tolist(),
            (columns.ready_at <= self.now).tolist(), columns.terminating.tolist(), columns.revision.tolist(),
            columns.mark.tolist(), columns.cost.tolist(), columns.seen_at.tolist(), columns.seen_streams.tolist(),
            columns.seen_refused.tolist(), columns.seen_draining.tolist(), columns.seen_until.tolist(),
            columns.cordoned.tolist(), strict=True,
        )  # fmt: skip
        pods = []
        for name, created, ready_at, ready, started, terminating, revision, mark, cost, *seen in rows:
            seen_at, streams, refused, draining, until, cordoned = seen
            sample = NO_SAMPLE
            if seen_at > -inf:
                load = Load("", int(streams), limit, draining, until if draining else None, refused)
                sample = Sample(load, seen_at)
            pods.append(
                Pod(
                    name,
                    name,
                    created,
                    ready_at if ready else None,
                    True,
                    started,
                    terminating,
                    str(int(revision)),
                    mark if mark == mark else None,
                    int(cost),
                    sample,
                    cordoned,
                )
            )
        return Fleet(self.replicas, tuple(pods), rollout=self.rolling_out)

    def census(self) -> Census:
        """What `census_of` counts in the fleet, from the columns at once: a test holds both equal."""
        pods, limit = self.pods, self.settings.limit
        age = self.now - pods.seen_at
        known, fresh = age <= STALE_SECONDS, age <= FRESH_SECONDS
        leaving = self.leaving
        stays, ready = ~leaving, self.serving
        counted = stays & known
        number = int(np.count_nonzero(counted))
        free = np.maximum(0, limit - pods.seen_streams[counted & ready])
        return Census(
            pods=int(np.count_nonzero(stays)),
            ready=int(np.count_nonzero(stays & ready)),
            fresh=int(np.count_nonzero(stays & fresh)),
            stale=int(np.count_nonzero(counted & ~fresh)),
            missing=int(np.count_nonzero(stays & ~known)),
            streams=int(pods.seen_streams[counted].sum()),
            capacity=max(1, limit * number // number) if number else limit,
            free_slots=int(free.sum()),
            leaving=int(np.count_nonzero(leaving)),
            leaving_missing=int(np.count_nonzero(leaving & ~known & ~pods.terminating)),
            leaving_streams=int(pods.seen_streams[leaving & known].sum()),
            # One after the other, as `census_of` adds them up: floating point forgets no order.
            refused_per_second=float(sum(pods.seen_refused[known].tolist())),
        )

    @property
    def leaving(self) -> Bools:
        """As the operator sees it: told to end, marked, or said to drain when it last answered."""
        pods = self.pods
        return pods.terminating | ~np.isnan(pods.mark) | ((pods.seen_at > -inf) & pods.seen_draining)

    # What the operator does

    def carry_out(self, action: Action) -> None:
        """What is about a pod that is gone, or about a number that is not the present one, is left out."""
        if isinstance(action, SetReplicas):
            if action.was == self.replicas:
                self.replicas = action.replicas
            return
        found = np.flatnonzero((self.pods.number == number_of(action.pod)) & ~self.pods.terminating)
        if not len(found):
            return
        if isinstance(action, Drain | Undrain | Shed):
            self._order(int(found[0]), action)
        else:
            self._write(int(found[0]), action)

    def _write(self, at: int, action: Cordon | Uncordon | Mark | Unmark | SetDeletionCost) -> None:
        """On the pod, in the API."""
        pods = self.pods
        match action:
            case Cordon():
                pods.cordoned[at] = True
            case Uncordon():
                pods.cordoned[at] = False
            case Mark(_, deadline):
                pods.mark[at], pods.cordoned[at] = deadline, True
            case Unmark():
                pods.mark[at], pods.cost[at], pods.cordoned[at] = nan, 0, False
            case SetDeletionCost(_, cost):
                pods.cost[at] = cost

    def _order(self, at: int, action: Drain | Undrain | Shed) -> None:
        """A request to the pod itself."""
        pods = self.pods
        match action:
            case Drain(_, _, window, delay):
                self._drain(at, window, delay)
            case Undrain():
                pods.draining[at], pods.close_rate[at] = False, 0
                pods.close_from[at] = pods.close_until[at] = inf
            case Shed(_, _, count, window):
                pods.shed_rate[at] = count / max(window, 1.0)
                pods.shed_until[at] = self.now + max(window, 1.0)

    def _drain(self, at: int, window: float, delay: float) -> None:
        """In a drain that is under way the time since it began counts, as our pods do it."""
        pods = self.pods
        if pods.ready_at[at] > self.now:
            return  # nobody answers there yet
        if pods.draining[at] and pods.drain_window[at] == window:
            return
        if not pods.draining[at]:
            pods.draining[at], pods.drain_since[at] = True, self.now
        pods.drain_window[at] = window
        begin = max(self.now, float(pods.drain_since[at]) + delay)
        pods.close_from[at], pods.close_until[at] = begin, begin + max(window, 1.0)
        pods.close_rate[at] = pods.streams[at] / max(window, 1.0)
        pods.shed_rate[at] = 0

    # What happens

    def tick(self, wanted: float) -> None:
        """A second passes, at whose end so many clients want a stream."""
        self.now += 1
        self._second += 1
        self.tally, self._lost = Tally(lost=self._lost), 0.0
        self._refused[self._second % REFUSED_SECONDS] = 0
        new = self._population(wanted)
        self._rotate()
        self._close()
        self._connect(new)
        self._end_pods()
        self._replace()
        self._control()

    def _population(self, wanted: float) -> float:
        """Those who leave do so wherever they are; the new ones are returned."""
        before, self.wanted = self.wanted, wanted
        if wanted >= before:
            return wanted - before
        share = (before - wanted) / before
        self.pods.streams *= 1 - share
        self.crowd.leave(share)
        return 0.0

    def _rotate(self) -> None:
        """Streams end at random in the last fifth of their maximum age."""
        if self._step == inf:
            return
        rows, hazards = self._old_rows()
        due = self._ages[rows] * hazards[:, None]
        if self.now - self._row_since >= self._step:
            self._row = (self._row + 1) % len(self._ages)
            self._row_since += self._step
        self._ages[rows] -= due
        ended = due.sum(axis=0)
        scale = np.divide(self.pods.streams, self._age_sum, out=np.zeros_like(ended), where=self._age_sum > 0)
        self._age_sum = np.maximum(self._age_sum - ended, 0)
        ended = np.minimum(ended * scale, self.pods.streams)
        self.pods.streams -= ended
        self.tally.rotated = float(ended.sum())
        self.crowd.wait(self.tally.rotated, AGAIN_SECONDS, 0, forced=False)

    def _old_rows(self) -> tuple[NDArray[np.int64], Floats]:
        """The cohorts in the last fifth of their lives, and which share of each ends in this second."""
        steps_back = np.arange(int(AGE_STEPS * 0.8), len(self._ages))
        rows = (self._row - steps_back) % len(self._ages)
        youngest = (steps_back - 1) * self._step + (self.now - self._row_since)
        left = self.settings.max_age - youngest
        return rows, np.clip(1 / np.maximum(left, 1.0), 0, 1)

    def _close(self) -> None:
        """Drains and sheds: spread evenly over their windows; what is left at the end of a drain goes then."""
        pods = self.pods
        active = (pods.close_from <= self.now) & (pods.streams > 0)
        shedding = pods.shed_rate > 0
        if not active.any() and not shedding.any():
            return
        closed = np.where(active, pods.close_rate, 0.0)
        closed = np.where(active & (pods.close_until <= self.now), pods.streams, closed)
        closed += np.where(shedding, pods.shed_rate, 0.0)
        pods.shed_rate[pods.shed_until <= self.now] = 0
        closed = np.minimum(closed, pods.streams)
        pods.streams -= closed
        tally = self.tally
        tally.ended += float(closed[pods.terminating].sum())
        tally.drained += float(closed[pods.draining & ~pods.terminating].sum())
        tally.shed += float(closed[~pods.draining].sum())  # a drain ends a shed
        self.crowd.wait(float(closed.sum()), AGAIN_SECONDS, 0, forced=True)

    def _connect(self, new: float) -> None:
        forced, others = self.crowd.come()
        self.tally.returned = forced
        count = forced + others + new
        if count <= 0:
            return
        open_ = np.flatnonzero(self.open)
        if not len(open_) or self.now < self.unreachable_until:
            self._refuse(count)
            return
        streams = self.pods.streams[open_]
        room = np.maximum(self.settings.limit - streams, 0)
        taken, refused = placed(count, streams, room, self.surroundings.routing)
        self._open(open_, taken)
        turned_away = float(refused.sum())
        if turned_away > NOBODY:
            self._refused[self._second % REFUSED_SECONDS, open_] += refused
            self._refuse(turned_away)
        elif turned_away > 0:
            self.crowd.wait(turned_away, self.settings.retry, self.settings.spread, forced=False)

    def _open(self, at: NDArray[np.int64], taken: Floats) -> None:
        """The factor of a pod's ages is taken from the streams it has; a pod without any begins anew."""
        streams, sums = self.pods.streams[at], self._age_sum[at]
        fresh = (streams < NOBODY) | (sums < NOBODY)
        if fresh.any():
            self._ages[:, at[fresh]] = 0
            # What little there is counts as new.
            self._age_sum[at[fresh]] = self._ages[self._row, at[fresh]] = streams[fresh]
            sums = self._age_sum[at]
        weight = np.where(fresh, 1.0, sums / np.maximum(streams, NOBODY))
        self._ages[self._row, at] += taken * weight
        self._age_sum[at] += taken * weight
        self.pods.streams[at] += taken

    def _refuse(self, count: float) -> None:
        self.tally.refused += count
        if self.settings.gives_up:
            self.crowd.given_up += count
        else:
            self.crowd.wait(count, self.settings.retry, self.settings.spread, forced=False)

    def cut(self, pods: Bools) -> None:
        """Streams end without a word: their clients come back as their `retry:` says."""
        lost = float(self.pods.streams[pods].sum())
        self.pods.streams[pods] = 0
        self._lost += lost
        self.crowd.wait(lost, self.settings.retry, self.settings.spread, forced=False)

    def lose_nodes(self, share: float) -> None:
        """This share of the pods is gone, whoever they are."""
        count = round(share * len(self.pods.number))
        gone = np.zeros(len(self.pods.number), dtype=np.bool_)
        gone[self.chance.permutation(len(gone))[:count]] = True
        self.cut(gone)
        self._keep(~gone)

    # What the controllers of Kubernetes do

    def _end_pods(self) -> None:
        """A pod ends when its streams are closed, at the latest after its grace."""
        pods = self.pods
        if not pods.terminating.any():
            return
        killed = pods.terminating & (pods.ends_at <= self.now)
        if killed.any():
            count = float(pods.streams[killed].sum())
            self.tally.ended += count
            self.crowd.wait(count, self.settings.retry, self.settings.spread, forced=True)
            pods.streams[killed] = 0
        done = killed | (pods.terminating & (pods.close_from <= self.now) & (pods.streams < NOBODY))
        if done.any():
            # A rest of less than a client is not lost.
            self.crowd.wait(float(pods.streams[done].sum()), AGAIN_SECONDS, 0, forced=False)
            self._keep(~done)

    def _replace(self) -> None:
        """A rollout with maxSurge 1 and maxUnavailable 0: a new pod, and when it is available, an old one goes."""
        if not self.rolling_out:
            return
        pods, present = self.pods, self.present
        old = present & (pods.revision != self.revision)
        unhealthy = np.flatnonzero(old & (pods.ready_at > self.now))
        if len(unhealthy):
            self._terminate(unhealthy)
            return
        available = self.serving & (pods.ready_at + self.settings.min_ready <= self.now)
        if int(present.sum()) <= self.replicas:
            self._add(1)
        elif int((available & present).sum()) > self.replicas or (old & pods.draining).any():
            at = np.flatnonzero(old)
            order = np.lexsort((pods.number[at], pods.cost[at], ~pods.draining[at]))
            self._terminate(at[order[:1]])

    def _control(self) -> None:
        """As many pods as are asked for; in a rollout it is the rollout that adds and removes them one by one."""
        surplus = int(self.present.sum()) - self.replicas
        if surplus < 0:
            self._add(-surplus)
        elif surplus > 0 and not self.rolling_out:
            self._terminate(self._removal_order()[:surplus])

    def _removal_order(self) -> NDArray[np.int64]:
        """Not ready, cheap, young by orders of magnitude; the rest is chance."""
        at = np.flatnonzero(self.present)
        pods = self.pods
        ready = (pods.ready_at[at] <= self.now) & ~pods.draining[at]
        age = np.floor(np.log2(np.maximum(self.now - pods.ready_at[at], 1)))
        order: NDArray[np.int64] = at[np.lexsort((self.chance.random(len(at)), age, pods.cost[at], ready))]
        return order

    def _terminate(self, at: NDArray[np.int64]) -> None:
        """SIGTERM: no new clients, and after a while the streams are closed over the pod's own window.

        A drain that is under way goes on where it ends in time; else what is left goes within what the pod has, at once.
        """
        pods, settings, now = self.pods, self.settings, self.now
        drains = pods.draining[at]
        left = np.where(drains, np.maximum(pods.drain_since[at] + settings.delay - now, 0), settings.delay)
        stops_by = now + left + settings.window
        anew = at[~drains | (pods.close_until[at] > stops_by)]
        begin = np.where(pods.draining[anew], now, now + settings.delay)
        until = stops_by[~drains | (pods.close_until[at] > stops_by)]
        pods.close_rate[anew] = pods.streams[anew] / np.maximum(until - begin, 1.0)
        pods.close_from[anew], pods.close_until[anew] = begin, until
        pods.drain_since[at] = np.where(drains, pods.drain_since[at], now)
        pods.terminating[at] = pods.draining[at] = True
        pods.ends_at[at] = now + settings.grace
        pods.shed_rate[at] = 0

    def _add(self, count: int, *, ready: bool = False) -> None:
        wait = self.surroundings.start_seconds * (
            1 + self.surroundings.start_spread * (2 * self.chance.random(count) - 1)
        )
        self.pods.add(
            count,
            {
                "number": np.arange(self._made, self._made + count, dtype=np.float64),
                "created_at": self.now - (86_400.0 if ready else 0.0),
                "ready_at": np.full(count, self.now - 86_400.0) if ready else self.now + wait,
                "revision": self.revision,
                "mark": nan,
                "ends_at": inf,
                "close_from": inf,
                "close_until": inf,
                "seen_at": -inf,
            },
        )
        self._names += [name_of(number) for number in range(self._made, self._made + count)]
        self._made += count
        self._ages = np.hstack((self._ages, np.zeros((len(self._ages), count))))
        self._age_sum = np.concatenate((self._age_sum, np.zeros(count)))
        self._refused = np.hstack((self._refused, np.zeros((REFUSED_SECONDS, count))))

    def _keep(self, kept: Bools) -> None:
        self.pods.keep(kept)
        self._names = [name for name, stays in zip(self._names, kept.tolist(), strict=True) if stays]
        self._ages, self._age_sum = self._ages[:, kept], self._age_sum[kept]
        self._refused = self._refused[:, kept]

    def _fill(self, clients: float) -> None:
        """Streams of all ages, as after a day; who finds no place waits."""
        pods = len(self.pods.number)
        taken = min(clients, pods * self.settings.limit) if pods else 0.0
        if pods:
            self.pods.streams[:] = taken / pods
            shares = np.clip((AGE_STEPS - np.arange(len(self._ages))) / (AGE_STEPS * 0.2), 0, 1)
            rows = (self._row - np.arange(len(self._ages))) % len(self._ages)
            self._ages[rows] = shares[:, None] * (taken / pods)
            self._age_sum = self._ages.sum(axis=0)
        self.crowd.wait(clients - taken, self.settings.retry, self.settings.spread, forced=False)


def name_of(number: float) -> str:
    """Of equal length, so that names sort as the pods were made."""
    return f"pod-{int(number):07d}"


def number_of(name: str) -> int:
    return int(name.rpartition("-")[2])
