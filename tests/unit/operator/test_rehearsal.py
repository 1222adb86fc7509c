"""rehearsal.py, and the command `simulate`: tables, files, and one sentence for what cannot be done."""

import builtins
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from ssecast_operator.__main__ import app

POLICY = "kind: Broadcaster\nmetadata: {name: NAME}\nspec: {scaling: {streamsPerPod: {target: TARGET}}}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, target in (("calm", 6000), ("tight", 9000)):
        (tmp_path / f"{name}.yaml").write_text(POLICY.replace("NAME", name).replace("TARGET", str(target)))
    (tmp_path / "trace.csv").write_text("time,clients\n0,20000\n120,30000\n")
    return tmp_path


def simulate(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "160"}).invoke(app, ["simulate", *map(str, arguments)])


def test_a_policy_runs_beside_its_rivals_and_leaves_figures_and_a_picture(folder: Path) -> None:
    done = simulate(
        folder / "calm.yaml", "--trace", folder / "trace.csv", "--json", folder / "out.json", "--plot", folder / "out.svg"
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert all(word in done.stdout for word in ("operator", "hpa", "knative", "forced disconnects per client-hour"))
    assert [each["label"] for each in json.loads((folder / "out.json").read_text())] == ["operator", "hpa", "knative"]
    assert "<svg" in (folder / "out.svg").read_text()


def test_two_policies_stand_beside_each_other_and_the_tighter_one_has_fewer_pods(folder: Path) -> None:
    out = folder / "out.json"
    done = simulate(
        "--compare", folder / "calm.yaml", folder / "tight.yaml", "--trace", folder / "trace.csv", "--json", out
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    calm, tight = json.loads(out.read_text())
    assert (calm["label"], tight["label"]) == ("calm", "tight")
    assert tight["pod_hours"] < calm["pod_hours"]


def test_a_saved_answer_of_prometheus_is_a_trace(folder: Path) -> None:
    values = [[60 * at, str(20_000 + 100 * at)] for at in range(5)]
    body = {"status": "success", "data": {"resultType": "matrix", "result": [{"metric": {}, "values": values}]}}
    (folder / "past.json").write_text(json.dumps(body))
    done = simulate("--no-rivals", "--trace", folder / "past.json", "--json", folder / "out.json")
    assert done.exit_code == 0, done.output
    (found,) = json.loads((folder / "out.json").read_text())
    assert found["client_hours"] == pytest.approx(20_200 * 4 / 60, rel=0.01)


def test_a_policy_that_is_paused_removes_no_pod(folder: Path) -> None:
    paused = POLICY.replace("{name: NAME}", "{name: still, annotations: {ssecast.dev/paused-scale-in: 'true'}}")
    (folder / "still.yaml").write_text(paused.replace("TARGET", "6000"))
    (folder / "falls.csv").write_text("time,clients\n0,30000\n60,2000\n900,2000\n")
    done = simulate(
        "--compare", folder / "calm.yaml", folder / "still.yaml", "--trace", folder / "falls.csv", "--json", folder / "out.json"
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    calm, still = json.loads((folder / "out.json").read_text())
    assert still["pod_hours"] == pytest.approx(still["most_pods"] * 900 / 3600)
    assert calm["pod_hours"] < still["pod_hours"]


def test_each_trace_and_seed_has_its_picture(folder: Path) -> None:
    done = simulate(
        "--no-rivals", "--trace", folder / "trace.csv", "--seed", 1, "--seed", 2, "--plot", folder / "{trace}-{seed}.png"
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert (folder / "trace-1.png").exists()
    assert (folder / "trace-2.png").exists()


def test_a_page_has_everything_in_it(folder: Path) -> None:
    done = simulate("--trace", folder / "trace.csv", "--html", folder / "page.html")
    assert done.exit_code == 0, done.output
    text = (folder / "page.html").read_text()
    assert text.count("<svg") == 1
    assert "pod-hours" in text
    assert "src=" not in text
    assert "<script" not in text
    assert "<?xml" not in text


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["no.yaml"], "no.yaml cannot be read: No such file or directory"),
        (["bad.yaml"], "bad.yaml, line 1: there is no Broadcaster; expected is an object with kind: Broadcaster"),
        (["binary.yaml"], "binary.yaml cannot be read: it is no text"),
        (["--trace", "storm"], "there is no trace 'storm'; expected is a file that ends in .csv or .json, all, or one of steady,"),
        (["--trace", "bad.csv"], "bad.csv, line 1: column 'users' is unknown; expected is the header time,clients"),
        (["--routing", "random"], "--routing is 'random'; it must be round-robin, least-connections, power-of-two"),
        (["calm.yaml", "--compare", "calm.yaml", "tight.yaml"], "there are a file and --compare; expected is one of them"),
        (["--json", "no/out.json"], "no/out.json cannot be written: there is no folder no"),
        (["--plot", "out.gif"], "out.gif is no picture; expected is a name that ends in .png or .svg"),
        (["--seed", "1", "--seed", "2", "--plot", "a.png"], "a.png is one picture for 2 runs"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_one_sentence_and_exit_code_2(
    arguments: list[str], sentence: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    Path("bad.yaml").write_text("kind: Pod\n")
    Path("bad.csv").write_text("time,users\n")
    Path("binary.yaml").write_bytes(b"\xff\xfe\x00")
    done = simulate(*arguments)
    assert done.exit_code == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.output


def test_without_its_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_numpy(name: str, *more: Any, **named: Any) -> Any:
        if name.startswith("ssecast_operator.rehearsal"):
            raise ModuleNotFoundError("No module named 'numpy'", name="numpy")
        return real(name, *more, **named)

    monkeypatch.setattr(builtins, "__import__", without_numpy)
    done = simulate()
    assert done.exit_code == 2
    assert "simulate needs numpy; install it with: pip install 'ssecast[operator,simulate]'" in done.stderr


def test_the_operator_itself_loads_none_of_it() -> None:
    code = (
        "import sys, ssecast_operator.__main__, ssecast_operator.runtime;"
        "print(sorted({'numpy', 'matplotlib', 'ssecast_operator.world'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
