"""Real engines with a plain EventSource against real pods: every event exactly once, whatever happens to the pod."""

import json
import signal
from collections.abc import Awaitable, Callable

import pytest
from nats.aio.client import Client as Nats

from tests.browser.control import OpenPage
from tests.browser.front import Answer, End, Front
from tests.harness import Pod

pytestmark = pytest.mark.browser

SUBJECT = "events.browser.test"
STREAM = "/events?subject=events.browser.*"

OTHER_POSITION = "other-7"
OTHER_STREAM = Answer(f"retry: 100\n\nevent: position\nid: {OTHER_POSITION}\ndata:\n\n".encode(), End.CLEAN)
"""What is left in a browser of a stream that is no more: it asks the pod to go on from there."""

StartPod = Callable[..., Awaitable[Pod]]


async def publish(publisher: Nats, *payloads: str) -> None:
    """Events from a client that knows nothing but NATS."""
    for payload in payloads:
        await publisher.publish(SUBJECT, payload.encode())
    await publisher.flush()


async def test_an_event_published_with_nats_arrives_live(
    pod: Pod, front: Front, open_page: OpenPage, publisher: Nats
) -> None:
    front.pod = pod.port
    page = await open_page(STREAM)
    await page.has("position")
    await publish(publisher, "one", "zwei\nZeilen", "drei 🎉")
    await page.has_data("one", "zwei\nZeilen", "drei 🎉")
    await publisher.publish(SUBJECT, b"four", headers={"Ssecast-Event": "named"})
    assert (await page.has("named")).data == "four"
    assert [report.type for report in page.reports] == ["loaded", "open", "position", *["message"] * 3, "named"]


async def test_a_restarted_pod_goes_on_where_the_old_one_ended(
    start_pod: StartPod, front: Front, open_page: OpenPage, publisher: Nats
) -> None:
    pod = await start_pod()
    front.pod = pod.port
    page = await open_page(STREAM)
    await page.has("position")
    await publish(publisher, "1", "2")
    await page.has_data("1", "2")
    await pod.stop()
    await publish(publisher, "3", "4")
    await pod.start()
    await page.has_data("1", "2", "3", "4")
    assert front.requests[-1].last_event_id == page.of("message")[1].id
    await publish(publisher, "5")
    await page.has_data("1", "2", "3", "4", "5")
    assert not page.of("gap")


async def test_another_pod_goes_on_where_a_killed_one_ended(
    pod: Pod, start_pod: StartPod, front: Front, open_page: OpenPage, publisher: Nats
) -> None:
    doomed = await start_pod()
    front.pod = doomed.port
    page = await open_page(STREAM)
    await page.has("position")
    await publish(publisher, "1", "2")
    await page.has_data("1", "2")
    front.pod = pod.port
    await doomed.stop(signal.SIGKILL)
    await publish(publisher, "3")
    await page.has_data("1", "2", "3")
    await publish(publisher, "4")
    await page.has_data("1", "2", "3", "4")
    assert front.requests[-1].last_event_id == page.of("message")[1].id
    assert not page.of("gap")


async def test_a_pod_that_dies_before_the_first_event_loses_nothing(
    pod: Pod, start_pod: StartPod, front: Front, open_page: OpenPage, publisher: Nats
) -> None:
    doomed = await start_pod()
    front.pod = doomed.port
    page = await open_page(STREAM)
    start = await page.has("position")
    await doomed.stop(signal.SIGKILL)
    await publish(publisher, "1", "2")
    front.pod = pod.port
    await page.has_data("1", "2")
    assert front.requests[-1].last_event_id == start.id
    assert not page.of("gap")


async def test_a_gap_is_told_once(pod: Pod, front: Front, open_page: OpenPage, publisher: Nats) -> None:
    """Its id is the position from which the stream goes on, so the next reconnect does not tell it again."""
    front.script.append(OTHER_STREAM)
    front.pod = pod.port
    page = await open_page(STREAM)
    gap = await page.has("gap")
    told = json.loads(gap.data)
    assert (told["requested"], told["next"]) == (OTHER_POSITION, gap.id)
    before = len(page.reports)
    front.reset()
    await page.until(lambda: "position" in [report.type for report in page.reports[before:]], "the next stream")
    assert front.requests[-1].last_event_id == gap.id
    await publish(publisher, "1")
    await page.has_data("1")
    assert len(page.of("gap")) == 1
