"""What the operator reads of a real pod and what it orders it to do: both sides of the contract, at one table."""

import asyncio
import random
import secrets
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop
from aiohttp import web

from ssecast.dev import EmbeddedNats
from ssecast_operator.actions import Drain, Shed, Undrain
from ssecast_operator.children import ADMIN_PORT
from ssecast_operator.loads import Loads, OrderError
from ssecast_operator.samples import FRESH_SECONDS, NO_SAMPLE, Freshness, Load
from tests.harness import Client, Pod, free_port, until

MakePod = Callable[..., Pod]

UID = "0b1f6a52-0000-4000-8000-000000000001"
TOKEN = secrets.token_urlsafe(32)

WHOLE = b'{"pod_uid": "%s", "boot_id": "b", "streams": 1, "capacity": 2, "draining": false, "refused_per_second": 0}'
"""What a pod answers, but for its UID."""


def own_address() -> str:
    """A loopback address that nobody else uses: the operator asks every pod at the same port."""
    return f"127.{random.randint(64, 126)}.{random.randint(1, 254)}.{random.randint(1, 254)}"


def body(address: str, uid: str = UID) -> dict[str, Any]:
    """As much of a pod's object as is looked at."""
    return {"metadata": {"uid": uid}, "status": {"podIP": address}}


@pytest.fixture
async def loads() -> AsyncIterator[Loads]:
    found = Loads()
    await found.open()
    yield found
    await found.close()


@pytest.fixture
async def signed_pod(nats_server: EmbeddedNats, make_pod: MakePod, tmp_path: Path) -> Pod:
    """One that takes orders from who knows the token, as the operator's pods are."""
    token = tmp_path / "token"
    token.write_text(TOKEN)
    address = own_address()
    pod = make_pod(nats_server.url, address=address, ports=(free_port(), ADMIN_PORT), admin_token_file=token)
    pod.environ["POD_UID"] = UID
    return await pod.start()


async def ask(loads: Loads, address: str, uid: str = UID) -> Load | None:
    """The load that the operator has of a pod after it has asked it once more."""
    await loads.ask([body(address, uid)], time.time())
    return loads.of([body(address, uid)])[uid].load


async def stream(pod: Pod) -> Client:
    client = await Client.open(pod.port, host=pod.address)
    await until(lambda: bool(client.last_id), "the first block")
    return client


async def test_a_pods_load_is_read_as_it_is(loads: Loads, signed_pod: Pod) -> None:
    for _ in range(3):
        await stream(signed_pod)
    load = await ask(loads, signed_pod.address)
    assert load == Load(signed_pod.load["boot_id"], 3, signed_pod.load["capacity"])
    assert loads.of([body(signed_pod.address)])[UID].freshness(time.time()) is Freshness.FRESH


async def test_an_address_that_has_become_another_pods_is_no_data(loads: Loads, signed_pod: Pod) -> None:
    assert await ask(loads, signed_pod.address, "another-uid") is None
    assert loads.failures == {"unreadable": 1}
    with pytest.raises(OrderError, match=r"401: .*the order is for another"):
        await loads.order(Drain("pod", "another-uid", 5.0), signed_pod.address, TOKEN)
    assert not signed_pod.load["draining"]


async def test_orders_are_signed_and_carried_out(loads: Loads, signed_pod: Pod) -> None:
    clients = [await stream(signed_pod) for _ in range(4)]
    await loads.order(Shed("pod", UID, 1, 0.0), signed_pod.address, TOKEN)
    await until(lambda: sum(client.ended for client in clients) == 1, "one stream is shed")
    await loads.order(Drain("pod", UID, 600.0), signed_pod.address, TOKEN)
    load = await ask(loads, signed_pod.address)
    assert load is not None
    assert load.draining
    assert load.drain_deadline == pytest.approx(time.time() + 600, abs=30)
    await loads.order(Undrain("pod", UID), signed_pod.address, TOKEN)
    load = await ask(loads, signed_pod.address)
    assert load is not None
    assert (load.draining, load.drain_deadline) == (False, None)


async def test_an_order_with_a_wrong_token_is_refused_in_words(loads: Loads, signed_pod: Pod) -> None:
    with pytest.raises(OrderError, match=r"pod has answered /drain with 401: .*Ssecast-Signature does not match"):
        await loads.order(Drain("pod", UID, 5.0), signed_pod.address, secrets.token_urlsafe(32))
    assert not signed_pod.load["draining"]


async def test_a_pod_that_has_started_anew_is_known_by_its_boot(loads: Loads, signed_pod: Pod) -> None:
    before = await ask(loads, signed_pod.address)
    await signed_pod.stop(signal.SIGKILL)
    await signed_pod.start()
    after = await ask(loads, signed_pod.address)
    assert before is not None
    assert after is not None
    assert before.boot_id != after.boot_id


