"""The chaos test's clients are part of fanbench: built once, or skipped with the line that installs what builds them."""

from tests.bench.conftest import fanbench, go

__all__ = ["fanbench", "go"]
