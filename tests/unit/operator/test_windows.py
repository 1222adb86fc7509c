"""windows.py: the HPA's windows and rates, Knative's panic."""

import pytest

from ssecast_operator.scaling import Policy, ScaleDown, ScaleUp, SelectPolicy, Surge
from ssecast_operator.windows import (
    RECENT_MAX,
    Change,
    Recent,
    SurgeState,
    Wishes,
    at_start,
    condensed,
    down_limit,
    highest,
    lowest,
    mean,
    stabilised,
    surge_state,
    up_limit,
    with_change,
    with_high,
    with_low,
    with_recent,
)

PODS_4 = Policy(type="Pods", value=4, period_seconds=15)
PERCENT_100 = Policy(type="Percent", value=100, period_seconds=15)
PERCENT_10 = Policy(type="Percent", value=10, period_seconds=60)


def lows(*wishes: tuple[float, int], window: float = 30) -> Wishes:
    found: Wishes = ()
    for at, wanted in wishes:
        found = with_low(found, at, wanted, window)
    return found


def highs(*wishes: tuple[float, int], window: float = 30) -> Wishes:
    found: Wishes = ()
    for at, wanted in wishes:
        found = with_high(found, at, wanted, window)
    return found


def test_the_lowest_wish_of_the_window_counts_for_adding() -> None:
    assert lowest(lows((0, 5), (10, 3), (20, 8))) == 3
    assert lowest(lows((0, 5), (10, 3), (40, 8))) == 8, "a wish is forgotten when it is as old as the window"
    assert lowest(lows((0, 5), (10, 3), (39, 8))) == 3


def test_the_highest_wish_of_the_window_counts_for_removing() -> None:
    assert highest(highs((0, 5), (10, 9), (20, 2))) == 9
    assert highest(highs((0, 5), (10, 9), (40, 2))) == 2


def test_a_window_of_nothing_knows_only_the_present() -> None:
    assert lowest(lows((0, 1), (0, 7), window=0)) == 7
    assert highest(highs((0, 9), (0, 7), window=0)) == 7


def test_wishes_that_can_never_count_again_are_forgotten() -> None:
    """Under a constant demand a window holds one wish, however long it is."""
    assert lows(*[(float(at), 5) for at in range(20)]) == ((19.0, 5),)
    assert highs(*[(float(at), 5) for at in range(20)]) == ((19.0, 5),)
    assert lows((0, 3), (1, 9), (2, 5)) == ((0, 3), (2, 5))


@pytest.mark.parametrize(
    ("current", "low", "high", "settled"), [(5, 7, 9, 7), (5, 3, 9, 5), (5, 2, 3, 3), (5, 5, 5, 5)]
)
def test_the_number_stays_as_near_as_both_windows_allow(current: int, low: int, high: int, settled: int) -> None:
    assert stabilised(current, low, high) == settled


def test_a_period_begins_with_what_was_there_before_its_changes() -> None:
    """start = current - added + deleted; a change is forgotten when it is as old as the period."""
    changes = (Change(0.0, 5), Change(10.0, 3), Change(20.0, -2))
    assert at_start(10, changes, period=15, now=20) == 9
    assert at_start(10, changes, period=15, now=25) == 12
    assert at_start(10, changes, period=21, now=20) == 4


@pytest.mark.parametrize(
    ("select", "current", "changes", "limit"),
    [
        ("Max", 2, (), 6),
        ("Max", 10, (), 20),
        ("Min", 10, (), 14),
        ("Disabled", 10, (), 10),
        ("Max", 20, (Change(95.0, 10),), 20),
        ("Max", 20, (Change(85.0, 10),), 40),
        ("Min", 20, (Change(95.0, 16),), 20),
        ("Max", 10, (Change(95.0, -5),), 30),
    ],
)
def test_how_many_may_be_added(select: SelectPolicy, current: int, changes: tuple[Change, ...], limit: int) -> None:
    """Four pods or twice as many, within 15 s; never fewer than there are."""
    assert up_limit(current, changes, ScaleUp(select_policy=select, policies=(PODS_4, PERCENT_100)), 100.0) == limit


@pytest.mark.parametrize(
    ("select", "current", "changes", "limit"),
    [
        ("Max", 20, (), 16),
        ("Min", 20, (), 18),
        ("Disabled", 20, (), 20),
        ("Max", 100, (), 90),
        ("Min", 100, (), 96),
        ("Max", 16, (Change(95.0, -4),), 16),
        ("Max", 20, (Change(95.0, 10),), 6),
        ("Min", 5, (Change(95.0, -30),), 5),
    ],
)
def test_how_many_may_be_removed(select: SelectPolicy, current: int, changes: tuple[Change, ...], limit: int) -> None:
    """Four pods within 15 s, or a tenth within 60 s; never more than there are."""
    assert down_limit(current, changes, ScaleDown(select_policy=select, policies=(PODS_4, PERCENT_10)), 100.0) == limit


def test_percentages_are_rounded_in_favour_of_more_pods_when_adding() -> None:
    """Or a fleet of one could never grow by 10 %; when removing, as the HPA does it, in favour of fewer."""
    assert up_limit(1, (), ScaleUp(policies=(PERCENT_10,)), 0.0) == 2
    assert down_limit(5, (), ScaleDown(policies=(PERCENT_10,)), 0.0) == 4


def test_changes_are_remembered_as_long_as_a_policy_looks_back() -> None:
    assert with_change((Change(0.0, 1), Change(50.0, 2)), Change(60.0, 3), longest=60) == (
        Change(50.0, 2),
        Change(60.0, 3),
    )


def test_many_changes_become_few_and_keep_their_sum() -> None:
    changes = tuple(Change(float(at), at) for at in range(6))
    assert condensed(changes, 6) == changes
    assert condensed(changes, 3) == (Change(3.0, 6), Change(4.0, 4), Change(5.0, 5))


SURGE = Surge(threshold=2.0, hold_seconds=60)


@pytest.mark.parametrize(
    ("state", "short", "ready", "now", "after"),
    [
        (None, 3, 2, 100.0, None),
        (None, 4, 2, 100.0, SurgeState(100.0, 5)),
        (None, 2, 0, 100.0, SurgeState(100.0, 5)),
        (None, 1, 0, 100.0, None),
        (SurgeState(100.0, 9), 4, 2, 130.0, SurgeState(130.0, 9)),
        (SurgeState(100.0, 9), 3, 2, 160.0, SurgeState(100.0, 9)),
        (SurgeState(100.0, 9), 3, 2, 160.1, None),
        (SurgeState(100.0, 9), 12, 8, 110.0, SurgeState(100.0, 12)),
    ],
)
def test_a_surge(state: SurgeState | None, short: int, ready: int, now: float, after: SurgeState | None) -> None:
    """Begins at twice the ready pods, lasts while that holds and a minute longer, and never wants fewer pods than before."""
    assert surge_state(state, SURGE, wanted=5, short=short, ready=ready, now=now) == after


def test_the_short_window_averages_the_demand() -> None:
    recent = with_recent(with_recent(with_recent((), 0.0, 100, 6), 5.0, 200, 6), 10.0, 300, 6)
    assert recent == ((5.0, 200), (10.0, 300))
    assert mean(recent) == 250


def test_the_short_window_is_bounded_however_often_it_is_asked() -> None:
    recent: Recent = ()
    for _ in range(1000):
        recent = with_recent(recent, 0.0, 1, 6)
    assert len(recent) == RECENT_MAX
