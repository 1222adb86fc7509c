"""Peers that mean no good, or are broken: what they can take is bounded, what they do is counted, and nothing is left."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

import pytest

from ssecast.dev import EmbeddedNats
from ssecast.metrics import CONNECTIONS_CLOSED
from ssecast.visitors import HEAD_SECONDS
from tests.harness import Client, Pod, until
from tests.peers import BEGUN, HEAD, STREAM, Peer, exchange, in_pieces

MakePod = Callable[..., Pod]
INFO = b"GET /info HTTP/1.1\r\nHost: x\r\n\r\n"
MIB = 2**20
READ_AT_ONCE = 4096


def closed(pod: Pod, reason: str) -> float:
    return pod.metric(f'ssecast_connections_closed_total{{reason="{reason}"}}')


async def nothing_is_left(pod: Pod, open_files: int) -> None:
    await until(lambda: pod.metric("ssecast_connections") == 0, "every connection gone")
    await until(lambda: pod.load["streams"] == 0, "every stream gone")
    await until(lambda: pod.open_files <= open_files, "every descriptor back")


async def drip(peer: Peer, data: bytes) -> None:
    """A byte now and then, for as long as the other side listens."""
    with contextlib.suppress(OSError):
        for at in range(len(data)):
            await peer.send(data[at : at + 1])
            await asyncio.sleep(0.2)


async def silent(peer: Peer) -> None:
    """Says nothing at all."""


async def half_a_head(peer: Peer) -> None:
    await peer.send(STREAM[:40])


async def a_head_that_drips(peer: Peer) -> None:
    await drip(peer, STREAM[:-2] + b"X: " + b"a" * 1000)


async def line_ends(peer: Peer) -> None:
    """uvicorn's parser passes them over: no request has begun."""
    await drip(peer, b"\r\n" * 500)


async def line_ends_after_an_answer(peer: Peer) -> None:
    """uvicorn's own timer ends with the first of them."""
    await peer.send(INFO)
    await drip(peer, b"\r\n" * 500)


async def half_a_head_after_an_answer(peer: Peer) -> None:
    await peer.send(INFO)
    await drip(peer, STREAM[:-2] + b"X: " + b"a" * 1000)


async def a_body_behind_its_answer(peer: Peer) -> None:
    """uvicorn drops it, and its timer ends with the first byte."""
    await peer.send(INFO.replace(b"Host", b"Content-Length: 99999\r\nHost"))
    await drip(peer, b"x" * 1000)


SLOW = [
    silent, half_a_head, a_head_that_drips, line_ends, line_ends_after_an_answer, half_a_head_after_an_answer,
    a_body_behind_its_answer,
]  # fmt: skip


async def test_who_never_completes_a_request_is_closed_however_busy_it_looks(pod: Pod) -> None:
    """By the pod's timers, and not before they are over: a client may have a bad line."""
    await exchange(pod.port, STREAM.replace(b"/events", b"/info"))
    before = pod.open_files
    since = time.monotonic()
    peers = [(await Peer.connect(pod.port), way) for way in SLOW for _ in range(20)]
    busy = [asyncio.ensure_future(way(peer)) for peer, way in peers]
    client = await Client.open(pod.port)
    await until(lambda: closed(pod, "head_timeout") + closed(pod, "body_timeout") > 0, "the first one closed")
    assert time.monotonic() - since >= HEAD_SECONDS - 1
    await until(lambda: closed(pod, "head_timeout") + closed(pod, "body_timeout") == len(peers), "all of them closed")
    assert closed(pod, "body_timeout") == 20
    assert not any(closed(pod, reason) for reason in CONNECTIONS_CLOSED if not reason.endswith("_timeout"))
    assert not client.ended
    await client.close()
    for task in busy:
        task.cancel()
    await asyncio.gather(*busy, return_exceptions=True)
    await nothing_is_left(pod, before)


