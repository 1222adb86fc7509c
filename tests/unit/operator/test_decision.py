"""decision.py: the sentence that a person reads at 3 a.m., for each reason."""

from dataclasses import replace
from typing import Any

import pytest

from ssecast_operator.broadcaster import Pause
from ssecast_operator.decide import decide
from ssecast_operator.decision import LACK_OF_DATA, Decision, Reason
from ssecast_operator.fleet import Fleet
from ssecast_operator.memory import Memory
from ssecast_operator.windows import Change, SurgeState
from tests.fleets import NOW, experienced, fleet, pod, spec_of

DAY = {"scaleDown": {"stabilizationWindowSeconds": 0}}


def decided(shown: Fleet, memory: Memory | None = None, pause: Pause | None = None, **scaling: Any) -> Decision:
    spec = spec_of({"behavior": DAY, "surge": {"enabled": False}, "burst": 0, "minReplicas": 1} | scaling, replicas=3)
    return decide(spec, shown, memory or experienced(), NOW, pause or Pause())


SENTENCES = {
    Reason.STEADY: (
        decided(fleet(6000, 6000)),
        "2 pods, no change: a demand of 12,000 streams (12,000 open) is within tolerance of 2 pods of 6,000.",
    ),
    Reason.DEMAND_ROSE: (
        decided(Fleet(2, (pod("a", 9000, refused=10.0), pod("b", 9000), pod("c", 500, terminating=True))), burst=2000),
        "from 2 to 4 pods: a demand of 20,645 streams (18,000 open, 500 on pods that leave, 145 refused and waiting, "
        "2,000 kept free) takes 4 pods of 6,000.",
    ),
    Reason.DEMAND_FELL: (
        decided(fleet(10, 10, 10, None)),
        "from 4 to 2 pods: a demand of 6,030 streams (30 open, 6,000 assumed on pods without data) takes 2 pods of 6,000.",
    ),
    Reason.HEADROOM: (
        decided(fleet(6000, 6001), burst=1000, tolerance={"up": 0.2}, streamsPerPod={"target": 6000, "limit": 6500}),
        "from 2 to 3 pods: a demand of 13,001 streams (12,001 open, 1,000 kept free) does not fit into 2 pods that take "
        "6,500 each and needs 3 pods.",
    ),
    Reason.SURGE: (
        decided(fleet(10_000), surge={"enabled": True}, streamsPerPod={"target": 1000, "limit": 10_000}),
        "from 1 to 10 pods: a demand of 10,000 streams (10,000 open) is a surge for 1 pod ready, so they are added at once.",
    ),
    Reason.NO_DATA: (
        decided(fleet(None, None)),
        "2 pods, no change: none of 2 pods (2 ready) says how many streams it has, so their number stays as it is.",
    ),
    Reason.FALLBACK: (
        decided(fleet(None, None), fallback={"replicas": 5}),
        "from 2 to 5 pods: for long none of 2 pods (2 ready) has said how many streams it has, so the fallback of 5 pods "
        "holds.",
    ),
    Reason.SCALE_UP_STABILIZED: (
        decided(
            fleet(9000, 9000),
            replace(experienced(), lows=((NOW - 5, 2),)),
            behavior={"scaleUp": {"stabilizationWindowSeconds": 30}},
        ),
        "2 pods, no change: a demand of 18,000 streams (18,000 open) takes 3 pods of 6,000; the window of "
        "behavior.scaleUp waits for a lasting wish.",
    ),
    Reason.SCALE_DOWN_STABILIZED: (
        decided(fleet(10, 10), replace(experienced(), highs=((NOW - 5, 2),)), behavior={}),
        "2 pods, no change: a demand of 20 streams (20 open) takes 1 pod of 6,000; within the window of "
        "behavior.scaleDown more pods were wanted.",
    ),
    Reason.SCALE_UP_LIMIT: (
        decided(fleet(10_000), replace(experienced(), changes=(Change(NOW, 9),))),
        "1 pod, no change: a demand of 10,000 streams (10,000 open) takes 2 pods of 6,000; behavior.scaleUp allows no "
        "more for now.",
    ),
    Reason.SCALE_DOWN_LIMIT: (
        decided(fleet(10, 10), behavior={"scaleDown": {"stabilizationWindowSeconds": 0, "selectPolicy": "Disabled"}}),
        "2 pods, no change: a demand of 20 streams (20 open) takes 1 pod of 6,000; behavior.scaleDown allows no fewer "
        "for now.",
    ),
    Reason.SURGE_HOLD: (
        decided(fleet(10, 10), replace(experienced(), surge=SurgeState(NOW, 2)), surge={"enabled": True}),
        "2 pods, no change: a demand of 20 streams (20 open) takes 1 pod of 6,000; a surge is not over.",
    ),
    Reason.FEW_SAMPLES: (
        decided(Fleet(5, (pod("a", 0), *(pod(f"s{at}", 0, age=30.0) for at in range(4))))),
        "5 pods, no change: a demand of 0 streams (0 open) takes 0 pods of 6,000; less than half of the pods answer, so "
        "none is removed.",
    ),
    Reason.FEW_FREE_SLOTS: (
        decided(Fleet(3, (pod("a", 9500), *(pod(f"s{at}", 0, ready_since=None) for at in range(2)))), burst=1000),
        "3 pods, no change: a demand of 10,500 streams (9,500 open, 1,000 kept free) takes 2 pods of 6,000; ready pods "
        "have fewer free slots than burst, so none is removed.",
    ),
    Reason.JUST_STARTED: (
        decided(fleet(10, 10), Memory(NOW - 10), behavior={}),
        "2 pods, no change: a demand of 20 streams (20 open) takes 1 pod of 6,000; the operator has watched for less "
        "than one window of behavior.scaleDown, so none is removed.",
    ),
    Reason.AT_MIN_REPLICAS: (
        decided(fleet(10, 10), minReplicas=2),
        "2 pods, no change: a demand of 20 streams (20 open) takes 1 pod of 6,000; minReplicas allows no fewer.",
    ),
    Reason.AT_MAX_REPLICAS: (
        decided(fleet(9000, 9000), maxReplicas=2),
        "2 pods, no change: a demand of 18,000 streams (18,000 open) takes 3 pods of 6,000; maxReplicas allows no more.",
    ),
    Reason.PAUSED_SCALE_IN: (
        decided(fleet(10, 10), pause=Pause(scale_in=True)),
        "2 pods, no change: a demand of 20 streams (20 open) takes 1 pod of 6,000; an annotation forbids to remove pods.",
    ),
    Reason.PAUSED_SCALE_OUT: (
        decided(fleet(9000, 9000), pause=Pause(scale_out=True)),
        "2 pods, no change: a demand of 18,000 streams (18,000 open) takes 3 pods of 6,000; an annotation forbids to add "
        "pods.",
    ),
    Reason.BY_HPA: (
        decided(fleet(10, 10), mode="hpa"),
        "from 2 to 3 pods: the HorizontalPodAutoscaler's number in spec.replicas is carried out.",
    ),
    Reason.BY_HAND: (
        decided(fleet(10, 10), mode="off"),
        "from 2 to 3 pods: scaling is off, and the number in spec.replicas is carried out.",
    ),
}


