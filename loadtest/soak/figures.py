"""What a run says: whether k6's thresholds were kept, and what the pods hold more at its end than at its beginning. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from loadtest.chaos.pods import Sample
from loadtest.soak.k6 import THRESHOLDS_CROSSED
from loadtest.soak.session import Outcome
from loadtest.soak.slope import Point, Slope, slope
from loadtest.soak.stage import Life

WARM_SHARE, WARM_LEAST, WARM_MOST = 0.25, 10.0, 300.0
"""Of a life, in seconds, that is left out: streams come, the log and the pools fill up, code is run for the first time."""

MEMORY_BYTES = 8 * 2**20
"""By as much a pod may grow beside its log in the time that it is watched. One that leaks nothing stays below one MiB; a
kilobyte for each of ten thousand streams or events would be more."""

FILES = 4
"""Descriptors beside one for each stream: a probe, a connection that is just being closed."""


@dataclass(frozen=True, slots=True)
class Growth:
    """Of a pod in one life. memory: bytes beside its log; files: open ones beside one for each stream."""

    life: Life
    memory: Slope
    files: Slope

    def leaks(self) -> Iterator[str]:
        """One sentence for each thing that it surely keeps."""
        for what, found, unit, size, allowed in (
            ("memory", self.memory, " MiB", 2**20, MEMORY_BYTES),
            ("open files", self.files, "", 1, FILES),
        ):
            if found.exceeds(allowed):
                grown, spread = found.grown / size, found.give_or_take / size
                yield (
                    f"pod {self.life.pod}'s {what} grew by {grown:.1f} ± {spread:.1f}{unit} in {found.seconds:.0f} s, "
                    f"and may by {allowed / size:g}{unit}"
                )


@dataclass(frozen=True, slots=True)
class Figures:
    """wrong: what failed the run, each in one sentence; empty where nothing did. unwatched: pods' lives that were too short
    to say anything about."""

    growths: list[Growth]
    unwatched: int
    wrong: list[str]


def figures(outcome: Outcome) -> Figures:
    """Judges a run."""
    found = [(life, growth(life, outcome.samples[life.pod])) for life in outcome.lives]
    growths = [each for _, each in found if each is not None]
    return Figures(growths, len(found) - len(growths), list(_wrong(outcome, growths)))


def growth(life: Life, samples: Sequence[Sample]) -> Growth | None:
    """None where the life was too short."""
    warm = min(max((life.until - life.since) / 1000 * WARM_SHARE, WARM_LEAST), WARM_MOST)
    memory, files, most = [], [], 0
    for each in samples:
        if each.boot != life.boot or not life.since <= each.at <= life.until or each.streams < 0 or not each.rss:
            continue
        most = max(most, each.streams)
        if each.at - life.since >= warm * 1000:
            memory.append(Point(each.at / 1000, each.rss - each.kept, most))
            files.append(Point(each.at / 1000, each.files - each.streams, 0))
    by_memory, by_files = slope(memory), slope(files)
    return None if by_memory is None or by_files is None else Growth(life, by_memory, by_files)


def _wrong(outcome: Outcome, growths: Sequence[Growth]) -> Iterator[str]:
    result = outcome.result
    crossed = [str(each) for each in result.thresholds if not each.ok]
    if crossed:
        yield f"thresholds were crossed: {', '.join(crossed)}"
    if result.code not in (0, THRESHOLDS_CROSSED) or (result.code and not crossed):
        yield f"k6 ended with {result.code}: {result.said or 'it said nothing'}"
    for each in growths:
        yield from each.leaks()
    if not growths:
        yield "no pod lived long enough to tell whether it leaks"
    yield from outcome.died
    if outcome.tracebacks:
        yield f"{len(outcome.tracebacks)} tracebacks in the pods' logs, the first: {outcome.tracebacks[0]}"
    yield from (f"a pod could not be exchanged: {each.trouble}" for each in outcome.changes if each.trouble)
