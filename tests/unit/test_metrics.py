"""What operators see: the exposition, the histogram behind it, and the spans."""

import math
import platform
from collections import Counter
from collections.abc import Mapping

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from ssecast import __version__, metrics, tracing
from ssecast.access import DENIED
from ssecast.channel import Egress
from ssecast.frame import Event, Frame
from ssecast.guard import Guard
from ssecast.histogram import BOUNDS, Histogram
from ssecast.jetstream import StreamState
from ssecast.log import EventLog
from ssecast.memory import Memory, Payloads
from ssecast.metrics import Bounds, Metrics
from ssecast.signature import Reason
from ssecast.visitors import Visitors

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"

NAMES = {
    "streams": "gauge",
    "capacity_streams": "gauge",
    "streams_opened": "counter",
    "streams_closed": "counter",
    "streams_cut": "counter",
    "streams_refused": "counter",
    "events_received": "counter",
    "events_dropped": "counter",
    "frames_sent": "counter",
    "sent_bytes": "counter",
    "fanout_seconds": "histogram",
    "source_connected": "gauge",
    "source_lag_events": "gauge",
    "source_lag_seconds": "gauge",
    "source_problem": "gauge",
    "source_ready": "gauge",
    "source_restarts": "counter",
    "resumes": "counter",
    "gaps": "counter",
    "breaks": "counter",
    "connections": "gauge",
    "connections_opened": "counter",
    "connections_closed": "counter",
    "publishing_bytes": "gauge",
    "publishes_refused": "counter",
    "memory_limit_bytes": "gauge",
    "memory_used_bytes": "gauge",
    "access_denied": "counter",
    "access_keys": "gauge",
    "access_key_loads": "counter",
    "access_keys_loaded_timestamp_seconds": "gauge",
    "loop_lag_seconds": "gauge",
    "head_sequence": "gauge",
    "nats_stream_last_sequence": "gauge",
    "nats_stream_messages": "gauge",
    "nats_stream_bytes": "gauge",
    "nats_stream_max_bytes": "gauge",
    "nats_stream_max_age_seconds": "gauge",
    "nats_stream_first_timestamp_seconds": "gauge",
    "nats_stream_last_timestamp_seconds": "gauge",
    "retention_needed_seconds": "gauge",
    "log_events": "gauge",
    "log_bytes": "gauge",
    "channels": "gauge",
    "draining": "gauge",
    "shedding_streams": "gauge",
    "orders": "counter",
    "orders_refused": "counter",
    "build_info": "gauge",
}


class FakeDepartures:
    def __init__(self) -> None:
        self.orders: Counter[str] = Counter()
        self.shed_left = 0


class FakeHub:
    """A hub that was told its counts."""

    def __init__(self) -> None:
        self.streams, self.channels, self.events, self.opened = 3, 2, 7, 11
        self.is_draining, self.cut = False, 0
        self.departures = FakeDepartures()
        self.closed: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.resumes: Counter[str] = Counter()
        self.gaps: Counter[str] = Counter()
        self.breaks: Counter[str] = Counter()
        self.egress = Egress(lambda fds, data: [], 1024)
        self.log = EventLog(10, 10_000)


class FakePump:
    def __init__(self) -> None:
        self.fanout = Histogram()
        self.loop_lag = 0.25


class FakeSource:
    def __init__(self) -> None:
        self.ready, self.lag_events, self.lag_seconds = True, 5, 1.5
        self.connected, self.problem = True, ""
        self.restarts = Counter({"surprise": 2})
        self.stream: StreamState | None = None


class FakeAccess:
    def __init__(self) -> None:
        self.denied = Counter({"expired": 3})
        self.keys, self.loads, self.loaded_at = 2, Counter({"ok": 4, "failed": 1}), 1.75e9


class Fixture:
    """Metrics above fakes, parsed as Prometheus would."""

    def __init__(self) -> None:
        self.hub, self.pump, self.source, self.access = FakeHub(), FakePump(), FakeSource(), FakeAccess()
        self.visitors, self.memory, self.guard = Visitors(), Memory([]), Guard("uid-1", None)
        self.payloads = Payloads(self.memory, 1000)
        self.metrics = Metrics(
            self.hub,
            self.pump,
            self.source,
            self.guard,
            self.access,
            Bounds(100, 66.0),
            self.visitors,
            self.memory,
            self.payloads,
        )

    def families(self) -> dict[str, Metric]:
        text = self.metrics.render().decode()
        return {family.name: family for family in text_string_to_metric_families(text)}

    def value(self, name: str, **labels: str) -> float:
        samples = [sample for family in self.families().values() for sample in family.samples]
        return next(each.value for each in samples if each.name == f"ssecast_{name}" and each.labels == labels)


