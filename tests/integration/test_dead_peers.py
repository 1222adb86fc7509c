"""Peers that vanish without a word: their streams end within a minute, whether anything is sent to them or not."""

import asyncio
import sys
import time
from collections.abc import Callable

import pytest
from nats.aio.client import Client as Nats

from ssecast.dev import EmbeddedNats
from tests.harness import Client, Pod, until
from tests.peers import BEGUN, STREAM, Peer, drop_all

MakePod = Callable[..., Pod]
MINUTE = 60.0

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: socket filters and TCP_USER_TIMEOUT")


async def listening(pod: Pod, count: int, receive_buffer: int = 0) -> list[Peer]:
    """So many streams that have begun, and are not read from now on."""
    peers = [await Peer.connect(pod.port, receive_buffer) for _ in range(count)]
    for peer in peers:
        await peer.send(STREAM)
        assert await peer.read(BEGUN)
    return peers


async def vanished(pod: Pod, count: int) -> None:
    """So many streams whose clients are gone; none of them says so."""
    for peer in await listening(pod, count):
        peer.vanish()


async def test_streams_of_vanished_clients_end_within_a_minute(
    nats_server: EmbeddedNats, make_pod: MakePod, publisher: Nats
) -> None:
    """With data on its way the kernel waits for an acknowledgement, without any it asks whether somebody is there; however
    long a client may stall. A client that answers and makes no room is none of the living either: what it lets wait in
    the kernel, no setting of the pod can see. Whoever comes back goes on by its id."""
    idle = await make_pod(nats_server.url, heartbeat_seconds=86400, stream="idle", subjects="idle.>").start()
    busy = await make_pod(nats_server.url, stall_seconds=3600, log_max_bytes=2**30).start()
    before = idle.open_files, busy.open_files
    living = [await Client.open(pod.port) for pod in (idle, busy)]
    phone = await Client.open(busy.port)
    await until(lambda: bool(phone.last_id), "the first block")
    since = time.monotonic()
    await vanished(idle, 5)
    await vanished(busy, 4)
    drop_all(phone.writer.get_extra_info("socket"))
    full = await listening(busy, 5, receive_buffer=4096)
    await publisher.publish("events.x", b"nobody acknowledges this")
    await publisher.publish("events.x", b"and there is no room for this" * 1000)

    async def both_noticed() -> bool:
        await asyncio.sleep(0.5)
        return [pod.load["closed_total"]["dead"] for pod in (idle, busy)] == [5, 5 + len(full)]

    while not await both_noticed():
        assert time.monotonic() - since < MINUTE, "a minute is over"
    assert not any(client.ended for client in living)
    missed = await living[1].has(2)
    assert not phone.data
    back = await Client.open(busy.port, last_event_id=phone.last_id)
    assert await back.has(2) == missed
    assert not back.gaps
    for client in (*living, phone, back):
        await client.close()
    await until(lambda: (idle.open_files, busy.open_files) <= before, "the descriptors back")
