"""What people do to a stream that pods follow: delete, purge, edit, limit it, or never let it come to be."""

import asyncio
import dataclasses
import signal
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from nats.aio.client import Client as Nats

from ssecast.dev import EmbeddedNats
from tests.harness import Client, Pod, Relay, until
from tests.nats_parts import Audience, Publisher, connect, flood, healthy, troubled, troubles

MakePod = Callable[..., Pod]


@pytest.fixture
async def publisher(nats_server: EmbeddedNats) -> AsyncIterator[Publisher]:
    client = await connect(nats_server.url)
    yield Publisher(client)
    await client.close()


@pytest.fixture
async def relay(nats_server: EmbeddedNats) -> AsyncIterator[Relay]:
    relay = await Relay(nats_server.port).start()
    yield relay
    await relay.stop()


async def audience_of(pod: Pod, publisher: Publisher, count: int = 10) -> Audience:
    """Clients that have seen the first events."""
    audience = await Audience.open(pod)
    await publisher.publish(count)
    await audience.has(range(1, count + 1))
    return audience


async def goes_on(audience: Audience, publisher: Publisher, seen: int, count: int = 10) -> None:
    """What is published from now on comes to everybody, after what they had seen."""
    first = publisher.last + 1
    await publisher.publish(count)
    numbers = [*range(1, seen + 1), *range(first, first + count)]
    await audience.reaches(numbers)
    for _, got, wants in audience.got():
        assert got == [number for number in numbers if wants(number)]


async def unheard(pod: Pod, relay: Relay, publisher: Publisher, count: int) -> None:
    """Publishes events that the pod does not get: nothing passes between it and NATS for now."""
    relay.pause()
    relay.cut()
    await until(lambda: pod.metric("ssecast_source_connected") == 0, "the connection to be gone")
    await publisher.publish(count)


# Deleted, made anew, purged


async def test_a_deleted_stream_is_created_again_and_is_a_gap(
    nats_server: EmbeddedNats, make_pod: MakePod, publisher: Publisher
) -> None:
    """Within seconds, and without anybody's stream being closed."""
    pod = await make_pod(nats_server.url).start()
    audience = await audience_of(pod, publisher)
    await publisher.client.jetstream().delete_stream("ssecast")
    await audience.told("epoch")
    await healthy(pod)
    await goes_on(audience, publisher, seen=10)


async def test_a_stream_made_anew_at_once_is_a_gap(
    nats_server: EmbeddedNats, make_pod: MakePod, publisher: Publisher
) -> None:
    """The numbers begin again at 1: without its epoch a position would mean something else now."""
    pod = await make_pod(nats_server.url).start()
    audience = await audience_of(pod, publisher)
    config = (await publisher.client.jetstream().stream_info("ssecast")).config
    await publisher.client.jetstream().delete_stream("ssecast")
    await publisher.client.jetstream().add_stream(config)
    await publisher.publish(30)  # past the old head, before the pod looks
    await audience.told("epoch")
    await audience.reaches(list(range(1, 41)))
    for _, got, wants in audience.got():
        assert got == [number for number in range(1, 41) if wants(number)]


async def test_a_client_that_knows_of_the_new_stream_before_its_pod_does_is_told_once(
    nats_server: EmbeddedNats, make_pod: MakePod, publisher: Publisher, relay: Relay
) -> None:
    """It got its gap at another pod; here it waits until the pod has seen what happened, and misses nothing."""
    fast = await make_pod(nats_server.url).start()
    slow = await make_pod(f"nats://127.0.0.1:{relay.port}").start()
    audience = await audience_of(fast, publisher)
    relay.pause()
    await publisher.client.jetstream().delete_stream("ssecast")
    await audience.told("epoch")
    await publisher.publish(10)
    await audience.clients[0].has(20)
    known = audience.clients[0].last_id
    late = await Client.open(slow.port, last_event_id=known)
    other = await Client.open(slow.port, last_event_id=audience.clients[0].events[3].id)
    await publisher.publish(10)
    await until(lambda: late.last_id == known, "the first block")
    relay.resume()
    await until(lambda: late.data[-1:] == ["30"], "the last event")
    assert late.data == [str(number) for number in range(21, 31)]
    assert not late.gaps
    await until(lambda: other.data[-1:] == ["30"], "the last event")
    assert [gap["reason"] for gap in other.gaps] == ["epoch"]


