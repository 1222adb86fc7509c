"""Access on real pods: who gets in by which way, how keys rotate, how streams end for their tokens."""

import asyncio
import contextlib
import http.client
import json
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from nats.aio.client import Client as Nats

from ssecast.dev import EmbeddedNats
from tests.harness import PATIENCE, Client, Pod, until
from tests.issuer import KeyServer, Signer, jwks, key_server, signer

ES, NEW = signer("ES256", kid="es"), signer("ES256", kid="new", number=1)
APP, EVIL = "https://app.example.com", "https://evil.example.com"
ALLOWED = "access-control-allow-origin"

StartPod = Callable[..., Awaitable[Pod]]


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: str

    @property
    def detail(self) -> Any:
        return json.loads(self.body)["detail"]


async def ask(pod: Pod, method: str, path: str, body: Any = None, *, version: Any = 11, **headers: str) -> Answer:
    """One request with nothing in it that was not asked for. version: of HTTP, 10 or 11."""
    return await asyncio.to_thread(_ask, pod, method, path, body, version, headers)


async def _is(status: int, pod: Pod, method: str, path: str, body: Any = None, **headers: str) -> bool:
    return (await ask(pod, method, path, body, **headers)).status == status


def _ask(pod: Pod, method: str, path: str, body: bytes | None, version: int, headers: dict[str, str]) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", pod.port, timeout=PATIENCE)
    connection._http_vsn, connection._http_vsn_str = version, f"HTTP/1.{version % 10}"  # type: ignore[attr-defined]
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, named)
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, found, answer.read().decode())
    finally:
        connection.close()


def bearer(*subscribe: str, of: Signer = ES, publish: tuple[str, ...] = (), **claims: Any) -> str:
    return "Bearer " + of.grant(list(subscribe), list(publish), **claims)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    file = tmp_path / "key.pem"
    file.write_bytes(ES.pem)
    return file


@pytest.fixture
async def keys() -> AsyncIterator[KeyServer]:
    async with key_server(ES) as server:
        yield server


@pytest.fixture
def start(nats_server: EmbeddedNats, make_pod: Callable[..., Pod], key_file: Path) -> StartPod:
    """Starts a pod that asks for tokens, by the key file unless another place of keys is given."""

    async def start(*, ready: bool = True, **settings: object) -> Pod:
        if "jwks_url" not in settings:
            settings["jwt_key_file"] = key_file
        return await make_pod(nats_server.url, **settings).start(ready=ready)

    return start


async def opened(pod: Pod, path: str = "/events", **headers: Any) -> Client:
    """A stream that is open: its first block has come."""
    client = await Client.open(pod.port, path, **headers)
    assert client.status == 200
    await until(lambda: bool(client.events), "the first block")
    return client


# Who gets in


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_a_token_opens_what_it_allows_and_nothing_else(start: StartPod, publisher: Nats, version: str) -> None:
    """Version 1.1 is answered at the door, 1.0 goes through uvicorn."""
    pod = await start(subjects="events.>")
    whole = await Client.open(pod.port, version=version, Authorization=bearer("events.a.>", "events.b", "orders.>"))
    part = await Client.open(
        pod.port, "/events?subject=events.a.x", version=version, Authorization=bearer("events.a.*")
    )
    for client in (whole, part):
        await until(lambda client=client: bool(client.events), "the first block")  # type: ignore[misc]
    for subject in ("events.c", "events.a.x", "events.a", "events.b.c", "events.b", "events.a.x.y"):
        await publisher.publish(subject, subject.encode())
    assert await whole.has(3) == ["events.a.x", "events.b", "events.a.x.y"]
    assert await part.has(1) == ["events.a.x"]


