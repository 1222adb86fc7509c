"""What the benchmark is built with; without it these tests are skipped, with the line that installs it."""

import pytest

from loadtest.bench import toolchain


@pytest.fixture(scope="session")
def go() -> str:
    try:
        return toolchain.find_go()
    except toolchain.NoGo as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def fanbench(go: str) -> None:
    """The client, publisher, hub and floor, built."""
    toolchain.build()
