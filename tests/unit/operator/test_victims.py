"""victims.py: rule 7, step by step."""

from typing import Any

import pytest

from ssecast_operator.actions import Drain, Mark, SetDeletionCost, SetReplicas, Undrain, Unmark
from ssecast_operator.fleet import Fleet, Pod
from ssecast_operator.victims import (
    COST_MIN,
    DRAIN_GRACE_SECONDS,
    SETTLE_SECONDS,
    Phase,
    Plan,
    choose,
    cost_below,
    plan,
    standing,
)
from tests.fleets import NOW, budget, fleet, pod, pods

BUDGET = budget(per_second=500, window=60)
"""400 per second are planned with."""


def planned(shown: Fleet, desired: int) -> Plan:
    return plan(shown, desired, BUDGET, 6000, NOW)


def marked(name: str, streams: int | None = 0, left: float = 30.0, **fields: Any) -> Pod:
    """A pod that drains, with so many seconds left."""
    said = {} if streams is None else {"draining": True, "deadline": NOW + left}
    return pod(name, streams, drain_deadline=NOW + left, **(said | fields))


def test_nothing_to_do() -> None:
    assert planned(fleet(10, 10), 2) == Plan(Phase.STEADY, "there are as many pods as there should be")


def test_adding_is_one_write() -> None:
    assert planned(fleet(10, 10), 5) == Plan(Phase.ADDING, "3 pods are added", (SetReplicas(2, 5),))


def test_it_begins_with_the_pods_that_have_fewest_streams() -> None:
    """Marked before they are told: whoever comes after a crash must know."""
    begun = planned(fleet(500, 100, 300, 200), 2)
    assert begun == Plan(
        Phase.DRAINING,
        "pod-1, pod-3 with 300 streams begin to drain, over 60 s",
        (
            Mark("pod-1", NOW + 60),
            Mark("pod-3", NOW + 60),
            Drain("pod-1", "uid-pod-1", 60),
            Drain("pod-3", "uid-pod-3", 60),
        ),
    )


def test_nobody_is_closed_while_clients_are_still_sent_to_the_victims() -> None:
    """Or they would come back to one, be turned away, and reconnect twice."""
    begun = plan(fleet(500, 100), 1, budget(delay=5), 6000, NOW)
    assert begun.actions == (Mark("pod-1", NOW + 65), Drain("pod-1", "uid-pod-1", 60, 5))
    lost = pod("b", 500, drain_deadline=NOW + 30)
    told = plan(Fleet(2, (pod("a", 9), lost)), 1, budget(delay=5), 6000, NOW)
    assert told.actions == (Drain("b", "uid-b", 25.0, 5),)
    late = pod("b", 20_000, drain_deadline=NOW + 10)
    told = plan(Fleet(2, (pod("a", 9), late)), 1, budget(delay=5), 6000, NOW)
    assert told.actions == (Mark("b", NOW + 55), Drain("b", "uid-b", 50.0, 5))


def test_who_has_as_many_streams_as_it_should_is_given_time_to_lose_them() -> None:
    """What ends by itself meanwhile costs no reconnect. Who has fewer is given less: a pod costs money too."""
    patient = budget(delay=5, patience=600)
    begun = plan(fleet(6000, 6000), 1, patient, 6000, NOW)
    assert begun == Plan(
        Phase.EMPTYING,
        "pod-0 take no more streams; what is left of 6,000 in 605 s they close, over 60 s",
        (Mark("pod-0", NOW + 665),),
    )
    assert plan(fleet(6000, 1500), 1, patient, 6000, NOW).actions == (Mark("pod-1", NOW + 215),)
    assert plan(fleet(6000, 0), 1, patient, 6000, NOW).actions[1] == Drain("pod-1", "uid-pod-1", 60, 5)
    assert plan(fleet(9000, 9000), 1, patient, 6000, NOW).actions == (Mark("pod-0", NOW + 665),), "not longer than that"


@pytest.mark.parametrize(
    ("left", "orders"),
    [(76.0, ()), (75.0, (Drain("b", "uid-b", 60.0, 15.0),)), (65.0, (Drain("b", "uid-b", 60.0, 5),))],
)
def test_who_is_patient_is_told_to_drain_when_it_is_time(left: float, orders: tuple[Drain, ...]) -> None:
    """Until then it is ready: nobody takes it for a pod that is ill."""
    shown = Fleet(2, (pod("a", 9), pod("b", 500, drain_deadline=NOW + left)))
    found = plan(shown, 1, budget(delay=5), 6000, NOW)
    assert found.actions == orders
    waiting = Plan(Phase.EMPTYING, "b take no more streams, and have none left in 76 s")
    assert found == waiting if not orders else found.phase is Phase.DRAINING


