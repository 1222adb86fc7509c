"""ssecast.js in the real engines: it survives what makes an EventSource give up, and hands on every event once."""

import json
from datetime import datetime

import pytest
from nats.aio.client import Client as Nats

from ssecast.frame import Position
from tests.browser.control import OpenPage, Page
from tests.browser.engines import Engine
from tests.browser.front import ERROR_503, Front
from tests.browser.test_pods import OTHER_POSITION, OTHER_STREAM, STREAM, SUBJECT, publish
from tests.harness import Pod

pytestmark = pytest.mark.browser


async def enters(page: Page, state: str, *, after: int = 0) -> None:
    """Waits for a state among the reports after the first so many."""
    await page.until(lambda: any(report.state == state for report in page.reports[after:]), f"the state {state}")


async def reading(pod: Pod, front: Front, open_page: OpenPage, publisher: Nats, *, cross_origin: bool = False) -> Page:
    """A page that has received one event through ssecast.js."""
    front.pod = pod.port
    page = await open_page(STREAM, "ssecast.js", cross_origin=cross_origin)
    await enters(page, "open")
    await publish(publisher, "1")
    await page.has_data("1")
    return page


async def test_it_hands_on_events_with_what_is_known_about_them(
    pod: Pod, front: Front, open_page: OpenPage, publisher: Nats
) -> None:
    page = await reading(pod, front, open_page, publisher)
    await publisher.publish(SUBJECT, "zwei\nZeilen 🎉".encode(), headers={"Ssecast-Event": "named"})
    event = await page.has("named")
    assert (event.subject, event.data) == (SUBJECT, "zwei\nZeilen 🎉")
    assert Position.parse(event.id)
    assert datetime.fromisoformat(event.time).tzinfo


async def test_it_survives_a_503(pod: Pod, front: Front, open_page: OpenPage, publisher: Nats) -> None:
    page = await reading(pod, front, open_page, publisher)
    front.script.append(ERROR_503)
    front.reset()
    await enters(page, "waiting")
    await publish(publisher, "2")
    await page.has_data("1", "2")
    await publish(publisher, "3")
    await page.has_data("1", "2", "3")
    assert not page.of("gap")


async def test_it_survives_a_503_at_the_first_connect(
    pod: Pod, front: Front, open_page: OpenPage, publisher: Nats
) -> None:
    front.script.append(ERROR_503)
    page = await reading(pod, front, open_page, publisher)
    assert [report.state for report in page.of("state")] == ["connecting", "waiting", "reconnecting", "open"]


async def test_it_survives_refused_connections(
    engine: Engine, pod: Pod, front: Front, open_page: OpenPage, publisher: Nats
) -> None:
    """From another origin, where Firefox's own EventSource gives up."""
    page = await reading(pod, front, open_page, publisher, cross_origin=True)
    front.refuse()
    await enters(page, "waiting" if engine.name == "firefox" else "reconnecting")
    await publish(publisher, "2")
    await front.listen()
    await page.has_data("1", "2")
    await publish(publisher, "3")
    await page.has_data("1", "2", "3")
    assert not page.of("gap")


async def test_it_hands_on_a_gap_once(pod: Pod, front: Front, open_page: OpenPage, publisher: Nats) -> None:
    """And goes on from there even with a new EventSource."""
    front.script.append(OTHER_STREAM)
    front.pod = pod.port
    page = await open_page(STREAM, "ssecast.js")
    gap = json.loads((await page.has("gap")).data)
    assert gap["requested"] == OTHER_POSITION
    front.script.append(ERROR_503)
    before = len(page.reports)
    front.reset()
    await enters(page, "waiting", after=before)
    await enters(page, "open", after=before)
    assert f"last_event_id={gap['next']}" in front.requests[-1].path
    await publish(publisher, "1")
    await page.has_data("1")
    assert len(page.of("gap")) == 1
