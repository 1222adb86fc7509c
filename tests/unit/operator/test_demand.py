"""demand.py: rule 1, and what pods without data count for (rule 4)."""

import pytest

from ssecast_operator.budget import budget_of
from ssecast_operator.demand import Demand, census_of, demand_of, streams_of, target_of
from ssecast_operator.fleet import Fleet, Pod
from tests.fleets import NOW, fleet, pod, spec_of


def demand(shown: Fleet, **scaling: object) -> Demand:
    spec = spec_of(dict(scaling))
    census = census_of(shown, spec.scaling.streams_per_pod.limit, NOW)
    return demand_of(census, spec.scaling, budget_of(spec))


def test_demand_is_streams_wherever_they_are_and_the_burst() -> None:
    """Pods that are drained, or terminate, or say that they drain: their clients come back somewhere."""
    pods = (
        pod("stays", 100),
        pod("marked", 20, drain_deadline=NOW),
        pod("ends", 3, terminating=True),
        pod("drains", 7, draining=True),
    )
    found = demand(Fleet(3, pods), burst=1000)
    assert found == Demand(open=100, leaving=30, refused=0, burst=1000, unknown=0)
    assert found.known == found.possible == 1130


def test_refused_clients_are_counted_by_how_often_they_come_back() -> None:
    """10 refusals per second from clients that wait 14.5 s on average: 145 clients."""
    assert demand(fleet(0, refused=10.0)).refused == 145


def test_refusals_of_pods_that_leave_count_as_well() -> None:
    assert demand(Fleet(1, (pod("a", refused=1.0), pod("b", draining=True, refused=1.0)))).refused == 29


@pytest.mark.parametrize(("ready", "refused"), [(0, 6000), (1, 6000), (3, 18_000)])
def test_refusals_at_most_double_what_is_ready(ready: int, refused: int) -> None:
    """Clients that ignore `retry:`, or a version that refuses everybody, must not drive the fleet to its maximum."""
    pods = [pod(f"p{at}", refused=10_000.0, ready_since=0.0 if at < ready else None) for at in range(3)]
    assert demand(Fleet(3, tuple(pods))).refused == refused


@pytest.mark.parametrize(
    ("silent", "open_", "unknown"),
    [
        (pod("s", 500, age=16.0), 600, 0),
        (pod("s", 500, age=61.0), 100, 6000),
        (pod("s", None), 100, 6000),
        (pod("s", None, drain_deadline=NOW), 100, 6000),
        (pod("s", None, terminating=True), 100, 0),
        (pod("s", 500, age=61.0, terminating=True), 100, 0),
    ],
)
def test_a_pod_without_data_may_have_anything(silent: Pod, open_: int, unknown: int) -> None:
    """Its last value holds for a minute. Then it counts as full for removing pods, and as empty for adding some.

    One that terminates and does not answer has ended.
    """
    found = demand(Fleet(2, (pod("a", 100), silent)), burst=0)
    assert (found.open + found.leaving, found.unknown) == (open_, unknown)
    assert found.possible - found.known == unknown


def test_the_census() -> None:
    """Who is counted as what; free slots are those of ready pods with data."""
    pods = (
        pod("fresh", 100),
        pod("stale", 200, age=30.0),
        pod("missing", None),
        pod("starting", 0, ready_since=None),
        pod("over", 11_000),
        pod("leaves", 5, draining=True),
        pod("marked", None, drain_deadline=NOW),
        pod("ends", None, terminating=True),
    )
    census = census_of(Fleet(5, pods), 10_000, NOW)
    assert (census.pods, census.ready, census.fresh, census.stale, census.missing) == (5, 4, 3, 1, 1)
    assert (census.leaving, census.leaving_missing, census.leaving_streams) == (3, 1, 5)
    assert (census.streams, census.free_slots) == (11_300, 9900 + 9800)


def test_pods_that_take_fewer_streams_are_reckoned_with() -> None:
    """Open files or memory may allow less than the spec; nobody fills a pod beyond that."""
    scaling = spec_of().scaling
    few = census_of(fleet(0, 0, capacity=4000), 10_000, NOW)
    assert (few.capacity, target_of(few, scaling)) == (4000, 4000)
    many = census_of(fleet(0, 0, capacity=20_000), 10_000, NOW)
    assert (many.capacity, target_of(many, scaling)) == (10_000, 6000)


@pytest.mark.parametrize("shown", [fleet(), fleet(None, None)])
def test_where_no_pod_says_so_the_limit_is_that_of_the_spec(shown: Fleet) -> None:
    assert census_of(shown, 10_000, NOW).capacity == 10_000


def test_pods_that_take_nothing_do_not_divide_by_zero() -> None:
    assert census_of(fleet(0, capacity=0), 10_000, NOW).capacity == 1


@pytest.mark.parametrize(
    ("each", "streams"),
    [
        (pod(streams=7), 7),
        (pod(streams=7, age=30.0), 7),
        (pod(streams=7, age=90.0), 6000),
        (pod(streams=None), 6000),
        (pod(streams=None, ready_since=None), 0),
    ],
)
def test_streams_of_a_pod_among_others(each: Pod, streams: int) -> None:
    """One that is ready and does not answer may be full; one that is not ready has nobody."""
    assert streams_of(each, 6000, NOW) == streams
