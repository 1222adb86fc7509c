"""Random sequences of events as publishers might send them, and what of each a page must see."""

import re
from random import Random
from typing import NamedTuple

from nats.aio.client import Client as Nats

SUBJECTS = ["events.a", "events.a.b", "events.b", "events.b.c.d", "events.é", "events.A"]
NAMES = ["named", "Named", "é🎉", "two words", "a:b", "x" * 128, "Gap", "position2", "data", "id"]
REFUSED_NAMES = ["gap", "position", "open", "message", "error", "x" * 129, "a\x01b", "a\u2028b", "a\x85b"]
PARTS = [
    "", " ", "\r", "\n", "\r\n", "\n\n", "\r\r\n", "\0", "\u2028", "\u2029", "\x85", "\v", "\f", "\ufeff", "\U0001f680", "é",
    "a", ":", ": x", "data: x\n", "id: 1\n\n", "event: gap\ndata: {}\n\n", "retry: 1\n", "0\r\n\r\n", "{}", '"', "\\", "</script>",
    "\t", "\x7f", "\u202e", "e\u0301", "word " * 50, "\ud7ff\ue000",
]  # fmt: skip
NOT_UTF8 = [b"\xff", b"\xc3", b"\xed\xa0\x80", b"ok\xfe", b"\xf4\x90\x80\x80", b"\xc0\x80"]


class Sent(NamedTuple):
    """An event as it was published. shown: whether it may be broadcast at all."""

    subject: str
    payload: bytes
    name: str | None
    shown: bool

    @property
    def data(self) -> str:
        """What a page sees of the payload: the format cannot tell one line end from another."""
        return re.sub("\r\n|\r", "\n", self.payload.decode())

    @property
    def type(self) -> str:
        return self.name or "message"


def sequence(rng: Random, count: int, names: list[str], *, refused: bool = True) -> list[Sent]:
    """So many events; with refused, some among them cannot be broadcast."""
    return [_event(rng, names, refused and rng.random() < 0.1) for _ in range(count)]


def _event(rng: Random, names: list[str], refused: bool) -> Sent:
    name = rng.choice([None, rng.choice(names)])
    payload = "".join(rng.choices(PARTS, k=rng.choice([0, 1, 2, 5, 20]))).encode()
    if refused and rng.random() < 0.5:
        payload += rng.choice(NOT_UTF8)
    elif refused:
        name = rng.choice(REFUSED_NAMES)
    return Sent(rng.choice(SUBJECTS), payload, name, not refused)


async def publish(publisher: Nats, sent: list[Sent]) -> None:
    for event in sent:
        await publisher.publish(
            event.subject, event.payload, headers={"Ssecast-Event": event.name} if event.name else None
        )
    await publisher.flush()
