"""Whatever publishers send: it is passed on, or dropped and counted. No message stops a pod, or starts it anew for ever.

A message that stops one pod stops all of them, and stays in the stream for as long as that keeps it.
"""

from collections.abc import AsyncIterator, Callable
from random import Random

import pytest

from ssecast.dev import EmbeddedNats
from tests.fuzz.effort import SEED, examples
from tests.fuzz.rawnats import RawNats
from tests.fuzz.test_sockets import Watched
from tests.harness import Client, Pod, until

V = b"NATS/1.0"
END = b"\r\n\r\n"

SUBJECTS = [
    b"events.\xff",
    b"events.\xe2\x80",
    b"events.\xed\xa0\x80",
    "events.é".encode(),
    "events.\u2028\u202e".encode(),
    b"events.\x00",
    b"events.\x1b[31m",
    b"events.\x7f\x85",
    b"events.a\x0bb",
    b"events.a\x0c1",
    b"events.\x0b1\x0b2",
    b"events.a\x1cb\x1fc",
    b"events.*",
    b"events.>",
    b"events.a*.b>",
    b"events.'\"<&{}%s%d$",
    b"events." + b"x" * 3000,
    b"events" + b".x" * 1000,
]
HEADERS = [
    V + END,
    V,
    V + b"\r\n",
    V + b"\r",
    V[:4],
    b"\r\n",
    b"garbage",
    V + b" ",
    V + b" 100" + END,
    V + b" 100 Idle Heartbeat\r\nNats-Last-Consumer: 99\r\nNats-Last-Stream: 1" + END,
    V + b" 100 FlowControl Request" + END,
    V + b" 409 Consumer Deleted" + END,
    V + b" \xff\xff\xff" + END,
    V + b" 503 \xff" + END,
    V + b" 100 x\r\n\xff: y" + END,
    V + b"\r\nStatus: 100\r\nNats-Last-Consumer: x" + END,
    V + b"\r\nStatus: 409\r\nNats-Consumer-Stalled: events.good" + END,
    V + b"\r\nno colon" + END,
    V + b"\r\n: no name" + END,
    V + b"\r\n\xff\xfe: x" + END,
    V + b"\r\nName with spaces: x" + END,
    V + b"\r\nA: 1\r\nA: 2\r\na: 3" + END,
    V + b"\r\nFolded: a\r\n b" + END,
    V + b"\r\nBare: a\nb\rc\x00d" + END,
    V + b"\r\nSsecast-Event: \xff\xfe" + END,
    V + b"\r\nSsecast-Event:" + END,
    V + b"\r\nSsecast-Event: gap" + END,
    V + b"\r\nSsecast-Event: a\nid: forged" + END,
    V + b"\r\nSsecast-Event: a\x00b" + END,
    V + b"\r\nSsecast-Event: \xe2\x80\xa8" + END,
    V + b"\r\nSsecast-Event: " + b"x" * 5000 + END,
    V + b"\r\ntraceparent: 00-zz-zz-zz\r\ntracestate: ,,=" + END,
    V + b"\r\nTraceparent: \xff\r\ntracestate: " + b"a=b," * 1000 + END,
    V + b"\r\n" + b"".join(b"H%d: x\r\n" % number for number in range(3000)) + b"\r\n",
    V + b"\r\n" + b"L" * 20_000 + b": " + b"x" * 20_000 + END,
]
PAYLOADS = [
    b"",
    b"\r\n",
    b"\x00",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"MSG events.good 1 5\r\nfalse\r\n",
    b"+OK\r\n-ERR 'Stale Connection'\r\nPING\r\n",
    b"data: x\n\nid: forged\n\n",
    b"0\r\n\r\n",
    b"\r" * 1000,
    b"x" * 70_000,
]


def handmade() -> list[tuple[bytes, bytes, bytes | None]]:
    """Each strange part beside parts that are not."""
    return [
        *[(subject, b"x", None) for subject in SUBJECTS],
        *[(subject, b"x", V + b"\r\nA: b" + END) for subject in SUBJECTS],
        *[(b"events.x", b"x", headers) for headers in HEADERS],
        *[(b"events.x", payload, None) for payload in PAYLOADS],
        *[(b"events.x", payload, V + b"\r\nSsecast-Event: n" + END) for payload in PAYLOADS],
    ]


