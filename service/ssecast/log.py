"""The memory of recent frames, in sequence order, bounded by count and bytes. Pure.

The log covers the half-open range (floor, head]: it holds every frame of this pod's subjects with floor < seq <= head.
Sequences may jump (filters, deletes, limits), so a number that is not there was never one of ours.
Bytes are those of both wire forms: where somebody asks for `format=json`, the second one can treble them.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import cast

from ssecast.frame import Frame, Position, Tally

FRAME_OVERHEAD = 400
"""Bytes of memory that a frame costs beside its wire form (objects, subject, slots), measured with tracemalloc."""


COMPACT_AT = 1024
"""Empty slots at the front before the lists are cut: the cut costs the length, so it must be rare."""


class EventLog:
    """Bounded, append-only, indexed by sequence. What is evicted raises the floor."""

    def __init__(self, max_events: int, max_bytes: int, epoch: str = "", seq: int = 0) -> None:
        self.max_events = max_events
        self._tally = Tally(max_bytes)
        self.evicted = 0
        self.start(epoch, seq)

    def start(self, epoch: str, seq: int) -> None:
        """Begins anew after position epoch-seq; what was held is dropped, and no resume reaches behind it."""
        self.epoch, self.floor, self.head = epoch, seq, seq
        self._tally = Tally(self.max_bytes)  # a frame that is still on its way to a socket adds to the old one
        self._frames: list[Frame | None] = []
        self._seqs: list[int] = []
        self._newest: dict[str, Frame] = {}
        self._first = 0

    def __len__(self) -> int:
        return len(self._frames) - self._first

    @property
    def bytes(self) -> int:
        """What the frames take, objects included."""
        return self._tally.bytes

    @property
    def max_bytes(self) -> int:
        """What they may take; one frame always fits."""
        return self._tally.most

    @max_bytes.setter
    def max_bytes(self, most: int) -> None:
        self._tally.most = most

    @property
    def position(self) -> Position:
        return Position(self.epoch, self.head)

    @property
    def oldest(self) -> Position:
        """The oldest position from which this log can go on without a gap."""
        return Position(self.epoch, self.floor)

    @property
    def newest(self) -> Frame | None:
        """The last frame that it holds; the head may be further on."""
        return self._frames[-1] if len(self) else None

    def append(self, frame: Frame) -> None:
        """Adds the next frame, whose JSON form nobody has asked for yet. Raises ValueError where its seq is not above the
        head."""
        if frame.seq <= self.head:
            raise ValueError(f"seq {frame.seq} is not above the head {self.head}")
        before = self._newest.get(frame.subject)
        frame.previous = before.seq if before else 0
        self._newest[frame.subject] = frame
        self._frames.append(frame)
        self._seqs.append(frame.seq)
        self.head = frame.seq
        tally = frame.tally = self._tally
        tally.bytes += len(frame.wire) + FRAME_OVERHEAD
        while len(self) > self.max_events or (tally.bytes > tally.most and len(self) > 1):
            self._evict()

    def trim(self) -> None:
        """Makes room for the second forms that were built since the last event, or after the bounds were drawn closer."""
        while self.bytes > self.max_bytes and len(self) > 1:
            self._evict()

    def advance(self, seq: int) -> None:
        """Moves the head without an event: nothing of ours lies between the old head and seq."""
        self.head = max(self.head, seq)

    def after(self, seq: int, upto: int, max_frames: int) -> Sequence[Frame]:
        """The first max_frames frames with seq < frame.seq <= upto."""
        at = bisect_right(self._seqs, seq, self._first)
        end = min(bisect_right(self._seqs, upto, at), at + max_frames)
        return cast(list[Frame], self._frames[at:end])  # only slots before _first are empty

    def of_subject(self, subject: str, seq: int, upto: int, most: int) -> list[Frame] | None:
        """The subject's frames with seq < frame.seq <= upto; costs what they cost, not what the log costs.

        None where more than `most` frames would have to be looked at: then the log is read faster from its other end.
        """
        found: list[Frame] = []
        frame = self._newest.get(subject)
        while frame is not None and frame.seq > seq:
            if not most:
                return None
            most -= 1
            if frame.seq <= upto:
                found.append(frame)
            frame = self._at(frame.previous)
        found.reverse()
        return found

    def newest_of(self, subject: str, upto: int) -> int:
        """The seq of the subject's newest frame with seq <= upto; 0 where the log holds none."""
        frame = self._newest.get(subject)
        while frame is not None and frame.seq > upto:
            frame = self._at(frame.previous)
        return frame.seq if frame else 0

    def _at(self, seq: int) -> Frame | None:
        """The frame with this seq where the log still holds it (an evicted one is at or below the floor)."""
        return self._frames[bisect_left(self._seqs, seq, self._first)] if seq > self.floor else None

    def _evict(self) -> None:
        frame = cast(Frame, self._frames[self._first])
        self._frames[self._first] = None
        self._first += 1
        self.floor = frame.seq
        self._tally.bytes -= len(frame.wire) + FRAME_OVERHEAD
        if frame.kept_json:
            self._tally.bytes -= len(frame.kept_json)
        frame.tally = None
        self.evicted += 1
        if self._newest[frame.subject] is frame:
            del self._newest[frame.subject]
        if self._first >= COMPACT_AT and self._first * 2 >= len(self._frames):
            del self._frames[: self._first], self._seqs[: self._first]
            self._first = 0
