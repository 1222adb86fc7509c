"""What a run says: the clients' records judged and counted, and which figures are not what they must be."""

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from loadtest.chaos.effects import SIGNS
from loadtest.chaos.expected import expected
from loadtest.chaos.faults import ORDERLY, SUDDEN
from loadtest.chaos.growth import Growth, growth, kept_per_stream
from loadtest.chaos.oracle import Verdict, judge
from loadtest.chaos.plan import FAREWELL_SECONDS
from loadtest.chaos.pods import Sample
from loadtest.chaos.records import Client, Paused, Summary, read
from loadtest.chaos.session import OLDEST, Happened, Outcome, effects
from loadtest.chaos.timeline import Timeline, most_in_a_second
from loadtest.chaos.traffic import KINDS, Kind
from loadtest.chaos.treadmill import STREAMS
from loadtest.chaos.truth import Span, Truth

LEAKED_BYTES = 512
"""Of each stream on the treadmill, from which on a pod leaks. One that leaks nothing keeps 16 to 30, measured over 100,000
streams; the kernel counts in pages, and the last round may have found a few more of them free than another."""

MUST_BE_ZERO = {
    "lost": "events lost",
    "duplicated": "events duplicated",
    "out_of_order": "events out of order",
    "not_as_expected": "deliveries more or fewer than the publisher's log makes expected",
    "foreign": "events or positions that were never stored there, or not asked for",
    "malformed": "malformed blocks",
    "wrong_times": "events whose JSON form tells another time than that of their storage",
    "false_gaps": "false gaps",
    "missing_gaps": "missing gaps",
    "gave_up": "clients that gave up for good",
    "never_begun": "clients that were never given a position",
    "unsettled": "clients that had not come to the stream's head at the end of a part",
    "over_budget": "peaks of reconnects above the budget, of faults that happened alone or of streams that ended by age",
    "not_carried_out": "faults that could not be carried out",
    "without_effect": "kinds of fault without effect",
    "pods_died": "pods that ended by themselves",
    "tracebacks": "tracebacks in the pods' logs",
    "streams_left": "streams that pods still counted after all clients were gone",
    "files_leaked": "open files that pods had beside their streams and not before",
    "pods_leaked": f"pods that kept {LEAKED_BYTES} bytes or more of each stream that came and went at the end",
}

STOPS_THE_CLOCK = frozenset({"freeze", "overflow"})
"""Faults that freeze a pod: what was due meanwhile comes at once afterwards."""


@dataclass
class Delivery:
    """Of the clients of one kind, milliseconds: the longest pause of each, less the publisher's rests, and the longest way of
    an event to it."""

    pauses: list[int] = field(default_factory=list)
    delays: list[int] = field(default_factory=list)


@dataclass
class Figures:
    """counts: MUST_BE_ZERO and others, by name. deliveries: by the kind of client."""

    counts: Counter[str]
    findings: list[str]
    timeline: Timeline
    deliveries: dict[str, Delivery] = field(default_factory=lambda: defaultdict(Delivery))
    peaks: list[tuple[Happened, int]] = field(default_factory=list)
    """Faults that make clients come back, with the most reconnects in a second."""
    effects: list[tuple[Happened, int]] = field(default_factory=list)
    """Faults, with how much rose what they must make rise."""
    growth: Growth | None = None
    kept: float | None = None
    """Bytes of each stream on the treadmill."""
    """Of the oldest pod, since it was last started."""
    latest: tuple[Summary, Client] | None = None
    """Of all clients the one that waited longest for an event."""

    @property
    def wrong(self) -> list[str]:
        """What is not zero and must be."""
        return [f"{self.counts[name]:,} {what}" for name, what in MUST_BE_ZERO.items() if self.counts[name]]

    @property
    def peak_aged(self) -> int:
        """Of clients whose streams ended by age."""
        return most_in_a_second(self.timeline.aged)

    def peak(self, names: frozenset[str], *, alone: bool) -> int | None:
        """The most of some kinds, of those that happened alone or of the others; None where there were none."""
        found = [peak for each, peak in self.peaks if each.fault.name in names and bool(each.fault.alone) is alone]
        return max(found, default=None)

    def as_json(self) -> dict[str, Any]:
        names = [*MUST_BE_ZERO, *(name for name in self.counts if name not in MUST_BE_ZERO)]
        return {
            **{name: self.counts[name] for name in names},
            "peak_orderly_alone": self.peak(ORDERLY, alone=True),
            "peak_sudden_alone": self.peak(SUDDEN, alone=True),
            "peak_aged": self.peak_aged,
            "peak_orderly": self.peak(ORDERLY, alone=False),
            "peak_sudden": self.peak(SUDDEN, alone=False),
            "pause_ms": {name: spread(each.pauses) for name, each in self.deliveries.items()},
            "delay_ms": {name: spread(each.delays) for name, each in self.deliveries.items()},
            "kept_per_stream": self.kept,
            "oldest_pod": self.growth and {**self.growth._asdict(), "rss_per_minute": self.growth.rss_per_minute},
        }


