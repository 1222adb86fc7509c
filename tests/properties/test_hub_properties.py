"""Hub, channels and log with slow sockets, in any order of events: every client sees exactly its events, or a gap."""

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ssecast.channel import Place, Subscriber, Want
from ssecast.frame import Event, Format, Frame, Position
from ssecast.hub import TICK, Hub, HubOptions
from ssecast.log import FRAME_OVERHEAD, EventLog
from tests.properties.fakes import Expected, FakeClient, FakeKernel, Stream

HEARTBEAT = 1.0
LONGEST_INTERVAL = 0.7
RETRY, SHORT_RETRY = 4000, 100
NAMES = ["", "one", "other"]
SUBJECTS = ["a.x", "a.y", "b.x", "b.y"]

wants = st.builds(
    Want,
    subjects=st.sampled_from([(">",), ("a.*",), ("a.x",), ("a.x", "b.y"), ("a.*", "b.x"), ("c.x",)]),
    format=st.sampled_from(Format),
    interval=st.sampled_from([0.0, 0.0, 0.25, LONGEST_INTERVAL]),
    latest=st.booleans(),
    chunk=st.booleans(),
)
indexes = st.integers(0, 99)


class HubMachine(RuleBasedStateMachine):
    """A pod without a network: a stream, its hub, and clients that read as they like."""

    @initialize(
        max_events=st.integers(1, 12),
        max_bytes=st.sampled_from([FRAME_OVERHEAD * 4, 10**9]),
        batch=st.sampled_from([1, 120, 10**6]),
        stall=st.sampled_from([1.5, 10**6]),
        skip_slow=st.booleans(),
        seq=st.integers(0, 3),
    )
    def begin(self, max_events: int, max_bytes: int, batch: int, stall: float, skip_slow: bool, seq: int) -> None:
        self.now = 1000.0
        self.stream = Stream("e1", first_seq=seq + 1, last_seq=seq)
        self.epochs = 1
        self.kernel = FakeKernel()
        log = EventLog(max_events, max_bytes, "e1", seq)
        options = HubOptions(batch_bytes=batch, heartbeat=HEARTBEAT, stall=stall, skip_slow=skip_slow)
        self.hub = Hub(log, self.kernel.write_many, self.wake, lambda short: SHORT_RETRY if short else RETRY, options)
        self.hub.on_evicted = self.evicted
        self.woken = self.settling = False
        self.again_at: float | None = None
        self.clients: list[FakeClient] = []
        self.lookups: dict[FakeClient, tuple[Position, bool]] = {}
        """Clients whose resume waits: the position, and whether a rewind made it a thing of the past."""

    def wake(self) -> None:
        self.woken = True

    def evicted(self, sub: Subscriber, cursor: int) -> None:
        assert isinstance(sub, FakeClient)
        self.lookups[sub] = (Position(sub.log.epoch, cursor), False)

    @property
    def open_clients(self) -> list[FakeClient]:
        return [client for client in self.clients if client.place is not Place.GONE]

    def pick(self, index: int, among: list[FakeClient]) -> FakeClient:
        return among[index % len(among)]

    # The stream and the Source

    @rule(
        subjects=st.lists(st.sampled_from(SUBJECTS), min_size=1, max_size=6),
        size=st.sampled_from([0, 10, 200]),
        jump=st.integers(1, 3),
        name=st.sampled_from([None, None, "named"]),
    )
    def store(self, subjects: list[str], size: int, jump: int, name: str | None) -> None:
        """Publishers publish; the pod has not seen it yet."""
        for subject in subjects:
            seq = self.stream.last_seq + jump
            self.stream.store(Event(subject, seq, f"{self.epochs}/{seq}\n".encode() + b"x" * size, name, seq))

    @rule()
    def store_elsewhere(self) -> None:
        """The stream has subjects that are not this pod's."""
        self.stream.last_seq += 2

    @rule(count=st.integers(1, 12))
    def deliver(self, count: int) -> None:
        """The Source feeds the log in order, or finds that it missed something."""
        if self.hub.log.head + 1 < self.stream.first_seq:
            self.interrupt("lost", self.stream, self.stream.first_seq - 1)
        ahead = [event for seq, event in self.stream.events.items() if seq > self.hub.log.head]
        for event in ahead[:count]:
            self.stream.delivered = event.seq
            self.hub.publish(event)
        if count >= len(ahead):
            self.hub.advance(self.stream.last_seq)

    @rule(what=st.sampled_from(["purge", "recreate", "rewind"]), amount=st.integers(0, 9))
    def trouble(self, what: str, amount: int) -> None:
        """The stream loses its oldest events, perhaps some that the pod never saw; or all; or its newest ones."""
        if what == "purge":
            self.stream.first_seq = min(self.stream.first_seq + amount, self.stream.last_seq + 1)
        elif what == "recreate":
            self.epochs += 1
            self.stream = Stream(f"e{self.epochs}", first_seq=amount + 1, last_seq=amount)
            self.interrupt("epoch", self.stream, amount)
        elif self.hub.log.head - amount >= self.stream.first_seq:
            self.rewind(self.hub.log.head - amount)

    def rewind(self, seq: int) -> None:
        """A backup is restored: the same epoch, and numbers that are used for the second time."""
        self.epochs += 1
        self.stream = self.stream.rewound(seq)
        self.interrupt("rewind", self.stream, seq)
        for client, (position, stale) in list(self.lookups.items()):
            if stale or position.seq > seq:
                self.lookups[client] = (position, True)
            elif position.epoch == self.stream.epoch:
                client.follow(self.stream)

    def interrupt(self, reason: str, stream: Stream, seq: int) -> None:
        broken = [client for client in self.open_clients if client.place is not Place.WAITING]
        for client in broken:
            client.owed.append(Expected(reason, stream, seq, live=True))
        self.hub.interrupt(reason, stream.epoch, seq)
        for client in broken:
            for expected in client.owed:
                expected.late = True

    # The pump

    @precondition(lambda self: self.woken)
    @rule()
    def flush(self) -> None:
        """Only when the hub asked for it: a missing wake is a stream that stands still."""
        self.woken = False
        self.again_at = self.hub.flush(self.now)
        if self.again_at is not None and self.again_at <= self.now:
            self.wake()

    @rule(seconds=st.sampled_from([0.05, 0.1, 0.3, 0.8, 2.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        if self.again_at is not None and self.again_at <= self.now:
            self.wake()
        self.hub.tick(self.now)

    # Clients

    @rule(
        want=wants,
        room=st.sampled_from([50, 300, 10**6]),
        kind=st.sampled_from(["direct", "direct", "direct", "tls", "asgi"]),
        back=st.one_of(st.none(), st.integers(-5, 25)),
        lifetime=st.sampled_from([0.0, 0.0, 3.0]),
    )
    def open(self, want: Want, room: int, kind: str, back: int | None, lifetime: float) -> None:
        """A client comes, fresh or with a position: of this pod, behind its memory, or ahead of it."""
        requested = None
        if back is not None:
            seq = min(max(self.hub.log.head - back, 0), self.stream.last_seq + 2)
            requested = str(Position(self.hub.log.epoch, seq))
        self.admit(want, room, kind, requested, self.now + lifetime if lifetime else 0.0)

    @rule(want=wants, index=indexes)
    def reconnect(self, want: Want, index: int) -> None:
        """A client comes with an id that this pod gave to somebody, perhaps long ago, or with one that nobody gave."""
        ids = [client.parser.last_id for client in self.clients if client.parser.last_id]
        self.admit(want, 10**6, "direct", [*ids, "", "42", "e1-", "\x00", "é" * 100][index % (len(ids) + 5)])

    def admit(self, want: Want, room: int, kind: str, requested: str | None, expires_at: float = 0.0) -> FakeClient:
        fd = self.kernel.free_fd() if kind == "direct" else -1
        client = FakeClient(self.hub, want, fd, room, kind != "asgi")
        client.client = NAMES[len(self.clients) % len(NAMES)]
        client.stream, client.expires_at = self.stream, expires_at
        if fd >= 0:
            self.kernel.sockets[fd] = client
        self.clients.append(client)
        head = self.hub.log.head
        asked = Position.parse(requested) if requested is not None else None
        if requested is not None and (asked is None or asked.epoch != self.stream.epoch):
            client.gaps.append(Expected("epoch" if asked else "unreadable", self.stream))
        position = self.hub.open(client, want, requested)
        if position is not None:
            self.lookups[client] = (position, False)
        if requested is None:
            assert client.told <= head, "it would miss what is published from now on"
        elif asked and not client.gaps:
            assert client.told == asked.seq
        return client

    @precondition(lambda self: self.lookups)
    @rule(index=indexes, most=st.sampled_from([0, 2, 10**6]), filtered=st.booleans(), short=st.booleans())
    def look_up(self, index: int, most: int, filtered: bool, short: bool) -> None:
        """The resume of a waiting client is found out, by the rules for positions."""
        client = self.pick(index, list(self.lookups))
        position, stale = self.lookups.pop(client)
        if client.place is Place.GONE:
            return
        log, stream = self.hub.log, self.stream
        if position.epoch != stream.epoch:
            self.resume_gap(client, position, log.head, "epoch")
        elif stale or position.seq > stream.last_seq:
            self.resume_gap(client, position, log.head, "ahead")
        elif position.seq >= log.floor:
            self.hub.resume(client, position.seq)
        else:
            self.replay(client, position, most, filtered, short)

    def replay(self, client: FakeClient, position: Position, most: int, filtered: bool, short: bool) -> None:
        """From JetStream: as much as one backfill may hold, up to the head or to the middle of the pod's log."""
        log, stream = self.hub.log, self.stream
        cursor, reason = position.seq, ""
        if cursor + 1 < stream.first_seq:
            cursor, reason = min(stream.first_seq - 1, log.head), "expired"
        upto = (log.floor + log.head) // 2 if short else log.head
        segment = self.backfill(client, cursor, upto, most, filtered)
        if most == 0:
            self.resume_gap(client, position, log.floor, "too_far")
        elif cursor < segment.floor:
            self.resume_gap(client, position, segment.floor, "too_far", segment)
        elif reason:
            self.resume_gap(client, position, cursor, reason, segment if cursor < log.floor else None)
        else:
            self.hub.resume(client, cursor, segment)

    def resume_gap(
        self, client: FakeClient, position: Position, seq: int, reason: str, segment: EventLog | None = None
    ) -> None:
        client.gaps.append(Expected(reason, self.stream, seq))
        self.hub.resume_gap(client, str(position), seq, reason, segment)

    def backfill(self, client: FakeClient, seq: int, upto: int, most: int, filtered: bool) -> EventLog:
        """A shared one begins earlier than this client needs it, and has subjects that it did not ask for."""
        start = seq if filtered else min(self.stream.first_seq - 1, seq)
        segment = EventLog(max(most, 1), 10**9, self.stream.epoch, start)
        for event in self.stream.between(start, upto, client.want if filtered else Want((">",))):
            segment.append(Frame(event, self.stream.epoch))
        segment.advance(upto)
        return segment

    @precondition(lambda self: self.clients)
    @rule(index=indexes, size=st.sampled_from([1, 7, 60, 400, 10**6]))
    def read(self, index: int, size: int) -> None:
        """A client reads a little, or all there is; then the kernel has room again."""
        self.pick(index, self.clients).read(size)

    @precondition(lambda self: self.open_clients)
    @rule(index=indexes, noticed=st.booleans())
    def leave(self, index: int, noticed: bool) -> None:
        """A client is gone; its transport says so, or the pod has yet to notice."""
        client = self.pick(index, self.open_clients)
        client.dead = True
        if noticed:
            client.closed = True
            self.hub.lost(client)

    @rule(window=st.sampled_from([0.0, 1.0, 10.0]), count=st.one_of(st.none(), st.integers(0, 3)), undo=st.booleans())
    def close_some(self, window: float, count: int | None, undo: bool) -> None:
        """A drain, or a shed of a few; perhaps the drain is taken back."""
        if count is not None:
            self.hub.departures.shed(self.now, count, window)
        else:
            self.hub.departures.drain(self.now, window)
            if undo:
                self.hub.departures.undrain()

    # What must hold

    @invariant()
    def descriptors_are_released_with_their_streams(self) -> None:
        for client in getattr(self, "clients", []):
            if client.place is Place.GONE:
                self.kernel.release(client)
                assert client.closed

    @invariant()
    def counts_agree(self) -> None:
        if not hasattr(self, "hub"):
            return
        assert self.hub.streams == len(self.open_clients)
        assert self.hub.opened == len(self.clients)
        assert self.hub.channels == len({client.want for client in self.open_clients})
        assert self.hub.clients == Counter(client.client for client in self.open_clients if client.client)
        assert all(self.hub.clients.values()), "a client that has gone is remembered"
        assert sum(self.hub.closed.values()) == len(self.clients) - len(self.open_clients)
        if self.hub.options.skip_slow:
            assert not self.hub.closed["slow"]
            assert not self.hub.closed["stalled"]

    @invariant()
    def user_space_is_bounded(self) -> None:
        """Never more than one batch, or one event, the first block and a gap, however many breaks there are."""
        for client in getattr(self, "clients", []):
            if client.want.format is Format.DATA:
                assert len(client.waiting) <= max(self.hub.options.batch_bytes, 300) + 600

    @rule()
    def settle(self) -> None:
        """Everyone reads, time passes: then every client has everything, and an id that says so."""
        self.settling = True
        self.hub.departures.undrain()
        self.hub.departures.shed(self.now, 0, 0.0)
        self.deliver(10**6)
        for _ in range(round((LONGEST_INTERVAL + 2 * HEARTBEAT) / TICK)):
            for _ in range(50):
                while self.lookups:
                    self.look_up(0, most=10**6, filtered=True, short=False)
                for client in self.clients:
                    client.read_all()
                if not self.woken:
                    break
                self.flush()
            self.pass_time(TICK)
        self.descriptors_are_released_with_their_streams()
        for client in self.clients:
            self.judge_end(client)
        self.settling = False

    def judge_end(self, client: FakeClient) -> None:
        client.read_all()
        if client.dead:
            return
        if client.place is not Place.GONE:
            assert client.place is Place.LANE
            assert client.at == self.hub.log.head, "the heartbeat brings the id to the head"
            assert not client.gaps
            assert not client.owed
            assert client.parser.retries == [RETRY]
        elif not client.aborted:
            assert client.parser.retries == [RETRY, SHORT_RETRY]
            assert client.decoder.ended is client.want.chunk
        if not client.aborted:
            assert client.parser.idle
            assert client.decoder.idle

    def teardown(self) -> None:
        if hasattr(self, "hub") and not self.settling:
            self.settle()


TestHub = HubMachine.TestCase
TestHub.settings = settings(max_examples=150, stateful_step_count=50, report_multiple_bugs=False)
