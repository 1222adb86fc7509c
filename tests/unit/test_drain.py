"""drain.py: who is closed when, and what orders mean when they are repeated or meet each other."""

import pytest

from ssecast.channel import Place, Subscriber
from ssecast.drain import PATIENCE, Ages, Closing, Departures
from tests.properties.fakes import Recorder


def subs_in(*places: Place) -> list[Subscriber]:
    subs: list[Subscriber] = []
    for place in places:
        sub = Recorder()
        sub.place = place
        subs.append(sub)
    return subs


class Pod(Departures):
    """Departures above streams that note why they ended."""

    def __init__(self, *places: Place) -> None:
        self.subs = subs_in(*places)
        self.closed: list[tuple[Subscriber, str]] = []
        super().__init__(self._open, self._end)

    def _open(self) -> list[Subscriber]:
        return [sub for sub in self.subs if sub.place is not Place.GONE]

    def _end(self, sub: Subscriber, reason: str) -> None:
        self.remove(sub)
        sub.place = Place.GONE
        self.closed.append((sub, reason))

    def at(self, now: float) -> int:
        """How many are closed by then."""
        self.close_due(now)
        return len(self.closed)

    @property
    def reasons(self) -> list[str]:
        return [reason for _, reason in self.closed]


# A window


def test_closes_are_spread_uniformly_over_the_window() -> None:
    closing, subs = Closing(), subs_in(*[Place.LANE] * 4)
    closing.spread(subs, 100.0, 8.0)
    assert [len(list(closing.due(100.0 + second))) for second in range(9)] == [0, 1, 0, 1, 0, 1, 0, 1, 0]
    assert (closing.left, closing.deadline) == (0, 108.0)


def test_a_late_look_closes_all_that_it_missed() -> None:
    closing, subs = Closing(), subs_in(*[Place.LANE] * 4)
    closing.spread(subs, 100.0, 8.0)
    assert list(closing.due(105.5)) == subs[:3]
    assert list(closing.due(200.0)) == subs[3:]


def test_streams_in_a_replay_come_last_and_the_rate_stays() -> None:
    closing, subs = Closing(), subs_in(Place.BEHIND, Place.LANE, Place.WAITING, Place.PARKED, Place.AHEAD, Place.LANE)
    subs[5].blocked = True
    closing.spread(subs, 0.0, 6.0)
    closed = [list(closing.due(second + 0.5)) for second in range(6)]
    assert closed == [[subs[at]] for at in (1, 3, 4, 0, 2, 5)]


def test_a_replay_that_has_ended_is_no_reason_to_wait() -> None:
    """What counts is where a stream stands when its time has come, not when the plan was made."""
    closing, subs = Closing(), subs_in(Place.BEHIND, Place.LANE)
    closing.spread(subs, 0.0, 2.0)
    subs[0].place, subs[1].place = Place.LANE, Place.BEHIND
    assert [list(closing.due(at)) for at in (0.5, 1.5)] == [subs[:1], subs[1:]]


def test_the_slot_of_a_stream_that_ended_by_itself_stays_empty() -> None:
    closing, subs = Closing(), subs_in(Place.LANE, Place.BEHIND, Place.LANE, Place.LANE)
    closing.spread(subs, 0.0, 4.0)
    subs[0].place = Place.GONE
    assert closing.left == 3
    assert [list(closing.due(at)) for at in (0.5, 1.5)] == [[], [subs[2]]]
    subs[1].place = Place.GONE
    assert [list(closing.due(at)) for at in (2.5, 3.5, 4.0)] == [[subs[3]], [], []]


def test_at_the_deadline_everybody_goes_who_is_left() -> None:
    closing, subs = Closing(), subs_in(Place.LANE, Place.BEHIND, Place.GONE)
    closing.spread(subs, 0.0, 3.0)
    [late] = subs_in(Place.LANE)
    closing.join(late)
    assert list(closing.due(3.0)) == [subs[0], subs[1], late]
    assert closing.is_over(3.0)
    [later] = subs_in(Place.LANE)
    closing.join(later)
    assert list(closing.due(3.1)) == [later]


