"""budget.py: what follows from maxReconnectsPerSecond."""

import pytest

from ssecast_operator.budget import GRACE_MARGIN_SECONDS, START_SECONDS, budget_of
from tests.fleets import budget, spec_of


def test_four_fifths_are_planned_with() -> None:
    """The promise is a maximum; what is planned must leave room for chance."""
    assert budget(per_second=500).per_second == 400
    assert budget(per_second=500).seconds_for(6000) == 15


@pytest.mark.parametrize(("streams", "window"), [(0, 60), (24_000, 60), (24_001, 60.0025), (48_000, 120)])
def test_victims_share_one_window_that_keeps_the_budget(streams: int, window: float) -> None:
    assert budget(per_second=500, window=60).drain_window(streams) == window


def test_a_pod_that_terminates_may_be_full() -> None:
    assert budget(per_second=500, limit=10_000, window=10).pod_window == 25
    assert budget(per_second=500, limit=10_000, window=60).pod_window == 60


def test_clients_of_a_pod_that_dies_are_spread_by_their_wait() -> None:
    derived = budget(per_second=500, limit=10_000)
    assert (derived.retry_spread, derived.longest_retry, derived.mean_retry) == (25, 27, 14.5)


@pytest.mark.parametrize(
    ("window", "min_ready"),
    [(0, 25), (25, 25), (49, 49), (50, 25), (60, 30), (75, 25), (100, 25)],
)
def test_in_a_rollout_no_more_pods_drain_at_once_than_the_budget_allows(window: int, min_ready: int) -> None:
    """A full pod needs 25 s of the whole budget. In 60 s two may drain at once, so one begins every 30 s."""
    derived = budget(per_second=500, limit=10_000, window=window)
    at_once = -(-derived.pod_window // derived.min_ready)
    assert derived.min_ready == min_ready
    assert at_once * derived.limit / derived.pod_window <= derived.per_second


def test_the_grace_period_holds_the_whole_farewell() -> None:
    spec = spec_of(drain={"delaySeconds": 5, "windowSeconds": 60})
    assert budget_of(spec).grace == 5 + 60 + GRACE_MARGIN_SECONDS


@pytest.mark.parametrize("replicas", [1, 50])
def test_the_progress_deadline_exceeds_a_rollout_of_all_pods(replicas: int) -> None:
    derived = budget()
    each = START_SECONDS + derived.min_ready + derived.grace
    assert replicas * each < derived.progress_deadline(replicas) < 2**31
