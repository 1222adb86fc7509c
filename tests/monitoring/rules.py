"""The chart's alerts as values, and promtool, which knows what they do."""

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

ROOT = Path(__file__).parents[2]
RULES = ROOT / "charts" / "ssecast" / "alerts" / "rules.yaml"
SCENARIOS = Path(__file__).with_name("scenarios.yaml")
STEP = "15s"
USUAL = {"namespace": "shop", "broadcaster": "news"}


class Alert(NamedTuple):
    """One alert of the rule file."""

    name: str
    body: Mapping[str, Any]

    @property
    def annotations(self) -> dict[str, str]:
        return dict(self.body["annotations"])


class Scenario(NamedTuple):
    """What is measured, when it is looked, and what must be said; fires tells whether anything must."""

    alert: str
    title: str
    told: Mapping[str, Any]

    @property
    def fires(self) -> bool:
        return self.title.startswith("fires")


def program(name: str) -> str:
    """Of the Debian package that brings both Prometheus and promtool; skips without it."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not here: apt-get install prometheus")
    return found


def promtool(*arguments: str | Path) -> None:
    """Fails with what promtool says."""
    done = subprocess.run([program("promtool"), *map(str, arguments)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def alerts() -> list[Alert]:
    return [Alert(rule["alert"], rule) for rule in rules() if "alert" in rule]


def scenarios() -> Iterator[Scenario]:
    # As text: YAML would read promtool's "0x40", forty-one zeros, as a number in hexadecimal.
    for alert, cases in yaml.load(SCENARIOS.read_text(), yaml.BaseLoader).items():
        for title, told in cases.items():
            yield Scenario(alert, title, told)


def as_test(scenario: Scenario, alert: Alert) -> dict[str, Any]:
    """A scenario as promtool wants it."""
    expected = [_expected(scenario, alert)] if scenario.fires else []
    return {
        "interval": STEP,
        "input_series": [
            {"series": _series(name), "values": _values(to)} for name, to in scenario.told["series"].items()
        ],
        "alert_rule_test": [{"eval_time": scenario.told["at"], "alertname": alert.name, "exp_alerts": expected}],
    }


def _expected(scenario: Scenario, alert: Alert) -> dict[str, Any]:
    labels = scenario.told.get("all_labels", USUAL | scenario.told.get("labels", {}))
    return {
        "exp_labels": alert.body["labels"] | labels,
        "exp_annotations": alert.annotations | {"summary": scenario.told["summary"]},
    }


def _values(notation: str) -> str:
    """promtool does not know how to repeat an infinite value."""
    return re.sub(r"\+Infx(\d+)", lambda times: " ".join(["+Inf"] * (int(times[1]) + 1)), notation)


def _series(name: str) -> str:
    if "namespace=" in name:
        return name
    metric, _, labels = name.rstrip("}").partition("{")
    usual = [f'{key}="{value}"' for key, value in USUAL.items()]
    return f"{metric}{{{','.join([*usual, *filter(None, [labels])])}}}"
