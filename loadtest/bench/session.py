"""A run of the benchmark: which runs there are, in which order, and what came of them."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from loadtest.bench.machine import OTHERS, OtherLoad
from loadtest.bench.measures import QUICK, Effort
from loadtest.bench.peers import CORE, Peer
from loadtest.bench.results import Measurement, Results
from loadtest.bench.scenarios import Scenario

QUICK_SECONDS = 150.0
"""After this long --quick starts nothing more: the last run, the plots and the tables fit into what is left of 3 minutes."""


OTHERS_MOST = 10.0
"""Percent of a core from which other work on the machine is worth a warning."""


class Run(NamedTuple):
    """One measurement that is to be made."""

    scenario: Scenario
    streams: int
    round: int
    peer: Peer

    def __str__(self) -> str:
        return f"{self.scenario.name}, {self.streams:,} streams, round {self.round}, {self.peer.name}"


@dataclass(frozen=True, slots=True)
class Choice:
    """What was asked for on the command line."""

    scenarios: Sequence[Scenario]
    peers: Sequence[Peer]
    rounds: int = 3
    streams: Sequence[int] = ()
    quick: bool = False
    named: bool = False
    """Whether the peers were asked for by name: then all of them take part wherever they can."""
    effort: Effort = field(default_factory=Effort)


def plan(choice: Choice) -> Iterator[Run]:
    """Every round runs all peers one after the other, each time in another order: what drifts hits all alike."""
    rounds = 1 if choice.quick else choice.rounds
    for scenario in choice.scenarios:
        peers = [peer for peer in choice.peers if takes_part(peer, scenario, choice)]
        for streams in choice.streams or (scenario.quick_streams if choice.quick else scenario.streams):
            for number in range(1, rounds + 1):
                turn = number % max(len(peers), 1)
                yield from (Run(scenario, streams, number, peer) for peer in peers[turn:] + peers[:turn])


def takes_part(peer: Peer, scenario: Scenario, choice: Choice) -> bool:
    wide = choice.named or (scenario.wide and not choice.quick)
    return scenario.fits(peer) and (wide or peer in CORE)


def carry_out(choice: Choice, runs: Sequence[Run], tell: Callable[[Run, str], None]) -> tuple[Results, list[str]]:
    """Makes the measurements, one at a time; returns them, and a sentence for each that could not be made.

    tell: hears of each run before it starts (with nothing said) and after it (with what came of it).
    """
    measurements: list[Measurement] = []
    notes: list[str] = []
    began = time.monotonic()
    effort = QUICK if choice.quick else choice.effort
    for run in runs:
        if choice.quick and time.monotonic() - began > QUICK_SECONDS:
            notes.append(f"{run}: left out, --quick has had its time")
            continue
        tell(run, "")
        load = OtherLoad()
        try:
            metrics = run.scenario.measure(run.peer, run.streams, effort)
        except (RuntimeError, TimeoutError, OSError) as wrong:
            notes.append(f"{run}: {wrong}")
            tell(run, f"failed: {wrong}")
            continue
        measurements.append(
            Measurement(run.scenario.name, run.peer.name, run.streams, run.round, metrics | load.metrics())
        )
        tell(run, _lost(metrics.get("lost", 0)))
    return Results(tuple(measurements)), notes


def busy(measurements: Sequence[Measurement]) -> list[str]:
    """A warning where other work on the machine took part in what was measured."""
    found = [each.metrics[OTHERS] for each in measurements]
    if not found or statistics.median(found) < OTHERS_MOST:
        return []
    return [f"other work took {statistics.median(found):.0f} % of a core (median): the numbers are worth less"]


def _lost(events: float) -> str:
    return f"done, {events:,.0f} deliveries lost" if events else "done"
