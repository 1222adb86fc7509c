"""Peers that vanish without a word: their streams end within a minute, whether anything is sent to them or not."""

import asyncio
import sys
import time
from collections.abc import Callable

import pytest
from nats.aio.client import Client as Nats

from ssecast.dev import EmbeddedNats
from tests.harness import Client, Pod, until
from tests.peers import BEGUN, STREAM, Peer

MakePod = Callable[..., Pod]
MINUTE = 60.0

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: socket filters and TCP_USER_TIMEOUT")


async def vanished(pod: Pod, count: int) -> list[Peer]:
    """So many streams whose clients are gone; none of them says so."""
    peers = [await Peer.connect(pod.port) for _ in range(count)]
    for peer in peers:
        await peer.send(STREAM)
        assert await peer.read(BEGUN)
    for peer in peers:
        peer.vanish()
    return peers


async def test_streams_of_vanished_clients_end_within_a_minute(
    nats_server: EmbeddedNats, make_pod: MakePod, publisher: Nats
) -> None:
    """With data on its way the kernel waits for an acknowledgement, without any it asks whether somebody is there."""
    idle = await make_pod(nats_server.url, heartbeat_seconds=86400, stream="idle", subjects="idle.>").start()
    busy = await make_pod(nats_server.url).start()
    before = idle.open_files, busy.open_files
    living = [await Client.open(pod.port) for pod in (idle, busy)]
    since = time.monotonic()
    for pod in (idle, busy):
        await vanished(pod, 5)
    await publisher.publish("events.x", b"nobody acknowledges this")

    async def both_noticed() -> bool:
        await asyncio.sleep(0.5)
        return all(pod.load["closed_total"]["dead"] == 5 for pod in (idle, busy))

    while not await both_noticed():
        assert time.monotonic() - since < MINUTE, "a minute is over"
    assert not any(client.ended for client in living)
    assert await living[1].has(1) == ["nobody acknowledges this"]
    for client in living:
        await client.close()
    await until(lambda: (idle.open_files, busy.open_files) <= before, "the descriptors back")
