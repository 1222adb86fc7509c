"""The oracle finds whatever a client saw that it should not have, and nothing where it saw what it was owed."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from loadtest.chaos.oracle import FAULTS, Verdict, judge
from loadtest.chaos.records import (
    Connected,
    Ended,
    Entry,
    Gap,
    GaveUp,
    Malformed,
    Opened,
    Placed,
    Refused,
    Run,
)
from loadtest.chaos.traffic import BUSY, KINDS, QUIET, Kind, subject_of
from loadtest.chaos.truth import Era, Stored, Truth

PLAIN = Kind("plain", 1.0)
ORDER = next(kind for kind in KINDS if kind.name == "order")
LATEST = next(kind for kind in KINDS if kind.name == "latest")
HOUR = 3600.0
LAST = 400
"""Events of the first era: as many milliseconds lie between two of them as between two entries."""

STEP_MS = 1000


def truth(eras: Sequence[Era] = (Era("e", 0, ""),), kept: float = HOUR) -> Truth:
    """Event n is number n at seq n, sent at second n; those of a later era follow in the same way."""
    found = Truth(eras=list(eras), retention=[(0, kept)])
    for number in range(1, LAST + 1):
        store(found, number, 0, number)
    return found


def store(into: Truth, number: int, era: int, seq: int) -> None:
    into.store(Stored(number, subject_of(number), era, seq, number * STEP_MS, number * STEP_MS + 5))


def run(first: int, last: int, *, epoch: str = "e", by: int = 0, step: int = 1) -> Run:
    """Events first to last, each at the seq that is its number less `by`, as soon as they were sent."""
    count = (last - first) // step + 1
    times = first * STEP_MS + 10, last * STEP_MS + 10
    return Run(*times, epoch, first - by, first, step, step, count)


def gap(at: int, requested: str, following: str, reason: str = "expired", *, oldest: str = "") -> Gap:
    epoch, _, seq = following.rpartition("-")
    return Gap(at * STEP_MS, epoch, int(seq), requested, oldest or following, following, reason)


def placed(seq: int, *, at: int = 0, epoch: str = "e") -> Placed:
    return Placed((at or seq) * STEP_MS, epoch, seq)


def faults(*entries: Entry, kind: Kind = PLAIN, against: Truth | None = None) -> dict[str, int]:
    """What is wrong, by name; nothing where all is well."""
    verdict = judge(against or truth(), kind, entries)
    wrong = {name: verdict.counts[name] for name in FAULTS if verdict.counts[name]}
    assert bool(wrong) == (not verdict.clean)
    assert bool(wrong) == bool(verdict.findings)
    return wrong


# Nothing wrong


def test_every_event_once_and_in_order_is_clean_over_any_number_of_connections() -> None:
    entries: list[Entry] = [
        *(Connected(1, 80, ""), Opened(2), placed(10), run(11, 200), Ended(3, "cut")),
        *(Connected(4, 80, "e-200"), Refused(5, "refused"), Connected(6, 80, "e-200"), Opened(7), Ended(8, "end")),
        *(Connected(9, 80, "e-200"), Opened(10), placed(200), run(201, LAST), placed(LAST)),
    ]
    verdict = judge(truth(), PLAIN, entries)
    assert verdict.clean
    assert verdict.counts["made"] == LAST - 10


def test_runs_may_be_cut_anywhere() -> None:
    """What the clients join to one run is no more and no less than event by event."""
    single: list[Entry] = [run(number, number) for number in range(11, LAST + 1)]
    assert (
        judge(truth(), PLAIN, [placed(10), *single]).counts == judge(truth(), PLAIN, [placed(10), run(11, LAST)]).counts
    )


def test_a_filtered_client_is_owed_its_subjects_only_and_moves_on_by_positions() -> None:
    step, (mine,) = len(BUSY), ORDER.subjects
    numbers = [number for number in range(1, LAST + 1) if subject_of(number) == mine]
    assert numbers[1] - numbers[0] == step
    entries: list[Entry] = [placed(numbers[0] - 1), *(run(number, number) for number in numbers[:20])]
    entries += [placed(numbers[19] + 1), *(run(number, number) for number in numbers[20:])]
    assert not faults(*entries, kind=ORDER)


def test_a_client_with_latest_may_skip_what_is_superseded() -> None:
    last_of_each = {subject_of(number): number for number in range(1, LAST + 1)}
    tail = sorted(last_of_each.values())
    assert not faults(placed(10), run(20, 30), run(50, 60), *(run(each, each) for each in tail), kind=LATEST)


# Each thing that can be wrong


def test_an_event_that_is_missing_in_the_middle_is_lost() -> None:
    assert faults(placed(10), run(11, 99), run(101, LAST)) == {"lost": 1}


def test_events_that_are_missing_at_the_end_are_lost() -> None:
    assert faults(placed(10), run(11, LAST - 3)) == {"lost": 3}


def test_a_position_that_runs_ahead_of_its_events_loses_them() -> None:
    assert faults(placed(10), run(11, 50), placed(60), run(61, LAST)) == {"lost": 10}


def test_an_event_that_comes_twice_is_duplicated() -> None:
    assert faults(placed(10), run(11, 50), run(50, 50), run(51, LAST)) == {"duplicated": 1}


def test_events_that_are_sent_again_after_a_reconnect_are_duplicated() -> None:
    entries = (placed(10), run(11, 50), Ended(1, "cut"), Connected(2, 80, "e-50"), placed(50), run(41, LAST))
    assert faults(*entries) == {"duplicated": 10}


def test_two_events_that_change_places_are_out_of_order() -> None:
    assert faults(placed(10), run(11, 20), run(22, 22), run(21, 21), run(23, LAST)) == {"out_of_order": 1}


def test_an_event_from_before_its_position_is_out_of_order() -> None:
    assert faults(placed(10), run(10, LAST)) == {"out_of_order": 1}


def test_a_position_that_goes_back_is_out_of_order() -> None:
    assert faults(placed(10), run(11, LAST), placed(LAST - 1)) == {"out_of_order": 1}


def test_an_event_at_a_place_where_it_was_never_stored_is_foreign() -> None:
    wrong_place = run(21, 21)._replace(seq=20)
    assert faults(placed(10), run(11, 20), wrong_place, run(21, LAST)) == {"foreign": 1}
    assert faults(placed(10), run(11, LAST), run(LAST + 1, LAST + 1)) == {"foreign": 1}
    assert faults(placed(10), run(11, LAST), placed(1, epoch="other")) == {"foreign": 1}


def test_an_event_of_another_subject_is_foreign() -> None:
    first, second = [number for number in range(1, LAST + 1) if subject_of(number) in ORDER.subjects][-2:]
    strange = next(number for number in range(first, second) if subject_of(number) not in ORDER.subjects | {QUIET})
    verdict = faults(placed(first), run(strange, strange), run(second, second), placed(LAST), kind=ORDER)
    assert verdict == {"foreign": 1}


def test_a_gap_while_the_stream_still_held_everything_is_false() -> None:
    assert faults(placed(10), run(11, 50), gap(51, "e-50", "e-50"), run(51, LAST)) == {"false_gaps": 1}


def test_a_false_gap_loses_what_it_passes_over() -> None:
    found = faults(placed(10), run(11, 50), gap(71, "e-50", "e-70"), run(71, LAST))
    assert found == {"false_gaps": 1, "lost": 20}


def test_a_gap_that_asks_for_another_position_than_the_clients_is_false() -> None:
    found = faults(placed(10), run(11, 50), gap(200, "e-49", "e-100"), run(101, LAST), against=truth(kept=10.0))
    assert found == {"false_gaps": 1}


def test_a_hole_of_expired_events_without_a_gap_is_a_missing_gap() -> None:
    late = replace_times(run(101, LAST), LAST)
    assert faults(placed(10), run(11, 50), late, against=truth(kept=10.0)) == {"lost": 50, "missing_gaps": 1}


def test_a_client_that_gave_up_is_found_and_so_is_all_that_it_lost() -> None:
    assert faults(placed(10), run(11, 50), GaveUp(51, "http/1.1 503")) == {"gave_up": 1, "lost": LAST - 50}


def test_a_client_that_never_began_is_found() -> None:
    assert faults(Connected(1, 80, ""), Refused(2, "refused")) == {"never_begun": 1}


def test_malformed_blocks_and_requests_for_the_wrong_position_are_found() -> None:
    assert faults(placed(10), Malformed(1, "a payload with a wrong checksum"), run(11, LAST)) == {"malformed": 1}
    assert faults(placed(10), run(11, LAST), Connected(1, 80, "e-7")) == {"malformed": 1}


def test_a_client_with_latest_that_never_gets_the_newest_event_of_a_subject_lost_it() -> None:
    tail = sorted({subject_of(number): number for number in range(1, LAST + 1)}.values())
    without = [run(each, each) for each in tail if each != tail[3]]
    assert faults(placed(10), *without, kind=LATEST) == {"lost": 1}


def test_a_client_with_latest_must_not_go_back_or_repeat() -> None:
    tail = [run(each, each) for each in sorted({subject_of(number): number for number in range(1, LAST + 1)}.values())]
    assert faults(placed(10), run(20, 30), run(25, 25), *tail, kind=LATEST) == {"duplicated": 1}
    assert faults(placed(10), run(20, 30), run(15, 15), *tail, kind=LATEST) == {"out_of_order": 1}


# True gaps


def test_a_gap_over_expired_events_is_true_and_they_are_not_owed() -> None:
    found = judge(
        truth(kept=10.0),
        PLAIN,
        [placed(10), run(11, 50), gap(111, "e-50", "e-100"), replace_times(run(101, LAST), 112)],
    )
    assert found.clean
    assert found.counts["gaps"] == 1
    assert found.counts["made"] == LAST - 10 - 50


def test_a_true_gap_must_not_pass_over_what_the_stream_still_held() -> None:
    entries = (placed(10), run(11, 50), gap(111, "e-50", "e-105"), replace_times(run(106, LAST), 112))
    assert faults(*entries, against=truth(kept=10.0)) == {"lost": 4}, "102 to 105 were kept at second 111"


def test_what_expired_while_the_stream_kept_little_is_gone_for_good() -> None:
    """Retention that was short for a while counts, however long it is now."""
    against = truth()
    against.retention = [(0, HOUR), (60 * STEP_MS, 1.0), (62 * STEP_MS, HOUR)]
    assert not faults(
        placed(10), run(11, 50), gap(300, "e-50", "e-61"), replace_times(run(62, LAST), 301), against=against
    )
    found = faults(
        placed(10), run(11, 70), gap(300, "e-70", "e-70"), replace_times(run(71, LAST), 301), against=against
    )
    assert found == {"false_gaps": 1}


@pytest.mark.parametrize("reason", ["epoch", "rewound", "ahead", "too_far", "slow", "unreadable", "", "Expired"])
def test_within_an_era_nothing_but_expired_is_a_reason(reason: str) -> None:
    """Even where the events have expired: a pod that gives the wrong reason has not understood what happened."""
    entries = (placed(10), run(11, 50), gap(111, "e-50", "e-100", reason), replace_times(run(101, LAST), 112))
    assert faults(*entries, against=truth(kept=10.0)) == {"false_gaps": 1}


@pytest.mark.parametrize(
    ("oldest", "fine"),
    [
        ("e-51", True),  # its memory goes back further than the position from which it goes on
        ("e-100", True),
        ("e-50", False),  # then it could have gone on from there
        ("e-7", False),
        ("e-101", False),  # what lies between was passed over
        ("f-60", False),
        ("e-x", False),
        ("60", False),
    ],
)
def test_the_oldest_position_of_a_gap_lies_between_the_clients_and_the_next_one(oldest: str, *, fine: bool) -> None:
    one = gap(111, "e-50", "e-100", oldest=oldest)
    found = faults(placed(10), run(11, 50), one, replace_times(run(101, LAST), 112), against=truth(kept=10.0))
    assert found == ({} if fine else {"false_gaps": 1})


def test_a_gap_whose_data_names_another_next_position_than_its_id_is_false() -> None:
    one = gap(111, "e-50", "e-100")._replace(following="e-99")
    found = faults(placed(10), run(11, 50), one, replace_times(run(101, LAST), 112), against=truth(kept=10.0))
    assert found == {"false_gaps": 1}


RECREATED = (Era("e", 0, ""), Era("f", (LAST + 1) * STEP_MS, "recreated"))


def recreated() -> Truth:
    """Events LAST+1 to LAST+20 are stored from seq 1 on in a stream that was created anew."""
    found = truth(RECREATED)
    for number in range(LAST + 1, LAST + 21):
        store(found, number, 1, number - LAST)
    return found


def test_the_step_into_a_stream_that_was_created_anew_needs_its_gap() -> None:
    new = run(LAST + 1, LAST + 20, epoch="f", by=LAST)
    good = gap(LAST + 1, f"e-{LAST}", "f-0", "epoch")
    assert not faults(placed(10), run(11, LAST), good, new, against=recreated())
    assert faults(placed(10), run(11, LAST), new, against=recreated()) == {"missing_gaps": 1}
    assert faults(placed(10), run(11, LAST), against=recreated()) == {"missing_gaps": 1}
    assert faults(placed(10), run(11, LAST), good._replace(reason="expired"), new, against=recreated()) == {
        "false_gaps": 1
    }


def test_a_second_gap_into_the_same_era_is_false() -> None:
    once, again = gap(LAST + 1, f"e-{LAST}", "f-0", "epoch"), gap(LAST + 2, "f-0", "f-0", "epoch")
    new = run(LAST + 1, LAST + 20, epoch="f", by=LAST)
    assert faults(placed(10), run(11, LAST), once, again, new, against=recreated()) == {"false_gaps": 1}


def test_a_gap_back_into_an_earlier_era_is_false_and_its_events_are_duplicated() -> None:
    once, back = gap(LAST + 1, f"e-{LAST}", "f-0", "epoch"), gap(LAST + 2, "f-0", f"e-{LAST - 1}", "epoch")
    again = gap(LAST + 3, f"e-{LAST}", "f-0", "epoch")
    new = run(LAST + 1, LAST + 20, epoch="f", by=LAST)
    found = faults(placed(10), run(11, LAST), once, back, run(LAST, LAST), again, new, against=recreated())
    assert found == {"false_gaps": 2, "duplicated": 1}


def test_who_comes_later_goes_on_live_in_the_new_stream() -> None:
    """After a gap of epoch it is owed what comes after the gap's position."""
    late = gap(LAST + 8, f"e-{LAST - 50}", "f-5", "epoch")
    assert not faults(
        placed(10), run(11, LAST - 50), late, run(LAST + 6, LAST + 20, epoch="f", by=LAST), against=recreated()
    )