def test_each_is_told_when_it_is_its_time() -> None:
    both = (pod("b", 500, drain_deadline=NOW + 65), pod("c", 500, drain_deadline=NOW + 120))
    assert planned(Fleet(3, (pod("a", 9), *both)), 1).actions == (Drain("b", "uid-b", 60.0, 5.0),)


def test_who_has_lost_its_streams_before_is_told_at_once() -> None:
    """It costs money, and nobody gains by it."""
    shown = Fleet(3, (pod("a", 9), pod("b", 0, drain_deadline=NOW + 900), pod("c", 1, drain_deadline=NOW + 900)))
    assert plan(shown, 1, budget(delay=5), 6000, NOW).actions == (Drain("b", "uid-b", 60, 5),)


def test_victims_share_the_budget() -> None:
    """48,000 streams at 400 per second take two minutes, for all of them together."""
    actions = planned(fleet(*[6000] * 9), 1).actions
    assert {action.window for action in actions if isinstance(action, Drain)} == {120.0}
    assert {action.deadline for action in actions if isinstance(action, Mark)} == {NOW + 120}


@pytest.mark.parametrize(
    ("candidates", "victims"),
    [
        ((pod("a", 5), pod("b", 3), pod("c", 4)), ["b", "c"]),
        ((pod("a", 5), pod("b", None), pod("c", 4)), ["c", "a"]),
        ((pod("a", 5), pod("b", 9, ready_since=None), pod("c", 4)), ["b", "c"]),
        ((pod("a", 5, ready_since=None), pod("b", 9, running=False, ready_since=None), pod("c", 4)), ["b", "a"]),
        ((pod("a", 0, ready_since=None), pod("b", scheduled=False, running=False, ready_since=None)), ["b", "a"]),
        ((pod("a", 5, created_at=1.0), pod("b", 5, created_at=2.0), pod("c", 5, created_at=3.0)), ["c", "b"]),
        ((pod("b", 5), pod("a", 5), pod("c", 5)), ["a", "b"]),
    ],
)
def test_who_is_chosen(candidates: tuple[Pod, ...], victims: list[str]) -> None:
    """First those that the ReplicaSet removes first whatever we say, then by streams, then the youngest, then by name.

    A ready pod that does not say how many it has may be full.
    """
    assert [each.name for each in choose(candidates, 2, 6000, NOW)] == victims


@pytest.mark.parametrize(
    ("each", "rank"),
    [
        (pod(scheduled=False, running=False, ready_since=None), 0),
        (pod(running=False, ready_since=None), 1),
        (pod(ready_since=None), 2),
        (pod(), 3),
    ],
)
def test_how_the_replica_set_ranks_pods(each: Pod, rank: int) -> None:
    assert standing(each) == rank


def test_it_waits_until_they_have_no_stream() -> None:
    waiting = planned(Fleet(3, (pod("a", 9), marked("b", 5), marked("c", 7))), 1)
    assert waiting == Plan(Phase.DRAINING, "b, c drain for another 30 s")


@pytest.mark.parametrize(("left", "phase"), [(61.0, Phase.EMPTYING), (60.0, Phase.DRAINING), (0.0, Phase.DRAINING)])
def test_as_long_as_they_close_nobody_they_are_emptying(left: float, phase: Phase) -> None:
    """Which is no sign of trouble, however long it takes; the first of them counts."""
    shown = Fleet(3, (pod("a", 9), marked("b", 5, left=left), marked("c", 5, left=900.0)))
    assert planned(shown, 1).phase is phase


@pytest.mark.parametrize(
    "late", [marked("b", 5, left=-DRAIN_GRACE_SECONDS), marked("b", None, left=-DRAIN_GRACE_SECONDS)]
)
def test_or_for_the_deadline(late: Pod) -> None:
    assert planned(Fleet(2, (pod("a", 9), late)), 1).phase is Phase.RANKING


def test_drained_pods_are_made_the_cheapest_once() -> None:
    """In a round of its own, so that the ReplicaSet has seen it when the replicas are lowered."""
    drained = (pod("a", 9), marked("b"), marked("c", deletion_cost=-1))
    assert planned(Fleet(3, drained), 1).actions == (SetDeletionCost("b", -1),)


