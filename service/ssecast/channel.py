"""All subscribers of one pod that asked for the same thing, and how they are brought to the head. Pure.

A subscriber that is caught up and writable stands in the lane: a flush writes the same bytes to every descriptor in it,
and all of the lane shares the channel's cursor. Everybody else has a cursor of their own and a reason for it (Place).
"""

from collections.abc import Callable, Iterator, Sequence
from enum import IntEnum
from functools import cached_property
from typing import NamedTuple

from ssecast.frame import Format, Frame, chunked, wire_of
from ssecast.log import EventLog
from ssecast.subjects import matcher

PENDING_MAX = 4096
"""An interval channel holds back at most this many frames; then it flushes ahead of its time."""

SCAN_MAX = 2048
"""Frames of a log that one batch looks at: bounds the work between two looks at the sockets."""

BATCHES_KEPT = 64
"""Replay batches kept for the next subscriber that stands at the same cursor."""

WriteMany = Callable[[list[int], bytes], Sequence[tuple[int, int]]]
"""Writes the bytes to every descriptor; returns (descriptor, bytes written) for those that did not take all of them."""


Bytes = bytes | memoryview


class Place(IntEnum):
    """Where a subscriber stands, and so who moves it next."""

    LANE = 0  # caught up and writable: the next flush
    PARKED = 1  # caught up, its socket is full: the socket
    BEHIND = 2  # has a cursor of its own below the channel's: the hub, a batch at a time
    AHEAD = 3  # saw more on another pod than this one has: the head, when it passes the cursor
    WAITING = 4  # where it starts is not known yet: the resume that looks it up
    GONE = 5


class Want(NamedTuple):
    """What a subscriber asked for; who asks for the same shares a channel.

    interval: seconds, 0 for none. chunk: HTTP/1.1 chunked framing, as against bytes until the end (HTTP/1.0, ASGI).
    """

    subjects: tuple[str, ...]
    format: Format = Format.DATA
    interval: float = 0.0
    latest: bool = False
    chunk: bool = True


class Subscriber:
    """One open stream: a way to write and a cursor (the seq it has been sent). It owns no queue.

    fd is the descriptor that bytes may be written to directly, -1 where there is none (TLS, other ASGI servers).
    The room that owns the socket provides write, end and abort, sets `blocked` while bytes wait in user space,
    and tells the hub when they are gone. told is the seq of the last id that this stream was given. client is whose
    stream it is, empty where nobody counts.
    """

    __slots__ = ("blocked", "channel", "client", "cursor", "expires_at", "fd", "log", "number", "place", "told")

    channel: "Channel"
    log: EventLog

    def __init__(self, fd: int = -1) -> None:
        self.fd = fd
        self.place = Place.GONE  # until the hub opens it
        self.blocked = False
        self.client = ""
        self.cursor = self.told = self.number = 0
        self.expires_at = 0.0

    def write(self, data: Bytes) -> None:
        """Sends bytes after all that was sent before; what the socket does not take waits in user space."""
        raise NotImplementedError

    def end(self, farewell: bytes) -> None:
        """Sends the farewell and closes in good order."""
        raise NotImplementedError

    def abort(self) -> None:
        """Closes at once; what waits in user space is dropped."""
        raise NotImplementedError


class Batch(NamedTuple):
    """Part of a log for one channel. cursor: where who was sent it stands. told: the last id in it, 0 for none."""

    wire: bytes
    frames: int
    cursor: int
    told: int


class Egress:
    """What the channels of a pod share on the way out: the effect, who can go on, who cannot, and what was sent.

    ahead: channels that may have somebody who is ahead, for there may be thousands that have not. looked: frames of a log that were looked at to find those of a channel.
    """

    def __init__(self, write_many: WriteMany, batch_bytes: int) -> None:
        self.write_many, self.batch_bytes = write_many, batch_bytes
        self.now = 0.0
        self.ready: dict[Subscriber, None] = {}
        self.blocked: dict[Subscriber, float] = {}
        self.ahead: dict[Channel, None] = {}
        self.batches: dict[tuple[Want, EventLog, int, int], Batch] = {}
        self.frames = self.bytes = self.looked = 0

    def sent(self, frames: int, size: int, streams: int = 1) -> None:
        self.frames += frames * streams
        self.bytes += size * streams


