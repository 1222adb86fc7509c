"""hub.py: what a stream gets from its first block to its last, and what the hub counts."""

import json

import pytest

from ssecast.channel import PENDING_MAX, SCAN_MAX, Place, Want
from ssecast.frame import Event, Position
from ssecast.hub import ADVANCE_LOOKS, ADVANCES_PER_FLUSH, TICK, Hub, HubOptions
from ssecast.log import EventLog
from tests.properties.fakes import Recorder, RecordingKernel
from tests.sse_parser import EventStreamParser, Message

ALL = Want((">",), chunk=False)
HELLO = "retry: 4000\n\nevent: position\nid: e-%d\ndata:\n\n"


class Pod(Hub):
    """A hub with a kernel that takes notes and a clock that stands."""

    def __init__(self, seq: int = 0, max_events: int = 100, **options: float) -> None:
        self.kernel = RecordingKernel()
        self.wakes = 0
        values = HubOptions(**options)  # type: ignore[arg-type]
        log = EventLog(max_events, 10**9, "e", seq)
        super().__init__(log, self.kernel.write_many, self._woken, lambda short: 100 if short else 4000, values)
        self.tick(0.0)

    def _woken(self) -> None:
        self.wakes += 1

    def join(self, want: Want = ALL, requested: str | None = None, fd: int = -1, expires_at: float = 0.0) -> Recorder:
        sub = Recorder(fd)
        sub.expires_at = expires_at
        self.open(sub, want, requested)
        return sub

    def send(self, *events: tuple[str, int]) -> None:
        for subject, seq in events:
            self.publish(Event(subject, seq, b"x"))

    def round(self, now: float, period: float = 15.0) -> None:
        """Ticks until the wheel has come round."""
        for step in range(round(period / TICK) + 1):
            self.tick(now + step * TICK)


def messages(sub: Recorder) -> list[Message]:
    return EventStreamParser().feed(b"".join(sub.writes))


def ids(sub: Recorder) -> list[str]:
    return [message.id for message in messages(sub)]


def gap(sub: Recorder) -> dict[str, str]:
    """The body of the last gap that a stream was sent."""
    body: dict[str, str] = json.loads([message.data for message in messages(sub) if message.name == "gap"][-1])
    return body


# Opening


def test_a_fresh_stream_is_told_at_once_where_it_starts() -> None:
    pod = Pod(seq=7)
    opened: list[object] = []
    pod.on_open = opened.append
    sub = pod.join()
    assert sub.text == HELLO % 7
    assert (sub.place, pod.streams, pod.opened, pod.resumes["live"], opened) == (Place.LANE, 1, 1, 1, [sub])


def test_streams_that_want_the_same_share_a_channel_and_the_last_one_takes_it_away() -> None:
    pod = Pod()
    one, other, third = pod.join(), pod.join(), pod.join(Want(("a",), chunk=False))
    assert (one.channel, pod.channels) == (other.channel, 2)
    for sub in (one, other, third):
        pod.lost(sub)
    assert (pod.streams, pod.channels, pod.closed["client"]) == (0, 0, 3)
    pod.send(("a", 1))
    assert pod.wakes == 0


def test_a_position_in_memory_is_resumed_without_a_hole() -> None:
    pod = Pod()
    pod.send(("a", 1), ("a", 2), ("a", 3))
    sub = pod.join(requested="e-1")
    assert sub.place is Place.BEHIND
    assert pod.wakes == 1
    pod.flush(1.0)
    assert ids(sub) == ["e-1", "e-2", "e-3"]
    assert (sub.place, pod.resumes["memory"]) == (Place.LANE, 1)


@pytest.mark.parametrize(("requested", "reason"), [("d-3", "epoch"), ("nonsense", "unreadable")])
def test_a_position_of_elsewhere_gets_a_gap_and_then_live(requested: str, reason: str) -> None:
    pod = Pod(seq=5)
    sub = pod.join(requested=requested)
    assert gap(sub) == {"requested": requested, "oldest": "e-5", "next": "e-5", "reason": reason}
    assert sub.text.startswith("retry: 4000\n\n")
    assert (sub.place, pod.gaps[reason], pod.resumes["gap"]) == (Place.LANE, 1, 1)


