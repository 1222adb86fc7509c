"""The examples with a page: their servers run as their READMEs say, and Chromium shows what was published."""

import asyncio
import contextlib
import http.client
import json
import uuid
from collections.abc import Callable
from pathlib import Path

import jwt
import pytest
from nats.aio.client import Client as Nats
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver

from tests.examples.conftest import StartExample
from tests.harness import Client, until


def text(tab: WebDriver, selector: str) -> str:
    """What an element shows; nothing while it is not there."""
    return str(tab.execute_script("return document.querySelector(arguments[0])?.innerText ?? ''", selector))


def texts(tab: WebDriver, selector: str) -> list[str]:
    found = tab.execute_script(
        "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)", selector
    )
    return [str(each) for each in found]


async def seen(tab: WebDriver, condition: Callable[[], bool]) -> None:
    await until(condition, f"what the page shows: {text(tab, 'body')!r}")


# --- upload


@pytest.mark.browser
async def test_a_bar_shows_how_far_an_upload_is(example: StartExample, tab: WebDriver, tmp_path: Path) -> None:
    upload = await example("upload")
    assert upload.pod is not None
    file = tmp_path / "large.bin"
    file.write_bytes(bytes(5_000_000))
    async with upload.serving(upload.line("uvicorn")):
        watcher = await Client.open(upload.pod.port)
        tab.get(upload.page)
        tab.find_element(By.CSS_SELECTOR, "input").send_keys(str(file))
        tab.find_element(By.CSS_SELECTOR, "button").click()
        await seen(tab, lambda: text(tab, "output") == "done 100 %")
        assert tab.execute_script("return document.querySelector('progress').value") == 100
        await until(lambda: '"done"' in "".join(watcher.data), "the end")
    percents = [json.loads(data)["percent"] for data in watcher.data]
    assert percents == sorted(percents)
    assert 2 <= len(percents) <= 101


async def test_an_upload_from_a_terminal_is_told_to_its_end(example: StartExample) -> None:
    upload = await example("upload")
    assert upload.pod is not None
    async with upload.serving(upload.line("uvicorn")):
        line = upload.line("curl -T").replace("README.md", str(upload.home / "README.md"))
        watcher = await Client.open(upload.pod.port, f"/events?subject=progress.{line.rpartition('/')[2]}")
        assert "bytes" in await upload.run(f"{line} --silent")
        await until(lambda: '"done"' in "".join(watcher.data), "the end")


async def test_an_upload_that_breaks_off_is_told(example: StartExample) -> None:
    upload = await example("upload")
    assert upload.pod is not None
    name = uuid.uuid4()
    async with upload.serving(upload.line("uvicorn")):
        watcher = await Client.open(upload.pod.port, f"/events?subject=progress.{name}")
        _, writer = await asyncio.open_connection("127.0.0.1", upload.page_port)
        writer.write(f"PUT /uploads/{name} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n".encode() + b"x" * 40)
        assert await watcher.has(1) == ['{"state": "receiving", "percent": 40}']
        writer.transport.abort()
        assert (await watcher.has(2))[1] == '{"state": "failed", "percent": 40}'


async def test_an_upload_that_cannot_be_told_of_is_refused(example: StartExample) -> None:
    upload = await example("upload")

    def answer(path: str, body: bytes) -> int:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", upload.page_port)) as connection:
            connection.request("PUT", f"/uploads/{path}", body)
            return connection.getresponse().status

    async with upload.serving(upload.line("uvicorn")):
        assert await asyncio.to_thread(answer, "everybody.>", b"x") == 422
        assert await asyncio.to_thread(answer, str(uuid.uuid4()), b"") == 413


# --- dashboard


@pytest.mark.browser
async def test_a_dashboard_shows_every_machine_and_goes_on(example: StartExample, tab: WebDriver) -> None:
    dashboard = await example("dashboard")
    assert dashboard.pod is not None
    async with (
        dashboard.serving(dashboard.line("http.server")),
        dashboard.running(dashboard.line("-m examples.dashboard")),
    ):
        tab.get(f"{dashboard.page}/?streams={dashboard.pod.url}")
        await seen(tab, lambda: len(texts(tab, "tbody tr")) == 5)
        before = texts(tab, "tbody tr")
        await seen(tab, lambda: texts(tab, "tbody tr") != before)
        assert text(tab, "#state") == "open"


