"""The mended client against a real nats-server: every message is read as it was sent, and the one behind it too."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from nats.aio.msg import Msg
from nats.errors import MaxPayloadError

from ssecast.dev import EmbeddedNats
from ssecast.natspy import SturdyClient
from tests.fuzz.rawnats import RawNats

END = b"\r\n\r\n"


@pytest.fixture
async def received(nats_server: EmbeddedNats) -> AsyncIterator["asyncio.Queue[Msg]"]:
    """What comes by the one subscription of a client, whose number is 1."""
    queue: asyncio.Queue[Msg] = asyncio.Queue()
    client = SturdyClient()
    await client.connect(nats_server.url, allow_reconnect=False)
    await client.subscribe("events.>", cb=queue.put)
    await client.flush()
    yield queue
    await client.close()


@pytest.mark.parametrize(
    ("subject", "read"),
    [
        ("events.é".encode(), "events.é"),
        (b"events.\xff", "events.\ufffd"),
        (b"events.\xe2\x80.x", "events.\ufffd.x"),
        (b"events.a\x0bb", "events.a\x0bb"),
        (b"events.a\x0c1", "events.a\x0c1"),
        (b"events.\x0b7\x0c1", "events.\x0b7\x0c1"),
        (b"events.\x00\x1c\x85", "events.\x00\x1c\ufffd"),
    ],
)
@pytest.mark.parametrize("headers", [None, b"NATS/1.0\r\nA: b" + END])
async def test_a_subject_is_read_whatever_stands_in_it(
    nats_server: EmbeddedNats, received: "asyncio.Queue[Msg]", subject: bytes, read: str, headers: bytes | None
) -> None:
    raw = await RawNats.connect(nats_server.port)
    raw.publish(subject, b"payload", headers)
    raw.publish(b"events.next")
    await raw.flush()
    first, second = [await asyncio.wait_for(received.get(), 30) for _ in range(2)]
    assert (first.subject, first.data, first.headers) == (read, b"payload", {"A": "b"} if headers else None)
    assert second.subject == "events.next"
    await raw.close()


@pytest.mark.parametrize(
    ("headers", "read"),
    [
        (b"NATS/1.0\r\nSsecast-Event: \xff" + END, {"Ssecast-Event": "\ufffd"}),
        (b"NATS/1.0 100 Idle Heartbeat" + END, {"Status": "100", "Description": "Idle Heartbeat"}),
        (b"NATS/1.0", None),
        (b"NAT", None),
        (b"neither name nor value", None),
        (b"NATS/1.0 \xff\xff\xff" + END, None),
        (b"NATS/1.0 100 \xff" + END, None),
    ],
)
async def test_a_block_of_headers_is_read_or_passed_over(
    nats_server: EmbeddedNats, received: "asyncio.Queue[Msg]", headers: bytes, read: dict[str, str] | None
) -> None:
    raw = await RawNats.connect(nats_server.port)
    raw.publish(b"events.x", b"payload", headers)
    raw.publish(b"events.next")
    await raw.flush()
    first, second = [await asyncio.wait_for(received.get(), 30) for _ in range(2)]
    assert (first.subject, first.data, first.headers) == ("events.x", b"payload", read)
    assert second.subject == "events.next"
    await raw.close()


async def test_a_message_is_measured_with_its_headers(nats_server: EmbeddedNats) -> None:
    """What the server would end the connection for is not sent; what it takes is, to the byte."""
    client = SturdyClient()
    await client.connect(nats_server.url, allow_reconnect=False)
    headers = {"Ssecast-Event": "é"}
    block = len("NATS/1.0\r\nSsecast-Event: é\r\n\r\n".encode())
    with pytest.raises(MaxPayloadError):
        await client.publish("events.x", b"x" * (client.max_payload - block + 1), headers=headers)
    await client.publish("events.x", b"x" * (client.max_payload - block), headers=headers)
    await client.flush()
    assert client.is_connected
    await client.close()
