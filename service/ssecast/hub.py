"""The pod's streams and the log they read: publish, flush, resume, interrupt, close. Pure.

Time and effects are arguments: `wake` asks for a flush soon, `write_many` writes to descriptors, `draw_retry` draws the
reconnection time of a new or an orderly closed stream. The pump calls flush and tick; everything runs in one thread.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import islice

from ssecast.channel import Channel, Egress, Place, Subscriber, Want, WriteMany
from ssecast.drain import Departures
from ssecast.expiry import Expiry
from ssecast.frame import COMMENT, LAST_CHUNK, Event, Frame, Position, gap_block, position_block, retry_block
from ssecast.heartbeat import Wheel
from ssecast.log import EventLog
from ssecast.subjects import SubjectTrie

TICK = 0.1
"""Seconds between two ticks: the grain of heartbeats, ages, stalls and drains."""

ADVANCES_PER_FLUSH, ADVANCE_BYTES, ADVANCE_LOOKS = 256, 1 << 20, 8192
"""Streams behind that one flush brings forward by a batch, and bytes and looks at frames after which it stops: bounds how
long live events wait for a resume storm. A megabyte is about a millisecond of the kernel's time, and so are a thousand
looks of ours."""


@dataclass(frozen=True, slots=True)
class HubOptions:
    """Values, not settings. Times in seconds."""

    batch_bytes: int = 131072
    heartbeat: float = 15.0
    stall: float = 30.0
    skip_slow: bool = False


class Hub:
    """Every open stream of the pod, by channel and by heartbeat, above one log."""

    def __init__(
        self,
        log: EventLog,
        write_many: WriteMany,
        wake: Callable[[], None],
        draw_retry: Callable[[bool], int],
        options: HubOptions | None = None,
    ) -> None:
        self.log, self.wake, self.draw_retry = log, wake, draw_retry
        self.options = options or HubOptions()
        self.egress = Egress(write_many, self.options.batch_bytes)
        self.wheel = Wheel(self.options.heartbeat, TICK)
        self.expiry = Expiry(TICK)
        self.on_evicted: Callable[[Subscriber, int], None] = lambda sub, _: self.close(sub, "slow")
        self.on_open: Callable[[Subscriber], None] | None = None
        self.on_close: Callable[[str], None] = lambda _: None
        self.departures = Departures(self.wheel.oldest_first, self.close)
        self.events = self.opened = self.cut = 0
        self.closed: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.resumes: Counter[str] = Counter()
        self.gaps: Counter[str] = Counter()
        self.breaks: Counter[str] = Counter()
        self.clients: Counter[str] = Counter()
        """Open streams of each client that has a name."""
        self._owed: dict[Subscriber, tuple[str, str]] = {}
        """Blocked streams that have a gap coming: the position that it counts from, and the newest reason."""
        self._channels: dict[Want, Channel] = {}
        self._trie: SubjectTrie[Channel] = SubjectTrie()
        self._dirty: dict[Channel, None] = {}
        self._held: list[tuple[float, int, Channel]] = []
        self._greeted, self._greeting = Position("", -1), b""

    def retune(self, options: HubOptions) -> None:
        """Other options from now on; batch_bytes stays as it is."""
        if options.heartbeat != self.options.heartbeat:
            self.wheel.resize(options.heartbeat)
        self.options = options

    @property
    def streams(self) -> int:
        return self.wheel.count

    @property
    def is_draining(self) -> bool:
        return self.departures.is_draining

    @property
    def channels(self) -> int:
        return len(self._channels)

    # Events in

    def publish(self, event: Event) -> None:
        """Encodes, appends, and marks the channels that asked for it; the next flush writes.

        Raises ValueError where the event's seq is not above the log's head.
        """
        frame = Frame(event, self.log.epoch)
        matching = self._trie.match(event.subject)
        self.log.append(frame)
        self.events += 1
        for channel in matching:
            if channel.publish(frame):
                self._dirty[channel] = None
        if self._dirty:
            self.wake()

    def advance(self, seq: int) -> None:
        """The head moves without an event: none of ours lies before it."""
        self.log.advance(seq)

    def interrupt(self, reason: str, epoch: str, seq: int) -> None:
        """A break: what came before is dropped, every live stream gets a gap and goes on after epoch-seq.

        Streams that still wait for the start of their resume keep waiting; their resume sees the new log.
        """
        self._flush_pending()
        requested = {sub: str(Position(self.log.epoch, self._told(sub))) for sub in self.wheel}
        self.breaks[reason] += 1
        self.log.start(epoch, seq)
        self.egress.batches.clear()
        for channel in self._channels.values():
            channel.told = 0  # a number of the old epoch, or of the part that was rewound
        for sub, position in requested.items():
            if sub.place is Place.WAITING:
                continue
            if sub.blocked:  # one gap for all breaks until its socket takes it, or they would pile up in user space
                self._owed[sub] = (self._owed.get(sub, (position, ""))[0], reason)
                sub.channel.hold_back(sub, seq)
                continue
            sub.channel.take_out(sub)
            self._send_gap(sub, position, seq, reason)
            sub.channel.place(sub, seq)

    # Frames out

    def flush(self, now: float) -> float | None:
        """Writes what is pending and brings some of those behind forward.

        Returns when to call again: now where more can be done at once, a later time for an interval, None for neither.
        """
        self.egress.now = now
        dirty, self._dirty = self._dirty, {}
        for channel in dirty:
            self._flush_or_hold(channel)
        while self._held and self._held[0][0] <= now:
            channel = heappop(self._held)[2]
            channel.held = False
            self._flush_or_hold(channel)
        self._advance_some()
        if self.egress.ready:
            return now
        return self._held[0][0] if self._held else None

    def tick(self, now: float) -> None:
        """Heartbeats, ages, stalls, drains: everything that time alone brings about."""
        self.egress.now = now
        self.log.trim()
        for channel in list(self.egress.ahead):
            channel.promote_ahead()
            if not channel.ahead:
                del self.egress.ahead[channel]
        for _, _, channel in self._held:
            if channel.sent < self.log.floor:  # what an interval holds back lives in the log's bound
                channel.due = 0.0
                self._dirty[channel] = None
                self.wake()
        if not self.egress.ready:
            self.egress.batches.clear()  # they hold on to segments of finished backfills
        for sub in self.expiry.due(now):
            self.close(sub, "token")
        self._beat(now)
        self._drop_slow(now)
        self.departures.close_due(now + TICK)  # who has a deadline goes a tick early rather than late

    # Streams

    def open(self, sub: Subscriber, want: Want, requested: str | None = None) -> Position | None:
        """Adds a stream and writes its first block: `retry:` and where it starts.

        Returns the requested position where only the stream's state can tell from where to go on (the subscriber waits
        for resume or resume_gap), else None.
        """
        sub.channel = self._channel(want)
        sub.channel.members += 1
        sub.log, sub.place = self.log, Place.WAITING
        self.wheel.add(sub)
        if sub.client:
            self.clients[sub.client] += 1
        self.departures.add(sub)
        self.opened += 1
        if self.on_open is not None:
            self.on_open(sub)
        if requested is None:
            self.resumes["live"] += 1
            self._start(sub, sub.channel.sent)
            return None
        position = Position.parse(requested)
        if position is not None and position.is_later_than(self.log.epoch):
            self._greet(sub, position)  # another pod may have seen first that the stream is another one
            return position
        if position is None or position.epoch != self.log.epoch:
            self._write(sub, retry_block(self.draw_retry(False)))
            self.resume_gap(sub, requested, sub.channel.sent, "epoch" if position else "unreadable")
            return None
        if self.log.floor <= position.seq <= self.log.head:
            self.resumes["memory"] += 1
            self._start(sub, position.seq)
            return None
        self._greet(sub, position)
        return position

    def end_by(self, sub: Subscriber, at: float) -> None:
        """An open stream is closed at `at`, give or take a tick, because its token expires."""
        if sub.place is not Place.GONE:
            self.expiry.add(sub, at)

    def resume(self, sub: Subscriber, cursor: int, segment: EventLog | None = None) -> None:
        """A waiting stream goes on after cursor, out of the segment first where there is one, then out of the log."""
        if sub.place is Place.GONE:
            return
        if segment is None:
            sub.channel.place(sub, cursor)
        else:
            sub.log, sub.cursor = segment, cursor
            sub.channel.put_behind(sub)
        if self.egress.ready:
            self.wake()

    def resume_gap(
        self, sub: Subscriber, requested: str, seq: int, reason: str, segment: EventLog | None = None
    ) -> None:
        """A waiting stream is told that events are missing and goes on after seq."""
        if sub.place is Place.GONE:
            return
        self.resumes["gap"] += 1
        self._send_gap(sub, requested, seq, reason)
        self.resume(sub, seq, segment)

    def take_back(self, segment: EventLog) -> None:
        """Whoever still reads this backfill goes on from the log. Where that does not go back so far any more, a stream
        whose socket is full is slow, and one that waits for its turn is looked up again."""
        for sub in self.wheel:
            if sub.log is segment:
                sub.log = self.log
        self.egress.batches.clear()

    def unblock(self, sub: Subscriber) -> None:
        """The socket took everything that waited in user space."""
        if sub.place is Place.GONE:
            return
        if sub in self.departures.leaving:
            self.close(sub, self.departures.leaving[sub].reason)
            return
        fell_off = self._fell_off(sub)  # while its socket was full: too slow for the log
        if fell_off and not self.options.skip_slow:
            self.close(sub, "slow")
            return
        if fell_off or sub in self._owed:
            self._jump(sub, sub.channel.sent if fell_off else sub.cursor)
        else:
            sub.channel.unblock(sub)
        if self.egress.ready:
            self.wake()

    def close(self, sub: Subscriber, reason: str) -> None:
        """Ends a stream: with a short `retry:` where nothing waits for its socket, cut off where something does."""
        if sub.place is Place.GONE:
            return
        self.lost(sub, reason)
        if sub.blocked:
            self.cut += 1
            sub.abort()
            return
        farewell = sub.channel.wrap(retry_block(self.draw_retry(True)))
        sub.end(farewell + LAST_CHUNK if sub.channel.want.chunk else farewell)

    def lost(self, sub: Subscriber, reason: str = "client") -> None:
        """The connection is gone, or about to go: forget the stream before its descriptor is used again."""
        if sub.place is Place.GONE:
            return
        sub.channel.take_out(sub)
        self._owed.pop(sub, None)
        sub.place = Place.GONE
        self.wheel.remove(sub)
        if sub.client:
            self._forget_client(sub.client)
        self.departures.remove(sub)
        self.expiry.remove(sub)
        self.closed[reason] += 1
        self.on_close(reason)
        sub.channel.members -= 1
        if not sub.channel.members:
            self._forget(sub.channel)

    def drop_blocked(self, reason: str) -> None:
        """Closes every stream whose socket is full: what waits for them is given back. They resume by their ids."""
        for sub in list(self.egress.blocked):
            self.close(sub, reason)

    # Inside

    def _channel(self, want: Want) -> Channel:
        channel = self._channels.get(want)
        if channel is None:
            channel = self._channels[want] = Channel(want, self.log, self.egress)
            for pattern in want.subjects:
                self._trie.add(pattern, channel)
        return channel

    def _forget(self, channel: Channel) -> None:
        del self._channels[channel.want]
        self._dirty.pop(channel, None)
        for pattern in channel.want.subjects:
            self._trie.remove(pattern, channel)

    def _forget_client(self, client: str) -> None:
        self.clients[client] -= 1
        if not self.clients[client]:
            del self.clients[client]

    def _flush_or_hold(self, channel: Channel) -> None:
        if not channel.pending:
            return
        if channel.due <= self.egress.now:
            channel.flush()
        elif not channel.held:
            channel.held = True
            heappush(self._held, (channel.due, id(channel), channel))

    def _flush_pending(self) -> None:
        for channel in self._channels.values():
            if channel.pending:
                channel.flush()

    def _advance_some(self) -> None:
        ready = self.egress.ready
        enough, too_long = self.egress.bytes + ADVANCE_BYTES, self.egress.looked + ADVANCE_LOOKS
        for sub in list(islice(ready, ADVANCES_PER_FLUSH)):
            if self.egress.bytes >= enough or self.egress.looked >= too_long:
                return
            del ready[sub]
            if self._fell_off(sub):  # not slow: it waited for its turn, and the log was faster
                self._look_up_again(sub)
            elif not sub.channel.advance(sub):
                sub.channel.put_behind(sub)
            elif sub.log is not self.log and sub.cursor < min(self.log.floor, sub.channel.sent):
                self._look_up_again(sub)
            else:
                sub.channel.place(sub, sub.cursor)

    def _look_up_again(self, sub: Subscriber) -> None:
        sub.place, sub.log = Place.WAITING, self.log  # a backfill that it has read is not to be kept for it
        self.on_evicted(sub, sub.cursor)

    def _fell_off(self, sub: Subscriber) -> bool:
        """Whether the log no longer holds what comes after its cursor."""
        return sub.place is Place.BEHIND and sub.log is self.log and sub.cursor < self.log.floor

    def _jump(self, sub: Subscriber, seq: int) -> None:
        """It reads again, and is told what it missed while its socket was full: on from seq."""
        sub.channel.take_out(sub)
        position, reason = self._owed.pop(sub, (str(Position(self.log.epoch, sub.cursor)), "slow"))
        self._send_gap(sub, position, seq, reason)
        sub.channel.place(sub, seq)

    def _drop_slow(self, now: float) -> None:
        if self.options.skip_slow:
            return
        for sub, since in list(self.egress.blocked.items()):
            if self._fell_off(sub):
                self.close(sub, "slow")
            elif now - since >= self.options.stall:
                self.close(sub, "stalled")

    def _beat(self, now: float) -> None:
        """A heartbeat to each stream of the slot that is due, `position` where the last id it was given is stale."""
        groups: dict[tuple[Channel, bool], list[int]] = {}
        for sub in self.wheel.turn(now):
            if sub.place in (Place.WAITING, Place.AHEAD):
                if not sub.blocked:
                    self._write(sub, COMMENT)
            elif sub.place is Place.LANE:
                # A position would run ahead of what is held back for an interval; a comment cannot.
                stale = not sub.channel.pending and self._told(sub) < self.log.head
                if not stale and now - sub.channel.flushed_at < self.options.heartbeat:
                    continue
                if stale:
                    sub.told = self.log.head
                if sub.fd >= 0:
                    groups.setdefault((sub.channel, stale), []).append(sub.fd)
                else:
                    sub.channel.send_to(sub, self._heartbeat(stale))
        for (channel, stale), fds in groups.items():
            channel.send_some(fds, self._heartbeat(stale))

    def _heartbeat(self, stale: bool) -> bytes:
        return position_block(self.log.position) if stale else COMMENT

    def _told(self, sub: Subscriber) -> int:
        """The last id that the stream was given."""
        return max(sub.told, sub.channel.told) if sub.place is Place.LANE else sub.told

    def _start(self, sub: Subscriber, seq: int) -> None:
        self._greet(sub, Position(self.log.epoch, seq))
        self.resume(sub, seq)

    def _greet(self, sub: Subscriber, position: Position) -> None:
        sub.told = position.seq
        if position != self._greeted:  # of thousands that come at once, most start at the same position
            self._greeted, self._greeting = position, position_block(position)
        self._write(sub, retry_block(self.draw_retry(False)) + self._greeting)

    def _send_gap(self, sub: Subscriber, requested: str, seq: int, reason: str) -> None:
        self.gaps[reason] += 1
        sub.told = seq
        following = Position(self.log.epoch, seq)
        self._write(sub, gap_block(requested, min(self.log.oldest, following), following, reason))

    def _write(self, sub: Subscriber, block: bytes) -> None:
        sub.write(sub.channel.wrap(block))
