"""drain.py: who is closed when."""

from ssecast.channel import Place, Subscriber
from ssecast.drain import Closing
from tests.properties.fakes import Recorder


def subs_in(*places: Place) -> list[Subscriber]:
    subs: list[Subscriber] = []
    for place in places:
        sub = Recorder()
        sub.place = place
        subs.append(sub)
    return subs


def test_closes_are_spread_uniformly_over_the_window() -> None:
    closing, subs = Closing(), subs_in(*[Place.LANE] * 4)
    closing.spread(subs, 100.0, 8.0)
    assert [len(list(closing.due(100.0 + second))) for second in range(9)] == [0, 0, 1, 0, 1, 0, 1, 0, 1]
    assert (len(closing), closing.deadline) == (0, 108.0)


def test_streams_in_a_replay_come_last() -> None:
    closing, subs = Closing(), subs_in(Place.BEHIND, Place.LANE, Place.WAITING, Place.PARKED)
    closing.spread(subs, 0.0, 4.0)
    assert list(closing.due(4.0)) == [subs[1], subs[3], subs[0], subs[2]]


def test_a_second_window_replaces_the_first() -> None:
    closing, subs = Closing(), subs_in(*[Place.LANE] * 2)
    closing.spread(subs, 0.0, 100.0)
    closing.spread(subs, 0.0, 0.0)
    assert list(closing.due(0.0)) == subs


def test_streams_that_ended_by_themselves_are_passed_over() -> None:
    closing, subs = Closing(), subs_in(Place.LANE, Place.LANE)
    closing.spread(subs, 0.0, 1.0)
    subs[0].place = Place.GONE
    assert list(closing.due(1.0)) == subs[1:]


def test_a_cancelled_plan_closes_nobody() -> None:
    closing = Closing()
    closing.spread(subs_in(Place.LANE), 0.0, 1.0)
    closing.cancel()
    assert (list(closing.due(9.0)), len(closing), closing.deadline) == ([], 0, None)


def test_nobody_to_close_is_no_error() -> None:
    closing = Closing()
    closing.spread([], 0.0, 1.0)
    assert list(closing.due(9.0)) == []