async def test_a_pod_that_says_nothing_keeps_its_last_sample(loads: Loads, signed_pod: Pod) -> None:
    await stream(signed_pod)
    known = await ask(loads, signed_pod.address)
    signed_pod.send(signal.SIGSTOP)
    try:
        assert await ask(loads, signed_pod.address) == known
        assert loads.failures == {"timeout": 1}
        with pytest.raises(OrderError, match="does not answer /drain: nothing within 2 s"):
            await loads.order(Drain("pod", UID, 5.0), signed_pod.address, TOKEN)
    finally:
        signed_pod.send(signal.SIGCONT)
    await signed_pod.stop(signal.SIGKILL)
    assert await ask(loads, signed_pod.address) == known
    assert loads.failures == {"timeout": 1, "unreachable": 1}
    sample = loads.of([body(signed_pod.address)])[UID]
    assert sample.freshness(sample.read_at + FRESH_SECONDS + 1) is Freshness.STALE


async def test_whoever_says_nonsense_is_no_data(loads: Loads) -> None:
    answers = iter(
        [
            web.Response(status=500),
            web.Response(text="<html>"),
            web.json_response({"pod_uid": UID, "boot_id": "b", "streams": -1, "capacity": 1}),
            web.Response(body=b"[" * 60_000),
            web.Response(body=b" " * 200_000),
        ]
    )
    app = web.Application()

    async def load(_: web.Request) -> web.Response:
        return next(answers)

    app.router.add_get("/load", load)
    runner, address = web.AppRunner(app), own_address()
    await runner.setup()
    await web.TCPSite(runner, address, ADMIN_PORT).start()
    try:
        for _ in range(5):
            assert await ask(loads, address) is None
    finally:
        await runner.cleanup()
    assert loads.failures == {"status": 1, "unreadable": 4}
    assert loads.of([body(address)])[UID] == NO_SAMPLE


async def test_one_that_does_not_answer_delays_nobody(loads: Loads, signed_pod: Pod) -> None:
    address = own_address()
    with socket.create_server((address, ADMIN_PORT)):  # the kernel takes the connection, and nobody reads
        await loads.ask([body(address, "silent"), body(signed_pod.address)], time.time())
    samples = loads.of([body(address, "silent"), body(signed_pod.address)])
    assert samples["silent"] == NO_SAMPLE
    assert samples[UID].load is not None


async def test_an_answer_may_come_in_pieces(loads: Loads) -> None:
    app = web.Application()

    async def load(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for byte in WHOLE % UID.encode():
            await response.write(bytes([byte]))
            await asyncio.sleep(0)
        return response

    app.router.add_get("/load", load)
    runner, address = web.AppRunner(app), own_address()
    await runner.setup()
    await web.TCPSite(runner, address, ADMIN_PORT).start()
    try:
        assert await ask(loads, address) == Load("b", 1, 2)
    finally:
        await runner.cleanup()


def in_full(said: bytes) -> bytes:
    """The same as an answer of HTTP."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(said), said)


@asynccontextmanager
async def somebody(say: bytes, address: str) -> AsyncIterator[list[bytes]]:
    """Who answers whatever is asked with these bytes, and ends the connection; yields what was asked."""
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(say)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, address, ADMIN_PORT):
        yield asked


@pytest.mark.parametrize(
    ("say", "reason"),
    [
        (b"", "unreachable"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "unreachable"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{", "unreachable"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno length\r\n", "unreachable"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n", "status"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000, "unreadable"),
    ],
    ids=["nothing", "no HTTP", "half of it", "a chunk without length", "another address", "a head without end"],
)
async def test_who_is_no_pod_is_no_data(loads: Loads, say: bytes, reason: str) -> None:
    address = own_address()
    async with somebody(say, address):
        assert await ask(loads, address) is None
    assert loads.failures == {reason: 1}


async def test_what_comes_after_the_answer_does_not_count(loads: Loads) -> None:
    address, answer = own_address(), in_full(WHOLE % UID.encode())
    async with somebody(answer + answer.replace(b"200 OK", b"500 No"), address) as asked:
        assert await ask(loads, address) == Load("b", 1, 2)
    assert asked[0].startswith(b"GET /load HTTP/1.1\r\nHost: %s:9090\r\n" % address.encode())


async def test_a_pod_may_have_an_address_of_ipv6(loads: Loads) -> None:
    async with somebody(in_full(WHOLE % UID.encode()), "::1") as asked:
        assert await ask(loads, "::1") == Load("b", 1, 2)
    assert b"\r\nHost: [::1]:9090\r\n" in asked[0]


def test_the_loop_that_the_operator_runs_on_asks_alike() -> None:
    """uvloop's connections are of other classes than asyncio's."""
    there, silent, gone, breaking = (own_address() for _ in range(4))

    async def main() -> Loads:
        loads = Loads()
        pods = [body(each, each) for each in (silent, gone, breaking)]
        async with somebody(in_full(WHOLE % UID.encode()), there), somebody(b"HTTP/1.1 200", breaking):
            with socket.create_server((silent, ADMIN_PORT)):
                await loads.ask([*pods, body(there)], time.time())
        return loads

    loads = uvloop.run(main())
    assert loads.of([body(there)])[UID].load == Load("b", 1, 2)
    assert loads.failures == {"timeout": 1, "unreachable": 2}
