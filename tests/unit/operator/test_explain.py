"""explain.py and the commands: what a person reads at 3 a.m."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from ssecast_operator.__main__ import app
from ssecast_operator.conditions import status_of
from ssecast_operator.explain import explain
from tests.fleets import fleet
from tests.unit.operator.test_conditions import seen


def body(**more: Any) -> dict[str, Any]:
    status = status_of(seen(fleet(9000, 9000, 9000)), {})
    return {"metadata": {"namespace": "news", "name": "live", "generation": 3}, "status": status | more}


def test_the_decision_with_all_its_steps() -> None:
    text = explain(body())
    assert text.startswith("Broadcaster news/live\nDemandRose: from 3 to ")
    for words in (
        "27,000  open on pods that stay",
        "2,000  kept free (burst)",
        "what the demand asks for",
        "Reconciled=True",
    ):
        assert words in text


def test_every_figure_has_its_line() -> None:
    text, scaler = explain(body()), body()["status"]["autoscaler"]
    for figures in (scaler["demand"], scaler["samples"], scaler["steps"]):
        assert all(f"{value:,}" in text for value in figures.values())


def test_where_nothing_was_decided_yet() -> None:
    assert "Nothing has been decided yet" in explain({"metadata": {"name": "live"}})


def test_a_spec_that_was_changed_since() -> None:
    assert "The spec has been changed since" in explain(body(observedGeneration=2))
    assert "The spec has been changed since" not in explain(body())


def test_the_command_reads_a_file_or_standard_input(tmp_path: Path) -> None:
    file = tmp_path / "live.json"
    file.write_text(json.dumps(body()))
    told = CliRunner().invoke(app, ["explain", "live", "--file", str(file)])
    assert (told.exit_code, told.stdout) == (0, explain(body()))
    assert CliRunner().invoke(app, ["explain", "live", "--file", "-"], input=json.dumps(body())).stdout == told.stdout


@pytest.mark.parametrize(
    ("name", "given", "sentence"),
    [
        ("live", "{", "this is not a Broadcaster in JSON"),
        ("live", "[]", "this is not the Broadcaster 'live'"),
        ("other", json.dumps(body()), "this is not the Broadcaster 'other'"),
    ],
)
def test_what_it_cannot_explain_is_one_sentence(name: str, given: str, sentence: str) -> None:
    told = CliRunner().invoke(app, ["explain", name, "--file", "-"], input=given)
    assert told.exit_code == 2
    assert told.stderr.startswith(f"ssecast-operator: {sentence}")
    assert told.stderr.count("\n") == 1


def test_a_file_that_is_not_there() -> None:
    told = CliRunner().invoke(app, ["explain", "live", "--file", "/no/such/file"])
    assert (told.exit_code, told.stderr) == (
        2,
        "ssecast-operator: /no/such/file cannot be read: No such file or directory\n",
    )


def test_the_rights_as_manifests() -> None:
    told = CliRunner().invoke(app, ["rbac", "--namespace", "news"])
    assert [each["kind"] for each in yaml.safe_load_all(told.stdout)] == ["ServiceAccount", "Role", "RoleBinding"]


@pytest.mark.parametrize(
    ("option", "value"), [("--labels", "app"), ("--labels", ""), ("--log-level", "loud"), ("--port", "0")]
)
def test_options_that_cannot_be(option: str, value: str) -> None:
    told = CliRunner().invoke(app, ["run", option, value])
    assert told.exit_code == 2
    assert option in told.stderr
