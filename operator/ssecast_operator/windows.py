"""Stabilisation windows and rate policies as a HorizontalPodAutoscaler defines them, and surges as Knative's panic. Pure.

Sources: Kubernetes' documentation "Horizontal Pod Autoscaling", configurable scaling behavior, and
`pkg/controller/podautoscaler/horizontal.go`; Knative's `pkg/autoscaler/scaling/autoscaler.go`.
"""

from collections.abc import Iterable
from math import ceil
from typing import NamedTuple

from ssecast_operator.scaling import Policy, ScaleDown, ScaleUp, Surge

Wishes = tuple[tuple[float, int], ...]
"""(when, how many pods were wanted), oldest first."""

CHANGES_MAX = 256


class Change(NamedTuple):
    """How the number of pods was changed: added (positive) or removed."""

    at: float
    by: int


# Stabilisation: up = the lowest wish within its window, down = the highest within its window.


def with_low(wishes: Wishes, at: float, wanted: int, window: float) -> Wishes:
    """Remembers a wish for the lowest of the window. Those that can never be the lowest again are forgotten."""
    kept = [wish for wish in wishes if wish[0] > at - window and wish[1] < wanted]
    return (*kept, (at, wanted))


def with_high(wishes: Wishes, at: float, wanted: int, window: float) -> Wishes:
    """Remembers a wish for the highest of the window. Those that can never be the highest again are forgotten."""
    kept = [wish for wish in wishes if wish[0] > at - window and wish[1] > wanted]
    return (*kept, (at, wanted))


def lowest(lows: Wishes) -> int:
    """Of a window with at least the present wish."""
    return lows[0][1]


def highest(highs: Wishes) -> int:
    """Of a window with at least the present wish."""
    return highs[0][1]


def stabilised(current: int, low: int, high: int) -> int:
    """As near to the current number as the wishes of both windows allow; each includes the present wish."""
    return min(max(current, low), high)


# Rates: the number of pods when a period began is the current one, less what was added since, plus what was removed.


def with_change(changes: tuple[Change, ...], change: Change, longest: float) -> tuple[Change, ...]:
    """Remembers a change as long as any policy looks back."""
    kept = tuple(each for each in changes if each.at > change.at - longest)
    return condensed((*kept, change), CHANGES_MAX)


def condensed(changes: tuple[Change, ...], most: int) -> tuple[Change, ...]:
    """At most so many: the oldest become one, at the time of the latest of them, so that none is forgotten early."""
    surplus = len(changes) - most
    if surplus <= 0:
        return changes
    old, kept = changes[: surplus + 1], changes[surplus + 1 :]
    return (Change(old[-1].at, sum(change.by for change in old)), *kept)


def at_start(current: int, changes: Iterable[Change], period: float, now: float) -> int:
    """How many pods there were when the period began."""
    return current - sum(change.by for change in changes if change.at > now - period)


def up_limit(current: int, changes: tuple[Change, ...], rules: ScaleUp, now: float) -> int:
    """The most pods there may be now; never fewer than there are."""
    if rules.select_policy == "Disabled":
        return current
    proposals = [_raised(at_start(current, changes, policy.period_seconds, now), policy) for policy in rules.policies]
    return max(current, min(proposals) if rules.select_policy == "Min" else max(proposals))


def down_limit(current: int, changes: tuple[Change, ...], rules: ScaleDown, now: float) -> int:
    """The fewest pods there may be now; never more than there are."""
    if rules.select_policy == "Disabled":
        return current
    proposals = [_lowered(at_start(current, changes, policy.period_seconds, now), policy) for policy in rules.policies]
    # The policy that allows the smallest change leaves the most pods.
    return min(current, max(proposals) if rules.select_policy == "Min" else min(proposals))


def _raised(start: int, policy: Policy) -> int:
    if policy.type == "Pods":
        return start + policy.value
    return ceil(start * (100 + policy.value) / 100)  # rounded up, or a small fleet could never grow


def _lowered(start: int, policy: Policy) -> int:
    if policy.type == "Pods":
        return start - policy.value
    return int(start * (100 - policy.value) / 100)  # towards zero, as the HPA does


# Surges


class SurgeState(NamedTuple):
    """A surge that is on: when the threshold was last reached, and the most pods that were wanted in it."""

    reached_at: float
    peak: int


def surge_state(
    state: SurgeState | None, settings: Surge, wanted: int, short: int, ready: int, now: float
) -> SurgeState | None:
    """The surge after this round; None where there is none.

    wanted: pods by the usual way. short: pods by the demand of the short window. A surge begins, and goes on, while that
    is `threshold` times the ready pods; it ends when the threshold was not reached for `hold_seconds`. In it the number
    of pods never falls.
    """
    over = short >= settings.threshold * max(1, ready)
    if over:
        reached_at = now
    elif state is not None and now - state.reached_at <= settings.hold_seconds:
        reached_at = state.reached_at
    else:
        return None
    return SurgeState(reached_at, max(wanted, short, state.peak if state else 0))


Recent = tuple[tuple[float, int], ...]
"""(when, demand) of the short window, oldest first."""

RECENT_MAX = 64


def with_recent(recent: Recent, at: float, demand: int, window: float) -> Recent:
    return (*(each for each in recent[-RECENT_MAX + 1 :] if each[0] > at - window), (at, demand))


def mean(recent: Recent) -> float:
    """Of at least one."""
    return sum(demand for _, demand in recent) / len(recent)
