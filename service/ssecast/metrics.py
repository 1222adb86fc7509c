"""What Prometheus scrapes: plain ints of the other rooms, read when somebody asks. Nothing is counted here.

Every label value that can occur is there from the start with 0: a rate over a series that appears with its first
increment would miss that increment.
"""

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass
from typing import Protocol

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from ssecast import __version__
from ssecast.access import DENIED
from ssecast.histogram import Histogram

CLOSED = (
    "client", "dead", "age", "token", "shed", "drain", "slow", "stalled", "garbage", "memory", "error", "shutdown",
)  # fmt: skip
REFUSED = ("full", "draining", "starting", "memory", "descriptors", "client")
CONNECTIONS_CLOSED = (
    "client", "head_timeout", "body_timeout", "too_large", "malformed", "pipelined", "descriptors",
)  # fmt: skip
ORDERS = ("drain", "undrain", "shed", "stop")
ORDERS_REFUSED = (
    "unsigned", "time", "pod", "signature", "token_file", "too_many", "origin", "body", "conflict",
)  # fmt: skip
PUBLISHES_REFUSED = ("memory", "bytes")
DROPPED = ("too_large", "not_utf8", "reserved_name")
RESUMES = ("live", "memory", "jetstream", "ahead", "gap")
GAPS = (
    "unreadable", "epoch", "expired", "too_far", "ahead", "slow", "rewound", "disconnected", "overflow", "denied",
)  # fmt: skip
BREAKS = ("epoch", "expired", "rewound", "disconnected", "overflow", "denied")
RESTARTS = (
    "disconnected", "heartbeat", "overflow", "sequence", "stream", "unanswered", "denied", "error",
)  # fmt: skip
KEY_LOADS = ("ok", "failed")

Counts = Mapping[str, int]


class EgressCounts(Protocol):
    """What the channels sent."""

    frames: int
    bytes: int


class LogSize(Protocol):
    """How much the log holds, and up to which sequence."""

    head: int

    @property
    def bytes(self) -> int: ...

    def __len__(self) -> int: ...


class DepartureCounts(Protocol):
    """What was ordered, by order, and how many streams a shed has yet to close."""

    @property
    def orders(self) -> Counts: ...
    @property
    def shed_left(self) -> int: ...


class HubCounts(Protocol):
    """What the hub counts; each mapping is by reason."""

    events: int
    opened: int
    cut: int

    @property
    def is_draining(self) -> bool: ...
    @property
    def departures(self) -> DepartureCounts: ...
    @property
    def streams(self) -> int: ...
    @property
    def channels(self) -> int: ...
    @property
    def closed(self) -> Counts: ...
    @property
    def refused(self) -> Counts: ...
    @property
    def dropped(self) -> Counts: ...
    @property
    def resumes(self) -> Counts: ...
    @property
    def gaps(self) -> Counts: ...
    @property
    def breaks(self) -> Counts: ...
    @property
    def egress(self) -> EgressCounts: ...
    @property
    def log(self) -> LogSize: ...


class PumpCounts(Protocol):
    """What the pump measures; times in seconds."""

    fanout: Histogram
    loop_lag: float


class StreamFacts(Protocol):
    """What the NATS stream held when it was looked at last. Limits are infinite where it has none, times are in seconds
    since 1970 and None where it is empty."""

    @property
    def last(self) -> int: ...
    @property
    def messages(self) -> int: ...
    @property
    def bytes(self) -> int: ...
    @property
    def max_bytes(self) -> float: ...
    @property
    def max_age_seconds(self) -> float: ...
    @property
    def first_at(self) -> float | None: ...
    @property
    def last_at(self) -> float | None: ...


NATS_STREAM: tuple[tuple[str, str, Callable[[StreamFacts], float | None]], ...] = (
    ("last_sequence", "Sequence of the NATS stream's last event", lambda seen: seen.last),
    ("messages", "Events that the NATS stream keeps", lambda seen: seen.messages),
    ("bytes", "Bytes that the NATS stream keeps", lambda seen: seen.bytes),
    ("max_bytes", "Bytes that the NATS stream may keep, infinite without a limit", lambda seen: seen.max_bytes),
    (
        "max_age_seconds",
        "How long the NATS stream keeps events, infinite without a limit",
        lambda seen: seen.max_age_seconds,
    ),
    ("first_timestamp_seconds", "When the NATS stream's oldest event was stored", lambda seen: seen.first_at),
    ("last_timestamp_seconds", "When the NATS stream's newest event was stored", lambda seen: seen.last_at),
)


