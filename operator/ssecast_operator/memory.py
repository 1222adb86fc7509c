"""What a decision remembers for the next one: a frozen value that goes in and comes out. Pure.

Of it, what must survive a restart goes into the status: recent changes (or a restart would lift the rates), a surge, when
the number of pods last changed. The wishes of the windows need not: after a restart nothing is removed for one window.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from ssecast_operator.instants import instant, rfc3339
from ssecast_operator.windows import Change, Recent, SurgeState, Wishes, condensed, with_change

SAVED_CHANGES = 32


class Last(NamedTuple):
    """The last decision: when it was made, how many pods were meant to stay until then, and how many since."""

    at: float
    base: int
    replicas: int


@dataclass(frozen=True, slots=True)
class Memory:
    """started_at: when remembering began: a start of the operator, or of its being asked."""

    started_at: float
    last: Last | None = None
    lows: Wishes = ()
    highs: Wishes = ()
    changes: tuple[Change, ...] = ()
    recent: Recent = ()
    surge: SurgeState | None = None
    fresh_at: float | None = None
    """When a pod last answered; None: not since the start."""
    scaled_at: float | None = None
    """When the number of pods last changed."""

    def observing(self, replicas: int, now: float, longest: float) -> "Memory":
        """With the change that the number of pods made since the last decision.

        replicas: pods that are meant to stay. longest: how far back a policy looks. What was decided counts from then on, as with the HPA. What somebody else did counts from when it is seen.
        """
        last = self.last
        if last is None or replicas == last.base:
            return self
        low, high = sorted((last.base, last.replicas))
        at = min(last.at, now) if low <= replicas <= high else now
        changes = with_change(self.changes, Change(at, replicas - last.base), longest)
        return replace(self, changes=changes, scaled_at=at)

    def rewound(self, now: float) -> "Memory":
        """With nothing in the future: where the clock was set back, what is remembered happened just now.

        Otherwise a clock that was wrong for a moment would hold the fleet for as long as it was wrong.
        """
        if self.last is None or self.last.at <= now:
            return self
        surge = self.surge
        return replace(
            self,
            started_at=min(self.started_at, now),
            last=self.last._replace(at=now),
            lows=tuple((min(at, now), wanted) for at, wanted in self.lows),
            highs=tuple((min(at, now), wanted) for at, wanted in self.highs),
            changes=tuple(Change(min(at, now), by) for at, by in self.changes),
            recent=(),
            surge=surge and surge._replace(reached_at=min(surge.reached_at, now)),
            fresh_at=None if self.fresh_at is None else min(self.fresh_at, now),
        )

    def to_status(self) -> dict[str, Any]:
        """What must survive, for `status.autoscaler`."""
        status: dict[str, Any] = {}
        if self.last is not None:
            status |= {"current": self.last.base, "desired": self.last.replicas}
        if self.scaled_at is not None:
            status["lastScaleTime"] = rfc3339(self.scaled_at)
        changes = condensed(self.changes, SAVED_CHANGES)
        status["changes"] = [{"time": rfc3339(change.at), "by": change.by} for change in changes]
        if self.surge is not None:
            status["surge"] = {"reachedAt": rfc3339(self.surge.reached_at), "peak": self.surge.peak}
        return status


def restored(status: Mapping[str, Any] | None, now: float) -> Memory:
    """The memory of an operator that has just started; what cannot be read, or lies in the future, is left out.

    A change that was made between the last status and the restart shows up as one that is seen now.
    """
    status = status or {}
    return Memory(
        started_at=now,
        last=_last(status.get("current"), status.get("desired"), now),
        changes=tuple(_changes(status.get("changes"), now)),
        surge=_surge(status.get("surge"), now),
        scaled_at=instant(status.get("lastScaleTime")),
    )


def _last(current: object, desired: object, now: float) -> Last | None:
    return Last(now, current, desired) if isinstance(current, int) and isinstance(desired, int) else None


def _changes(saved: object, now: float) -> list[Change]:
    found = []
    for each in saved if isinstance(saved, list) else []:
        at, by = instant(each.get("time")), each.get("by")
        if at is not None and at <= now and isinstance(by, int):
            found.append(Change(at, by))
    return found


def _surge(saved: object, now: float) -> SurgeState | None:
    if not isinstance(saved, Mapping):
        return None
    at, peak = instant(saved.get("reachedAt")), saved.get("peak")
    return SurgeState(at, peak) if at is not None and at <= now and isinstance(peak, int) else None