def rewound() -> Truth:
    """The stream was restored as it was at seq 300, and went on from there with new events."""
    found = truth((Era("e", 0, ""), Era("e", (LAST + 1) * STEP_MS, "rewound")))
    for number in range(LAST + 1, LAST + 21):
        store(found, number, 1, number - 100)
    return found


def test_a_restored_stream_needs_its_gap_though_its_positions_look_the_same() -> None:
    new = run(LAST + 1, LAST + 20, by=100)
    for reason in ("rewound", "ahead"):
        assert not faults(
            placed(10), run(11, LAST), gap(LAST + 1, f"e-{LAST}", "e-300", reason), new, against=rewound()
        )
    assert faults(placed(10), run(11, LAST), new, against=rewound()) == {"missing_gaps": 1}


def test_ahead_is_a_reason_for_those_only_who_were_ahead() -> None:
    """Who stood where the restored stream does, or before it, was rewound at most."""
    new = run(LAST + 1, LAST + 20, by=100)
    for last in (300, 299):
        told = gap(LAST + 1, f"e-{last}", "e-300", "ahead", oldest="e-299")
        assert faults(placed(10), run(11, last), told, new, against=rewound()) == {"false_gaps": 1}
        told = told._replace(reason="rewound")
        assert not faults(placed(10), run(11, last), told, new, against=rewound())


