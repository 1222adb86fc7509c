"""clients.py: nobody who waits is lost, and everybody comes back when it was said."""

import pytest

from ssecast_operator.clients import Crowd, spread_evenly


def come(crowd: Crowd, seconds: int) -> list[tuple[float, float]]:
    return [crowd.come() for _ in range(seconds)]


def test_a_wait_is_spread_evenly_between_its_ends() -> None:
    begin, shares = spread_evenly(2.0, 4.0)
    assert begin == 2
    assert list(shares) == pytest.approx([0.25, 0.25, 0.25, 0.25, 0])


def test_those_whose_stream_was_closed_are_told_from_the_others() -> None:
    crowd = Crowd(10)
    crowd.wait(8, 1, 0, forced=True)
    crowd.wait(6, 2, 2, forced=False)
    assert crowd.waiting == pytest.approx(14)
    assert [round(forced, 3) for forced, _ in come(crowd, 5)] == [8, 0, 0, 0, 0]


def test_everybody_comes_back_round_the_end_of_the_ring() -> None:
    crowd = Crowd(10)
    come(crowd, 12)
    crowd.wait(7, 2, 8, forced=False)
    assert sum(others for _, others in come(crowd, 12)) == pytest.approx(7)
    assert crowd.waiting == pytest.approx(0)


def test_who_leaves_was_waiting_or_had_given_up() -> None:
    crowd = Crowd(10)
    crowd.wait(8, 1, 0, forced=True)
    crowd.given_up = 4
    crowd.leave(0.25)
    assert crowd.waiting == pytest.approx(6)
    assert crowd.given_up == 3
