"""Readers that stall: nobody waits for them, what waits for them is bounded, and they learn what they missed."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import uvloop
from nats.aio.client import Client as Nats

from ssecast.channel import Want
from ssecast.dev import EmbeddedNats
from ssecast.frame import Event
from ssecast.hub import Hub, HubOptions
from ssecast.log import EventLog
from ssecast.pump import Pump
from ssecast.sockets import Flusher, bind, bound_streams
from ssecast.stream import Connection
from tests.harness import Client, Pod, Relay, until
from tests.peers import BEGUN, STREAM, Peer, unsent_bytes

MakePod = Callable[..., Pod]
BUFFER = 64 * 1024
PAYLOAD = b"x" * 10_000
MIB = 2**20


async def stalled(pod: Pod, count: int) -> list[Peer]:
    """Streams whose clients have read the first block, and read no more."""
    peers = [await Peer.connect(pod.port, receive_buffer=4096) for _ in range(count)]
    for peer in peers:
        await peer.send(STREAM)
        assert await peer.read(BEGUN)
    return peers


@pytest.mark.parametrize("slow_client", ["disconnect", "skip"])
async def test_nobody_waits_for_stalled_readers_and_what_waits_for_them_is_bounded(
    nats_server: EmbeddedNats, make_pod: MakePod, publisher: Nats, slow_client: str
) -> None:
    """A hundred of them, and a log that could not hold what they have missed by far."""
    pod = await make_pod(
        nats_server.url, slow_client=slow_client, client_buffer_bytes=BUFFER, log_max_bytes=2 * MIB
    ).start()
    fast = await Client.open(pod.port)
    await until(lambda: bool(fast.last_id), "the first block")
    peers = await stalled(pod, 100)
    sizes: list[int] = []
    most_unsent = 0
    for number in range(1000):  # 10 MB to each of them
        await publisher.publish("events.x", b"%d " % number + PAYLOAD)
        if number % 100 == 99:
            await fast.has(number + 1)
            sizes.append(pod.resident_bytes)
            unsent = unsent_bytes(pod.port)
            most_unsent = max(most_unsent, *[unsent.get(peer.port, 0) for peer in peers])
    assert [text.split()[0] for text in fast.data] == [str(number) for number in range(1000)]
    assert not fast.gaps
    assert 0 < most_unsent <= BUFFER, "in the kernel"
    # After two hundred events the log and every buffer are full.
    assert max(sizes) - sizes[1] < 20 * MIB, f"in the pod: {sizes}"
    closed = pod.load["closed_total"]
    if slow_client == "disconnect":
        assert closed["slow"] == 100
    else:
        assert not sum(closed.values())
        assert pod.load["streams"] == 101


async def test_with_skip_a_reader_that_wakes_up_is_told_what_it_missed_and_goes_on_live(
    nats_server: EmbeddedNats, make_pod: MakePod, publisher: Nats
) -> None:
    pod = await make_pod(
        nats_server.url, slow_client="skip", client_buffer_bytes=8192, log_max_bytes=100_000, stall_seconds=1
    ).start()
    fast, slow = await Client.open(pod.port), await Client.open(pod.port, receive_buffer=4096)
    await until(lambda: bool(slow.last_id), "the first block")
    slow.pause()
    for number in range(100):
        await publisher.publish("events.x", b"%d " % number + PAYLOAD)
        await fast.has(number + 1)
    slow.go_on()
    await until(lambda: bool(slow.gaps), "the gap")
    before = len(slow.data)
    await publisher.publish("events.x", b"live")
    await until(lambda: slow.data[-1:] == ["live"], "live events")
    [gap] = slow.gaps
    assert gap["reason"] == "slow"
    assert gap["requested"].endswith(f"-{before}"), "after the last event that it has read"
    assert gap["next"].endswith("-100")
    assert slow.last_id == fast.last_id
    assert not slow.ended
    assert pod.metric('ssecast_gaps_total{reason="slow"}') == 1


async def test_who_reads_nothing_for_the_stall_time_is_closed_and_resumes_by_its_id(
    nats_server: EmbeddedNats, make_pod: MakePod, publisher: Nats
) -> None:
    """Though the log holds all that it has missed; and nobody else waits for it."""
    pod = await make_pod(nats_server.url, stall_seconds=1, client_buffer_bytes=8192, heartbeat_seconds=60).start()
    fast, paused = await Client.open(pod.port), await Client.open(pod.port, receive_buffer=4096)
    await until(lambda: bool(paused.last_id), "the first block")
    paused.pause()
    for number in range(100):
        await publisher.publish("events.x", b"%d " % number + PAYLOAD)
    sent = await fast.has(100)
    await until(lambda: pod.load["closed_total"]["stalled"] == 1, "its end")
    assert {reason: count for reason, count in pod.load["closed_total"].items() if count} == {"stalled": 1}
    assert not fast.ended
    paused.go_on()  # to what has come as far as its own sockets
    await until(lambda: paused.ended, "the end")
    assert len(paused.data) < 100
    assert not paused.complete, "no farewell fits into a socket that is full"
    again = await Client.open(pod.port, last_event_id=paused.last_id)
    assert paused.data + await again.has(100 - len(paused.data)) == sent
    assert not again.gaps
    assert pod.metric('ssecast_resumes_total{result="memory"}') == 1


def told(client: Client, breaks: int) -> bool:
    return len(client.gaps) == breaks


async def test_who_reads_nothing_through_several_breaks_is_told_one_gap_when_it_reads_again(
    nats_server: EmbeddedNats, make_pod: MakePod, publisher: Nats
) -> None:
    """From the last event that it was sent to where the last break has led; everybody else was told each of them."""
    relay = await Relay(nats_server.port).start()
    pod = await make_pod(
        f"nats://127.0.0.1:{relay.port}", stream="", client_buffer_bytes=8192, heartbeat_seconds=60, stall_seconds=60
    ).start()
    fast, paused = await Client.open(pod.port), await Client.open(pod.port, receive_buffer=4096)
    await until(lambda: bool(paused.last_id), "the first block")
    paused.pause()
    for number in range(60):
        await publisher.publish("events.x", b"%d " % number + PAYLOAD)
    sent = await fast.has(60)
    for breaks in (1, 2, 3):
        relay.cut()
        await until(partial(told, fast, breaks), "the break")
        await until(lambda: pod.admin("GET", "/readyz") == (200, {"ready": True}), "the pod to follow NATS again")
        await publisher.publish("events.x", b"after break %d" % breaks)
        await fast.has(60 + breaks)
    paused.go_on()
    await until(lambda: paused.data[-1:] == ["after break 3"], "the newest event")
    [gap] = paused.gaps
    read = len(paused.data) - 1
    assert 0 < read < 60
    assert paused.data[:-1] == sent[:read]
    assert gap["requested"] == paused.events[read].id, "after the last event that it has read"
    assert (gap["reason"], gap["next"]) == ("disconnected", fast.gaps[-1]["next"])
    assert not paused.ended
    assert pod.metric('ssecast_breaks_total{reason="disconnected"}') == 3
    await relay.stop()


class Server:
    """A hub whose streams are Connections on real sockets in this process, so that user space can be looked into."""

    def __init__(self, options: HubOptions, log: EventLog) -> None:
        self.loop = asyncio.get_running_loop()
        self.pump = Pump(self.loop)
        self.flusher = Flusher(1)
        self.hub = Hub(log, self.flusher.write_many, self.pump.wake, lambda _: 1000, options)
        self.connections: list[Connection] = []

    async def start(self) -> int:
        [sock] = bind("127.0.0.1", 0, 100)
        bound_streams(sock, self.hub.options.batch_bytes)
        self.pump.start(self.hub)
        self._server = await self.loop.create_server(lambda: Opener(self), sock=sock)
        port: int = sock.getsockname()[1]
        return port

    def stop(self) -> None:
        self.pump.stop()
        self._server.close()
        for connection in self.connections:
            connection.abort()
        self.flusher.close()

    @property
    def most_waiting(self) -> int:
        """Bytes in user space for the one who has most."""
        return max(each.transport.get_write_buffer_size() for each in self.connections)


class Opener(asyncio.Protocol):
    """Opens a stream on every connection, at once."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def connection_made(self, transport: Any) -> None:
        connection = Connection(self.server.hub)
        self.server.connections.append(connection)
        transport.set_protocol(connection)
        connection.adopt(transport, b"head")
        self.server.hub.open(connection, Want((">",)))