@pytest.mark.parametrize("version", [10, 11])
async def test_who_has_no_right_token_is_told_so_before_a_stream_opens(start: StartPod, version: int) -> None:
    pod = await start(jwt_issuer="me")
    cases: list[tuple[dict[str, str], int, str]] = [
        ({}, 401, "a token is needed"),
        ({"Authorization": bearer("events.>", of=NEW, iss="me")}, 401, "signed with a key that is not known"),
        ({"Authorization": bearer("events.>", iss="me", exp=1)}, 401, "has expired"),
        ({"Authorization": bearer("events.>", iss="you")}, 401, "another issuer"),
        ({"Authorization": bearer("orders.>", iss="me")}, 403, "allows no subject that is served here"),
    ]
    for headers, status, words in cases:
        answer = await ask(pod, "GET", "/events", version=version, Accept="text/event-stream", **headers)
        assert (answer.status, answer.headers["content-type"]) == (status, "application/json")
        assert words in answer.detail
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert pod.metric("ssecast_streams_opened_total") == 0
    assert pod.metric('ssecast_access_denied_total{reason="missing"}') == 1
    assert pod.metric('ssecast_access_denied_total{reason="subject"}') == 1
    assert pod.admin("GET", "/load")[1]["refused_total"] == 0, "no demand that more pods could meet"


@pytest.mark.parametrize("path", ["/events", "/events#"], ids=["at the door", "by uvicorn"])
async def test_streams_are_counted_by_who_the_token_is_for_and_not_by_address(start: StartPod, path: str) -> None:
    """One person with two tokens is one client, two people behind one address are two."""
    pod = await start(max_streams_per_client=1)
    ann, ann_again = (bearer("events.>", sub="ann", exp=time.time() + seconds) for seconds in (600, 700))
    assert ann != ann_again
    await opened(pod, path, Authorization=ann)
    refused = await Client.open(pod.port, path, Authorization=ann_again)
    await until(lambda: refused.ended, "the refusal")
    assert (refused.status, refused.events) == (200, [])
    assert (await ask(pod, "GET", path, Authorization=ann_again)).status == 429
    bob = await opened(pod, path, Authorization=bearer("events.>", sub="bob"))
    assert pod.load["refused_by_reason"]["client"] == 2
    await bob.close()
    await until(lambda: pod.load["streams"] == 1, "bob's slot back")
    await opened(pod, path, Authorization=bearer("events.>", sub="bob"))


async def test_what_needs_no_token_is_served_without_one(start: StartPod) -> None:
    pod = await start(page="true")
    for path in ("/", "/ssecast.js", "/info", "/openapi.json"):
        assert (await ask(pod, "GET", path)).status == 200


async def test_a_cookie_and_the_query_are_ways_where_they_are_set(start: StartPod, publisher: Nats) -> None:
    token = ES.grant(["events.a"])
    plain = await start()
    assert (await ask(plain, "GET", "/events", Cookie=f"session={token}")).status == 401
    assert (await ask(plain, "GET", f"/events?token={token}")).status == 401
    pod = await start(jwt_cookie="session", jwt_query="token")
    clients = [
        await opened(pod, Cookie=f"theme=dark; session={token}"),
        await opened(pod, f"/events?subject=events.a&token={token}"),
        await opened(pod, f"/events?token={token}", version="1.0"),
    ]
    await publisher.publish("events.a", b"hello")
    for client in clients:
        assert await client.has(1) == ["hello"]


async def test_no_log_and_no_trace_shows_a_token(start: StartPod, nats_server: EmbeddedNats, key_file: Path) -> None:
    """Not even where something fails with the token in its hands."""
    pod = await start(jwt_query="token", ready=True)
    await pod.stop()
    pod.environ |= {"OTEL_TRACES_EXPORTER": "console", "OTEL_BSP_SCHEDULE_DELAY": "50"}
    await pod.start()
    token = ES.grant(["events.>"])
    stranger = NEW.grant(["events.>"])
    stream = await opened(pod, f"/events?token={token}")
    for path in (
        f"/events?token={stranger}",
        f"/events?token={token}&subject=..",
        f"/events?token={token}&subject={token}",
        f"/nothing?token={token}",
        f"/publish/events.x?token={token}",
        f"/info?token={token}",
    ):
        answer = await ask(pod, "GET", path)
        assert f"token={token}" not in answer.body
    await stream.close()
    await until(lambda: "stream close" in pod.log.read_text(), "the span of the stream")
    await pod.stop()
    text = pod.log.read_text()
    for part in (token, stranger):
        assert part.split(".")[1] not in text


# The end of a stream


