"""`make scale` in small: it ends, leaves nothing behind, and an operator at rest writes nothing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.timeout(400)
def test_an_operator_with_many_pods_is_measured(cluster: object, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "loadtest.scale", "--pods=20", "--broadcasters=4", "--seconds=12"]
    done = subprocess.run([*command, f"--results={tmp_path}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [folder] = tmp_path.iterdir()
    spans = json.loads((folder / "results.json").read_text())["spans"]
    rest, removed, made, rests = spans
    assert rest["rounds"] >= 1
    assert rest["writes"] == {}
    assert removed["writes"]["patch pods"] == 20, "each of ten pods is marked, and gets its deletion cost"
    assert made["writes"]["patch deployments"] >= 4
    assert rests["rounds"] >= 4
    assert rests["writes"] == {}
    assert "| writes |" in (folder / "README.md").read_text()
