"""cordon.py: who takes new streams."""

from collections.abc import Collection

import pytest

from ssecast_operator.actions import Cordon, Uncordon
from ssecast_operator.cordon import HORIZON_SECONDS, coming, cordons
from ssecast_operator.fleet import Fleet, Pod
from tests.fleets import NOW, budget, fleet, pod, pods, spec_of

BUDGET = budget(per_second=500, patience=600)
"""400 per second: 6,000 until the next look has had its effect."""

SCALING = spec_of({"streamsPerPod": {"target": 6000, "limit": 10_000}}).scaling


def found(shown: Fleet, max_age: float = 0.0, giving: Collection[str] = ()) -> tuple[Cordon | Uncordon, ...]:
    return cordons(shown, SCALING, BUDGET, max_age, 6000, NOW, giving)


def rollout(old: tuple[Pod, ...], new: tuple[Pod, ...]) -> Fleet:
    return Fleet(len(old), (*old, *new), rollout=True)


def newer(name: str, streams: int, **fields: float | bool | None) -> Pod:
    return pod(name, streams, **{"revision": "2", "created_at": NOW, **fields})


def test_what_comes_is_what_the_fleet_moves_and_what_reaches_its_age() -> None:
    assert coming(180_000, 9000, BUDGET, 1800.0) == (400 + 100) * HORIZON_SECONDS
    assert coming(180_000, 9000, BUDGET, 0.0) == 400 * HORIZON_SECONDS
    assert coming(90, 40, BUDGET, 0.0) == 40, "no more than a pod has"


def test_in_a_fleet_with_room_everybody_takes_streams() -> None:
    assert found(fleet(5000, 6000, 6000)) == ()
    assert found(fleet(0)) == ()
    assert found(fleet()) == ()


def test_a_pod_that_is_nearly_full_is_left_alone_while_others_have_room() -> None:
    assert found(fleet(2000, 2000, 8400)) == (Cordon("pod-2"),)
    assert found(fleet(8400, 8400, 8400)) == (), "somebody has to take them"
    smaller = pod("small", 4300, capacity=5000)
    assert found(Fleet(3, (*pods(2000, 2000), smaller))) == (Cordon("small"),), "by what it takes itself"


@pytest.mark.parametrize(("streams", "actions"), [(6100, ()), (5900, (Uncordon("z"),))])
def test_it_comes_back_when_it_has_lost_some(streams: int, actions: tuple[Uncordon, ...]) -> None:
    """More than it takes to be cordoned: each change is one for every proxy. 6,000 / 3 must fit below 8,000."""
    shown = Fleet(3, (*pods(2000, 2000), pod("z", streams, cordoned=True)))
    assert found(shown) == actions


def test_in_a_rollout_new_streams_go_to_new_pods() -> None:
    """Or they would be moved once more, when it is the turn of the old pod."""
    shown = rollout(pods(6000, 6000), (newer("new-1", 0), newer("new-2", 0)))
    assert found(shown) == (Cordon("pod-0"), Cordon("pod-1"))


def test_as_many_old_ones_stay_as_it_takes() -> None:
    """Those with the fewest streams; and those that are open already, rather than others."""
    shown = rollout(pods(5000, 5500, 6000), (newer("new-1", 3000),))
    assert found(shown) == (Cordon("pod-1"), Cordon("pod-2"))
    closed = (pod("pod-0", 5000, cordoned=True), pod("pod-1", 5100), pod("pod-2", 6000, cordoned=True))
    assert found(rollout(closed, (newer("new-1", 3000),))) == ()


def test_without_patience_no_pod_keeps_streams_that_gets_no_new_ones() -> None:
    """Load balancers that lead to pods themselves may cut what they no longer lead to."""
    hasty = budget(per_second=500)
    shown = rollout((pod("a", 6000, cordoned=True), pod("b", 9000)), (newer("new-1", 0),))
    assert cordons(shown, SCALING, hasty, 0.0, 6000, NOW) == (Uncordon("a"),)


def test_before_a_new_pod_is_ready_nothing_changes() -> None:
    assert found(rollout(pods(6000, 6000), (newer("new-1", 0, ready_since=None),))) == ()


def test_when_there_is_no_room_anywhere_everybody_takes_streams() -> None:
    """A pod that is full says so to whoever comes; who finds no pod at all is told nothing."""
    shown = rollout((pod("a", 9000, cordoned=True), pod("b", 9000)), (newer("new-1", 9000, cordoned=True),))
    assert found(shown) == (Uncordon("a"), Uncordon("new-1"))


def test_a_pod_that_is_full_is_left_alone_also_where_the_others_could_not_take_all_that_may_come() -> None:
    """It would take nothing off them: who is sent to it is refused."""
    assert found(fleet(10_000, 10_000, 4600)) == (Cordon("pod-0"), Cordon("pod-1"))
    assert found(fleet(9900, 9900, 7000)) == (Cordon("pod-0"), Cordon("pod-1")), "3,000 before one refuses, and not 300"
    assert found(fleet(8600, 8600, 8400)) == (), "4,200 before one refuses, and not 1,600"


@pytest.mark.parametrize(("streams", "actions"), [(9600, ()), (9400, (Uncordon("b"),))])
def test_it_takes_some_again_when_much_is_free(streams: int, actions: tuple[Uncordon, ...]) -> None:
    """And not with every stream that ends."""
    assert found(Fleet(2, (pod("a", 9400), pod("b", streams, cordoned=True)))) == actions


def test_a_fleet_that_is_full_up_to_a_few_streams_does_not_change_with_each_of_them() -> None:
    assert found(fleet(10_000, 9990, 9995)) == ()
    assert found(Fleet(2, (pod("a", 9990), pod("b", 0, capacity=0)))) == (), "a pod that takes none has not much left"


def test_a_pod_that_gives_streams_away_gets_none_of_them_back() -> None:
    assert found(fleet(7000, 3000, 3000), giving={"pod-0"}) == (Cordon("pod-0"),)


def test_it_takes_streams_where_the_others_cannot() -> None:
    assert found(fleet(7000, 8400), giving={"pod-0"}) == ()


def test_after_a_rollout_that_was_taken_back_the_others_are_the_new_ones() -> None:
    """By when pods were made: the template that is older may be the one that is wanted."""
    before = (pod("a", 4000, cordoned=True), pod("b", 4000, cordoned=True), newer("new-1", 500))
    assert found(rollout(before, (pod("again", 0, created_at=NOW + 60),))) == (
        Uncordon("a"),
        Uncordon("b"),
        Cordon("new-1"),
    )


def test_who_is_marked_stays_cordoned() -> None:
    """It goes with the mark; should somebody have put the label back, it is taken off again."""
    shown = Fleet(2, (pod("a", 9), pod("b", 9, drain_deadline=NOW + 60)))
    assert found(shown) == (Cordon("b"),)


@pytest.mark.parametrize("fields", [{"ready_since": None}, {"draining": True}, {"terminating": True}])
def test_of_pods_that_get_no_clients_anyhow_nothing_is_changed(fields: dict[str, bool | None]) -> None:
    assert found(Fleet(2, (pod("a", 9), pod("b", 9, cordoned=True, **fields)))) == ()


def test_a_pod_that_does_not_answer_counts_as_one_that_has_what_it_should() -> None:
    assert found(Fleet(3, (*pods(2000, 2000), pod("silent", None)))) == ()


def test_pods_of_an_operator_that_did_not_know_of_it_are_put_into_the_service() -> None:
    assert found(fleet(5, 5, cordoned=True)) == (Uncordon("pod-0"), Uncordon("pod-1"))
