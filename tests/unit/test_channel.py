"""channel.py: who stands where, and what a flush and a batch write. The log is real, the sockets only take notes."""

import pytest

from ssecast.channel import BATCHES_KEPT, PENDING_MAX, SCAN_MAX, Channel, Egress, Place, Subscriber, Want
from ssecast.frame import Event, Format, Frame
from ssecast.log import EventLog
from tests.properties.fakes import Recorder, RecordingKernel
from tests.sse_parser import EventStreamParser


class Desk:
    """One channel above a log, and a kernel that takes notes."""

    def __init__(self, want: Want, batch_bytes: int = 10**6, max_events: int = 10**6) -> None:
        self.kernel = RecordingKernel()
        self.log = EventLog(max_events, 10**12, "e")
        self.egress = Egress(self.kernel.write_many, batch_bytes)
        self.channel = Channel(want, self.log, self.egress)

    def append(self, subject: str, seq: int, data: bytes = b"") -> Frame:
        frame = Frame(Event(subject, seq, data), "e")
        self.log.append(frame)
        return frame

    def publish(self, subject: str, seq: int, data: bytes = b"") -> bool:
        return self.channel.publish(self.append(subject, seq, data))

    def join(self, fd: int = -1, full: bool = False) -> Recorder:
        sub = Recorder(fd, full)
        sub.blocked = full
        sub.channel = self.channel
        self.channel.place(sub, self.channel.sent)
        return sub

    def behind(self, cursor: int, log: EventLog | None = None) -> Recorder:
        sub = Recorder()
        sub.log, sub.cursor, sub.channel = log or self.log, cursor, self.channel
        self.channel.put_behind(sub)
        return sub


def plain(*subjects: str, latest: bool = False, interval: float = 0.0) -> Want:
    return Want(subjects or (">",), latest=latest, interval=interval, chunk=False)


def ids(text: str) -> list[str]:
    return [message.id for message in EventStreamParser().feed(text.encode())]


def test_a_flush_writes_the_same_bytes_once_to_the_whole_lane() -> None:
    desk = Desk(plain())
    desk.join(3), desk.join(4)
    third = desk.join()
    desk.publish("a", 1)
    desk.publish("b", 2)
    desk.channel.flush()
    [(fds, wire)] = desk.kernel.writes
    assert fds == [3, 4]
    assert ids(wire.decode()) == ids(third.text) == ["e-1", "e-2"]
    assert (desk.egress.frames, desk.egress.bytes) == (6, 3 * len(wire))
    assert desk.channel.told == 2


def test_chunked_channels_send_one_chunk_per_flush() -> None:
    desk = Desk(Want((">",), format=Format.JSON))
    desk.join(3)
    desk.publish("a", 1)
    desk.publish("a", 2)
    desk.channel.flush()
    size, _, rest = desk.kernel.sent_to(3).partition("\r\n")
    assert len(rest) == int(size, 16) + 2
    assert rest.count('"subject":"a"') == 2


def test_the_hub_is_told_only_of_the_first_pending_frame_and_of_too_many() -> None:
    desk = Desk(plain(interval=10.0))
    desk.channel.due = 99.0
    told = [desk.publish("a", seq) for seq in range(1, PENDING_MAX + 2)]
    assert [at for at, each in enumerate(told) if each] == [0, PENDING_MAX - 1]
    assert desk.channel.due == 0.0


def test_a_flush_sets_the_time_of_the_next() -> None:
    desk = Desk(plain(interval=2.5))
    desk.egress.now = 10.0
    desk.publish("a", 1)
    assert desk.channel.pending
    assert desk.channel.sent == 0
    desk.channel.flush()
    assert (desk.channel.due, desk.channel.flushed_at, desk.channel.pending, desk.channel.sent) == (
        12.5,
        10.0,
        False,
        1,
    )


def test_what_a_socket_does_not_take_goes_to_its_transport_and_it_leaves_the_lane() -> None:
    desk = Desk(plain())
    slow, quick = desk.join(3), desk.join(4)
    slow.full = True
    desk.kernel.short = {3: 5, 4: 7}
    desk.publish("a", 1)
    desk.channel.flush()
    wire = desk.kernel.writes[0][1]
    assert slow.writes == [wire[5:]]
    assert quick.writes == [wire[7:]]
    assert (slow.place, quick.place, slow.told) == (Place.PARKED, Place.LANE, 1)
    assert list(desk.channel.lane) == [4]
    assert slow in desk.egress.blocked


