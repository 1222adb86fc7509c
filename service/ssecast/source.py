"""The NATS side of a pod: holds a connection, and has the stream followed over it, or core NATS. It reconnects for ever."""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import nats.errors
import structlog
from nats.aio.subscription import DEFAULT_SUB_PENDING_BYTES_LIMIT, DEFAULT_SUB_PENDING_MSGS_LIMIT

from ssecast.address import Address
from ssecast.core import Core
from ssecast.dial import Backoff, Connection, Dialer, Listener, Unreachable, close, until_cancelled
from ssecast.follower import Follower, FollowerOptions
from ssecast.frame import Position
from ssecast.hub import Hub
from ssecast.intake import Intake, Trace
from ssecast.jetstream import JetStream, StreamLimits, StreamState
from ssecast.refusals import NEEDED, Denial, JetStreamError, Unanswered

SHORT_LIFE_SECONDS = 5.0
"""A connection that breaks sooner was no success: the next attempt waits longer."""

CLOSED_SECONDS = 1.0
"""Between two looks whether the connection is closed."""

UNANSWERED_MAX = 3
"""So many requests in a row without an answer end a connection."""

STREAM_CHANGED = "the stream was made anew or rewound, and this pod has yet to follow it: nobody knows where the event is, if it is stored"
"""Its number may be another event's: no position is made of it."""

SAID_MAX = 100
"""Problems that are remembered so that each is logged once while it lasts."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """Values, not settings. stream: empty for core NATS. The pending limits are those of nats-py's queue."""

    nats_url: str
    subjects: tuple[str, ...]
    stream: str
    creds_file: str | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    max_age_seconds: float = 600.0
    max_bytes: int = 2**30
    replicas: int = 1
    storage: str = "file"
    warm_events: int = 100_000
    warm_bytes: int = 2**26
    max_payload_bytes: int = 2**20
    pending_msgs: int = DEFAULT_SUB_PENDING_MSGS_LIMIT
    pending_bytes: int = DEFAULT_SUB_PENDING_BYTES_LIMIT

    @property
    def address(self) -> Address:
        return Address(self.nats_url, self.creds_file, self.ca_file, self.cert_file, self.key_file)

    @property
    def pending(self) -> tuple[int, int]:
        return self.pending_msgs, self.pending_bytes

    @property
    def following(self) -> FollowerOptions:
        limits = StreamLimits(self.max_age_seconds, self.max_bytes, self.replicas, self.storage)
        return FollowerOptions(self.subjects, limits, self.warm_events, self.warm_bytes, self.pending)


