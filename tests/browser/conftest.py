"""Fixtures of the browser tests: engines, NATS and a pod that nobody stops, once each; an origin with pages per test."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from ssecast.dev import EmbeddedNats
from tests.browser.control import Control, OpenPage, Page
from tests.browser.engines import ENGINES, Engine, running
from tests.browser.front import Front
from tests.harness import Pod


@pytest.fixture(scope="session", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with Control() as control, running(request.param, control) as engine:
        yield engine


@pytest.fixture(scope="session")
def nats_server() -> Iterator[EmbeddedNats]:
    with EmbeddedNats() as server:
        yield server


@pytest.fixture(scope="session")
def pod(nats_server: EmbeddedNats, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    """The pod that is always there. Tests that stop one start their own."""
    pod = Pod(nats_server.url, tmp_path_factory.mktemp("pod") / "pod.log")
    try:
        yield asyncio.run(pod.start())
    finally:
        asyncio.run(pod.stop())


@pytest.fixture
def start_pod(make_pod: Callable[..., Pod], nats_server: EmbeddedNats) -> Callable[..., Awaitable[Pod]]:
    """Starts a pod of the test's own, beside the one that is always there."""
    return lambda **settings: make_pod(nats_server.url, **settings).start()


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
