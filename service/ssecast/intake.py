"""What a pod takes from NATS into its hub: events, word of those that are missing, and how far behind it is."""

from collections.abc import Callable, Mapping

import structlog

from ssecast.frame import Event, Position, refusal
from ssecast.hub import Hub

COMPLAINTS_MAX = 1000
"""Subjects that are remembered so that each is complained about once."""

WHY = {
    "epoch": "the stream was deleted or made anew, and its numbers begin again",
    "expired": "the stream's limits or a purge removed them before this pod had them",
    "rewound": "the stream holds other events now than this pod had from it: was a backup restored, or a disk lost?",
    "disconnected": "the connection was broken, and core NATS keeps nothing",
    "overflow": "they came faster than this pod took them, and core NATS keeps nothing",
    "denied": "NATS did not let this pod subscribe, and core NATS keeps nothing",
}
"""Breaks in words, by reason."""

log = structlog.get_logger()

Trace = Callable[[str, Mapping[str, str] | None], None]
"""Told the subject and the headers of every event."""


class Intake:
    """Feeds one hub, in order.

    ready: the log was warmed once. lag_events: what NATS had left to deliver after the last event. rewound: where the
    stream went on after its last rewind that was noticed; what bears an earlier position may have been something else.
    """

    def __init__(self, hub: Hub, max_payload_bytes: int) -> None:
        self.hub, self.max_payload_bytes = hub, max_payload_bytes
        self.ready = False
        self.lag_events = self.last_ns = 0
        self.rewound = Position("", 0)
        self.trace: Trace | None = None
        self._complained: set[str] = set()

    def admit(self, event: Event, headers: Mapping[str, str] | None) -> None:
        """Takes the next event; one that cannot be broadcast is counted, complained about once, and passed over."""
        refused = refusal(event.data, event.name, self.max_payload_bytes)
        if refused is not None:
            self._drop(event, refused.value)
            return
        if self.trace is not None:
            self.trace(event.subject, headers)
        self.hub.publish(event)

    def miss(self, reason: str, epoch: str, seq: int) -> None:
        """Events are missing; it goes on after epoch-seq. Before the log was warm once, there is nobody to tell."""
        if reason == "rewound":
            self.rewound = Position(epoch, seq)
        if not self.ready:
            self.hub.log.start(epoch, seq)
            return
        before, after = str(self.hub.log.position), f"{epoch}-{seq}"
        log.error("events were missed", reason=reason, why=WHY.get(reason, ""), before=before, after=after)
        self.hub.interrupt(reason, epoch, seq)

    def warmed(self) -> None:
        """The log holds what it may of the past."""
        if not self.ready:
            self.ready = True
            log.info("warm", position=str(self.hub.log.position), events=len(self.hub.log))

    def _drop(self, event: Event, reason: str) -> None:
        self.hub.dropped[reason] += 1
        self.hub.advance(event.seq)
        if event.subject not in self._complained and len(self._complained) < COMPLAINTS_MAX:
            self._complained.add(event.subject)
            log.warning("an event cannot be broadcast", reason=reason, subject=event.subject, bytes=len(event.data))
