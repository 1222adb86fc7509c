"""The Go parts of the benchmark are in Go's format, vetted, and pass their own tests."""

import subprocess
from pathlib import Path

import pytest

from loadtest.bench.toolchain import SOURCE
from loadtest.bench.toolchain import go as run


@pytest.mark.timeout(300)  # the first build of Go's own library takes a while
def test_they_pass_their_own_tests(go: str) -> None:
    assert "ok" in run("test", ".")


@pytest.mark.timeout(300)
def test_they_are_vetted(go: str) -> None:
    assert run("vet", ".") == ""


def test_they_are_in_the_format_of_the_language(go: str) -> None:
    gofmt = Path(go).resolve().with_name("gofmt")
    if not gofmt.exists():
        pytest.skip("this Go toolchain has no gofmt: apt-get install golang-go")
    assert subprocess.run([gofmt, "-l", SOURCE], capture_output=True, text=True, check=True).stdout == ""
