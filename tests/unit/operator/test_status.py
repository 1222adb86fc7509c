"""status.py: what is written fits the schema, whole and by its names."""

from typing import Any

from ssecast_operator.budget import budget_of
from ssecast_operator.crd import structural
from ssecast_operator.decide import decide
from ssecast_operator.instants import rfc3339
from ssecast_operator.memory import Memory
from ssecast_operator.rebalance import BalanceMemory
from ssecast_operator.status import AutoscalerStatus, BudgetStatus, Status, autoscaler_status, budget_status
from ssecast_operator.windows import Change, SurgeState
from tests.fleets import LONG_AGO, NOW, fleet, spec_of

FULL = Memory(
    started_at=LONG_AGO, changes=(Change(NOW - 10, 2),), surge=SurgeState(NOW - 5, 9), fresh_at=NOW, scaled_at=NOW - 10
)


def written() -> dict[str, Any]:
    decision = decide(spec_of(), fleet(9000, 9000, 9000, refused=2.0), FULL, NOW)
    return autoscaler_status(decision, BalanceMemory(until=NOW + 30, moving=True))


def unknown(value: Any, schema: dict[str, Any], path: str = "") -> list[str]:
    """Fields that the API server would prune, for want of a schema."""
    if isinstance(value, list):
        return [each for item in value for each in unknown(item, schema["items"], f"{path}[]")]
    if not isinstance(value, dict):
        return []
    known = schema.get("properties", {})
    inside = [each for name in value if name in known for each in unknown(value[name], known[name], f"{path}.{name}")]
    return [f"{path}.{name}" for name in value if name not in known] + inside


def test_nothing_of_a_decision_is_pruned() -> None:
    assert unknown(written(), structural(AutoscalerStatus)) == []


def test_a_decision_fills_every_field() -> None:
    assert set(structural(AutoscalerStatus)["properties"]) == set(written())


def test_what_a_decision_writes() -> None:
    status = written()
    assert (status["current"], status["desired"], status["reason"], status["valid"]) == (3, 9, "Surge", True)
    assert status["limitedBy"] == []
    assert status["message"].startswith("from 3 to 9 pods: a demand of ")
    assert status["demand"]["total"] == 27_000 + status["demand"]["refused"] + 2000
    assert status["samples"] == {"fresh": 3, "stale": 0, "missing": 0, "ready": 3, "leaving": 0, "freeSlots": 3000}
    assert status["steps"]["raw"] == status["steps"]["recommended"] == 5
    assert status["lastScaleTime"] == rfc3339(NOW - 10)
    assert status["movingUntil"] == rfc3339(NOW + 30)


def test_what_follows_from_the_budget_is_told() -> None:
    budget = budget_of(spec_of())
    status = budget_status(budget, replicas=3)
    assert set(structural(BudgetStatus)["properties"]) == set(status)
    assert status["drainSeconds"] == 60
    assert status["progressDeadlineSeconds"] == budget.progress_deadline(3)


def test_a_status_reads_as_it_was_written() -> None:
    """By its typed form, as `explain` reads it."""
    read = Status.model_validate({"autoscaler": written(), "budget": budget_status(budget_of(spec_of()), 3)})
    assert read.autoscaler is not None
    assert read.autoscaler.model_dump(by_alias=True, exclude_none=True, mode="json") == written()
