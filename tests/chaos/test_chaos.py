"""A short run of the whole thing, with real parts: nothing is lost, and a pod that loses is found out."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from loadtest.bench.peers import ROOT
from loadtest.chaos.figures import LEAKED_BYTES, MUST_BE_ZERO
from tests.interrupted import leaves_nothing_behind

pytestmark = [pytest.mark.usefixtures("fanbench"), pytest.mark.timeout(400)]

SHORT = ("--minutes", "1", "--clients", "300", "--pods", "2", "--rate", "25", "--budget", "200")


def command_line(results: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "loadtest.chaos", *SHORT, "--results", str(results), "--name", "test", *arguments]


def make_chaos(results: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command_line(results, *arguments), cwd=ROOT, capture_output=True, text=True, check=False)


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
    assert figures["times_compared"] > 1000
    assert 0 < figures["peak_sudden_alone"] <= 200
    assert 0 < figures["peak_orderly_alone"] <= 200
    assert all(
        figures["pause_ms"][kind]["most"] > 0 for kind in ("plain", "json", "order", "interval", "latest", "slow")
    )
    assert all(each["effect"] for each in body["happened"] if each["alone"])
    assert figures["oldest_pod"]["seconds"] > 0
    assert figures["kept_per_stream"] < LEAKED_BYTES
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


def test_an_interrupted_run_leaves_nothing_behind(tmp_path: Path) -> None:
    """nats-server, the clients and two pods at least."""
    leaves_nothing_behind(command_line(tmp_path), tmp_path, begun="have begun", processes=4)


def test_a_wrong_name_is_refused_in_one_sentence(tmp_path: Path) -> None:
    done = make_chaos(tmp_path, "--name", "a/b")
    assert done.returncode == 2
    assert "letters, digits, dots and dashes" in done.stderr
