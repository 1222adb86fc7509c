"""memory.py: what one decision remembers for the next, and what survives the operator."""

from typing import Any

import pytest

from ssecast_operator.instants import rfc3339
from ssecast_operator.memory import SAVED_CHANGES, Last, Memory, restored
from ssecast_operator.windows import Change, SurgeState
from tests.fleets import LONG_AGO, NOW


def test_the_first_look_changes_nothing() -> None:
    memory = Memory(NOW)
    assert memory.observing(5, NOW, 60) is memory


def test_as_many_pods_as_before_change_nothing() -> None:
    """A drain that is under way has not lowered the Deployment yet, and a write may have failed."""
    memory = Memory(LONG_AGO, last=Last(NOW - 5, 5, 3))
    assert memory.observing(5, NOW, 60) is memory


@pytest.mark.parametrize(
    ("last", "replicas", "change"),
    [
        (Last(NOW - 5, 5, 9), 9, Change(NOW - 5, 4)),
        (Last(NOW - 5, 5, 9), 7, Change(NOW - 5, 2)),
        (Last(NOW - 5, 5, 2), 3, Change(NOW - 5, -2)),
        (Last(NOW - 5, 5, 9), 3, Change(NOW, -2)),
        (Last(NOW - 5, 5, 5), 6, Change(NOW, 1)),
    ],
)
def test_a_change_counts_from_its_decision_or_from_when_it_is_seen(last: Last, replicas: int, change: Change) -> None:
    """What was decided counts from then on, as with the HPA; what somebody else did is news."""
    memory = Memory(LONG_AGO, last=last).observing(replicas, NOW, 60)
    assert (memory.changes, memory.scaled_at) == ((change,), change.at)


def test_a_clock_that_was_set_back_leaves_nothing_in_the_future() -> None:
    """Otherwise an hour that never was would hold the fleet for an hour."""
    later = NOW + 3600
    memory = Memory(
        started_at=later,
        last=Last(later, 5, 5),
        lows=((later, 5),),
        highs=((NOW - 10, 9), (later, 5)),
        changes=(Change(NOW - 10, 1), Change(later, 2)),
        recent=((later, 100),),
        surge=SurgeState(later, 7),
        fresh_at=later,
    )
    assert memory.rewound(NOW) == Memory(
        started_at=NOW,
        last=Last(NOW, 5, 5),
        lows=((NOW, 5),),
        highs=((NOW - 10, 9), (NOW, 5)),
        changes=(Change(NOW - 10, 1), Change(NOW, 2)),
        recent=(),
        surge=SurgeState(NOW, 7),
        fresh_at=NOW,
    )
    assert memory.rewound(later) is memory


def test_a_clock_that_was_set_back_finds_little_to_change() -> None:
    memory = Memory(LONG_AGO, last=Last(NOW + 5, 5, 5))
    assert memory.rewound(NOW) == Memory(LONG_AGO, last=Last(NOW, 5, 5))


def test_what_must_survive_does() -> None:
    memory = Memory(
        started_at=LONG_AGO,
        last=Last(NOW - 5, 5, 9),
        highs=((NOW, 9),),
        changes=(Change(NOW - 30, 2),),
        surge=SurgeState(NOW - 10, 9),
        scaled_at=NOW - 30,
    )
    found = restored(memory.to_status(), NOW)
    assert found == Memory(
        started_at=NOW,
        last=Last(NOW, 5, 9),
        changes=(Change(NOW - 30, 2),),
        surge=SurgeState(NOW - 10, 9),
        scaled_at=NOW - 30,
    )
    assert found.observing(9, NOW + 5, 60).changes[-1] == Change(NOW, 4), "written by the operator that is no more"


def test_a_memory_of_nothing_survives_as_nothing() -> None:
    assert restored(Memory(LONG_AGO).to_status(), NOW) == Memory(NOW)


def test_a_status_holds_a_bounded_number_of_changes() -> None:
    memory = Memory(LONG_AGO, changes=tuple(Change(NOW - 100 + at, 1) for at in range(100)))
    found = restored(memory.to_status(), NOW)
    assert len(found.changes) == SAVED_CHANGES
    assert sum(change.by for change in found.changes) == 100


@pytest.mark.parametrize(
    "status",
    [
        None,
        {},
        {"current": "five", "desired": 5},
        {"current": 5},
        {"changes": "many"},
        {
            "changes": [
                {"time": "soon", "by": 1},
                {"time": rfc3339(NOW), "by": "one"},
                {"time": rfc3339(NOW + 9), "by": 1},
            ]
        },
        {"surge": {"reachedAt": rfc3339(NOW + 9), "peak": 1}},
        {"surge": {"reachedAt": rfc3339(NOW), "peak": None}},
        {"surge": {"peak": 1}},
        {"surge": "yes"},
    ],
)
def test_a_status_that_somebody_edited_is_not_believed(status: dict[str, Any] | None) -> None:
    """What cannot be read, or lies in the future, is left out."""
    assert restored(status, NOW) == Memory(NOW)
