"""What lies between a pod and NATS: cut, silent, slow, flapping; and a pod that does not keep up with what it is sent."""

import asyncio
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ssecast.dev import EmbeddedNats
from tests.harness import Client, Pod, until
from tests.nats_parts import Audience, Publisher, Wire, connect, flood, healthy, log_lines, troubled, troubles

MakePod = Callable[..., Pod]

IMPATIENT = 'write_deadline: "1s"\nmax_pending: 8Mb\n'
"""A server that drops who does not read: what it holds for a client is bounded in bytes and time."""

SMALL_QUEUE = (
    "from ssecast import source, __main__;"
    "source.SourceOptions.pending = property(lambda options: (20, 2**20));"
    "__main__.main()"
)
"""A pod whose queue of messages from nats-py is far too small."""


@pytest.fixture
def nats_server() -> Iterator[EmbeddedNats]:
    with EmbeddedNats(config=IMPATIENT) as server:
        yield server


@pytest.fixture
async def publisher(nats_server: EmbeddedNats) -> AsyncIterator[Publisher]:
    client = await connect(nats_server.url)
    yield Publisher(client)
    await client.close()


@pytest.fixture
async def wire(nats_server: EmbeddedNats) -> AsyncIterator[Wire]:
    async with Wire(nats_server.port) as wire:
        yield wire


class SmallPod(Pod):
    """A pod whose queue of messages from NATS overflows easily."""

    def _spawn(self) -> None:
        with self.log.open("ab") as log:
            command = [sys.executable, "-c", SMALL_QUEUE, "serve"]
            self.process = subprocess.Popen(command, env=self.environ, stdout=log, stderr=subprocess.STDOUT)


@pytest.fixture
async def small_pod(nats_server: EmbeddedNats, tmp_path: Path) -> AsyncIterator[Callable[..., SmallPod]]:
    made: list[SmallPod] = []

    def make(**settings: Any) -> SmallPod:
        made.append(SmallPod(nats_server.url, tmp_path / f"small-{len(made)}.log", **settings))
        return made[-1]

    yield make
    for pod in made:
        await pod.stop(signal.SIGKILL)


async def test_a_connection_that_flaps_costs_nobody_anything(
    wire: Wire, make_pod: MakePod, publisher: Publisher
) -> None:
    """Cut again and again, in the middle of handshakes too: everything comes once, and attempts are spaced."""
    pod = await make_pod(wire.url).start()
    audience = await Audience.open(pod)
    draw = random.Random(4)
    async with publisher.steadily():
        for _ in range(25):
            await asyncio.sleep(draw.uniform(0, 0.4))
            wire.cut()
        wire.refuses = True
        wire.cut()
        await troubled(pod, "cannot be reached")
        wire.refuses = False
        await healthy(pod)
        await publisher.some()
    await audience.has(range(1, publisher.last + 1))
    assert wire.accepted <= 60


@pytest.mark.parametrize(
    "ways", [{}, {"down": False}, {"up": False}], ids=["both ways", "towards NATS", "towards the pod"]
)
async def test_a_connection_that_swallows_everything_is_found_dead(
    wire: Wire, make_pod: MakePod, publisher: Publisher, ways: dict[str, bool]
) -> None:
    """No side is told; heartbeats and pings tell within seconds, and the next connection brings what was missed."""
    pod = await make_pod(wire.url).start()
    audience = await Audience.open(pod)
    async with publisher.steadily():
        await publisher.some()
        wire.swallow(**ways)
        await troubled(pod, "NATS")
        assert pod.admin("GET", "/readyz")[0] == 200
        await healthy(pod)
        await publisher.some()
    await audience.has(range(1, publisher.last + 1))


@pytest.mark.parametrize("stream", ["ssecast", ""], ids=["JetStream", "core NATS"])
async def test_a_connection_that_takes_nothing_any_more_is_left(
    wire: Wire, make_pod: MakePod, nats_server: EmbeddedNats, stream: str
) -> None:
    """Publishing through the pod fills every buffer: the pod must not wait for what can never be sent."""
    pod = await make_pod(wire.url, stream=stream, publish=True).start()
    client = await Client.open(pod.port)
    wire.dam()
    large = b"x" * 1_000_000
    posts = [asyncio.to_thread(pod.request, "POST", "/publish/events.large", large) for _ in range(24)]
    answers = asyncio.gather(*posts)
    await troubled(pod, "broke")
    assert {status for status, _ in await answers} <= {202, 503}
    await healthy(pod)
    status, _ = await asyncio.to_thread(pod.request, "POST", "/publish/events.x", b"after")  # the wire needs this loop
    assert status == 202
    await until(lambda: client.data[-1:] == ["after"], "what comes after")
    assert not client.ended
    assert [gap["reason"] for gap in client.gaps] == ([] if stream else ["disconnected"])


async def test_a_slow_connection_delivers_everything_late(wire: Wire, make_pod: MakePod, publisher: Publisher) -> None:
    """A kilobyte at a time: the pod falls behind, and comes to the end of it."""
    pod = await make_pod(wire.url).start()
    audience = await Audience.open(pod)
    wire.delay = 0.03
    async with publisher.steadily():
        await publisher.some(600)
    assert len(audience.clients[0].data) < publisher.last, "the connection was not slow: the test shows nothing"
    await audience.has(range(1, publisher.last + 1))
    await healthy(pod)


