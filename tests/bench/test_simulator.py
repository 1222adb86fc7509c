"""The simulator's table: goals are judged by totals, and what a rival does better is said."""

from dataclasses import replace

import pytest

from loadtest.simulator.goals import FILLED, of, ratio, totals
from loadtest.simulator.report import report
from loadtest.simulator.variants import VARIANTS, draw, points, spec_of
from ssecast_operator.results import Figures
from ssecast_operator.spec import Spec

OURS = Figures(
    label="operator", trace="steady", seed=1, client_hours=100, pod_hours=10, most_pods=3, refused=0, given_up=0,
    seconds_over_limit=0, seconds_to_recover=0, over_target=0.5, forced_per_client_hour=0.1, drained=5, shed=3,
    ended=2, peak_reconnects=400, budget=500,
    oscillations=0, skew=1,
)  # fmt: skip
HPA = replace(OURS, label="hpa", forced_per_client_hour=1.0, refused=50, pod_hours=9)
KNATIVE = replace(OURS, label="knative", pod_hours=20)


def test_disconnects_are_weighed_by_the_hours_of_the_clients() -> None:
    found = totals([OURS, replace(OURS, client_hours=300, forced_per_client_hour=0.5, peak_reconnects=501)])
    assert found.forced_per_client_hour == 0.4
    assert (found.peak, found.over_budget, found.pod_hours) == (501, 1, 20)


def test_nothing_by_nothing_is_as_good_as_each_other() -> None:
    assert ratio(0, 0) == 1
    assert ratio(5, 0) == float("inf")
    assert ratio(1, 2) == 0.5


def test_the_page_says_which_goals_are_met_and_where_a_rival_is_better() -> None:
    page = report([OURS, HPA, KNATIVE], 1000)
    assert "| forced disconnects per client-hour at most 0.3x | hpa | 0.10x | met |" in page
    assert "| pod-hours at most 1.05x | hpa | 1.111x | **missed** |" in page
    assert "| pod-hours at most 0.9x at no more refusals | knative | 0.500x, refusals 1.00x | met |" in page
    assert "filled" not in page
    filled = report([OURS, HPA, KNATIVE, replace(KNATIVE, label=FILLED, pod_hours=8)], 1000)
    assert (
        "| the same, where it fills pods to the target too | knative, filled | 1.250x, refusals 1.00x | no goal |"
        in filled
    )
    assert "- `steady`, the HPA has less: pod-hours (10.0 against 9.0).\n" in page
    assert "(steady.png)" in page
    assert of([OURS, HPA], "hpa", "steady").refused == 50


def test_the_rollout_is_left_out_where_a_goal_says_so() -> None:
    rollouts = [replace(each, trace="rolling-upgrade", forced_per_client_hour=9.0) for each in (OURS, HPA, KNATIVE)]
    page = report([OURS, HPA, KNATIVE, *rollouts], 1000)
    assert "| forced disconnects per client-hour at most 0.3x | hpa | 0.91x | **missed** |" in page
    assert "| the same, but for the rollout | hpa | 0.10x | met |" in page


def test_other_policies_stand_beside_the_shipped_one_by_the_seeds_that_both_have() -> None:
    found = [OURS, HPA, KNATIVE, replace(OURS, label="burst 0", pod_hours=8, forced_per_client_hour=0.2)]
    found += [replace(each, seed=2, pod_hours=99.0) for each in (OURS, HPA, KNATIVE)]
    shipped, variant = points(found)
    assert (shipped.name, variant.name) == ("shipped", "burst 0")
    assert (shipped.forced, shipped.pods) == pytest.approx((0.1, 10 / 9))
    assert (variant.forced, variant.pods_knative) == pytest.approx((0.2, 0.4))
    page = report(found, 1000)
    assert "| burst 0 | 0.20x | 0.20x | 0.889x | 0.400x | 0.00x | 1.00x | 400 |" in page
    assert "over all traces, seed 1." in page
    (axes,) = draw([shipped, variant]).axes
    assert {text.get_text().strip() for text in axes.texts} == {"0", "1", "HPA"}
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["0  shipped", "1  burst 0"]


def test_without_other_policies_there_is_no_word_about_them() -> None:
    assert points([OURS, HPA, KNATIVE]) == []
    assert "What other policies would do" not in report([OURS, HPA, KNATIVE], 1000)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_other_policy_is_one_and_is_another_one(variant: str) -> None:
    assert spec_of(variant) != Spec()