class Source:
    """Feeds one hub for as long as `run` runs.

    problem: what is wrong now, empty when nothing is. restarts: how often following ended and began anew, by reason.
    """

    def __init__(self, hub: Hub, options: SourceOptions, time_ns: Callable[[], int]) -> None:
        self.hub, self.options, self.time_ns = hub, options, time_ns
        self.problem = "starting"
        self.restarts: Counter[str] = Counter()
        self.nc: Connection | None = None
        self.jetstream = JetStream(lambda: self.nc, options.stream) if options.stream else None
        self._intake = Intake(hub, options.max_payload_bytes)
        self._core = Core(self._intake, options.subjects, options.pending, time_ns)
        self._follower = (
            Follower(self.jetstream, self._intake, options.following, self) if self.jetstream is not None else None
        )
        self._dialer = Dialer(options.address)
        self._closed = asyncio.Event()
        self._denied = False
        self._said: set[str] = set()
        self._since_ns = 0

    @property
    def ready(self) -> bool:
        """Whether the log was warmed once."""
        return self._intake.ready

    @property
    def connected(self) -> bool:
        return self.nc is not None and self.nc.is_connected

    @property
    def rewound(self) -> Position:
        """Where the stream went on after its last rewind that was noticed."""
        return self._intake.rewound

    @property
    def lag_events(self) -> int:
        """What NATS had left to deliver after the last event."""
        return self._intake.lag_events

    @property
    def lag_seconds(self) -> float:
        """Age of the last event while more are known to wait, else 0."""
        known = self._intake.lag_events and self._intake.last_ns
        return max(0.0, (self.time_ns() - self._intake.last_ns) / 1e9) if known else 0.0

    @property
    def stream(self) -> StreamState | None:
        """The stream as it was seen last, a few seconds ago while NATS answers; None for core NATS."""
        return self.jetstream.seen if self.jetstream is not None else None

    @property
    def trace(self) -> Trace | None:
        """Told of every event."""
        return self._intake.trace

    @trace.setter
    def trace(self, trace: Trace | None) -> None:
        self._intake.trace = trace

    def doubt(self) -> None:
        """Somebody has seen that the stream is another one: it is looked at now."""
        if self._follower is not None:
            self._follower.doubt()

    async def run(self) -> None:
        """Connects and feeds the hub until it is cancelled."""
        try:
            await until_cancelled(self._run())
        finally:
            await self._hang_up()

    async def publish(
        self, subject: str, data: bytes, name: str | None = None, message_id: str | None = None
    ) -> tuple[Position, bool]:
        """Publishes an event; returns its position and whether it is a duplicate. Raises JetStreamError.

        Core NATS knows neither: there the position is that of the head.
        """
        own = self.hub.log
        if self.jetstream is None:
            return Position(own.epoch, await self._core.publish(self.nc, subject, data, name)), False
        epoch, head = own.epoch, own.head
        seq, duplicate = await self.jetstream.publish(subject, data, name, message_id)
        # The acknowledgement does not name the stream's incarnation. A reading that was asked for after it does: what is
        # still the one that the log knew before has been so all the time.
        after = await self.jetstream.state()
        if after.epoch != epoch or (seq <= head and not duplicate):
            self.doubt()
            raise JetStreamError(STREAM_CHANGED)
        return Position(epoch, seq), duplicate

    # The connection

    async def _run(self) -> None:
        backoff = Backoff()
        while True:
            try:
                self.nc = await self._dialer.dial(Listener(self._on_error, self._on_closed, self._on_leaving))
            except Unreachable as error:
                self.trouble(str(error))
                await asyncio.sleep(backoff.next())
                continue
            began = asyncio.get_running_loop().time()
            await self._follow(self.nc)
            await self._hang_up()
            if asyncio.get_running_loop().time() - began > SHORT_LIFE_SECONDS:
                backoff.reset()
            await asyncio.sleep(backoff.next())

    async def _hang_up(self) -> None:
        connection, self.nc = self.nc, None
        if connection is not None:
            self._dialer.lost(connection)
            await close(connection)

    async def _on_error(self, error: Exception) -> None:
        if isinstance(error, nats.errors.SlowConsumerError):
            self._core.overflowed(error.sub)
            if self.jetstream is not None:
                self.jetstream.overflowed(error.sub)
            return
        denial = Denial.parse(str(error))
        if denial is not None:
            self._on_denied(denial)
        elif self.connected and not isinstance(
            error, (nats.errors.UnexpectedEOF, OSError)
        ):  # those break it, and are said then
            log.warning("NATS reports an error", error=str(error) or type(error).__name__)

    def _on_denied(self, denial: Denial) -> None:
        if self.jetstream is not None:
            self.jetstream.denied(denial)
        if not denial.ours:
            log.warning("NATS reports an error", error=str(denial))
            return
        self._denied = True
        if self.jetstream is not None:
            self.trouble(f"{denial}: {NEEDED}")
        elif denial.verb == "subscribe":
            self._core.denied(f"{denial}: its user must be allowed to subscribe to SSECAST_SUBJECTS")

    async def _on_closed(self) -> None:
        connection = self.nc
        if connection is not None:  # else closed by ourselves
            error = connection.last_error
            why = self.options.address.why(error) if error is not None else "it was closed"
            self.trouble(f"the connection to NATS at {connection.server.label} broke: {why}")
        self._disconnected()

    def _disconnected(self) -> None:
        self._closed.set()
        self._core.disconnected()
        if self.jetstream is not None:
            self.jetstream.disconnected()

    async def _notice_closed(self, connection: Connection) -> None:
        """nats-py does not tell of every way to close: where the peer takes nothing any more, it waits before it does."""
        while not connection.is_closed:  # noqa: ASYNC110 - there is no event: that is why
            await asyncio.sleep(CLOSED_SECONDS)
        await self._on_closed()

    async def _on_leaving(self) -> None:
        if self.nc is not None:
            log.info("the NATS server is about to stop, and will close this connection", server=self.nc.server.label)

    # What is said

    def trouble(self, problem: str) -> None:
        """Notes what is wrong; logs it when it is news."""
        if not self.problem or self.problem == "starting":
            self._since_ns = self.time_ns()
        self.problem = problem
        if problem not in self._said and len(self._said) < SAID_MAX:
            self._said.add(problem)
            log.warning("trouble with NATS", problem=problem)

    def fine(self) -> None:
        """Events are followed. What NATS denied since this was said the last time is a problem all the same."""
        denied, self._denied = self._denied, False
        if self.problem and not denied:
            self.problem = ""
            self._said.clear()
            away = round((self.time_ns() - self._since_ns) / 1e9, 1) if self._since_ns else 0.0
            server = self.nc.server.label if self.nc is not None else ""
            log.info("following NATS", server=server, position=str(self.hub.log.position), after_seconds=away)

    # One life after the other

    async def _follow(self, connection: Connection) -> None:
        """Until the connection is closed, or nobody answers over it: another server may know more."""
        self._closed.clear()
        noticing = asyncio.create_task(self._notice_closed(connection))
        try:
            await self._live_on(connection)
        finally:
            noticing.cancel()

    async def _live_on(self, connection: Connection) -> None:
        backoff, unanswered = Backoff(), 0
        while not connection.is_closed and unanswered < UNANSWERED_MAX:
            try:
                ended = await self._live(connection)
            except JetStreamError as error:
                self.trouble(str(error))
                unanswered = unanswered + 1 if isinstance(error, Unanswered) else 0
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._closed.wait(), backoff.next())
                continue
            self.restarts[ended] += 1
            unanswered = UNANSWERED_MAX - 1 if ended == "unanswered" else 0
            backoff.reset()

    async def _live(self, connection: Connection) -> str:
        if self._follower is not None:
            return await self._follower.live()
        return await self._core.live(connection, self.fine)
