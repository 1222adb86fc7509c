"""The source against a real nats-server: what it follows, what it repairs, and what it says when it cannot."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import nats
import pytest
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg
from nats.js.api import StreamConfig

from ssecast.channel import Bytes, Subscriber, Want
from ssecast.dev import EmbeddedNats
from ssecast.feed import parse
from ssecast.frame import Position
from ssecast.hub import Hub
from ssecast.jetstream import base36
from ssecast.log import EventLog
from ssecast.pump import Pump
from ssecast.refusals import JetStreamError
from ssecast.resume import ResumeOptions, Resumer
from ssecast.source import Source, SourceOptions
from tests.harness import Relay, until
from tests.sse_parser import EventStreamParser, Message

CONTROL = ("position", "gap")


class Stream(Subscriber):
    """An open stream that keeps what it is sent."""

    __slots__ = ("closed", "messages", "parser")

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[Message] = []
        self.parser = EventStreamParser()
        self.closed = False

    def write(self, data: Bytes) -> None:
        self.messages += self.parser.feed(bytes(data))

    def end(self, farewell: bytes) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    @property
    def data(self) -> list[str]:
        return [message.data for message in self.messages if message.name not in CONTROL]

    @property
    def gaps(self) -> list[dict[str, str]]:
        return [json.loads(message.data) for message in self.messages if message.name == "gap"]

    @property
    def reasons(self) -> list[str]:
        return [gap["reason"] for gap in self.gaps]

    async def has(self, expected: list[str]) -> None:
        """Waits until that many events came, and compares them."""
        await until(lambda: len(self.data) >= len(expected), f"{len(expected)} events")
        assert self.data == expected


class Rig:
    """A pod without HTTP: hub, pump, source and resumer on the test's own loop."""

    def __init__(self, url: str, *, resume: ResumeOptions | None = None, log: int = 10_000, **options: Any) -> None:
        given: dict[str, Any] = {"subjects": ("events.>",), "stream": "ssecast", "warm_events": log} | options
        self.pump = Pump(asyncio.get_running_loop())
        self.hub = Hub(EventLog(log, 2**26), lambda fds, wire: [], self.pump.wake, lambda _: 1000)
        self.source = Source(self.hub, SourceOptions(url, **given), time.time_ns)
        self.resumer = Resumer(self.hub, self.source, resume or ResumeOptions(100_000, 2**26))
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self.pump.start(self.hub)
        self._tasks = [asyncio.create_task(self.source.run()), asyncio.create_task(self.resumer.run())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        for result in await asyncio.gather(*self._tasks, return_exceptions=True):
            assert isinstance(result, asyncio.CancelledError), result
        self.pump.stop()

    async def ready(self) -> Self:
        await until(lambda: self.source.ready, "ready")
        return self

    async def well(self) -> None:
        """Events come a moment before the source says that nothing is wrong any more."""
        await until(lambda: self.source.problem == "", f"an end of: {self.source.problem}")

    def open(self, requested: str | None = None, subjects: tuple[str, ...] = ("events.>",)) -> Stream:
        stream = Stream()
        position = self.hub.open(stream, Want(subjects, chunk=False), requested)
        if position is not None:
            self.resumer.lookup(stream, position)
        return stream

    def at(self, seq: int) -> str:
        """A position in the stream as it is now."""
        return str(Position(self.hub.log.epoch, seq))

    async def reaches(self, seq: int) -> None:
        await until(lambda: self.hub.log.head >= seq, f"the head to reach {seq}, it is {self.hub.log.head}")


def numbers(first: int, last: int) -> list[str]:
    return [str(number) for number in range(first, last + 1)]


async def publish(client: Nats, first: int, last: int, subject: str = "events.x", size: int = 0) -> None:
    """Publishes numbers, padded with zeros in front to the size, and waits until they are stored."""
    for number in range(first, last):
        await client.publish(subject, str(number).zfill(size).encode())
    await client.jetstream().publish(subject, str(last).zfill(size).encode())


async def send(client: Nats, first: int, last: int) -> None:
    """The same without a stream that would acknowledge."""
    for number in range(first, last + 1):
        await client.publish("events.x", str(number).encode())
    await client.flush()


async def last_seq(client: Nats, stream: str = "ssecast") -> int:
    return (await client.jetstream().stream_info(stream)).state.last_seq


async def config_of(client: Nats, stream: str = "ssecast") -> StreamConfig:
    return (await client.jetstream().stream_info(stream)).config


@contextlib.asynccontextmanager
async def relay_to(server: EmbeddedNats) -> AsyncIterator[Relay]:
    relay = await Relay(server.port).start()
    try:
        yield relay
    finally:
        await relay.stop()


async def test_the_stream_is_created_with_its_limits_and_events_are_live(
    nats_server: EmbeddedNats, publisher: Nats
) -> None:
    """A missing stream is created as the options say, and what is published arrives once, in order, with its name."""
    options: dict[str, Any] = {"max_age_seconds": 30.0, "max_bytes": 2**20, "storage": "memory"}
    async with Rig(nats_server.url, **options) as rig:
        await rig.ready()
        stream = rig.open()
        await publish(publisher, 1, 100)
        await publisher.publish("events.x", b"101", headers={"Ssecast-Event": "price"})
        await stream.has(numbers(1, 101))
        assert stream.messages[-1].name == "price"
        assert stream.messages[-1].id == rig.at(101)
        config = await config_of(publisher)
    assert (config.max_age, config.max_bytes, config.storage) == (30, 2**20, "memory")
    assert not rig.source.restarts


async def test_two_pods_that_create_the_stream_at_once_both_get_ready(nats_server: EmbeddedNats) -> None:
    """A lost creation race means that the stream exists, and both pods name it by the same epoch."""
    async with Rig(nats_server.url) as one, Rig(nats_server.url, max_age_seconds=99.0) as other:
        await one.ready()
        await other.ready()
        assert one.hub.log.epoch == other.hub.log.epoch


async def test_a_stream_that_exists_is_not_changed(nats_server: EmbeddedNats, publisher: Nats) -> None:
    """A wider stream with other limits serves as it is."""
    await publisher.jetstream().add_stream(name="ssecast", subjects=["events.>", "other"], max_msgs=7)
    async with Rig(nats_server.url) as rig:
        await rig.ready()
        config = await config_of(publisher)
        assert (config.subjects, config.max_msgs) == (["events.>", "other"], 7)


async def test_the_log_is_warmed_before_the_pod_is_ready(nats_server: EmbeddedNats, publisher: Nats) -> None:
    """What the stream's tail holds, as much as the log may, is in memory when the pod becomes ready."""
    await publisher.jetstream().add_stream(name="ssecast", subjects=["events.>"])
    await publish(publisher, 1, 5000)
    async with Rig(nats_server.url, log=1000) as rig:
        await rig.ready()
        assert (rig.hub.log.floor, rig.hub.log.head, len(rig.hub.log)) == (4000, 5000, 1000)
        stream = rig.open(rig.at(4990))
        await stream.has(numbers(4991, 5000))
        assert rig.hub.resumes["memory"] == 1


async def test_the_warm_tail_is_bounded_by_bytes_too(nats_server: EmbeddedNats, publisher: Nats) -> None:
    """Large events shorten the tail that is fetched: what the log could not keep is not read."""
    await publisher.jetstream().add_stream(name="ssecast", subjects=["events.>"])
    await publish(publisher, 1, 100, size=10_000)
    async with Rig(nats_server.url, warm_bytes=100_000) as rig:
        await rig.ready()
        assert 1 <= rig.hub.events <= 10
        assert rig.hub.log.head == 100


@pytest.mark.parametrize(
    ("stream", "words"),
    [
        ({"name": "theirs", "subjects": ["events.x.>"]}, ["theirs", "SSECAST_SUBJECTS", "events.>"]),
        ({"name": "ssecast", "subjects": ["a.>"]}, ["nats stream edit ssecast --subjects='a.>,events.>'"]),
        ({"name": "ssecast", "subjects": ["events.>"], "retention": "workqueue"}, ["workqueue", "SSECAST_STREAM"]),
    ],
    ids=["overlap", "coverage", "retention"],
)
async def test_a_stream_that_cannot_serve_is_named_and_mended_while_the_pod_runs(
    nats_server: EmbeddedNats, publisher: Nats, stream: dict[str, Any], words: list[str]
) -> None:
    """The problem says what would mend it, and the pod becomes ready without a restart once that was done."""
    await publisher.jetstream().add_stream(**stream)
    async with Rig(nats_server.url) as rig:
        await until(lambda: all(word in rig.source.problem for word in words), "the problem in words")
        assert not rig.source.ready
        await publisher.jetstream().delete_stream(stream["name"])
        await rig.ready()
        await rig.well()


async def test_without_jetstream_the_setting_is_named() -> None:
    """A server without JetStream is told apart from one that is away."""
    with EmbeddedNats(jetstream=False) as server:
        async with Rig(server.url) as rig:
            await until(lambda: "SSECAST_STREAM" in rig.source.problem, "the setting")


async def test_a_wrong_password_is_said_without_saying_the_password(nats_server: EmbeddedNats) -> None:
    """A refused login is retried for ever, and no problem or log line holds what stands before the @."""
    with EmbeddedNats(config="authorization { user: u, password: right }") as server:
        async with Rig(f"nats://u:wrong@127.0.0.1:{server.port}") as rig:
            await until(lambda: "Authorization" in rig.source.problem, "the refusal")
            assert "wrong" not in rig.source.problem
        async with Rig(f"nats://127.0.0.1:1,nats://u:right@127.0.0.1:{server.port}") as rig:
            await rig.ready()


async def test_a_mirror_serves_though_it_lists_no_subjects(nats_server: EmbeddedNats, publisher: Nats) -> None:
    """Mirrors skip the coverage check; their positions are their own."""
    jetstream = publisher.jetstream()
    await jetstream.add_stream(name="origin", subjects=["events.>"])
    await jetstream.add_stream(name="ssecast", mirror=nats.js.api.StreamSource(name="origin"))
    async with Rig(nats_server.url) as rig:
        await rig.ready()
        stream = rig.open()
        await publish(publisher, 1, 3)
        await stream.has(numbers(1, 3))


async def test_a_purge_between_two_lives_is_no_break(nats_server: EmbeddedNats, publisher: Nats) -> None:
    """What a pod has seen may be purged: head + 1 is the first sequence of the empty stream."""
    async with relay_to(nats_server) as relay, Rig(f"nats://127.0.0.1:{relay.port}") as rig:
        await rig.ready()
        stream = rig.open()
        await publish(publisher, 1, 5)
        await stream.has(numbers(1, 5))
        await publisher.jetstream().purge_stream("ssecast")
        relay.cut()
        await until(lambda: rig.source.restarts["disconnected"] == 1, "the restart")
        await publish(publisher, 6, 7)
        await stream.has(numbers(1, 7))
        assert not stream.gaps
        assert not rig.hub.breaks


async def test_a_recreated_stream_is_a_break_of_epoch(nats_server: EmbeddedNats, publisher: Nats) -> None:
    """The new stream goes by another epoch; every live stream gets one gap and then the new stream's events."""
    async with Rig(nats_server.url) as rig:
        await rig.ready()
        stream = rig.open()
        await publish(publisher, 1, 3)
        await stream.has(numbers(1, 3))
        old, config = rig.hub.log.epoch, await config_of(publisher)
        await publisher.jetstream().delete_stream("ssecast")
        await publisher.jetstream().add_stream(config)
        await publish(publisher, 4, 5)
        await stream.has(numbers(1, 5))
        assert stream.reasons == ["epoch"]
        assert rig.hub.breaks == {"epoch": 1}
        assert rig.hub.log.epoch != old


async def test_a_stream_that_lost_its_tail_is_a_break(nats_server: EmbeddedNats, publisher: Nats) -> None:
    """A last sequence below the log's head is a rewind: a gap, then what the stream holds from there on."""
    async with Rig(nats_server.url) as rig:
        await rig.ready()
        stream = rig.open()
        await publish(publisher, 1, 3)
        await stream.has(numbers(1, 3))
        rig.hub.advance(10)  # as if this pod had seen more than the stream has now
        await until(lambda: bool(stream.gaps), "the gap")
        assert stream.reasons == ["rewound"]
        assert rig.hub.log.position == Position(rig.hub.log.epoch, 3)
        await publish(publisher, 4, 4)
        await stream.has(numbers(1, 4))


async def test_what_expired_while_the_pod_was_cut_off_is_a_break(nats_server: EmbeddedNats, publisher: Nats) -> None:
    """Events that the stream dropped before this pod saw them are said to be missing, the others come."""
    await publisher.jetstream().add_stream(name="ssecast", subjects=["events.>"], max_msgs=5)
    async with relay_to(nats_server) as relay, Rig(f"nats://127.0.0.1:{relay.port}") as rig:
        await rig.ready()
        stream = rig.open()
        await publish(publisher, 1, 2)
        await stream.has(numbers(1, 2))
        relay.pause()
        await publish(publisher, 3, 20)
        relay.cut()
        relay.resume()
        await until(lambda: bool(stream.gaps), "the gap")
        await until(lambda: stream.data[-1:] == ["20"], "the last event")
        seen = [int(text) for text in stream.data]
        lost = set(range(1, 21)) - set(seen)
        assert seen == sorted(set(seen))
        assert lost, "the relay let nothing through while it stood still, and the stream keeps five"
        assert set(stream.reasons) == {"expired"}


async def test_limits_that_overtake_a_lagging_consumer_are_a_break(nats_server: EmbeddedNats, publisher: Nats) -> None:
    """A consumer passes over what the limits removed without a word; the jump is looked into and said."""
    await publisher.jetstream().add_stream(name="ssecast", subjects=["events.>"], max_msgs=200)
    async with Rig(nats_server.url) as rig:
        await rig.ready()
        stream = rig.open()
        total = 40_000
        await publish(publisher, 1, total)
        await until(lambda: stream.data[-1:] == [str(total)], "the last event")
        seen = [int(text) for text in stream.data]
        holes = sum(1 for one, other in zip([0, *seen], seen, strict=False) if other != one + 1)
        assert seen == sorted(set(seen))
        assert rig.hub.breaks["expired"] >= holes
        assert set(stream.reasons) <= {"expired"}
        assert len(stream.gaps) >= holes


async def test_a_restart_of_nats_under_load_loses_and_doubles_nothing(
    nats_server: EmbeddedNats, publisher: Nats
) -> None:
    """Every acknowledged event arrives once, and nobody hears of a gap."""
    async with Rig(nats_server.url) as rig:
        await rig.ready()
        stream, other = rig.open(), rig.open(subjects=("events.none",))
        stored: list[str] = []
        for number in range(1, 301):
            if number in (100, 200):
                await asyncio.to_thread(nats_server.restart)
            text = str(number)
            while text not in stored:
                with contextlib.suppress(nats.errors.Error, TimeoutError):
                    await publisher.jetstream().publish("events.x", text.encode(), headers={"Nats-Msg-Id": text})
                    stored.append(text)
        await stream.has(stored)
        assert not stream.gaps
        assert not other.gaps
        assert not rig.hub.breaks
        assert rig.source.restarts["disconnected"] == 2
        await rig.well()


async def test_a_server_that_lost_its_data_is_a_break_and_gets_its_stream_again(
    nats_server: EmbeddedNats, publisher: Nats
) -> None:
    """An emptied server gets a new stream, whose epoch differs."""
    async with Rig(nats_server.url) as rig:
        await rig.ready()
        stream = rig.open()
        await publish(publisher, 1, 2)
        await stream.has(numbers(1, 2))
        await asyncio.to_thread(lambda: nats_server.restart(keep_data=False))
        await until(lambda: bool(stream.gaps), "the gap")
        await until(lambda: publisher.is_connected, "the publisher to be back")
        await publish(publisher, 3, 4)
        await stream.has(numbers(1, 4))
        assert stream.reasons == ["epoch"]


async def test_an_overflow_of_the_clients_queue_is_repaired(nats_server: EmbeddedNats, publisher: Nats) -> None:
    """nats-py drops messages when its queue is full: the consumer is made anew after the log's head, nothing is lost."""
    async with Rig(nats_server.url, pending_msgs=50) as rig:
        await rig.ready()
        stream = rig.open()
        await publish(publisher, 1, 3000)
        await stream.has(numbers(1, 3000))
        assert rig.source.restarts["overflow"] >= 1
        assert not stream.gaps


async def test_a_consumer_that_is_gone_is_noticed_and_replaced(nats_server: EmbeddedNats, publisher: Nats) -> None:
    """Silence for three heartbeats is trouble; what was published meanwhile comes with the next consumer."""
    async with Rig(nats_server.url) as rig:
        await rig.ready()
        stream = rig.open()
        jetstream = publisher.jetstream()
        for consumer in await jetstream.consumers_info("ssecast"):
            await jetstream.delete_consumer("ssecast", consumer.name)
        await publish(publisher, 1, 5)
        await stream.has(numbers(1, 5))
        assert rig.source.restarts == {"heartbeat": 1}
        assert not stream.gaps


async def test_a_connection_that_stands_still_is_found_dead(nats_server: EmbeddedNats, publisher: Nats) -> None:
    """A peer that vanished without a word is replaced in seconds, not in the minutes that TCP would take."""
    async with relay_to(nats_server) as relay, Rig(f"nats://127.0.0.1:{relay.port}") as rig:
        await rig.ready()
        stream = rig.open()
        relay.pause()
        await publish(publisher, 1, 5)
        await until(lambda: bool(rig.source.problem), "the problem")
        relay.cut()
        relay.resume()
        await stream.has(numbers(1, 5))
        await rig.well()
        assert not stream.gaps


async def test_the_head_of_a_narrow_pod_follows_a_wide_stream(nats_server: EmbeddedNats, publisher: Nats) -> None:
    """Others' events move the head too, so that an idle pod does not fall behind the stream's first sequence."""
    await publisher.jetstream().add_stream(name="ssecast", subjects=["events.>", "other.>"], max_msgs=10)
    async with relay_to(nats_server) as relay, Rig(f"nats://127.0.0.1:{relay.port}") as rig:
        await rig.ready()
        stream = rig.open()
        await publish(publisher, 1, 3)
        await publish(publisher, 1, 100, "other.x")
        await rig.reaches(103)
        relay.cut()
        await until(lambda: rig.source.restarts["disconnected"] == 1, "the restart")
        await publish(publisher, 4, 4)
        await stream.has(numbers(1, 4))
        assert not rig.hub.breaks


async def test_events_that_cannot_be_broadcast_are_counted_and_passed_over(
    nats_server: EmbeddedNats, publisher: Nats
) -> None:
    """Too large, not UTF-8 or under a reserved name: dropped with their reason, and the head moves on."""
    async with Rig(nats_server.url, max_payload_bytes=10) as rig:
        await rig.ready()
        stream = rig.open()
        await publisher.publish("events.x", b"x" * 11)
        await publisher.publish("events.x", b"\xff")
        await publisher.publish("events.x", b"forged", headers={"Ssecast-Event": "gap"})
        await publisher.publish("events.x", b"fine")
        await stream.has(["fine"])
        assert rig.hub.dropped == {"too_large": 1, "not_utf8": 1, "reserved_name": 1}
        assert rig.hub.log.head == 4


async def test_a_publisher_cannot_forge_a_control_message(nats_server: EmbeddedNats, publisher: Nats) -> None:
    """A stored message with the header of a status is an event like any other, not a heartbeat with a false count."""
    async with Rig(nats_server.url) as rig:
        await rig.ready()
        stream = rig.open()
        await publisher.publish("events.x", b"", headers={"Status": "100", "Nats-Last-Consumer": "77"})
        await publish(publisher, 2, 2)
        await stream.has(["", "2"])
        assert not rig.source.restarts


async def test_lag_is_told_while_there_is_any(nats_server: EmbeddedNats, publisher: Nats) -> None:
    """A pod that has caught up has no lag, however old the last event is; the tracer is told every event."""
    told: list[tuple[str, Any]] = []
    async with Rig(nats_server.url) as rig:
        rig.source.trace = lambda subject, headers: told.append((subject, headers))
        await rig.ready()
        await publisher.publish("events.x", b"1", headers={"traceparent": "00-a-b-01"})
        await rig.reaches(1)
        assert (rig.source.lag_events, rig.source.lag_seconds) == (0, 0.0)
        rig.source._intake.lag_events = 5  # as while a consumer delivers a backlog
        await until(lambda: rig.source.lag_seconds > 0.05, "the age of the last event")
    assert told == [("events.x", {"traceparent": "00-a-b-01"})]


async def test_publishing_returns_the_position_and_knows_duplicates(nats_server: EmbeddedNats) -> None:
    """The acknowledgement's sequence is the event's; the same message id again is the same event."""
    async with Rig(nats_server.url) as rig:
        await rig.ready()
        first = Position(rig.hub.log.epoch, 1)
        assert await rig.source.publish("events.x", b"1", "price", "key") == (first, False)
        assert await rig.source.publish("events.x", b"1", "price", "key") == (first, True)
        with pytest.raises(JetStreamError, match="no stream stores"):
            await rig.source.publish("elsewhere", b"1")
        await asyncio.to_thread(nats_server.stop)
        await until(lambda: bool(rig.source.problem), "the connection to break")
        with pytest.raises(JetStreamError, match="not connected"):
            await rig.source.publish("events.x", b"2")


async def test_no_position_is_given_for_an_event_of_a_stream_that_was_rewound(
    nats_server: EmbeddedNats, publisher: Nats
) -> None:
    """Its number is one that the log knows as another event's; the doubt makes the source look, and then there is one."""
    async with Rig(nats_server.url) as rig:
        await rig.ready()
        stream = rig.open()
        await publish(publisher, 1, 3)
        await stream.has(numbers(1, 3))
        rig.hub.advance(10)  # as if this pod had seen more than the stream has now
        with pytest.raises(JetStreamError, match="made anew or rewound"):
            await rig.source.publish("events.x", b"4")
        await stream.has(numbers(1, 4))
        assert stream.reasons == ["rewound"]
        assert await rig.source.publish("events.x", b"5") == (Position(rig.hub.log.epoch, 5), False)


async def test_core_mode_breaks_when_the_connection_does(nats_server: EmbeddedNats, publisher: Nats) -> None:
    """Core NATS keeps nothing: a broken connection is a gap, and the pod's own sequence goes on."""
    async with relay_to(nats_server) as relay, Rig(f"nats://127.0.0.1:{relay.port}", stream="") as rig:
        await rig.ready()
        stream = rig.open()
        await send(publisher, 1, 2)
        await stream.has(numbers(1, 2))
        relay.cut()
        await until(lambda: bool(stream.gaps), "the gap")
        await rig.well()
        await send(publisher, 3, 3)
        await stream.has(numbers(1, 3))
        assert stream.reasons == ["disconnected"]
        assert rig.hub.breaks == {"disconnected": 1}
        assert stream.messages[-1].id == rig.at(4)


async def test_core_mode_breaks_on_overflow(nats_server: EmbeddedNats, publisher: Nats) -> None:
    """What nats-py's queue dropped cannot be had again: a gap."""
    async with Rig(nats_server.url, stream="", pending_msgs=5) as rig:
        await rig.ready()
        stream = rig.open()
        await send(publisher, 1, 5000)
        await until(lambda: rig.hub.breaks["overflow"] >= 1, "the break")
        assert set(stream.reasons) == {"overflow"}


async def test_core_mode_publishes(nats_server: EmbeddedNats) -> None:
    """Publishing works without JetStream; nothing is acknowledged and nothing is a duplicate."""
    async with Rig(nats_server.url, stream="") as rig:
        await rig.ready()
        stream = rig.open()
        assert (await rig.source.publish("events.x", b"1", "price"))[1] is False
        await stream.has(["1"])
        assert stream.messages[-1].name == "price"


def test_base36_is_what_int_reads() -> None:
    """Epochs are digits and small letters, and read back as the number they were."""
    assert [base36(number) for number in (0, 35, 36)] == ["0", "z", "10"]
    assert int(base36(1_795_374_906_995_247), 36) == 1_795_374_906_995_247


@pytest.mark.parametrize(
    "reply",
    [
        "$JS.ACK.stream.consumer.1.17.4.1795374906997180205.9",
        "$JS.ACK.hub.account.stream.consumer.1.17.4.1795374906997180205.9",
        "$JS.ACK._.account.stream.consumer.1.17.4.1795374906997180205.9.random",
    ],
    ids=["v1", "v2", "v2-random"],
)
def test_reply_subjects_of_both_versions_are_read(reply: str) -> None:
    """With a domain the numbers stand two tokens further right."""
    msg = Msg(_client=Nats(), subject="events.x", reply=reply, data=b"d")
    delivery = parse(msg)
    assert (delivery.event.seq, delivery.consumer_seq, delivery.pending) == (17, 4, 9)
    assert delivery.event.time_ns == 1795374906997180205
    with pytest.raises(ValueError, match="not the reply subject"):
        parse(replace(msg, reply="_INBOX.x"))
