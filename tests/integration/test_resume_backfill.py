"""Resumes that memory cannot answer, against a real nats-server: shared backfills, and the gaps that are left."""

import asyncio
import json
from collections.abc import Callable

import pytest
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg

from ssecast.dev import EmbeddedNats
from ssecast.resume import ResumeOptions
from tests.harness import until
from tests.integration.test_source import Rig, Stream, config_of, numbers, publish, relay_to, send

Made = Callable[[], list[dict[str, object]]]


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
