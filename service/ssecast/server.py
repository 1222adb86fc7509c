"""One pod: builds the rooms, opens both ports, owns SIGTERM, and closes the streams in good order before it exits.

uvicorn waits for connections before it runs the lifespan's shutdown, so the drain cannot live there.
"""

import asyncio
import gc
import os
import random
import resource
import secrets
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import chain
from typing import Any

import structlog
import uvloop

from ssecast import __version__
from ssecast.access import Access, Open
from ssecast.admin import Conflict, create_admin
from ssecast.app import Publish, PublishFailed, TooLarge, create_app
from ssecast.cors import Cors
from ssecast.door import Door, Listener, Proxies, listener
from ssecast.events import Events, EventsOptions, draw_retry
from ssecast.frame import Position
from ssecast.guard import Guard
from ssecast.hub import Hub, HubOptions
from ssecast.limits import Limits
from ssecast.live import LiveSettings
from ssecast.log import EventLog
from ssecast.memory import HIGH, LOOK_SECONDS, STREAM_BYTES, Memory, Payloads, cgroups
from ssecast.metrics import Bounds, Metrics
from ssecast.pump import Pump
from ssecast.refusals import MESSAGE_TOO_LARGE, JetStreamError
from ssecast.resume import ResumeOptions, Resumer
from ssecast.settings import Settings
from ssecast.sockets import Flusher, bind, bound_streams
from ssecast.source import Source, SourceOptions
from ssecast.tracing import setup
from ssecast.visitors import Visitors

BACKLOG, ACCEPT_QUEUES = 4096, 4
"""Room for 16,000 connections that come at once, as after a crash of another pod (net.core.somaxconn permitting)."""

GC_THRESHOLDS = (20_000, 20, 20)
"""Objects until a collection, and collections until one of the next generation. A stream is a handful of objects that live
long; with Python's thresholds (700, 10, 10) looking through them took 3 % of the CPU of opening it."""

RESERVED_DESCRIPTORS = 256
FAREWELL_RETRY_MS = (50, 1000)
REFUSED_WINDOW_SECONDS = 10

log = structlog.get_logger()