def test_an_oldest_position_of_the_stream_that_is_gone_is_false() -> None:
    told = gap(LAST + 1, f"e-{LAST}", "f-0", "epoch", oldest=f"e-{LAST}")
    new = run(LAST + 1, LAST + 20, epoch="f", by=LAST)
    assert faults(placed(10), run(11, LAST), told, new, against=recreated()) == {"false_gaps": 1}


def test_whoever_was_away_during_a_rewind_and_is_not_told_is_found() -> None:
    """It stood at a position that the restored stream gave out again later."""
    rest = run(LAST + 11, LAST + 20, by=100)
    assert "missing_gaps" in faults(placed(10), run(11, 310), rest, against=rewound())


# The truth, and sums


def test_two_answers_for_one_event_or_two_events_at_one_place_are_refused() -> None:
    against = truth()
    with pytest.raises(ValueError, match="was acknowledged"):
        store(against, 5, 0, LAST + 1)
    with pytest.raises(ValueError, match="was acknowledged"):
        store(against, LAST + 1, 0, 5)


def test_verdicts_add_up_and_keep_their_first_findings() -> None:
    total = Verdict()
    for _ in range(30):
        total.add(judge(truth(), PLAIN, [placed(10), run(11, LAST - 1)]))
    assert total.counts["lost"] == 30
    assert 0 < len(total.findings) <= 30


def replace_times(entry: Run, second: int) -> Run:
    """The same events, all of them much later."""
    return entry._replace(at=second * STEP_MS, until=second * STEP_MS)


def test_kinds_of_clients_differ_in_nothing_but_what_they_ask_for() -> None:
    assert replace(PLAIN, name="x").path == "/events"
    assert all(kind.subjects for kind in KINDS)
