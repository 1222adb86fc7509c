"""Resumes that memory cannot answer, against a real nats-server: shared backfills, and the gaps that are left."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg

from ssecast.channel import Bytes, Want
from ssecast.dev import EmbeddedNats
from ssecast.feed import Delivery
from ssecast.hub import Hub
from ssecast.log import EventLog
from ssecast.resume import SEGMENTS_MAX, Backfill, ResumeOptions
from tests.harness import until
from tests.integration.test_source import Rig, Stream, config_of, numbers, publish, relay_to, send

Made = Callable[[], list[dict[str, object]]]
LARGE = 5000
"""Bytes of a payload of which a backfill of a hundred is more than one batch."""


class Slow(Stream):
    """A stream whose socket is full as soon as it is given a part of a backfill, until it reads on."""

    __slots__ = ("memory", "reads")

    def __init__(self, memory: EventLog) -> None:
        super().__init__()
        self.memory, self.reads = memory, False

    def write(self, data: Bytes) -> None:
        super().write(data)
        self.blocked = self.log is not self.memory and not self.reads

    def read_on(self, hub: Hub) -> None:
        self.reads, self.blocked = True, False
        hub.unblock(self)


async def held(rig: Rig, seq: int) -> Slow:
    """A slow stream in the middle of a backfill of its own."""
    stream = Slow(rig.hub.log)
    position = rig.hub.open(stream, Want(("events.>",), chunk=False), rig.at(seq))
    assert position is not None
    rig.resumer.lookup(stream, position)
    await until(lambda: stream.blocked, "the first part of the backfill")
    return stream


@pytest.fixture
async def consumers(publisher: Nats) -> Made:
    """What consumers were created so far, by NATS's own account."""
    made: list[dict[str, object]] = []

    async def note(msg: Msg) -> None:
        made.append(json.loads(msg.data))

    await publisher.subscribe("$JS.EVENT.ADVISORY.CONSUMER.CREATED.>", cb=note)
    await publisher.flush()
    return lambda: made


async def filled(rig: Rig, publisher: Nats, count: int, size: int = 0) -> None:
    """Waits until the rig is ready, and publishes so many events to it."""
    await rig.ready()
    await publish(publisher, 1, count, size=size)
    await rig.reaches(count)


async def told(*streams: Stream) -> None:
    """Waits until each stream was told a gap."""
    await until(lambda: all(stream.gaps for stream in streams), "the gaps")


async def test_many_share_one_backfill_and_get_all_of_it(
    nats_server: EmbeddedNats, publisher: Nats, consumers: Made
) -> None:
    """500 resumes from different positions make one consumer; each gets everything after its own, then what is live."""
    async with Rig(nats_server.url, log=100) as rig:
        await filled(rig, publisher, 2000)
        before = len(consumers())
        streams = {seq: rig.open(rig.at(seq)) for seq in range(0, 1000, 2)}
        await publish(publisher, 2001, 2003)
        for seq, stream in streams.items():
            await stream.has(numbers(seq + 1, 2003))
            assert not stream.gaps
        assert len(consumers()) - before == 1
        assert rig.hub.resumes["jetstream"] == 500


async def test_who_comes_a_little_later_gets_the_same_backfill(
    nats_server: EmbeddedNats, publisher: Nats, consumers: Made
) -> None:
    """A dead pod's clients come over several seconds. What it does not hold, or what a break has put in doubt, is fetched."""
    async with Rig(nats_server.url, log=100) as rig:
        await filled(rig, publisher, 2000)
        before = len(consumers())
        for at, subjects, made in (
            (500, "events.>", 1),
            (500, "events.>", 1),
            (900, "events.x", 1),
            (499, "events.>", 2),
            (500, "events.y", 2),
        ):
            stream = rig.open(rig.at(at), (subjects,))
            await stream.has([] if subjects == "events.y" else numbers(at + 1, 2000))
            await until(lambda made=made: len(consumers()) - before >= made, "word of the consumers")  # type: ignore[misc]
            assert len(consumers()) - before == made
        rig.hub.interrupt("expired", rig.hub.log.epoch, 2000)
        stream = rig.open(rig.at(600))
        await stream.has(numbers(601, 2000))
        assert not stream.gaps
        await until(lambda: len(consumers()) - before == 3, "another consumer")


