"""What goes wrong around a pod, with real parts: NATS away, misconfigured, older than its clients, or too long gone."""

import asyncio
import subprocess
import sys
from collections.abc import Callable

from nats.aio.client import Client as Nats

from ssecast.dev import EmbeddedNats
from tests.harness import Client, Pod, Relay, free_port, until

MakePod = Callable[..., Pod]


async def test_a_quiet_stream_past_its_maximum_age_gives_no_false_gap(
    nats_server: EmbeddedNats, make_pod: MakePod, publisher: Nats
) -> None:
    pod = await make_pod(nats_server.url, stream_max_age_seconds=1).start()
    client = await Client.open(pod.port)
    for number in range(3):
        await publisher.publish("events.x", str(number).encode())
    await client.has(3)

    async def empty() -> bool:
        return (await publisher.jetstream().stream_info("ssecast")).state.messages == 0

    await until(empty, "the stream to expire")
    await pod.stop()
    await pod.start()
    again = await Client.open(pod.port, last_event_id=client.last_id)
    await publisher.publish("events.x", b"3")
    assert await again.has(1) == ["3"]
    assert not again.gaps
    await again.close()


async def test_nats_away_longer_than_retention_is_a_gap_for_live_streams(
    nats_server: EmbeddedNats, make_pod: MakePod, publisher: Nats
) -> None:
    relay = await Relay(nats_server.port).start()
    pod = await make_pod(f"nats://127.0.0.1:{relay.port}", stream_max_age_seconds=1).start()
    client = await Client.open(pod.port)
    await publisher.publish("events.x", b"seen")
    await client.has(1)
    relay.pause()
    await publisher.jetstream().publish("events.x", b"missed")

    async def empty() -> bool:
        return (await publisher.jetstream().stream_info("ssecast")).state.messages == 0

    await until(empty, "the stream to expire")
    relay.cut()
    relay.resume()
    await until(lambda: bool(client.gaps), "the gap")
    await publisher.publish("events.x", b"after")
    assert await client.has(2) == ["seen", "after"]
    assert [gap["reason"] for gap in client.gaps] == ["expired"]
    assert pod.metric('ssecast_breaks_total{reason="expired"}') == 1
    await client.close()
    await relay.stop()


def test_a_wrong_setting_ends_with_exit_code_2_before_any_port_opens() -> None:
    port = free_port()
    run = subprocess.run(
        [sys.executable, "-m", "ssecast", "serve"],
        env={
            "PATH": "/usr/bin",
            "SSECAST_PORT": str(port),
            "SSECAST_HEARTBEAT_SECONDS": "never",
            "SSECAST_SUBJECT": "a",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 2
    assert "SSECAST_HEARTBEAT_SECONDS" in run.stderr
    assert "SSECAST_SUBJECTS" in run.stderr
    assert "Traceback" not in run.stderr


async def test_a_port_that_is_taken_is_named(pod: Pod) -> None:
    run = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "ssecast", "serve"],
        env=pod.environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 1
    assert "SSECAST_PORT" in run.stderr
    assert "Traceback" not in run.stderr