@pytest.mark.parametrize("seq", [4, 9])
def test_a_position_that_memory_cannot_answer_waits_for_its_resume(seq: int) -> None:
    pod = Pod(seq=5)
    sub = Recorder()
    assert pod.open(sub, ALL, f"e-{seq}") == Position("e", seq)
    assert (sub.place, sub.text) == (Place.WAITING, HELLO % seq)


@pytest.mark.parametrize("epoch", ["f", "10"])
def test_a_position_of_a_later_epoch_waits_for_its_resume(epoch: str) -> None:
    """Another pod may have seen first that the stream was made anew: a gap would be false."""
    pod = Pod(seq=5)
    sub = Recorder()
    assert pod.open(sub, ALL, f"{epoch}-3") == Position(epoch, 3)
    assert sub.place is Place.WAITING
    assert ids(sub) == [f"{epoch}-3"]
    pod.interrupt("epoch", epoch, 0)
    assert "gap" not in sub.text
    pod.resume(sub, 3)
    pod.send(*(("a", seq) for seq in range(1, 6)))
    pod.tick(1.0)
    pod.flush(1.0)
    assert ids(sub) == [f"{epoch}-{seq}" for seq in (3, 4, 5)]


def test_one_that_is_ahead_is_kept_until_the_head_has_passed_it() -> None:
    pod = Pod(seq=5)
    sub = pod.join(requested="e-6")
    pod.resume(sub, 6)
    assert list(sub.channel.ahead) == [sub]
    pod.send(("a", 6))
    pod.flush(1.0)
    pod.tick(1.0)
    assert sub.place is Place.LANE
    pod.send(("a", 7))
    pod.flush(1.1)
    assert ids(sub) == ["e-6", "e-7"]


def segment(*seqs: int, head: int) -> EventLog:
    from_stream = Hub(EventLog(99, 10**9, "e"), lambda *_: [], lambda: None, lambda _: 0)
    for seq in seqs:
        from_stream.publish(Event("a", seq, b"x"))
    from_stream.advance(head)
    return from_stream.log


def test_a_segment_is_sent_first_and_then_the_log() -> None:
    pod = Pod(seq=5)
    sub = pod.join(requested="e-2")
    pod.send(("a", 6))
    pod.resume(sub, 2, segment(1, 2, 3, 4, head=5))
    assert pod.flush(1.0) == 1.0, "the rest is in the log"
    assert pod.flush(1.0) is None
    assert ids(sub) == ["e-2", "e-3", "e-4", "e-6"]
    assert sub.place is Place.LANE


def test_a_segment_that_ends_before_the_log_begins_is_asked_for_again() -> None:
    pod = Pod(seq=5, max_events=1)
    again: list[tuple[object, int]] = []
    pod.on_evicted = lambda sub, cursor: again.append((sub, cursor))
    sub = pod.join(requested="e-2")
    pod.resume(sub, 2, segment(3, head=5))
    pod.send(("a", 6), ("a", 7))
    pod.flush(1.0)
    assert (again, sub.place) == ([(sub, 5)], Place.WAITING)
    pod.resume(sub, 5, segment(6, head=6))
    while pod.flush(1.0):
        pass
    assert ids(sub) == ["e-2", "e-3", "e-6", "e-7"]


def test_without_anybody_to_ask_such_a_stream_is_closed_and_comes_back() -> None:
    pod = Pod(seq=5, max_events=1)
    sub = pod.join(requested="e-2")
    pod.resume(sub, 2, segment(3, head=5))
    pod.send(("a", 6), ("a", 7))
    pod.flush(1.0)
    assert pod.closed["slow"] == 1


def test_a_resume_may_end_in_a_gap() -> None:
    pod = Pod(seq=5)
    sub = pod.join(requested="e-2")
    pod.resume_gap(sub, "e-2", 4, "too_far", segment(5, head=5))
    pod.flush(1.0)
    assert gap(sub) == {"requested": "e-2", "oldest": "e-4", "next": "e-4", "reason": "too_far"}
    assert ids(sub) == ["e-2", "e-4", "e-5"]


def test_what_comes_too_late_for_a_stream_is_passed_over() -> None:
    pod = Pod(seq=5)
    sub = pod.join(requested="e-9")
    pod.lost(sub)
    before = sub.text
    pod.resume(sub, 9)
    pod.resume_gap(sub, "e-9", 5, "ahead")
    pod.unblock(sub)
    pod.close(sub, "age")
    pod.lost(sub)
    assert (sub.text, sub.farewell, pod.closed) == (before, None, {"client": 1})


