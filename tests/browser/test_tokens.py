"""Tokens in the real engines: ssecast.js renews them before each reconnect, cookies go by themselves, CORS lets pages read."""

import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from nats.aio.client import Client as Nats

from tests.browser.control import OpenPage
from tests.browser.front import Front
from tests.browser.test_pods import STREAM, StartPod, publish
from tests.harness import Pod, until
from tests.issuer import signer

pytestmark = pytest.mark.browser

ES = signer("ES256")
TOKEN_SECONDS = 4


@pytest.fixture
def start(start_pod: StartPod, tmp_path: Path) -> Callable[..., Awaitable[Pod]]:
    """Starts a pod that asks for tokens."""
    file = tmp_path / "key.pem"
    file.write_bytes(ES.pem)
    return lambda **settings: start_pod(jwt_key_file=file, **settings)


def token(seconds: int = 60) -> str:
    return ES.grant(["events.>"], exp=int(time.time()) + seconds)


async def test_a_token_is_renewed_before_each_reconnect(
    start: StartPod, front: Front, open_page: OpenPage, publisher: Nats
) -> None:
    """The stream ends before its token does; the next one opens with a new token, and nothing is lost or refused."""
    pod = await start(jwt_query="token")
    front.pod, front.token = pod.port, lambda: token(TOKEN_SECONDS)
    page = await open_page(STREAM, "ssecast.js+refresh")
    await page.until(lambda: any(report.state == "open" for report in page.reports), "the stream")
    for number in range(1, 4):
        await publish(publisher, str(number))
        await page.has_data(*map(str, range(1, number + 1)))
        await front.request(number + 1)
    paths = [request.path.partition("&")[0] for request in front.requests]
    assert len(set(paths)) == len(paths), "a new token each time"
    assert "last_event_id=" in front.requests[-1].path
    await page.has("refresh", len(paths))  # reports take their own way, and their time
    states = [report.state for report in page.of("state")]
    assert "waiting" not in states, "the browser never gave up"
    assert pod.metric('ssecast_access_denied_total{reason="expired"}') == 0
    assert pod.metric('ssecast_streams_closed_total{reason="token"}') >= 3
    assert not page.of("gap")


async def test_a_token_that_was_refused_is_renewed_too(
    start: StartPod, front: Front, open_page: OpenPage, publisher: Nats
) -> None:
    """A laptop that slept comes back with a token of yesterday."""
    pod = await start(jwt_query="token")
    made = iter([token(-10)])
    front.pod, front.token = pod.port, lambda: next(made, "") or token()
    page = await open_page(STREAM, "ssecast.js+refresh")
    await page.until(lambda: any(report.state == "open" for report in page.reports), "the stream")
    assert [report.state for report in page.of("state")] == ["connecting", "waiting", "reconnecting", "open"]
    await publish(publisher, "1")
    await page.has_data("1")


async def test_a_cookie_is_sent_by_the_browser_itself(
    start: StartPod, front: Front, open_page: OpenPage, publisher: Nats
) -> None:
    name = f"ssecast_{time.time_ns()}"  # the engine keeps cookies for longer than a test
    pod = await start(jwt_cookie=name)
    front.pod = pod.port
    without = await open_page(STREAM)
    await without.until(lambda: any(report.state == 2 for report in without.of("error")), "the end: 401 is final")
    front.cookie = f"{name}={token()}; Path=/; HttpOnly; SameSite=Lax"
    page = await open_page(STREAM)
    await page.has("position")
    await publish(publisher, "1")
    await page.has_data("1")


async def test_a_page_of_an_allowed_origin_reads_and_another_one_does_not(
    start_pod: StartPod, front: Front, open_page: OpenPage, publisher: Nats
) -> None:
    open_to_it, closed_to_it = (
        await start_pod(cors_origins=front.url),
        await start_pod(cors_origins="https://a.example"),
    )
    page, other = await open_page(open_to_it.url + STREAM), await open_page(closed_to_it.url + STREAM)
    await page.has("position")
    await publish(publisher, "1")
    await page.has_data("1")
    await other.until(lambda: any(report.state == 2 for report in other.of("error")), "the refusal")
    assert not other.of("position")


async def test_a_page_of_an_allowed_origin_may_send_headers(
    start: StartPod, front: Front, open_page: OpenPage, publisher: Nats
) -> None:
    """The browser asks first whether it may: the preflight."""
    front.token = token
    open_to_it, closed_to_it = await start(cors_origins=front.url), await start(cors_origins="https://a.example")
    page = await open_page(open_to_it.url + STREAM, "fetch")
    answer = await page.has("answer")
    assert answer.state == 200
    assert answer.data.startswith("retry: ")
    other = await open_page(closed_to_it.url + STREAM, "fetch")
    await other.has("refused")
    await until(lambda: closed_to_it.metric("ssecast_streams_opened_total") == 0, "no stream opened")
