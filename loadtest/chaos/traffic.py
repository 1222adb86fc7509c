"""What is published, and what the clients ask for: both follow from a number, so that an oracle can work them out. Pure."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

QUIET = "events.quiet"
QUIET_EVERY = 150
"""One event in so many goes to the quiet subject: who asks for nothing else lives by position blocks."""

ORDERS = tuple(f"events.order.{number}" for number in range(4))
PRICES = tuple(f"events.price.{letter}" for letter in "abc")
BUSY = (*ORDERS, *PRICES)
SUBJECTS = frozenset((*BUSY, QUIET))
NAMED = frozenset(PRICES)
NAME = "price"
"""Event name of what is published on these subjects."""

SERVED = "events.>"
LARGEST, SMALLEST = 520, 60
LINES_EVERY = 9
"""One payload in so many has several lines."""

MEAN_EVENT_BYTES = 350
"""Payload and frame, about."""


def subject_of(number: int) -> str:
    return QUIET if number % QUIET_EVERY == 0 else BUSY[number % len(BUSY)]


def name_of(number: int) -> str:
    """The event name, empty for none."""
    return NAME if subject_of(number) in NAMED else ""


def payload(number: int, sent_ns: int) -> bytes:
    """`number sent subject name padding crc`; the clients check the sum, and know the rest by it."""
    size = SMALLEST + number * 7919 % (LARGEST - SMALLEST)
    filling = ("line\n" if number % LINES_EVERY == 0 else "chaos.") * (size // 5)
    body = f"{number} {sent_ns} {subject_of(number)} {name_of(number) or '-'} {filling[:size]}|"
    return f"{body} {zlib.crc32(body.encode()):08x}".encode()


@dataclass(frozen=True, slots=True)
class Kind:
    """Clients that ask for the same. rate: bytes per second that they read, as a multiple of what they are sent."""

    name: str
    share: float
    query: str = ""
    subjects: frozenset[str] = SUBJECTS
    latest: bool = False
    json: bool = False
    rate: float = 0.0

    @property
    def path(self) -> str:
        return f"/events?{self.query}" if self.query else "/events"


BUFFER = 16_384
"""Receive buffer: what a client does not read soon stands in the pod's way. With much less, TCP would set the pace."""

KINDS = (
    Kind("plain", 0.46),
    Kind("order", 0.08, f"subject={ORDERS[2]}", frozenset({ORDERS[2]})),
    Kind("two", 0.05, f"subject={ORDERS[0]}&subject={PRICES[0]}", frozenset({ORDERS[0], PRICES[0]})),
    Kind("wildcard", 0.05, "subject=events.price.*", frozenset(PRICES)),
    Kind("quiet", 0.06, f"subject={QUIET}", frozenset({QUIET})),
    Kind("json", 0.08, "format=json", json=True),
    Kind("json-orders", 0.04, "format=json&subject=events.order.>", frozenset(ORDERS), json=True),
    Kind("interval", 0.05, "interval=500"),
    Kind("latest", 0.05, "interval=700&latest=true", latest=True),
    Kind("latest-orders", 0.04, "subject=events.order.*&interval=1500&latest=true", frozenset(ORDERS), latest=True),
    Kind("slow", 0.04, rate=3.0),
)


def crowd(clients: int, kinds: Sequence[Kind] = KINDS) -> dict[Kind, int]:
    """How many clients of each kind; the first kind takes what is left over."""
    counts = {kind: max(1, int(clients * kind.share)) for kind in kinds}
    counts[kinds[0]] += clients - sum(counts.values())
    if counts[kinds[0]] < 1:
        raise ValueError(f"{clients} clients are too few for {len(kinds)} kinds of them")
    return counts