# Events


def test_an_event_wakes_the_pump_only_where_somebody_wants_it() -> None:
    pod = Pod()
    pod.join(Want(("a",), chunk=False))
    pod.send(("b", 1))
    assert pod.wakes == 0
    pod.send(("a", 2))
    assert (pod.wakes, pod.events) == (1, 2)


def test_events_leave_together_in_one_write() -> None:
    pod = Pod()
    pod.join(fd=3)
    pod.send(("a", 1), ("b", 2))
    assert pod.flush(1.0) is None
    [(fds, wire)] = pod.kernel.writes
    assert fds == [3]
    assert [message.id for message in EventStreamParser().feed(wire)] == ["e-1", "e-2"]


def test_an_event_out_of_order_is_refused_and_changes_nothing() -> None:
    pod = Pod(seq=3)
    pod.join()
    with pytest.raises(ValueError, match="not above"):
        pod.send(("a", 3))
    assert (pod.events, pod.flush(1.0)) == (0, None)


def test_an_interval_holds_events_back_and_says_when_it_is_over() -> None:
    pod = Pod()
    sub = pod.join(ALL._replace(interval=2.0))
    pod.send(("a", 1))
    assert pod.flush(10.0) is None
    pod.send(("a", 2))
    assert pod.flush(10.5) == 12.0
    pod.send(("a", 3))
    assert pod.flush(11.0) == 12.0
    assert ids(sub) == ["e-0", "e-1"]
    assert pod.flush(12.0) is None
    assert ids(sub) == ["e-0", "e-1", "e-2", "e-3"]


def test_too_many_held_back_leave_ahead_of_time_and_are_not_timed_twice() -> None:
    """The timer of the interval stands; it finds what came since, and the interval not over yet."""
    pod = Pod()
    sub = pod.join(ALL._replace(interval=2.0))
    pod.send(("a", 1))
    pod.flush(10.0)
    pod.send(("a", 2))
    assert pod.flush(10.1) == 12.0
    pod.send(*[("a", seq) for seq in range(3, 3 + PENDING_MAX)])
    assert pod.flush(10.2) == 12.0
    assert ids(sub)[-1] == f"e-{2 + PENDING_MAX}"
    pod.send(("a", 9000))
    assert pod.flush(10.3) == 12.0
    assert pod.flush(12.0) == 12.2
    assert pod.flush(12.2) is None
    assert ids(sub)[-1] == "e-9000"


def test_a_timer_that_finds_nothing_does_nothing() -> None:
    pod = Pod()
    sub = pod.join(ALL._replace(interval=2.0))
    pod.send(("a", 1))
    pod.flush(10.0)
    pod.send(("a", 2))
    pod.flush(10.1)
    pod.interrupt("lost", "e", 9)
    before = sub.text
    assert pod.flush(12.0) is None
    assert sub.text == before


def test_a_resume_storm_is_worked_off_in_parts() -> None:
    pod = Pod()
    pod.send(("a", 1))
    subs = [pod.join(requested="e-0") for _ in range(ADVANCES_PER_FLUSH + 1)]
    assert pod.flush(1.0) == 1.0
    assert subs[-1].place is Place.BEHIND
    assert pod.flush(1.0) is None
    assert all(ids(sub) == ["e-0", "e-1"] for sub in subs)


def test_a_long_replay_goes_batch_by_batch() -> None:
    pod = Pod(batch_bytes=1)
    pod.send(("a", 1), ("a", 2))
    sub = pod.join(requested="e-0")
    assert pod.flush(1.0) == 1.0
    assert ids(sub) == ["e-0", "e-1"]
    assert pod.flush(1.0) is None
    assert ids(sub) == ["e-0", "e-1", "e-2"]


# Breaks


def test_a_break_gives_every_live_stream_one_gap_from_the_last_id_it_had() -> None:
    pod = Pod()
    direct, filtered = pod.join(fd=3), pod.join(Want(("x",), chunk=False))
    pod.send(("a", 4))
    pod.interrupt("epoch", "f", 2)
    assert pod.kernel.sent_to(3).startswith("id: e-4\n"), "what was pending is still sent"
    assert gap(direct) == {"requested": "e-4", "oldest": "f-2", "next": "f-2", "reason": "epoch"}
    assert gap(filtered)["requested"] == "e-0"
    assert (direct.place, pod.breaks["epoch"], pod.gaps["epoch"]) == (Place.LANE, 1, 2)


