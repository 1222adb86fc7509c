"""Fixtures of the browser tests: the engines, once per session, and an origin with its pages per test."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.browser.control import Control, OpenPage, Page
from tests.browser.engines import ENGINES, Engine, running
from tests.browser.front import Front


@pytest.fixture(scope="session", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with Control() as control, running(request.param, control) as engine:
        yield engine


@pytest.fixture
async def front() -> AsyncIterator[Front]:
    front = await Front().listen()
    yield front
    await front.stop()


@pytest.fixture
async def open_page(engine: Engine, front: Front) -> AsyncIterator[OpenPage]:
    """Opens pages of the front's origin, or of another one, in the engine; they are closed at the end."""
    opened: list[Page] = []
    elsewhere = await Front().listen()

    async def open_page(stream: str = "/events", client: str = "EventSource", *, cross_origin: bool = False) -> Page:
        origin, address = (elsewhere.url, front.url + stream) if cross_origin else (front.url, stream)
        opened.append(engine.control.open(origin, address, client))
        await opened[-1].has("loaded")
        return opened[-1]

    yield open_page
    for page in opened:
        page.close()
    await elsewhere.stop()
    assert not [report for page in opened for report in page.of("defect")]
