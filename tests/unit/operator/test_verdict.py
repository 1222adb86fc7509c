"""verdict.py: one look has everything that the operator acts on, from the same fleet."""

from ssecast_operator.broadcaster import Pause
from ssecast_operator.decide import decide
from ssecast_operator.rebalance import FRESH_START, Balance
from ssecast_operator.verdict import verdict_on
from ssecast_operator.victims import Phase
from tests.fleets import NOW, experienced, fleet, spec_of


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