def test_after_a_break_heartbeats_and_gaps_speak_of_the_new_epoch_only() -> None:
    """The channel's last id was of the old epoch, and higher."""
    pod = Pod()
    sub = pod.join()
    pod.send(("a", 90))
    pod.interrupt("epoch", "f", 2)
    pod.advance(5)
    pod.round(1.0)
    assert ids(sub) == ["e-0", "e-90", "f-2", "f-5"]
    pod.interrupt("lost", "f", 9)
    assert gap(sub)["requested"] == "f-5"


def test_a_break_drops_the_rest_of_a_replay_and_leaves_who_waits_alone() -> None:
    pod = Pod()
    pod.send(("a", 1))
    behind, waiting = pod.join(requested="e-0"), pod.join(requested="e-7")
    pod.interrupt("rewind", "e", 0)
    assert gap(behind)["reason"] == "rewind"
    assert (behind.place, waiting.place, pod.flush(1.0)) == (Place.LANE, Place.WAITING, None)
    assert ids(waiting) == ["e-7"]


def test_after_a_rewind_old_batches_are_not_sent_again() -> None:
    """The numbers are used for the second time, with other events."""
    pod = Pod()
    pod.send(("a", 1), ("a", 2))
    assert ids(pod.join(requested="e-0")) == ["e-0"]
    pod.flush(1.0)
    pod.interrupt("rewind", "e", 0)
    pod.publish(Event("a", 1, b"new"))
    pod.advance(2)
    pod.flush(1.0)
    sub = pod.join(requested="e-0")
    pod.flush(1.0)
    assert messages(sub)[-1] == Message("message", "new", "e-1")


def test_no_resume_reaches_behind_a_break() -> None:
    pod = Pod()
    pod.send(("a", 1), ("a", 2))
    pod.interrupt("lost", "e", 9)
    assert pod.open(Recorder(), ALL, "e-8") == Position("e", 8)
    assert pod.open(Recorder(), ALL, "e-9") is None


# Slow streams


def full(pod: Pod, sub: Recorder) -> Recorder:
    """The socket takes nothing any more."""
    sub.full = True
    pod.kernel.short[sub.fd] = 0
    return sub


def test_a_full_socket_is_brought_forward_when_it_takes_something_again() -> None:
    pod = Pod()
    sub = full(pod, pod.join(fd=3))
    pod.send(("a", 1))
    pod.flush(1.0)
    pod.send(("a", 2))
    pod.flush(1.1)
    assert sub in pod.egress.blocked
    assert not pod.egress.ready
    sub.full = sub.blocked = False
    wakes = pod.wakes
    pod.unblock(sub)
    assert pod.wakes == wakes + 1
    pod.flush(1.2)
    assert ids(sub)[1:] == ["e-1", "e-2"]
    assert sub.place is Place.LANE


def test_unblocking_one_that_missed_nothing_needs_no_flush() -> None:
    pod = Pod()
    sub = full(pod, pod.join(fd=3))
    pod.send(("a", 1))
    pod.flush(1.0)
    sub.full = sub.blocked = False
    wakes = pod.wakes
    pod.unblock(sub)
    assert (pod.wakes, sub.place) == (wakes, Place.LANE)


def fall_off(pod: Pod) -> Recorder:
    """A stream whose socket is full while the log goes past its cursor."""
    sub = full(pod, pod.join(fd=3))
    for seq in (1, 2, 3):
        pod.send(("a", seq))
        pod.flush(1.0)
    return sub


def test_one_that_fell_off_the_log_is_closed_at_once_and_counted() -> None:
    pod = Pod(max_events=1)
    sub = fall_off(pod)
    pod.tick(1.1)
    assert (sub.aborted, sub.farewell, pod.closed["slow"]) == (True, None, 1)


def test_one_that_is_writable_again_just_too_late_is_closed_in_good_order() -> None:
    pod = Pod(max_events=1)
    sub = fall_off(pod)
    sub.full = sub.blocked = False
    pod.unblock(sub)
    pod.flush(1.1)
    assert (sub.farewell, pod.closed["slow"]) == (b"retry: 100\n\n", 1)


