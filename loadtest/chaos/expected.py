"""How many events a client must have got, worked out without the oracle: from the truth, where the client began, and the
gaps that it was told of. Pure.

What came to it counts only where `latest` lets the pod choose. The oracle goes through what came, one by one; that both
come to the same sum is a figure of the report.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from loadtest.chaos.records import Entry, Gap, Placed, Run
from loadtest.chaos.traffic import Kind
from loadtest.chaos.truth import Truth, index_after


class Stay(NamedTuple):
    """A client is owed what one era holds after one seq, up to another one; upto None: to the era's end.

    at: when a gap led past all of that, so that what had expired by then is not owed; 0 where none did.
    """

    era: int
    after: int
    upto: int | None
    at: int = 0


def expected(truth: Truth, kind: Kind, entries: Sequence[Entry]) -> int:
    """Events that a client with these gaps is owed."""
    stays = list(_stays(truth, entries))
    if not kind.latest:
        return sum(len(_numbers(truth, kind, stay)) for stay in stays)
    had = {number for entry in entries if isinstance(entry, Run) for _, number in entry.events()}
    owed = {number for stay in stays for number in _numbers(truth, kind, stay)}
    newest = {truth.by_number[number].subject: number for number in _newest_era(truth, kind)}
    return len(owed & (had | set(newest.values())))


def _stays(truth: Truth, entries: Sequence[Entry]) -> Iterator[Stay]:
    """Between two gaps, and within a gap. A client that steps into another epoch without one begins anew there."""
    era, after, last = -1, 0, 0
    for entry in entries:
        if not isinstance(entry, Placed | Run | Gap):
            continue
        seq = entry.seq if not isinstance(entry, Run) else entry.seq - 1
        if isinstance(entry, Gap) or era < 0 or truth.eras[era].epoch != entry.epoch:
            entered = truth.era_at(entry.epoch, entry.at)
            if entered is None:
                continue
            if era >= 0:
                yield Stay(era, after, last)
            if entered == era:
                yield Stay(era, last, seq, entry.at)
            era, after, last = entered, seq, seq
        last = max(last, entry.seq + entry.step * (entry.length - 1) if isinstance(entry, Run) else seq)
    if era >= 0:
        yield Stay(era, after, None)


def _numbers(truth: Truth, kind: Kind, stay: Stay) -> list[int]:
    owed = truth.owed(stay.era, kind.subjects)
    here = slice(index_after(owed, stay.after), None if stay.upto is None else index_after(owed, stay.upto))
    numbers = owed.numbers[here]
    if stay.at:
        numbers = [
            number
            for seq, number in zip(owed.seqs[here], numbers, strict=True)
            if not truth.expired(stay.era, seq, stay.at)
        ]
    return numbers


def _newest_era(truth: Truth, kind: Kind) -> list[int]:
    return truth.owed(len(truth.eras) - 1, kind.subjects).numbers
