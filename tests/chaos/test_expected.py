"""What a client is owed is worked out from the truth: whatever came to it, the sum stays."""

import pytest

from loadtest.chaos.expected import expected
from loadtest.chaos.oracle import judge
from loadtest.chaos.records import Connected, Ended, Entry
from loadtest.chaos.traffic import Kind, subject_of
from tests.chaos.test_oracle import (
    LAST,
    LATEST,
    ORDER,
    PLAIN,
    gap,
    placed,
    recreated,
    replace_times,
    rewound,
    run,
    truth,
)

TAIL = sorted({subject_of(number): number for number in range(1, LAST + 1)}.values())
WHOLE = (placed(10), run(11, LAST))


def test_all_after_the_first_position_is_expected_once_whatever_came() -> None:
    """Also where the oracle were to count what came wrongly: the sum does not ask it."""
    wrong: dict[str, tuple[Entry, ...]] = {
        "nothing": WHOLE,
        "a hole": (placed(10), run(11, 99), run(101, LAST)),
        "an end too early": (placed(10), run(11, 300)),
        "an event twice": (placed(10), run(11, 50), run(50, 50), run(51, LAST)),
        "a position ahead of its events": (placed(10), run(11, 50), placed(60), run(61, LAST)),
        "many connections": (
            placed(10),
            run(11, 99),
            Ended(1, "cut"),
            Connected(2, 1, "e-99"),
            placed(99),
            run(100, LAST),
        ),
    }
    assert {what: expected(truth(), PLAIN, entries) for what, entries in wrong.items()} == dict.fromkeys(
        wrong, LAST - 10
    )


@pytest.mark.parametrize("kind", [PLAIN, ORDER])
def test_one_event_that_is_missing_makes_a_difference_of_one(kind: Kind) -> None:
    numbers = [number for number in range(11, LAST + 1) if subject_of(number) in kind.subjects]
    all_of_them: list[Entry] = [placed(10), *(run(number, number) for number in numbers), placed(LAST)]
    without = [entry for entry in all_of_them if entry != run(numbers[5], numbers[5])]
    for entries, missing in ((all_of_them, 0), (without, 1)):
        made = judge(truth(), kind, entries).counts["made"]
        assert expected(truth(), kind, entries) - made == missing


def test_what_a_true_gap_passes_over_is_not_expected_and_what_was_kept_is() -> None:
    expiring = truth(kept=10.0)
    good = (placed(10), run(11, 50), gap(111, "e-50", "e-100"), replace_times(run(101, LAST), 112))
    assert expected(expiring, PLAIN, good) == LAST - 10 - 50
    too_far = (placed(10), run(11, 50), gap(111, "e-50", "e-105"), replace_times(run(106, LAST), 112))
    assert expected(expiring, PLAIN, too_far) == LAST - 10 - 51, "102 to 105 were kept at second 111"
    false = (placed(10), run(11, 50), gap(71, "e-50", "e-70"), run(71, LAST))
    assert expected(truth(), PLAIN, false) == LAST - 10


def test_with_latest_all_that_came_and_the_newest_of_each_subject_are_expected() -> None:
    entries: list[Entry] = [placed(10), run(20, 30), *(run(each, each) for each in TAIL)]
    assert expected(truth(), LATEST, entries) == 11 + len(TAIL)
    assert expected(truth(), LATEST, entries[:-1]) == 11 + len(TAIL)
    assert judge(truth(), LATEST, entries[:-1]).counts["made"] == 10 + len(TAIL)
    again = [*entries, run(TAIL[-1], TAIL[-1])]
    assert expected(truth(), LATEST, again) == 11 + len(TAIL)


def test_of_a_stream_that_is_gone_only_what_came_before_the_gap_is_expected() -> None:
    told, new = gap(LAST + 1, f"e-{LAST - 50}", "f-0", "epoch"), run(LAST + 1, LAST + 20, epoch="f", by=LAST)
    assert expected(recreated(), PLAIN, (placed(10), run(11, LAST - 50), told, new)) == LAST - 50 - 10 + 20
    assert expected(recreated(), PLAIN, (placed(10), run(11, LAST - 50), told)) == LAST - 50 - 10 + 20


def test_a_restored_stream_is_owed_from_where_it_goes_on() -> None:
    told, new = gap(LAST + 1, f"e-{LAST}", "e-300", "rewound"), run(LAST + 1, LAST + 20, by=100)
    assert expected(rewound(), PLAIN, (*WHOLE, told, new)) == LAST - 10 + 20
    assert expected(rewound(), PLAIN, (*WHOLE, new)) != LAST - 10 + 20, "nobody told it"


def test_a_client_that_never_began_is_owed_nothing() -> None:
    assert expected(truth(), PLAIN, (Connected(1, 1, ""),)) == 0
