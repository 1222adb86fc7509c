"""One live fleet for all tests that look at metrics, and a Prometheus that has watched it from its beginning."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.monitoring.fleet import Fleet, fleets
from tests.monitoring.prometheus import Prometheus, watching


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    async with fleets(tmp_path_factory.mktemp("fleet")) as fleet:
        yield fleet


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def prometheus(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Prometheus]:
    async with watching(fleet, tmp_path_factory.mktemp("prometheus")) as prometheus:
        yield prometheus