async def test_a_stream_ends_before_its_token_and_goes_on_with_a_new_one(start: StartPod, publisher: Nats) -> None:
    pod = await start()
    exp = int(time.time()) + 5
    client = await opened(pod, Authorization=bearer("events.>", exp=exp))
    lasting = await opened(pod, Authorization=bearer("events.>"))
    await publisher.publish("events.x", b"1")
    await client.has(1)
    await until(lambda: client.ended, "the end of the stream")
    assert time.time() < exp
    assert client.complete, "an orderly end"
    assert 50 <= (client.parser.retry or 0) <= 1000, "a short way back"
    await until(lambda: pod.metric('ssecast_streams_closed_total{reason="token"}') == 1, "the count")
    assert pod.admin("GET", "/load")[1]["closed_total"]["token"] == 1
    await publisher.publish("events.x", b"2")
    again = await opened(pod, last_event_id=client.last_id, Authorization=bearer("events.>"))
    assert await again.has(1) == ["2"]
    assert not lasting.ended


# Keys that change


async def test_a_new_key_in_the_file_counts_without_a_restart(start: StartPod, key_file: Path, publisher: Nats) -> None:
    pod = await start()
    before = await opened(pod, Authorization=bearer("events.>"))
    assert (await ask(pod, "HEAD", "/events", Authorization=bearer("events.>", of=NEW))).status == 401
    replacement = key_file.with_name("next")
    replacement.write_bytes(NEW.pem)
    replacement.replace(key_file)
    after = await opened(pod, Authorization=bearer("events.>", of=NEW))
    assert (await ask(pod, "HEAD", "/events", Authorization=bearer("events.>"))).status == 401
    assert pod.metric('ssecast_access_key_loads_total{result="ok"}') == 2
    key_file.write_bytes(b"oops")
    await until(lambda: pod.metric('ssecast_access_key_loads_total{result="failed"}') == 1, "the failure")
    assert "cannot be used; the old keys stay in force" in pod.log.read_text()
    assert (await ask(pod, "HEAD", "/events", Authorization=bearer("events.>", of=NEW))).status == 200
    await publisher.publish("events.x", b"for both")
    for client in (before, after):
        assert await client.has(1) == ["for both"]


async def test_a_key_that_is_new_at_the_address_is_fetched_by_the_request_that_needs_it(
    start: StartPod, keys: KeyServer
) -> None:
    pod = await start(jwks_url=keys.url)
    await opened(pod, Authorization=bearer("events.>"))
    assert keys.requests == 1, "at the start, and never for a key that is known"
    keys.body = jwks(ES, NEW)
    await opened(pod, Authorization=bearer("events.>", of=NEW))
    assert keys.requests == 2
    assert pod.metric("ssecast_access_keys") == 2
    await opened(pod, Authorization=bearer("events.>", of=NEW))
    assert keys.requests == 2


async def test_while_the_address_fails_known_keys_are_good_and_unknown_ones_are_nobodys_fault(
    start: StartPod, keys: KeyServer
) -> None:
    pod = await start(jwks_url=keys.url, publish="true")
    keys.status = 500
    unknown = bearer("events.>", of=NEW, publish=("events.>",))
    browser = await ask(pod, "GET", "/events", Accept="text/event-stream", Authorization=unknown)
    assert (browser.status, browser.body.startswith("retry: ")) == (200, True)
    assert (await ask(pod, "GET", "/events", Authorization=unknown)).status == 503
    publish = await ask(pod, "POST", "/publish/events.x", b"x", Authorization=unknown)
    assert (publish.status, publish.headers["retry-after"]) == (503, "5")
    assert publish.detail == "the keys that verify tokens cannot be had now"
    await opened(pod, Authorization=bearer("events.>"))
    assert pod.metric('ssecast_access_denied_total{reason="keys_away"}') == 3
    assert pod.metric('ssecast_access_key_loads_total{result="failed"}') >= 1
    assert "the JWK Set is away; the old keys stay in force" in pod.log.read_text()
    assert pod.admin("GET", "/readyz")[0] == 200
    keys.status, keys.body = 200, jwks(ES, NEW)
    await until(lambda: _is(200, pod, "HEAD", "/events", Authorization=unknown), "the new key")


