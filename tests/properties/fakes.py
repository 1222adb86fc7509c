"""Fake sockets with bounded kernel buffers, and the client behind each, who holds what it reads against the stream.

The client knows the history of the stream and what it was told, nothing of the pod: whatever it accepts is right.
"""

import json
from collections import deque
from dataclasses import dataclass, field

from ssecast.channel import Bytes, Subscriber, Want
from ssecast.frame import Event, Format, Position
from ssecast.hub import Hub
from tests.properties.naive import fits
from tests.sse_parser import ChunkedDecoder, EventStreamParser, Message


@dataclass(eq=False)
class Stream:
    """One incarnation of a JetStream stream: what was stored in it, in order. delivered: what the pod has seen of it."""

    epoch: str
    events: dict[int, Event] = field(default_factory=dict)
    first_seq: int = 1
    last_seq: int = 0
    delivered: int = 0

    def store(self, event: Event) -> None:
        self.events[event.seq] = event
        self.last_seq = event.seq

    def between(self, after: int, upto: int, want: Want) -> list[Event]:
        """What a client with this want must see of after < seq <= upto."""
        return [e for seq, e in self.events.items() if after < seq <= upto and fits(want.subjects, e.subject)]

    def rewound(self, seq: int) -> "Stream":
        """The same stream after its tail was lost."""
        kept = {s: event for s, event in self.events.items() if s <= seq}
        return Stream(self.epoch, kept, min(self.first_seq, seq + 1), seq, seq)


@dataclass
class Expected:
    """A gap that is on its way to a client: why, in which stream it goes on, and after which seq (None: any).

    live: a break of an open stream, which begins at the last id that the client was given. late: its socket was full at
    the break, so the gap came when it had room; one that skips may go on later still.
    """

    reason: str
    stream: Stream
    seq: int | None = None
    live: bool = False
    late: bool = False


class FakeClient(Subscriber):
    """A socket of a pod and the browser at its other end.

    room: bytes that the kernel takes until the browser reads. eager: a transport, which tries the kernel at once, as
    against ASGI, where everything waits in user space until `send` has taken it.
    """

    def __init__(self, hub: Hub, want: Want, fd: int, room: int, eager: bool) -> None:
        super().__init__(fd)
        self.hub, self.want, self.room, self.eager = hub, want, room, eager
        self.kernel, self.waiting = bytearray(), bytearray()
        self.closed = self.dead = self.aborted = False
        self.may_skip = hub.options.skip_slow
        self.parser, self.decoder = EventStreamParser(), ChunkedDecoder()
        self.stream: Stream
        self.at: int | None = None
        self.gaps: deque[Expected] = deque()
        self.owed: list[Expected] = []
        """Breaks of which it has not been told: the next gap tells of all of them."""
        self.newest: dict[str, int] = {}

    # The pod's side

    def take(self, data: Bytes) -> int:
        """What the kernel takes."""
        taken = data[: self.room - len(self.kernel)] if not self.dead else data
        self.kernel += taken
        return len(taken)

    def write(self, data: Bytes) -> None:
        assert not self.closed, "written to after its end"
        assert data, "an empty write"
        if b"event: gap" in bytes(data):
            assert b"event: gap" not in self.waiting, "gaps pile up in user space"
            self.gaps += self.owed[-1:]
            self.owed.clear()
        done = self.take(data) if self.eager and not self.waiting else 0
        self.waiting += data[done:]
        self.blocked = bool(self.waiting)

    def end(self, farewell: bytes) -> None:
        assert not self.blocked
        self.write(farewell)
        self.closed = True

    def abort(self) -> None:
        assert not self.closed
        self.closed = self.aborted = True
        self.waiting.clear()

    def drain(self) -> None:
        """The kernel takes what waits in user space; when all of it is gone, the hub is told."""
        del self.waiting[: self.take(bytes(self.waiting))]
        if self.blocked and not self.waiting:
            self.blocked = False
            if not self.closed:
                self.hub.unblock(self)

    # The browser's side

    def follow(self, stream: Stream) -> None:
        """The stream was rewound to a place that this client has not passed: it need not know."""
        if self.owed or self.gaps:
            [*self.gaps, *self.owed][-1].stream = stream
        else:
            self.stream = stream

    def read(self, size: int) -> None:
        """Reads bytes, and judges every event that is complete with them."""
        data = bytes(self.kernel[:size])
        del self.kernel[:size]
        for message in self.parser.feed(self.decoder.feed(data) if self.want.chunk else data):
            self.judge(message)
        assert not self.parser.dataless_ids
        self.drain()

    def read_all(self) -> None:
        self.read(10**9)
        while self.kernel or self.waiting:
            self.read(10**9)

    def judge(self, message: Message) -> None:
        if message.name == "gap":
            self.jump(message)
            return
        position = Position.parse(message.id)
        assert position is not None
        assert position.epoch == self.stream.epoch, "an id of another epoch without a gap"
        if message.name == "position":
            self.move(position.seq, message)
        else:
            self.receive(position.seq, message)
        self.at = position.seq

    def jump(self, message: Message) -> None:
        """Events are missing, and the client is told so: only for a reason that it knows of, only ahead or elsewhere."""
        body = json.loads(message.data)
        assert message.id == body["next"]
        following = Position.parse(body["next"])
        assert following is not None
        oldest = Position.parse(body["oldest"])
        assert oldest is not None
        assert oldest <= following
        if body["reason"] == "slow":
            assert self.may_skip
            assert self.at is not None
            assert following.seq >= self.at
        else:
            expected = self.gaps.popleft()
            assert body["reason"] == expected.reason
            skips = self.may_skip and expected.late and expected.seq is not None and following.seq > expected.seq
            assert skips or expected.seq in (None, following.seq)
            assert not expected.live or body["requested"] == f"{self.stream.epoch}-{self.at}"
            if expected.stream is not self.stream:
                self.newest.clear()
            self.stream = expected.stream
        assert following.epoch == self.stream.epoch
        self.at = following.seq

    def move(self, seq: int, message: Message) -> None:
        """A position without an event: nothing that this client must see lies before it."""
        assert message.data == ""
        if self.at is not None:
            assert seq > self.at, "a position that says nothing new"
            assert not self.stream.between(self.at, seq, self.want), "a position ahead of data that is owed"

    def receive(self, seq: int, message: Message) -> None:
        assert self.at is not None, "an event before the first position"
        assert seq > self.at, "ids must rise"
        event = self.stream.events[seq]
        assert fits(self.want.subjects, event.subject)
        assert message.name == (event.name or "message")
        assert self.payload(event, message) == event.data.decode()
        skipped = self.stream.between(self.at, seq - 1, self.want)
        if not self.want.latest:
            assert not skipped, "an event was lost"
            return
        newer = {e.subject for e in self.stream.between(seq - 1, self.stream.delivered, self.want)}
        assert all(e.subject in newer for e in skipped), "the newest event of a subject was lost"
        assert self.newest.get(event.subject, 0) < seq
        self.newest[event.subject] = seq

    def payload(self, event: Event, message: Message) -> str:
        if self.want.format is Format.DATA:
            return message.data
        body = json.loads(message.data)
        assert body["subject"] == event.subject
        return str(body["data"])


