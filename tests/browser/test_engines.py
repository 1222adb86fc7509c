"""What the engines do with a stream, as far as ssecast leans on it; the streams are scripted, no pod is needed."""

import pytest

from tests.browser.control import OpenPage, Page
from tests.browser.engines import Engine
from tests.browser.front import ERROR_503, Answer, End, Front

pytestmark = pytest.mark.browser

CONNECTING, CLOSED = 0, 2

FIRST = b"retry: 100\nid: e-1\ndata: one\n\n"
SECOND = b"id: e-2\ndata: two\n\n"


async def given_up(page: Page) -> None:
    """The engine says itself that it will not come back."""
    await page.until(lambda: any(report.state == CLOSED for report in page.of("error")), "the stream is closed")


async def test_a_clean_end_after_nothing_but_retry_is_reconnected_after_that_time(
    front: Front, open_page: OpenPage
) -> None:
    """So a pod that is full or draining answers 200, `retry:` and the end."""
    front.script += [Answer(b"retry: 500\n\n", End.CLEAN), Answer(SECOND)]
    page = await open_page()
    await page.has_data("two")
    waited = front.requests[1].at - front.ended_at[0]
    assert 0.4 < waited < 2.5, "nearer to the 500 ms that were asked for than to any engine's own 3 or 5 s"


async def test_a_reset_stream_is_reconnected_with_its_last_id(front: Front, open_page: OpenPage) -> None:
    front.script += [Answer(FIRST), Answer(SECOND)]
    page = await open_page()
    await page.has_data("one")
    front.reset()
    await page.has_data("one", "two")
    assert front.requests[1].last_event_id == "e-1"


async def test_a_position_with_empty_data_is_kept_and_not_shown(front: Front, open_page: OpenPage) -> None:
    """So the first block of every stream makes a client resumable that has not seen an event."""
    front.script += [Answer(b"retry: 100\n\nevent: position\nid: e-7\ndata:\n\n", End.CLEAN), Answer(SECOND)]
    page = await open_page()
    await page.has_data("two")
    assert front.requests[1].last_event_id == "e-7"
    assert [report.id for report in page.of("position")] == ["e-7"]


async def test_an_id_without_data_is_kept_by_chromium_only(engine: Engine, front: Front, open_page: OpenPage) -> None:
    """So a position must carry data, though empty."""
    front.script += [Answer(b"retry: 100\n\nid: e-7\n\n", End.CLEAN), Answer(SECOND)]
    page = await open_page()
    await page.has_data("two")
    assert front.requests[1].last_event_id == ("e-7" if engine.name == "chromium" else None)


async def test_a_503_closes_for_good(front: Front, open_page: OpenPage) -> None:
    """So no pod answers a browser with an error, nor may a proxy in front of it."""
    front.script += [Answer(FIRST, End.CLEAN), ERROR_503, Answer(SECOND)]
    page = await open_page()
    await given_up(page)
    assert [report.state for report in page.of("error")] == [CONNECTING, CLOSED]
    assert len(front.requests) == 2


async def test_a_refused_reconnect_is_tried_again(front: Front, open_page: OpenPage) -> None:
    front.script += [Answer(FIRST), Answer(SECOND)]
    page = await open_page()
    await page.has_data("one")
    front.refuse()
    await page.has("error", 3)
    await front.listen()
    await page.has_data("one", "two")
    assert front.requests[1].last_event_id == "e-1"
    assert {report.state for report in page.of("error")} == {CONNECTING}


async def test_a_refused_reconnect_to_another_origin_is_tried_again_except_by_firefox(
    engine: Engine, front: Front, open_page: OpenPage
) -> None:
    """So pages that read from another origin and must survive even a refusal need ssecast.js."""
    front.script += [Answer(FIRST), Answer(SECOND)]
    page = await open_page(cross_origin=True)
    await page.has_data("one")
    front.refuse()
    if engine.name == "firefox":
        await given_up(page)
        return
    await page.has("error", 3)
    await front.listen()
    await page.has_data("one", "two")


async def test_a_reset_stream_of_another_origin_is_reconnected_without_a_preflight(
    front: Front, open_page: OpenPage
) -> None:
    """So the ids of ssecast hold nothing that a browser would first ask about."""
    front.script += [Answer(FIRST), Answer(SECOND)]
    page = await open_page(cross_origin=True)
    await page.has_data("one")
    front.reset()
    await page.has_data("one", "two")
    assert [(request.method, request.last_event_id) for request in front.requests] == [("GET", None), ("GET", "e-1")]