@pytest.fixture
def exposed() -> Fixture:
    return Fixture()


def test_every_metric_is_exported_with_its_type_and_help(exposed: Fixture) -> None:
    """The names that dashboards and alerts use, no more and no fewer, and the process's own beside them."""
    families = exposed.families()
    ours = {name.removeprefix("ssecast_"): family.type for name, family in families.items() if "ssecast" in name}
    assert ours == NAMES
    assert all(family.documentation.endswith(".") for name, family in families.items() if "ssecast" in name)
    assert "process_resident_memory_bytes" in families


@pytest.mark.parametrize(
    ("name", "label", "values"),
    [
        ("streams_closed_total", "reason", metrics.CLOSED),
        ("streams_refused_total", "reason", metrics.REFUSED),
        ("connections_closed_total", "reason", metrics.CONNECTIONS_CLOSED),
        ("orders_total", "order", metrics.ORDERS),
        ("orders_refused_total", "reason", metrics.ORDERS_REFUSED),
        ("events_dropped_total", "reason", metrics.DROPPED),
        ("resumes_total", "result", metrics.RESUMES),
        ("gaps_total", "reason", metrics.GAPS),
        ("breaks_total", "reason", metrics.BREAKS),
        ("access_denied_total", "reason", DENIED),
        ("access_key_loads_total", "result", metrics.KEY_LOADS),
        ("source_restarts_total", "reason", metrics.RESTARTS),
    ],
)
def test_label_values_are_there_before_they_occur(
    exposed: Fixture, name: str, label: str, values: tuple[str, ...]
) -> None:
    """A series that appears with its first increment would hide that increment from rate()."""
    exposed.access.denied.clear()
    exposed.access.loads.clear()
    for value in values:
        assert exposed.value(name, **{label: value}) == 0


def test_values_are_read_at_scrape_time(exposed: Fixture) -> None:
    """Plain ints of other rooms, read again for every scrape; a reason nobody declared is exported too."""
    assert exposed.value("streams") == 3
    exposed.hub.streams = 4
    exposed.hub.is_draining = True
    exposed.hub.closed["age"] += 2
    exposed.hub.closed["surprise"] += 1
    exposed.hub.egress.sent(2, 100, 3)
    exposed.hub.log.append(Frame(Event("a", 1, b"x"), "e"))
    assert exposed.value("streams") == 4
    assert exposed.value("draining") == 1
    assert exposed.value("streams_closed_total", reason="age") == 2
    assert exposed.value("streams_closed_total", reason="surprise") == 1
    assert (exposed.value("frames_sent_total"), exposed.value("sent_bytes_total")) == (6, 300)
    assert (exposed.value("log_events"), exposed.value("log_bytes")) == (1, exposed.hub.log.bytes)


def test_orders_and_what_is_under_way_are_exported(exposed: Fixture) -> None:
    """Who drains a pod, who tries to, and how far a shed is."""
    exposed.hub.departures.orders["drain"] += 2
    exposed.hub.departures.shed_left = 7
    exposed.hub.cut = 3
    exposed.guard.refuse(401, "unsigned", "a sentence")
    assert exposed.value("orders_total", order="drain") == 2
    assert exposed.value("shedding_streams") == 7
    assert exposed.value("streams_cut_total") == 3
    assert exposed.value("orders_refused_total", reason="unsigned") == 1


def test_every_reason_for_refusing_a_signature_is_declared() -> None:
    """As the other reasons are."""
    assert set(Reason) <= set(metrics.ORDERS_REFUSED)


def test_what_the_source_and_the_pump_know_is_exported(exposed: Fixture) -> None:
    """Lag, readiness, restarts and the loop's lag come from their own rooms."""
    assert exposed.value("source_ready") == 1
    assert (exposed.value("source_lag_events"), exposed.value("source_lag_seconds")) == (5, 1.5)
    assert exposed.value("source_restarts_total", reason="surprise") == 2
    assert (exposed.value("source_connected"), exposed.value("source_problem")) == (1, 0)
    exposed.source.connected, exposed.source.problem = False, "NATS is away"
    assert (exposed.value("source_connected"), exposed.value("source_problem")) == (0, 1)
    assert exposed.value("loop_lag_seconds") == 0.25
    assert exposed.value("capacity_streams") == 100
    assert exposed.value("build_info", version=__version__, python=platform.python_version()) == 1


