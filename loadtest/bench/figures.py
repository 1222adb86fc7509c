"""The figures that ssecast is to reach, and what the measurements say about each. People judge; nothing fails."""

from collections.abc import Iterator
from dataclasses import dataclass

from loadtest.bench.peers import BEFORE
from loadtest.bench.results import Results, Spread, number

US = "ssecast"


@dataclass(frozen=True, slots=True)
class Figure:
    """A ratio against a rival, or a value of our own (no rival), with what is asked at least and what is aimed at."""

    what: str
    scenario: str
    metric: str
    rival: str
    least: float
    aim: float
    streams: tuple[int, ...] = ()
    """Numbers of streams that it is asked for; none: all that were measured."""
    more_is_better: bool = False
    scale: float = 1.0
    unit: str = "x"
    us: str = US


LARGE = (5000, 10_000, 18_000)

FIGURES = (
    Figure("one event, last stream, against the floor", "one", "last_ms", "floor-n", 1.25, 1.05, LARGE),
    Figure("the same, one thread each", "one", "last_ms", "floor-1", 1.25, 1.05, LARGE, us="ssecast-1"),
    Figure("one event, last stream, against the Go hub", "one", "last_ms", "go-hub", 0.85, 0.65, LARGE),
    Figure("burst of 50, deliveries per second", "burst", "burst50_per_s", "go-hub", 8, 15, more_is_better=True),
    Figure("p99 of a delivery in that burst", "burst", "burst50_p99_ms", "go-hub", 0.15, 0.07),
    Figure("memory per stream", "one", "memory_per_stream", "", 2.5, 1.5, LARGE, scale=1e-3, unit=" KB"),
    Figure("CPU per opened stream", "one", "open_cpu_us", "go-hub", 1.0, 0.6),
    Figure("CPU per opened stream, all at once", "open", "open_cpu_us", "go-hub", 1.0, 0.6),
    Figure("until all heads are there, all at once", "open", "heads_ms", "go-hub", 1.5, 1.0),
    Figure("CPU per event and stream, sustained", "burst", "rate_cpu_us_per_delivery", "go-hub", 0.5, 0.25),
    Figure("idle", "idle", "cpu_percent", "", 2, 1, unit=" % of a core"),
    Figure("live p99 in a resume storm, against calm with all open", "resume", "storm_ratio", "", 3, 3),
    Figure("the same, against calm with the live tenth alone", "resume", "storm_growth", "", 3, 3),
    Figure(
        "memory that the storm takes, per stream of it",
        "resume",
        "memory_per_stream",
        "",
        4.0,
        4.0,
        scale=1e-3,
        unit=" KB",
    ),
    Figure(
        "from the last head of a storm to the last stream that has caught up",
        "resume",
        "waited_ms",
        "",
        1000,
        1000,
        unit=" ms",
    ),
    Figure("p99 beside one stalled in ten, against none", "stalled", "stalled_ratio", "", 1.1, 1.0),
    Figure("a fleet against floors in the same layout", "fleet", "last_ms", "floor-n", 1.3, 1.3),
    Figure("one event, last stream, against before", "one", "last_ms", BEFORE, 1.05, 1.0),
    Figure("memory per stream, against before", "one", "memory_per_stream", BEFORE, 1.05, 1.0),
    Figure("CPU per opened stream, against before", "open", "open_cpu_us", BEFORE, 1.05, 1.0),
    Figure("until all heads are there, against before", "open", "heads_ms", BEFORE, 1.05, 1.0),
    Figure("burst of 50, last delivery p99, against before", "burst", "burst50_p99_ms", BEFORE, 1.05, 1.0),
    Figure(
        "CPU per event and stream, sustained, against before", "burst", "rate_cpu_us_per_delivery", BEFORE, 1.05, 1.0
    ),
    Figure("idle CPU, against before", "idle", "cpu_percent", BEFORE, 1.05, 1.0),
)


def verdicts(results: Results) -> Iterator[tuple[str, str, str, str, str]]:
    """(what, streams, measured, at least, aim) of each figure that was measured."""
    for figure in FIGURES:
        for streams in results.streams(figure.scenario):
            spread = _measured(results, figure, streams)
            if spread is not None and streams in (figure.streams or (streams,)):
                yield (
                    f"{figure.what} ({figure.us} / {figure.rival})" if figure.rival else figure.what,
                    f"{streams:,}",
                    f"{_text(spread, figure)} {_judged(spread.median * figure.scale, figure)}",
                    f"{number(figure.least)}{figure.unit}",
                    f"{number(figure.aim)}{figure.unit}",
                )
    yield from _growth(results)
    yield from _subjects(results)


def _measured(results: Results, figure: Figure, streams: int) -> Spread | None:
    if figure.rival:
        return results.ratio(figure.scenario, streams, figure.metric, figure.us, figure.rival)
    return results.spread(figure.scenario, figure.us, streams, figure.metric)


def _text(spread: Spread, figure: Figure) -> str:
    median, least, most = (number(value * figure.scale) for value in spread)
    return f"{median}{figure.unit}" + (f" ({least}-{most})" if least != most else "")


def _judged(value: float, figure: Figure) -> str:
    def reached(bound: float) -> bool:
        return value >= bound if figure.more_is_better else value <= bound

    return "✓✓" if reached(figure.aim) else "✓" if reached(figure.least) else "✗"


def _growth(results: Results) -> Iterator[tuple[str, str, str, str, str]]:
    """Time per stream at the most streams against that at the fewest."""
    sweep = results.streams("one")
    ends = [results.spread("one", US, streams, "last_ms") for streams in (sweep[:1] + sweep[-1:])]
    if len(sweep) > 1 and ends[0] and ends[1]:
        ratio = (ends[1].median / sweep[-1]) / (ends[0].median / sweep[0])
        mark = "✓" if ratio <= 1.15 else "✗"  # below 1, what an event costs once is shared by more
        yield (
            "time per stream, most against fewest",
            f"{sweep[0]:,} - {sweep[-1]:,}",
            f"{number(ratio)}x {mark}",
            "1.15x",
            "1x",
        )


def _subjects(results: Results) -> Iterator[tuple[str, str, str, str, str]]:
    """An event to one of many subjects against one of few; within noise means that their spreads meet."""
    sweep = results.streams("selective")
    few, many = (
        (results.spread("selective", US, streams, "last_ms") for streams in (sweep[0], sweep[-1]))
        if sweep
        else (None, None)
    )
    if len(sweep) > 1 and few and many:
        shown = " / ".join(
            f"{number(each.median)} ms ({number(each.least)}-{number(each.most)})" for each in (many, few)
        )
        mark = "✓" if many.least <= few.most else "✗"
        what = "an event to one of N subjects, most / fewest"
        yield (what, f"{sweep[0]:,} - {sweep[-1]:,}", f"{shown} {mark}", "same", "same")