def test_with_skip_it_jumps_to_the_head_and_is_told_so() -> None:
    pod = Pod(max_events=1, skip_slow=True)
    sub = fall_off(pod)
    pod.tick(99.0)
    sub.full = sub.blocked = False
    pod.unblock(sub)
    pod.flush(99.0)
    assert gap(sub) == {"requested": "e-1", "oldest": "e-2", "next": "e-3", "reason": "slow"}
    assert (sub.place, pod.closed.total()) == (Place.LANE, 0)


def blocked_through_breaks(pod: Pod) -> Recorder:
    """A stream whose socket is full from 10.0 on, while three breaks come."""
    sub = full(pod, pod.join(fd=3))
    pod.send(("a", 1))
    pod.flush(10.0)
    sub.writes.clear()
    for reason, epoch, seq in (("lost", "e", 5), ("epoch", "f", 2), ("rewound", "f", 1)):
        pod.interrupt(reason, epoch, seq)
        pod.publish(Event("a", seq + 1, b"after"))
        pod.flush(11.0)
    return sub


def test_breaks_while_a_socket_is_full_pile_up_nothing_and_become_one_gap() -> None:
    """From the last id that it had in the first epoch to where it goes on in the last one."""
    pod = Pod()
    sub = blocked_through_breaks(pod)
    assert sub.text == ""
    assert not pod.gaps.total()
    sub.full = sub.blocked = False
    pod.unblock(sub)
    pod.flush(12.0)
    assert gap(sub) == {"requested": "e-1", "oldest": "f-1", "next": "f-1", "reason": "rewound"}
    assert ids(sub) == ["f-1", "f-2"]
    assert (sub.place, pod.gaps) == (Place.LANE, {"rewound": 1})
    pod.interrupt("lost", "f", 9)
    assert gap(sub)["requested"] == "f-2"


def test_breaks_do_not_make_a_stalled_socket_young_again() -> None:
    pod = Pod(stall=30.0)
    sub = blocked_through_breaks(pod)
    pod.tick(40.1)
    assert (sub.aborted, pod.closed["stalled"]) == (True, 1)
    pod.interrupt("lost", "f", 9)
    assert sub.text == ""


def test_with_skip_one_gap_tells_of_the_breaks_and_of_what_was_too_much() -> None:
    pod = Pod(max_events=1, skip_slow=True)
    sub = blocked_through_breaks(pod)
    pod.send(("a", 3), ("a", 4))
    pod.flush(13.0)
    sub.full = sub.blocked = False
    pod.unblock(sub)
    pod.flush(14.0)
    assert gap(sub) == {"requested": "e-1", "oldest": "f-3", "next": "f-4", "reason": "rewound"}
    assert (ids(sub), sub.place) == (["f-4"], Place.LANE)


def test_streams_whose_sockets_are_full_can_be_closed_to_save_the_others() -> None:
    pod = Pod()
    stuck, free = full(pod, pod.join(fd=3)), pod.join(fd=4)
    pod.send(("a", 1))
    pod.flush(1.0)
    pod.drop_blocked("memory")
    assert (stuck.aborted, free.place, pod.closed) == (True, Place.LANE, {"memory": 1})


def test_what_an_interval_holds_back_does_not_outlive_the_log() -> None:
    """Or 4,096 large events could stay in memory for every channel, whatever the bound of the log."""
    pod = Pod(max_events=2)
    sub = pod.join(ALL._replace(interval=60.0))
    pod.send(("a", 1))
    pod.flush(10.0)
    pod.send(("a", 2), ("a", 3))
    pod.tick(10.1)
    pod.flush(10.1)
    assert ids(sub) == ["e-0", "e-1"], "the log holds them still"
    pod.send(("a", 4))
    wakes = pod.wakes
    pod.tick(10.2)
    assert pod.wakes == wakes + 1
    pod.flush(10.2)
    assert ids(sub) == ["e-0", "e-1", "e-2", "e-3", "e-4"]


def test_a_stream_that_was_never_opened_can_be_lost() -> None:
    """A connection may fail between its hand-off and its stream."""
    pod = Pod()
    pod.lost(Recorder())
    assert (pod.streams, pod.closed.total()) == (0, 0)