def test_the_head_and_the_nats_stream_are_exported_as_they_were_seen_last(exposed: Fixture) -> None:
    """Enough to see which pod is behind the others, and for how long the stream will hold what clients come back for."""
    exposed.hub.log.append(Frame(Event("a", 7, b"x"), "e"))
    exposed.source.stream = StreamState(
        "e", 3, 7, messages=5, bytes=900, max_bytes=1000, max_age_seconds=600.0, first_at=1.75e9, last_at=1.76e9
    )
    assert exposed.value("head_sequence") == exposed.value("nats_stream_last_sequence") == 7
    assert (exposed.value("nats_stream_messages"), exposed.value("nats_stream_bytes")) == (5, 900)
    assert (exposed.value("nats_stream_max_bytes"), exposed.value("nats_stream_max_age_seconds")) == (1000, 600)
    assert exposed.value("nats_stream_first_timestamp_seconds") == 1.75e9
    assert exposed.value("nats_stream_last_timestamp_seconds") == 1.76e9
    assert exposed.value("retention_needed_seconds") == 66
    exposed.metrics.bounds.retention_needed_seconds = 90
    assert exposed.value("retention_needed_seconds") == 90


def test_what_is_not_known_of_the_nats_stream_has_no_sample(exposed: Fixture) -> None:
    """A zero would be an empty stream, or an oldest event of 1970. Without a limit, the limit is infinite."""
    families = [family for name, family in exposed.families().items() if "nats_stream" in name]
    assert families
    assert not [family.name for family in families if family.samples]
    exposed.source.stream = StreamState("e", 1, 0)
    assert exposed.value("nats_stream_max_bytes") == exposed.value("nats_stream_max_age_seconds") == math.inf
    assert exposed.families()["ssecast_nats_stream_first_timestamp_seconds"].samples == []


def test_connections_and_memory_are_exported(exposed: Fixture) -> None:
    """Without a limit the limit is infinite: an alert on used / limit must not fire for 0."""
    assert exposed.value("memory_limit_bytes") == math.inf
    exposed.memory.limit, exposed.memory.used = 1000, 600
    exposed.visitors.opened = 9
    exposed.visitors.closed["head_timeout"] += 2
    assert (exposed.value("memory_limit_bytes"), exposed.value("memory_used_bytes")) == (1000, 600)
    assert (exposed.value("connections"), exposed.value("connections_opened_total")) == (0, 9)
    assert exposed.value("connections_closed_total", reason="head_timeout") == 2


def test_what_access_counts_is_exported(exposed: Fixture) -> None:
    """Enough to alert on an address of keys that fails, before its keys are too old."""
    assert exposed.value("access_denied_total", reason="expired") == 3
    assert (exposed.value("access_keys"), exposed.value("access_keys_loaded_timestamp_seconds")) == (2, 1.75e9)
    assert exposed.value("access_key_loads_total", result="ok") == 4
    assert exposed.value("access_key_loads_total", result="failed") == 1


def test_the_fanout_histogram_is_cumulative(exposed: Fixture) -> None:
    """Buckets count everything at most as high as their bound, and the last one everything."""
    exposed.pump.fanout.observe(0.0001)
    exposed.pump.fanout.observe(0.002, times=3)
    exposed.pump.fanout.observe(60)
    assert exposed.value("fanout_seconds_bucket", le="0.0001") == 1
    assert exposed.value("fanout_seconds_bucket", le="0.001") == 1
    assert exposed.value("fanout_seconds_bucket", le="0.0025") == 4
    assert exposed.value("fanout_seconds_bucket", le="10.0") == 4
    assert exposed.value("fanout_seconds_bucket", le="+Inf") == exposed.value("fanout_seconds_count") == 5
    assert exposed.value("fanout_seconds_sum") == pytest.approx(60.0061)


# Histogram


def test_a_value_falls_into_the_bucket_whose_bound_it_does_not_exceed() -> None:
    """Bounds are inclusive, as Prometheus defines them."""
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 2.5):
        histogram.observe(value)
    assert histogram.counts == [2, 2, 1]
    assert list(histogram.cumulative()) == [(1.0, 2), (2.0, 4), (math.inf, 5)]
    assert (histogram.count, histogram.sum) == (5, 7.5)