@pytest.mark.parametrize(
    ("others", "cost"), [([], -1), ([0, 0], -1), ([5, 3], 2), ([-9, 0], -10), ([COST_MIN], COST_MIN)]
)
def test_the_cost_is_below_that_of_all_others(others: list[int], cost: int) -> None:
    """Somebody else may write costs too."""
    assert cost_below([pod(deletion_cost=each) for each in others]) == cost


def test_then_the_replicas_are_lowered() -> None:
    drained = (pod("a", 9), marked("b", deletion_cost=-1), marked("c", deletion_cost=-1))
    assert planned(Fleet(3, drained), 1) == Plan(
        Phase.REMOVING, "b, c are drained and are removed", (SetReplicas(3, 1),)
    )


def test_a_pod_that_would_be_removed_instead_is_waited_for() -> None:
    """It is not ready, and so the ReplicaSet would take it first. Most become ready again."""
    others = (pod("a", 9), pod("b", 9, running=False, ready_since=None))
    drained = marked("c", deletion_cost=-1, ready_since=None)
    assert planned(Fleet(3, (*others, drained)), 2) == Plan(
        Phase.RANKING, "b would be removed first; it is waited until they are ready"
    )
    late = marked("c", deletion_cost=-1, ready_since=None, left=-SETTLE_SECONDS)
    assert planned(Fleet(3, (*others, late)), 2).actions == (SetReplicas(3, 2),)


def test_it_waits_until_they_are_gone() -> None:
    """Lowered, but the ReplicaSet has not acted yet: who is marked must not take streams again."""
    shown = Fleet(1, (pod("a", 9), marked("b", deletion_cost=-1)))
    assert planned(shown, 1) == Plan(Phase.REMOVING, "1 drained pods are about to be removed")
    assert planned(Fleet(1, (pod("a", 9), marked("b", terminating=True))), 1).phase is Phase.STEADY


def test_while_they_are_not_gone_no_others_are_chosen() -> None:
    shown = Fleet(2, (pod("a", 9), pod("b", 9), marked("c", deletion_cost=-1)))
    assert planned(shown, 1) == Plan(Phase.REMOVING, "1 drained pods are about to be removed")


def test_a_marked_pod_that_survived_takes_streams_again() -> None:
    """The ReplicaSet removed another one. Unmarked last: nothing is left draining that nobody knows of."""
    shown = Fleet(1, (marked("b", deletion_cost=-1), pod("a", 9, terminating=True)))
    assert planned(shown, 1) == Plan(
        Phase.UNDRAINING, "pods that are not to be removed take streams again", (Undrain("b", "uid-b"), Unmark("b"))
    )


def test_when_the_demand_turns_marked_pods_take_streams_again_first() -> None:
    shown = Fleet(2, (pod("a", 9), marked("b", 5)))
    assert planned(shown, 2).actions == (Undrain("b", "uid-b"), Unmark("b"))
    assert planned(shown, 4) == Plan(
        Phase.ADDING, "2 pods are added", (Undrain("b", "uid-b"), Unmark("b"), SetReplicas(2, 4))
    )


def test_when_it_turns_while_they_are_about_to_be_removed_they_are_kept() -> None:
    """Raised first, before the ReplicaSet acts; who is gone by then is replaced."""
    shown = Fleet(1, (pod("a", 9), marked("b", deletion_cost=-1)))
    assert planned(shown, 2).actions == (SetReplicas(1, 2), Undrain("b", "uid-b"), Unmark("b"))


def test_as_many_stay_marked_as_are_still_to_be_removed() -> None:
    shown = Fleet(1, (pod("a", 9), marked("b", 3), marked("c", 0)))
    assert planned(shown, 2).actions == (SetReplicas(1, 2), Undrain("b", "uid-b"), Unmark("b"))


def test_when_fewer_are_to_go_those_with_most_streams_stay() -> None:
    shown = Fleet(3, (pod("a", 9), marked("b", 5), marked("c", 50)))
    assert planned(shown, 2) == Plan(
        Phase.UNDRAINING, "c are needed after all and take streams again", (Undrain("c", "uid-c"), Unmark("c"))
    )


def test_when_more_are_to_go_they_wait_for_their_turn() -> None:
    """Two windows at once would be twice the budget."""
    shown = Fleet(4, (*pods(9, 9, 9), marked("b", 5)))
    assert planned(shown, 1) == Plan(Phase.DRAINING, "b drain for another 30 s")
    gone = Fleet(4, (*pods(9, 9, 9), marked("b")))
    assert [action.pod for action in planned(gone, 1).actions if isinstance(action, Mark)] == ["pod-0", "pod-1"]


