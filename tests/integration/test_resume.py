"""Resume at a position, on any pod, exactly once: the rules of the protocol, each on real pods and a real nats-server."""

import asyncio
from collections.abc import Callable

import nats.errors
from nats.aio.client import Client as Nats

from ssecast.dev import EmbeddedNats
from tests.harness import Client, Pod, Relay, until

MakePod = Callable[..., Pod]


async def publish(publisher: Nats, first: int, last: int, subject: str = "events.x") -> None:
    for number in range(first, last + 1):
        await publisher.publish(subject, str(number).encode())
    await publisher.flush()


def numbers(first: int, last: int) -> list[str]:
    return [str(number) for number in range(first, last + 1)]


async def position_of(pod: Pod, publisher: Nats, last: int) -> str:
    """Publishes 1 to last and returns the position after them."""
    client = await Client.open(pod.port)
    await publish(publisher, 1, last)
    await client.has(last)
    await client.close()
    return client.last_id


async def test_a_client_goes_on_where_it_was_on_the_same_pod(pod: Pod, publisher: Nats) -> None:
    position = await position_of(pod, publisher, 5)
    await publish(publisher, 6, 10)
    again = await Client.open(pod.port, last_event_id=position)
    await publish(publisher, 11, 12)
    assert await again.has(7) == numbers(6, 12)
    assert not again.gaps
    assert pod.metric('ssecast_resumes_total{result="memory"}') == 1
    await again.close()


async def test_the_header_wins_over_the_query_and_both_spellings_of_the_query_work(pod: Pod, publisher: Nats) -> None:
    position = await position_of(pod, publisher, 5)
    epoch = position.partition("-")[0]
    for path, header, first in (
        (f"/events?last_event_id={epoch}-2", None, 3),
        (f"/events?lastEventId={epoch}-2", None, 3),
        (f"/events?last_event_id={epoch}-2", f"{epoch}-4", 5),
    ):
        client = await Client.open(pod.port, path, last_event_id=header)
        assert await client.has(6 - first) == numbers(first, 5)
        await client.close()


async def test_ids_mean_the_same_on_every_pod_and_a_dead_pod_loses_nothing(
    nats_server: EmbeddedNats, make_pod: MakePod, publisher: Nats
) -> None:
    one, other = await make_pod(nats_server.url).start(), await make_pod(nats_server.url).start()
    here, there = await Client.open(one.port), await Client.open(other.port)
    await publish(publisher, 1, 3)
    await here.has(3)
    await there.has(3)
    assert [event.id for event in here.events] == [event.id for event in there.events]
    assert one.process is not None
    one.process.kill()
    await until(lambda: here.ended, "the stream to break")
    await publish(publisher, 4, 6)
    again = await Client.open(other.port, last_event_id=here.last_id)
    assert await again.has(3) == numbers(4, 6)
    assert not again.gaps


async def test_a_pod_that_dies_before_the_first_event_loses_nothing(
    nats_server: EmbeddedNats, make_pod: MakePod, publisher: Nats
) -> None:
    one, other = await make_pod(nats_server.url).start(), await make_pod(nats_server.url).start()
    client = await Client.open(one.port)
    await until(lambda: bool(client.last_id), "the position of the first block")
    assert one.process is not None
    one.process.kill()
    await publish(publisher, 1, 3)
    again = await Client.open(other.port, last_event_id=client.last_id)
    assert await again.has(3) == numbers(1, 3)
    await again.close()


async def test_what_memory_no_longer_holds_comes_from_jetstream_by_a_shared_backfill(
    nats_server: EmbeddedNats, make_pod: MakePod, publisher: Nats
) -> None:
    pod = await make_pod(nats_server.url, log_max_events=10).start()
    position = await position_of(pod, publisher, 500)
    epoch = position.partition("-")[0]
    clients = [await Client.open(pod.port, last_event_id=f"{epoch}-{n}") for n in range(0, 100, 2)]
    await publish(publisher, 501, 503)
    for n, client in zip(range(0, 100, 2), clients, strict=True):
        assert await client.has(503 - n) == numbers(n + 1, 503)
        assert not client.gaps
        await client.close()
    assert pod.metric('ssecast_resumes_total{result="jetstream"}') == 50


async def test_a_filter_that_matches_nothing_resumes_at_once(
    nats_server: EmbeddedNats, make_pod: MakePod, publisher: Nats
) -> None:
    pod = await make_pod(nats_server.url, log_max_events=10).start()
    position = await position_of(pod, publisher, 100)
    epoch = position.partition("-")[0]
    client = await Client.open(pod.port, "/events?subject=events.none", last_event_id=f"{epoch}-5")
    await until(lambda: pod.metric('ssecast_resumes_total{result="jetstream"}') == 1, "the backfill")
    await publish(publisher, 1, 1, "events.none")
    assert await client.has(1) == ["1"]
    assert not client.gaps
    await client.close()


