"""jwks.py against a real server of keys: it rotates, fails, dawdles and answers nonsense."""

import asyncio
import io
import json
from collections.abc import AsyncIterator

import pytest

from ssecast import jwks
from ssecast.access import KeysAway
from ssecast.jwks import ASKED_BURST, ASKED_SECONDS, MAX_BYTES, Jwks
from ssecast.keys import ALGORITHMS
from ssecast.logs import Level, configure
from tests.harness import free_port, until
from tests.issuer import KeyServer, key_server, signer
from tests.issuer import jwks as document

OLD, NEW = signer("ES256", kid="old"), signer("ES256", kid="new", number=1)


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def server() -> AsyncIterator[KeyServer]:
    async with key_server(OLD) as found:
        yield found


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ring(server: KeyServer, clock: Clock) -> Jwks:
    return Jwks(server.url, ALGORITHMS, clock)


async def asking(ring: Jwks) -> bool:
    try:
        await ring.freshen()
    except KeysAway:
        return False
    return True


def kids(ring: Jwks) -> list[str | None]:
    return [key.kid for key in ring.keys]


async def test_keys_come_at_the_start_and_again_when_the_address_is_back(server: KeyServer, ring: Jwks) -> None:
    """Failures are tried again soon, without being asked."""
    server.status = 500
    running = asyncio.ensure_future(ring.run())
    await until(lambda: ring.loads["failed"] > 0, "the first failure")
    assert (ring.keys, ring.loaded_at) == ((), 0.0)
    server.status = 200
    await until(lambda: kids(ring) == ["old"], "the keys")
    assert ring.loaded_at > 0
    running.cancel()


async def test_a_rotation_is_seen_when_somebody_asks(server: KeyServer, ring: Jwks) -> None:
    await ring.freshen()
    first = ring.keys
    await ring.freshen()
    assert ring.keys is first, "the same keys stay the same object"
    server.body = document(OLD, NEW)
    await ring.freshen()
    assert kids(ring) == ["old", "new"]


async def test_a_key_that_is_gone_verifies_no_more(server: KeyServer, ring: Jwks) -> None:
    await ring.freshen()
    server.body = document(NEW)
    await ring.freshen()
    assert kids(ring) == ["new"]


async def test_many_who_ask_at_once_share_one_fetch(server: KeyServer, ring: Jwks) -> None:
    server.held.clear()
    asking = [asyncio.ensure_future(ring.freshen()) for _ in range(100)]
    await until(lambda: server.requests == 1, "the fetch")
    asking[0].cancel()
    server.held.set()
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError), "who goes away does not take the fetch with it"
    assert answers[1:] == [None] * 99
    assert (server.requests, kids(ring)) == (1, ["old"])


async def test_strangers_can_cause_few_fetches(server: KeyServer, ring: Jwks, clock: Clock) -> None:
    """Tokens with made-up key ids cost the address a few requests and then one now and then. In between nobody is told that
    there is no such key, for nobody has looked."""

    async def answered() -> int:
        """How many of fifty who ask one after the other are told for sure; the others shall come back."""
        return sum([await asking(ring) for _ in range(50)])

    assert await answered() == server.requests == ASKED_BURST
    clock.now += ASKED_SECONDS
    assert await answered() == 1
    assert server.requests == ASKED_BURST + 1
    clock.now += 1e6
    assert await answered() == ASKED_BURST
    assert server.requests == 2 * ASKED_BURST + 1


async def test_a_rotation_behind_the_backs_of_strangers_is_seen_at_the_next_turn(
    server: KeyServer, ring: Jwks, clock: Clock
) -> None:
    """Until then a token with the new key is not refused: its browser would never come back."""
    for _ in range(ASKED_BURST):
        await ring.freshen()
    server.body = document(OLD, NEW)
    with pytest.raises(KeysAway, match="too often"):
        await ring.freshen()
    assert kids(ring) == ["old"]
    clock.now += ASKED_SECONDS
    await ring.freshen()
    assert kids(ring) == ["old", "new"]


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (500, b"", "was answered with status 500"),
        (302, b"", "was answered with status 302"),
        (204, b"", "was answered with status 204"),
        (200, b"<html>", "is no JSON"),
        (200, b"[]", "is JSON, but no JWK Set"),
        (200, b'{"keys": []}', "is JSON, but no JWK Set"),
        (200, b'{"keys": [{"kty": "RSA", "use": "enc"}]}', "not meant for signatures"),
        (200, document(signer("HS256")), "a secret that everybody can read"),
        (200, b" " * (MAX_BYTES + 1), f"larger than {MAX_BYTES} bytes"),
    ],
    ids=["500", "redirect", "no content", "html", "list", "empty", "encryption", "secret", "large"],
)
async def test_while_the_address_fails_the_old_keys_stay(
    server: KeyServer, ring: Jwks, status: int, body: bytes, words: str
) -> None:
    await ring.freshen()
    good = server.body
    server.status, server.body = status, body
    server.headers = f"Location: {server.url}\r\n"
    with pytest.raises(KeysAway, match=words):
        await ring.freshen()
    assert (kids(ring), ring.loads) == (["old"], {"ok": 1, "failed": 1})
    server.status, server.body = 200, good
    await ring.freshen()
    assert ring.loads == {"ok": 2, "failed": 1}


async def test_who_may_not_cause_a_fetch_is_told_whether_the_last_one_failed(
    server: KeyServer, ring: Jwks, clock: Clock
) -> None:
    """Then nobody knows whether the token's key is a new one."""
    server.status = 500
    for _ in range(2 * ASKED_BURST):
        with pytest.raises(KeysAway):
            await ring.freshen()
    assert server.requests == ASKED_BURST


async def test_a_server_that_does_not_answer_costs_a_bounded_wait(
    server: KeyServer, ring: Jwks, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ring.freshen()
    monkeypatch.setattr(jwks, "FETCH_SECONDS", 0.2)
    server.held.clear()
    with pytest.raises(KeysAway, match="cannot be fetched"):
        await ring.freshen()
    assert kids(ring) == ["old"]


async def test_a_server_that_is_not_there_or_speaks_no_tls_is_a_failure_like_others(
    server: KeyServer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwks, "FETCH_SECONDS", 1.0)
    for url in (f"http://127.0.0.1:{free_port()}/", server.url.replace("http:", "https:")):
        ring = Jwks(url, ALGORITHMS, clock)
        with pytest.raises(KeysAway, match=r"cannot be fetched: \S"):
            await ring.freshen()


async def test_each_problem_is_logged_once_and_so_is_its_end(server: KeyServer, ring: Jwks) -> None:
    out = io.StringIO()
    configure(Level.INFO, out)
    server.status = 500
    for _ in range(2):
        with pytest.raises(KeysAway):
            await ring.freshen()
    server.status = 200
    await ring.freshen()
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["level"] for line in lines] == ["error", "info"]
    assert lines[0]["problem"] == "it was answered with status 500"
    assert lines[1]["keys"] == ["old"]