class SourceCounts(Protocol):
    """What the source knows about its distance from the stream."""

    @property
    def ready(self) -> bool: ...
    @property
    def connected(self) -> bool: ...
    @property
    def problem(self) -> str: ...
    @property
    def lag_events(self) -> int: ...
    @property
    def lag_seconds(self) -> float: ...
    @property
    def restarts(self) -> Counts: ...
    @property
    def stream(self) -> StreamFacts | None: ...


class VisitorCounts(Protocol):
    """What the front door knows about connections without a stream."""

    opened: int

    @property
    def present(self) -> Sized: ...
    @property
    def closed(self) -> Counts: ...


class MemoryUse(Protocol):
    """What the kernel grants, infinite where it grants everything, and what is in use; bytes."""

    limit: float
    used: int


class PayloadCounts(Protocol):
    """The payloads of publishers: bytes that are on their way, and those that found no room, by reason."""

    held: int

    @property
    def refused(self) -> Counts: ...


class GuardCounts(Protocol):
    """Orders that were refused, by reason."""

    @property
    def refused(self) -> Counts: ...


class AccessCounts(Protocol):
    """What access counts; loaded_at: Unix time of the last keys, 0 before the first."""

    @property
    def denied(self) -> Counts: ...
    @property
    def keys(self) -> int: ...
    @property
    def loads(self) -> Counts: ...
    @property
    def loaded_at(self) -> float: ...


@dataclass(slots=True)
class Bounds:
    """What follows from settings that may change while the pod runs.

    retention_needed_seconds: how long the NATS stream must keep events, so that nobody loses any who comes back in time.
    """

    capacity: int
    retention_needed_seconds: float


class Metrics:
    """The pod's registry."""

    def __init__(
        self,
        hub: HubCounts,
        pump: PumpCounts,
        source: SourceCounts,
        guard: GuardCounts,
        access: AccessCounts,
        bounds: Bounds,
        visitors: VisitorCounts,
        memory: MemoryUse,
        payloads: PayloadCounts,
    ) -> None:
        self.bounds = bounds
        self._registry = CollectorRegistry()
        self._registry.register(PodCollector(hub, pump, source, guard, access, bounds, visitors, memory, payloads))
        ProcessCollector(registry=self._registry)

    def render(self) -> bytes:
        """The exposition in Prometheus's text format."""
        return generate_latest(self._registry)


