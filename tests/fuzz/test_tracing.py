"""Trace context that publishers send: continued where it can be read, and never an exception."""

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider

from ssecast.tracing import Tracing

tracing = Tracing(TracerProvider(shutdown_on_exit=False))

ids = st.text("0123456789abcdefABCDEFg-", max_size=40)
parents = st.one_of(st.text(), st.builds("{}-{}-{}-{}".format, ids, ids, ids, ids))
states = st.one_of(st.text(), st.lists(st.builds("{}={}".format, st.text(), st.text()), max_size=40).map(",".join))
headers = st.one_of(
    st.none(),
    st.dictionaries(st.text(), st.text()),
    st.fixed_dictionaries({}, optional={"traceparent": parents, "Traceparent": parents, "tracestate": states}),
)


@given(st.text(min_size=1), headers)
def test_no_trace_context_stops_an_event(subject: str, headers: dict[str, str] | None) -> None:
    tracing.event(subject, headers)
    tracing.flushed()
