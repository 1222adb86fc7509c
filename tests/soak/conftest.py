"""What the soak test is built with; without it these tests are skipped, with the line that installs it."""

import pytest

from loadtest.soak.k6 import build, lacks
from tests.bench.conftest import go

__all__ = ["go"]


@pytest.fixture(scope="session")
def k6() -> None:
    """k6 with the extension, built."""
    if missing := lacks():
        pytest.skip(missing)
    build()
