"""log.py by example; tests/properties holds it against a plain list."""

import pytest

from ssecast.frame import Event, Frame, Position
from ssecast.log import COMPACT_AT, FRAME_OVERHEAD, EventLog


def frame(seq: int, subject: str = "a", size: int = 0) -> Frame:
    return Frame(Event(subject, seq, b"x" * size), "e")


def log_of(*seqs: int, max_events: int = 100, max_bytes: int = 10**9) -> EventLog:
    log = EventLog(max_events, max_bytes, "e")
    for seq in seqs:
        log.append(frame(seq))
    return log


def seqs(log: EventLog, after: int, upto: int, most: int = 100) -> list[int]:
    return [each.seq for each in log.after(after, upto, most)]


def test_a_log_begins_where_it_was_told() -> None:
    log = EventLog(1, 1, "e", 9)
    assert (log.position, log.oldest, len(log)) == (Position("e", 9), Position("e", 9), 0)


def test_reading_is_after_the_cursor_and_up_to_the_end() -> None:
    log = log_of(1, 2, 5, 9)
    assert seqs(log, 1, 5) == [2, 5]
    assert seqs(log, 0, 99, most=2) == [1, 2]
    assert seqs(log, 5, 5) == []


def test_the_newest_frame_may_lie_below_the_head() -> None:
    log = log_of(3, 5)
    log.advance(9)
    newest = log.newest
    assert newest is not None
    assert newest.seq == 5
    log.start("f", 9)
    assert log.newest is None


def test_sequences_must_rise() -> None:
    log = log_of(3)
    with pytest.raises(ValueError, match="seq 3 is not above the head 3"):
        log.append(frame(3))


def test_the_head_moves_without_an_event_and_never_back() -> None:
    log = log_of(3)
    log.advance(8)
    log.advance(5)
    assert (log.head, log.floor, seqs(log, 0, 99)) == (8, 0, [3])


def test_the_count_is_bounded_and_the_floor_is_what_went_last() -> None:
    log = log_of(2, 4, 6, max_events=2)
    assert (log.floor, log.evicted, seqs(log, 0, 99)) == (2, 1, [4, 6])


def test_the_bytes_are_bounded_but_one_event_always_fits() -> None:
    log = log_of(1, 2, max_bytes=1)
    assert (seqs(log, 0, 99), log.floor) == ([2], 1)
    assert log.bytes == len(frame(2).wire) + FRAME_OVERHEAD


def test_a_subject_is_read_without_the_others() -> None:
    log = EventLog(4, 10**9, "e")
    for seq, subject in enumerate("abaabb", start=1):
        log.append(frame(seq, subject))
    assert [each.seq for each in log.of_subject("a", 0, 99, 9) or ()] == [3, 4]
    assert [each.seq for each in log.of_subject("b", 5, 99, 9) or ()] == [6]
    assert [each.seq for each in log.of_subject("b", 0, 5, 9) or ()] == [5]
    assert log.of_subject("c", 0, 99, 9) == []
    assert log.of_subject("a", 0, 99, 1) is None
    assert [log.newest_of("a", upto) for upto in (99, 3, 2)] == [4, 3, 0]


def test_a_subject_whose_last_frame_is_gone_is_forgotten() -> None:
    log = EventLog(1, 10**9, "e")
    log.append(frame(1, "a"))
    log.append(frame(2, "b"))
    assert log.of_subject("a", 0, 99, 9) == []
    assert list(log._newest) == ["b"]


def test_beginning_anew_drops_everything() -> None:
    log = log_of(1, 2)
    log.start("f", 1)
    assert (log.position, log.oldest, log.bytes, len(log)) == (Position("f", 1), Position("f", 1), 0, 0)
    assert log.of_subject("a", 0, 99, 9) == []


def test_the_front_of_the_lists_is_cut_now_and_then() -> None:
    log = EventLog(2, 10**9, "e")
    for seq in range(1, COMPACT_AT + 3):
        log.append(frame(seq))
    assert len(log._frames) == 2
    assert seqs(log, 0, 10**6) == [COMPACT_AT + 1, COMPACT_AT + 2]


def wrapped(frame: Frame) -> int:
    """Has the second form built; returns what that takes."""
    return len(frame.json_wire)


def test_second_forms_count_and_the_oldest_frames_make_room_for_them() -> None:
    one = len(frame(1, size=100).wire) + FRAME_OVERHEAD
    log = EventLog(100, 4 * one, "e")
    frames = [frame(seq, size=100) for seq in (1, 2, 3)]
    for each in frames:
        log.append(each)
    added = sum(wrapped(each) for each in frames)
    assert added > one, "or nothing would have to go"
    assert log.bytes == 3 * one + added
    log.trim()
    assert (seqs(log, 0, 9), log.floor, log.evicted) == ([2, 3], 1, 1)
    assert log.bytes == 2 * one + sum(wrapped(each) for each in frames[1:])
    wrapped(frames[0])
    log.append(frame(4, size=100))
    while len(log) > 1:
        log.append(frame(log.head + 1, size=10 * one))
    assert log.bytes == len(frame(log.head, size=10 * one).wire) + FRAME_OVERHEAD


def test_a_second_form_that_the_log_has_no_room_for_is_built_again_and_not_kept() -> None:
    """Whoever reads all of it at once must not treble it before the next event comes."""
    one = len(frame(10, size=1000).wire) + FRAME_OVERHEAD
    log = EventLog(100, 16 * one, "e")
    frames = [frame(seq, size=1000) for seq in range(10, 26)]
    for each in frames:
        log.append(each)
    kept = [each.json_wire is each.json_wire for each in frames]
    assert kept == 2 * [True] + 14 * [False]
    assert 16 * one < log.bytes <= 18 * one
    log.trim()
    assert log.bytes <= 16 * one


def test_bounds_that_are_drawn_closer_hold_at_the_next_trim() -> None:
    log = log_of(1, 2, 3)
    log.max_bytes = 1
    log.trim()
    assert seqs(log, 0, 9) == [3]
    log.start("f", 9)
    assert log.max_bytes == 1