def test_every_reason_has_its_sentence() -> None:
    assert set(SENTENCES) == set(Reason)


@pytest.mark.parametrize("reason", Reason)
def test_a_decision_says_what_a_person_understands(reason: Reason) -> None:
    decision, sentence = SENTENCES[reason]
    assert (decision.reason, decision.message) == (reason, sentence)


@pytest.mark.parametrize("reason", Reason)
def test_a_decision_is_valid_unless_data_was_lacking(reason: Reason) -> None:
    assert SENTENCES[reason][0].valid is (reason not in LACK_OF_DATA)


def test_pods_without_data_that_change_nothing_are_told_too() -> None:
    assert decided(fleet(8000, 8000, None)).message == (
        "3 pods, no change: a demand of 16,000 streams (16,000 open) is within tolerance of 3 pods of 6,000, whatever "
        "pods without data have (up to 6,000)."
    )


def test_only_a_change_of_mind_is_worth_an_event() -> None:
    """The demand changes all the time."""
    one, other = decided(fleet(6000, 6000)), decided(fleet(6001, 6001))
    assert one != other
    assert one.outcome == other.outcome == (2, Reason.STEADY, ())
    assert decided(fleet(9000, 9000)).outcome != one.outcome


def test_a_reason_is_one_word() -> None:
    """It becomes the label of a metric, the reason of a condition and a column."""
    assert all(reason.value.isalnum() and reason.value[0].isupper() for reason in Reason)
