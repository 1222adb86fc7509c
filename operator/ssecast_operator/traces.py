"""How many clients want a stream at which time, and what goes wrong meanwhile: built in, or from a CSV file. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from math import cos, isfinite, pi
from statistics import median

COLUMNS = ("time", "clients")
CLIENTS_MAX = 10**9
SECONDS_MAX = 90 * 86_400.0
"""A trace ends after three months at the latest: a result has numbers for every second of it."""

GAP_STEPS = 10
GAP_SECONDS = 900.0
"""A step that is longer than this, and than ten usual ones, is a gap: nobody knows what happened in it."""

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0


class TraceError(ValueError):
    """A trace that cannot be used: one sentence with file, line and what is expected."""


class Kind(StrEnum):
    """What can go wrong."""

    ROLLOUT = "rollout"
    """The pods are replaced by those of another version."""
    NODE_LOSS = "node-loss"
    """A share of the pods dies without a word."""
    OUTAGE = "outage"
    """All streams are cut, and for so many seconds nobody reaches a pod: the proxy in front is gone."""
    BLINDNESS = "blindness"
    """For so many seconds this share of all questions about load gets no answer."""


@dataclass(frozen=True, slots=True)
class Incident:
    """at, seconds: since the trace began."""

    kind: Kind
    at: float
    seconds: float = 0.0
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Trace:
    """times: seconds since it began, rising from 0; between two points the number of clients changes evenly."""

    name: str
    times: tuple[float, ...]
    clients: tuple[float, ...]
    incidents: tuple[Incident, ...] = ()

    @property
    def seconds(self) -> int:
        return int(self.times[-1])


# Built in. Each is a function of the most clients that there are at once.

Points = Sequence[tuple[float, float]]


def _steady() -> tuple[Points, Sequence[Incident]]:
    return [(0, 1), (4 * HOUR, 1)], ()


def _daily_wave() -> tuple[Points, Sequence[Incident]]:
    """Five in the morning is the deepest point; the trace begins there."""
    return [(at * 300, 0.65 - 0.35 * cos(2 * pi * at / 288)) for at in range(289)], ()


def _kick_off() -> tuple[Points, Sequence[Incident]]:
    """Twenty times as many within a minute, and two hours later they leave within ten."""
    return [
        (0, 0.05),
        (20 * MINUTE, 0.05),
        (21 * MINUTE, 1),
        (141 * MINUTE, 1),
        (151 * MINUTE, 0.05),
        (4 * HOUR, 0.05),
    ], ()


def _flash_crowd() -> tuple[Points, Sequence[Incident]]:
    """A crowd that leaves as fast as it has come."""
    return [(0, 0.1), (20 * MINUTE, 0.1), (20.5 * MINUTE, 1), (23 * MINUTE, 1), (24 * MINUTE, 0.1), (2 * HOUR, 0.1)], ()


def _slow_leak() -> tuple[Points, Sequence[Incident]]:
    return [(0, 1), (30 * MINUTE, 1), (6.5 * HOUR, 0.1), (7 * HOUR, 0.1)], ()


def _reconnect_storm() -> tuple[Points, Sequence[Incident]]:
    return [(0, 1), (3 * HOUR, 1)], [Incident(Kind.OUTAGE, 30 * MINUTE, 60)]


def _rolling_upgrade() -> tuple[Points, Sequence[Incident]]:
    return [(0, 1), (4 * HOUR, 1)], [Incident(Kind.ROLLOUT, 30 * MINUTE)]


def _flapping_metrics() -> tuple[Points, Sequence[Incident]]:
    """The number of clients swings by an eighth every four minutes, and a third of all questions gets no answer."""
    swing = [(at * 120.0, 1.0 if at % 2 else 0.875) for at in range(91)]
    return swing, [Incident(Kind.BLINDNESS, 10 * MINUTE, 160 * MINUTE, 1 / 3)]


def _black_friday() -> tuple[Points, Sequence[Incident]]:
    """A day with two openings of doors; at the height of the second a tenth of the pods is lost with its nodes."""
    hours = [
        (0, 0.15), (5, 0.1), (8, 0.25), (8 + 58 / 60, 0.3), (9, 0.6), (11, 0.5), (14, 0.55), (17, 0.6), (19 + 55 / 60, 0.65),
        (20, 1), (21, 0.95), (22, 0.7), (22.2, 0.4), (24, 0.2),
    ]  # fmt: skip
    return [(at * HOUR, share) for at, share in hours], [Incident(Kind.NODE_LOSS, 20.5 * HOUR, share=0.1)]


BUILT_IN: dict[str, Callable[[], tuple[Points, Sequence[Incident]]]] = {
    "steady": _steady,
    "daily-wave": _daily_wave,
    "kick-off": _kick_off,
    "flash-crowd": _flash_crowd,
    "slow-leak": _slow_leak,
    "reconnect-storm": _reconnect_storm,
    "rolling-upgrade": _rolling_upgrade,
    "flapping-metrics": _flapping_metrics,
    "black-friday": _black_friday,
}


def built_in(name: str, clients: float) -> Trace:
    """The built-in trace of this name; clients: the most at once."""
    points, incidents = BUILT_IN[name]()
    times, shares = zip(*points, strict=True)
    return Trace(
        name,
        tuple(float(at) for at in times),
        tuple(share * clients for share in shares),
        tuple(sorted(incidents, key=lambda each: each.at)),
    )


# From a file


def read_csv(text: str, file: str) -> Trace:
    """A trace with the columns `time` (seconds, rising) and `clients`. Raises TraceError."""
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines:
        raise TraceError(f"{file}, line 1: the file is empty; expected is the header time,clients")
    places = _header(lines[0][1], file)
    rows = [_row(line, number, places, file) for number, line in lines[1:]]
    if len(rows) < 2:
        raise TraceError(f"{file}, line {lines[-1][0]}: the trace ends here; expected are at least two rows")
    checked([at for _, at, _ in rows], file, lambda place: f"line {rows[place][0]}")
    begin = rows[0][1]
    return Trace(file, tuple(at - begin for _, at, _ in rows), tuple(clients for _, _, clients in rows))


Row = tuple[int, float, float]
"""Line, time, clients."""


def _header(line: str, file: str) -> tuple[int, int]:
    """Where the columns stand."""
    names = [name.strip().lower() for name in line.lstrip("\ufeff").split(",")]
    unknown = [name for name in names if name not in COLUMNS]
    if unknown:
        raise TraceError(f"{file}, line 1: column {unknown[0]!r} is unknown; expected is the header time,clients")
    for name in COLUMNS:
        if names.count(name) != 1:
            raise TraceError(
                f"{file}, line 1: column {name!r} stands there {names.count(name)} times; expected is the header time,clients"
            )
    return names.index("time"), names.index("clients")


def _row(line: str, number: int, places: tuple[int, int], file: str) -> Row:
    cells = [cell.strip() for cell in line.split(",")]
    if len(cells) != len(COLUMNS):
        raise TraceError(f"{file}, line {number}: there are {len(cells)} values; expected are two, time and clients")
    at, clients = (_number(cells[place], name, number, file) for place, name in zip(places, COLUMNS, strict=True))
    if clients > CLIENTS_MAX:
        raise TraceError(f"{file}, line {number}: clients is {cells[places[1]]}; expected is at most {CLIENTS_MAX:,}")
    return number, at, clients


def _number(cell: str, name: str, line: int, file: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = float("nan")
    if cell == "":
        raise TraceError(f"{file}, line {line}: {name} is empty; expected is a number, for a trace has no gaps")
    if not isfinite(value) or value < 0:
        raise TraceError(f"{file}, line {line}: {name} is {cell[:40]!r}; expected is a number that is not negative")
    return value


def checked(times: Sequence[float], file: str, where: Callable[[int], str]) -> None:
    """Whether such times, in seconds, make a trace; where: the place of one of them, in words. Raises TraceError."""
    if len(times) < 2:
        raise TraceError(
            f"{file}, {where(0) if times else 'line 1'}: there are too few times; expected are at least two"
        )
    steps = [later - before for before, later in pairwise(times)]
    for place, step in enumerate(steps, 1):
        if step <= 0:
            raise TraceError(
                f"{file}, {where(place)}: time does not rise; expected is more than {times[place - 1]:g}, that of the row before"
            )
    usual = median(steps)
    for place, step in enumerate(steps, 1):
        if step > max(GAP_SECONDS, GAP_STEPS * usual):
            raise TraceError(
                f"{file}, {where(place)}: {step:g} s lie between this row and the one before, a gap; expected are steps of about {usual:g} s"
            )
    lasted = times[-1] - times[0]
    if lasted > SECONDS_MAX:
        raise TraceError(
            f"{file}, {where(len(steps))}: the trace is longer than {SECONDS_MAX / DAY:.0f} days; expected is a shorter one"
        )
    if lasted < MINUTE:
        raise TraceError(
            f"{file}, {where(len(steps))}: the trace is shorter than a minute; expected is time in seconds"
        )