async def test_strangers_with_made_up_keys_keep_nobody_from_a_key_that_is_new(start: StartPod, keys: KeyServer) -> None:
    """They use up what the address may be asked. Who comes with the new key then is told to come back, and let in soon."""
    pod = await start(jwks_url=keys.url, publish="true")
    made_up = bearer("events.>", of=signer("ES256", kid="made up", number=2))
    told: list[Answer] = []
    while not told or told[-1].status == 401:
        told.append(await ask(pod, "GET", "/events", Accept="text/event-stream", Authorization=made_up))
    assert (told[0].status, told[-1].status) == (401, 200), "known not to be there, and nobody knows"
    keys.body = jwks(ES, NEW)
    new = bearer("events.>", of=NEW, publish=("events.>",))
    browser = await ask(pod, "GET", "/events", Accept="text/event-stream", Authorization=new)
    assert browser.status == 200
    assert browser.body.startswith("retry: ")
    publish = await ask(pod, "POST", "/publish/events.x", b"x", Authorization=new)
    assert (publish.status, publish.headers["retry-after"]) == (503, "5")
    await until(lambda: _is(200, pod, "HEAD", "/events", Authorization=new), "the new key")


async def test_a_slow_address_keeps_nobody_waiting_but_those_who_need_it(
    start: StartPod, keys: KeyServer, publisher: Nats
) -> None:
    pod = await start(jwks_url=keys.url)
    keys.held.clear()
    keys.body = jwks(ES, NEW)
    waiting = asyncio.ensure_future(Client.open(pod.port, Authorization=bearer("events.>", of=NEW)))
    await until(lambda: keys.requests == 2, "the fetch")
    known = await opened(pod, Authorization=bearer("events.>"))
    await publisher.publish("events.x", b"live")
    assert await known.has(1) == ["live"]
    assert not waiting.done()
    keys.held.set()
    assert (await waiting).status == 200


async def test_a_pod_without_keys_is_not_ready_and_becomes_so(start: StartPod, keys: KeyServer) -> None:
    """A rollout with a wrong address stops at its first pod."""
    keys.status = 404
    pod = await start(jwks_url=keys.url, ready=False)
    await until(lambda: "SSECAST_JWKS_URL" in json.dumps(pod.admin("GET", "/readyz")[1]), "the reason")
    assert pod.admin("GET", "/readyz")[0] == 503
    refused = await ask(pod, "GET", "/events", Accept="text/event-stream", Authorization=bearer("events.>"))
    assert refused.status == 200
    assert "come back" in refused.body
    keys.status = 200
    await until(lambda: pod.admin("GET", "/readyz")[0] == 200, "the pod ready")
    await opened(pod, Authorization=bearer("events.>"))


# Publishing


async def test_publishing_needs_the_claim_for_it(start: StartPod) -> None:
    pod = await start(publish="true")
    assert (await ask(pod, "POST", "/publish/events.a.x", b"no")).status == 401
    reader = await ask(pod, "POST", "/publish/events.a.x", b"no", Authorization=bearer("events.>"))
    assert (reader.status, reader.detail["problem"]) == (403, "is not allowed by the token")
    writer = bearer("events.b", publish=("events.a.*",))
    assert (await ask(pod, "POST", "/publish/events.b", b"no", Authorization=writer)).status == 403
    assert (await ask(pod, "POST", "/publish/events.a.*", b"no", Authorization=writer)).status == 400
    assert (await ask(pod, "POST", "/publish/orders.a", b"no", Authorization=writer)).status == 400
    assert (await ask(pod, "POST", "/publish/events.a.x", b"yes", Authorization=writer)).status == 202
    stream = await opened(pod, last_event_id="0-0", Authorization=bearer("events.>"))
    await until(lambda: stream.data == ["yes"] or bool(stream.gaps), "what was stored")
    assert (await ask(pod, "GET", "/events?subject=events.a.x", Authorization=writer)).status == 403


