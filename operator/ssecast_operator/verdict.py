"""One look at a fleet: how many pods there should be, the next step to it, which of them take new streams, and which streams
move. Pure.

The operator and the simulator both call this, so that what is tried in the one happens in the other.
"""

from typing import NamedTuple

from ssecast_operator.actions import Action, Cordon, Uncordon
from ssecast_operator.broadcaster import Pause
from ssecast_operator.budget import budget_of
from ssecast_operator.cordon import cordons
from ssecast_operator.decide import RUNNING, decide
from ssecast_operator.decision import Decision
from ssecast_operator.demand import target_of
from ssecast_operator.fleet import Fleet
from ssecast_operator.memory import Memory
from ssecast_operator.rebalance import BalanceMemory, Rebalancing, giving, rebalance
from ssecast_operator.spec import Spec
from ssecast_operator.victims import Phase, Plan, plan


class Verdict(NamedTuple):
    """What came of a look; decision and rebalancing hold what must be remembered for the next one."""

    decision: Decision
    plan: Plan
    rebalancing: Rebalancing
    cordons: tuple[Cordon | Uncordon, ...]

    @property
    def actions(self) -> tuple[Action, ...]:
        """In the order in which they are carried out.

        A pod is cordoned before it sheds, so that nobody comes back to it. A shed is called off before its pod is told to drain:
        a pod that drains takes no order to shed. And who is to be removed is the plan's to say, so that comes last.
        """
        return (*self.cordons, *self.rebalancing.actions, *self.plan.actions)


def verdict_on(
    fleet: Fleet, spec: Spec, memory: Memory, balance: BalanceMemory, now: float, pause: Pause = RUNNING
) -> Verdict:
    """All four, from the same fleet at the same time."""
    budget = budget_of(spec)
    decision = decide(spec, fleet, memory, now, pause)
    census = decision.census
    unknown = target_of(census, spec.scaling)
    blind = census.fresh * 2 < census.pods
    steps = plan(fleet, decision.replicas, budget, unknown, now, blind=blind)
    moving = rebalance(fleet, spec.scaling, budget, balance, now, busy=_busy(pause, steps))
    donors = giving(fleet, spec.scaling, moving, now)
    doors = cordons(fleet, spec.scaling, budget, spec.stream.max_age_seconds, unknown, now, donors)
    return Verdict(decision, steps, moving, doors)


def _busy(pause: Pause, steps: Plan) -> str:
    """Why no streams may be moved."""
    if pause.scale_in or pause.scale_out:
        return "an annotation asks for a pause"
    return "" if steps.phase is Phase.STEADY else steps.message
