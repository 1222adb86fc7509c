"""A short run of the whole thing, with real parts: nothing is lost, and a pod that loses is found out."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from loadtest.bench.peers import ROOT
from loadtest.chaos.figures import MUST_BE_ZERO

pytestmark = [pytest.mark.usefixtures("fanbench"), pytest.mark.timeout(400)]

SHORT = ("--minutes", "1", "--clients", "300", "--pods", "2", "--rate", "25", "--budget", "200")


def make_chaos(results: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "loadtest.chaos", *SHORT, "--results", str(results), "--name", "test", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_minute_of_faults_costs_nobody_anything(tmp_path: Path) -> None:
    """Every figure that must be zero is, gaps came where they had to, and the report says so."""
    done = make_chaos(tmp_path, "--seed", "5")
    assert done.returncode == 0, done.stderr
    (folder,) = tmp_path.iterdir()
    assert {path.name for path in folder.iterdir()} == {"README.md", "results.json", "chaos.png", "chaos.svg"}
    body = json.loads((folder / "results.json").read_text())
    figures = body["figures"]
    assert {name: figures[name] for name in MUST_BE_ZERO} == dict.fromkeys(MUST_BE_ZERO, 0)
    assert figures["made"] == figures["expected"] > 100_000
    assert figures["gaps"] >= 3 * 300, "every client is told of each of the three faults that must give gaps"
    assert {each["fault"] for each in body["happened"] if each["part"] == 2} == {
        "rollout",
        "expired",
        "recreated",
        "rewound",
    }
    assert body["proxy"] == (shutil.which("haproxy") is not None)
    assert "none lost, duplicated or out of order" in (folder / "README.md").read_text()


def test_a_pod_that_drops_events_in_silence_is_found_out(tmp_path: Path) -> None:
    """The run ends with 1 and one sentence; without this test, one that finds nothing would prove nothing."""
    lossy = f"{sys.executable} -m tests.chaos.lossy_pod serve"
    done = make_chaos(tmp_path, "--seed", "5", "--minutes", "0.5", "--pod", lossy)
    assert done.returncode == 1, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert "events lost" in last
    assert "seed 5" in last
