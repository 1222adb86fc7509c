"""heartbeat.py: every stream once per period, whatever the ticker does."""

from ssecast.channel import Subscriber
from ssecast.heartbeat import Wheel
from tests.properties.fakes import Recorder


def wheel_of(streams: int, period: float = 1.0, tick: float = 0.1) -> tuple[Wheel, list[Subscriber]]:
    wheel = Wheel(period, tick)
    subs: list[Subscriber] = [Recorder() for _ in range(streams)]
    for sub in subs:
        wheel.add(sub)
    assert list(wheel.turn(0.0)) == []
    return wheel, subs


def test_a_period_brings_every_stream_round_once() -> None:
    wheel, subs = wheel_of(25)
    seen = [sub for tick in range(1, 11) for sub in wheel.turn(tick * 0.1 + 1e-6)]
    assert sorted(sub.number for sub in seen) == [sub.number for sub in subs]


def test_streams_are_spread_over_the_period() -> None:
    wheel, _ = wheel_of(20)
    assert [len(list(wheel.turn(tick * 0.1 + 1e-6))) for tick in range(1, 11)] == [2] * 10


def test_a_late_turn_hands_out_what_it_missed_and_each_stream_once() -> None:
    wheel, subs = wheel_of(20)
    assert len(list(wheel.turn(0.35))) == 6
    late = list(wheel.turn(1000.0))
    assert sorted(sub.number for sub in late) == [sub.number for sub in subs]
    assert len(list(wheel.turn(1000.11))) == 2, "it does not run after the time that it lost"


def test_a_period_shorter_than_a_tick_is_one_tick() -> None:
    wheel, subs = wheel_of(3, period=0.01)
    assert list(wheel.turn(0.11)) == subs


def test_removed_streams_are_gone_and_the_oldest_come_first() -> None:
    wheel, subs = wheel_of(15)
    wheel.remove(subs[3])
    assert wheel.count == 14
    assert wheel.oldest_first() == subs[:3] + subs[4:]
    assert set(wheel) == set(subs) - {subs[3]}