@pytest.mark.parametrize("way", ["at the door", "by uvicorn"])
@pytest.mark.parametrize(
    "head",
    [
        STREAM[:-2] + b"X: " + b"a" * 40_000 + b"\r\n\r\n",
        STREAM[:-2] + b"".join(b"X-%d: %s\r\n" % (number, b"a" * 1000) for number in range(40)) + b"\r\n",
        STREAM[:-2] + b"".join(b"X-%d: a\r\n" % number for number in range(200)) + b"\r\n",
        STREAM.replace(b"/events", b"/events?_=" + b"a" * 40_000),
    ],
    ids=["one header", "all headers", "many headers", "address"],
)
async def test_a_head_over_the_limit_is_refused(pod: Pod, head: bytes, way: str) -> None:
    answer = await exchange(pod.port, *((head,) if way == "at the door" else in_pieces(head)))
    # What the peer has sent and nobody has read makes the kernel reset the connection, perhaps before the answer is read.
    # Many small headers are read as a whole.
    was_reset = answer == b"" and len(head) > READ_AT_ONCE
    assert was_reset or answer.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
    assert closed(pod, "too_large") == 1
    assert pod.load["opened_total"] == 0


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"GET /",
        b"GET / HTTP/1.1\r\nX: ",
        b"GET / HTTP/1.1\r\n" + b"X",
        b"POST /events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;",
        b"POST /events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ",
    ],
    ids=["method", "address", "value", "name", "chunk extension", "trailer"],
)
async def test_an_endless_head_takes_no_memory(pod: Pod, start: bytes) -> None:
    """The parser holds on to what is not complete; the pod must not let it grow."""
    before, open_files = pod.resident_bytes, pod.open_files
    peer = await Peer.connect(pod.port)
    await peer.send(start)
    await peer.pour(b"a" * MIB)
    assert pod.resident_bytes - before < 50 * MIB
    await nothing_is_left(pod, open_files)


async def test_trailers_are_not_collected(pod: Pod) -> None:
    """They come after the head's limit was met."""
    peer = await Peer.connect(pod.port)
    await peer.send(b"POST /events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")
    await peer.pour(b"X: aaaaaaaaaaaaaaaaaaaaaaaa\r\n" * 1000)
    assert closed(pod, "too_large") == 1


async def test_requests_that_pile_up_behind_one_another_are_bounded(pod: Pod) -> None:
    """Ten thousand fit into one read, and each costs the pod fifty times its bytes while it waits."""
    before = pod.open_files
    peers = [await Peer.connect(pod.port) for _ in range(10)]
    await asyncio.gather(*[peer.send(INFO * 5000) for peer in peers], return_exceptions=True)
    await until(lambda: closed(pod, "pipelined") == 10, "all of them closed")
    few = await exchange(pod.port, INFO * 5 + INFO.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    assert few.count(b"HTTP/1.1 200 OK") == 6
    for peer in peers:
        peer.close()
    await nothing_is_left(pod, before)


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (INFO + b"\0\r\n\r\n", b""),
        (INFO + b"POST /events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b""),
        (
            b"POST /events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"HTTP/1.1 400 Bad Request\r\n",
        ),
    ],
    ids=["behind a request", "in a body behind a request", "alone"],
)
async def test_no_answer_is_that_of_another_request(pod: Pod, sent: bytes, answer: bytes) -> None:
    got = await exchange(pod.port, sent)
    assert got.startswith(answer) if answer else b" 400 " not in got
    assert closed(pod, "malformed") == 1


async def test_a_client_that_talks_on_and_on_loses_its_stream_and_no_other_one_does(pod: Pod) -> None:
    quiet = await Client.open(pod.port)
    peer = await Peer.connect(pod.port)
    await peer.send(STREAM)
    await peer.read(BEGUN)
    await peer.pour(b"a" * MIB)
    assert pod.load["closed_total"]["garbage"] == 1
    assert not quiet.ended


@pytest.mark.parametrize("length", [b"Content-Length: 100000000", b"Transfer-Encoding: chunked"])
async def test_a_body_on_a_get_is_dropped_and_a_large_one_ends_the_stream(pod: Pod, length: bytes) -> None:
    peer = await Peer.connect(pod.port)
    await peer.send(b"GET /events HTTP/1.1\r\n" + length + b"\r\n" + HEAD + b"\r\n")
    assert b"event: position" in await peer.read(BEGUN)
    await peer.pour(b"10000\r\n" + b"a" * 2**16 + b"\r\n")
    await until(lambda: pod.load["closed_total"]["garbage"] == 1, "the stream closed")


async def reset_at_once(port: int) -> None:
    (await Peer.connect(port)).reset()


async def reset_in_a_head(port: int) -> None:
    peer = await Peer.connect(port)
    await peer.send(STREAM[:50])
    peer.reset()


