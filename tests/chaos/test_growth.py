"""A pod that keeps a little of each stream is found to grow, and one whose load comes and goes is not."""

from collections.abc import Callable

from loadtest.chaos.growth import LEAST, WARM_MS, growth, kept_per_stream
from loadtest.chaos.pods import Sample

MIB = 2**20
GROWTH_BYTES = 8 * MIB
SECONDS = 120


def life(
    memory: Callable[[int], float], files: Callable[[int], int] = lambda _: 30, kept: Callable[[int], int] = lambda _: 0
) -> list[Sample]:
    """A sample each second; memory, and what of it is the log, in MiB; open files beside its streams."""
    streams = [200 if second % 20 else 0 for second in range(SECONDS)]
    return [
        Sample(second * 1000, 1, count, round(memory(second) * MIB), files(second) + count, kept(second) * MIB)
        for second, count in enumerate(streams)
    ]


def test_a_pod_that_keeps_what_it_has_does_not_grow_whatever_comes_and_goes() -> None:
    found = growth(life(lambda second: 80 + 40 * (second % 30 < 3)))
    assert found is not None
    assert (found.rss, found.files) == (0, 0)
    assert found.seconds > SECONDS / 2


def test_one_step_is_no_growth_and_a_leak_beside_it_is() -> None:
    """As when all streams come to the pod for the first time."""
    stepped = growth(life(lambda second: 80 + 20 * (second > 40)))
    leaking = growth(life(lambda second: 80 + 20 * (second > 40) + second * 0.2))
    assert stepped is not None
    assert leaking is not None
    assert stepped.rss == 0
    assert leaking.rss > GROWTH_BYTES


def test_a_pod_that_leaks_is_found_to() -> None:
    """Two kilobytes of each of a hundred streams that it loses in a second."""
    found = growth(life(lambda second: 80 + second * 0.2, lambda second: 30 + second // 20))
    assert found is not None
    assert found.rss > GROWTH_BYTES
    assert abs(found.rss_per_minute / MIB - 12) < 0.2
    assert found.files == 5


def test_a_log_that_fills_up_is_no_leak_and_hides_none() -> None:
    filling = growth(life(lambda second: 80 + second // 4, kept=lambda second: second // 4))
    leaking = growth(life(lambda second: 80 + second // 4 * 2, kept=lambda second: second // 4))
    assert filling is not None
    assert leaking is not None
    assert (filling.rss, filling.kept) == (0, leaking.kept)
    assert leaking.rss == leaking.kept > GROWTH_BYTES


def test_what_a_pod_takes_while_it_starts_is_no_growth() -> None:
    found = growth(life(lambda second: 80 if second * 1000 < WARM_MS else 120))
    assert found is not None
    assert found.rss == 0


def test_of_a_short_life_and_of_a_pod_that_did_not_answer_nothing_is_said() -> None:
    assert growth(life(lambda _: 80)[: WARM_MS // 1000 + LEAST - 1]) is None
    assert growth([]) is None
    assert growth([Sample(second * 1000, 1, -1, 80 * MIB, 30) for second in range(SECONDS)]) is None


def test_of_rounds_that_need_the_same_only_what_stays_counts() -> None:
    assert kept_per_stream([80 * MIB + 4096 * (at % 3) for at in range(18)], 400) == 0
    assert kept_per_stream([80 * MIB + 2048 * 400 * at for at in range(18)], 400) == 2048
    assert kept_per_stream([], 400) is None