def test_one_that_takes_nothing_for_long_is_stalled_even_with_nothing_to_send() -> None:
    pod = Pod(stall=30.0)
    sub = full(pod, pod.join(fd=3))
    pod.send(("a", 1))
    pod.flush(10.0)
    pod.tick(39.0)
    assert not sub.aborted
    pod.tick(40.1)
    assert (sub.aborted, pod.closed["stalled"]) == (True, 1)


# Time


def test_a_stream_that_was_sent_nothing_gets_a_comment_once_per_period() -> None:
    pod = Pod(seq=5)
    sub, direct = pod.join(), pod.join(fd=3)
    pod.round(0.0)
    assert sub.text == HELLO % 5 + ":\n\n"
    assert pod.kernel.sent_to(3) == ":\n\n"
    assert direct.place is Place.LANE


def test_the_heartbeat_is_a_position_where_the_head_has_moved_past_the_last_id() -> None:
    pod = Pod(seq=5)
    sub, direct = pod.join(Want(("x",), chunk=False)), pod.join(Want(("x",), chunk=False), fd=3)
    pod.send(("a", 6))
    pod.round(0.0)
    assert ids(sub) == ["e-5", "e-6"]
    assert pod.kernel.sent_to(3) == "event: position\nid: e-6\ndata:\n\n"
    pod.round(16.0)
    assert ids(sub) == ["e-5", "e-6"]
    assert direct.told == 6


def test_live_events_are_heartbeat_enough() -> None:
    pod = Pod()
    sub = pod.join()
    pod.send(("a", 1))
    pod.flush(10.0)
    pod.round(0.0)
    assert ":\n\n" not in sub.text.replace("data:\n\n", "")


def test_no_heartbeat_runs_ahead_of_what_an_interval_holds_back() -> None:
    pod = Pod()
    sub = pod.join(Want(("a",), interval=60.0, chunk=False))
    pod.send(("a", 1))
    pod.flush(0.0)
    pod.send(("a", 2), ("b", 3))
    pod.flush(0.0)
    pod.round(0.0)
    assert ids(sub) == ["e-0", "e-1"]


def test_one_that_waits_for_its_resume_is_kept_alive_unless_its_socket_is_full() -> None:
    pod = Pod(seq=5)
    sub, stuck = pod.join(requested="e-1"), pod.join(requested="e-1")
    stuck.blocked = True
    pod.round(0.0)
    assert sub.text == HELLO % 1 + ":\n\n"
    assert stuck.text == HELLO % 1


def test_one_that_is_ahead_of_a_pod_that_stands_still_is_kept_alive() -> None:
    """A comment, for a position would lead its client back."""
    pod = Pod(seq=5)
    sub, stuck = pod.join(requested="e-6"), pod.join(requested="e-6")
    for each in (sub, stuck):
        pod.resume(each, 6)
    stuck.blocked = True
    pod.round(0.0)
    assert sub.text == HELLO % 6 + ":\n\n"
    assert stuck.text == HELLO % 6


def test_a_socket_that_fills_up_at_its_heartbeat_leaves_the_lane() -> None:
    pod = Pod()
    sub = full(pod, pod.join(fd=3))
    pod.round(0.0)
    assert (sub.place, sub.writes[-1]) == (Place.PARKED, b":\n\n")


def test_an_old_stream_is_closed_with_a_short_retry() -> None:
    pod = Pod()
    plain, chunked = pod.join(expires_at=1.0), pod.join(Want((">",)), expires_at=1.0)
    closed: list[str] = []
    pod.on_close = closed.append
    pod.tick(0.5)
    assert not closed
    pod.tick(1.0)
    assert plain.farewell == b"retry: 100\n\n"
    assert chunked.farewell == b"c\r\nretry: 100\n\n\r\n0\r\n\r\n"
    assert (closed, pod.closed["age"]) == (["age", "age"], 2)


def test_a_drain_closes_everyone_within_its_window_and_can_be_taken_back() -> None:
    pod = Pod()
    subs = [pod.join() for _ in range(4)]
    pod.departures.drain(0.0, 4.0)
    assert pod.is_draining
    pod.tick(2.0)
    assert pod.closed["drain"] == 2
    pod.departures.undrain()
    pod.tick(9.0)
    assert (pod.streams, pod.is_draining) == (2, False)
    pod.departures.drain(9.0, 0.0)
    pod.tick(9.0)
    assert all(sub.farewell == b"retry: 100\n\n" for sub in subs)
    assert pod.cut == 0