class Pod:
    """Everything that one pod consists of, wired."""

    def __init__(self, settings: Settings, loop: asyncio.AbstractEventLoop) -> None:
        self.settings = settings
        self.version, self.boot_id, self.pod_uid = __version__, secrets.token_hex(8), os.environ.get("POD_UID", "")
        self.started_at = datetime.now(UTC)
        self.capacity, descriptors = _capacity(settings.max_streams)
        self.visitors = Visitors(descriptors)
        self.memory = Memory(cgroups())
        self.memory.look(0)
        self.payloads = Payloads(self.memory, settings.max_payload_bytes)
        self._look_at_memory_at = 0.0
        self.flusher = Flusher(settings.flush_threads)
        log.info("flush", threads=settings.flush_threads, by="aio" if self.flusher.by_aio else "write")
        self.pump = Pump(loop)
        self.events_options = _events_options(settings)
        self.hub = Hub(
            EventLog(settings.log_max_events, self.memory.bound(settings.log_max_bytes)),
            self.flusher.write_many,
            self.pump.wake,
            self._draw_retry,
            _hub_options(settings),
        )
        self.source = Source(self.hub, _source_options(settings, self.hub.log.max_bytes), time.time_ns)
        self.resumer = Resumer(self.hub, self.source, self._resume_options(), self.memory)
        self.limits = Limits(
            self.hub,
            self.capacity,
            lambda: not self.source.ready,
            self.memory,
            self.visitors,
            settings.max_streams_per_client,
        )
        self.access = _access(settings)
        self.events = Events(
            self.hub,
            self.events_options,
            self.limits,
            self.access,
            self.resumer.lookup,
            Cors(settings.cors_origins),
        )
        self.guard = Guard(self.pod_uid or self.boot_id, settings.admin_token_file)
        self.metrics = Metrics(
            self.hub,
            self.pump,
            self.source,
            self.guard,
            self.access,
            Bounds(self.capacity, _retention_needed(settings)),
            self.visitors,
            self.memory,
            self.payloads,
        )
        self.live = LiveSettings(os.environ, settings, self.take)
        self.tracing = setup(os.environ)
        self._refused: deque[tuple[float, int]] = deque()
        if self.tracing is not None:
            tracing = self.tracing
            self.source.trace = tracing.event
            self.pump.on_flushed = tracing.flushed
            self.hub.on_open = lambda sub: tracing.stream_opened(sub.channel.want.subjects)
            self.hub.on_close = tracing.stream_closed

    @property
    def ready(self) -> bool:
        return self.source.ready and self.access.ready and not self.hub.is_draining

    @property
    def not_ready_reason(self) -> str:
        if self.hub.is_draining:
            return "draining"
        if self.source.ready and not self.access.ready:
            return "no keys to verify tokens with have come from SSECAST_JWKS_URL"
        return self.source.problem or "starting"

    @property
    def refused_per_second(self) -> float:
        """Refusals per second over the last seconds: demand that no open stream shows."""
        if len(self._refused) < 2:
            return 0.0
        (first_at, first), (last_at, last) = self._refused[0], self._refused[-1]
        return (last - first) / (last_at - first_at)

    @property
    def drain_deadline_at(self) -> datetime | None:
        return _calendar(self.hub.departures.draining.deadline)

    @property
    def shed_deadline_at(self) -> datetime | None:
        return _calendar(self.hub.departures.shedding.deadline)

    @property
    def shed_left(self) -> int:
        return self.hub.departures.shed_left

    @property
    def stopping(self) -> bool:
        return self.hub.departures.stops_by is not None

    @property
    def problem(self) -> str:
        """What is wrong with NATS, the stream or the settings; empty when nothing is."""
        source = "" if self.source.problem == "starting" else self.source.problem
        return "; ".join(filter(None, (source, self.live.problem)))

    @property
    def restart_needed(self) -> tuple[str, ...]:
        return self.live.restart_needed

    def take(self, settings: Settings) -> None:
        """Settings that differ only in what a running pod can take."""
        self.settings = settings
        self.capacity, _ = _capacity(settings.max_streams)
        self.limits.capacity, self.limits.per_client = self.capacity, settings.max_streams_per_client
        self.metrics.bounds.capacity = self.capacity
        self.metrics.bounds.retention_needed_seconds = _retention_needed(settings)
        self.events_options = self.events.options = _events_options(settings)
        self.events.cors = Cors(settings.cors_origins)
        self.hub.retune(_hub_options(settings))

    def render_metrics(self) -> bytes:
        return self.metrics.render()

    def drain(self, window_seconds: float, delay_seconds: float = 0.0) -> None:
        self.hub.departures.drain(time.monotonic(), window_seconds, delay_seconds)
        log.info("draining", streams=self.hub.streams, window_seconds=window_seconds, deadline=self._deadline)

    def undrain(self) -> None:
        """Raises Conflict."""
        if not self.hub.departures.undrain():
            raise Conflict("this pod was told to stop, which cannot be taken back")
        log.info("drain taken back", streams=self.hub.streams)

    def shed(self, count: int, window_seconds: float) -> None:
        """Raises Conflict."""
        if self.hub.is_draining:
            raise Conflict("this pod drains and closes all of its streams anyway; /undrain comes first")
        self.hub.departures.shed(time.monotonic(), count, window_seconds)
        log.info("shedding", count=count, window_seconds=window_seconds)

    def stop(self) -> float:
        """Not ready from now on; closes the streams when no new client is sent here. Returns when that is, in seconds."""
        settings = self.settings
        delay = self.hub.departures.stop(time.monotonic(), settings.drain_delay_seconds, settings.drain_seconds)
        log.info("stopping", streams=self.hub.streams, delay_seconds=delay, deadline=self._deadline)
        return delay

    def count_refused(self, now: float) -> None:
        if not self._refused or now - self._refused[-1][0] >= 1:
            self._refused.append((now, self.hub.refused.total()))
        while now - self._refused[0][0] > REFUSED_WINDOW_SECONDS:
            self._refused.popleft()

    def look_at_memory(self, now: float) -> None:
        """Closes streams that are full and read nothing where the kernel would otherwise close all of them."""
        if now < self._look_at_memory_at:
            return
        self._look_at_memory_at = now + LOOK_SECONDS
        before = self.memory.limit
        self.memory.look(self.hub.streams)
        if self.memory.limit != before:
            self.resumer.options = self._resume_options()
            self.say_bounds()
        self.hub.log.max_bytes = self.memory.bound(self.settings.log_max_bytes)
        if self.memory.is_critical:
            self.hub.log.max_bytes = min(self.hub.log.max_bytes, self.hub.log.bytes)
            self.resumer.give_back()
            self.hub.drop_blocked("memory")

    def _resume_options(self) -> ResumeOptions:
        return ResumeOptions(self.settings.resume_max_events, self.memory.bound(self.settings.resume_max_bytes))

    def say_bounds(self) -> None:
        """Names the settings that ask for more than their share of the memory."""
        settings, bound = self.settings, self.memory.bound
        for name, size in (("LOG", settings.log_max_bytes), ("RESUME", settings.resume_max_bytes)):
            if bound(size) < size:
                name = f"SSECAST_{name}_MAX_BYTES"
                log.warning("the memory limit is low for this setting", name=name, set=size, taken=bound(size))

    async def publish(
        self, subject: str, data: bytes, name: str | None, message_id: str | None
    ) -> tuple[Position, bool]:
        """Publishes for a client of ours. Raises PublishFailed where NATS did not acknowledge."""
        try:
            return await self.source.publish(subject, data, name, message_id)
        except JetStreamError as failed:
            raise (TooLarge if failed.code == MESSAGE_TOO_LARGE else PublishFailed)(str(failed)) from failed

    @property
    def _deadline(self) -> str:
        return str(self.drain_deadline_at)

    def _draw_retry(self, farewell: bool) -> int:
        if farewell:
            return random.randint(*FAREWELL_RETRY_MS)
        return draw_retry(self.events_options)