async def test_unreadable_foreign_and_forged_positions_are_gaps_never_errors(pod: Pod, publisher: Nats) -> None:
    position = await position_of(pod, publisher, 3)
    epoch = position.partition("-")[0]
    for requested, reason in (("hello world", "unreadable"), ("abc-1", "epoch"), (f"{epoch}-99999", "ahead")):
        client = await Client.open(pod.port, last_event_id=requested)
        await until(lambda client=client: bool(client.gaps), f"a gap for {requested}")  # type: ignore[misc]
        assert client.status == 200
        assert client.gaps[0]["reason"] == reason
        assert client.gaps[0]["requested"] == requested
        assert client.last_id == client.gaps[0]["next"] == position
        await client.close()


async def test_a_purged_stream_gives_a_gap_and_an_old_end_does_not(pod: Pod, publisher: Nats) -> None:
    position = await position_of(pod, publisher, 5)
    epoch = position.partition("-")[0]
    await publisher.jetstream().purge_stream("ssecast")
    await pod.stop()
    await pod.start()
    behind = await Client.open(pod.port, last_event_id=f"{epoch}-2")
    level = await Client.open(pod.port, last_event_id=position)
    await publish(publisher, 6, 7)
    assert await behind.has(2) == await level.has(2) == numbers(6, 7)
    assert [gap["reason"] for gap in behind.gaps] == ["expired"]
    assert not level.gaps
    await behind.close()
    await level.close()


async def test_a_recreated_stream_gives_every_live_stream_a_gap(pod: Pod, publisher: Nats) -> None:
    client = await Client.open(pod.port)
    await publish(publisher, 1, 3)
    await client.has(3)
    old = client.last_id
    stream = (await publisher.jetstream().stream_info("ssecast")).config
    await publisher.jetstream().delete_stream("ssecast")
    await publisher.jetstream().add_stream(stream)
    await publish(publisher, 4, 5)
    assert await client.has(5) == numbers(1, 5)
    assert [gap["reason"] for gap in client.gaps] == ["epoch"]
    again = await Client.open(pod.port, last_event_id=old)
    await until(lambda: bool(again.gaps), "the gap of the old epoch")
    assert again.gaps[0]["reason"] == "epoch"
    await client.close()
    await again.close()


async def test_a_position_ahead_of_this_pod_waits_until_the_pod_passes_it(
    nats_server: EmbeddedNats, make_pod: MakePod, publisher: Nats
) -> None:
    relay = await Relay(nats_server.port).start()
    slow = await make_pod(f"nats://127.0.0.1:{relay.port}").start()
    fast = await make_pod(nats_server.url).start()
    client = await Client.open(fast.port)
    relay.pause()
    await publish(publisher, 1, 5)
    await client.has(5)
    again = await Client.open(slow.port, last_event_id=client.last_id)
    relay.resume()
    await publish(publisher, 6, 8)
    assert await again.has(3) == numbers(6, 8)
    assert not again.gaps
    await client.close()
    await again.close()
    await relay.stop()


async def test_nats_restarted_under_load_loses_and_doubles_nothing(
    pod: Pod, nats_server: EmbeddedNats, publisher: Nats
) -> None:
    client = await Client.open(pod.port)
    jetstream = publisher.jetstream()
    for number in range(1, 201):
        if number == 100:
            await asyncio.to_thread(nats_server.restart)
        while True:
            try:
                await jetstream.publish("events.x", str(number).encode(), headers={"Nats-Msg-Id": str(number)})
                break
            except (nats.errors.Error, TimeoutError):  # what a client says while its server is away
                await asyncio.sleep(0.05)
    assert await client.has(200) == numbers(1, 200)
    assert not client.gaps
    assert not client.ended
    assert pod.admin("GET", "/readyz")[0] == 200
    await client.close()


async def test_core_mode_broadcasts_and_resumes_on_the_same_pod_only(
    nats_server: EmbeddedNats, make_pod: MakePod, publisher: Nats
) -> None:
    one = await make_pod(nats_server.url, stream="").start()
    other = await make_pod(nats_server.url, stream="").start()
    client = await Client.open(one.port)
    await publish(publisher, 1, 3)
    await client.has(3)
    epoch = client.last_id.partition("-")[0]
    again = await Client.open(one.port, last_event_id=f"{epoch}-1")
    assert await again.has(2) == numbers(2, 3)
    elsewhere = await Client.open(other.port, last_event_id=client.last_id)
    await until(lambda: bool(elsewhere.gaps), "a gap on the other pod")
    assert elsewhere.gaps[0]["reason"] == "epoch"
    for each in (client, again, elsewhere):
        await each.close()