async def reset_before_the_answer(port: int) -> None:
    peer = await Peer.connect(port)
    await peer.send(STREAM)
    peer.reset()


async def reset_in_a_stream(port: int) -> None:
    peer = await Peer.connect(port)
    await peer.send(STREAM)
    await peer.read(BEGUN)
    peer.reset()


async def close_at_once(port: int) -> None:
    (await Peer.connect(port)).close()


GUESTS: list[Callable[[int], Awaitable[None]]] = [
    reset_at_once, reset_in_a_head, reset_before_the_answer, reset_in_a_stream, close_at_once,
]  # fmt: skip


async def test_thousands_of_connects_and_resets_leave_nothing_behind(pod: Pod) -> None:
    client = await Client.open(pod.port)
    before, sizes = pod.open_files, []
    for _ in range(5):
        for _ in range(6):
            await asyncio.gather(*[guest(pod.port) for guest in GUESTS for _ in range(20)])
        await until(lambda: pod.load["streams"] == 1, "their streams gone")
        await until(lambda: pod.metric("ssecast_connections") == 0, "their connections gone")
        sizes.append(pod.resident_bytes)
    await until(lambda: pod.open_files <= before, "every descriptor back")
    assert not client.ended
    assert pod.metric("ssecast_connections_opened_total") == 3001
    assert closed(pod, "client") > 0
    assert sizes[-1] - sizes[1] < 4 * MIB, f"it grows: {sizes}"


async def test_where_descriptors_run_out_the_silent_go_and_streams_stay(
    nats_server: EmbeddedNats, make_pod: MakePod
) -> None:
    pod = make_pod(nats_server.url)
    pod.command = ["sh", "-c", 'ulimit -n 500; exec "$@"', "sh", *pod.command]
    await pod.start()
    assert pod.load["capacity"] == 500 - 256
    old = [await Client.open(pod.port) for _ in range(50)]
    for _ in range(40):  # more than there are descriptors, all of them within the time that a head may take
        await asyncio.gather(*[Peer.connect(pod.port) for _ in range(25)])
    assert closed(pod, "descriptors") > 0
    assert pod.open_files < 500

    async def opens() -> bool:
        client = await Client.open(pod.port)
        await until(lambda: client.ended or bool(client.last_id), "an answer")
        return not client.ended

    await until(opens, "a stream for a browser")
    assert not any(client.ended for client in old)
    assert pod.admin("GET", "/readyz")[0] == 200


async def stays_after_an_answer(port: int) -> Peer:
    """Owes nothing, for as long as the pod keeps its connection alive."""
    peer = await Peer.connect(port)
    await peer.send(INFO)
    await peer.read(b"}")
    return peer


async def test_a_pod_that_is_short_of_descriptors_takes_no_more_streams_and_says_when_to_come_back(
    nats_server: EmbeddedNats, make_pod: MakePod
) -> None:
    """They went to connections that have had their answer and owe nothing for some seconds: no stream gets the rest."""
    pod = make_pod(nats_server.url)
    pod.command = ["sh", "-c", 'ulimit -n 500; exec "$@"', "sh", *pod.command]
    await pod.start()
    old = await Client.open(pod.port)

    for request, status, words in (
        (STREAM, b"HTTP/1.1 200 OK\r\n", b": descriptors, come back\n\n"),
        (STREAM.replace(b"text/event-stream", b"*/*"), b"HTTP/1.1 503 Service Unavailable\r\n", b"short of open files"),
    ):
        answer = b""
        while words not in answer:
            guests = []
            for _ in range(10):
                guests += await asyncio.gather(*[stays_after_an_answer(pod.port) for _ in range(38)])
            peer = await Peer.connect(pod.port)
            await peer.send(request)
            answer = await peer.read(BEGUN, words)
            for each in (*guests, peer):
                each.close()
            await until(lambda: pod.metric("ssecast_connections") == 0, "the guests gone")
        assert answer.startswith(status), answer
        assert (b"\r\nretry-after: " in answer) is (b" 503 " in status)
    assert pod.load["refused_by_reason"]["descriptors"] == 2
    await until(lambda: pod.load["streams"] == 1, "nobody else")
    assert not old.ended
    another = await Client.open(pod.port)
    await until(lambda: bool(another.last_id), "room again")
