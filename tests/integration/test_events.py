"""GET /events on a real pod: what a client gets, byte by byte where it matters."""

import asyncio
import json
import re
import socket
from collections.abc import Callable

import pytest
from nats.aio.client import Client as Nats

from ssecast.dev import EmbeddedNats
from tests.harness import Client, Pod, until

MakePod = Callable[..., Pod]


async def test_an_event_published_with_nothing_but_nats_arrives(pod: Pod, publisher: Nats) -> None:
    client = await Client.open(pod.port)
    await publisher.publish("events.hello", b"one\ntwo", headers={"Ssecast-Event": "greeting"})
    assert await client.has(1) == ["one\ntwo"]
    assert client.events[-1].name == "greeting"
    assert re.fullmatch(r"[0-9a-z]+-1", client.last_id)
    await client.close()


async def test_the_head_forbids_buffering_and_the_first_block_is_a_retry_and_a_position(pod: Pod) -> None:
    client = await Client.open(pod.port)
    await until(lambda: bool(client.events), "the first block")
    assert client.status == 200
    assert client.headers["content-type"] == "text/event-stream"
    assert client.headers["cache-control"] == "no-cache, no-transform"
    assert client.headers["x-accel-buffering"] == "no"
    assert client.events[0].name == "position"
    assert client.events[0].data == ""
    assert client.last_id.endswith("-0")
    assert 300 <= (client.parser.retry or 0) <= 500
    await client.close()


async def test_subjects_filter_and_json_wraps(pod: Pod, publisher: Nats) -> None:
    narrow = await Client.open(pod.port, "/events?subject=events.a.*&subject=events.b&format=json&_=123")
    for subject in ("events.a.x", "events.a", "events.b", "events.b.c", "events.a.y"):
        await publisher.publish(subject, subject.encode())
    seen = [json.loads(text) for text in await narrow.has(3)]
    assert [each["subject"] for each in seen] == ["events.a.x", "events.b", "events.a.y"]
    assert all(each["data"] == each["subject"] for each in seen)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", each["time"]) for each in seen)
    await narrow.close()


async def test_interval_writes_at_most_once_per_interval_and_latest_keeps_the_newest(pod: Pod, publisher: Nats) -> None:
    client = await Client.open(pod.port, "/events?interval=300&latest=true")
    for number in range(200):
        await publisher.publish(f"events.{number % 2}", str(number).encode())
    await publisher.flush()
    await until(lambda: client.data[-2:] == ["198", "199"], "the newest of both subjects")
    assert len(client.data) < 200
    assert client.data == sorted(client.data, key=int)
    await client.close()


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_both_versions_of_http_get_the_stream(pod: Pod, publisher: Nats, version: str) -> None:
    client = await Client.open(pod.port, version=version)
    assert ("transfer-encoding" in client.headers) is (version == "1.1")
    await publisher.publish("events.x", b"hello")
    assert await client.has(1) == ["hello"]
    await client.close()