@pytest.mark.parametrize(("left", "begun"), [(606.0, False), (605.0, True), (12.0, True)])
def test_it_is_their_turn_when_the_others_will_have_closed_by_the_time_that_they_begin(
    left: float, begun: bool
) -> None:
    """While the ones lose their streams by themselves, the next ones may begin to do so."""
    shown = Fleet(3, (*pods(6000, 6000), marked("z", 5, left=left)))
    actions = plan(shown, 1, budget(delay=5, patience=600), 6000, NOW).actions
    assert actions == ((Mark("pod-0", NOW + 665),) if begun else ())


def test_who_closes_for_longer_than_its_mark_says_is_waited_for() -> None:
    """It was told late."""
    late = pod("z", 5, draining=True, deadline=NOW + 9, drain_deadline=NOW)
    shown = Fleet(3, (*pods(9, 9), late))
    assert planned(shown, 1).actions == ()
    over = pod("z", 5, draining=True, deadline=NOW, drain_deadline=NOW)
    assert planned(Fleet(3, (*pods(9, 9), over)), 1).actions != ()


def test_who_is_drained_does_not_wait_for_the_others() -> None:
    done, waiting = marked("b"), marked("c", 500, left=900.0)
    assert planned(Fleet(3, (pod("a", 9), done, waiting)), 1).actions == (SetDeletionCost("b", -1),)
    done = marked("b", deletion_cost=-1)
    assert planned(Fleet(3, (pod("a", 9), done, waiting)), 1) == Plan(
        Phase.REMOVING, "b are drained and are removed", (SetReplicas(3, 2),)
    )
    assert planned(Fleet(2, (pod("a", 9), done, waiting)), 1).phase is Phase.REMOVING, "the ReplicaSet has yet to act"


def test_not_during_a_rollout() -> None:
    """Pods that are marked stay so: the rollout replaces them, and they would only fill for that."""
    shown = Fleet(3, (*pods(9, 9), marked("c", 0)), rollout=True)
    assert planned(shown, 1) == Plan(Phase.ROLLING_OUT, "pods are removed when the rollout is over")
    assert planned(Fleet(3, pods(9, 9, 9), rollout=True), 1).actions == ()


def test_a_rollout_keeps_nobody_from_taking_streams_again_or_from_adding() -> None:
    """Its surge pod is not one that is about to be removed."""
    shown = Fleet(2, (*pods(9, 9), marked("c", 5)), rollout=True)
    assert planned(shown, 2).actions == (Undrain("c", "uid-c"), Unmark("c"))
    assert planned(shown, 3).actions == (Undrain("c", "uid-c"), Unmark("c"), SetReplicas(2, 3))


def test_without_data_nobody_is_removed_and_nobody_comes_back() -> None:
    """What drains goes on to drain, and waits until more is known."""
    shown = Fleet(2, (pod("a", 9), marked("b", deletion_cost=-1)))
    waiting = Plan(Phase.BLIND, "pods are removed when more of them say how many streams they have")
    assert plan(shown, 1, BUDGET, 6000, NOW, blind=True) == waiting
    assert plan(fleet(9, 9), 1, BUDGET, 6000, NOW, blind=True) == waiting
    assert plan(shown, 2, BUDGET, 6000, NOW, blind=True).actions == (Undrain("b", "uid-b"), Unmark("b"))


def test_pods_that_do_not_exist_are_the_first_to_go() -> None:
    """Such as for want of quota, or because somebody deleted a marked one."""
    assert planned(Fleet(9, pods(9, 9)), 1).actions == (SetReplicas(9, 2),)
    assert planned(Fleet(9, pods(9, 9)), 4).actions == (SetReplicas(9, 4),)


def test_a_marked_pod_that_does_not_drain_is_told_again_within_what_is_left() -> None:
    """The request was lost, or its container has started anew. The deadline stays."""
    lost = pod("b", 500, drain_deadline=NOW + 30)
    assert planned(Fleet(2, (pod("a", 9), lost)), 1).actions == (Drain("b", "uid-b", 30.0),)