class PodCollector(Collector):
    """Turns the pod's counts into samples, once per scrape."""

    def __init__(
        self,
        hub: HubCounts,
        pump: PumpCounts,
        source: SourceCounts,
        guard: GuardCounts,
        access: AccessCounts,
        bounds: Bounds,
        visitors: VisitorCounts,
        memory: MemoryUse,
        payloads: PayloadCounts,
    ) -> None:
        self._hub, self._pump, self._source, self._bounds = hub, pump, source, bounds
        self._guard, self._access, self._visitors, self._memory = guard, access, visitors, memory
        self._payloads = payloads

    def collect(self) -> Iterator[Metric]:
        yield from self._streams()
        yield from self._connections()
        yield from self._events()
        yield from self._source_side()
        yield from self._nats_stream()
        yield from self._resumes()
        yield from self._orders()
        yield from self._access_side()
        yield from self._pod()

    def _streams(self) -> Iterator[Metric]:
        hub = self._hub
        yield _gauge("streams", "Open streams.", hub.streams)
        yield _gauge("capacity_streams", "Streams that this pod can hold.", self._bounds.capacity)
        yield _counter("streams_opened", "Streams opened.", hub.opened)
        yield _by("streams_closed", "Streams closed, by reason.", "reason", CLOSED, hub.closed)
        yield _counter("streams_cut", "Of these, closed without a farewell: their sockets took no more.", hub.cut)
        yield _by("streams_refused", "Clients turned away, by reason.", "reason", REFUSED, hub.refused)
        yield _gauge("channels", "Different things that open streams asked for.", hub.channels)

    def _connections(self) -> Iterator[Metric]:
        seen = self._visitors
        yield _gauge("connections", "Open connections without a stream.", len(seen.present))
        yield _counter("connections_opened", "Connections to the public port.", seen.opened)
        text = "Connections that ended before their request was complete, by reason."
        yield _by("connections_closed", text, "reason", CONNECTIONS_CLOSED, seen.closed)

    def _events(self) -> Iterator[Metric]:
        hub, log = self._hub, self._hub.log
        yield _counter("events_received", "Events taken from NATS into the log.", hub.events)
        yield _by("events_dropped", "Events that cannot be broadcast, by reason.", "reason", DROPPED, hub.dropped)
        yield _counter("frames_sent", "Events handed to sockets, one per stream.", hub.egress.frames)
        yield _counter("sent_bytes", "Bytes of events handed to sockets.", hub.egress.bytes)
        yield _histogram("fanout_seconds", "From an event received to the last socket written.", self._pump.fanout)
        yield _gauge("head_sequence", "Sequence up to which this pod has the NATS stream.", log.head)
        yield _gauge("log_events", "Events kept in memory.", len(log))
        yield _gauge("log_bytes", "Bytes of events kept in memory.", log.bytes)

        text = "Bytes of payloads on their way from publishers to NATS."
        yield _gauge("publishing_bytes", text, self._payloads.held)
        text = "Payloads of publishers turned away, by reason."
        yield _by("publishes_refused", text, "reason", PUBLISHES_REFUSED, self._payloads.refused)

    def _source_side(self) -> Iterator[Metric]:
        source = self._source
        yield _gauge("source_ready", "1 once the log was warmed from NATS.", int(source.ready))
        yield _gauge("source_connected", "1 while there is a connection to NATS.", int(source.connected))
        yield _gauge(
            "source_problem", "1 while something is wrong with NATS; /readyz says what.", int(bool(source.problem))
        )
        yield _gauge("source_lag_events", "Events of the stream that this pod has not received.", source.lag_events)
        yield _gauge("source_lag_seconds", "How long this pod has been behind the stream.", source.lag_seconds)
        yield _by("source_restarts", "Consumers made anew, by reason.", "reason", RESTARTS, source.restarts)

    def _nats_stream(self) -> Iterator[Metric]:
        """Without a sample where nothing is known: a zero would be an empty stream."""
        seen = self._source.stream
        for name, text, value_of in NATS_STREAM:
            value = None if seen is None else value_of(seen)
            yield _gauge(f"nats_stream_{name}", f"{text}, as this pod saw it last.", value)
        text = "How long the NATS stream must keep events: drain window and longest retry."
        yield _gauge("retention_needed_seconds", text, self._bounds.retention_needed_seconds)

    def _resumes(self) -> Iterator[Metric]:
        hub = self._hub
        yield _by("resumes", "Streams started, by where from.", "result", RESUMES, hub.resumes)
        yield _by("gaps", "Gaps announced to clients, by reason.", "reason", GAPS, hub.gaps)
        yield _by("breaks", "Breaks in what this pod received, by reason.", "reason", BREAKS, hub.breaks)

    def _orders(self) -> Iterator[Metric]:
        orders, refused = self._hub.departures.orders, self._guard.refused
        yield _gauge("draining", "1 while this pod drains.", int(self._hub.is_draining))
        yield _gauge("shedding_streams", "Streams that a shed has yet to close.", self._hub.departures.shed_left)
        yield _by("orders", "Orders given to this pod, stop by a signal.", "order", ORDERS, orders)
        yield _by("orders_refused", "Orders refused, by reason.", "reason", ORDERS_REFUSED, refused)

    def _access_side(self) -> Iterator[Metric]:
        access = self._access
        yield _by("access_denied", "Requests denied for their token, by reason.", "reason", DENIED, access.denied)
        yield _gauge("access_keys", "Keys that tokens are verified with.", access.keys)
        yield _by("access_key_loads", "Attempts to read these keys, by result.", "result", KEY_LOADS, access.loads)
        text = "When these keys were last read; 0 before the first time."
        yield _gauge("access_keys_loaded_timestamp_seconds", text, access.loaded_at)

    def _pod(self) -> Iterator[Metric]:
        yield _gauge("loop_lag_seconds", "How late the event loop ran its last tick.", self._pump.loop_lag)
        yield _gauge(
            "memory_limit_bytes", "Memory that the cgroup grants; infinite without a limit.", self._memory.limit
        )
        yield _gauge("memory_used_bytes", "Memory of the cgroup in use; 0 without a limit.", self._memory.used)
        info = GaugeMetricFamily("ssecast_build_info", "Version of ssecast and Python.", labels=("version", "python"))
        info.add_metric((__version__, platform.python_version()), 1)
        yield info


def _gauge(name: str, text: str, value: float | None) -> Metric:
    return GaugeMetricFamily(f"ssecast_{name}", text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"ssecast_{name}", text, value=value)


def _by(name: str, text: str, label: str, known: Iterable[str], counts: Counts) -> Metric:
    """A counter per label value: the known ones, and whatever else was counted."""
    family = CounterMetricFamily(f"ssecast_{name}", text, labels=(label,))
    for value, count in (dict.fromkeys(known, 0) | dict(counts)).items():
        family.add_metric((value,), count)
    return family


def _histogram(name: str, text: str, histogram: Histogram) -> Metric:
    buckets = [("+Inf" if bound == float("inf") else str(bound), count) for bound, count in histogram.cumulative()]
    return HistogramMetricFamily(f"ssecast_{name}", text, buckets=buckets, sum_value=histogram.sum)