class Server:
    """Runs a pod from its first socket to its last stream."""

    def __init__(self, settings: Settings, public: list[socket.socket], admin: list[socket.socket]) -> None:
        self.settings = settings
        self._sockets = (public, admin)
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Serves until a signal comes, then drains. A second signal ends the drain at once."""
        self._on_ready: Callable[[], None] | None = on_ready
        loop = asyncio.get_running_loop()
        self.pod = Pod(self.settings, loop)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        public, admin = self._listeners()
        self._size_up()
        self.pod.pump.on_tick = lambda now: self._tick(now, public, admin)
        self.pod.pump.start(self.pod.hub)
        runs = (self.pod.source.run(), self.pod.resumer.run(), self.pod.access.run(), self.pod.live.run())
        work = [asyncio.ensure_future(each) for each in runs]
        serving = [
            asyncio.ensure_future(server.serve(sockets=sockets))
            for server, sockets in zip((public, admin), self._sockets, strict=True)
        ]
        await self._until_stopped([*work, *serving])
        await self._drain()
        for each in (public, admin):
            each.stop(at_once=self._hurry.is_set())
        await asyncio.gather(*serving, return_exceptions=True)
        await self._shutdown(work)

    def stop(self) -> None:
        """SIGTERM: drain. Again: at once."""
        (self._hurry if self._stop.is_set() else self._stop).set()

    def _listeners(self) -> tuple[Listener, Listener]:
        settings, pod = self.settings, self.pod
        missing = {name for sock in self._sockets[0] for name in bound_streams(sock, settings.client_buffer_bytes)}
        if missing:
            log.warning("this platform lacks socket options; dead peers are found later", missing=sorted(missing))
        publish: Publish | None = pod.publish if settings.publish else None
        app = create_app(
            pod.events,
            subjects=settings.subjects,
            publish=publish,
            page=settings.page,
            max_payload_bytes=settings.max_payload_bytes,
            payloads=pod.payloads,
        )
        allow = settings.forwarded_allow_ips
        door = Door(pod.events.admit, Proxies(allow), pod.limits)
        return (
            listener(app, door=door, visitors=pod.visitors, forwarded_allow_ips=allow, backlog=BACKLOG),
            listener(
                create_admin(pod, pod.guard), door=None, visitors=Visitors(), forwarded_allow_ips=allow, backlog=128
            ),
        )

    def _size_up(self) -> None:
        """Says how many streams the memory holds, where that is fewer than shall be open."""
        memory = self.pod.memory
        self.pod.look_at_memory(time.monotonic())
        self.pod.say_bounds()
        room = HIGH * memory.limit - memory.used - self.pod.hub.log.max_bytes
        if room < self.pod.capacity * STREAM_BYTES:
            fit = max(0, round(room / STREAM_BYTES))
            log.warning("the memory limit is low for so many streams", limit_bytes=memory.limit, streams_that_fit=fit)

    def _tick(self, now: float, public: Listener, admin: Listener) -> None:
        public.visitors.end_overdue(now)
        admin.visitors.end_overdue(now)
        self.pod.look_at_memory(now)
        self.pod.count_refused(now)
        if self._on_ready is not None and self.pod.ready:
            self._on_ready()
            self._on_ready = None
        if self.pod.tracing is not None:
            self.pod.tracing.flushed()  # events that nobody asked for wake no flush

    async def _until_stopped(self, tasks: Sequence["asyncio.Future[None]"]) -> None:
        """Until a signal comes; a task that ends before is a defect and brings the pod down."""
        stop = asyncio.ensure_future(self._stop.wait())
        awaited: list[asyncio.Future[Any]] = [stop, *tasks]
        await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        for task in tasks:
            if task.done():
                task.result()

    async def _drain(self) -> None:
        """Not ready, wait until no new client is sent here, close the streams over the window."""
        pod = self.pod
        await self._wait(pod.stop(), lambda: False)
        await self._wait(pod.settings.drain_seconds + 1, lambda: pod.hub.streams == 0)
        for sub in list(pod.hub.wheel):  # somebody is in a hurry
            pod.hub.close(sub, "shutdown")

    async def _wait(self, seconds: float, enough: Callable[[], bool]) -> None:
        """Until it is enough, the seconds are over or somebody is in a hurry."""
        deadline = time.monotonic() + seconds
        while not enough() and not self._hurry.is_set():
            left = deadline - time.monotonic()
            if left <= 0:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), min(left, 0.1))

    async def _shutdown(self, work: Sequence["asyncio.Future[None]"]) -> None:
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)
        self.pod.pump.stop()
        self.pod.flusher.close()
        if self.pod.tracing is not None:
            self.pod.tracing.shutdown()
        log.info("stopped")


def run(settings: Settings, on_ready: Callable[[], None] = lambda: None) -> int:
    """Runs one pod until a signal ends it; returns the exit code. on_ready: called once, when streams are served."""
    sockets: list[list[socket.socket]] = []
    for host, port, name, queues in (
        (settings.host, settings.port, "SSECAST_PORT", ACCEPT_QUEUES),
        (settings.admin_host, settings.admin_port, "SSECAST_ADMIN_PORT", 1),
    ):
        try:
            sockets.append(bind(host, port, BACKLOG, queues))
        except OSError as wrong:
            for sock in chain.from_iterable(sockets):
                sock.close()
            print(f"ssecast: cannot listen on {host}:{port} ({name}): {wrong.strerror}", file=sys.stderr)
            return 1

    async def main() -> None:
        await Server(settings, *sockets).run(on_ready)

    gc.collect()
    gc.freeze()  # modules and classes stay for good
    gc.set_threshold(*GC_THRESHOLDS)
    uvloop.run(main())
    return 0


@lru_cache(maxsize=4)
def _calendar(deadline: float | None) -> datetime | None:
    """A time of the monotonic clock as a date. The first look decides: each would differ by some microseconds."""
    return None if deadline is None else datetime.now(UTC) + timedelta(seconds=deadline - time.monotonic())


def _capacity(max_streams: int) -> tuple[int, int]:
    """How many streams this pod can hold, after the soft limit of open files was raised to the hard one; and that limit,
    0 where there is none."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    descriptors = 0 if soft == resource.RLIM_INFINITY else soft
    capacity = max(1, min(max_streams, descriptors - RESERVED_DESCRIPTORS)) if descriptors else max_streams
    log.info("capacity", streams=capacity, max_streams=max_streams, open_files=soft)
    return capacity, descriptors