def test_a_second_window_replaces_the_first() -> None:
    closing, subs = Closing(), subs_in(*[Place.LANE] * 2)
    closing.spread(subs, 0.0, 100.0)
    closing.spread(subs, 0.0, 0.0)
    assert list(closing.due(0.0)) == subs


def test_a_window_that_begins_later_closes_nobody_before() -> None:
    closing, subs = Closing(), subs_in(*[Place.LANE] * 2)
    closing.spread(subs, 10.0, 4.0)
    assert [len(list(closing.due(at))) for at in (9.9, 10.9, 11.0, 13.0)] == [0, 0, 1, 1]
    closing.spread(subs, 20.0, 0.0)
    assert [len(list(closing.due(at))) for at in (19.9, 20.0)] == [0, 2]


def test_a_cancelled_plan_closes_nobody() -> None:
    closing = Closing()
    closing.spread(subs_in(Place.LANE), 0.0, 1.0)
    closing.cancel()
    assert (list(closing.due(9.0)), closing.left, closing.deadline) == ([], 0, None)


def test_nobody_to_close_is_no_error() -> None:
    closing = Closing()
    closing.spread([], 0.0, 1.0)
    assert [list(closing.due(at)) for at in (0.9, 9.0)] == [[], []]


# Ages


def aged(*ends: float) -> tuple[Ages, list[Subscriber]]:
    ages, subs = Ages(), subs_in(*[Place.LANE] * len(ends))
    for sub, end in zip(subs, ends, strict=True):
        sub.expires_at = end
        ages.add(sub)
    return ages, subs


def test_a_stream_is_due_when_its_age_is_over_and_not_before() -> None:
    ages, subs = aged(12.75, 12.25, 40.0, 0.0)
    assert list(ages.due(12.0)) == []
    assert list(ages.due(12.3)) == [subs[1]]
    assert list(ages.due(12.8)) == [subs[0]]
    assert list(ages.due(39.9)) == []
    assert list(ages.due(50.0)) == [subs[2]]
    assert list(ages.due(1e9)) == []


def test_a_stream_that_ended_is_forgotten() -> None:
    ages, subs = aged(12.75, 12.25)
    ages.remove(subs[0])
    assert list(ages.due(13.0)) == [subs[1]]
    ages.remove(subs[1])
    assert list(ages.due(99.0)) == []


def test_a_second_that_is_used_up_can_be_used_again() -> None:
    """A clock that stands still, as far as the pod can see."""
    ages, _ = aged(12.75)
    assert len(list(ages.due(13.0))) == 1
    [late] = subs_in(Place.LANE)
    late.expires_at = 12.9
    ages.add(late)
    assert list(ages.due(13.0)) == [late]


def test_a_window_begins_after_its_delay_and_the_time_before_another_window_counts() -> None:
    """Until nobody is sent here any more: who is closed earlier may come back to the same pod."""
    pod = Pod(*[Place.LANE] * 4)
    pod.drain(0.0, 4.0, 3.0)
    assert pod.is_draining
    assert [pod.at(2.9), pod.at(3.6), pod.at(4.5)] == [0, 1, 2]
    pod.drain(4.5, 1.0, 3.0)
    assert [pod.at(4.8), pod.at(5.5)] == [3, 4]


def test_a_pod_that_stops_waits_for_no_delay() -> None:
    pod = Pod(*[Place.LANE] * 2)
    pod.stop(0.0, 0.0, 2.0)
    pod.drain(0.0, 5.0, 60.0)
    assert pod.at(2.0) == 2


# Leaving in good order


def test_a_stream_whose_socket_is_full_leaves_when_it_has_taken_what_waits() -> None:
    pod = Pod(Place.PARKED)
    pod.subs[0].blocked = True
    pod.drain(0.0, 10.0)
    assert pod.at(5.0) == 0
    assert pod.leaving[pod.subs[0]].reason == "drain"


@pytest.mark.parametrize(("order", "reason"), [("drain", "drain"), ("shed", "shed")])
def test_at_the_deadline_it_is_cut(order: str, reason: str) -> None:
    pod = Pod(Place.PARKED)
    pod.subs[0].blocked = True
    pod.drain(0.0, 10.0) if order == "drain" else pod.shed(0.0, 1, 10.0)
    assert [pod.at(5.0), pod.at(9.9), pod.at(10.0)] == [0, 0, 1]
    assert pod.reasons == [reason]
    assert not pod.leaving


