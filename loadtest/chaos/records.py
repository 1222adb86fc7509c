"""What the clients wrote down: the lines of `fanbench eventsource` as values. The format stands in fanbench/ledger.go."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple


class Connected(NamedTuple):
    """It asks for what comes after this id; empty where it has none."""

    at: int
    port: int
    last_id: str


class Refused(NamedTuple):
    """There was no head."""

    at: int
    why: str


class Opened(NamedTuple):
    """The head of an event stream."""

    at: int


class Placed(NamedTuple):
    """A position block: all that it was owed up to here was sent."""

    at: int
    epoch: str
    seq: int


class Run(NamedTuple):
    """Events that came one after the other. at: when the first came; until: when the last did."""

    at: int
    until: int
    epoch: str
    seq: int
    number: int
    step: int
    stride: int
    length: int

    def events(self) -> Iterator[tuple[int, int]]:
        """(seq, number) of each."""
        return ((self.seq + self.step * place, self.number + self.stride * place) for place in range(self.length))


class Gap(NamedTuple):
    """A gap block. seq: from where the stream goes on; the rest is what its data says."""

    at: int
    epoch: str
    seq: int
    requested: str
    oldest: str
    following: str
    reason: str


class Malformed(NamedTuple):
    """Something that no client should ever see."""

    at: int
    what: str


class Ended(NamedTuple):
    """The connection ended."""

    at: int
    how: str


class GaveUp(NamedTuple):
    """It will never come back."""

    at: int
    status: str


class Paused(NamedTuple):
    """One of its longest pauses between two events; written down at the end."""

    at: int
    since: int


class Summary(NamedTuple):
    """The longest way of an event, and when it was sent."""

    delay: int
    sent: int


Entry = Connected | Refused | Opened | Placed | Run | Gap | Malformed | Ended | GaveUp | Paused | Summary

_TEXTS: dict[str, Callable[[int, str], Entry]] = {"x": Refused, "b": Malformed, "e": Ended, "f": GaveUp}


@dataclass
class Client:
    """One EventSource and what it saw, in order. kind: the name of what it asked for."""

    index: int
    kind: str
    lines: list[str] = field(default_factory=list)

    def entries(self) -> Iterator[Entry]:
        return map(parse, self.lines)


def parse(line: str) -> Entry:
    """One line, without the client's number. Raises ValueError."""
    letter, rest = line[0], line[2:]
    if letter == "r":
        first, last, epoch, *numbers = rest.split()
        return Run(int(first), int(last), epoch, *map(int, numbers))
    if letter == "s":
        return Summary(*map(int, rest.split()))
    at, _, rest = rest.partition(" ")
    if letter == "q":
        return Paused(int(at), int(rest))
    if letter in _TEXTS:
        return _TEXTS[letter](int(at), rest)
    if letter == "h":
        return Opened(int(at))
    if letter == "c":
        port, last_id = rest.split()
        return Connected(int(at), int(port), "" if last_id == "-" else last_id)
    epoch, _, rest = rest.partition(" ")
    if letter == "p":
        return Placed(int(at), epoch, int(rest))
    if letter == "g":
        seq, _, data = rest.partition(" ")
        return _gap(int(at), epoch, int(seq), data)
    raise ValueError(f"{line!r} is no record")


def _gap(at: int, epoch: str, seq: int, data: str) -> Gap | Malformed:
    try:
        body = json.loads(data)
        values = [body[name] for name in ("requested", "oldest", "next", "reason")]
        if all(isinstance(value, str) for value in values):
            return Gap(at, epoch, seq, *values)
    except (ValueError, KeyError, TypeError):
        pass
    return Malformed(at, f"a gap with the data {data!r}")


@dataclass
class Ledger:
    """All clients of a run, in the order in which they were opened. times: by the number of an event, when it was stored as
    the first client with `format=json` was told; microseconds of Unix time."""

    clients: list[Client]
    times: dict[int, int]


def read(path: Path) -> Ledger:
    kinds: dict[int, str] = {}
    lines: dict[int, list[str]] = defaultdict(list)
    times: dict[int, int] = {}
    with path.open() as file:
        for line in file:
            index, _, rest = line.rstrip("\n").partition(" ")
            if index == "G":
                name, first, count, _ = rest.split(" ", 3)
                kinds |= dict.fromkeys(range(int(first), int(first) + int(count)), name)
            elif index == "T":
                number, stored = rest.split()
                times[int(number)] = int(stored)
            else:
                lines[int(index)].append(rest)
    return Ledger([Client(index, kind, lines[index]) for index, kind in sorted(kinds.items())], times)
