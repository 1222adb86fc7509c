"""A short run of the whole thing, with real parts: nothing is lost, and a pod that loses, repeats or leaks is found out."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from loadtest.bench.peers import ROOT
from loadtest.chaos.proxy import INSTALL, installed
from loadtest.soak.stage import Options, staged
from tests.interrupted import leaves_nothing_behind

pytestmark = [pytest.mark.usefixtures("k6"), pytest.mark.timeout(600)]

needs_proxy = pytest.mark.skipif(not installed(), reason=f"needs HAProxy: {INSTALL}")
SHORT = ("--minutes", "0.4", "--streams", "60", "--name", "test")


def command_line(results: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "loadtest.soak", *SHORT, "--results", str(results), *arguments]


def make_soak(results: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command_line(results, *arguments), cwd=ROOT, capture_output=True, text=True, check=False)


def planted(name: str) -> tuple[str, str]:
    return "--pod", f"{sys.executable} -m tests.soak.{name} serve"


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    """Of a run that failed."""
    assert done.returncode == 1, done.stderr
    shutil.rmtree(done.stderr.rstrip().rpartition("Logs are in ")[2], ignore_errors=True)
    return done.stderr.strip().splitlines()[-1]


@needs_proxy
def test_pods_that_come_and_go_cost_nobody_anything(tmp_path: Path) -> None:
    done = make_soak(tmp_path, "--pods", "2", "--churn", "50")
    assert done.returncode == 0, done.stderr
    (folder,) = tmp_path.iterdir()
    assert {path.name for path in folder.iterdir()} == {"README.md", "results.json", "k6.html", "soak.png", "soak.svg"}
    body = json.loads((folder / "results.json").read_text())
    assert body["passed"]
    assert body["wrong"] == []
    assert all(each["ok"] for each in body["thresholds"])
    assert body["metrics"]["sse_event"]["values"]["count"] > 60 * 100
    assert body["metrics"]["sse_reconnects"]["values"]["count"] > 60 * 0.4 * 0.5 / 2
    (change,) = body["changes"]
    assert change["what"].startswith("pod 2 was started, and pod 1 drained of ")
    assert {each["pod"] for each in body["pods"]} >= {0}
    assert "none lost, duplicated or out of order" in (folder / "README.md").read_text()
    assert ">Passed<" in (folder / "k6.html").read_text()


def test_a_pod_that_drops_one_event_in_ten_thousand_is_found_out(tmp_path: Path) -> None:
    """The run ends with 1 and one sentence; without this test, one that finds nothing would prove nothing."""
    said = last_line(make_soak(tmp_path, "--pods", "1", "--rate", "150", "--streams", "30", *planted("dropping_pod")))
    assert "thresholds were crossed" in said
    assert "sse_lost count==0 (31)" in said, "thirty live streams and a slow one, an event each"


def test_a_pod_that_repeats_an_event_on_a_resume_is_found_out(tmp_path: Path) -> None:
    said = last_line(make_soak(tmp_path, "--pods", "1", "--churn", "200", *planted("repeating_pod")))
    assert "sse_duplicates count==0" in said
    assert "sse_lost" not in said


def test_a_pod_that_leaks_is_found_out(tmp_path: Path) -> None:
    said = last_line(make_soak(tmp_path, "--pods", "1", *planted("leaking_pod")))
    assert "pod 0's memory grew by" in said
    assert "pod 0's open files grew by" in said
    (folder,) = tmp_path.iterdir()
    assert not json.loads((folder / "results.json").read_text())["thresholds_crossed"]


def test_a_run_in_which_nothing_more_can_be_published_has_failed(tmp_path: Path) -> None:
    """Its streams would go on to the end, and lose nothing of nothing."""
    said = last_line(make_soak(tmp_path, "--pods", "1", *planted("refusing_pod")))
    assert "k6 ended with 108" in said
    assert "/publish/events.soak.a is answered 413" in said


def test_a_pod_that_does_not_start_is_one_sentence(tmp_path: Path) -> None:
    done = make_soak(tmp_path, "--pods", "1", "--pod", f"{sys.executable} -c 'raise SystemExit(\"no such luck\")'")
    assert "no such luck" in last_line(done)
    assert not list(tmp_path.iterdir())


@needs_proxy
async def test_proxies_share_the_port_of_the_first(tmp_path: Path) -> None:
    """So that more streams come in than one of them may open: what the kernel gives to the second is answered too."""
    async with staged(Options(streams=40, pods=2, behind_proxy=20), tmp_path) as stage, httpx.AsyncClient() as client:
        first, second = stage.proxies
        await _opens(client, stage.port)
        first.child.stop()
        await _opens(client, stage.port)
        second.child.check()


async def _opens(client: httpx.AsyncClient, port: int) -> None:
    for _ in range(20):
        async with client.stream("GET", f"http://127.0.0.1:{port}/events") as response:
            assert response.headers["content-type"].startswith("text/event-stream")


@needs_proxy
def test_an_interrupted_run_leaves_nothing_behind(tmp_path: Path) -> None:
    """nats-server, k6 and two pods at least."""
    leaves_nothing_behind(command_line(tmp_path, "--pods", "2"), tmp_path, begun="k6 runs soak", processes=4)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--name", "a/b"), "letters, digits, dots and dashes"),
        (("--scenario", "flood"), "flood is no scenario; there are mixed, polling, ramp,"),
        (("--streams", "17000"), "'--streams': Input should be less than or equal to 16000"),
        (("--minutes", "0"), "--minutes"),
    ],
)
@needs_proxy
def test_wrong_use_is_refused_in_one_sentence(tmp_path: Path, arguments: tuple[str, str], sentence: str) -> None:
    done = make_soak(tmp_path, *arguments)
    assert done.returncode == 2
    assert sentence in " ".join(done.stderr.replace("│", " ").split())