def test_a_pod_that_is_told_late_gets_as_long_as_the_budget_asks_for() -> None:
    """And not before the others have closed: together they would be more than the budget."""
    late = pod("b", 6000, drain_deadline=NOW + 10)
    assert planned(Fleet(2, (pod("a", 9), late)), 1).actions == (Drain("b", "uid-b", 15.0),)
    other = marked("c", 2000, left=10.0)
    told = planned(Fleet(3, (pod("a", 9), late, other)), 1)
    begins = "b with 6,000 streams begin to drain, over 15 s"
    assert told == Plan(Phase.DRAINING, begins, (Drain("b", "uid-b", 15.0, 10.0),))
    later = pod("b", 6000, drain_deadline=NOW - 1)
    assert planned(Fleet(2, (pod("a", 9), later)), 1).actions == (Drain("b", "uid-b", 15.0),)


def test_a_pod_that_has_started_anew_is_still_given_time_to_lose_its_streams() -> None:
    anew = pod("b", 40, drain_deadline=NOW + 500)
    assert planned(Fleet(2, (pod("a", 9), anew)), 1).actions == ()


def test_a_pod_that_was_not_reached_in_time_is_told_late_and_not_removed_with_its_streams() -> None:
    """As when nobody was reached for a while, in the midst of which it was its time."""
    late = pod("b", 500, drain_deadline=NOW - 100)
    told = planned(Fleet(2, (pod("a", 9), late)), 1)
    assert told == Plan(
        Phase.DRAINING, "b with 500 streams begin to drain, over 1 s", (Drain("b", "uid-b", 1.25, 0.0),)
    )


def test_a_pod_that_takes_no_order_is_removed_in_the_end_and_keeps_nobody_waiting() -> None:
    """It answers, and does not drain, whatever it is told."""
    deaf = pod("b", 0, drain_deadline=NOW + 500)
    due = pod("c", 500, drain_deadline=NOW + 60)
    actions = planned(Fleet(3, (pod("a", 9), deaf, due)), 1).actions
    assert actions == (Drain("b", "uid-b", 60, 0), Drain("c", "uid-c", 60.0, 0.0))
    late = pod("b", 500, drain_deadline=NOW - DRAIN_GRACE_SECONDS - SETTLE_SECONDS)
    assert planned(Fleet(2, (pod("a", 9), late)), 1).phase is Phase.RANKING


def test_with_a_new_deadline_where_the_old_one_would_end_it() -> None:
    late = pod("b", 20_000, drain_deadline=NOW + 10)
    assert planned(Fleet(2, (pod("a", 9), late)), 1).actions == (Mark("b", NOW + 50), Drain("b", "uid-b", 50.0))


def test_a_marked_pod_that_does_not_answer_is_left_to_its_deadline() -> None:
    assert planned(Fleet(2, (pod("a", 9), marked("b", None))), 1) == Plan(Phase.DRAINING, "b drain for another 30 s")


def test_a_pod_that_drains_without_a_mark_is_no_victim() -> None:
    """Somebody told it, or we see its mark late: to mark another one would drain twice."""
    stray = pod("c", 5, draining=True, deadline=NOW + 30)
    assert planned(Fleet(3, (*pods(9, 9), stray)), 2) == Plan(Phase.UNDRAINING, "a pod drains that is not marked")


def test_one_that_has_long_been_silent_is_a_victim_like_others() -> None:
    """Its node is away: for as long as it is shown nobody could be removed, and nobody could tell it to take streams again."""
    silent = pod("c", 5, age=61.0, ready_since=None, draining=True, deadline=NOW - 60)
    victims = [action.pod for action in planned(Fleet(3, (*pods(9, 9), silent)), 2).actions if isinstance(action, Mark)]
    assert victims == ["c"]


@pytest.mark.parametrize(
    ("deadline", "again"),
    [(NOW - DRAIN_GRACE_SECONDS + 1, False), (NOW - DRAIN_GRACE_SECONDS, True), (None, True)],
)
@pytest.mark.parametrize("desired", [1, 2])
def test_it_takes_streams_again_when_its_drain_is_over(deadline: float | None, again: bool, desired: int) -> None:
    stray = pod("c", 0, draining=True, deadline=deadline)
    actions = planned(Fleet(2, (pod("a", 9), stray)), desired).actions
    assert actions == ((Undrain("c", "uid-c"),) if again else ())


def test_many_pods_are_named_briefly() -> None:
    message = planned(fleet(*range(9)), 2).message
    assert message == "pod-0, pod-1, pod-2 and 4 others with 21 streams begin to drain, over 60 s"