async def test_a_position_that_is_given_to_a_publisher_is_that_of_its_event(
    nats_server: EmbeddedNats, make_pod: MakePod, publisher: Publisher
) -> None:
    """Whenever the stream was made anew: before the pod has noticed, the number alone would name another event."""
    pod = await make_pod(nats_server.url, publish="true").start()
    jetstream = publisher.client.jetstream()
    config = (await jetstream.stream_info("ssecast")).config
    doubts = 0
    for turn in range(4):
        await publisher.publish(5)
        await until(lambda: pod.load["position"].endswith("-5"), "the pod at the head")
        await jetstream.delete_stream("ssecast")
        await jetstream.add_stream(config)
        await publisher.publish(3 if turn % 2 else 6)  # short of the old head, or past it
        told = await asyncio.to_thread(publish_until_stored, pod, f"event {turn}".encode())
        doubts += len(told) - 1
        assert all(status == 503 for status, _ in told[:-1])
        reader = await Client.open(
            pod.port, "/events?subject=events.http", last_event_id=before(told[-1][1]["position"])
        )
        assert (await reader.has(1), reader.last_id) == ([f"event {turn}"], told[-1][1]["position"])
        assert not reader.gaps
        await jetstream.delete_stream("ssecast")
        await until(lambda: pod.load["position"].endswith("-0"), "a new stream")
    assert doubts > 0, "the pod was always faster: nothing was tried"


def publish_until_stored(pod: Pod, body: bytes) -> list[tuple[int, Any]]:
    """The answers to an event that is sent again, with its key, until it is stored."""
    told: list[tuple[int, Any]] = []
    while not told or told[-1][0] == 503:
        told.append(pod.request("POST", "/publish/events.http", body, headers={"idempotency-key": body.decode()}))
    assert told[-1][0] == 202
    return told


def before(position: str) -> str:
    epoch, seq = position.split("-")
    return f"{epoch}-{int(seq) - 1}"


@pytest.mark.parametrize(
    ("purge", "gap"),
    [({}, True), ({"subject": "events.odd"}, False), ({"seq": 15}, True), ({"seq": 10}, False)],
    ids=["all", "by subject", "past the head", "up to what was seen"],
)
async def test_a_purge_is_a_gap_exactly_where_the_next_event_is_gone(
    nats_server: EmbeddedNats,
    make_pod: MakePod,
    publisher: Publisher,
    relay: Relay,
    purge: dict[str, Any],
    gap: bool,
) -> None:
    """The pod has seen 9 of 19 events. A purge by subject leaves holes that are not told, as documented."""
    pod = await make_pod(f"nats://127.0.0.1:{relay.port}").start()
    audience = await audience_of(pod, publisher, 9)
    await unheard(pod, relay, publisher, 10)
    await publisher.client.jetstream().purge_stream("ssecast", **purge)
    left = [message for message in range(10, 20) if await exists(publisher.client, message)]
    relay.resume()
    await healthy(pod)
    await publisher.publish(5)
    numbers = [*range(1, 10), *left, *range(20, 25)]
    await audience.reaches(numbers)
    for client, got, wants in audience.got():
        assert got == [number for number in numbers if wants(number)]
        assert [each["reason"] for each in client.gaps] == (["expired"] if gap else [])


async def exists(client: Nats, seq: int) -> bool:
    from nats.js.errors import NotFoundError

    try:
        await client.jetstream().get_msg("ssecast", seq)
    except NotFoundError:
        return False
    return True


async def test_a_purge_under_a_live_pod_is_no_gap(
    nats_server: EmbeddedNats, make_pod: MakePod, publisher: Publisher
) -> None:
    """What everybody has seen may go."""
    pod = await make_pod(nats_server.url).start()
    audience = await audience_of(pod, publisher)
    await publisher.client.jetstream().purge_stream("ssecast")
    await publisher.publish(10)
    await audience.has(range(1, 21))
    await publisher.client.jetstream().delete_msg("ssecast", 20)
    await publisher.publish(10)
    await audience.has(range(1, 31))


