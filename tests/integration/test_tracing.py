"""Traces of a real pod: the publisher's context is continued, and nothing is exported unless OTEL_* asks for it."""

from collections.abc import Callable

from nats.aio.client import Client as Nats

from ssecast.dev import EmbeddedNats
from tests.harness import Client, Pod, until

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


async def test_an_event_continues_the_trace_of_its_publisher(
    nats_server: EmbeddedNats, make_pod: Callable[..., Pod], publisher: Nats
) -> None:
    pod = make_pod(nats_server.url)
    pod.environ |= {"OTEL_TRACES_EXPORTER": "console", "OTEL_BSP_SCHEDULE_DELAY": "50"}
    await pod.start()
    clients = [await Client.open(pod.port) for _ in range(3)]
    await publisher.publish("events.x", b"traced", headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
    for client in clients:
        await client.has(1)
    await until(lambda: TRACE in pod.log.read_text(), "the span")
    await until(lambda: pod.log.read_text().count('"stream open"') == 3, "the spans of the streams")
    text = pod.log.read_text()
    assert text.count('"name": "receive events"') == 1, "one span per event, not one per stream"
    assert f'"parent_id": "0x{PARENT}"' in text


async def test_without_otel_settings_nothing_is_traced(pod: Pod, publisher: Nats) -> None:
    client = await Client.open(pod.port)
    await publisher.publish("events.x", b"quiet", headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
    await client.has(1)
    await pod.stop()
    assert TRACE not in pod.log.read_text()
