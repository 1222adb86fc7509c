"""Drains, sheds, stops and ages in any order, above streams that come, go, stall and resume: who is closed when."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ssecast.channel import Bytes, Place, Want
from ssecast.drain import PATIENCE, is_busy
from ssecast.frame import Event
from ssecast.hub import TICK, Hub, HubOptions
from ssecast.log import EventLog
from tests.properties.fakes import Recorder, RecordingKernel

EPSILON = 1e-6
ALL = Want((">",), chunk=False)


class Client(Recorder):
    """A stream that ends once, and is told nothing after its end."""

    expires_at: float

    @property
    def ended(self) -> bool:
        return self.farewell is not None or self.aborted

    def write(self, data: Bytes) -> None:
        assert not self.ended
        super().write(data)

    def end(self, farewell: bytes) -> None:
        assert not self.ended
        assert not self.blocked, "a farewell in the middle of a batch"
        assert farewell == b"retry: 100\n\n"
        super().end(farewell)

    def abort(self) -> None:
        assert not self.ended
        super().abort()


def hub_of(max_events: int = 100) -> Hub:
    """A hub without stalls, and nearly without heartbeats: who is closed is closed for one of the reasons at hand."""
    options = HubOptions(heartbeat=100.0, stall=10**6, skip_slow=True)
    return Hub(
        EventLog(max_events, 10**9, "e"),
        RecordingKernel().write_many,
        lambda: None,
        lambda short: 100 if short else 4000,
        options,
    )


@given(
    streams=st.integers(1, 3000),
    window=st.floats(1.0, 120.0),
    phase=st.floats(0.0, 0.99),
    slices=st.integers(2, 10),
    by=st.sampled_from(["drain", "shed", "stop"]),
)
@settings(max_examples=60)
def test_each_part_of_a_window_closes_its_share(
    streams: int, window: float, phase: float, slices: int, by: str
) -> None:
    """As many in each part of the same length, but for those that a tick takes together; and all of them in time."""
    hub, clients = hub_of(), [Client() for _ in range(streams)]
    for client in clients:
        hub.open(client, ALL)
    start, delay = 1000.0, 3.0 if by == "stop" else 0.0
    if by == "drain":
        hub.departures.drain(start, window)
    elif by == "shed":
        hub.departures.shed(start, streams, window)
    else:
        hub.departures.stop(start, delay, window)
    closed_at: list[float] = []
    now = start + phase * TICK
    while now < start + delay + window:
        hub.tick(now)
        closed_at += [now - start - delay] * (sum(hub.closed.values()) - len(closed_at))
        now += TICK
    assert all(client.farewell for client in clients)
    assert min(closed_at) >= -TICK
    parts = Counter(int(max(when, 0.0) / window * slices) for when in closed_at)
    share, together = streams / slices, streams * TICK / window + 1
    assert all(abs(parts[at] - share) <= 2 * together for at in range(slices))


class Plan:
    """What was ordered, as somebody would work it out who knows nothing but the rules.

    elsewhere: members that ended or are about to end for another reason than this plan.
    """

    def __init__(self, begin: float, deadline: float, members: list[Client], elsewhere: set[Client]) -> None:
        self.begin, self.deadline, self.streams = begin, deadline, len(members)
        self.members, self.elsewhere = set(members), elsewhere & set(members)
        self.never_busy = set(members)

    def slots(self, now: float, slack: float) -> int:
        """How many streams the plan has had time for."""
        if now <= self.begin:
            return 0
        return int((now - self.begin) / (self.deadline - self.begin) * self.streams + 0.5 + slack)


class DrainMachine(RuleBasedStateMachine):
    """A pod, its orders, and the two plans that may be in force."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.seq = 1000.0, 8
        self.hub = hub_of(max_events=5)
        self.waiting: dict[Client, None] = {}
        self.hub.on_evicted = lambda sub, _: self.wait_again(sub)
        self.clients: list[Client] = []
        self.draining: Plan | None = None
        self.shedding: Plan | None = None
        self.window = self.since = 0.0
        self.shed_order = (0, 0.0)
        self.stops_by: float | None = None
        for seq in range(1, self.seq + 1):
            self.hub.publish(Event("a", seq, b"x"))
        self.hub.tick(self.now)

    def wait_again(self, sub: object) -> None:
        assert isinstance(sub, Client)
        self.waiting[sub] = None

    @property
    def open(self) -> list[Client]:
        return [client for client in self.clients if client.place is not Place.GONE]

    @property
    def plans(self) -> list[Plan]:
        return [plan for plan in (self.draining, self.shedding) if plan is not None]

    # Streams

    @rule(
        starts=st.lists(st.sampled_from(["live", "live", "behind", "waiting", "full"]), min_size=1, max_size=8),
        life=st.sampled_from([0.0, 0.0, 0.7, 5.0]),
    )
    def come(self, starts: list[str], life: float) -> None:
        """Also while the pod drains: their requests were let in just before."""
        for start in starts:
            client = Client(full=start == "full")
            client.expires_at = self.now + life if life else 0.0
            back = {"behind": self.hub.log.head - 1, "waiting": self.hub.log.floor - 1}.get(start)
            if self.hub.open(client, ALL, None if back is None else f"e-{back}") is not None:
                self.waiting[client] = None
            self.clients.append(client)
            if self.draining is not None:
                self.draining.members.add(client)

    @precondition(lambda self: self.open)
    @rule(index=st.integers(0, 99), count=st.integers(1, 3))
    def go(self, index: int, count: int) -> None:
        """Clients close their tabs."""
        for _ in range(min(count, len(self.open))):
            client = self.open[index % len(self.open)]
            self.hub.lost(client)
            self.note_end(client)

    @rule(replay=st.booleans())
    def publish(self, replay: bool) -> None:
        """Sockets that are full keep what comes; replays go on, or wait for their turn."""
        self.seq += 1
        self.hub.publish(Event("a", self.seq, b"x"))
        if replay:
            self.hub.flush(self.now)

    @precondition(lambda self: self.open)
    @rule(index=st.integers(0, 99))
    def stall(self, index: int) -> None:
        self.open[index % len(self.open)].full = True

    @precondition(lambda self: any(client.blocked for client in self.open))
    @rule(index=st.integers(0, 99))
    def read_again(self, index: int) -> None:
        """A stream whose time has come leaves in this very moment, with what it was taking complete."""
        blocked = [client for client in self.open if client.blocked]
        client = blocked[index % len(blocked)]
        leaves = client in self.hub.departures.leaving
        client.full = client.blocked = False
        before = sum(self.hub.closed[reason] for reason in ("drain", "shed", "age"))
        self.hub.unblock(client)
        if leaves:
            assert client.farewell
            assert sum(self.hub.closed[reason] for reason in ("drain", "shed", "age")) == before + 1
        else:
            assert client.place is not Place.GONE

    def note_end(self, client: Client) -> None:
        for plan in self.plans:
            plan.elsewhere |= {client} & plan.members

    @precondition(lambda self: self.waiting)
    @rule(gap=st.booleans())
    def answer(self, gap: bool) -> None:
        """The stream's state is known: one that waits goes on, or gets its gap."""
        client = next(iter(self.waiting))
        del self.waiting[client]
        if gap:
            self.hub.resume_gap(client, "e-0", self.hub.log.head, "expired")
        else:
            self.hub.resume(client, self.hub.log.floor)

    # Orders

    @rule(window=st.sampled_from([0.0, 1.0, 3.0, 20.0]), delay=st.sampled_from([0.0, 0.0, 2.0]))
    def drain(self, window: float, delay: float) -> None:
        same = self.draining is not None and window == self.window
        self.hub.departures.drain(self.now, window, delay)
        if not same:
            begin = max(self.now, (self.now if self.draining is None else self.since) + delay)
            latest = begin + window if self.stops_by is None else self.stops_by
            self.plan_drain(min(begin, latest), min(begin + window, latest), window)

    @rule()
    def undrain(self) -> None:
        taken_back = self.hub.departures.undrain()
        assert taken_back is (self.stops_by is None)
        if taken_back:
            self.draining = None
            assert "drain" not in {leave.reason for leave in self.hub.departures.leaving.values()}

    @rule(count=st.integers(0, 10), window=st.sampled_from([0.0, 1.0, 3.0, 20.0]))
    def shed(self, count: int, window: float) -> None:
        same = self.shedding is not None and self.shed_order == (count, window)
        self.hub.departures.shed(self.now, count, window)
        if self.draining is None and not same:
            self.shed_order = (count, window)
            self.shedding = self.plan(self.now, self.now + window, self.open[:count]) if count else None

    @precondition(lambda self: len(self.clients) > 5)
    @rule(delay=st.sampled_from([0.0, 1.0, 5.0]), window=st.sampled_from([0.0, 2.0, 10.0]))
    def stop(self, delay: float, window: float) -> None:
        """Once: what a second signal does is not for the plan."""
        if self.stops_by is not None:
            return
        left = max(0.0, self.since + delay - self.now) if self.draining else delay
        assert self.hub.departures.stop(self.now, delay, window) == left
        self.stops_by = self.now + left + window
        if self.draining is None:
            self.plan_drain(self.now + left, self.stops_by, window)
        elif self.draining.deadline > self.stops_by:
            self.plan_drain(self.now, self.stops_by, window)

    def plan_drain(self, begin: float, deadline: float, window: float) -> None:
        if self.draining is None:
            self.since = self.now
        self.draining, self.shedding, self.window = self.plan(begin, deadline, self.open), None, window

    def plan(self, begin: float, deadline: float, members: list[Client]) -> Plan:
        leaving = self.hub.departures.leaving
        return Plan(begin, deadline, members, {client for client in self.open if client in leaving})

    # Time

    @rule(steps=st.lists(st.sampled_from([TICK, TICK, TICK, 0.13, 0.9]), min_size=1, max_size=12))
    def pass_time(self, steps: list[float]) -> None:
        for step in steps:
            self.now += step
            self.tick()

    @precondition(lambda self: self.plans and any(client.blocked for client in self.open))
    @rule(until_deadline=st.booleans())
    def pass_until_somebody_leaves(self, until_deadline: bool) -> None:
        """A stream whose time has come, though its socket is full: what comes now decides how it ends."""
        while self.plans and (until_deadline or not self.hub.departures.leaving):
            if self.plans[0].deadline <= self.now:
                return
            self.now += TICK
            self.tick()

    def tick(self) -> None:
        """One tick, and a look at whom it closed: by the plans, at their rate, busy ones last."""
        upto, before = self.now + TICK, set(self.open)
        busy = {client for client in before if is_busy(client)}
        for plan in self.plans:
            plan.never_busy -= busy
        self.hub.tick(self.now)
        for plan in self.plans:  # a heartbeat may have filled a socket
            plan.never_busy -= {client for client in before if is_busy(client)}
        old = {client for client in before if client.expires_at and client.expires_at <= upto}
        for plan in self.plans:
            plan.elsewhere |= old & plan.members
        for client in before - set(self.open):
            if client not in old:
                self.judge_close(client, client in busy, upto)
            elif client.aborted:
                assert upto >= client.expires_at + PATIENCE or any(plan.deadline <= upto for plan in self.plans)
        for plan in self.plans:
            self.judge_rate(plan, upto)
        if self.shedding is not None and self.shedding.deadline <= upto:
            self.shedding = None

    def judge_close(self, client: Client, was_busy: bool, upto: float) -> None:
        """Before the deadline nobody is cut, and who is owed something goes when only such are left."""
        [plan] = self.plans
        assert client in plan.members
        if upto >= plan.deadline:
            return
        assert not client.aborted
        if was_busy:
            assert all(self.is_done(other) for other in plan.never_busy)

    def judge_rate(self, plan: Plan, upto: float) -> None:
        """As many as the plan has had time for; the slot of one that ended by itself stays empty."""
        if upto >= plan.deadline:
            assert all(client.place is Place.GONE for client in plan.members)
            return
        done = {client for client in plan.members if self.is_done(client)}
        assert len(done - plan.elsewhere) <= plan.slots(upto, EPSILON)
        assert len(done | plan.elsewhere) >= plan.slots(upto, -EPSILON)

    def is_done(self, client: Client) -> bool:
        return client.place is Place.GONE or client in self.hub.departures.leaving

    # What must hold

    @invariant()
    def every_stream_ends_once_and_is_counted(self) -> None:
        gone = [client for client in self.clients if client.place is Place.GONE]
        assert sum(self.hub.closed.values()) == len(gone)
        assert self.hub.streams == len(self.open)
        assert self.hub.closed["client"] == sum(not client.ended for client in gone)
        assert self.hub.cut == sum(client.aborted for client in gone)
        assert all(client.blocked for client in self.hub.departures.leaving)

    @invariant()
    def the_plans_in_force_are_those_that_were_ordered(self) -> None:
        departures = self.hub.departures
        assert departures.is_draining is (self.draining is not None)
        for closing, plan in ((departures.draining, self.draining), (departures.shedding, self.shedding)):
            assert closing.deadline == (None if plan is None else plan.begin + (plan.deadline - plan.begin))
        if self.draining is not None and self.stops_by is not None:
            assert self.draining.deadline <= self.stops_by

    @invariant()
    def nobody_outlives_its_age(self) -> None:
        """But for what its socket has yet to take, and a tick that has yet to come."""
        for client in self.open:
            if client.expires_at and client.expires_at < self.now:
                assert client.blocked or client.expires_at > self.now - 1
                assert client.expires_at + PATIENCE > self.now - 1


TestDrain = DrainMachine.TestCase
TestDrain.settings = settings(max_examples=200, stateful_step_count=40, report_multiple_bugs=False)
