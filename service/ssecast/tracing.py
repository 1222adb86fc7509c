"""OpenTelemetry spans of the pod, off unless OTEL_* configures them. One per event and pod, never one per client.

The publisher's W3C trace context in the NATS headers is continued. No global provider is set: importing or running
ssecast leaves the process's other instrumentation alone.
"""

import threading
from collections.abc import Mapping

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import (
    SERVICE_INSTANCE_ID,
    SERVICE_NAME,
    SERVICE_VERSION,
    OTELResourceDetector,
    Resource,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.trace import Span, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ssecast import __version__

OPEN_SPANS_MAX = 2048
"""Spans of events that wait for their fan-out; when there are more, all of them end early."""

SHUTDOWN_SECONDS = 3.0
"""What a collector that does not answer may cost at exit."""

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_HEADERS = (("traceparent", "Traceparent"), ("tracestate", "Tracestate"))
_W3C = TraceContextTextMapPropagator()


class Tracing:
    """The pod's spans."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("ssecast", __version__)
        self._open: list[Span] = []

    def event(self, subject: str, headers: Mapping[str, str] | None) -> None:
        """An event was received: starts its span, which ends with the fan-out."""
        span = self._tracer.start_span(
            # The first token only: whole subjects may be as many as there are users, and span names must not be.
            f"receive {subject.partition('.')[0]}",
            _context(headers),
            SpanKind.CONSUMER,
            {
                "messaging.system": "nats",
                "messaging.destination.name": subject,
                "messaging.operation.name": "receive",
                "messaging.operation.type": "receive",
            },
        )
        if not span.is_recording():
            return
        if len(self._open) >= OPEN_SPANS_MAX:
            self.flushed()
        self._open.append(span)

    def flushed(self) -> None:
        """Everything received so far was written."""
        spans, self._open = self._open, []
        for span in spans:
            span.end()

    def stream_opened(self, subjects: tuple[str, ...]) -> None:
        self._tracer.start_span("stream open", attributes={"ssecast.subjects": subjects}).end()

    def stream_closed(self, reason: str) -> None:
        self._tracer.start_span("stream close", attributes={"ssecast.reason": reason}).end()

    def shutdown(self) -> None:
        """Exports what is left, within SHUTDOWN_SECONDS."""
        self.flushed()
        # The SDK would wait up to 30 s for a collector that is away; a thread can be left behind.
        last = threading.Thread(target=self._provider.shutdown, name="tracing-shutdown", daemon=True)
        last.start()
        last.join(SHUTDOWN_SECONDS)


def problems(environ: Mapping[str, str]) -> list[str]:
    """One sentence per OTEL_* value that asks for what this build does not have."""
    if not _wanted(environ):
        return []
    found = [
        f"OTEL_TRACES_EXPORTER={name!r} is not available: it must be otlp, console or none."
        for name in _exporters(environ)
        if name not in ("otlp", "console", "none")
    ]
    protocol = next((environ[name] for name in _PROTOCOLS if environ.get(name)), "http/protobuf")
    if "otlp" in _exporters(environ) and protocol != "http/protobuf":
        found.append(f"OTEL_EXPORTER_OTLP_PROTOCOL={protocol!r} is not available: it must be http/protobuf.")
    return found


def setup(environ: Mapping[str, str]) -> Tracing | None:
    """The tracing that the environment asks for; None where it asks for none.

    The SDK reads everything else (endpoint, sampler, batch sizes) from OTEL_* itself.
    """
    exporters = [_exporter(name) for name in _exporters(environ) if name != "none"] if _wanted(environ) else []
    if not exporters:
        return None
    provider = TracerProvider(resource=_resource(environ), shutdown_on_exit=False)
    for exporter in exporters:
        provider.add_span_processor(BatchSpanProcessor(exporter))
    return Tracing(provider)


def _wanted(environ: Mapping[str, str]) -> bool:
    return environ.get("OTEL_SDK_DISABLED", "").strip().lower() != "true"


def _exporters(environ: Mapping[str, str]) -> list[str]:
    """The names asked for; an endpoint alone asks for otlp."""
    names = [name.strip() for name in environ.get("OTEL_TRACES_EXPORTER", "").split(",")]
    default = ["otlp"] if any(environ.get(name) for name in _ENDPOINTS) else []
    return list(dict.fromkeys(name for name in names if name)) or default


def _exporter(name: str) -> SpanExporter:
    if name == "console":
        return ConsoleSpanExporter()
    if name == "otlp":
        return OTLPSpanExporter()
    raise ValueError(f"no exporter {name!r}")


def _resource(environ: Mapping[str, str]) -> Resource:
    attributes = {SERVICE_VERSION: __version__}
    if environ.get("POD_UID"):
        attributes[SERVICE_INSTANCE_ID] = environ["POD_UID"]
    # The detector reads OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES: what they say wins over our own.
    return Resource.create({SERVICE_NAME: "ssecast"} | attributes).merge(OTELResourceDetector().detect())


def _context(headers: Mapping[str, str] | None) -> Context:
    """The publisher's trace context. Header names are case-sensitive in NATS, and publishers write both spellings."""
    carrier = {}
    for spellings in _HEADERS if headers else ():
        for spelling in spellings:
            if headers and spelling in headers:
                carrier[spellings[0]] = headers[spelling]
                break
    return _W3C.extract(carrier, Context())