def _retention_needed(settings: Settings) -> float:
    """Whoever is closed last in a drain, or loses its pod and draws the longest wait, comes back this late at most."""
    return settings.drain_seconds + (settings.retry_ms + settings.retry_spread_ms) / 1000


def _access(settings: Settings) -> Access:
    log.info("access", keys=settings.jwt_key_file or settings.jwks_url, publish=settings.publish)
    if settings.jwt_key_file is None and settings.jwks_url is None:
        return Open(settings.subjects)
    # Late: who asks for no tokens need not carry the weight of cryptography.
    from ssecast.jwks import Jwks
    from ssecast.keys import KeyFile
    from ssecast.tokens import TokenOptions, Tokens

    algorithms = settings.jwt_algorithms
    ring = Jwks(settings.jwks_url, algorithms) if settings.jwks_url else KeyFile(str(settings.jwt_key_file), algorithms)
    options = TokenOptions(
        subjects=settings.subjects,
        algorithms=algorithms,
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        leeway=settings.jwt_leeway_seconds,
        cookie=settings.jwt_cookie,
        query=settings.jwt_query,
    )
    return Tokens(options, ring)


def _events_options(settings: Settings) -> EventsOptions:
    return EventsOptions(
        retry_ms=settings.retry_ms,
        retry_spread_ms=settings.retry_spread_ms,
        max_age=settings.max_age_seconds,
        overload_503=settings.overload == "503",
        subjects=settings.subjects,
    )


def _hub_options(settings: Settings) -> HubOptions:
    return HubOptions(
        batch_bytes=settings.client_buffer_bytes,
        heartbeat=settings.heartbeat_seconds,
        stall=settings.stall_seconds,
        skip_slow=settings.slow_client == "skip",
    )


def _source_options(settings: Settings, log_bytes: int) -> SourceOptions:
    return SourceOptions(
        nats_url=settings.nats_url,
        creds_file=settings.nats_creds_file,
        ca_file=settings.nats_ca_file,
        cert_file=settings.nats_cert_file,
        key_file=settings.nats_key_file,
        subjects=settings.subjects,
        stream=settings.stream,
        max_age_seconds=settings.stream_max_age_seconds,
        max_bytes=settings.stream_max_bytes,
        replicas=settings.stream_replicas,
        storage=settings.stream_storage,
        warm_events=settings.log_max_events,
        warm_bytes=log_bytes,
        max_payload_bytes=settings.max_payload_bytes,
    )
