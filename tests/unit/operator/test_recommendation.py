"""recommendation.py: numbers that follow from the past, each with its reason, as a policy that can be tried."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ssecast_operator.policies import read_policy
from ssecast_operator.recommendation import Past, Recommendation, recommend
from ssecast_operator.simulation import simulate
from ssecast_operator.spec import Spec
from ssecast_operator.traces import Incident, Kind, Trace
from tests.fleets import spec_of


def past(*clients: float, step: float = 60.0, **more: float) -> Past:
    return Past("drawn", np.arange(len(clients)) * step, np.array(clients), **more)  # type: ignore[arg-type]


def wave(peak: float, minutes: int = 600) -> list[float]:
    return [peak * (0.65 - 0.35 * float(np.cos(2 * np.pi * at / minutes))) for at in range(minutes + 1)]


def found(shown: Past, spec: Spec | None = None) -> Recommendation:
    return recommend(shown, spec or spec_of(), "news")


def test_the_target_leaves_room_for_the_clients_of_one_pod_that_dies() -> None:
    """Of 25 pods one dies; the others take its clients, a tenth more that the tolerance lets pass, and the fullest some more."""
    target = found(past(*wave(200_000))).target
    pods = int(np.ceil(200_000 / target.value))
    assert target.value * pods / (pods - 1) * 1.1 * 1.05 <= 10_000
    assert target.value == 8300
    assert "At the peak of 200,000 clients these are 25 pods with 8,000 each; when one of them dies" in target.reason
    assert target.words.endswith("Now 6,000.")


def test_two_pods_may_have_half_of_what_one_takes() -> None:
    assert found(past(*wave(3000))).target.value == 4300


def test_one_pod_has_nobody_to_leave_its_clients_to() -> None:
    spec = spec_of({"minReplicas": 1})
    target = found(past(*wave(3000)), spec).target
    assert (target.value, "there is only one" in target.reason) == (8600, True)


def test_the_limit_is_what_the_pods_say() -> None:
    limit = found(past(*wave(3000), capacity=4000, hottest=3100)).limit
    assert (limit.value, limit.now) == (4000, 10_000)
    assert "the fullest pod had 3,100" in limit.reason
    assert "not known" in found(past(*wave(3000), capacity=4000)).limit.reason
    assert found(past(*wave(3000))).limit.value == 10_000


def test_a_burst_is_what_comes_in_a_minute_that_is_nothing_special() -> None:
    """Not the kick-off, which is met by new pods; that is said."""
    clients = [1000.0, 1100.0] * 1500
    assert found(past(*clients)).burst.value == 100
    clients[2000:] = [20_000.0] * 1000
    surged = found(past(*clients))
    assert surged.burst.value == 100
    assert any("Once, 33.3 hours after the beginning, 18,900 came within a minute" in note for note in surged.notes)


def test_rises_are_taken_over_the_minute_that_a_pod_takes_however_far_apart_the_times_are() -> None:
    assert found(past(*[0.0, 1000.0] * 500, step=600)).burst.value == 100


def test_the_budget_is_what_the_front_has_let_in_and_empties_a_full_pod_within_a_minute() -> None:
    budget = found(past(*wave(3000), opened=812.7)).budget
    assert (budget.value, "up to 813 streams per second" in budget.reason) == (810, True)
    unproved = found(past(*wave(3000), opened=5)).budget
    assert unproved.value == 209
    assert "load the front before" in unproved.reason


def test_without_a_count_it_is_reckoned_from_the_curve_and_the_ages() -> None:
    budget = found(past(*[180_000.0] * 100)).budget
    assert "about up to 100 streams per second" in budget.reason
    ageless = found(past(*[0.0] * 100, *[60_000.0] * 100), spec_of(stream={"maxAgeSeconds": 0})).budget
    assert (ageless.value, "up to 1,000 streams" in ageless.reason) == (1000, True)


def test_more_pods_are_allowed_than_the_peak_takes() -> None:
    wide = found(past(*wave(900_000)))
    assert wide.most.value == int(np.ceil(1.25 * np.ceil((900_000 + wide.burst.value) / wide.target.value)))
    assert wide.most.value > 100
    assert found(past(*wave(3000))).most.value == 50


def test_a_pod_that_was_full_is_told_of() -> None:
    assert any("was full" in note for note in found(past(*wave(3000), capacity=900, hottest=900)).notes)
    assert not any("was full" in note for note in found(past(*wave(3000), capacity=900, hottest=899)).notes)


def test_what_is_printed_is_a_policy_with_a_reason_at_each_number() -> None:
    text = found(past(*wave(200_000))).text
    spec = read_policy(text, "new.yaml").spec
    assert spec.scaling.streams_per_pod.target == 8300
    assert text.startswith("# From drawn: 0.4 days, 60,000 to 200,000 clients")
    lines = text.splitlines()
    numbers = [at for at, line in enumerate(lines) if line.strip().rpartition(" ")[2].isdigit() and "#" not in line]
    assert len(numbers) == 5
    assert all(lines[at - 1].strip().startswith("#") for at in numbers)
    assert max(map(len, lines)) <= 100


@settings(max_examples=40)
@given(
    st.lists(st.floats(0, 10**6), min_size=2, max_size=40),
    st.sampled_from([15.0, 60.0, 600.0]),
    st.integers(0, 20_000),
    st.floats(0, 5000),
)
def test_whatever_happened_the_policy_is_one_that_the_api_server_takes(
    clients: list[float], step: float, capacity: int, opened: float
) -> None:
    shown = past(*clients, *clients[-1:] * 5, step=step, capacity=capacity, opened=opened)
    read_policy(found(shown).text, "new.yaml")


def test_with_it_a_pod_may_die_at_the_peak_and_next_to_nobody_is_refused() -> None:
    """With a target just below the limit hardly anybody finds a place at once."""
    clients = wave(60_000, 120)
    advised = read_policy(found(past(*clients)).text, "new.yaml").spec
    incident = Incident(Kind.NODE_LOSS, 3600, share=1 / 7)
    trace = Trace("drawn", tuple(60.0 * at for at in range(len(clients))), tuple(clients), (incident,))
    calm, tight = (
        simulate(trace, spec).series for spec in (advised, spec_of({"streamsPerPod": {"target": 9800}, "burst": 0}))
    )
    assert calm.lost.sum() > 0
    assert calm.refused.sum() < 0.01 * 60_000
    assert tight.refused.sum() > 10 * calm.refused.sum()