async def test_one_idempotency_key_of_two_people_makes_two_events(start: StartPod) -> None:
    """Nobody may make another one's event a duplicate by guessing its key."""
    pod = await start(publish="true")
    ann, bob = bearer(publish=("events.>",), sub="ann"), bearer(publish=("events.>",), sub="bob")
    answers = [
        await ask(pod, "POST", "/publish/events.x", b"hello", Authorization=who, Idempotency_Key="order-1")
        for who in (ann, bearer(publish=("events.>",), sub="ann", jti="a newer token"), bob)
    ]
    assert [answer.status for answer in answers] == [202] * 3
    first, again, other = (json.loads(answer.body) for answer in answers)
    assert again == first | {"duplicate": True}
    assert "duplicate" not in other
    assert bob != ann


async def test_an_event_that_nobody_stored_is_503_and_not_202(start: StartPod, nats_server: EmbeddedNats) -> None:
    pod = await start(publish="true")
    writer = bearer(publish=("events.>",))
    nats_server.stop()
    answer = await ask(pod, "POST", "/publish/events.x", b"x", Authorization=writer)
    assert (answer.status, "retry-after" in answer.headers) == (503, True)
    nats_server.start()
    key = {"Authorization": writer, "Idempotency_Key": "k"}
    await until(lambda: _is(202, pod, "POST", "/publish/events.x", b"x", **key), "NATS again")


COOKIE_CASES: list[tuple[dict[str, str], int, str]] = [
    ({}, 403, "needs the header `Origin`"),
    ({"Origin": EVIL}, 403, "must come from a page of this origin"),
    ({"Origin": "null"}, 403, "must come from a page of this origin"),
    ({"Origin": EVIL, "Sec_Fetch_Site": "cross-site"}, 403, "must come from a page of this origin"),
    ({"Origin": APP}, 202, ""),
    ({"Origin": "http://pod.example", "Host": "pod.example"}, 202, ""),
    ({"Origin": "https://pod.example", "Host": "pod.example"}, 403, "must come from a page of this origin"),
    ({"Origin": "https://pod.example", "Host": "pod.example", "X_Forwarded_Proto": "https"}, 202, ""),
    ({"Origin": "https://pod.example", "Host": "pod.example", "Sec_Fetch_Site": "same-origin"}, 202, ""),
]


async def test_a_cookie_publishes_only_from_pages_that_may(start: StartPod) -> None:
    """The browser adds the cookie to what any page sends. A token in the header was put there by whoever sends it."""
    pod = await start(publish="true", jwt_cookie="session", cors_origins=APP)
    cookie = f"session={ES.grant([], ['events.>'])}"
    token = bearer(publish=("events.>",))
    for headers, status, words in COOKIE_CASES:
        answer = await ask(pod, "POST", "/publish/events.x", b"x", Cookie=cookie, **headers)
        assert answer.status == status, headers
        assert words in answer.body
        answer = await ask(pod, "POST", "/publish/events.x", b"x", Authorization=token, Cookie=cookie, **headers)
        assert answer.status == 202, headers
    assert (await ask(pod, "HEAD", "/events", Cookie=f"session={ES.grant(['events.>'])}")).status == 200, (
        "reading needs none"
    )


# Other origins


