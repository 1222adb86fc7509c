"""Random events in real engines: what a page is handed is what was published, and what our own parser reads."""

from random import Random

import pytest
from nats.aio.client import Client as Nats

from tests.browser.control import OpenPage
from tests.browser.engines import Engine
from tests.browser.front import Front
from tests.fuzz.effort import SEED
from tests.fuzz.events import publish, sequence
from tests.harness import Client, Pod

pytestmark = pytest.mark.browser

COUNT = 150


async def test_an_engine_and_our_parser_read_what_was_published(
    engine: Engine, pod: Pod, front: Front, open_page: OpenPage, publisher: Nats
) -> None:
    """Line ends, byte order marks, NUL, fields of the format itself, under a name and without. Firefox leaves NUL out."""
    front.pod = pod.port
    page, client = await open_page("/events"), await Client.open(pod.port)
    await page.has("position")
    sent = sequence(Random(SEED), COUNT, ["named"])
    expected = [(event.type, event.data) for event in sent if event.shown]
    await publish(publisher, sent)
    await client.has(len(expected))
    await page.until(lambda: len(page.of("message", "named")) >= len(expected), f"{len(expected)} events")
    read = [event for event in client.events if event.name != "position"]
    assert [(event.name, event.data) for event in read] == expected
    if engine.name == "firefox":
        read = [event._replace(data=event.data.replace("\0", "")) for event in read]
    seen = page.of("message", "named")
    assert [(report.type, report.data, report.id) for report in seen] == [(e.name, e.data, e.id) for e in read]
