"""What NATS refuses, as errors, and in sentences that say what would help."""

import re
from typing import NamedTuple

STREAM_NOT_FOUND = 10059
STREAM_NAME_IN_USE = 10058
SUBJECTS_OVERLAP = 10065
NOT_ENABLED = (10039, 10076)
MESSAGE_TOO_LARGE = 10054
CONSUMER_LIMITS = (10002, 10026)

DISABLED = (
    "JetStream is not enabled on this NATS server or account, or not up yet: enable it, "
    "or set SSECAST_STREAM= (empty) to do without it"
)

HINTS = {
    10002: "SSECAST_STREAM_MAX_BYTES asks for more than the account may have",
    10023: "SSECAST_STREAM_MAX_BYTES asks for more than the server has",
    10027: "name one that exists in SSECAST_STREAM, or raise the account's limit",
    10028: "SSECAST_STREAM_MAX_BYTES asks for more than the account may have in memory",
    10047: "SSECAST_STREAM_MAX_BYTES asks for more than the server or the account may store",
    10005: "SSECAST_STREAM_REPLICAS asks for more servers than take part",
    10074: "SSECAST_STREAM_REPLICAS above 1 needs a cluster",
}
"""By NATS's err_code: what keeps a stream from being created."""

QUORUM = "a cluster needs most of its servers, see `nats server report jetstream`"
NEEDED = "its user must be allowed to publish to $JS.API.> and $JS.FC.>, and to subscribe to _INBOX.>"

_DENIED = re.compile(r"permissions violation for (publish|subscription) to \"?([^\"\s]+)", re.IGNORECASE)


class JetStreamError(Exception):
    """What was asked was not done, or nobody knows whether it was. code: NATS's err_code, 0 where there is none."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class Unanswered(JetStreamError):
    """Nobody answered in time."""


class Denial(NamedTuple):
    """NATS does not let this pod publish (`verb` is publish) or subscribe to a subject."""

    verb: str
    subject: str

    @classmethod
    def parse(cls, error: str) -> "Denial | None":
        """Reads what NATS says; None where it is about something else."""
        found = _DENIED.search(error)
        return cls("publish" if found[1].lower() == "publish" else "subscribe", found[2]) if found else None

    @property
    def ours(self) -> bool:
        """Whether the pod needs it for itself, and not for somebody who publishes through it."""
        return self.verb == "subscribe" or self.subject.upper().startswith("$JS.")

    def __str__(self) -> str:
        return f"NATS does not let this pod {self.verb} to {self._pattern!r}"

    @property
    def _pattern(self) -> str:
        """The subject as a permission would name it. NATS's word comes in small letters, and with names that are new
        at each attempt."""
        tokens = self.subject.upper().split(".")
        for own in ("$JS.API", "$JS.FC", "_INBOX"):
            if self.subject.upper().startswith(f"{own}."):
                return ".".join(tokens[: 4 if own == "$JS.API" else own.count(".") + 1]) + ".>"
        return self.subject


def too_large(most: int) -> JetStreamError:
    """What the server would throw the pod out for. most: bytes that it takes."""
    return JetStreamError(f"NATS takes at most {most} bytes, headers included", MESSAGE_TOO_LARGE)
