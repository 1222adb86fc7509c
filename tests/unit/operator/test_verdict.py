"""verdict.py: one look has everything that the operator acts on, from the same fleet."""

from ssecast_operator.actions import Cordon, Shed, Uncordon
from ssecast_operator.broadcaster import Pause
from ssecast_operator.decide import decide
from ssecast_operator.fleet import Fleet
from ssecast_operator.rebalance import FRESH_START, LASTING_SECONDS, Balance, BalanceMemory
from ssecast_operator.verdict import verdict_on
from ssecast_operator.victims import Phase
from tests.fleets import NOW, experienced, fleet, pod, spec_of


def test_the_number_is_that_of_decide() -> None:
    seen, spec = fleet(9000, 9000), spec_of()
    verdict = verdict_on(seen, spec, experienced(), FRESH_START, NOW)
    assert verdict.decision == decide(spec, seen, experienced(), NOW)
    assert verdict.plan.phase is Phase.ADDING


def test_nothing_is_moved_while_pods_are_added_or_a_pause_is_asked_for() -> None:
    for seen, pause in (
        (fleet(9000, 1000, 9000), Pause()),
        (fleet(9000, 1000, 2000), Pause(scale_in=True, scale_out=True)),
    ):
        moving = verdict_on(seen, spec_of(), experienced(), FRESH_START, NOW, pause).rebalancing
        assert moving.state is Balance.WAITING
        assert not moving.actions


def test_a_fleet_that_is_as_it_should_be_may_even_out() -> None:
    moving = verdict_on(fleet(9900, 1000, 6100), spec_of(), experienced(), FRESH_START, NOW).rebalancing
    assert moving.state is Balance.UNEVEN


def test_a_pod_is_cordoned_before_it_sheds_and_until_it_has() -> None:
    """Far above its share, and far from full."""
    spec = spec_of({"rebalance": {"threshold": 0.1}, "minReplicas": 3, "maxReplicas": 3, "maxReconnectsPerSecond": 100})
    uneven = BalanceMemory(uneven_since=NOW - LASTING_SECONDS)
    verdict = verdict_on(fleet(7500, 1000, 1000), spec, experienced(), uneven, NOW)
    assert verdict.actions == (Cordon("pod-0"), Shed("pod-0", "uid-pod-0", 960, 12.0))
    going_on = verdict.rebalancing.memory
    still = verdict_on(fleet(7000, 1200, 1200, cordoned=True), spec, experienced(), going_on, NOW + 1)
    assert still.cordons == (Uncordon("pod-1"), Uncordon("pod-2"))
    settled = BalanceMemory(NOW, moving=True)
    even = Fleet(3, (pod("pod-0", 7500 - 960, cordoned=True), pod("pod-1", 1480), pod("pod-2", 1480)))
    assert verdict_on(even, spec, experienced(), going_on, NOW + 1).cordons == ()
    assert verdict_on(even, spec, experienced(), settled, NOW + 1).cordons == (Uncordon("pod-0"),)