def test_one_whose_age_is_over_is_given_some_patience() -> None:
    pod = Pod(Place.PARKED, Place.LANE)
    pod.subs[0].blocked = True
    for sub in pod.subs:
        sub.expires_at = 10.0
        pod.add(sub)
    assert [pod.at(9.9), pod.at(10.0), pod.at(10.0 + PATIENCE - 0.1), pod.at(10.0 + PATIENCE)] == [0, 1, 1, 2]
    assert pod.reasons == ["age", "age"]


def test_an_age_that_is_over_stays_over_when_a_drain_is_taken_back() -> None:
    pod = Pod(Place.PARKED)
    [sub] = pod.subs
    sub.blocked, sub.expires_at = True, 6.0
    pod.add(sub)
    pod.drain(0.0, 10.0)
    pod.close_due(5.0)
    pod.close_due(6.0)
    pod.undrain()
    assert pod.leaving[sub] == ("age", 6.0 + PATIENCE, 6.0 + PATIENCE)
    pod.drain(6.0, 1.0)
    assert pod.at(7.0) == 1
    assert pod.reasons == ["age"]


def test_who_is_about_to_leave_may_stay_when_the_drain_is_taken_back() -> None:
    pod = Pod(Place.PARKED)
    pod.subs[0].blocked = True
    pod.drain(0.0, 10.0)
    pod.close_due(5.0)
    pod.undrain()
    assert not pod.leaving
    assert pod.at(99.0) == 0


def test_who_is_about_to_leave_gets_the_time_of_a_longer_window() -> None:
    pod = Pod(Place.PARKED)
    pod.subs[0].blocked = True
    pod.drain(0.0, 10.0)
    pod.close_due(5.0)
    pod.drain(6.0, 100.0)
    assert not pod.leaving
    assert [pod.at(10.0), pod.at(105.9), pod.at(106.0)] == [0, 0, 1]


def test_a_stream_that_ended_is_held_by_nothing() -> None:
    pod = Pod(Place.PARKED)
    [sub] = pod.subs
    sub.blocked, sub.expires_at = True, 50.0
    pod.add(sub)
    pod.drain(0.0, 10.0)
    pod.close_due(5.0)
    pod.remove(sub)
    assert not pod.leaving
    assert list(pod.ages.due(99.0)) == []


# Orders


def test_the_same_drain_again_changes_nothing() -> None:
    """An operator that says every second what it wants must not put the end off for ever."""
    pod = Pod(*[Place.LANE] * 10)
    for second in range(10):
        pod.drain(float(second), 10.0)
        pod.close_due(float(second))
    assert pod.at(10.0) == 10
    pod.drain(10.0, 10.0)
    assert pod.draining.deadline == 10.0


@pytest.mark.parametrize(("window", "deadline"), [(2.0, 7.0), (100.0, 105.0), (0.0, 5.0)])
def test_another_window_spreads_the_rest_from_now_on(window: float, deadline: float) -> None:
    pod = Pod(*[Place.LANE] * 10)
    pod.drain(0.0, 10.0)
    assert pod.at(5.0) == 5
    pod.drain(5.0, window)
    assert pod.draining.deadline == deadline
    assert pod.at(5.0 + window / 2) == (8 if window else 10)
    assert pod.at(deadline) == 10


def test_a_drain_that_was_taken_back_can_be_ordered_again() -> None:
    pod = Pod(*[Place.LANE] * 4)
    pod.drain(0.0, 4.0)
    assert pod.at(2.0) == 2
    assert pod.undrain()
    assert pod.undrain()
    assert (pod.is_draining, pod.draining.deadline, pod.at(99.0)) == (False, None, 2)
    pod.drain(100.0, 4.0)
    assert [pod.at(100.9), pod.at(101.0), pod.at(104.0)] == [2, 3, 4]
    assert pod.orders == {"drain": 2, "undrain": 2}