async def test_a_purge_of_what_a_frozen_pod_has_not_been_sent_yet_is_a_gap(
    nats_server: EmbeddedNats, make_pod: MakePod, publisher: Publisher
) -> None:
    """Its consumer lives on, and passes over what is gone without a word: the pod must say it, and before the next event."""
    pod = await make_pod(nats_server.url).start()
    assert pod.process is not None
    client = await Client.open(pod.port)
    await publisher.publish(10)
    await client.has(10)
    pod.process.send_signal(signal.SIGSTOP)
    await flood(publisher.client, "events.large", 1500)  # more than one window of flow control

    async def stored() -> bool:
        return (await publisher.client.jetstream().stream_info("ssecast")).state.last_seq == 1510

    await until(stored, "the stream to have it all")
    await publisher.client.jetstream().purge_stream("ssecast")
    pod.process.send_signal(signal.SIGCONT)
    await until(lambda: bool(client.gaps), "the gap")
    large = [int(text[1:9]) for text in client.data if text.startswith("x")]
    assert large == list(range(len(large)))
    assert len(large) < 1500, "the pod was sent all of it: the test shows nothing"
    await publisher.publish(1)
    await until(lambda: client.data[-1] == "11", "the next event")
    assert [gap["reason"] for gap in client.gaps] == ["expired"]
    assert pod.metric('ssecast_source_restarts_total{reason="disconnected"}') == 0, "another fault than the one meant"
    await healthy(pod)


async def test_limits_faster_than_the_pod_are_a_gap_and_a_short_absence_is_none(
    nats_server: EmbeddedNats, make_pod: MakePod, publisher: Publisher, relay: Relay
) -> None:
    """The stream keeps ten events. Ten missed ones come; of twenty the last ten, after a gap."""
    await publisher.client.jetstream().add_stream(name="ssecast", subjects=["events.>"], max_msgs=10)
    pod = await make_pod(f"nats://127.0.0.1:{relay.port}").start()
    audience = await audience_of(pod, publisher)
    await unheard(pod, relay, publisher, 10)
    relay.resume()
    await audience.has(range(1, 21))
    await healthy(pod)
    await unheard(pod, relay, publisher, 20)
    relay.resume()
    await audience.told("expired")
    numbers = [*range(1, 21), *range(31, 41)]
    await audience.reaches(numbers)
    for _, got, wants in audience.got():
        assert got == [number for number in numbers if wants(number)]


# Edited


async def test_subjects_taken_from_a_stream_are_said_and_the_pod_serves_on(
    nats_server: EmbeddedNats, make_pod: MakePod, publisher: Publisher
) -> None:
    """Nothing is stored for them any more, which only the pod can tell; the sentence holds the line that mends it."""
    pod = await make_pod(nats_server.url).start()
    audience = await audience_of(pod, publisher)
    jetstream = publisher.client.jetstream()
    config = (await jetstream.stream_info("ssecast")).config
    await jetstream.update_stream(dataclasses.replace(config, subjects=["elsewhere.>"]))
    said = await troubled(pod, "does not store events.>", "nats stream edit ssecast --subjects='elsewhere.>,events.>'")
    assert pod.admin("GET", "/readyz")[0] == 200
    assert not any(client.ended or client.gaps for client in audience.clients)
    await jetstream.update_stream(dataclasses.replace(config, subjects=["elsewhere.>", "events.>"]))
    await healthy(pod)
    await publisher.publish(10)
    await audience.has(range(1, 21))
    assert troubles(pod) == [said]


async def test_a_stream_that_is_widened_under_a_live_pod_is_no_gap(
    nats_server: EmbeddedNats, make_pod: MakePod, publisher: Publisher
) -> None:
    """Events of others lie between from now on."""
    pod = await make_pod(nats_server.url).start()
    audience = await audience_of(pod, publisher)
    jetstream = publisher.client.jetstream()
    config = (await jetstream.stream_info("ssecast")).config
    await jetstream.update_stream(dataclasses.replace(config, subjects=["events.>", "other.>"]))
    for _ in range(10):
        await jetstream.publish("other.x", b"none of ours")
        await publisher.publish()
    await audience.has(range(1, 21))