def test_a_drain_does_not_cut_a_stream_in_the_middle_of_a_batch() -> None:
    pod = Pod()
    reads_on, stuck = pod.join(), pod.join()
    for sub in (reads_on, stuck):
        sub.full = True
    pod.send(("a", 1))
    pod.flush(0.0)
    pod.departures.drain(0.0, 10.0)
    pod.tick(9.0)
    assert pod.streams == 2
    reads_on.full = reads_on.blocked = False
    pod.unblock(reads_on)
    assert (reads_on.farewell, pod.closed["drain"], pod.cut) == (b"retry: 100\n\n", 1, 0)
    assert reads_on not in pod.departures.leaving
    pod.tick(10.0 - TICK)
    assert (stuck.farewell, stuck.aborted, pod.closed["drain"], pod.cut) == (None, True, 2, 1)


def test_a_stream_that_ended_by_itself_is_not_waited_for() -> None:
    """Whatever stands in a plan or is about to leave is forgotten with its connection."""
    pod = Pod()
    sub = pod.join(expires_at=5.0)
    sub.full = sub.blocked = True
    pod.departures.drain(0.0, 10.0)
    pod.tick(6.0)
    assert sub in pod.departures.leaving
    pod.lost(sub)
    assert not pod.departures.leaving
    pod.tick(99.0)
    assert (pod.closed, sub.farewell, sub.aborted) == ({"client": 1}, None, False)


def test_a_shed_closes_the_oldest() -> None:
    pod = Pod()
    subs = [pod.join() for _ in range(4)]
    pod.departures.shed(0.0, 2, 1.0)
    pod.tick(1.0)
    assert [bool(sub.farewell) for sub in subs] == [True, True, False, False]
    assert pod.closed["shed"] == 2


def test_kept_batches_do_not_outlive_the_replays() -> None:
    """They hold on to the segments of finished backfills."""
    pod = Pod()
    pod.send(("a", 1))
    for _ in range(ADVANCES_PER_FLUSH + 1):
        pod.join(requested="e-0")
    pod.flush(1.0)
    pod.tick(1.0)
    assert pod.egress.batches
    pod.flush(1.0)
    pod.tick(1.1)
    assert not pod.egress.batches


def test_a_replay_that_waits_for_its_turn_is_looked_up_again_when_the_log_was_faster() -> None:
    """Slow is who does not read. Who only waited behind hundreds of others must not pay for it."""
    pod = Pod(max_events=5)
    again: list[tuple[object, int]] = []
    pod.on_evicted = lambda sub, cursor: again.append((sub, cursor))
    pod.send(*[("a", seq) for seq in range(1, 6)])
    subs = [pod.join(requested="e-1") for _ in range(ADVANCES_PER_FLUSH + 10)]
    pod.flush(1.0)
    pod.send(*[("a", seq) for seq in range(6, 20)])
    pod.flush(1.1)
    assert again == [(sub, 1) for sub in subs[ADVANCES_PER_FLUSH:]]
    assert all(sub.place is Place.WAITING for sub in subs[ADVANCES_PER_FLUSH:])
    assert not pod.closed


def test_one_flush_looks_at_so_many_frames_and_live_events_come_first() -> None:
    """A client may ask for subjects that nothing has, and every look costs the time of all others."""
    pod = Pod(max_events=4 * SCAN_MAX)
    pod.send(*[("a.b", seq) for seq in range(1, 3 * SCAN_MAX + 1)])
    live = pod.join()
    for number in range(20):
        pod.join(Want((f"a.{number}.*",)), "e-0")
    pod.send(("a.b", 3 * SCAN_MAX + 1))
    looked = 0
    while pod.flush(0.0) is not None:
        assert ids(live)[-1] == f"e-{3 * SCAN_MAX + 1}"
        assert pod.egress.looked - looked <= ADVANCE_LOOKS + 2 * SCAN_MAX
        looked = pod.egress.looked
    assert pod.egress.looked >= 20 * 3 * SCAN_MAX


