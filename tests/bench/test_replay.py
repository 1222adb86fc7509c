"""The replay: what clients did is counted second by second, and measured and simulated runs are held against each other."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from loadtest.chaos.records import Connected, Ended, Entry, GaveUp, Opened, Placed, Refused, Run
from loadtest.fleet.objects import Policy, broadcaster
from loadtest.replay.__main__ import app
from loadtest.replay.comparison import ROWS, BodyError, Side, compared, table
from loadtest.replay.records import Seconds
from ssecast_operator.simulation import simulate
from ssecast_operator.spec import Spec
from ssecast_operator.traces import Trace
from ssecast_operator.world import Surroundings

POLICY = Policy(budget=160, burst=100, limit=1053, target_small=702, patience=30)
CLIENTS = [320] * 30 + [320 + 576 * at for at in range(1, 6)] + [3200] * 245 + [3200 - 48 * at for at in range(1, 61)]


def counted(*clients: list[Entry], until: int = 10_000) -> Seconds:
    found = Seconds(0, until)
    for entries in clients:
        found.add(entries)
    return found


def body_of(start_seconds: float = 6.0, **more: Any) -> dict[str, Any]:
    """A replay on a cluster that is as the simulator has it: that of another seed."""
    wanted = [*CLIENTS, *[320] * 400]
    spec = broadcaster(POLICY)["spec"]
    trace = Trace("replay", tuple(float(at) for at in range(len(wanted))), tuple(map(float, wanted)))
    series = simulate(trace, Spec.model_validate(spec), surroundings=Surroundings(start_seconds=6), seed=9).series
    looks = [
        {"at": 1000 * at + 700, "replicas": 0, "pods": int(pods), "ready": int(ready), "desired": 0}
        for at, (pods, ready) in enumerate(zip(series.pods, series.ready, strict=True))
    ]
    columns = {
        "wanted": series.clients, "streams": series.connected, "forced": series.returned, "refused": series.refused
    }  # fmt: skip
    return {
        "clients": 3200,
        "spec": spec,
        "start_seconds": start_seconds,
        "marks": {"kick-off": 30, "arrived": 50, "grown": 60, "leave": 280, "left": 340, "shrunk": 500},
        "looks": looks,
        "gave_up": 0,
        **{name: list(map(round, values.tolist())) for name, values in columns.items()},
        **more,
    }


def test_a_client_that_is_sent_away_and_comes_back_has_wanted_a_stream_all_the_time() -> None:
    drained: list[Entry] = [
        Connected(1100, 1, ""), Opened(1110), Placed(1120, "e", 1), Run(1200, 4000, "e", 2, 2, 1, 1, 3), Ended(4100, "end"),
        Connected(4600, 1, "e-4"), Opened(4610), Placed(4620, "e", 4), Ended(9000, "own-close"),
    ]  # fmt: skip
    found = counted(drained).columns
    assert found["wanted"] == [0, *[1] * 9]
    assert found["streams"] == [0, *[1] * 8, 0]
    assert found["forced"] == [0, 0, 0, 0, 1, 0, 0, 0, 0, 0]
    assert not any(found["refused"])


def test_a_stream_that_ends_without_a_position_was_refused() -> None:
    refused: list[Entry] = [
        Connected(100, 1, ""), Opened(110), Ended(120, "end"), Connected(2100, 1, ""), Refused(2110, "refused"),
        Connected(5100, 1, ""), Opened(5110), Placed(5120, "e", 1),
    ]  # fmt: skip
    found = counted(refused).columns
    assert found["refused"] == [1, 0, 1, 0, 0, 0, 0, 0, 0, 0]
    assert found["wanted"] == [1] * 10
    assert found["streams"] == [0] * 5 + [1] * 5
    assert not any(found["forced"])


def test_who_leaves_wants_none_any_more_and_who_is_cut_was_not_sent_away() -> None:
    left: list[Entry] = [Connected(0, 1, ""), Placed(10, "e", 1), Ended(3000, "own-leave")]
    cut: list[Entry] = [
        Connected(0, 1, ""), Placed(10, "e", 1), Ended(3000, "reset"), Connected(3900, 1, "e-1"), GaveUp(3990, "503")
    ]  # fmt: skip
    found = counted(left, cut)
    assert found.columns["wanted"] == [2, 2, 2, *[1] * 7]
    assert found.columns["lost"] == [0, 0, 0, 1, *[0] * 6]
    assert not any(found.columns["forced"])
    assert found.gave_up == 1


def test_what_comes_after_the_end_does_not_count() -> None:
    late: list[Entry] = [Connected(0, 1, ""), Placed(10, "e", 1), Ended(10_001, "end")]
    assert counted(late).columns["streams"] == [1] * 10


def test_a_cluster_that_is_as_the_simulator_has_it_is_like_it() -> None:
    rows = table(compared(body_of()))
    assert [row for row in rows if not row.alike] == []
    assert all(row.measured > 0 for row in rows)


def test_a_cluster_that_is_slower_is_told_apart() -> None:
    """Its pods take half a minute longer than was said."""
    body = body_of()
    for look in body["looks"]:
        look["at"] += 30_000
    apart = {row.words for row in table(compared(body)) if not row.alike}
    assert "seconds from the kick-off until all pods were ready" in apart


def test_a_fleet_that_never_shrinks_takes_until_the_end() -> None:
    side = compared(body_of()).measured
    row = next(each for each in ROWS if each.words.startswith("seconds from the last one that left"))
    assert row.value(replace(side, pods=np.full(side.seconds, 5.0))) == 0
    grown: Side = replace(side, pods=np.where(np.arange(side.seconds) < 40, 2.0, 5.0))
    assert row.value(grown) == side.seconds - 340, "until the end"


@pytest.mark.parametrize("missing", ["spec", "wanted", "looks", "start_seconds", "marks"])
def test_a_body_of_something_else_is_refused(missing: str) -> None:
    with pytest.raises(BodyError, match=r"this is no results\.json of a replay"):
        compared({name: value for name, value in body_of().items() if name != missing})


def test_page_and_picture_are_made_from_the_results_alone(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(json.dumps(body_of(machine={"cores": "2"})))
    done = CliRunner().invoke(app, ["--draw", str(tmp_path)])
    assert done.exit_code == 0, done.output
    page = (tmp_path / "README.md").read_text()
    assert "| most pods | 5 | 5 | within 15% or 0.5 |" in page
    assert "No figure is further apart than that." in page
    assert "| cores | 2 |" in page
    picture = (tmp_path / "replay.svg").read_text()
    assert "<svg" in picture
    assert CliRunner().invoke(app, ["--draw", str(tmp_path)]).exit_code == 0
    assert (tmp_path / "replay.svg").read_text() == picture, "the same results make the same picture"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [(None, "cannot be read: No such file"), ("{", "expected is JSON"), ("[]", "this is no results.json of a replay")],
)
def test_results_that_cannot_be_used_are_one_sentence(text: str | None, sentence: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "results.json").write_text(text)
    done = CliRunner(env={"COLUMNS": "400"}).invoke(app, ["--draw", str(tmp_path)])
    assert done.exit_code == 2
    assert sentence in done.output
    assert "Traceback" not in done.output
