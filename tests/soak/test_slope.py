"""The line through a pod's samples finds what grows, says how sure that is, and is not led astray by what comes and goes."""

import random

import pytest

from loadtest.soak.slope import LEAST_BLOCKS, Point, Slope, slope


def noisy(per_second: float, seconds: int, noise: float, seed: int) -> list[Point]:
    chance = random.Random(seed)
    return [Point(at, 100 + per_second * at + chance.gauss(0, noise), 0) for at in range(seconds)]


def test_a_line_is_found_as_it_is() -> None:
    found = slope([Point(at, 5 + 0.25 * at, 0) for at in range(100)])
    assert found is not None
    assert found.per_second == pytest.approx(0.25)
    assert found.error == pytest.approx(0, abs=1e-9)
    assert found.seconds == 99
    assert found.grown == pytest.approx(24.75)


def test_noise_makes_it_less_sure_and_lies_within_what_it_says() -> None:
    """Of many lines through noise around the same slope, nearly all say an error in which the true one lies."""
    found = [slope(noisy(0.1, 300, noise=5, seed=seed)) for seed in range(200)]
    assert all(each is not None and each.error > 0 for each in found)
    within = sum(each is not None and abs(each.per_second - 0.1) <= 2 * each.error for each in found)
    assert 175 <= within <= 200


def test_neighbours_that_say_the_same_twice_do_not_make_it_sure() -> None:
    """Ten times as many samples of the same ten levels are no ten times as much knowledge."""
    chance = random.Random(3)
    levels = [chance.gauss(100, 5) for _ in range(24)]
    sparse = slope([Point(at * 10, level, 0) for at, level in enumerate(levels)])
    dense = slope([Point(at * 10 + part, level, 0) for at, level in enumerate(levels) for part in range(10)])
    assert sparse is not None
    assert dense is not None
    assert dense.error > sparse.error / 2


def test_what_comes_and_goes_is_no_growth() -> None:
    found = slope([Point(at, 100 + 20 * (at % 30 < 3), 0) for at in range(600)])
    assert found is not None
    assert not found.exceeds(5)


def test_streams_that_came_for_the_first_time_are_no_growth() -> None:
    """A neighbour was drained: half as many streams again, and ten MiB for them that stay."""
    load = {at: 1000 if at < 200 else 1500 for at in range(600)}
    step = slope([Point(at, 80 + 0.02 * load[at], load[at]) for at in range(600)])
    assert step is not None
    assert not step.exceeds(1)
    unexplained = slope([Point(at, 80 + 0.02 * load[at], 0) for at in range(600)])
    assert unexplained is not None
    assert unexplained.grown > 5, "without the streams that step would be a leak"


def test_a_leak_is_found_beside_streams_that_come() -> None:
    load = {at: 1000 if at < 200 else 1500 for at in range(600)}
    found = slope([Point(at, 80 + 0.02 * load[at] + 0.05 * at, load[at]) for at in range(600)])
    assert found is not None
    assert found.per_second == pytest.approx(0.05)
    assert found.exceeds(8)


def test_streams_that_rise_as_evenly_as_time_goes_by_are_left_out() -> None:
    found = slope([Point(at, 2.0 * at, 3.0 * at) for at in range(100)])
    assert found is not None
    assert found.per_second == pytest.approx(2.0)


def test_of_few_samples_nothing_is_said() -> None:
    assert slope([]) is None
    assert slope([Point(at, 1, 0) for at in range(LEAST_BLOCKS - 1)]) is None
    assert slope([Point(1, 1, 0)] * 50) is None, "all at one moment"


def test_only_what_is_surely_more_exceeds() -> None:
    assert Slope(1.0, 0.1, 100).exceeds(79)
    assert not Slope(1.0, 0.1, 100).exceeds(81)
    assert not Slope(-1.0, 0.1, 100).exceeds(0)
