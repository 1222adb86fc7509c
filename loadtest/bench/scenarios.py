"""The questions that the benchmark asks, with how many streams, and of whom."""

from collections.abc import Callable
from dataclasses import dataclass

from loadtest.bench.measures import (
    BACKLOG_EVENTS,
    CHANNELS,
    RATE,
    Effort,
    Metrics,
    at_once,
    burst,
    fleet,
    idle,
    one_event,
    resume_storm,
    selective,
    stalled,
)
from loadtest.bench.peers import Peer


@dataclass(frozen=True, slots=True)
class Scenario:
    """A question, the numbers of streams it is asked with, and which peers can answer it."""

    number: int
    name: str
    title: str
    measure: Callable[[Peer, int, Effort], Metrics]
    streams: tuple[int, ...]
    quick_streams: tuple[int, ...]
    fits: Callable[[Peer], bool] = lambda peer: True
    wide: bool = False
    """Whether all peers take part; else only those of the published comparison, unless others are named."""
    shown: tuple[str, ...] = ()
    """Metrics of the table, in this order."""


COUNTS = ("lost", "duplicates", "out_of_order")
SWEEP = (1000, 5000, 10_000, 18_000)

SCENARIOS = (
    Scenario(
        number=1,
        name="one",
        title="One event, until the last stream has it",
        measure=one_event,
        streams=SWEEP,
        quick_streams=(1000, 5000),
        wide=True,
        shown=("last_ms", "p50_ms", "p99_ms", "cpu_us_per_delivery", "open_cpu_us", "memory_per_stream", *COUNTS),
    ),
    Scenario(
        number=2,
        name="burst",
        title=f"Bursts of 10 and 50, and {RATE} events per second",
        measure=burst,
        streams=(1000, 5000, 10_000),
        quick_streams=(2000,),
        wide=True,
        shown=(
            *("burst10_per_s", "burst10_p99_ms", "burst50_per_s", "burst50_p50_ms", "burst50_p99_ms"),
            *("rate_p99_ms", "rate_cpu_us_per_delivery", *COUNTS),
        ),
    ),
    Scenario(
        number=3,
        name="open",
        title="All streams opened at once, until the last one has its head",
        measure=at_once,
        streams=SWEEP,
        quick_streams=(5000,),
        wide=True,
        shown=("heads_ms", "issued_ms", "head_p50_ms", "head_p99_ms", "open_cpu_us", "listen_drops", "failed", "lost"),
    ),
    Scenario(
        number=4,
        name="resume",
        title=f"Streams come back at once, {BACKLOG_EVENTS:,} events behind; a tenth as many are served live meanwhile",
        measure=resume_storm,
        streams=(1000, 5000),
        quick_streams=(500,),
        fits=lambda peer: peer.resumes,
        shown=(
            *(
                "calm_p99_ms",
                "storm_p99_ms",
                "after_p99_ms",
                "storm_ratio",
                "storm_growth",
                "storm_events",
                "heads_ms",
                "caught_up_ms",
                "replayed_per_s",
            ),
            *("memory_bytes", "failed", *COUNTS, "gaps"),
        ),
    ),
    Scenario(
        number=5,
        name="selective",
        title=f"An event to one of N subjects; one event to {CHANNELS:,} channels",
        measure=selective,
        streams=(10, 1000, 10_000),
        quick_streams=(10, 2000),
        fits=lambda peer: bool(peer.subject_query),
        shown=("last_ms", "channels_last_ms", "lost"),
    ),
    Scenario(
        number=6,
        name="idle",
        title="Nothing but heartbeats",
        measure=idle,
        streams=(5000, 18_000),
        quick_streams=(5000,),
        shown=("cpu_percent", "memory_per_stream", "rss_bytes", "closed"),
    ),
    Scenario(
        number=7,
        name="stalled",
        title="One stream in ten reads nothing",
        measure=stalled,
        streams=(1000, 5000),
        quick_streams=(1000,),
        shown=("calm_p99_ms", "stalled_p99_ms", "calm_ms", "stalled_ms", "rss_bytes", "lost"),
    ),
    Scenario(
        number=8,
        name="fleet",
        title="Several pods on one machine, one event to all",
        measure=fleet,
        streams=(50_000,),
        quick_streams=(4000,),
        shown=("last_ms", "memory_per_stream", "lost"),
    ),
)
