"""Whether a fault did what it is there for: some counter of the pods must have risen. Pure.

A fault that does nothing proves nothing, and would be the easiest one to survive.
"""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

KILLED, FROZEN, REPLACED = "chaos_streams_killed", "chaos_frozen", "chaos_workers_replaced"
"""Counted by ourselves: streams of a pod at its last look before SIGKILL; processes that the kernel calls stopped; workers of
the proxy that ended after others had come."""

LAG_MS = 6000
"""After a fault, at most, until its effect has come about and been looked at."""


def _closed(*reasons: str) -> tuple[str, ...]:
    return tuple(f'ssecast_streams_closed_total{{reason="{reason}"}}' for reason in reasons)


def _breaks(reason: str) -> tuple[str, ...]:
    return (f'ssecast_breaks_total{{reason="{reason}"}}',)


def _resumes(*results: str) -> tuple[str, ...]:
    return tuple(f'ssecast_resumes_total{{result="{result}"}}' for result in results)


OWN = {
    "kill": (KILLED,),
    "stop": _closed("drain", "shutdown"),
    "drain": _closed("drain"),
    "freeze": (FROZEN,),
    "behind": _resumes("ahead"),
    "full": ('ssecast_streams_refused_total{reason="full"}',),
    "overflow": ('ssecast_source_restarts_total{reason="overflow"}',),
}
"""What must rise on the fault's pod."""

ANY = {
    "blackout": (KILLED,),
    "shed": _closed("shed"),
    "nats": ('ssecast_source_restarts_total{reason="disconnected"}',),
    "reload": (REPLACED,),
    "stall": _closed("slow", "stalled"),
    "reset": _closed("client"),
    "quiet": _resumes("memory", "jetstream"),
    "rollout": _closed("shed"),
    "expired": _breaks("expired"),
    "recreated": _breaks("epoch"),
    "rewound": _breaks("rewound"),
}
"""What must rise on all pods together, or on the stage."""

SIGNS: Mapping[str, tuple[str, ...]] = OWN | ANY


class Look(NamedTuple):
    """What a pod and those before it in its place had counted at one moment, milliseconds."""

    at: int
    counters: Counter[str]


def effect(name: str, pod: int, began: int, ended: int, histories: Sequence[Sequence[Look]]) -> int:
    """How much rose what the fault must make rise, on the pods that it is about. histories: of each pod, and of the stage."""
    concerned = [histories[pod]] if name in OWN else histories
    return sum(risen(history, SIGNS[name], began, ended + LAG_MS) for history in concerned)


def risen(history: Sequence[Look], names: Iterable[str], since: int, until: int) -> int:
    """From the last look before `since` to the first one after `until`, or the last of all."""
    starts = tuple(names)
    before = bisect_right(history, since, key=lambda look: look.at) - 1
    after = min(bisect_left(history, until, key=lambda look: look.at), len(history) - 1)
    if after < 0:
        return 0
    return max(
        _sum(history[after].counters, starts) - (_sum(history[before].counters, starts) if before >= 0 else 0), 0
    )


def _sum(counters: Counter[str], starts: tuple[str, ...]) -> int:
    return sum(value for name, value in counters.items() if name.startswith(starts))
