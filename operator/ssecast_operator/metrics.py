"""What Prometheus is told of the operator."""

import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from ssecast_operator.actions import Action, Drain, Mark, SetReplicas, Shed
from ssecast_operator.decision import Decision
from ssecast_operator.fleet import Fleet
from ssecast_operator.rebalance import Balance, Rebalancing
from ssecast_operator.store import Key
from ssecast_operator.victims import Plan

OF = ("namespace", "broadcaster")
PREFIX = "ssecast_operator_"
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30)


class Closing(NamedTuple):
    """Streams that are to be closed between two times, so many per second."""

    since: float
    until: float
    per_second: float


class Metrics:
    """Gauges per Broadcaster are those of its last round; they go when it goes."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._gauges: list[Gauge] = []
        self._closings: dict[Key, list[Closing]] = {}
        self.desired = self._gauge("desired_pods", "Pods that were decided on.")
        self.current = self._gauge("current_pods", "Pods that were meant to stay until then.")
        self.cordoned = self._gauge("cordoned_pods", "Pods that are ready and keep their streams, and get no new ones.")
        self.demand = self._gauge("demand_streams", "Streams that want a place, by where they are.", "where")
        self.target = self._gauge("target_streams", "Streams per pod that it was reckoned with.")
        self.capacity = self._gauge("capacity_streams", "Streams that one pod takes, on average of those that say.")
        self.free = self._gauge("free_slots", "Streams that the ready pods could still take.")
        self.samples = self._gauge("samples", "Pods that stay, by what is known of their load.", "freshness")
        self.valid = self._gauge("decision_valid", "Whether the data was good enough to decide (1) or not (0).")
        self.limited = self._gauge("limited", "What kept the last decision from what the demand asks for (1).", "by")
        self.phase = self._gauge("phase", "Where the fleet is on its way (1).", "phase")
        self.rolling_out = self._gauge("rolling_out", "Whether pods of another template are there (1) or not (0).")
        self.rollout_stuck = self._gauge(
            "rollout_stuck", "Whether the Deployment says that its rollout does not go on (1) or not (0)."
        )
        self.reconnects = self._gauge(
            "planned_reconnects_per_second", "Of the drains and sheds that close streams now."
        )
        self.budget = self._gauge("reconnects_per_second_budget", "What may be planned per second.")
        self.decided_at = self._gauge("last_round_timestamp_seconds", "When the last round ended.")
        self.decisions = self._counter("decisions", "Decisions, by direction and reason.", *OF, "direction", "reason")
        self.actions = self._counter("actions", "What was done, by kind.", *OF, "action")
        self.rounds = Histogram(
            PREFIX + "round_seconds",
            "How long one round of one Broadcaster takes.",
            registry=self.registry,
            buckets=BUCKETS,
        )
        self.failures = self._counter("round_failures", "Rounds that ended early.", *OF, "reason")
        self.calls = self._counter("api_calls", "Calls of the API server.", "verb", "resource", "code")
        self.leading = Gauge(PREFIX + "leading", "Whether this operator holds the Lease.", registry=self.registry)

    def _gauge(self, name: str, words: str, *labels: str) -> Gauge:
        gauge = Gauge(PREFIX + name, words, (*OF, *labels), registry=self.registry)
        self._gauges.append(gauge)
        return gauge

    def _counter(self, name: str, words: str, *labels: str) -> Counter:
        return Counter(PREFIX + name, words, labels, registry=self.registry)

    def called(self, verb: str, resource: str, code: int) -> None:
        self.calls.labels(verb, resource, str(code)).inc()

    def decided(self, key: Key, decision: Decision, plan: Plan, rebalancing: Rebalancing, budget: float) -> None:
        """Everything of one round."""
        of = tuple(key)
        demand, census = decision.demand, decision.census
        self.desired.labels(*of).set(decision.replicas)
        self.current.labels(*of).set(decision.base)
        self.target.labels(*of).set(decision.target)
        self.capacity.labels(*of).set(census.capacity)
        self.free.labels(*of).set(census.free_slots)
        self.valid.labels(*of).set(decision.valid)
        self.budget.labels(*of).set(budget)
        for where in ("open", "leaving", "refused", "burst", "unknown"):
            self.demand.labels(*of, where).set(getattr(demand, where))
        for freshness in ("fresh", "stale", "missing"):
            self.samples.labels(*of, freshness).set(getattr(census, freshness))
        self._one_of(self.limited, key, [limit.value for limit in decision.limits])
        self._one_of(self.phase, key, [plan.phase.value])
        way = "up" if decision.replicas > decision.base else "down" if decision.replicas < decision.base else "none"
        self.decisions.labels(*of, way, decision.reason.value).inc()
        self.reconnects.labels(*of).set(self._reconnects(key, decision, plan, rebalancing))
        self.decided_at.labels(*of).set(time.time())

    def _reconnects(self, key: Key, decision: Decision, plan: Plan, rebalancing: Rebalancing) -> float:
        """Per second, by what was ordered in this round and earlier ones: a drain closes nobody before its delay is over."""
        known = [each for each in self._closings.get(key, ()) if each.until > decision.at]
        if not decision.census.leaving and rebalancing.state is not Balance.MOVING:
            known = []  # called off
        self._closings[key] = [*known, *_closings((*plan.actions, *rebalancing.actions), decision)]
        return sum(each.per_second for each in self._closings[key] if each.since <= decision.at)

    def found(self, key: Key, fleet: Fleet, stuck: bool) -> None:
        """How the fleet and the Deployment's rollout stand in this round, before anything is done about it."""
        self.cordoned.labels(*key).set(sum(pod.cordoned and pod.ready for pod in fleet.present))
        self.rolling_out.labels(*key).set(fleet.rollout)
        self.rollout_stuck.labels(*key).set(stuck)

    def acted(self, key: Key, action: Action) -> None:
        name = type(action).__name__
        if isinstance(action, SetReplicas):
            name = "ScaleUp" if action.replicas > action.was else "ScaleDown"
        self.actions.labels(*key, name).inc()

    def forget(self, key: Key) -> None:
        """The Broadcaster is gone."""
        self._closings.pop(key, None)
        for gauge in self._gauges:
            for labels in _labels_of(gauge, key):
                gauge.remove(*labels)

    def render(self) -> bytes:
        return generate_latest(self.registry)

    @staticmethod
    def _one_of(gauge: Gauge, key: Key, now: list[str]) -> None:
        for labels in _labels_of(gauge, key):
            if labels[2] not in now:
                gauge.remove(*labels)
        for each in now:
            gauge.labels(*key, each).set(1)


def _labels_of(gauge: Gauge, key: Key) -> list[tuple[str, ...]]:
    return list(_matching(gauge, key))


def _matching(gauge: Gauge, key: Key) -> Iterator[tuple[str, ...]]:
    names = gauge._labelnames
    for metric in gauge.collect():
        for sample in metric.samples:
            if (sample.labels["namespace"], sample.labels["broadcaster"]) == tuple(key):
                yield tuple(sample.labels[name] for name in names)


def _closings(actions: Iterable[Action], decision: Decision) -> Iterator[Closing]:
    """What is ordered in a round. Victims are taken to have as many streams as others."""
    at, census, ordered = decision.at, decision.census, list(actions)
    for shed in (action for action in ordered if isinstance(action, Shed) and action.window):
        yield Closing(at, at + shed.window, shed.count / shed.window)
    drains = [action for action in ordered if isinstance(action, Drain) and action.window]
    begun = any(isinstance(action, Mark) for action in ordered)
    streams = census.streams / max(1, census.pods) if begun else decision.demand.leaving / max(1, len(drains))
    for drain in drains:
        yield Closing(at + drain.delay, at + drain.delay + drain.window, streams / drain.window)