def test_times_counts_a_value_as_often_as_it_occurred() -> None:
    """One flush can deliver many events with the same delay."""
    histogram = Histogram((1.0,))
    histogram.observe(0.5, times=4)
    assert (histogram.counts, histogram.sum) == ([4, 0], 2.0)


def test_the_default_bounds_reach_from_a_tenth_of_a_millisecond_to_ten_seconds() -> None:
    """From the write to one stream to a pod that is in trouble."""
    assert (BOUNDS[0], BOUNDS[-1]) == (0.0001, 10.0)


@pytest.mark.parametrize("bounds", [(), (1.0, 1.0), (2.0, 1.0)])
def test_bounds_must_rise(bounds: tuple[float, ...]) -> None:
    """Others would count into the wrong buckets without a word."""
    with pytest.raises(ValueError, match="must rise"):
        Histogram(bounds)


# Tracing


class Traced:
    """Tracing whose ended spans can be looked at."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracing = tracing.Tracing(provider)

    @property
    def ended(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())


@pytest.fixture
def traced() -> Traced:
    return Traced()


@pytest.mark.parametrize("spelling", ["traceparent", "Traceparent"])
def test_the_publishers_trace_is_continued(traced: Traced, spelling: str) -> None:
    """One CONSUMER span per event, a child of the publisher's, ended by the flush and not before."""
    traced.tracing.event("orders.eu.17", {spelling: TRACEPARENT})
    assert traced.ended == []
    traced.tracing.flushed()
    [span] = traced.ended
    assert (span.name, span.kind) == ("receive orders", SpanKind.CONSUMER)
    assert span.context is not None
    assert span.parent is not None
    assert (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, PARENT)
    assert dict(span.attributes or {}) == {
        "messaging.system": "nats",
        "messaging.destination.name": "orders.eu.17",
        "messaging.operation.name": "receive",
        "messaging.operation.type": "receive",
    }


@pytest.mark.parametrize("headers", [None, {}, {"traceparent": "nonsense"}, {"Ssecast-Event": "x"}])
def test_an_event_without_a_usable_context_starts_a_trace(traced: Traced, headers: Mapping[str, str] | None) -> None:
    """A publisher's broken header costs the link to its trace, not the event."""
    traced.tracing.event("a", headers)
    traced.tracing.flushed()
    [span] = traced.ended
    assert span.parent is None


def test_open_spans_are_bounded(traced: Traced, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events that nobody flushes do not pile up."""
    monkeypatch.setattr(tracing, "OPEN_SPANS_MAX", 2)
    for _ in range(5):
        traced.tracing.event("a", None)
    assert len(traced.ended) == 4


def test_streams_have_short_spans_and_shutdown_exports_what_is_open(traced: Traced) -> None:
    """Open and close are one span each, and an event that was under way at exit is not lost."""
    traced.tracing.stream_opened(("a.>",))
    traced.tracing.stream_closed("age")
    traced.tracing.event("a", None)
    traced.tracing.shutdown()
    opened, closed, event = traced.ended
    assert (opened.name, dict(opened.attributes or {})) == ("stream open", {"ssecast.subjects": ("a.>",)})
    assert (closed.name, dict(closed.attributes or {})) == ("stream close", {"ssecast.reason": "age"})
    assert event.name == "receive a"


@pytest.mark.parametrize(
    ("environ", "on"),
    [
        ({}, False),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, False),
        ({"OTEL_TRACES_EXPORTER": "console", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_SERVICE_NAME": "mine"}, False),
        ({"OTEL_TRACES_EXPORTER": "console"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1/v1/traces"}, True),
    ],
)
def test_tracing_is_off_unless_otel_variables_ask_for_it(environ: dict[str, str], on: bool) -> None:
    """An exporter or an endpoint turns it on; the switch of OpenTelemetry turns it off."""
    assert tracing.problems(environ) == []
    found = tracing.setup(environ)
    assert (found is not None) is on
    if found is not None:
        found.shutdown()


def test_what_this_build_cannot_export_is_said() -> None:
    """An exporter or a protocol that is not installed is a mistake in the settings, not a silent nothing."""
    assert tracing.problems({"OTEL_TRACES_EXPORTER": "zipkin"}) == [
        "OTEL_TRACES_EXPORTER='zipkin' is not available: it must be otlp, console or none."
    ]
    asked = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    assert tracing.problems(asked) == ["OTEL_EXPORTER_OTLP_PROTOCOL='grpc' is not available: it must be http/protobuf."]
    assert tracing.problems(asked | {"OTEL_SDK_DISABLED": "true"}) == []
