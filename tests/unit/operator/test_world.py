"""world.py: pods start, close, end and are replaced as Kubernetes and our pods are documented to do it."""

import numpy as np
import pytest

from ssecast_operator.actions import Action, Drain, Mark, SetDeletionCost, SetReplicas, Shed, Undrain, Unmark
from ssecast_operator.world import PodSettings, Surroundings, World, name_of

SETTINGS = PodSettings(
    limit=100, target=60, delay=5, window=20, grace=40, retry=2, spread=4, max_age=0, gives_up=False, min_ready=10
)  # fmt: skip
START = 10.0


def world(replicas: int = 3, clients: float = 150, **more: object) -> World:
    settings = SETTINGS.__class__(**{name: getattr(SETTINGS, name) for name in PodSettings.__slots__} | more)
    return World(settings, Surroundings(start_seconds=START, start_spread=0), replicas, clients, 1000.0, seed=1)


def pass_by(made: World, seconds: int, clients: float | None = None) -> list[float]:
    """Returns what the fleet closed, second by second."""
    closed = []
    for _ in range(seconds):
        made.tick(made.wanted if clients is None else clients)
        closed.append(made.tally.forced)
    return closed


def first(made: World) -> str:
    return name_of(made.pods.number[0])


def test_a_new_pod_takes_streams_when_it_is_ready() -> None:
    made = world()
    made.carry_out(SetReplicas(3, 4))
    pass_by(made, int(START), clients=150)
    assert made.pods.streams[3] == 0
    pass_by(made, 3, clients=200)
    assert made.pods.streams[3] > 0


def test_a_change_from_another_number_is_left_out() -> None:
    made = world()
    made.carry_out(SetReplicas(2, 9))
    assert made.replicas == 3


def test_a_pod_that_drains_closes_its_streams_evenly_and_takes_no_more() -> None:
    made = world()
    made.carry_out(Drain(first(made), first(made), 10.0))
    closed = pass_by(made, 11)
    assert sum(closed) == pytest.approx(50)
    assert max(closed) == pytest.approx(5)
    assert made.pods.streams[0] == 0
    assert made.connected + made.crowd.waiting == pytest.approx(150)


def test_a_drain_can_be_taken_back() -> None:
    made = world()
    made.carry_out(Drain(first(made), first(made), 10.0))
    pass_by(made, 4)
    made.carry_out(Undrain(first(made), first(made)))
    assert sum(pass_by(made, 10)) == 0
    assert bool(made.serving[0])


def test_a_shed_closes_as_many_as_it_was_told() -> None:
    made = world()
    made.carry_out(Shed(first(made), first(made), 20, 10.0))
    assert sum(pass_by(made, 20)) == pytest.approx(20)


def test_the_pod_that_costs_least_is_removed_and_drains_over_its_own_window() -> None:
    made = world()
    made.carry_out(SetDeletionCost(first(made), -1))
    made.carry_out(Mark(first(made), 2000.0))
    made.carry_out(SetReplicas(3, 2))
    pass_by(made, 1)
    assert bool(made.pods.terminating[0])
    closed = pass_by(made, 30)
    assert max(closed) == pytest.approx(2.5)
    assert len(made.pods.number) == 2


def test_a_mark_is_seen_and_can_be_taken_away_and_nobody_orders_a_pod_that_is_gone() -> None:
    made = world()
    made.carry_out(Mark(first(made), 1234.0))
    assert made.fleet().pods[0].drain_deadline == 1234.0
    made.carry_out(Unmark(first(made)))
    gone: list[Action] = [Mark("pod-99", 1.0), Drain("pod-99", "pod-99", 1.0)]
    for action in gone:
        made.carry_out(action)
    assert not any(pod.marked for pod in made.fleet().pods)


def test_a_pod_that_has_not_started_takes_no_order() -> None:
    made = world()
    made.carry_out(SetReplicas(3, 4))
    pass_by(made, 1)
    made.carry_out(Drain(name_of(3), name_of(3), 10.0))
    assert not made.pods.draining[3]


def test_what_a_pod_does_not_answer_stays_what_it_was() -> None:
    made = world()
    made.ask()
    made.blindness = 1.0
    pass_by(made, 5, clients=240)
    made.ask()
    sample = made.fleet().pods[0].sample
    assert sample.load is not None
    assert (sample.load.streams, sample.read_at) == (50, 1000.0)


def test_full_pods_refuse_and_say_so_and_those_who_were_refused_come_back() -> None:
    made = world()
    pass_by(made, 10, clients=330)
    assert made.connected == pytest.approx(300)
    assert made.crowd.waiting == pytest.approx(30)
    made.ask()
    assert made.fleet().pods[0].sample.load.refused_per_second > 0  # type: ignore[union-attr]


def test_with_503_those_who_were_refused_have_given_up() -> None:
    made = world(gives_up=True)
    pass_by(made, 10, clients=330)
    assert made.crowd.given_up == pytest.approx(30)
    assert made.crowd.waiting == pytest.approx(0)


def test_streams_end_in_the_last_fifth_of_their_maximum_age_and_come_back() -> None:
    made = world(max_age=200, clients=0)
    pass_by(made, 5, clients=100)
    rotated = []
    for _ in range(220):
        made.tick(100)
        rotated.append(made.tally.rotated)
    assert sum(rotated[:150]) == pytest.approx(0, abs=0.5)
    assert sum(rotated) == pytest.approx(100, abs=5)
    assert made.connected + made.crowd.waiting == pytest.approx(100)


def test_in_the_long_run_rotation_is_streams_by_their_mean_age() -> None:
    made = world(max_age=200)
    rotated = []
    for _ in range(2000):
        made.tick(150)
        rotated.append(made.tally.rotated)
    assert np.mean(rotated[500:]) == pytest.approx(150 / 180, rel=0.05)


def test_a_lost_node_cuts_streams_whose_clients_come_back_as_they_were_told() -> None:
    made = world()
    made.lose_nodes(1 / 3)
    assert made.connected == pytest.approx(100)
    pass_by(made, 8)
    assert made.connected == pytest.approx(150)
    assert len(made.pods.number) == 3, "the ReplicaSet has made another one"


def test_a_rollout_replaces_one_pod_after_the_other_and_waits_for_each() -> None:
    made = world()
    made.revision = 2
    most, ready = 0, 3
    for _ in range(300):
        made.tick(150)
        most = max(most, int(made.present.sum()))
        ready = min(ready, int(made.serving.sum()))
    assert not made.rolling_out
    assert (most, ready) == (4, 3)
    assert made.connected + made.crowd.waiting == pytest.approx(150)


def test_a_pod_that_cannot_close_in_time_is_killed_at_the_end_of_its_grace() -> None:
    made = world(grace=10)
    made.carry_out(SetReplicas(3, 2))
    assert sum(pass_by(made, 12)) == pytest.approx(50)
    assert len(made.pods.number) == 2


def test_while_no_pod_can_be_reached_everybody_is_refused() -> None:
    made = world()
    made.cut(made.pods.streams > 0)
    made.unreachable_until = made.now + 20
    pass_by(made, 19)
    assert made.connected == 0
    assert made.crowd.waiting == pytest.approx(150)
    pass_by(made, 10)
    assert made.connected == pytest.approx(150)