def test_while_an_interval_holds_events_back_the_heartbeat_is_a_comment() -> None:
    pod = Pod(heartbeat=1.0)
    sub = pod.join(Want((">",), interval=60.0, chunk=False))
    pod.send(("a", 1))
    pod.flush(0.0)
    pod.send(("a", 2))
    pod.flush(0.1)
    sub.writes.clear()
    pod.round(2.0, period=1.0)
    assert sub.text
    assert not sub.text.replace(":\n\n", "")


@pytest.mark.parametrize("skip_slow", [False, True])
def test_who_falls_off_the_log_while_its_socket_is_full_is_slow_even_if_it_reads_again(skip_slow: bool) -> None:
    """Judged when the socket takes bytes again: otherwise a reader that dawdles would have a backfill for every batch."""
    pod = Pod(max_events=3, skip_slow=skip_slow)
    sub = pod.join()
    sub.full = True
    pod.send(("a", 1))
    pod.flush(1.0)
    pod.send(*[("a", seq) for seq in range(2, 10)])
    pod.flush(1.1)
    sub.full = sub.blocked = False
    pod.unblock(sub)
    assert pod.closed["slow"] == (0 if skip_slow else 1)
    assert pod.gaps["slow"] == (1 if skip_slow else 0)


def test_replays_leave_room_for_live_events_after_a_megabyte() -> None:
    pod = Pod(batch_bytes=10**6)
    pod.publish(Event("a", 1, b"x" * 600_000))
    subs = [pod.join(requested="e-0") for _ in range(4)]
    assert pod.flush(1.0) == 1.0
    assert [sub.place for sub in subs] == [Place.LANE] * 2 + [Place.BEHIND] * 2
    pod.flush(1.0)
    assert all(sub.place is Place.LANE for sub in subs)


# Tokens


def test_a_stream_ends_for_its_token_in_time_with_a_short_retry() -> None:
    pod = Pod()
    short, long, without = pod.join(), pod.join(), pod.join()
    pod.end_by(short, 10.25)
    pod.end_by(long, 20.0)
    pod.tick(10.1)
    assert short.farewell is None
    pod.tick(10.21)
    assert short.farewell == b"retry: 100\n\n"
    assert pod.closed == {"token": 1}
    pod.tick(20.0)
    assert (long.farewell, without.farewell) == (b"retry: 100\n\n", None)
    assert pod.closed == {"token": 2}


def test_a_stream_that_is_gone_needs_no_end() -> None:
    pod = Pod()
    sub = pod.join()
    pod.end_by(sub, 10.0)
    pod.lost(sub)
    pod.end_by(sub, 5.0)
    pod.tick(30.0)
    assert (pod.closed, len(pod.expiry)) == ({"client": 1}, 0)


def test_a_stream_that_takes_nothing_ends_for_its_token_all_the_same() -> None:
    pod = Pod()
    sub = pod.join()
    sub.blocked = True
    pod.end_by(sub, 1.0)
    pod.tick(1.0)
    assert sub.aborted


@pytest.mark.parametrize("skip_slow", [False, True])
def test_a_backfill_that_is_taken_back_leaves_its_readers_on_the_log_or_looked_up_again(skip_slow: bool) -> None:
    """Who reads waits for the next backfill, who does not is slow, and nothing holds on to the old one."""
    pod = Pod(seq=50, max_events=3, skip_slow=skip_slow)
    again: list[tuple[object, int]] = []
    pod.on_evicted = lambda sub, cursor: again.append((sub, cursor))
    segment = EventLog(100, 10**9, "e", 10)
    pod.send(*[("a", seq) for seq in range(51, 60)])
    pod.flush(1.0)
    reads, full, near = (pod.join(requested=f"e-{seq}") for seq in (11, 11, 58))
    full.full = True
    full.write(b"x")
    for sub in (reads, full):
        pod.resume(sub, 11, segment)
    pod.take_back(segment)
    assert all(sub.log is pod.log for sub in (reads, full, near))
    assert not pod.egress.batches
    pod.flush(1.1)
    assert again == [(reads, 11)]
    assert reads.place is Place.WAITING
    full.full = full.blocked = False
    pod.unblock(full)
    assert pod.closed["slow"] == (0 if skip_slow else 1)
    assert pod.gaps["slow"] == (1 if skip_slow else 0)
    assert "e-59" in ids(near)
