"""Connections that are no stream yet, or never will be: what each owes, until when, and why any of them was closed."""

import sys
import time
from collections import Counter
from collections.abc import Collection
from typing import Protocol

HEAD_SECONDS = 10.0
"""A request whose head is not complete after this is closed; so is a connection that sends nothing."""

BODY_SECONDS = 60.0
"""The same for the body: time enough for the largest payload over a bad line, and an end for who sends a byte a second."""

SPARE_DESCRIPTORS = 128
"""So few free ones are kept for NATS, the admin port and the refusal of clients: no stream may take them."""

LAST_DESCRIPTORS = 16
"""A connection that takes one of these, with nobody to make room for it, is closed itself."""


class Visitor(Protocol):
    """deadline: until when (monotonic seconds) it has to send what it owes, None where it owes nothing. owes: that, as
    the reason of its end."""

    deadline: float | None

    @property
    def owes(self) -> str: ...
    def abort(self) -> None: ...


class Visitors:
    """Counts them and ends those that are overdue. descriptors: how many files the process may open, 0 if nobody counts.

    The kernel gives each connection the lowest number that is free: the newest one says how full the table is.
    """

    def __init__(self, descriptors: int = 0) -> None:
        self.present: Collection[Visitor] = set()
        self.opened = 0
        self.closed: Counter[str] = Counter()
        self.short_of_descriptors = False
        self._enough = descriptors - SPARE_DESCRIPTORS if descriptors else sys.maxsize
        self._last = self._enough + SPARE_DESCRIPTORS - LAST_DESCRIPTORS

    def came(self, visitor: Visitor, fd: int) -> None:
        """A new connection, which owes a head; where descriptors are short, some that have owed one for longest go."""
        visitor.deadline = time.monotonic() + HEAD_SECONDS
        self.opened += 1
        self.short_of_descriptors = fd >= self._enough
        if self.short_of_descriptors and not self._make_room(visitor) and fd >= self._last:
            self.end(visitor, "descriptors")

    def left(self, visitor: Visitor) -> None:
        """The connection is gone. Where it owed something, that was the peer's doing."""
        if visitor.deadline is not None:
            visitor.deadline = None
            self.closed["client"] += 1

    def end(self, visitor: Visitor, reason: str) -> None:
        visitor.deadline = None
        self.closed[reason] += 1
        visitor.abort()

    def end_overdue(self, now: float) -> None:
        for visitor in [each for each in self.present if each.deadline is not None and each.deadline < now]:
            self.end(visitor, f"{visitor.owes}_timeout")

    def _make_room(self, newcomer: Visitor) -> bool:
        """Ends an eighth of those that owe a head, so that the next ones need no search; False where there are none.

        Who has owed it for longest goes first: a browser's head comes with its connection.
        """
        owing = [(each.deadline, id(each), each) for each in self.present if each.deadline is not None]
        oldest = sorted(each for each in owing if each[2] is not newcomer)[: len(owing) // 8 + 1]
        for *_, visitor in oldest:
            self.end(visitor, "descriptors")
        return bool(oldest)