def test_a_stream_that_opens_while_the_pod_drains_is_closed_with_the_others() -> None:
    """Its request was let in just before; a drain that forgot it would never end."""
    pod = Pod(Place.LANE)
    pod.drain(0.0, 4.0)
    for now in (1.0, 5.0):
        [late] = subs_in(Place.LANE)
        pod.subs.append(late)
        pod.add(late)
        pod.close_due(now + 3.0)
    assert pod.reasons == ["drain"] * 3


def test_a_stop_waits_until_no_new_client_is_sent_here() -> None:
    pod = Pod(*[Place.LANE] * 4)
    assert pod.stop(0.0, 5.0, 10.0) == 5.0
    assert pod.is_draining
    assert pod.draining.deadline == pod.stops_by == 15.0
    assert [pod.at(5.0), pod.at(10.0), pod.at(15.0)] == [0, 2, 4]


def test_a_stop_cannot_be_taken_back_or_put_off_but_hurried() -> None:
    pod = Pod(*[Place.LANE] * 4)
    pod.stop(0.0, 5.0, 10.0)
    assert not pod.undrain()
    pod.drain(1.0, 100.0)
    assert (pod.is_draining, pod.draining.deadline) == (True, 15.0)
    pod.drain(2.0, 3.0)
    assert pod.draining.deadline == 5.0
    assert pod.at(5.0) == 4


def test_a_stop_leaves_a_drain_alone_that_ends_in_time() -> None:
    pod = Pod(*[Place.LANE] * 4)
    pod.drain(0.0, 4.0)
    assert pod.stop(2.0, 5.0, 10.0) == 3.0, "no client was sent here for two seconds already"
    assert (pod.draining.deadline, pod.stops_by) == (4.0, 15.0)
    assert [pod.at(2.0), pod.at(4.0)] == [2, 4]
    assert pod.stop(9.0, 5.0, 10.0) == 0.0


def test_a_stop_brings_a_long_drain_to_its_end_without_a_pause() -> None:
    pod = Pod(*[Place.LANE] * 4)
    pod.drain(0.0, 1000.0)
    assert pod.stop(1.0, 5.0, 12.0) == 4.0
    assert pod.draining.deadline == 17.0
    assert [pod.at(2.9), pod.at(3.0), pod.at(17.0)] == [0, 1, 4]


def test_a_shed_closes_the_oldest_and_ends() -> None:
    pod = Pod(*[Place.LANE] * 4)
    pod.shed(0.0, 2, 2.0)
    assert (pod.shed_left, pod.shedding.deadline) == (2, 2.0)
    assert [pod.at(0.5), pod.at(2.0), pod.at(99.0)] == [1, 2, 2]
    assert [sub for sub, _ in pod.closed] == pod.subs[:2]
    assert (pod.shed_left, pod.shedding.deadline) == (0, None)


def test_the_same_shed_again_changes_nothing_while_it_is_under_way() -> None:
    pod = Pod(*[Place.LANE] * 8)
    for second in range(5):
        pod.shed(float(second), 4, 4.0)
        pod.close_due(second + 0.5)
    assert (pod.at(4.0), pod.shedding.deadline) == (4, None)
    pod.shed(5.0, 4, 4.0)
    assert pod.at(9.0) == 8, "it is over: this is a new one"


def test_another_shed_replaces_the_first_and_none_ends_it() -> None:
    pod = Pod(*[Place.LANE] * 8)
    pod.subs[0].blocked = True
    pod.shed(0.0, 1, 4.0)
    pod.close_due(3.0)
    assert pod.shed_left == 1
    pod.shed(3.0, 4, 2.0)
    assert (pod.shed_left, pod.shedding.deadline) == (4, 5.0)
    pod.shed(3.0, 0, 60.0)
    assert (pod.shed_left, pod.shedding.deadline, pod.at(99.0)) == (0, None, 0)


def test_a_drain_ends_a_shed_and_leaves_no_room_for_another() -> None:
    """Both at once would close more streams per second than either of them allows."""
    pod = Pod(*[Place.LANE] * 4)
    pod.shed(0.0, 4, 4.0)
    pod.drain(0.0, 100.0)
    pod.shed(0.0, 4, 0.0)
    assert (pod.shedding.deadline, pod.at(4.0)) == (None, 0)
