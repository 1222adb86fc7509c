"""A nats-server that goes away and comes back: with what it stored, without, with less, with something else instead."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from ssecast.dev import EmbeddedNats
from tests.harness import Client, Pod, Relay, until
from tests.nats_parts import Audience, Publisher, connect, ended, healthy, lame_duck, problem, troubled, troubles

MakePod = Callable[..., Pod]

LAME_DUCK = 'lame_duck_duration: "30s"\nlame_duck_grace_period: "1s"\n'


@pytest.fixture
def nats_server() -> Iterator[EmbeddedNats]:
    with EmbeddedNats(config=LAME_DUCK) as server:
        yield server


@pytest.fixture
async def publisher(nats_server: EmbeddedNats) -> AsyncIterator[Publisher]:
    client = await connect(nats_server.url)
    yield Publisher(client)
    await client.close()


async def kill(server: EmbeddedNats) -> None:
    """As a crash would."""
    await asyncio.to_thread(server.stop, kill=True)


async def start(server: EmbeddedNats) -> None:
    await asyncio.to_thread(server.start)


async def keep_backup(server: EmbeddedNats, folder: Path) -> None:
    """Copies what JetStream stores, as it is on a server that is stopped."""
    await asyncio.to_thread(server.stop)
    shutil.copytree(server.store, folder)
    await start(server)


async def restore_backup(server: EmbeddedNats, folder: Path) -> None:
    await kill(server)
    shutil.rmtree(server.store)
    shutil.copytree(folder, server.store)
    await start(server)


async def test_a_server_killed_under_load_and_started_again_costs_nobody_anything(
    nats_server: EmbeddedNats, make_pod: MakePod, publisher: Publisher
) -> None:
    """Streams stay open, every acknowledged event comes once, and the pod stays ready while it says what is wrong."""
    pod = await make_pod(nats_server.url).start()
    audience = await Audience.open(pod)
    async with publisher.steadily():
        for _ in range(2):
            await publisher.some()
            await kill(nats_server)
            await troubled(pod, f"127.0.0.1:{nats_server.port}")
            assert pod.admin("GET", "/readyz")[0] == 200
            await until(lambda: pod.metric("ssecast_source_connected") == 0, "the connection to be gone")
            await start(nats_server)
            await healthy(pod)
        await publisher.some()
    await audience.has(range(1, publisher.last + 1))
    assert pod.metric('ssecast_source_restarts_total{reason="disconnected"}') == 2
    assert len(troubles(pod)) <= 3 * 2, "a line per change of state, and no more"


async def test_a_pod_that_starts_without_nats_says_which_server_it_misses(
    nats_server: EmbeddedNats, make_pod: MakePod
) -> None:
    """It is not ready, and becomes ready without a restart."""
    await asyncio.to_thread(nats_server.stop)
    pod = await make_pod(nats_server.url).start(ready=False)
    said = await troubled(pod, "Connection refused")
    assert said == f"NATS at 127.0.0.1:{nats_server.port} cannot be reached: Connection refused"
    assert pod.admin("GET", "/readyz")[0] == 503
    assert pod.metric("ssecast_source_ready") == 0
    await start(nats_server)
    await healthy(pod)
    assert troubles(pod) == [said]


async def test_a_server_without_its_data_is_a_gap_for_everybody(
    nats_server: EmbeddedNats, make_pod: MakePod, publisher: Publisher
) -> None:
    """The stream is created anew under another epoch; who stays and who comes back with an old id are told the same."""
    pod = await make_pod(nats_server.url).start()
    audience = await Audience.open(pod)
    await publisher.publish(20)
    await audience.has(range(1, 21))
    old = audience.clients[0].last_id
    await kill(nats_server)
    await asyncio.to_thread(nats_server.restart, keep_data=False)
    await audience.told("epoch")
    await healthy(pod)
    late = await Client.open(pod.port, last_event_id=old)
    await publisher.publish(20)
    await audience.reaches(list(range(1, 41)))
    for _, got, wants in audience.got():
        assert got == [number for number in range(1, 41) if wants(number)]
    assert await late.has(20) == [str(number) for number in range(21, 41)]
    assert [gap["reason"] for gap in late.gaps] == ["epoch"]
    assert late.last_id.partition("-")[0] != old.partition("-")[0]
    assert pod.metric('ssecast_breaks_total{reason="epoch"}') == 1


async def test_a_stream_in_memory_that_a_restart_emptied_is_a_gap(
    nats_server: EmbeddedNats, make_pod: MakePod, publisher: Publisher
) -> None:
    """NATS forgets such a stream altogether: it is created anew, under another epoch."""
    pod = await make_pod(nats_server.url, stream_storage="memory").start()
    audience = await Audience.open(pod)
    await publisher.publish(20)
    await audience.has(range(1, 21))
    await kill(nats_server)
    await start(nats_server)
    await audience.told("epoch")
    await healthy(pod)
    await publisher.publish(20)
    await audience.reaches(list(range(1, 41)))
    for _, got, wants in audience.got():
        assert got == [number for number in range(1, 41) if wants(number)]


async def test_a_lame_duck_is_left_without_anybody_noticing(
    nats_server: EmbeddedNats, make_pod: MakePod, publisher: Publisher
) -> None:
    """The server says that it will go, closes the connection and ends; when it is back, everything goes on."""
    pod = await make_pod(nats_server.url).start()
    audience = await Audience.open(pod)
    async with publisher.steadily():
        await publisher.some()
        await asyncio.to_thread(lame_duck, nats_server)
        await until(lambda: ended(nats_server), "the server to end")
        await asyncio.to_thread(nats_server.restart)
        await healthy(pod)
        await publisher.some()
    await audience.has(range(1, publisher.last + 1))
    assert "about to stop" in pod.log.read_text()


async def test_a_stream_that_lost_its_end_is_a_gap_and_goes_on(
    nats_server: EmbeddedNats, make_pod: MakePod, publisher: Publisher, tmp_path: Path
) -> None:
    """A backup was restored: its last sequence is below what the pod has seen."""
    pod = await make_pod(nats_server.url).start()
    await publisher.publish(30)
    await keep_backup(nats_server, tmp_path / "backup")
    await healthy(pod)
    audience = await Audience.open(pod, last_event_id=await position(pod, 0))
    await publisher.publish(20)
    await audience.has(range(1, 51))
    await restore_backup(nats_server, tmp_path / "backup")
    await audience.told("rewound")
    assert audience.clients[0].gaps[0]["next"].endswith("-30")
    await healthy(pod)
    await publisher.publish(20)
    await audience.reaches(list(range(1, 71)))
    for _, got, wants in audience.got():
        assert got == [number for number in range(1, 71) if wants(number)]


async def test_a_rewound_stream_that_grew_past_the_head_before_the_pod_looked_is_a_gap(
    nats_server: EmbeddedNats, make_pod: MakePod, publisher: Publisher, tmp_path: Path
) -> None:
    """The numbers fit, the events do not: the newest event that the pod has was stored at another time."""
    relay = await Relay(nats_server.port).start()
    pod = await make_pod(f"nats://127.0.0.1:{relay.port}").start()
    await publisher.publish(30)
    await keep_backup(nats_server, tmp_path / "backup")
    await healthy(pod)
    audience = await Audience.open(pod, last_event_id=await position(pod, 0))
    await publisher.publish(20)
    await audience.has(range(1, 51))
    seen = audience.clients[0].last_id
    relay.pause()
    relay.cut()
    await restore_backup(nats_server, tmp_path / "backup")
    await publisher.publish(100)  # 51 to 150 become 31 to 130
    relay.resume()
    await audience.told("rewound")
    await publisher.publish(10)
    await audience.reaches(list(range(1, 161)))
    everything = [number for number in range(1, 161) if not 50 < number < 70]
    for _, got, wants in audience.got():
        assert got == [number for number in everything if wants(number)]
    late = await Client.open(pod.port, last_event_id=seen.replace("-50", "-40"))
    await late.has(91)
    assert [gap["reason"] for gap in late.gaps] == ["rewound"], "no resume crosses a break"
    assert late.data == [str(number) for number in range(70, 161)]
    await relay.stop()


async def test_a_stream_that_only_went_on_meanwhile_is_no_gap(
    nats_server: EmbeddedNats, make_pod: MakePod, publisher: Publisher
) -> None:
    """The same absence without a rewind: the newest event is still the one that the pod has."""
    relay = await Relay(nats_server.port).start()
    pod = await make_pod(f"nats://127.0.0.1:{relay.port}").start()
    audience = await Audience.open(pod)
    await publisher.publish(50)
    await audience.has(range(1, 51))
    relay.pause()
    relay.cut()
    await kill(nats_server)
    await start(nats_server)
    await publisher.publish(100)
    relay.resume()
    await audience.has(range(1, 151))
    assert pod.metric('ssecast_breaks_total{reason="rewound"}') == 0
    await relay.stop()


async def test_a_pod_that_starts_anew_while_nats_is_away_tells_its_clients_to_come_back(
    nats_server: EmbeddedNats, make_pod: MakePod, publisher: Publisher
) -> None:
    """It cannot serve yet: a stream that ends at once with a time to come back, and later everything that was missed."""
    pod = await make_pod(nats_server.url).start()
    client = await Client.open(pod.port)
    await publisher.publish(5)
    await client.has(5)
    await kill(nats_server)
    await pod.stop()
    await pod.start(ready=False)
    early = await Client.open(pod.port, last_event_id=client.last_id)
    await until(lambda: early.ended, "the early stream to end")
    assert early.parser.retry is not None
    assert "cannot be reached" in problem(pod)
    await start(nats_server)
    await healthy(pod)
    await publisher.publish(5)
    late = await Client.open(pod.port, last_event_id=client.last_id)
    assert await late.has(5) == ["6", "7", "8", "9", "10"]
    assert not late.gaps


async def test_core_nats_goes_on_after_a_gap(nats_server: EmbeddedNats, make_pod: MakePod) -> None:
    """Nothing is kept for a core subscription: what follows the break comes, and the break is said."""
    pod = await make_pod(nats_server.url, stream="").start()
    client = await Client.open(pod.port)
    nats = await connect(nats_server.url)
    for number in range(5):
        await nats.publish("events.x", str(number).encode())
    await client.has(5)
    await kill(nats_server)
    await troubled(pod, "127.0.0.1")
    assert pod.admin("GET", "/readyz")[0] == 200
    await start(nats_server)
    await until(lambda: bool(client.gaps), "the gap")
    await healthy(pod)
    await until(lambda: nats.is_connected, "the publisher to be back")
    await nats.publish("events.x", b"5")
    assert await client.has(6) == ["0", "1", "2", "3", "4", "5"]
    assert [gap["reason"] for gap in client.gaps] == ["disconnected"]
    assert pod.metric('ssecast_breaks_total{reason="disconnected"}') == 1
    await nats.close()


async def position(pod: Pod, seq: int) -> str:
    """A position in the stream as it is now."""
    await until(lambda: pod.admin("GET", "/load")[1]["position"] is not None, "a position")
    return f"{pod.admin('GET', '/load')[1]['position'].partition('-')[0]}-{seq}"