def drawn(rng: Random, count: int) -> list[tuple[bytes, bytes, bytes | None]]:
    """Random bytes in all three places; only what would end a line of the protocol is kept out of subjects."""
    apart = bytes(byte for byte in range(256) if byte not in b" \t\r\n")
    return [
        (
            b"events." + bytes(rng.choices(apart, k=rng.randint(1, 8))),
            rng.randbytes(rng.choice([0, 1, 5, 300])),
            rng.choice(
                [None, rng.choice(HEADERS), V + rng.randbytes(rng.randint(0, 30)), rng.randbytes(rng.randint(0, 20))]
            ),
        )
        for _ in range(count)
    ]


@pytest.fixture
async def raw(nats_server: EmbeddedNats) -> AsyncIterator[RawNats]:
    client = await RawNats.connect(nats_server.port)
    yield client
    await client.close()


async def publish(raw: RawNats, messages: list[tuple[bytes, bytes, bytes | None]]) -> list[str]:
    """Publishes the messages, and a good one after each; returns the good ones."""
    for number, message in enumerate(messages):
        raw.publish(*message)
        raw.publish(b"events.good", b"%d" % number)
        await raw.flush()
    return [str(number) for number in range(len(messages))]


def counted(pod: Pod, family: str) -> dict[str, float]:
    """The samples of a counter that are not 0."""
    lines = pod.admin("GET", "/metrics")[1].splitlines()
    found = {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}
    return {name: value for name, value in found.items() if name.startswith(f"ssecast_{family}_total") and value}


def undisturbed(pod: Pod) -> None:
    """One consumer from the beginning, no break, no gap, no traceback."""
    assert not counted(pod, "source_restarts")
    assert not counted(pod, "breaks")
    assert not counted(pod, "gaps")
    assert not Watched(pod).complaints


@pytest.mark.parametrize("stream", ["ssecast", ""], ids=["jetstream", "core"])
async def test_no_message_stops_a_pod(
    nats_server: EmbeddedNats, make_pod: Callable[..., Pod], raw: RawNats, stream: str
) -> None:
    """Subjects, headers and payloads of any bytes: what comes after them arrives, by the same consumer."""
    pod = await make_pod(nats_server.url, stream=stream).start()
    narrow = await Client.open(pod.port, "/events?subject=events.good")
    wide = await Client.open(pod.port, "/events?format=json")
    good = await publish(raw, handmade() + drawn(Random(SEED), examples(200)))
    assert await narrow.has(len(good)) == good
    await until(lambda: len([1 for event in wide.events if '"events.good"' in event.data]) == len(good), "all of them")
    undisturbed(pod)
    assert not narrow.gaps
    assert not wide.gaps
    if stream:
        stored = (await raw.request("$JS.API.STREAM.INFO.ssecast"))["state"]["messages"]
        seen = sum(counted(pod, "events_received").values()) + sum(counted(pod, "events_dropped").values())
        assert seen == stored > 2 * len(handmade())


async def test_what_is_strange_in_a_stream_is_read_again_and_again(
    nats_server: EmbeddedNats, make_pod: Callable[..., Pod], raw: RawNats
) -> None:
    """A pod that starts above it gets warm, and a resume through it gets everything from JetStream."""
    first = await make_pod(nats_server.url).start()
    start = first.admin("GET", "/load")[1]["position"]
    good = await publish(raw, handmade() + drawn(Random(SEED + 1), examples(100)))
    later = await make_pod(nats_server.url, log_max_events=20).start()
    resumed = await Client.open(later.port, "/events?subject=events.good", last_event_id=start)
    assert await resumed.has(len(good)) == good
    assert counted(later, "resumes") == {'ssecast_resumes_total{result="jetstream"}': 1}
    undisturbed(later)
