"""rivals.py: an HPA and Knative's rule do what their documentation says."""

from hypothesis import given
from hypothesis import strategies as st

from ssecast_operator.rivals import Hpa, Knative, Metrics
from ssecast_operator.scaling import Scaling
from tests.fleets import spec_of
from tests.properties.hpa import Hpa as Documented


def scaling(**more: object) -> Scaling:
    return spec_of({"streamsPerPod": {"target": 100, "limit": 200}, "minReplicas": 1, "burst": 0, **more}).scaling


def even(streams: float, pods: int) -> Metrics:
    return Metrics([streams / pods] * pods, 0)


@given(st.lists(st.integers(0, 20_000), min_size=1, max_size=40), st.integers(0, 60))
def test_an_hpa_of_pods_that_all_report_is_the_documented_one(streams: list[int], window: int) -> None:
    behavior = {
        "scaleUp": {
            "stabilizationWindowSeconds": window,
            "selectPolicy": "Max",
            "policies": [
                {"type": "Pods", "value": 4, "periodSeconds": 15},
                {"type": "Percent", "value": 100, "periodSeconds": 15},
            ],
        },
        "scaleDown": {
            "stabilizationWindowSeconds": 2 * window,
            "selectPolicy": "Max",
            "policies": [{"type": "Percent", "value": 50, "periodSeconds": 30}],
        },
    }
    rules = scaling(behavior=behavior)
    ours, documented, replicas = Hpa(rules), Documented(100, 1, 50, 0.1, 0.1, behavior), 3
    for at, count in enumerate(streams):
        # The edges of the tolerance are where two ways to reckon may differ by rounding.
        if abs(abs(count / (100 * replicas) - 1) - 0.1) < 1e-9:
            count += 1
        wanted = ours.scale(Metrics([count / replicas] * replicas, 0), replicas, replicas, at * 15.0)
        assert wanted == documented.scale(at * 15.0, replicas, count)
        replicas = wanted


def test_an_hpa_assumes_the_target_of_missing_pods_on_the_way_down_and_nothing_on_the_way_up() -> None:
    assert Hpa(scaling()).recommend(Metrics([50.0, 50.0], 2), 4) == 3
    assert Hpa(scaling()).recommend(Metrics([300.0, 300.0], 2), 4) == 6
    assert Hpa(scaling()).recommend(Metrics([130.0, 130.0], 2), 4) == 4, "it would turn the direction round"


def test_an_hpa_without_metrics_changes_nothing() -> None:
    assert Hpa(scaling()).recommend(Metrics([], 3), 3) == 3


def test_knative_looks_at_the_mean_of_a_minute() -> None:
    knative = Knative(scaling(), utilization=1.0)
    assert knative.scale(even(500, 5), 5, 5, 0) == 5
    assert knative.scale(even(700, 5), 5, 5, 30) == 6
    assert knative.scale(even(700, 5), 5, 5, 61) == 7


def test_knative_in_a_panic_does_not_remove_pods_until_a_minute_has_passed() -> None:
    knative = Knative(scaling(), utilization=1.0)
    assert knative.scale(even(100, 1), 1, 1, 0) == 1
    assert knative.scale(even(900, 1), 1, 1, 10) == 9
    assert knative.scale(even(100, 9), 9, 9, 20) == 9
    assert knative.scale(even(100, 9), 9, 9, 70) == 9
    assert knative.scale(even(100, 9), 9, 9, 75) == 4, "at most to the half in one look"


def test_knative_takes_the_mean_of_those_that_answer_for_all_that_are_ready() -> None:
    assert Knative(scaling(), utilization=1.0).scale(Metrics([100.0, 100.0], 2), 4, 4, 0) == 4


def test_knative_means_pods_to_have_less_than_their_target() -> None:
    assert Knative(scaling()).scale(even(490, 7), 7, 7, 0) == 7
    assert Knative(scaling()).scale(even(500, 7), 7, 7, 0) == 8


def test_knative_without_metrics_changes_nothing() -> None:
    assert Knative(scaling(), utilization=1.0).scale(Metrics([], 3), 3, 0, 0) == 3