class Channel:
    """Subscribers with one Want, in the places that Place names, and the frames that they have not been sent yet."""

    def __init__(self, want: Want, log: EventLog, egress: Egress) -> None:
        self.want, self.log, self.egress = want, log, egress
        self.lane: dict[int, Subscriber] = {}
        self.indirect: dict[Subscriber, None] = {}
        self.parked: dict[Subscriber, None] = {}
        self.ahead: dict[Subscriber, None] = {}
        self.members = 0
        self.told = 0
        self.due = 0.0
        self.held = False
        self.flushed_at = float("-inf")
        self._pending: list[Frame] = []
        self._wire = wire_of[want.format]
        self._has_wildcards = any("*" in subject or ">" in subject for subject in want.subjects)

    @property
    def pending(self) -> bool:
        return bool(self._pending)

    @property
    def sent(self) -> int:
        """The lane's cursor: everything up to it was written to everyone in the lane."""
        return self._pending[0].seq - 1 if self._pending else self.log.head

    def publish(self, frame: Frame) -> bool:
        """Takes a frame that the next flush writes; True where the hub has to look at the channel for it."""
        self._pending.append(frame)
        if len(self._pending) >= PENDING_MAX:
            self.due = 0.0
        return len(self._pending) in (1, PENDING_MAX)

    def flush(self) -> None:
        """Writes what is pending to the lane; who stands elsewhere gets a cursor for it."""
        frames, self._pending = self._pending, []
        self.flushed_at = self.egress.now
        self.due = self.egress.now + self.want.interval
        for part in self._slices(self._newest(frames)):
            self._leave_behind(part[0].seq - 1, part[-1].seq)
            self._write_lane(part)

    def place(self, sub: Subscriber, cursor: int) -> None:
        """Puts a subscriber where its cursor belongs; from now on it reads from the pod's log."""
        sub.log, sub.cursor = self.log, cursor
        if cursor == self.sent:
            self._join(sub)
        elif cursor < self.sent:
            self.put_behind(sub)
        else:
            sub.place = Place.AHEAD
            self.ahead[sub] = self.egress.ahead[self] = None

    def put_behind(self, sub: Subscriber) -> None:
        """It goes on from its own cursor as soon as its socket takes something."""
        sub.place = Place.BEHIND
        if sub.blocked:
            self._hold(sub)
        else:
            self.egress.ready[sub] = None

    def hold_back(self, sub: Subscriber, cursor: int) -> None:
        """A blocked one goes on from another cursor when its socket takes something; it has been blocked all along."""
        since = self.egress.blocked.get(sub, self.egress.now)
        self.take_out(sub)
        sub.log, sub.cursor, sub.place = self.log, cursor, Place.BEHIND
        self.egress.blocked[sub] = since

    def take_out(self, sub: Subscriber) -> None:
        """Removes a subscriber from wherever it stands: at once, for its descriptor may be another's a moment later."""
        if self.lane.get(sub.fd) is sub:
            del self.lane[sub.fd]
        for group in (self.indirect, self.parked, self.ahead, self.egress.ready):
            group.pop(sub, None)
        self.egress.blocked.pop(sub, None)

    def unblock(self, sub: Subscriber) -> None:
        """The socket took everything: a parked subscriber goes back to the lane, one behind goes on."""
        self.egress.blocked.pop(sub, None)
        if sub.place is Place.PARKED:
            del self.parked[sub]
            self._join(sub)
        elif sub.place is Place.BEHIND:
            self.egress.ready[sub] = None

    def advance(self, sub: Subscriber) -> bool:
        """Sends one batch to a subscriber that is behind; True when nothing is left for it in its log."""
        upto = min(self.sent, sub.log.head)
        if sub.cursor < upto:
            batch = self._batch(sub.log, sub.cursor, upto)
            sub.cursor = batch.cursor
            if batch.frames:
                sub.told = batch.told
                sub.write(batch.wire)
                self.egress.sent(batch.frames, len(batch.wire))
        return sub.cursor >= upto

    def promote_ahead(self) -> None:
        """Who was ahead of this pod joins the lane, where the lane has come to the same place by now."""
        for sub in [sub for sub in self.ahead if sub.cursor <= self.sent]:
            del self.ahead[sub]
            self._join(sub)

    def wrap(self, data: bytes) -> bytes:
        """Data as this channel's clients expect it on the wire."""
        return chunked(data) if self.want.chunk else data

    def send_some(self, fds: list[int], block: bytes) -> None:
        """Writes a block that is no event to some of the lane."""
        wire = self.wrap(block)
        for fd, done in self.egress.write_many(fds, wire):
            self._overflow(self.lane[fd], memoryview(wire)[done:])

    def send_to(self, sub: Subscriber, block: bytes) -> None:
        """The same to one subscriber that has no descriptor."""
        self._overflow(sub, self.wrap(block))

    def _join(self, sub: Subscriber) -> None:
        if sub.blocked:
            sub.place = Place.PARKED
            self.parked[sub] = None
            self._hold(sub)
            return
        sub.place = Place.LANE
        if sub.fd >= 0:
            self.lane[sub.fd] = sub
        else:
            self.indirect[sub] = None

    def _hold(self, sub: Subscriber) -> None:
        self.egress.blocked.setdefault(sub, self.egress.now)

    def _leave_behind(self, first: int, last: int) -> None:
        """Frames with first < seq <= last are about to be written to the lane: note where everyone else stands."""
        for sub in self.parked:
            sub.cursor = first
            self.put_behind(sub)
        self.parked.clear()
        for sub in [sub for sub in self.ahead if sub.cursor < last]:
            del self.ahead[sub]
            self.put_behind(sub)

    def _write_lane(self, frames: Sequence[Frame]) -> None:
        wire, self.told = self._framed(frames), frames[-1].seq
        fds = list(self.lane)
        if fds:
            for fd, done in self.egress.write_many(fds, wire):
                self._overflow(self.lane[fd], memoryview(wire)[done:])
        for sub in list(self.indirect):
            self._overflow(sub, wire)
        self.egress.sent(len(frames), len(wire), len(fds) + len(self.indirect))

    def _overflow(self, sub: Subscriber, rest: Bytes) -> None:
        """Hands the rest to the transport; a subscriber whose socket stays full leaves the lane.

        The rest is a view: thousands that stall in one broadcast hold on to one piece of bytes, not to a copy each.
        """
        sub.write(rest)
        if sub.blocked:
            self.take_out(sub)
            sub.told = max(sub.told, self.told)
            self._join(sub)

    def _batch(self, log: EventLog, cursor: int, upto: int) -> Batch:
        """The next batch after cursor; kept, because thousands resume from one position one after the other."""
        kept, key = self.egress.batches, (self.want, log, cursor, upto)
        if key not in kept:
            if len(kept) >= BATCHES_KEPT:
                kept.clear()
            kept[key] = self._read(log, cursor, upto)
        return kept[key]

    def _read(self, log: EventLog, cursor: int, upto: int) -> Batch:
        frames, looked_upto = self._matching(log, cursor, upto)
        if self.want.latest:
            frames = _newest_in(log, frames, upto)
        upto = looked_upto
        if not frames:
            return Batch(b"", 0, upto, 0)
        parts = self._slices(frames)
        first = next(parts)
        told = first[-1].seq
        return Batch(self._framed(first), len(first), told if next(parts, None) else upto, told)

    def _matching(self, log: EventLog, cursor: int, upto: int) -> tuple[list[Frame], int]:
        """The channel's frames after cursor, and the seq up to which that was looked for."""
        found = None if self._has_wildcards else self._by_index(log, cursor, upto)
        if found is not None:
            return found, upto
        frames = log.after(cursor, upto, SCAN_MAX)
        self.egress.looked += len(frames)
        if len(frames) == SCAN_MAX:
            upto = frames[-1].seq
        return [frame for frame in frames if self._fits(frame.subject)], upto

    def _by_index(self, log: EventLog, cursor: int, upto: int) -> list[Frame] | None:
        """The same by the log's index of subjects; None where that would take longer than to look at every frame."""
        found: list[Frame] = []
        for subject in self.want.subjects:
            frames = log.of_subject(subject, cursor, upto, SCAN_MAX // len(self.want.subjects))
            if frames is None:
                return None
            found += frames
        self.egress.looked += len(found)
        return sorted(found, key=lambda frame: frame.seq)

    @cached_property
    def _fits(self) -> Callable[[str], object]:
        self.egress.looked += SCAN_MAX  # what it costs to make it
        return matcher(self.want.subjects)

    def _newest(self, frames: list[Frame]) -> list[Frame]:
        """With `latest` only the newest frame of each subject, in sequence order."""
        if not self.want.latest:
            return frames
        return sorted({frame.subject: frame for frame in frames}.values(), key=lambda frame: frame.seq)

    def _slices(self, frames: list[Frame]) -> Iterator[list[Frame]]:
        """Parts of at most batch_bytes, so that no client has more than that waiting in user space."""
        part: list[Frame] = []
        room = self.egress.batch_bytes
        for frame in frames:
            size = len(self._wire(frame))
            room -= size
            if room < 0 and part:
                yield part
                part, room = [], self.egress.batch_bytes - size
            part.append(frame)
        yield part

    def _framed(self, frames: Sequence[Frame]) -> bytes:
        wire = self._wire
        return self.wrap(b"".join([wire(frame) for frame in frames]))


def _newest_in(log: EventLog, frames: Sequence[Frame], upto: int) -> list[Frame]:
    """Those of the frames after which their subject has no other up to upto."""
    newest = {subject: log.newest_of(subject, upto) for subject in {frame.subject for frame in frames}}
    return [frame for frame in frames if frame.seq == newest[frame.subject]]
