"""A pod that takes no more: what refused clients get, by both ways of a request, and that no slot is ever lost."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable

import pytest

from ssecast.dev import EmbeddedNats
from tests.harness import Client, Pod, until
from tests.peers import BEGUN, STREAM, Peer, exchange, in_pieces

MakePod = Callable[..., Pod]
CURL = STREAM.replace(b"text/event-stream", b"*/*")
WAYS = {"at the door": lambda request: (request,), "by uvicorn": in_pieces}

ways = pytest.mark.parametrize("way", WAYS)


async def full_pod(nats_server: EmbeddedNats, make_pod: MakePod, **settings: object) -> tuple[Pod, Client]:
    pod = await make_pod(nats_server.url, max_streams=1, **settings).start()
    return pod, await Client.open(pod.port)


@ways
async def test_a_browser_at_a_full_pod_is_told_when_to_come_back_on_a_stream_that_ends(
    nats_server: EmbeddedNats, make_pod: MakePod, way: str
) -> None:
    pod, first = await full_pod(nats_server, make_pod)
    retries = set()
    for _ in range(10):
        head, _, body = (await exchange(pod.port, *WAYS[way](STREAM))).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"\r\ncontent-type: text/event-stream\r\n" in head
        assert b"\r\ncache-control: no-cache, no-transform\r\n" in head
        assert b"\r\ndate: " in head
        found = re.fullmatch(rb"retry: (\d+)\n\n: full, come back\n\n", body)
        assert found, body
        assert 300 <= int(found[1]) <= 500
        retries.add(found[1])
    assert len(retries) > 1, "without a spread they would all come back together"
    assert not first.ended
    assert pod.load["refused_by_reason"]["full"] == pod.load["refused_total"] == 10


@ways
@pytest.mark.parametrize(("overload", "request_"), [("retry", CURL), ("503", CURL), ("503", STREAM)])
async def test_others_get_503_with_retry_after_and_so_do_browsers_where_it_is_asked_for(
    nats_server: EmbeddedNats, make_pod: MakePod, way: str, overload: str, request_: bytes
) -> None:
    pod, first = await full_pod(nats_server, make_pod, overload=overload)
    head, _, body = (await exchange(pod.port, *WAYS[way](request_))).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert re.search(rb"\r\nretry-after: [1-9]\d*\r\n", head)
    assert "full" in json.loads(body)["detail"]
    assert not first.ended


@ways
async def test_a_pod_that_drains_sends_new_clients_elsewhere(
    nats_server: EmbeddedNats, make_pod: MakePod, way: str
) -> None:
    pod = await make_pod(nats_server.url).start()
    first = await Client.open(pod.port)
    assert pod.admin("POST", "/drain", {"window_seconds": 3600})[0] == 202
    head, _, body = (await exchange(pod.port, *WAYS[way](STREAM))).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert re.fullmatch(rb"retry: \d+\n\n: draining, come back\n\n", body)
    head, _, body = (await exchange(pod.port, *WAYS[way](CURL))).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert re.search(rb"\r\nretry-after: [1-9]\d*\r\n", head)
    assert "draining" in json.loads(body)["detail"]
    assert pod.load["refused_by_reason"]["draining"] == 2
    assert not first.ended


@ways
async def test_one_client_cannot_take_all_streams(nats_server: EmbeddedNats, make_pod: MakePod, way: str) -> None:
    pod = await make_pod(nats_server.url, max_streams_per_client=2).start()
    first, second = await Client.open(pod.port), await Client.open(pod.port)
    assert (await exchange(pod.port, *WAYS[way](STREAM))).endswith(b": client, come back\n\n")
    head, _, body = (await exchange(pod.port, *WAYS[way](CURL))).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
    assert b"\r\nretry-after: " in head
    assert "one client" in json.loads(body)["detail"]
    assert pod.metric('ssecast_streams_refused_total{reason="client"}') == 2
    assert not first.ended
    await second.close()
    await until(lambda: pod.load["streams"] == 1, "the slot back")
    third = await Client.open(pod.port)
    assert not third.ended


def from_(address: str) -> bytes:
    return STREAM.replace(b"Accept", b"X-Forwarded-For: " + address.encode() + b"\r\nAccept")


async def opens(port: int, request: bytes, way: str) -> bool:
    """Whether a stream is opened, which then stays open as long as the test."""
    peer = await Peer.connect(port)
    await peer.send(*WAYS[way](request))
    data = await peer.read(BEGUN)
    return b"event: position" in data


@ways
async def test_behind_a_proxy_that_is_believed_clients_are_those_that_it_names(
    nats_server: EmbeddedNats, make_pod: MakePod, way: str
) -> None:
    pod = await make_pod(nats_server.url, max_streams_per_client=1, forwarded_allow_ips="127.0.0.1,10.0.0.0/8").start()
    seen = [
        await opens(pod.port, from_(address), way)
        for address in (
            "192.0.2.1",
            "192.0.2.1",
            "192.0.2.2, 10.1.2.3",  # by way of another proxy
            "192.0.2.2",
            "10.1.2.3, 192.0.2.1",  # the client writes what it likes; what the proxy adds counts
            "2001:db8:0:1::1",
            "2001:db8:0:1:ffff::2",  # the same /64
            "[2001:db8:0:2::1]:4711",
            "127.0.0.1",
        )
    ]
    assert seen == [True, False, True, False, False, True, False, True, True]


@ways
async def test_who_is_no_proxy_cannot_name_another_client(
    nats_server: EmbeddedNats, make_pod: MakePod, way: str
) -> None:
    pod = await make_pod(nats_server.url, max_streams_per_client=1, forwarded_allow_ips="10.0.0.0/8").start()
    assert await opens(pod.port, from_("192.0.2.1"), way)
    assert not await opens(pod.port, from_("192.0.2.2"), way)


async def stays(port: int, request: bytes) -> None:
    """A stream that its client closes in good order."""
    peer = await Peer.connect(port)
    await peer.send(request)
    await peer.read(BEGUN)
    peer.close()


async def resets(port: int, *pieces: bytes, reads: bool = False) -> None:
    peer = await Peer.connect(port)
    await peer.send(*pieces)
    if reads:
        await peer.read(BEGUN)
    peer.reset()


ENDS: dict[str, Callable[[int], Awaitable[object]]] = {
    "closed": lambda port: stays(port, STREAM),
    "closed, with a query": lambda port: stays(port, STREAM.replace(b"/events", b"/events?subject=events.a")),
    "reset": lambda port: resets(port, STREAM, reads=True),
    "reset at once": lambda port: resets(port, STREAM),
    "reset at once, by uvicorn": lambda port: resets(port, *in_pieces(STREAM)),
    "reset in the head": lambda port: resets(port, STREAM[:30]),
    "reset before the head": lambda port: resets(port, b""),
    "reset behind two requests": lambda port: resets(port, STREAM * 2),
    "old HTTP": lambda port: resets(port, STREAM.replace(b"1.1", b"1.0")),
    "a body": lambda port: resets(port, STREAM.replace(b"Host", b"Content-Length: 9\r\nHost") + b"body"),
    "HEAD": lambda port: exchange(port, STREAM.replace(b"GET", b"HEAD")),
    "a wrong parameter": lambda port: exchange(port, STREAM.replace(b"/events", b"/events?subjects=a")),
    "a wrong method": lambda port: exchange(port, STREAM.replace(b"GET", b"DELETE")),
    "a wrong path": lambda port: exchange(port, STREAM.replace(b"/events", b"/event")),
    "no HTTP": lambda port: exchange(port, b"\x16\x03\x01 hello\r\n\r\n"),
}


async def test_every_way_to_end_gives_the_slot_back(nats_server: EmbeddedNats, make_pod: MakePod) -> None:
    """Many times each, at once, on a pod that is full more often than not; afterwards it is as if nobody had come."""
    slots = 20
    pod = await make_pod(nats_server.url, max_streams=slots, max_streams_per_client=slots).start()
    await exchange(pod.port, STREAM.replace(b"/events", b"/info"))
    before = pod.open_files
    gate = asyncio.Semaphore(100)

    async def one(end: Callable[[int], Awaitable[object]]) -> None:
        async with gate:
            await end(pod.port)

    await asyncio.gather(*[one(end) for end in ENDS.values() for _ in range(40)])
    await until(lambda: pod.load["streams"] == 0, "every slot back")
    await until(lambda: pod.metric("ssecast_connections") == 0, "every connection gone")
    await until(lambda: pod.open_files <= before, "every descriptor back")
    load = pod.load
    assert load["opened_total"] > slots
    assert load["opened_total"] == sum(load["closed_total"].values())
    assert {reason for reason, count in load["closed_total"].items() if count} == {"client"}
    again = [await Client.open(pod.port) for _ in range(slots)]
    assert not any(client.ended for client in again)
    assert (await exchange(pod.port, STREAM)).endswith(b": full, come back\n\n")


async def test_a_storm_never_opens_more_streams_than_there_are_and_ends_none_that_is_open(
    nats_server: EmbeddedNats, make_pod: MakePod
) -> None:
    pod = await make_pod(nats_server.url, max_streams=30).start()
    old = [await Client.open(pod.port) for _ in range(10)]
    answers: list[bytes] = []

    async def one(number: int) -> None:
        peer = await Peer.connect(pod.port)
        await peer.send(*(in_pieces(STREAM) if number % 3 == 0 else (STREAM,)))
        answers.append(await peer.read(BEGUN))

    await asyncio.gather(*[one(number) for number in range(600)])
    refused = [answer for answer in answers if answer.endswith(b": full, come back\n\n")]
    assert len(refused) == 580
    load = pod.load
    assert (load["opened_total"], load["streams"], load["refused_by_reason"]["full"]) == (30, 30, 580)
    assert not any(client.ended for client in old)
