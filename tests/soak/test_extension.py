"""The k6 extension is in Go's format, vetted, and passes its own tests: rules of an EventSource, counting, what scripts see."""

import shutil
import subprocess
from pathlib import Path

import pytest

from loadtest.bench.toolchain import go as run
from loadtest.soak.k6 import SOURCE

BUILDS = pytest.mark.timeout(900)  # the first build of k6 takes minutes


@BUILDS
@pytest.mark.usefixtures("k6")
def test_it_passes_its_own_tests() -> None:
    said = run("test", "./...", folder=SOURCE)
    for package in ("xk6-ssecast", "internal/eventsource", "internal/tally"):
        assert f"{package}\t" in said


@BUILDS
@pytest.mark.usefixtures("k6")
def test_it_is_vetted() -> None:
    assert run("vet", "./...", folder=SOURCE) == ""


@BUILDS
@pytest.mark.usefixtures("k6")
def test_it_can_be_built_into_any_k6(tmp_path: Path) -> None:
    """As xk6 does it: a module of its own that imports k6 and its extensions, this one from a folder."""
    needs = (SOURCE / "go.mod").read_text().replace("module ssecast.dev/xk6-ssecast\n", "module k6\n")
    ours = f"\nrequire ssecast.dev/xk6-ssecast v0.0.0\nreplace ssecast.dev/xk6-ssecast => {SOURCE}\n"
    (tmp_path / "go.mod").write_text(needs + ours)
    shutil.copy(SOURCE / "go.sum", tmp_path)
    shutil.copy(SOURCE / "cmd" / "k6" / "main.go", tmp_path)
    run("build", "-mod=mod", "-o", "k6", ".", folder=tmp_path)
    said = subprocess.run([tmp_path / "k6", "version"], capture_output=True, text=True, check=True).stdout
    assert "k6/x/ssecast [js]" in said


def test_it_is_in_the_format_of_the_language(go: str) -> None:
    gofmt = Path(go).resolve().with_name("gofmt")
    if not gofmt.exists():
        pytest.skip("this Go toolchain has no gofmt: apt-get install golang-go")
    assert subprocess.run([gofmt, "-l", SOURCE], capture_output=True, text=True, check=True).stdout == ""