def test_a_parked_subscriber_returns_to_the_lane_when_nothing_was_missed() -> None:
    desk = Desk(plain())
    sub = desk.join(3, full=True)
    assert sub.place is Place.PARKED
    sub.blocked = False
    desk.channel.unblock(sub)
    assert (sub.place, desk.channel.lane) == (Place.LANE, {3: sub})
    assert not desk.egress.blocked
    assert not desk.channel.parked


def test_a_parked_subscriber_that_misses_a_flush_gets_a_cursor_and_goes_on_from_it() -> None:
    desk = Desk(plain())
    sub = desk.join(3, full=True)
    desk.publish("a", 4)
    desk.channel.flush()
    assert (sub.place, sub.cursor, sub in desk.egress.ready) == (Place.BEHIND, 3, False)
    sub.blocked = sub.full = False
    desk.channel.unblock(sub)
    assert sub in desk.egress.ready
    assert desk.channel.advance(sub)
    assert (ids(sub.text), sub.cursor, sub.told) == (["e-4"], 4, 4)


def test_unblocking_one_that_still_waits_for_its_resume_changes_nothing() -> None:
    desk = Desk(plain())
    sub = Recorder()
    sub.place = Place.WAITING
    desk.channel.unblock(sub)
    assert sub.place is Place.WAITING
    assert not desk.egress.ready


def test_a_subscriber_is_placed_by_its_cursor() -> None:
    desk = Desk(plain())
    desk.append("a", 5)
    subs = [Recorder() for _ in range(3)]
    for sub, cursor in zip(subs, (4, 5, 6), strict=True):
        desk.channel.place(sub, cursor)
    assert [sub.place for sub in subs] == [Place.BEHIND, Place.LANE, Place.AHEAD]


def test_one_ahead_joins_the_lane_when_the_head_comes_to_its_place() -> None:
    desk = Desk(plain())
    near, far = Recorder(), Recorder()
    desk.channel.place(near, 2)
    desk.channel.place(far, 9)
    desk.log.advance(2)
    desk.channel.promote_ahead()
    assert (near.place, far.place) == (Place.LANE, Place.AHEAD)


def test_one_ahead_is_sent_nothing_twice_and_nothing_too_little() -> None:
    desk = Desk(plain())
    sub, far = Recorder(), Recorder()
    desk.channel.place(sub, 2)
    desk.channel.place(far, 3)
    for seq in (1, 2, 3):
        desk.publish("a", seq)
    desk.channel.flush()
    assert (sub.place, far.place) == (Place.BEHIND, Place.AHEAD)
    desk.channel.advance(sub)
    assert ids(sub.text) == ["e-3"]


def test_taking_out_removes_from_every_place_and_never_another_one_with_the_same_descriptor() -> None:
    desk = Desk(plain())
    old, new = Recorder(3), desk.join(3)
    desk.channel.take_out(old)
    assert desk.channel.lane == {3: new}
    desk.channel.take_out(new)
    assert desk.channel.lane == {}


def test_a_batch_is_bounded_but_holds_at_least_one_event() -> None:
    desk = Desk(plain(), batch_bytes=1)
    desk.append("a", 1, b"x" * 50)
    desk.append("a", 3, b"x" * 50)
    sub = desk.behind(0)
    assert not desk.channel.advance(sub)
    assert (ids(sub.text), sub.cursor, sub.told) == (["e-1"], 1, 1)
    assert desk.channel.advance(sub)
    assert (ids(sub.text), sub.cursor, sub.told) == (["e-1", "e-3"], 3, 3)


def test_a_flush_is_cut_into_batches_and_who_drops_out_goes_on_with_the_next() -> None:
    desk = Desk(plain(), batch_bytes=1)
    sub = desk.join(3)
    sub.full = True
    desk.kernel.short = {3: 0}
    for seq in (1, 3):
        desk.publish("a", seq)
    desk.channel.flush()
    assert ids(sub.text) == ["e-1"]
    assert (sub.place, sub.cursor, sub.told) == (Place.BEHIND, 2, 1)


def test_a_batch_is_read_once_for_all_that_stand_at_one_cursor() -> None:
    desk = Desk(plain())
    desk.append("a", 1)
    one, other = desk.behind(0), desk.behind(0)
    desk.channel.advance(one)
    desk.channel.advance(other)
    assert one.writes[0] is other.writes[0]
    assert len(desk.egress.batches) == 1


def test_kept_batches_are_bounded() -> None:
    desk = Desk(plain())
    desk.append("a", 1000)
    for cursor in range(BATCHES_KEPT + 1):
        desk.channel.advance(desk.behind(cursor))
    assert len(desk.egress.batches) == 1