# Never there


@pytest.mark.parametrize(
    ("stream", "words"),
    [
        ({"name": "theirs", "subjects": ["events.x.>"]}, ["theirs", "SSECAST_SUBJECTS", "events.>"]),
        ({"name": "ssecast", "subjects": ["a.>"]}, ["nats stream edit ssecast --subjects='a.>,events.>'"]),
        ({"name": "ssecast", "subjects": ["events.>"], "retention": "workqueue"}, ["'workqueue'", "SSECAST_STREAM"]),
        ({"name": "ssecast", "subjects": ["events.>"], "retention": "interest"}, ["'interest'", "SSECAST_STREAM"]),
    ],
    ids=["overlap", "coverage", "workqueue", "interest"],
)
async def test_a_stream_that_cannot_serve_is_named_and_mended_while_the_pod_runs(
    nats_server: EmbeddedNats, make_pod: MakePod, publisher: Publisher, stream: dict[str, Any], words: list[str]
) -> None:
    """The pod is not ready and says what would help; once that was done it becomes ready by itself."""
    jetstream = publisher.client.jetstream()
    await jetstream.add_stream(**stream)
    pod = await make_pod(nats_server.url).start(ready=False)
    said = await troubled(pod, *words)
    assert pod.admin("GET", "/readyz")[0] == 503
    await jetstream.delete_stream(stream["name"])
    await healthy(pod)
    assert troubles(pod) == [said]


LIMITED = """
accounts {{
  A {{ users: [ {{ user: a, password: a }} ], jetstream: {{ {limits} }} }}
  B {{ users: [ {{ user: b, password: b }} ] }}
}}
"""


@pytest.mark.parametrize(
    ("user", "limits", "words"),
    [
        ("b", "", ["JetStream is not enabled", "SSECAST_STREAM= (empty)"]),
        ("a", "max_file: 10Mb", ["cannot be created", "SSECAST_STREAM_MAX_BYTES"]),
        ("a", "max_streams: 1", ["cannot be created", "SSECAST_STREAM"]),
        ("a", "max_consumers: 1", ["gives this pod no consumer", "limit reached"]),
    ],
    ids=["no JetStream", "no room", "no further stream", "no further consumer"],
)
async def test_what_an_account_does_not_grant_is_said_with_what_would_help(
    make_pod: MakePod, user: str, limits: str, words: list[str]
) -> None:
    """Not ready, and one line in the log, however often it is tried."""
    with EmbeddedNats(config=LIMITED.format(limits=limits)) as server:
        admin = await connect(server.url, user="a", password="a")
        if "max_streams" in limits:
            await admin.jetstream().add_stream(name="theirs", subjects=["theirs.>"])
        if "max_consumers" in limits:
            await admin.jetstream().add_stream(name="ssecast", subjects=["events.>"])
            await admin.jetstream().subscribe("events.>", ordered_consumer=True)
        pod = await make_pod(server.url.replace("//", f"//{user}:{user}@")).start(ready=False)
        said = await troubled(pod, *words)
        assert pod.admin("GET", "/readyz")[0] == 503
        await asyncio.sleep(3)  # several further attempts
        assert troubles(pod) == [said]
        await admin.close()


async def test_jetstream_that_is_switched_off_under_a_live_pod_is_said(make_pod: MakePod) -> None:
    """The server comes back without JetStream: streams stay open, the pod stays ready, and says which setting helps."""
    with EmbeddedNats() as server:
        pod = await make_pod(server.url).start()
        client = await Client.open(pod.port)
        server.jetstream = False
        await asyncio.to_thread(server.restart)
        await troubled(pod, "JetStream is not enabled")
        assert pod.admin("GET", "/readyz")[0] == 200
        assert not client.ended
        server.jetstream = True
        await asyncio.to_thread(server.restart)
        await healthy(pod)
        nats = await connect(server.url)
        await nats.jetstream().publish("events.x", b"1")
        assert await client.has(1) == ["1"]
        assert not client.gaps
        await nats.close()