def figures(outcome: Outcome) -> Figures:
    """Reads and judges what every client wrote down."""
    kinds, ledger = {kind.name: kind for kind in KINDS}, read(outcome.ledger)
    disturbed = [Span(each.began, each.ended) for each in outcome.happened if each.fault.name in STOPS_THE_CLOCK]
    timeline = Timeline(outcome.began, round(outcome.options.max_age_seconds * 1000), disturbed)
    total = Verdict()
    found = Figures(total.counts, total.findings, timeline)
    for client in ledger.clients:
        _one(outcome, client, kinds[client.kind], found, total)
    found.counts = total.counts
    _count(outcome, found)
    wrong_times = [number for number, at in ledger.times.items() if not outcome.truth.was_stored_at(number, at)]
    found.counts["wrong_times"] = len(wrong_times)
    found.counts["times_compared"] = len(ledger.times)
    _peaks(outcome, found)
    _effects(outcome, found)
    _leaks(outcome, found)
    found.findings += [f"{each.fault.name}: {each.trouble}" for each in outcome.happened if each.trouble]
    found.findings += [*outcome.died, *outcome.tracebacks[:3]]
    return found


def _one(outcome: Outcome, client: Client, kind: Kind, found: Figures, total: Verdict) -> None:
    entries = list(client.entries())
    found.timeline.add(entries)
    verdict = judge(outcome.truth, kind, entries, f"client {client.index} ({client.kind})", outcome.began)
    owed = expected(outcome.truth, kind, entries)
    verdict.counts["expected"] = owed
    verdict.counts["not_as_expected"] = abs(owed - verdict.counts["made"])
    total.add(verdict)
    deliveries = found.deliveries[client.kind]
    deliveries.pauses.append(longest_pause(outcome.truth, [each for each in entries if isinstance(each, Paused)]))
    for each in entries:
        if isinstance(each, Summary):
            deliveries.delays.append(each.delay)
            if found.latest is None or each.delay > found.latest[0].delay:
                found.latest = each, client


def longest_pause(truth: Truth, pauses: Sequence[Paused]) -> int:
    """Milliseconds, less the publisher's rests."""
    return max((truth.pause(each.since, each.at) for each in pauses), default=0)


def _count(outcome: Outcome, found: Figures) -> None:
    counts = found.counts
    counts["published"] = len(outcome.truth.by_number)
    counts["reconnects"] = sum(found.timeline.reconnects)
    counts["reconnects_aged"] = sum(found.timeline.aged)
    counts["unsettled"] = outcome.unsettled
    counts["not_carried_out"] = sum(bool(each.trouble) for each in outcome.happened)
    counts["pods_died"] = len(outcome.died)
    counts["tracebacks"] = len(outcome.tracebacks)


def _peaks(outcome: Outcome, found: Figures) -> None:
    """Those of what happened alone are judged; faults that overlap have theirs together."""
    budget = outcome.options.budget
    for each in outcome.happened:
        if each.fault.name in ORDERLY | SUDDEN:
            after = outcome.options.back_seconds if each.fault.name in SUDDEN else FAREWELL_SECONDS
            peak = found.timeline.peak(each.began, each.ended + round(after * 1000))
            found.peaks.append((each, peak))
            if each.fault.alone and peak > budget:
                found.counts["over_budget"] += 1
                found.findings.append(f"{each.fault.name} alone: {peak} reconnects in a second, budget {budget:.0f}")
    if found.peak_aged > budget:
        found.counts["over_budget"] += 1
        found.findings.append(f"ends by age: {found.peak_aged} reconnects in a second, budget {budget:.0f}")


def _effects(outcome: Outcome, found: Figures) -> None:
    """A kind had an effect where any of its faults had one."""
    found.effects = [(each, effects([each], outcome.histories).total()) for each in outcome.happened]
    for name in without_effect(effects(outcome.happened, outcome.histories)):
        found.counts["without_effect"] += 1
        found.findings.append(f"{name} had no effect: none of {', '.join(SIGNS[name])} rose")


def without_effect(by_kind: Mapping[str, int]) -> list[str]:
    return [name for name, had in by_kind.items() if not had]


def _leaks(outcome: Outcome, found: Figures) -> None:
    for name, value in _left(outcome):
        found.counts[name] += value
    found.growth = growth([each for each in _last_life(outcome) if each.at <= outcome.ended])
    found.kept = kept_per_stream(outcome.trodden, STREAMS)
    if outcome.trouble:
        found.counts["not_carried_out"] += 1
        found.findings.append(outcome.trouble)
    elif found.kept is not None and found.kept >= LEAKED_BYTES:
        found.counts["pods_leaked"] += 1
        found.findings.append(f"pod {OLDEST} kept {found.kept:.0f} bytes of each stream that came and went at the end")


def _left(outcome: Outcome) -> Iterator[tuple[str, int]]:
    before = {each.pod: each for each in outcome.weights["before"]}
    for place in ("between", "after"):
        for each in outcome.weights[place]:
            yield "files_leaked", max(each.files - before[each.pod].files, 0)
    for each in outcome.weights["after"]:
        yield "streams_left", each.streams


def _last_life(outcome: Outcome) -> Iterator[Sample]:
    samples = outcome.samples[OLDEST]
    return (each for each in samples if each.boot == samples[-1].boot)


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