def test_in_user_space_there_is_never_more_than_a_batch_or_an_event_and_a_gap() -> None:
    """Through bursts, breaks, heartbeats and single events of any size; shared by all who stall in one broadcast."""

    async def main() -> None:
        options = HubOptions(batch_bytes=BUFFER, heartbeat=0.2, skip_slow=True)
        server = Server(options, EventLog(200, 10 * MIB, "e", 0))
        port = await server.start()
        peers = [await Peer.connect(port, receive_buffer=4096) for _ in range(20)]
        await until(lambda: len(server.connections) == 20, "the streams")
        seq = most = 0
        largest = 0
        for turn in range(300):
            for _ in range(turn % 7):
                seq += 1
                size = 200_000 if seq % 50 == 0 else 9_000
                largest = max(largest, size)
                server.hub.publish(Event("a", seq, b"x" * size))
            if turn % 3 == 0:
                server.hub.interrupt("lost", "e", seq)
            await asyncio.sleep(0)
            most = max(most, server.most_waiting)
        assert server.hub.breaks["lost"] == 100
        assert 0 < most <= max(BUFFER, largest) + 1000
        assert server.hub.streams == 20
        assert len(server.hub.egress.blocked) == 20
        server.stop()
        for peer in peers:
            peer.close()

    uvloop.run(main())
