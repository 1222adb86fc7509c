"""Stopping and moving streams in good order: SIGTERM, /drain, /undrain, /shed and maximum age on real pods."""

import signal
from collections.abc import Callable

from nats.aio.client import Client as Nats

from ssecast.dev import EmbeddedNats
from tests.harness import Client, Pod, until

MakePod = Callable[..., Pod]


async def opened(pod: Pod, count: int) -> list[Client]:
    clients = [await Client.open(pod.port) for _ in range(count)]
    await until(lambda: all(client.last_id for client in clients), "every first block")
    return clients


async def test_sigterm_closes_every_stream_with_a_short_retry_and_a_whole_body(
    nats_server: EmbeddedNats, make_pod: MakePod
) -> None:
    pod = await make_pod(nats_server.url, drain_seconds=1).start()
    clients = await opened(pod, 20)
    assert pod.process is not None
    pod.process.send_signal(signal.SIGTERM)
    await until(lambda: all(client.ended for client in clients), "every stream closed")
    assert all(50 <= (client.parser.retry or 0) <= 1000 for client in clients)
    assert all(client.complete for client in clients)
    assert len({client.parser.retry for client in clients}) > 1
    assert await pod.stop() == 0


async def test_while_it_waits_for_propagation_a_stopping_pod_is_not_ready_and_sends_new_streams_elsewhere(
    nats_server: EmbeddedNats, make_pod: MakePod, publisher: Nats
) -> None:
    pod = await make_pod(nats_server.url, drain_delay_seconds=60, drain_seconds=60).start()
    (client,) = await opened(pod, 1)
    assert pod.process is not None
    pod.process.send_signal(signal.SIGTERM)
    await until(lambda: pod.admin("GET", "/readyz")[0] == 503, "not ready")
    assert pod.admin("GET", "/readyz")[1]["reason"] == "draining"
    refused = await Client.open(pod.port)
    await until(lambda: refused.ended, "the refused stream to end")
    assert refused.status == 200
    assert refused.parser.retry is not None
    await publisher.publish("events.x", b"still served")
    assert await client.has(1) == ["still served"]
    pod.process.send_signal(signal.SIGTERM)
    assert await pod.stop() == 0
    await client.close()


async def test_drain_is_visible_repeatable_and_can_be_taken_back(nats_server: EmbeddedNats, make_pod: MakePod) -> None:
    pod = await make_pod(nats_server.url).start()
    clients = await opened(pod, 3)
    assert pod.admin("POST", "/drain", {"window_seconds": 1000})[0] in (200, 202)
    load = pod.admin("GET", "/load")[1]
    assert load["draining"] is True
    assert load["drain_deadline"]
    assert pod.admin("GET", "/readyz")[0] == 503
    assert pod.admin("POST", "/undrain")[0] in (200, 202)
    assert pod.admin("GET", "/load")[1]["draining"] is False
    assert pod.admin("GET", "/readyz")[0] == 200
    assert not any(client.ended for client in clients)
    pod.admin("POST", "/drain", {"window_seconds": 1000})
    pod.admin("POST", "/drain", {"window_seconds": 0})
    await until(lambda: all(client.ended for client in clients), "every stream closed")
    load = pod.admin("GET", "/load")[1]
    assert load["streams"] == 0
    assert load["closed_total"]["drain"] == 3


async def test_shed_closes_the_oldest_streams_only(nats_server: EmbeddedNats, make_pod: MakePod) -> None:
    pod = await make_pod(nats_server.url).start()
    clients = await opened(pod, 5)
    pod.admin("POST", "/shed", {"count": 2, "window_seconds": 0})
    await until(lambda: clients[0].ended and clients[1].ended, "the two oldest closed")
    assert pod.admin("GET", "/load")[1]["streams"] == 3
    assert not any(client.ended for client in clients[2:])
    assert pod.admin("GET", "/load")[1]["closed_total"]["shed"] == 2
    for client in clients:
        await client.close()


async def test_a_stream_ends_at_its_maximum_age_and_goes_on_elsewhere_without_a_loss(
    nats_server: EmbeddedNats, make_pod: MakePod, publisher: Nats
) -> None:
    pod = await make_pod(nats_server.url, max_age_seconds=2, heartbeat_seconds=1).start()
    (client,) = await opened(pod, 1)
    await publisher.publish("events.x", b"1")
    await client.has(1)
    await until(lambda: client.ended, "the end of its age")
    assert pod.admin("GET", "/load")[1]["closed_total"]["age"] == 1
    await publisher.publish("events.x", b"2")
    again = await Client.open(pod.port, last_event_id=client.last_id)
    assert await again.has(1) == ["2"]
    await again.close()


async def test_a_slow_reader_is_disconnected_and_resumes_by_its_id(
    nats_server: EmbeddedNats, make_pod: MakePod, publisher: Nats
) -> None:
    """As slow where it falls off the log, as stalled where it was given a backfill in between and takes none of it."""
    pod = await make_pod(nats_server.url, log_max_events=10, client_buffer_bytes=8192, stall_seconds=2).start()
    fast, slow = await Client.open(pod.port), await Client.open(pod.port, receive_buffer=4096)
    await until(lambda: bool(slow.last_id), "the first block")
    slow.pause()
    payload = "x" * 20_000
    for number in range(100):
        await publisher.publish("events.x", f"{number} {payload}".encode())
        if number % 10 == 9:
            await fast.has(number + 1)

    def closed() -> int:
        total: dict[str, int] = pod.admin("GET", "/load")[1]["closed_total"]
        return total["slow"] + total["stalled"]

    await until(lambda: closed() == 1, "the slow stream closed")
    slow.go_on()
    await until(lambda: slow.ended, "the end of the slow stream")
    again = await Client.open(pod.port, last_event_id=slow.last_id)
    missed = 100 - len(slow.data)
    assert missed > 0
    await again.has(missed)
    assert [text.split()[0] for text in slow.data + again.data] == [str(number) for number in range(100)]
    assert not again.gaps
    await fast.close()
    await again.close()