async def test_requests_before_a_stream_on_the_same_connection_are_answered(pod: Pod, publisher: Nats) -> None:
    client = Client(*await asyncio.open_connection("127.0.0.1", pod.port))
    client.writer.write(b"GET /info HTTP/1.1\r\nHost: x\r\n\r\n")
    head = await client.reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    assert length is not None
    assert json.loads(await client.reader.readexactly(int(length[1])))["subjects"] == ["events.>"]
    client.writer.write(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
    await client.listen()
    await until(lambda: bool(client.events), "the first block")
    await publisher.publish("events.x", b"after")
    assert await client.has(1) == ["after"]
    await client.close()


async def test_what_a_client_sends_behind_its_request_is_dropped(pod: Pod, publisher: Nats) -> None:
    client = Client(*await asyncio.open_connection("127.0.0.1", pod.port))
    request = b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n"
    client.writer.write(request + b"GET /info HTTP/1.1\r\nHost: x\r\n\r\n")  # two requests in one piece
    await client.listen()
    await until(lambda: bool(client.events), "the first block")
    client.writer.write(b"more garbage\r\n\r\n" * 1000)
    await publisher.publish("events.x", b"after")
    assert await client.has(1) == ["after"]
    await client.close()
    await until(lambda: pod.metric("ssecast_streams") == 0, "the slot back")


@pytest.mark.parametrize(
    "pieces",
    [
        [b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n"],
        [b"GET /events?subject=events.* HTTP/1.1\r\nhost:x\r\nX-Empty:\r\n\r\n"],
        [b"GET /ev", b"ents HTTP/1.1\r\nHost: x\r\n", b"\r\n"],
        [b"GET /events HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody"],
        [b"GET http://x/events HTTP/1.1\r\nHost: x\r\n\r\n"],
        [b"GET /events HTTP/1.1\r\n\r\n"],
    ],
    ids=["plain", "query", "pieces", "body", "absolute", "no headers"],
)
async def test_a_request_is_understood_however_it_comes(pod: Pod, publisher: Nats, pieces: list[bytes]) -> None:
    """A plain head is read by a pattern of our own, everything else by uvicorn's parser: both end in the same stream."""
    client = Client(*await asyncio.open_connection("127.0.0.1", pod.port))
    client.writer.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for piece in pieces:
        client.writer.write(piece)
        await asyncio.sleep(0)  # a packet each
    await client.listen()
    await until(lambda: bool(client.events), "the first block")
    await publisher.publish("events.x", b"hello")
    assert await client.has(1) == ["hello"]
    assert client.headers["content-type"] == "text/event-stream"
    assert client.headers["transfer-encoding"] == "chunked"
    assert "date" in client.headers
    await client.close()


@pytest.mark.parametrize(
    "head",
    [
        b"GET /events HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET /events HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n",
        b"GET /events HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n",
        b"GET /events HTTP/1.1\nHost: x\n\n\x00",
        b"GET /events HTTP/9.9\r\nHost: x\r\n\r\n",
    ],
)
async def test_a_malformed_head_is_400_and_takes_no_slot(pod: Pod, head: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", pod.port)
    writer.write(head)
    answer = await asyncio.wait_for(reader.readuntil(b"\r\n"), 30)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 400")
    await until(lambda: pod.metric("ssecast_streams") == 0, "no slot taken")


async def test_a_connection_that_never_sends_a_request_is_closed(pod: Pod) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", pod.port)
    writer.write(b"GET /events HTTP/1.1\r\nHost:")
    assert await asyncio.wait_for(reader.read(), 30) == b""
    writer.close()


@pytest.mark.parametrize(
    ("query", "parameter", "says"),
    [
        ("subjects=events.a", "subjects", "subject"),
        ("subject=events..a", "subject", "empty token"),
        ("subject=orders.a", "subject", "events.>"),
        ("subject=*", "subject", "events.>"),
        ("interval=soon", "interval", "milliseconds"),
        ("interval=-1", "interval", "milliseconds"),
        ("latest=true", "latest", "interval"),
        ("format=jsn", "format", "json"),
        ("last_event_id=a-1&last_event_id=a-2", "last_event_id", "more than once"),
    ],
)
def test_a_bad_parameter_is_named_with_what_is_allowed(pod: Pod, query: str, parameter: str, says: str) -> None:
    status, body = pod.request("GET", f"/events?{query}")
    assert status == 400
    assert body["detail"]["parameter"] == parameter
    assert says in json.dumps(body)


def test_head_options_and_other_methods_are_answered_properly(pod: Pod) -> None:
    assert pod.request("HEAD", "/events")[0] == 200
    assert pod.request("OPTIONS", "/events")[0] == 204
    assert pod.request("POST", "/events")[0] == 405
    assert pod.request("GET", "/nothing")[0] == 404


async def test_a_full_pod_sends_browsers_away_softly_and_others_with_503(
    nats_server: EmbeddedNats, make_pod: MakePod
) -> None:
    pod = await make_pod(nats_server.url, max_streams=1).start()
    first = await Client.open(pod.port)
    second = await Client.open(pod.port)
    await until(lambda: second.ended, "the refused stream to end")
    assert second.status == 200
    assert second.parser.retry is not None
    assert not second.events
    assert pod.request("GET", "/events", headers={"accept": "*/*"})[0] == 503
    assert pod.metric('ssecast_streams_refused_total{reason="full"}') == 2
    assert not first.ended
    await first.close()
    await until(lambda: pod.metric("ssecast_streams") == 0, "the slot back")


async def test_what_cannot_be_broadcast_is_dropped_and_the_stream_goes_on(
    nats_server: EmbeddedNats, make_pod: MakePod, publisher: Nats
) -> None:
    pod = await make_pod(nats_server.url, max_payload_bytes=100).start()
    client = await Client.open(pod.port)
    await publisher.publish("events.x", b"\xff\xfe")
    await publisher.publish("events.x", b"x" * 101)
    await publisher.publish("events.x", b"forged", headers={"Ssecast-Event": "gap"})
    await publisher.publish("events.x", b"fine")
    assert await client.has(1) == ["fine"]
    for reason in ("not_utf8", "too_large", "reserved_name"):
        assert pod.metric(f'ssecast_events_dropped_total{{reason="{reason}"}}') == 1
    await client.close()


async def test_heartbeats_of_a_filtered_stream_are_positions(
    nats_server: EmbeddedNats, make_pod: MakePod, publisher: Nats
) -> None:
    pod = await make_pod(nats_server.url, heartbeat_seconds=1).start()
    quiet = await Client.open(pod.port, "/events?subject=events.never")
    await publisher.publish("events.other", b"x")
    await until(lambda: quiet.last_id.endswith("-1"), "a heartbeat that is a position")
    assert not quiet.data
    await quiet.close()


async def test_the_client_module_and_the_page_are_served_where_asked_for(
    nats_server: EmbeddedNats, make_pod: MakePod
) -> None:
    plain = await make_pod(nats_server.url).start()
    assert "subscribe" in plain.request("GET", "/ssecast.js")[1]
    assert plain.request("GET", "/")[0] == 404
    assert plain.request("POST", "/publish/events.x", b"x")[0] == 404
    full = await make_pod(nats_server.url, page="true", publish="true").start()
    assert "<html" in full.request("GET", "/")[1]
    assert "/events" in full.request("GET", "/openapi.json")[1]["paths"]


async def test_publishing_over_http_answers_with_the_position(nats_server: EmbeddedNats, make_pod: MakePod) -> None:
    pod = await make_pod(nats_server.url, publish="true").start()
    client = await Client.open(pod.port)
    key = {"idempotency-key": "k1"}
    status, first = pod.request("POST", "/publish/events.x", b"hello", headers=key)
    assert status == 202
    assert pod.request("POST", "/publish/events.x", b"hello", headers=key)[1] == first | {"duplicate": True}
    assert await client.has(1) == ["hello"]
    assert client.last_id == first["position"]
    await client.close()


@pytest.mark.parametrize(
    ("subject", "payload", "name", "parameter"),
    [
        ("orders.x", b"no", "", "subject"),
        ("events.*", b"no", "", "subject"),
        ("events.%ff", b"no", "", "subject"),
        ("events.x", b"no", "position", "Ssecast-Event"),
        ("events.x", b"\xff", "", "body"),
    ],
)
async def test_what_cannot_be_published_is_named_with_what_can(
    nats_server: EmbeddedNats, make_pod: MakePod, subject: str, payload: bytes, name: str, parameter: str
) -> None:
    pod = await make_pod(nats_server.url, publish="true").start()
    status, body = pod.request("POST", f"/publish/{subject}", payload, headers={"ssecast-event": name})
    assert (status, body["detail"]["parameter"]) == (400, parameter)
    assert body["detail"]["problem"]
    assert body["detail"]["allowed"]


async def test_no_wildcard_reaches_what_is_the_servers_own(
    nats_server: EmbeddedNats, make_pod: MakePod, publisher: Nats
) -> None:
    """Whoever may publish anything could delete streams, and whoever may read anything could read answers to others."""
    await publisher.jetstream().add_stream(name="kept", subjects=["kept.>"])
    pod = await make_pod(nats_server.url, publish="true", stream="", subjects=">").start()
    for subject in ("$JS.API.STREAM.DELETE.kept", "$SYS.REQ.SERVER.PING", "_INBOX.x", "$KV.bucket.x"):
        status, body = pod.request("POST", f"/publish/{subject}", b"")
        assert (status, body["detail"]["parameter"]) == (400, "subject")
        assert pod.request("GET", f"/events?subject={subject}")[0] == 400
    client = await Client.open(pod.port)
    await until(lambda: bool(client.events), "the first block")
    assert (
        await publisher.jetstream().stream_info("kept")
    ).config.name == "kept"  # a request, and an answer to an inbox
    await publisher.publish("_INBOX.other", b"secret")
    await publisher.publish("events.x", b"for all")
    assert await client.has(1) == ["for all"]
    assert pod.request("POST", "/publish/events.x", b"by all")[0] == 202
    assert await client.has(2) == ["for all", "by all"]
    await client.close()


async def test_what_is_served_by_name_is_the_operators_will_but_no_api_of_the_server(
    nats_server: EmbeddedNats, make_pod: MakePod
) -> None:
    pod = await make_pod(nats_server.url, publish="true", stream="", subjects="$KV.bucket.>,$JS.>").start()
    assert pod.request("POST", "/publish/$KV.bucket.x", b"")[0] == 202
    assert pod.request("POST", "/publish/$JS.API.INFO", b"")[0] == 400


async def test_no_path_is_answered_with_a_redirect_to_where_the_client_says_we_are(pod: Pod) -> None:
    for path in ("/events/", "/info/", "/ssecast.js/"):
        assert pod.request("GET", path, headers={"host": "elsewhere.example"})[0] == 404


@pytest.mark.parametrize("stream", ["ssecast", ""], ids=["jetstream", "core"])
async def test_an_event_that_is_too_large_for_nats_is_413_and_interrupts_nobody(
    nats_server: EmbeddedNats, make_pod: MakePod, stream: str
) -> None:
    """NATS counts headers too, and throws out the pod that sends it more than it takes: with it, all of its streams."""
    pod = await make_pod(nats_server.url, publish="true", stream=stream, max_payload_bytes=2**21).start()
    client = await Client.open(pod.port)
    await until(lambda: bool(client.events), "the first block")
    for size, headers in ((2**20, {"ssecast-event": "n"}), (2**20 - 20, {"ssecast-event": "named"}), (2**20 + 1, {})):
        assert pod.request("POST", "/publish/events.x", b"x" * size, headers=headers)[0] == 413
    assert pod.request("POST", "/publish/events.x", b"small", headers={"ssecast-event": "n"})[0] == 202
    assert await client.has(1) == ["small"]
    assert not client.gaps
    restarts = [line for line in pod.admin("GET", "/metrics")[1].splitlines() if "source_restarts_total{" in line]
    assert all(line.endswith(" 0.0") for line in restarts), restarts