def test_a_filter_that_matches_nothing_moves_the_cursor_and_writes_nothing() -> None:
    for want in (plain("x"), plain("x.*")):
        desk = Desk(want)
        desk.append("a", 1)
        sub = desk.behind(0)
        assert desk.channel.advance(sub)
        assert (sub.writes, sub.cursor, sub.told) == ([], 1, 0)


def test_nothing_left_is_nothing_to_do() -> None:
    desk = Desk(plain())
    sub = desk.behind(0)
    assert desk.channel.advance(sub)
    assert sub.writes == []


def test_exact_subjects_are_merged_in_order() -> None:
    desk = Desk(plain("a", "b"))
    for seq, subject in enumerate("bacab", start=1):
        desk.append(subject, seq)
    sub = desk.behind(0)
    desk.channel.advance(sub)
    assert ids(sub.text) == ["e-1", "e-2", "e-4", "e-5"]


def test_one_batch_looks_at_a_bounded_part_of_the_log() -> None:
    desk = Desk(plain("x.*"))
    for seq in range(1, SCAN_MAX + 1):
        desk.append("a", seq)
    desk.append("x.y", SCAN_MAX + 1)
    sub = desk.behind(0)
    assert not desk.channel.advance(sub)
    assert (sub.cursor, sub.writes) == (SCAN_MAX, [])
    assert desk.channel.advance(sub)
    assert ids(sub.text) == [f"e-{SCAN_MAX + 1}"]


def test_latest_sends_the_newest_of_each_subject_in_order() -> None:
    desk = Desk(plain(latest=True))
    desk.join(3)
    for seq, subject in enumerate("abca", start=1):
        desk.publish(subject, seq)
    desk.channel.flush()
    late = desk.behind(0)
    desk.channel.advance(late)
    assert ids(desk.kernel.sent_to(3)) == ids(late.text) == ["e-2", "e-3", "e-4"]


@pytest.mark.parametrize("pattern", [">", "a"])
def test_latest_reads_part_by_part_and_sends_nothing_that_is_out_of_date(pattern: str) -> None:
    desk = Desk(plain(pattern, latest=True))
    for seq in range(1, SCAN_MAX + 2):
        desk.append("a", seq)
    sub = desk.behind(0)
    assert not desk.channel.advance(sub)
    assert (sub.cursor, sub.writes) == (SCAN_MAX, [])
    assert desk.channel.advance(sub)
    assert ids(sub.text) == [f"e-{SCAN_MAX + 1}"]


def test_a_subject_with_many_frames_is_read_part_by_part() -> None:
    """From its newest frame backwards would be the whole way for every batch."""
    desk = Desk(plain("a", "b"))
    for seq in range(1, SCAN_MAX + 1):
        desk.append("ab"[seq % 2], seq)
    desk.append("b", SCAN_MAX + 1)
    sub = desk.behind(0)
    assert not desk.channel.advance(sub)
    assert sub.cursor == SCAN_MAX
    assert desk.channel.advance(sub)
    assert ids(sub.text) == [f"e-{seq}" for seq in range(1, SCAN_MAX + 2)]


def test_a_segment_is_read_only_as_far_as_the_lane_has_come() -> None:
    desk = Desk(plain())
    segment = EventLog(99, 10**9, "e")
    for seq in (1, 2, 3):
        segment.append(Frame(Event("a", seq, b""), "e"))
    desk.append("a", 1)
    desk.publish("a", 2)
    sub = desk.behind(0, segment)
    assert desk.channel.advance(sub)
    assert ids(sub.text) == ["e-1"], "what is pending will be flushed to it"


def test_blocks_go_to_some_of_the_lane_and_a_full_socket_keeps_its_rest() -> None:
    desk = Desk(Want((">",)))
    for fd in (3, 4, 5):
        desk.join(fd)
    slow = desk.channel.lane[4]
    desk.kernel.short = {4: 2}
    desk.channel.send_some([3, 4], b"block")
    assert desk.kernel.writes == [([3, 4], b"5\r\nblock\r\n")]
    assert isinstance(slow, Recorder)
    assert slow.writes == [b"\nblock\r\n"]


def test_a_block_to_one_without_a_descriptor_is_framed_alike() -> None:
    desk = Desk(Want((">",)))
    sub = desk.join()
    desk.channel.send_to(sub, b"block")
    assert sub.writes == [b"5\r\nblock\r\n"]


def test_a_bare_subscriber_has_no_effects_of_its_own() -> None:
    sub = Subscriber()
    with pytest.raises(NotImplementedError):
        sub.write(b"")
    with pytest.raises(NotImplementedError):
        sub.end(b"")
    with pytest.raises(NotImplementedError):
        sub.abort()
