"""What a run says: the clients' records judged and counted, and which figures are not what they must be."""

import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from loadtest.chaos.faults import ORDERLY, SUDDEN
from loadtest.chaos.oracle import Verdict, judge
from loadtest.chaos.records import Summary, read
from loadtest.chaos.session import Happened, Outcome
from loadtest.chaos.timeline import Timeline
from loadtest.chaos.traffic import KINDS

GROWTH_BYTES = 64 * 2**20
"""More than this a pod may not have grown by, once all its streams are gone."""

SETTLED_MS = 1000
"""After the last retry that a fault gave out."""

STEADY = ("plain", "json", "slow")
"""Kinds that are owed every event: a pause in what they get is nobody's choice."""

MUST_BE_ZERO = {
    "lost": "events lost",
    "duplicated": "events duplicated",
    "out_of_order": "events out of order",
    "foreign": "events or positions that were never stored there, or not asked for",
    "malformed": "malformed blocks",
    "false_gaps": "false gaps",
    "missing_gaps": "missing gaps",
    "gave_up": "clients that gave up for good",
    "never_begun": "clients that were never given a position",
    "unsettled": "clients that had not come to the stream's head at the end of a part",
    "not_carried_out": "faults that could not be carried out",
    "pods_died": "pods that ended by themselves",
    "tracebacks": "tracebacks in the pods' logs",
    "streams_left": "streams that pods still counted after all clients were gone",
    "files_leaked": "open files that pods had beside their streams and not before",
    "pods_grown": f"pods that grew by more than {GROWTH_BYTES >> 20} MiB",
}


@dataclass
class Figures:
    """counts: MUST_BE_ZERO and others, by name. pauses, delays: milliseconds, of each client that is owed every event."""

    counts: Counter[str]
    findings: list[str]
    timeline: Timeline
    pauses: list[int] = field(default_factory=list)
    delays: list[int] = field(default_factory=list)
    peaks: list[tuple[Happened, int]] = field(default_factory=list)
    """Faults that make clients come back, with the most reconnects in a second."""

    @property
    def wrong(self) -> list[str]:
        """What is not zero and must be."""
        return [f"{self.counts[name]:,} {what}" for name, what in MUST_BE_ZERO.items() if self.counts[name]]

    def peak(self, names: frozenset[str]) -> int:
        return max((peak for happened, peak in self.peaks if happened.fault.name in names), default=0)

    def as_json(self) -> dict[str, Any]:
        names = [*MUST_BE_ZERO, *(name for name in self.counts if name not in MUST_BE_ZERO)]
        return {
            **{name: self.counts[name] for name in names},
            "peak_orderly": self.peak(ORDERLY),
            "peak_sudden": self.peak(SUDDEN),
            "pause_ms": spread(self.pauses),
            "delay_ms": spread(self.delays),
        }


def figures(outcome: Outcome) -> Figures:
    """Reads and judges what every client wrote down."""
    kinds = {kind.name: kind for kind in KINDS}
    timeline, total = Timeline(outcome.began), Verdict()
    found = Figures(total.counts, total.findings, timeline)
    for client in read(outcome.ledger):
        entries = list(client.entries())
        timeline.add(entries)
        total.add(
            judge(outcome.truth, kinds[client.kind], entries, f"client {client.index} ({client.kind})", outcome.began)
        )
        if client.kind in STEADY and entries and isinstance(entries[-1], Summary):
            found.pauses.append(entries[-1].pause)
            found.delays.append(entries[-1].delay)
    found.counts = total.counts
    _count(outcome, found)
    found.findings += [*outcome.died, *outcome.tracebacks[:3]]
    longest = outcome.options.retry_ms + outcome.options.spread_ms + SETTLED_MS
    found.peaks = [
        (each, timeline.peak(each.began, each.ended + longest))
        for each in outcome.happened
        if each.fault.name in ORDERLY | SUDDEN
    ]
    return found


def _count(outcome: Outcome, found: Figures) -> None:
    counts = found.counts
    counts["published"] = len(outcome.truth.by_number)
    counts["expected"] = counts["made"] + counts["lost"]
    counts["reconnects"] = sum(found.timeline.reconnects)
    counts["unsettled"] = outcome.unsettled
    counts["not_carried_out"] = sum(bool(each.trouble) for each in outcome.happened)
    counts["pods_died"] = len(outcome.died)
    counts["tracebacks"] = len(outcome.tracebacks)
    for name, value in _leaks(outcome):
        counts[name] += value
    found.findings += [f"{each.fault.name}: {each.trouble}" for each in outcome.happened if each.trouble]


def _leaks(outcome: Outcome) -> Iterator[tuple[str, int]]:
    before = {each.pod: each for each in outcome.weights["before"]}
    for place in ("between", "after"):
        for each in outcome.weights[place]:
            yield "files_leaked", max(each.files - before[each.pod].files, 0)
    for each in outcome.weights["after"]:
        yield "streams_left", each.streams
        yield "pods_grown", int(each.rss - before[each.pod].rss > GROWTH_BYTES)


def spread(values: Sequence[int]) -> dict[str, float]:
    """Median, 99th percentile and most."""
    if not values:
        return {}
    ordered = sorted(values)
    return {
        "median": statistics.median(ordered),
        "p99": ordered[min(int(len(ordered) * 0.99), len(ordered) - 1)],
        "most": ordered[-1],
    }