async def test_pages_of_allowed_origins_may_read_whatever_is_answered(start: StartPod) -> None:
    pod = await start(cors_origins=f"{APP},http://localhost:3000", page="true", publish="true", max_streams=1)
    token = bearer("events.>", publish=("events.>",))
    answers = [  # while there is room: a full pod does not look at tokens
        (401, await ask(pod, "GET", "/events", Origin=APP)),
        (403, await ask(pod, "GET", "/events?subject=events.a", Origin=APP, Authorization=bearer("events.b"))),
        (400, await ask(pod, "GET", "/events?subject=..", Origin=APP, Authorization=token)),
    ]
    stream = await opened(pod, Origin=APP, Authorization=token)
    assert (stream.headers[ALLOWED], stream.headers["vary"]) == (APP, "origin")
    answers += [
        (200, await ask(pod, "GET", "/events", Origin=APP, Authorization=token, Accept="text/event-stream")),
        (503, await ask(pod, "GET", "/events", Origin=APP, Authorization=token)),
        (405, await ask(pod, "DELETE", "/events", Origin=APP)),
        (404, await ask(pod, "GET", "/nothing", Origin=APP)),
        (200, await ask(pod, "GET", "/info", Origin=APP)),
        (200, await ask(pod, "GET", "/ssecast.js", Origin=APP)),
        (202, await ask(pod, "POST", "/publish/events.x", b"x", Origin=APP, Authorization=token)),
        (401, await ask(pod, "POST", "/publish/events.x", b"x", Origin=APP)),
        (413, await ask(pod, "POST", "/publish/events.x", b"x" * (1 << 21), Origin=APP, Authorization=token)),
    ]
    for status, answer in answers:
        assert answer.status == status
        assert answer.headers[ALLOWED] == APP
        assert answer.headers["access-control-allow-credentials"] == "true"
        assert answer.headers["vary"] == "Origin"
    for origin in ({"Origin": EVIL}, {}):
        other = await ask(pod, "GET", "/info", **origin)
        assert ALLOWED not in other.headers
        assert other.headers["vary"] == "Origin"


async def test_everybody_may_read_without_credentials(nats_server: EmbeddedNats, make_pod: Callable[..., Pod]) -> None:
    pod = await make_pod(nats_server.url, cors_origins="*").start()
    for origin in ({"Origin": EVIL}, {}):
        stream = await opened(pod, **origin)
        assert stream.headers[ALLOWED] == "*"
        assert "access-control-allow-credentials" not in stream.headers
        assert (await ask(pod, "GET", "/info", **origin)).headers[ALLOWED] == "*"


async def test_a_preflight_is_answered_for_the_headers_that_clients_send(start: StartPod) -> None:
    pod = await start(cors_origins=APP, publish="true")
    for path, method, headers in (
        ("/events", "GET", "last-event-id, authorization"),
        ("/publish/events.x", "POST", "authorization, content-type, idempotency-key, ssecast-event"),
    ):
        asked = {"Access_Control_Request_Method": method, "Access_Control_Request_Headers": headers}
        answer = await ask(pod, "OPTIONS", path, Origin=APP, **asked)
        allowed = answer.headers["access-control-allow-headers"].lower().split(", ")
        assert (answer.status, answer.headers[ALLOWED], answer.body) == (204, APP, "")
        assert set(headers.split(", ")) <= set(allowed)
        assert method in answer.headers["access-control-allow-methods"].split(", ")
        assert ALLOWED not in (await ask(pod, "OPTIONS", path, Origin=EVIL, **asked)).headers


async def test_without_the_setting_no_other_origin_is_told_anything(pod: Pod) -> None:
    asked = {"Origin": APP, "Access_Control_Request_Method": "GET"}
    stream = await opened(pod, Origin=APP)
    headers = [
        stream.headers,
        (await ask(pod, "GET", "/info", Origin=APP)).headers,
        (await ask(pod, "OPTIONS", "/events", **asked)).headers,
    ]
    for each in headers:
        assert ALLOWED not in each
        assert "vary" not in each


# What is not for the public


ADMIN_PATHS = ("healthz", "readyz", "metrics", "load", "shed", "drain", "undrain")
TRICKS = (
    "/{}",
    "//{}",
    "/./{}",
    "/events/../{}",
    "/%2e%2e/{}",
    "/{}/",
    "/{}%00",
    "/{}?x=1",
    "/events/{}",
    "/;/{}",
    "/{};x",
)


async def test_no_way_leads_from_the_public_port_to_an_admin_route(pod: Pod) -> None:
    admin = f"127.0.0.1:{pod.admin_port}"
    for path in ADMIN_PATHS:
        assert pod.admin("GET", f"/{path}")[0] in (200, 405), "it is there on the other port"
        for trick in TRICKS:
            for method in ("GET", "POST"):
                assert _raw(pod, method, trick.format(path)) in (404, 405), (method, trick, path)
        upper, encoded = path.upper(), "".join(f"%{ord(letter):02x}" for letter in path)
        for target in (f"http://{admin}/{path}", f"/{upper}", f"/{encoded}"):
            assert _raw(pod, "GET", target) == 404, target
        for headers in (
            {"Host": admin},
            {"X-Original-URL": f"/{path}"},
            {"X-Rewrite-URL": f"/{path}"},
            {"X-Forwarded-Host": admin, "X-Forwarded-Port": str(pod.admin_port), "X-Forwarded-Prefix": f"/{path}"},
            {"X-HTTP-Method-Override": "POST", "X-Forwarded-Path": f"/{path}"},
        ):
            assert _raw(pod, "GET", f"/{path}", **headers) == 404, headers
            assert "ssecast_" not in (await ask(pod, "GET", "/info", **headers)).body
    assert pod.admin("GET", "/load")[1]["draining"] is False