@pytest.mark.browser
async def test_a_dashboard_reads_the_newest_and_not_everything(
    example: StartExample, tab: WebDriver, publisher: Nats
) -> None:
    dashboard = await example("dashboard")
    assert dashboard.pod is not None
    async with dashboard.serving(dashboard.line("http.server")):
        tab.get(f"{dashboard.page}/?streams={dashboard.pod.url}")
        await seen(tab, lambda: text(tab, "#state") == "open")
        for number in range(2001):
            await publisher.publish("machines.anvil", str(number).encode())
        await publisher.flush()
        await seen(tab, lambda: texts(tab, "td") == ["anvil", "", "2000"])
        assert int(text(tab, "#count")) < 1000


# --- notifications


@pytest.mark.browser
async def test_people_see_their_own_notifications_and_nobody_elses(
    example: StartExample, tab: WebDriver, publisher: Nats
) -> None:
    notifications = await example("notifications")
    async with notifications.serving(notifications.line("uvicorn")):
        await sign_in(tab, notifications.page, "ann")
        await notifications.run(notifications.line("curl", "/login/bob"))
        await publisher.publish("notify.bob", b"for bob alone")
        await notifications.run(notifications.line("curl", "/notify/ann"))
        await publisher.publish("notify.all", b"for all")
        await seen(tab, lambda: len(texts(tab, "li")) == 2)
        assert texts(tab, "li") == ["Your parcel is here", "for all"]


@pytest.mark.browser
async def test_a_page_outlives_its_token(example: StartExample, tab: WebDriver, publisher: Nats) -> None:
    notifications = await example("notifications")
    pod = notifications.pod
    assert pod is not None
    async with notifications.serving(notifications.line("uvicorn"), TOKEN_SECONDS="4"):
        await sign_in(tab, notifications.page, "ann")
        await publisher.publish("notify.ann", b"before")
        await until(lambda: pod.metric('ssecast_streams_closed_total{reason="token"}') >= 1, "the end of the token")
        await publisher.publish("notify.ann", b"in between")
        await seen(tab, lambda: texts(tab, "li") == ["before", "in between"])
        assert pod.metric('ssecast_access_denied_total{reason="expired"}') == 0


async def test_a_session_is_no_token_and_a_token_no_session(example: StartExample) -> None:
    notifications = await example("notifications")
    pod = notifications.pod
    assert pod is not None
    async with notifications.serving(notifications.line("uvicorn")):
        await notifications.run(notifications.line("curl", "/login/bob"))
        session = (notifications.home / "cookies.txt").read_text().split()[-1]
        token = await notifications.run(f"curl -s -b cookies.txt {notifications.page}/token")
        assert jwt.decode(token, options={"verify_signature": False})["ssecast"]["subscribe"] == [
            "notify.bob",
            "notify.all",
        ]
        assert pod.request("GET", f"/events?token={session}")[0] == 401
        assert pod.request("GET", f"/events?token={token}&subject=notify.ann")[0] == 403
        asked = f"curl -s -o /dev/null -w '%{{http_code}}' -b session={token} {notifications.page}/token"
        assert await notifications.run(asked) == "401"


async def test_nobody_may_have_a_name_that_is_a_pattern(example: StartExample) -> None:
    notifications = await example("notifications")
    async with notifications.serving(notifications.line("uvicorn")):
        for name in ("*", "%3E", "a.b", "a" * 33):
            asked = f"curl -s -o /dev/null -w '%{{http_code}}' -X POST '{notifications.page}/login/{name}'"
            assert await notifications.run(asked) == "422", name


async def sign_in(tab: WebDriver, page: str, name: str) -> None:
    tab.get(page)
    tab.find_element(By.NAME, "user").send_keys(name)
    tab.find_element(By.CSS_SELECTOR, "button").click()
    await seen(tab, lambda: text(tab, "output") == f"{name}: open")
