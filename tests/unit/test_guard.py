"""guard.py in front of a small app, without a socket: what is let through, and what it costs to be refused."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.responses import JSONResponse
from starlette.types import Message, Receive, Scope, Send

from ssecast import guard as room
from ssecast.guard import BODY_MAX_BYTES, Gate, Guard
from ssecast.signature import MAX_SKEW_MS, signed

TOKEN, OTHER = "a-token-of-some-length", "another-one-just-as-long"
NOW = 1_780_000_000_000


class Pod:
    """A gate in front of an app that notes what it is told. status: what the app answers, or raises."""

    def __init__(self, token_file: str | None) -> None:
        self.now = NOW
        self.guard = Guard("uid-1", token_file, lambda: self.now)
        self.orders: list[tuple[str, str, bytes]] = []
        self.status = 202
        self.gate = Gate(self.app, self.guard, lambda: {"streams": 7})

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.status == 500:
            raise RuntimeError("a defect")
        body = (await receive())["body"] if scope["method"] == "POST" else b""
        self.orders.append((scope["method"], scope["path"], body))
        await JSONResponse({"carried": "out"}, self.status)(scope, receive, send)

    async def send(
        self, path: str = "/drain", body: bytes = b"{}", headers: dict[str, str] | None = None, method: str = "POST"
    ) -> httpx.Response:
        transport = httpx.ASGITransport(self.gate)
        async with httpx.AsyncClient(transport=transport, base_url="http://pod") as client:
            return await client.request(method, path, content=body, headers=headers)

    async def order(self, path: str = "/drain", body: bytes = b"{}", token: str = TOKEN) -> httpx.Response:
        """Signed now."""
        return await self.send(path, body, signed(token, "uid-1", "POST", path, body, self.now))


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    path.write_text(f"{TOKEN}\n")
    return path


@pytest.fixture
def locked(tokens: Path) -> Pod:
    return Pod(str(tokens))


async def test_without_a_file_orders_need_no_signature() -> None:
    pod = Pod(None)
    assert (await pod.send(body=b"1")).status_code == 202
    assert (await pod.send(body=b"1")).json() == {"carried": "out"}
    assert pod.orders == [("POST", "/drain", b"1")] * 2


async def test_a_signed_order_reaches_the_app_with_its_body(locked: Pod) -> None:
    assert (await locked.order(body=b'{"window_seconds": 1}')).json() == {"carried": "out"}
    assert locked.orders == [("POST", "/drain", b'{"window_seconds": 1}')]


async def test_an_order_that_is_not_signed_gets_a_sentence_and_does_not_reach_the_app(locked: Pod) -> None:
    answer = await locked.send()
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Ssecast-HMAC-SHA256"
    assert answer.json()["detail"].startswith("this pod takes signed orders only")
    assert (locked.orders, locked.guard.refused) == ([], {"unsigned": 1})


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_reading_is_always_open(locked: Pod, method: str) -> None:
    assert (await locked.send("/load", b"", method=method)).status_code == 202


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "BREW"])
async def test_whatever_is_not_reading_needs_a_signature(locked: Pod, method: str) -> None:
    assert (await locked.send(method=method)).status_code == 401


async def test_a_web_page_gives_no_orders(locked: Pod) -> None:
    """A browser says where it comes from; what it can reach may be more than what its visitor wants to be drained."""
    for pod in (locked, Pod(None)):
        answer = await pod.send(headers={"origin": "https://example.org"})
        assert (answer.status_code, pod.orders, pod.guard.refused) == (403, [], {"origin": 1})


async def test_the_same_signed_request_is_carried_out_once(locked: Pod) -> None:
    """Sent again because its answer was lost, or by somebody who overheard it."""
    first, second = await locked.order("/shed"), await locked.order("/shed")
    assert (first.status_code, first.json()) == (202, {"carried": "out"})
    assert (second.status_code, second.json()) == (202, {"streams": 7, "repeated": True})
    locked.now += 1
    assert (await locked.order("/shed")).json() == {"carried": "out"}
    assert len(locked.orders) == 2


async def test_the_same_signed_request_twice_at_the_same_time_is_carried_out_once(locked: Pod) -> None:
    answers = await asyncio.gather(locked.order("/shed"), locked.order("/shed"))
    assert [answer.status_code for answer in answers] == [202, 202]
    assert len(locked.orders) == 1


@pytest.mark.parametrize("status", [422, 409])
async def test_an_order_that_was_not_carried_out_may_be_sent_again(locked: Pod, status: int) -> None:
    locked.status = status
    assert (await locked.order()).status_code == status
    locked.status = 202
    assert (await locked.order()).json() == {"carried": "out"}


async def test_a_defect_leaves_the_order_open(locked: Pod) -> None:
    locked.status = 500
    with pytest.raises(RuntimeError):
        await locked.order()
    locked.status = 202
    assert (await locked.order()).json() == {"carried": "out"}


async def test_what_was_carried_out_is_remembered_until_it_is_too_old(locked: Pod) -> None:
    """An order from a clock that is ahead can be sent again for a minute."""
    ahead = signed(TOKEN, "uid-1", "POST", "/shed", b"{}", NOW + MAX_SKEW_MS)
    assert (await locked.send("/shed", headers=ahead)).json() == {"carried": "out"}
    for _ in range(20):
        locked.now += MAX_SKEW_MS // 10
        assert (await locked.order()).json() == {"carried": "out"}
        assert (await locked.send("/shed", headers=ahead)).json()["repeated"] is True
    locked.now += 1
    assert (await locked.send("/shed", headers=ahead)).status_code == 401
    assert len(locked.orders) == 21


async def test_what_is_remembered_is_bounded(locked: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "REMEMBERED_MAX", 3)
    for _ in range(3):
        locked.now += 1
        assert (await locked.order()).status_code == 202
    locked.now += 1
    assert (await locked.order()).status_code == 429
    locked.now += MAX_SKEW_MS
    assert (await locked.order()).status_code == 202


async def test_tokens_are_exchanged_without_a_moment_in_which_nobody_can_sign(locked: Pod, tokens: Path) -> None:
    for text, accepted in (
        (f"{TOKEN}\n", {TOKEN}),
        (f"{TOKEN}\n{OTHER}\n", {TOKEN, OTHER}),
        (f"{OTHER}\n{TOKEN}\n", {TOKEN, OTHER}),
        (f"{OTHER}\n", {OTHER}),
    ):
        tokens.write_text(text)
        locked.now += 1
        for token in (TOKEN, OTHER):
            assert ((await locked.order(token=token)).status_code == 202) is (token in accepted)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda path: path.unlink(), "No such file or directory"),
        (lambda path: path.write_text(""), "it holds no token"),
        (lambda path: path.write_text("short"), "it holds a token of less than 16 characters"),
    ],
)
async def test_without_a_token_that_can_be_read_nobody_gives_orders(
    locked: Pod, tokens: Path, spoil: Callable[[Path], Any], why: str
) -> None:
    """Neither everybody nor who knew the last one: to take a token away is a way to lock the door."""
    assert (await locked.order()).status_code == 202
    spoil(tokens)
    locked.now += 1
    answer = await locked.order()
    assert answer.status_code == 503
    assert answer.json()["detail"].endswith(f"for its token file is no use: {why}")
    assert locked.guard.refused == {"token_file": 1}
    tokens.write_text(TOKEN)
    assert (await locked.order()).status_code == 202


async def test_a_body_is_read_no_further_than_an_order_can_be_long() -> None:
    pod = Pod(None)
    assert (await pod.send(body=b"x" * BODY_MAX_BYTES)).status_code == 202
    assert (await pod.send(body=b"x" * (BODY_MAX_BYTES + 1))).status_code == 413
    assert len(pod.orders) == 1


class Slow:
    """A request whose body comes in the parts that are given, and then nothing."""

    def __init__(self, *messages: Message) -> None:
        self.messages = list(messages)
        self.sent: list[Message] = []

    async def receive(self) -> Message:
        if self.messages:
            return self.messages.pop(0)
        await asyncio.get_running_loop().create_future()
        raise AssertionError("a future that nobody sets")

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    async def call(self, pod: Pod) -> int:
        scope = {"type": "http", "method": "POST", "path": "/undrain", "headers": []}
        await pod.gate(scope, self.receive, self.send)
        status: int = self.sent[0]["status"]
        return status


async def test_a_body_in_parts_is_put_together() -> None:
    pod = Pod(None)
    parts: list[Message] = [
        {"type": "http.request", "body": part, "more_body": part != b"3"} for part in (b"1", b"2", b"3")
    ]
    assert await Slow(*parts).call(pod) == 202
    assert pod.orders == [("POST", "/undrain", b"123")]


async def test_an_order_whose_sender_is_gone_before_its_end_is_none() -> None:
    pod = Pod(None)
    parts: list[Message] = [{"type": "http.request", "body": b"1", "more_body": True}, {"type": "http.disconnect"}]
    assert await Slow(*parts).call(pod) == 413
    assert pod.orders == []


async def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "BODY_SECONDS", 0.05)
    pod = Pod(None)
    assert await Slow({"type": "http.request", "body": b"1", "more_body": True}).call(pod) == 413
    assert pod.orders == []


async def test_what_is_no_request_passes_by() -> None:
    """A lifespan, as any server may send one."""
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    slow = Slow()
    await Gate(app, Guard("uid-1", None), dict)({"type": "lifespan"}, slow.receive, slow.send)
    assert seen == ["lifespan"]


async def test_the_clock_is_unix_time_in_milliseconds(tokens: Path) -> None:
    pod = Pod(None)
    pod.gate = Gate(pod.app, Guard("uid-1", str(tokens)), dict)
    pod.now = int(time.time() * 1000)
    assert (await pod.order()).status_code == 202
