"""Events and control blocks as SSE bytes. Pure: it knows the wire format and nothing else.

A Frame is one event, encoded once per pod and shared by every subscriber. The wire format is that of the HTML standard,
section 9.2 (Server-sent events), framed for HTTP/1.1 by RFC 9112, section 7.1 (chunked transfer coding).
"""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum
from typing import NamedTuple

RESERVED_NAMES = frozenset({"position", "gap", "open", "message", "error"})
"""Names that browsers or ssecast give a meaning of their own: publishers must not forge them."""

MAX_NAME = 128
"""Longest event name in characters."""

COMMENT = b":\n\n"
LAST_CHUNK = b"0\r\n\r\n"

JSON_KEPT = 2
"""The JSON form is kept where it is at most so many times as long as the plain one, and JSON_HEAD: escapes can make it six
times as long, and publishers must not fill the memory with it."""

JSON_HEAD = 512

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")  # lone surrogates have no UTF-8 form
_POSITION = re.compile(r"([0-9a-z]{1,40})-(0|[1-9][0-9]{0,18})", re.ASCII)


class Format(Enum):
    """How a subscriber wants the payload: as it came, or wrapped in JSON with subject and time."""

    DATA = "data"
    JSON = "json"

    __hash__ = object.__hash__  # a part of every key that streams are looked up by; Enum's own is written in Python


class Refusal(Enum):
    """Why an event cannot be broadcast."""

    TOO_LARGE = "too_large"
    NOT_UTF8 = "not_utf8"
    RESERVED_NAME = "reserved_name"


class Position(NamedTuple):
    """A place in one incarnation of a stream: everything up to and including seq was seen."""

    epoch: str
    seq: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.seq}"

    def is_later_than(self, epoch: str) -> bool:
        """Whether it is of a later incarnation than that epoch: epochs are times in base 36, without zeros in front."""
        return (len(self.epoch), self.epoch) > (len(epoch), epoch)

    @classmethod
    def parse(cls, text: str) -> "Position | None":
        """Reads `epoch-seq`; None where the text was not written by ssecast."""
        found = _POSITION.fullmatch(text)
        return cls(found[1], int(found[2])) if found else None


class Event(NamedTuple):
    """What a publisher sent. time_ns: when JetStream stored it (core NATS: the pod received it), Unix nanoseconds."""

    subject: str
    seq: int
    data: bytes
    name: str | None = None
    time_ns: int = 0


class Tally:
    """Bytes that the frames of one log take, and how many they may."""

    __slots__ = ("bytes", "most")

    def __init__(self, most: int) -> None:
        self.bytes, self.most = 0, most

    def take(self, size: int) -> bool:
        """Adds a second form of a frame; False where it is not to be kept. The log makes room for it by and by, with the
        next event or tick: until then an eighth more than it may have is enough."""
        if self.bytes + size > self.most + (self.most >> 3):
            return False
        self.bytes += size
        return True


class Frame:
    """One event as SSE bytes. The JSON form is built when first asked for, and then shared like the plain one, unless
    control characters in the payload make it many times as long, or its log has no room for it."""

    __slots__ = ("_head", "kept_json", "name", "previous", "seq", "subject", "tally", "time_ns", "wire")

    def __init__(self, event: Event, epoch: str) -> None:
        self.seq, self.subject, self.name, self.time_ns = event.seq, event.subject, event.name, event.time_ns
        head = b"id: %b-%d\n" % (epoch.encode(), event.seq)
        if event.name:
            head += b"event: %b\n" % event.name.encode()
        self._head = len(head)
        self.kept_json: bytes | None = None
        self.tally: Tally | None = None
        """Of the log that holds it: there the JSON form is added, where it is kept."""
        self.previous = 0
        """Seq of the frame before this one on the same subject: the log's index, kept by the log."""
        self.wire = head + _data_lines(event.data)

    @property
    def payload(self) -> bytes:
        """The payload with its line ends as `\\n`, read back from the wire form so that the log holds it only once."""
        return b"\n".join(line[6:] for line in self.wire[self._head : -2].split(b"\n"))

    @property
    def json_wire(self) -> bytes:
        """The same event with `{"subject", "time", "data"}` as its data."""
        if self.kept_json is not None:
            return self.kept_json
        body = {"subject": self.subject, "time": rfc3339(self.time_ns), "data": self.payload.decode()}
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
        wire = self.wire[: self._head] + b"data: %b\n\n" % text.encode()
        if len(wire) > JSON_KEPT * len(self.wire) + JSON_HEAD:
            return wire
        if self.tally is not None and not self.tally.take(len(wire)):
            return wire
        self.kept_json = wire
        return wire


wire_of: dict[Format, Callable[[Frame], bytes]] = {
    Format.DATA: lambda frame: frame.wire,
    Format.JSON: lambda frame: frame.json_wire,
}


def refusal(data: bytes, name: str | None, max_payload_bytes: int) -> Refusal | None:
    """Why an event with this payload and name cannot be broadcast; None where it can."""
    if len(data) > max_payload_bytes:
        return Refusal.TOO_LARGE
    if name and (name in RESERVED_NAMES or len(name) > MAX_NAME or _CONTROL.search(name)):
        return Refusal.RESERVED_NAME
    return None if data.isascii() or _is_utf8(data) else Refusal.NOT_UTF8


def retry_block(milliseconds: int) -> bytes:
    """Tells the browser how long to wait before it reconnects; in force at once and until the next one."""
    return b"retry: %d\n\n" % milliseconds


def position_block(position: Position) -> bytes:
    """A named event with empty data: every engine keeps its id, and no `onmessage` sees it.

    An id in a block without data would be ignored by Firefox and WebKit.
    """
    return b"event: position\nid: %b\ndata:\n\n" % str(position).encode()


def gap_block(requested: str, oldest: Position, following: Position, reason: str) -> bytes:
    """Says in band that events are missing: a native EventSource sees no headers.

    The id is the position from which the stream goes on, or the next reconnect would report the same gap again.
    """
    body = {"requested": requested[:64], "oldest": str(oldest), "next": str(following), "reason": reason}
    return b"event: gap\nid: %b\ndata: %b\n\n" % (str(following).encode(), json.dumps(body).encode())


def chunked(data: bytes) -> bytes:
    """Frames data as one HTTP/1.1 chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def rfc3339(time_ns: int) -> str:
    """Unix nanoseconds as RFC 3339 in UTC, to the microsecond."""
    seconds, rest = divmod(time_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1000:06d}Z"


def _data_lines(data: bytes) -> bytes:
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if b"\n" in data:
        data = data.replace(b"\n", b"\ndata: ")
    return b"data: %b\n\n" % data


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