async def test_a_backfill_ends_when_nobody_waits_for_it_any_more(
    nats_server: EmbeddedNats, publisher: Nats, consumers: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or whoever comes and leaves would keep a pod reading all there is."""
    async with Rig(nats_server.url, log=100) as rig:
        await filled(rig, publisher, 5000)
        before = len(consumers())
        jetstream = rig.source.jetstream
        assert jetstream is not None
        create_consumer = jetstream.create_consumer

        async def left_behind(*arguments: Any, **named: Any) -> Any:
            monkeypatch.setattr(jetstream, "create_consumer", create_consumer)
            made = await create_consumer(*arguments, **named)
            rig.hub.lost(leaves)
            return made

        monkeypatch.setattr(jetstream, "create_consumer", left_behind)
        leaves = rig.open(rig.at(5))
        await until(lambda: len(consumers()) - before == 1, "the first consumer")
        stays = rig.open(rig.at(6))
        await stays.has(numbers(7, 5000))
        await until(lambda: len(consumers()) - before == 2, "another one, for the first was not read to its end")


async def test_only_what_memory_lacks_is_fetched(nats_server: EmbeddedNats, publisher: Nats) -> None:
    """A backfill ends within the log: as many events as both may hold together can be had back."""
    async with Rig(nats_server.url, log=1000, resume=ResumeOptions(1000, 2**26)) as rig:
        await filled(rig, publisher, 1500)
        stream = rig.open(rig.at(0))
        await stream.has(numbers(1, 1500))
        assert not stream.gaps


async def test_a_backfill_asks_for_the_subjects_that_are_wanted(
    nats_server: EmbeddedNats, publisher: Nats, consumers: Made
) -> None:
    """The waiting streams' subjects become the filter where they do not overlap, else all that the pod serves."""
    async with Rig(nats_server.url, log=10) as rig:
        await rig.ready()
        for number in range(1, 101):
            await publisher.publish(f"events.{'abcd'[number % 4]}", str(number).encode())
        await publish(publisher, 101, 101)
        await rig.reaches(101)
        a, b = rig.open(rig.at(0), ("events.a",)), rig.open(rig.at(8), ("events.b",))
        await a.has([str(n) for n in range(4, 101, 4)])
        await b.has([str(n) for n in range(9, 101, 4)])
        colliding = [rig.open(rig.at(0), subjects) for subjects in (("events.*",), ("*.a",))]
        await colliding[0].has(numbers(1, 101))
        await colliding[1].has(a.data)


async def test_a_filter_that_matches_nothing_goes_on_at_once(nats_server: EmbeddedNats, publisher: Nats) -> None:
    """A consumer that has nothing to deliver says so in its creation, and only there."""
    async with Rig(nats_server.url, log=10) as rig:
        await filled(rig, publisher, 100)
        stream = rig.open(rig.at(5), ("events.none",))
        await until(lambda: rig.hub.resumes["jetstream"] == 1, "the backfill")
        await publish(publisher, 1, 1, "events.none")
        await stream.has(["1"])
        assert not stream.gaps


async def test_an_expired_position_is_a_gap_and_goes_on_from_the_first_event(
    nats_server: EmbeddedNats, publisher: Nats
) -> None:
    """What the stream still has is given after the gap, though memory holds less; the neighbour loses nothing."""
    await publisher.jetstream().add_stream(name="ssecast", subjects=["events.>"], max_msgs=50)
    async with Rig(nats_server.url, log=10) as rig:
        await filled(rig, publisher, 100)
        expired, neighbour = rig.open(rig.at(49)), rig.open(rig.at(50))
        await expired.has(numbers(51, 100))
        await neighbour.has(numbers(51, 100))
        assert expired.gaps == [
            {"requested": rig.at(49), "oldest": rig.at(50), "next": rig.at(50), "reason": "expired"}
        ]
        assert not neighbour.gaps


async def test_a_position_before_a_purge_is_a_gap_and_the_last_one_is_not(
    nats_server: EmbeddedNats, publisher: Nats
) -> None:
    """An emptied stream's head is its last sequence: nobody who has seen it misses anything."""
    async with Rig(nats_server.url, log=10) as rig:
        await filled(rig, publisher, 100)
        await publisher.jetstream().purge_stream("ssecast")
        behind, level = rig.open(rig.at(5)), rig.open(rig.at(100))
        await told(behind)
        await publish(publisher, 101, 102)
        await behind.has(numbers(101, 102))
        await level.has(numbers(101, 102))
        assert behind.reasons == ["expired"]
        assert not level.gaps


async def test_too_far_behind_is_a_gap_for_those_who_are_and_for_nobody_else(
    nats_server: EmbeddedNats, publisher: Nats, consumers: Made
) -> None:
    """The nearest of those that wait are found with few consumers and served; the others join them after a gap."""
    async with Rig(nats_server.url, log=10, resume=ResumeOptions(100, 2**26)) as rig:
        await filled(rig, publisher, 1000)
        before = len(consumers())
        streams = {seq: rig.open(rig.at(seq)) for seq in range(0, 1000, 50)}
        for seq, stream in streams.items():
            nearest = seq if seq >= 900 else 900
            await stream.has(numbers(nearest + 1, 1000))
            assert stream.reasons == ([] if seq >= 900 else ["too_far"])
        assert len(consumers()) - before <= 8


async def test_too_far_behind_alone_goes_on_from_memory(nats_server: EmbeddedNats, publisher: Nats) -> None:
    """Where nobody near enough waits, memory is what there is."""
    async with Rig(nats_server.url, log=10, resume=ResumeOptions(100, 2**26)) as rig:
        await filled(rig, publisher, 1000)
        stream = rig.open(rig.at(0))
        await stream.has(numbers(991, 1000))
        assert stream.reasons == ["too_far"]
        assert stream.gaps[0]["next"] == rig.at(990)


async def test_too_many_bytes_are_a_gap_for_those_whose_start_did_not_fit(
    nats_server: EmbeddedNats, publisher: Nats
) -> None:
    """The newest events that fit are given to all; who asked for more is told so first."""
    async with Rig(nats_server.url, log=10, resume=ResumeOptions(1000, 50_000)) as rig:
        await filled(rig, publisher, 100, size=1000)
        far, near = rig.open(rig.at(0)), rig.open(rig.at(80))
        await near.has([text.zfill(1000) for text in numbers(81, 100)])
        await told(far)
        await until(lambda: far.data[-1:] == near.data[-1:], "the last event")
        assert far.reasons == ["too_far"]
        assert not near.gaps
        first = int(far.gaps[0]["next"].partition("-")[2])
        assert far.data == [text.zfill(1000) for text in numbers(first + 1, 100)]
        assert 0 < first <= 80


async def test_a_position_ahead_of_the_pod_waits_until_the_pod_passes_it(
    nats_server: EmbeddedNats, publisher: Nats
) -> None:
    """Another pod was faster: nothing is sent twice. What not even the stream has is a gap."""
    async with relay_to(nats_server) as relay, Rig(f"nats://127.0.0.1:{relay.port}", log=10) as rig:
        await filled(rig, publisher, 3)
        relay.pause()
        await publish(publisher, 4, 8)
        ahead, forged = rig.open(rig.at(6)), rig.open(rig.at(99))
        relay.resume()
        await told(forged)
        await ahead.has(numbers(7, 8))
        assert not ahead.gaps
        assert forged.reasons == ["ahead"]
        assert rig.hub.resumes["ahead"] + rig.hub.resumes["memory"] == 1


async def test_what_arrives_during_a_backfill_comes_after_it(nats_server: EmbeddedNats, publisher: Nats) -> None:
    """A small log that is overrun again and again sends the stream round again, until it has caught up; exactly once."""
    async with Rig(nats_server.url, log=20) as rig:
        await filled(rig, publisher, 500)
        flood = asyncio.create_task(publish(publisher, 501, 3000))
        streams = [rig.open(rig.at(seq)) for seq in (0, 100, 450)]
        await flood
        for seq, stream in zip((0, 100, 450), streams, strict=True):
            await stream.has(numbers(seq + 1, 3000))
            assert not stream.gaps
        assert rig.hub.resumes["jetstream"] == 3


async def test_slow_readers_of_earlier_backfills_keep_nobody_waiting(
    nats_server: EmbeddedNats, publisher: Nats
) -> None:
    """However many small backfills are still being read, the next one is made, and theirs go on as they were."""
    async with Rig(nats_server.url, log=10) as rig:
        await filled(rig, publisher, 100, size=LARGE)
        slow = {seq: await held(rig, seq) for seq in range(2 * SEGMENTS_MAX, 0, -1)}  # each needs more than there was
        quick = rig.open(rig.at(0))
        await quick.has([text.zfill(LARGE) for text in numbers(1, 100)])
        for seq, stream in slow.items():
            stream.read_on(rig.hub)
            await stream.has([text.zfill(LARGE) for text in numbers(seq + 1, 100)])


async def test_backfills_that_fill_the_memory_are_taken_from_their_slow_readers(
    nats_server: EmbeddedNats, publisher: Nats
) -> None:
    """Their sockets are full and the log has gone past them: they end as slow, and whoever else comes back is served."""
    async with Rig(nats_server.url, log=10, resume=ResumeOptions(1000, 600_000)) as rig:
        await filled(rig, publisher, 100, size=LARGE)
        slow = {seq: await held(rig, seq) for seq in range(SEGMENTS_MAX, 0, -1)}
        quick = rig.open(rig.at(0))
        await quick.has([text.zfill(LARGE) for text in numbers(1, 100)])
        await until(lambda: rig.hub.closed["slow"] == 1, "one of them to end")
        for seq, stream in slow.items():
            if not stream.closed:
                stream.read_on(rig.hub)
                await stream.has([text.zfill(LARGE) for text in numbers(seq + 1, 100)])


async def test_where_memory_is_short_there_is_one_backfill_at_a_time(
    nats_server: EmbeddedNats, publisher: Nats
) -> None:
    """Those that others read slowly go first, and the next one is made all the same."""
    async with Rig(nats_server.url, log=10) as rig:
        await filled(rig, publisher, 100, size=LARGE)
        for seq in (3, 2, 1):
            await held(rig, seq)
        assert len(rig.resumer._segments) == 3
        rig.resumer.memory.is_short = True
        quick = rig.open(rig.at(0))
        await quick.has([text.zfill(LARGE) for text in numbers(1, 100)])
        assert len(rig.resumer._segments) == 1
        await until(lambda: rig.hub.closed["slow"] == 3, "the slow ones to end")


async def test_while_memory_is_critical_resumes_wait_and_backfills_are_given_back(
    nats_server: EmbeddedNats, publisher: Nats
) -> None:
    """One that is being fetched ends; who waits is told of no gap, and goes on when there is memory again."""
    async with Rig(nats_server.url, log=10) as rig:
        await filled(rig, publisher, 100, size=LARGE)
        await held(rig, 50)
        rig.resumer.memory.is_critical = True
        rig.resumer.give_back()
        assert not rig.resumer._segments
        waiting = rig.open(rig.at(0))
        await until(lambda: rig.resumer._stuck, "the resume to wait")
        rig.resumer.memory.is_critical = False
        await waiting.has([text.zfill(LARGE) for text in numbers(1, 100)])
        assert not waiting.gaps


async def test_a_backfill_ends_where_memory_becomes_critical_and_is_begun_again(
    nats_server: EmbeddedNats, publisher: Nats, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Rig(nats_server.url, log=10) as rig:
        await filled(rig, publisher, 100)
        take, memory = Backfill._take, rig.resumer.memory

        async def take_until_critical(backfill: Backfill, delivery: Delivery) -> None:
            memory.is_critical = delivery.event.seq == 50
            await take(backfill, delivery)

        monkeypatch.setattr(Backfill, "_take", take_until_critical)
        waiting = rig.open(rig.at(0))
        await until(lambda: rig.resumer._stuck, "the resume to wait")
        monkeypatch.undo()
        memory.is_critical = False
        await waiting.has(numbers(1, 100))
        assert not waiting.gaps


async def test_streams_that_wait_for_their_next_backfill_hold_on_to_none(
    nats_server: EmbeddedNats, publisher: Nats
) -> None:
    """Each had read its own to the end when the log had gone past that: together they wait, and are served together."""
    async with Rig(nats_server.url, log=10) as rig:
        await filled(rig, publisher, 100, size=LARGE)
        slow = {seq: await held(rig, seq) for seq in range(SEGMENTS_MAX, 0, -1)}
        await publish(publisher, 101, 200, size=LARGE)
        await rig.reaches(200)
        for stream in slow.values():
            stream.read_on(rig.hub)
        for seq, stream in slow.items():
            await stream.has([text.zfill(LARGE) for text in numbers(seq + 1, 200)])
            assert not stream.gaps


async def test_resumes_wait_while_nats_is_away(nats_server: EmbeddedNats, publisher: Nats) -> None:
    """Streams that need JetStream stay open without it, and go on when it is back; one may leave meanwhile."""
    async with Rig(nats_server.url, log=10) as rig:
        await filled(rig, publisher, 100)
        await asyncio.to_thread(nats_server.stop)
        await until(lambda: bool(rig.source.problem), "the connection to break")
        stays, leaves = rig.open(rig.at(5)), rig.open(rig.at(6))
        await asyncio.sleep(0)  # the resumer has taken them
        rig.hub.lost(leaves)
        await asyncio.to_thread(nats_server.start)
        await stays.has(numbers(6, 100))
        assert not stays.gaps
        assert not leaves.data


async def test_a_backfill_that_breaks_is_begun_again(nats_server: EmbeddedNats, publisher: Nats) -> None:
    """A connection cut in the middle of a backfill costs time, and nothing else."""
    async with relay_to(nats_server) as relay, Rig(f"nats://127.0.0.1:{relay.port}", log=10) as rig:
        await filled(rig, publisher, 2000, size=2000)
        stream = rig.open(rig.at(0))
        await asyncio.sleep(0)
        relay.cut()
        await until(lambda: len(stream.data) == 2000, "all of it")
        assert stream.data == [text.zfill(2000) for text in numbers(1, 2000)]
        assert not stream.gaps


async def test_a_stream_made_anew_while_a_resume_waits_is_a_gap_of_epoch(
    nats_server: EmbeddedNats, publisher: Nats
) -> None:
    """The position is of a stream that is no more: a gap, then what is live."""
    async with Rig(nats_server.url, log=10) as rig:
        await filled(rig, publisher, 100)
        config = await config_of(publisher)
        await publisher.jetstream().delete_stream("ssecast")
        await publisher.jetstream().add_stream(config)
        stream = rig.open(rig.at(5))
        await told(stream)
        await publish(publisher, 1, 2)
        await until(lambda: stream.data[-1:] == ["2"], "what is live")
        assert stream.reasons == ["epoch"]


async def test_a_stream_made_anew_just_before_its_backfill_begins_is_a_gap_of_epoch(
    nats_server: EmbeddedNats, publisher: Nats, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The consumer is one of the new stream, and finds nothing there, or other events: none of it is what was asked for."""
    async with Rig(nats_server.url, log=10) as rig:
        await filled(rig, publisher, 100)
        jetstream = rig.source.jetstream
        assert jetstream is not None
        create_consumer = jetstream.create_consumer

        async def too_late(*arguments: Any, **named: Any) -> Any:
            monkeypatch.setattr(jetstream, "create_consumer", create_consumer)
            config = await config_of(publisher)
            await publisher.jetstream().delete_stream("ssecast")
            await publisher.jetstream().add_stream(config)
            return await create_consumer(*arguments, **named)

        monkeypatch.setattr(jetstream, "create_consumer", too_late)
        stream = rig.open(rig.at(5))
        await told(stream)
        await publish(publisher, 1, 2)
        await until(lambda: stream.data[-1:] == ["2"], "what is live")
        assert stream.reasons == ["epoch"]
        assert stream.data == ["1", "2"]


async def test_a_position_of_a_stream_that_this_pod_has_yet_to_hear_of_waits_until_it_does(
    nats_server: EmbeddedNats, publisher: Nats
) -> None:
    """Another pod was told first that the stream was made anew: no gap back into the old one, and nothing comes twice."""
    async with (
        relay_to(nats_server) as relay,
        Rig(nats_server.url) as first,
        Rig(f"nats://127.0.0.1:{relay.port}") as late,
    ):
        await late.ready()
        await filled(first, publisher, 10)
        await late.reaches(10)
        relay.pause()
        config = await config_of(publisher)
        await publisher.jetstream().delete_stream("ssecast")
        await publisher.jetstream().add_stream(config)
        await publish(publisher, 1, 3)
        await until(lambda: first.hub.breaks["epoch"] == 1 and first.hub.log.head == 3, "the new stream")
        moved = late.open(first.at(2))
        relay.resume()
        await until(lambda: late.hub.log.epoch == first.hub.log.epoch, "word of the new stream")
        await moved.has(["3"])
        assert not moved.gaps


async def test_events_that_cannot_be_broadcast_are_not_in_a_backfill(
    nats_server: EmbeddedNats, publisher: Nats
) -> None:
    """What a live stream did not get, a resumed one does not get either."""
    async with Rig(nats_server.url, log=10) as rig:
        await filled(rig, publisher, 20)
        await publisher.publish("events.x", b"\xff")
        await publish(publisher, 22, 100)
        await rig.reaches(100)
        stream = rig.open(rig.at(18))
        await stream.has(numbers(19, 20) + numbers(22, 100))


async def test_core_mode_answers_at_once(nats_server: EmbeddedNats, publisher: Nats) -> None:
    """Without JetStream there is nothing to ask: a gap from the oldest or to the newest of what memory holds."""
    async with Rig(nats_server.url, log=10, stream="") as rig:
        await rig.ready()
        await send(publisher, 1, 100)
        await rig.reaches(100)
        old, ahead = rig.open(rig.at(5)), rig.open(rig.at(999))
        await send(publisher, 101, 101)
        await old.has(numbers(91, 101))
        await ahead.has(numbers(101, 101))
        assert (old.reasons, ahead.reasons) == (["expired"], ["ahead"])
        elsewhere = rig.open("f-5")
        await send(publisher, 102, 102)
        await elsewhere.has(["102"])
        assert elsewhere.reasons == ["epoch"]
