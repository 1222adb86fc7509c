"""The benchmark runs end to end and counts correctly. How long anything took is no matter here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from loadtest.bench import peers
from loadtest.bench.machine import record
from loadtest.bench.measures import Effort
from loadtest.bench.peers import Need, Peer
from loadtest.bench.report import write
from loadtest.bench.results import Results, from_json
from loadtest.bench.roster import chosen
from loadtest.bench.scenarios import SCENARIOS
from loadtest.bench.session import Choice, Run, carry_out, plan
from loadtest.peers.registry import PEERS

EFFORT = Effort(events=3, bursts=1, seconds=0.5, idle_seconds=0.2, pods=2)
STREAMS = 60
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


def measured(*scenarios: str, peers: tuple[Peer, ...] = peers.CORE) -> Results:
    choice = Choice([BY_NAME[name] for name in scenarios], peers, rounds=1, streams=(STREAMS,), effort=EFFORT)
    results, notes = carry_out(choice, list(plan(choice)), lambda run, outcome: None)
    assert notes == []
    return results


@pytest.mark.usefixtures("fanbench")
def test_every_event_reaches_every_stream_of_every_peer(tmp_path: Path) -> None:
    """From one event at a time to the files of the run, with ssecast, the Go hub and the floor."""
    results = measured("one")
    assert results.peers("one") == ["go-hub", "floor-n", "ssecast"]
    for each in results.of("one"):
        assert each.metrics["deliveries"] == STREAMS * EFFORT.events, each
        assert each.metrics["lost"] == each.metrics["duplicates"] == each.metrics["out_of_order"] == 0, each
        assert each.metrics["last_ms"] > 0, each
    write(tmp_path, results, record(), ["something was skipped"])
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"README.md", "results.json", "latency.png", "latency.svg", "memory.png", "memory.svg"}
    assert from_json((tmp_path / "results.json").read_text())[0] == results
    page = (tmp_path / "README.md").read_text()
    assert "| 60 | ssecast |" in page
    assert "something was skipped" in page


@pytest.mark.usefixtures("fanbench")
@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_each_rival_that_is_installed_is_counted(peer: Peer) -> None:
    need = peer.missing()
    if need is not None:
        pytest.skip(f"needs {need.name}: {need.install}")
    results = measured("open", "one", peers=(peer,))
    (opened,), (one,) = map(results.of, ("open", "one"))
    assert opened.metrics["failed"] == 0
    assert one.metrics["deliveries"] == STREAMS * EFFORT.events
    assert one.metrics["lost"] == one.metrics["duplicates"] == one.metrics["out_of_order"] == 0


@pytest.mark.usefixtures("fanbench")
def test_streams_at_rest_and_all_at_once_are_weighed() -> None:
    results = measured("idle", "open", peers=(peers.SSECAST,))
    (idle,), (opened,) = map(results.of, ("idle", "open"))
    assert idle.metrics["closed"] == opened.metrics["failed"] == 0
    assert idle.metrics["rss_bytes"] > opened.metrics["memory_per_stream"] > 0


@pytest.mark.usefixtures("fanbench")
def test_a_quick_run_shows_how_far_it_is_and_can_be_drawn_again(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "loadtest.bench", "--quick", "--scenario=open", "--streams=20", "--peer=floor-1"]
    done = subprocess.run(
        [*command, f"--results={tmp_path}"], cwd=peers.ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "floor-1" in done.stderr + done.stdout
    [folder] = tmp_path.iterdir()
    page = folder / "README.md"
    before = page.read_text()
    page.unlink()
    again = [sys.executable, "-m", "loadtest.bench", "--redraw", str(folder)]
    assert subprocess.run(again, cwd=peers.ROOT, capture_output=True, check=False).returncode == 0
    assert page.read_text() == before


@pytest.mark.usefixtures("fanbench")
def test_bursts_rates_and_streams_that_come_back_are_counted() -> None:
    results = measured("burst", "resume", "selective", peers=(peers.SSECAST,))
    (burst,), (resume,), (selective,) = map(results.of, ("burst", "resume", "selective"))
    assert burst.metrics["deliveries"] == STREAMS * (10 + 50 + 10)
    assert resume.metrics["deliveries"] == 6 * (10 + 20 + 10) + STREAMS * (1000 + 10 + 20 + 10)
    assert selective.metrics["deliveries"] == EFFORT.events
    assert selective.metrics["channels_lost"] == 0
    for each in results.measurements:
        assert each.metrics["lost"] == each.metrics["duplicates"] == each.metrics["gaps"] == 0, each


@pytest.mark.usefixtures("fanbench")
def test_a_fleet_and_its_floor_are_counted_over_all_clients() -> None:
    results = measured("fleet", "stalled", peers=(peers.FLOOR_N,))
    (fleet,), (stalled,) = map(results.of, ("fleet", "stalled"))
    assert fleet.metrics["deliveries"] == STREAMS * EFFORT.events
    assert stalled.metrics["deliveries"] == STREAMS * 9 // 10 * 40 * 2
    assert fleet.metrics["lost"] == stalled.metrics["lost"] == 0


@pytest.mark.usefixtures("fanbench")
def test_a_server_that_does_not_start_is_a_sentence_and_the_others_are_measured() -> None:
    broken = Peer("broken", [sys.executable, "-c", "raise SystemExit('no such luck')"])
    choice = Choice([BY_NAME["open"]], [broken, peers.FLOOR_1], 1, (10,), effort=EFFORT, named=True)
    results, notes = carry_out(choice, list(plan(choice)), lambda run, outcome: None)
    assert results.peers("open") == ["floor-1"]
    assert len(notes) == 1
    assert "no such luck" in notes[0]


def test_every_round_runs_all_peers_in_another_order() -> None:
    runs = list(plan(Choice([BY_NAME["one"]], peers.CORE, rounds=3, streams=(10,))))
    orders = [[run.peer.name for run in runs if run.round == number] for number in (1, 2, 3)]
    assert [run.round for run in runs] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert len({tuple(order) for order in orders}) == 3
    assert all(sorted(order) == sorted(orders[0]) for order in orders)


def test_a_peer_that_is_not_installed_is_skipped_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    missing = Peer("rival", ["rival"], (Need("no-such-program", "apt-get install rival"),))
    monkeypatch.setattr("loadtest.bench.roster.PEERS", [missing])
    found, skipped = chosen(["ssecast", "rival"])
    assert [peer.name for peer in found] == ["ssecast"]
    assert skipped == ["rival is skipped, for it needs no-such-program: apt-get install rival"]
    with pytest.raises(ValueError, match="nobody is no peer"):
        chosen(["nobody"])


@pytest.mark.usefixtures("fanbench")
def test_the_pod_of_another_checkout_is_measured_beside_this_one(tmp_path: Path) -> None:
    """The other checkout's code runs: this one says so in its log, and ends."""
    room = tmp_path / "service" / "ssecast"
    room.mkdir(parents=True)
    (room / "__init__.py").touch()
    (room / "__main__.py").write_text("raise SystemExit('the other checkout')")
    choice = Choice([BY_NAME["open"]], [peers.before(tmp_path), peers.FLOOR_1], 1, (10,), effort=EFFORT, named=True)
    results, notes = carry_out(choice, list(plan(choice)), lambda run, outcome: None)
    assert results.peers("open") == ["floor-1"]
    assert "the other checkout" in notes[0]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--against", "/nowhere"], "--against /nowhere is no checkout of ssecast: it has no service/ssecast"),
        (["--name", "a/b"], "--name 'a/b' ends the name of a folder: letters, digits, dots and dashes"),
        (["--scenario", "two"], "two is no scenario; there are one, burst"),
        (["--streams", "20000"], "at most 19,000 streams"),
    ],
)
def test_a_wrong_option_is_a_sentence_and_nothing_is_measured(arguments: list[str], sentence: str) -> None:
    command = [sys.executable, "-m", "loadtest.bench", *arguments]
    done = subprocess.run(command, cwd=peers.ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert sentence in " ".join(done.stderr.split())


def test_the_port_is_the_last_argument_unless_a_place_for_it_is_named() -> None:
    places = {"port": 5, "admin_port": 6, "nats_url": "nats://x"}
    assert Peer("a", ["a"]).command_line(places) == ["a", "5"]
    assert Peer("a", ["a", "--listen={port}"]).command_line(places) == ["a", "--listen=5"]
    assert Peer("a", ["a"], env={"PORT": "{port}"}).command_line(places) == ["a"]
    assert peers.SSECAST.environment(places)["SSECAST_ADMIN_PORT"] == "6"


def test_a_run_says_what_it_is() -> None:
    assert str(Run(BY_NAME["one"], 5000, 2, peers.GO_HUB)) == "one, 5,000 streams, round 2, go-hub"


def test_ssecast_bench_runs_the_benchmark_of_the_checkout(tmp_path: Path) -> None:
    """From any folder; its options are those of the benchmark."""
    command = [sys.executable, "-m", "ssecast", "bench", "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, env=os.environ)
    assert "--quick" in done.stdout


def test_a_wrong_name_is_refused_with_the_right_ones(fanbench: None) -> None:
    for option, word in (("--scenario", "resume"), ("--peer", "go-hub")):
        command = [sys.executable, "-m", "loadtest.bench", option, "nonsense"]
        done = subprocess.run(command, cwd=peers.ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert "nonsense" in done.stderr
        assert word in " ".join(done.stderr.split())


def test_results_survive_the_file(tmp_path: Path) -> None:
    text = json.dumps({"machine": {"cores": "2"}, "notes": ["n"], "measurements": []})
    assert from_json(text) == (Results(()), {"cores": "2"}, ["n"])