async def test_a_pod_that_stood_still_gets_everything(
    nats_server: EmbeddedNats, make_pod: MakePod, publisher: Publisher
) -> None:
    """JetStream's flow control waits for a frozen pod, and where NATS gives up on it, the stream still has it all."""
    pod = await make_pod(nats_server.url).start()
    assert pod.process is not None
    audience = await Audience.open(pod)
    await publisher.publish(5)
    await audience.has(range(1, 6))
    pod.process.send_signal(signal.SIGSTOP)
    filling = await connect(nats_server.url)
    await flood(filling, "events.large", 2000)
    await publisher.publish(300)
    pod.process.send_signal(signal.SIGCONT)
    everything, odd = audience.clients[:2]
    await until(lambda: (everything.data[-1:], odd.data[-1:]) == (["305"], ["305"]), "the last number")
    assert odd.data == [str(number) for number in range(1, 306, 2)]
    large = [text for text in everything.data if text.startswith("x")]
    assert [int(text[1:9]) for text in large] == list(range(2000))
    await healthy(pod)
    assert not any(client.gaps or client.ended for client in audience.clients)
    await filling.close()


async def test_a_pod_that_stood_still_in_core_mode_tells_a_gap(nats_server: EmbeddedNats, make_pod: MakePod) -> None:
    """NATS drops a reader that takes nothing; what it was not sent is gone, and everybody is told."""
    pod = await make_pod(nats_server.url, stream="").start()
    assert pod.process is not None
    client = await Client.open(pod.port)
    nats = await connect(nats_server.url)
    await nats.publish("events.x", b"first")
    await client.has(1)
    pod.process.send_signal(signal.SIGSTOP)
    await flood(nats, "events.large", 2000)
    pod.process.send_signal(signal.SIGCONT)
    await until(lambda: bool(client.gaps), "the gap")
    await healthy(pod)
    await nats.publish("events.x", b"last")
    await until(lambda: client.data[-1] == "last", "what comes after")
    large = [int(text[1:9]) for text in client.data if text.startswith("x")]
    assert large == sorted(set(large))
    assert len(large) < 2000, "NATS kept it all: the test shows nothing"
    assert {gap["reason"] for gap in client.gaps} == {"disconnected"}
    await nats.close()


async def test_an_overflowing_queue_of_a_real_pod_is_repaired_from_the_stream(
    small_pod: Callable[..., SmallPod], publisher: Publisher
) -> None:
    """nats-py drops what its queue does not hold: the pod notices, and fetches it again."""
    pod = await small_pod().start()
    audience = await Audience.open(pod)
    await publisher.publish(5)
    bulk = [publisher.client.publish("events.bulk", str(number).encode()) for number in range(5000)]
    for each in bulk:
        await each
    await publisher.publish(5)
    everything = audience.clients[0]
    await until(lambda: everything.data[-1:] == ["10"], "the last event")
    assert everything.data == [*map(str, range(1, 6)), *map(str, range(5000)), *map(str, range(6, 11))]
    assert pod.metric('ssecast_source_restarts_total{reason="overflow"}') >= 1
    assert not any(client.gaps or client.ended for client in audience.clients)
    await healthy(pod)


async def test_an_overflowing_queue_of_a_real_pod_in_core_mode_is_a_gap(
    small_pod: Callable[..., SmallPod], nats_server: EmbeddedNats
) -> None:
    """There is nowhere to fetch it from; between two gaps nothing is missing."""
    pod = await small_pod(stream="").start()
    client = await Client.open(pod.port)
    nats = await connect(nats_server.url)
    for number in range(5000):
        await nats.publish("events.x", str(number).encode())
    await until(lambda: bool(client.gaps), "the gap")
    await healthy(pod)
    await nats.publish("events.x", b"5000")
    await until(lambda: client.data[-1:] == ["5000"], "the last event")
    assert {gap["reason"] for gap in client.gaps} == {"overflow"}
    numbers: list[int] = []
    for event in client.events:
        if event.name == "gap":
            numbers.append(-1)
        elif event.name != "position":
            assert not numbers or numbers[-1] in (-1, int(event.data) - 1), "events are missing, and nobody said so"
            numbers.append(int(event.data))
    await nats.close()


def gaps_of(client: Client, count: int) -> bool:
    return len(client.gaps) >= count


async def test_core_nats_over_a_bad_connection_tells_a_gap_each_time(
    wire: Wire, make_pod: MakePod, nats_server: EmbeddedNats
) -> None:
    """Cut, silent, refused: in order, nothing twice, and what is missing is said."""
    pod = await make_pod(wire.url, stream="").start()
    client = await Client.open(pod.port)
    nats = await connect(nats_server.url)
    for number, fault in enumerate((wire.cut, wire.swallow, wire.cut)):
        await nats.publish("events.x", str(number).encode())
        await client.has(number + 1)
        fault()
        await until(partial(gaps_of, client, number + 1), "the gap")
        await healthy(pod)
    await nats.publish("events.x", b"3")
    assert await client.has(4) == ["0", "1", "2", "3"]
    assert [gap["reason"] for gap in client.gaps] == ["disconnected"] * 3
    assert not client.ended
    await nats.close()


async def test_each_change_of_state_is_one_line_in_the_log(wire: Wire, make_pod: MakePod) -> None:
    """Broken, cannot be reached, fine again: however long it lasts, and however often it is tried."""
    pod = await make_pod(wire.url).start()
    await healthy(pod)
    wire.refuses = True
    wire.cut()
    await troubled(pod, "cannot be reached")
    await asyncio.sleep(4)  # several further attempts
    wire.refuses = False
    await healthy(pod)
    broke, unreachable = troubles(pod)
    assert broke.startswith(f"the connection to NATS at 127.0.0.1:{wire.port} broke: ")
    assert unreachable.startswith(f"NATS at 127.0.0.1:{wire.port} cannot be reached: ")
    fine = [line for line in log_lines(pod) if line["event"] == "following NATS"]
    assert len(fine) == 2
    assert fine[1]["after_seconds"] >= 4