class FakeKernel:
    """The descriptors of a pod. A number is used again as soon as its stream is closed: the harshest order of events."""

    def __init__(self) -> None:
        self.sockets: dict[int, FakeClient] = {}

    def free_fd(self) -> int:
        return next(fd for fd in range(len(self.sockets) + 1) if fd not in self.sockets)

    def release(self, client: FakeClient) -> None:
        if self.sockets.get(client.fd) is client:
            del self.sockets[client.fd]

    def write_many(self, fds: list[int], wire: bytes) -> list[tuple[int, int]]:
        rest = []
        assert len(set(fds)) == len(fds)
        for fd in fds:
            client = self.sockets[fd]
            assert not client.waiting, "bytes overtake what waits in user space"
            done = client.take(wire)
            if done < len(wire):
                rest.append((fd, done))
        return rest


class Recorder(Subscriber):
    """A subscriber that only notes what it is told. full: whether its socket takes nothing."""

    def __init__(self, fd: int = -1, full: bool = False) -> None:
        super().__init__(fd)
        self.full = full
        self.writes: list[Bytes] = []
        self.farewell: bytes | None = None
        self.aborted = False

    def write(self, data: Bytes) -> None:
        self.writes.append(data)
        self.blocked = self.full

    def end(self, farewell: bytes) -> None:
        self.farewell = farewell

    def abort(self) -> None:
        self.aborted = True

    @property
    def text(self) -> str:
        return b"".join(self.writes).decode()


class RecordingKernel:
    """Notes every direct write. short: descriptors that take only so many bytes of the next write."""

    def __init__(self) -> None:
        self.writes: list[tuple[list[int], bytes]] = []
        self.short: dict[int, int] = {}

    def write_many(self, fds: list[int], wire: bytes) -> list[tuple[int, int]]:
        self.writes.append((fds, wire))
        return [(fd, self.short.pop(fd)) for fd in fds if fd in self.short]

    def sent_to(self, fd: int) -> str:
        return b"".join(wire for fds, wire in self.writes if fd in fds).decode()
