"""The real engines with a plain EventSource at the front door, over TLS and HTTP/2: they never give up."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from nats.aio.client import Client as Nats

from tests.browser.control import Control, Page
from tests.browser.engines import ENGINES, Engine, Trust, running
from tests.harness import Relay, free_port
from tests.proxies.impostor import Habit
from tests.proxies.programs import PROXIES
from tests.proxies.proxy import Certificate, Places, Proxy
from tests.proxies.site import Site

pytestmark = pytest.mark.browser

CLOSED = 2
MANY = 10
"""Streams of one browser; HTTP/1.1 would let it have six."""

RETURNS = 2
"""How often a browser must have come to the door in vain."""

OpenPage = Callable[[], Page]


@pytest.fixture(scope="session")
def public_ports() -> dict[str, int]:
    """An engine is told of a certificate before it starts, so the ports of the proxies must be known by then."""
    return {name: free_port() for name in PROXIES}


@pytest.fixture(scope="session", params=ENGINES)
def engine(request: pytest.FixtureRequest, certificate: Certificate, public_ports: dict[str, int]) -> Iterator[Engine]:
    trust = Trust(certificate.fingerprint, tuple(public_ports.values()))
    with Control() as control, running(request.param, control, trust) as engine:
        yield engine


@pytest.fixture
def places(certificate: Certificate, program: type[Proxy], public_ports: dict[str, int], engine: Engine) -> Places:
    """The web application is the server that has the pages and takes their reports."""
    return Places(public_ports[program.name], free_port(), free_port(), engine.control.port, certificate)


@pytest.fixture
async def open_page(engine: Engine, site: Site) -> AsyncIterator[OpenPage]:
    """Opens pages of the site that read its stream with EventSource."""
    opened: list[Page] = []

    def open_page() -> Page:
        opened.append(engine.control.open(site.proxy.url, "/events", report_to=""))
        return opened[-1]

    yield open_page
    for page in opened:
        page.close()
    assert not [report for page in opened for report in page.of("defect")]


async def publish(publisher: Nats, *payloads: str) -> None:
    for payload in payloads:
        await publisher.publish("events.browser", payload.encode())
    await publisher.flush()


@pytest.mark.parametrize("engine", ["chromium", "firefox"], indirect=True)  # WebKit reads in HTTP/1.1 here
async def test_a_browser_opens_more_streams_than_http_1_would_let_it(
    site: Site, open_page: OpenPage, publisher: Nats
) -> None:
    pages = [open_page() for _ in range(MANY)]
    for page in pages:
        await page.has("position")
    await publish(publisher, "to all")
    for page in pages:
        await page.has_data("to all")


async def test_a_browser_comes_back_when_every_pod_was_killed(site: Site, open_page: OpenPage, publisher: Nats) -> None:
    """After it came in vain; and it has what it missed."""
    page = open_page()
    await page.has("position")
    await publish(publisher, "1")
    await page.has_data("1")
    await asyncio.gather(*(pod.stop(signal.SIGKILL) for pod in site.pods))
    await page.until(lambda: len(page.of("open")) > RETURNS, "open streams that say nothing but `retry:`")
    await publish(publisher, "2")
    await asyncio.gather(*(pod.start() for pod in site.pods))
    await page.has_data("1", "2")
    await publish(publisher, "3")
    await page.has_data("1", "2", "3")
    assert not page.of("gap")
    assert CLOSED not in {report.state for report in page.of("error")}


async def test_a_browser_that_finds_no_pod_at_its_first_visit_comes_back(
    site: Site, open_page: OpenPage, publisher: Nats
) -> None:
    await asyncio.gather(*(pod.stop(signal.SIGKILL) for pod in site.pods))
    page = open_page()
    await page.has("open")
    await asyncio.gather(*(pod.start() for pod in site.pods))
    await page.has("position")
    await publish(publisher, "1")
    await page.has_data("1")
    assert CLOSED not in {report.state for report in page.of("error")}


async def test_a_browser_comes_back_while_pods_die_in_the_head_of_an_answer(
    make_site: Callable[..., Site], program: type[Proxy], engine: Engine
) -> None:
    site = make_site(program.short_silence)
    await site.open_with(Habit.DIES_IN_THE_HEAD)
    page = engine.control.open(site.proxy.url, "/events", report_to="")
    await page.until(lambda: len(page.of("error")) > RETURNS, "tries in vain")
    assert CLOSED not in {report.state for report in page.of("error")}
    page.close()


async def test_a_reload_of_the_proxy_cuts_no_stream_of_a_browser(
    site: Site, open_page: OpenPage, engine: Engine, publisher: Nats
) -> None:
    page = open_page()
    await page.has("position")
    relay = await Relay(engine.control.port).start()
    await site.move(relay.port, lambda _: relay.connections > 0)
    await publish(publisher, "1")
    await page.has_data("1")
    assert len(page.of("open")) == 1
    await relay.stop()