def _raw(pod: Pod, method: str, target: str, **headers: str) -> int:
    """The status of a request whose target is sent as it stands."""
    connection = http.client.HTTPConnection("127.0.0.1", pod.port, timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.putrequest(method, target, skip_host="Host" in headers, skip_accept_encoding=True)
        for name, value in ({"Content-Length": "2"} | headers if method == "POST" else headers).items():
            connection.putheader(name, value)
        connection.endheaders(b"{}" if method == "POST" else None)
        return connection.getresponse().status


async def test_the_page_may_load_and_be_loaded_by_nothing_else(start: StartPod) -> None:
    headers = (await ask(await start(page="true"), "GET", "/")).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    for kind, own in (("script-src", "'self' "), ("style-src", "")):
        assert re.fullmatch(own + r"'sha256-[A-Za-z0-9+/]{43}='", policy[kind]), (
            "its own, and nothing that is brought in"
        )
    assert policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert policy["base-uri"] == "'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


async def test_the_description_says_how_to_send_a_token(start: StartPod, nats_server: EmbeddedNats, pod: Pod) -> None:
    described = json.loads(
        (await ask(await start(jwt_cookie="c", jwt_query="q", publish="true"), "GET", "/openapi.json")).body
    )
    schemes = described["components"]["securitySchemes"]
    assert schemes["bearer"] == {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    assert (schemes["cookie"]["name"], schemes["query"]["name"]) == ("c", "q")
    for path, method in (("/events", "get"), ("/publish/{subject}", "post")):
        operation = described["paths"][path][method]
        assert operation["security"] == [{"bearer": []}, {"query": []}, {"cookie": []}]
        assert {"401", "403", "503"} <= operation["responses"].keys()
    assert "security" not in described["paths"]["/info"]["get"]
    plain = json.loads((await ask(pod, "GET", "/openapi.json")).body)
    assert "securitySchemes" not in plain.get("components", {})
    assert "401" not in plain["paths"]["/events"]["get"]["responses"]


# The README


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not here: apt-get install openssl")
async def test_the_commands_of_the_readme_make_a_token_that_is_let_in(
    nats_server: EmbeddedNats, make_pod: Callable[..., Pod], publisher: Nats, tmp_path: Path
) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    shell = next(block for block in re.findall(r"```sh\n(.*?)```", readme, re.DOTALL) if "openssl" in block)
    *commands, serve = shell.strip().splitlines()
    subprocess.run("\n".join(commands), shell=True, check=True, capture_output=True, cwd=tmp_path)
    settings = dict(word.split("=", 1) for word in shlex.split(serve) if "=" in word)
    program = next(block for block in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "jwt.encode" in block)
    made = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=tmp_path)
    pod = make_pod(nats_server.url, publish="true")
    pod.environ |= settings | {"SSECAST_JWT_KEY_FILE": str(tmp_path / settings["SSECAST_JWT_KEY_FILE"])}
    await pod.start()
    token = f"Bearer {made.stdout.strip()}"
    client = await opened(pod, Authorization=token)
    for subject in ("events.chat.a", "events.news.a", "events.user.bob", "events.user.ann"):
        await publisher.publish(subject, subject.encode())
    assert await client.has(2) == ["events.news.a", "events.user.ann"]
    assert (await ask(pod, "POST", "/publish/events.chat.x", b"hello", Authorization=token)).status == 202
    assert (await ask(pod, "POST", "/publish/events.news.x", b"hello", Authorization=token)).status == 403
