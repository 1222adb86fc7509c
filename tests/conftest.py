"""Fixtures with real parts: a nats-server of its own for each test that asks for one, and pods as processes."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import nats
import pytest
from hypothesis import HealthCheck, settings
from nats.aio.client import Client as Nats

from ssecast.dev import EmbeddedNats
from tests.harness import Client, Pod, pods
from tests.peers import Peer

# How long something takes on a busy machine says nothing about whether it is right.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture
def nats_server() -> Iterator[EmbeddedNats]:
    with EmbeddedNats() as server:
        yield server


@pytest.fixture
async def publisher(nats_server: EmbeddedNats) -> AsyncIterator[Nats]:
    """A client that knows nothing but NATS."""
    client = await nats.connect(nats_server.url)
    yield client
    await client.close()


@pytest.fixture
async def make_pod(tmp_path: Path) -> AsyncIterator[Callable[..., Pod]]:
    async with pods(tmp_path) as make:
        yield make


@pytest.fixture
async def pod(nats_server: EmbeddedNats, make_pod: Callable[..., Pod]) -> Pod:
    return await make_pod(nats_server.url).start()


@pytest.fixture(autouse=True)
async def no_client_left_open() -> AsyncIterator[None]:
    yield
    while Client.made:
        await Client.made.pop().close()
    while Peer.made:
        Peer.made.pop().close()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--must-run", action="store_true", help="fail where every test was skipped: for CI's own machines")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A job for browsers that found none would be green, and prove nothing."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if session.config.getoption("--must-run") and reporter is not None and not reporter.stats.get("passed"):
        session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED
