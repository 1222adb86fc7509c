"""The alerts fire when they must and only then, and each says what to do."""

import re
from pathlib import Path

import pytest
import yaml

from tests.monitoring.rules import ROOT, RULES, STEP, Alert, Scenario, alerts, as_test, promtool, scenarios

SEVERITIES = ("critical", "warning")
ALERTS = {alert.name: alert for alert in alerts()}

each_alert = pytest.mark.parametrize("alert", ALERTS.values(), ids=ALERTS)


def test_promtool_finds_nothing_wrong_with_the_rules() -> None:
    """Syntax, names, duplicates, templates."""
    promtool("check", "rules", "--lint-fatal", RULES)


@pytest.mark.parametrize("scenario", list(scenarios()), ids=lambda scenario: f"{scenario.alert}-{scenario.title}")
def test_an_alert_fires_when_it_must_and_only_then(scenario: Scenario, tmp_path: Path) -> None:
    """The whole text of it: what somebody reads at 3 a.m. is tested too."""
    (tmp_path / "rules.yaml").write_text(RULES.read_text())
    tests = [as_test(scenario, ALERTS[scenario.alert])]
    file = {"rule_files": ["rules.yaml"], "evaluation_interval": STEP, "tests": tests}
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(file))
    promtool("test", "rules", tmp_path / "test.yaml")


@each_alert
def test_every_alert_has_a_scenario_in_which_it_fires_and_one_in_which_it_does_not(alert: Alert) -> None:
    kinds = {scenario.fires for scenario in scenarios() if scenario.alert == alert.name}
    assert kinds == {True, False}


def test_no_scenario_is_left_over() -> None:
    assert {scenario.alert for scenario in scenarios()} == set(ALERTS)


@each_alert
def test_every_alert_says_how_bad_it_is_and_what_to_do(alert: Alert) -> None:
    """`for` keeps a moment from waking anybody. The description is plain text: only the summary differs."""
    assert alert.name.startswith("Ssecast")
    assert re.fullmatch(r"[1-9]\d*m", alert.body["for"])
    assert alert.body["labels"]["severity"] in SEVERITIES
    assert alert.annotations.keys() == {"summary", "description", "runbook_url"}
    assert "{{" not in alert.annotations["description"]
    assert alert.annotations["runbook_url"] == f"docs/runbooks/{alert.name}.md"
    assert (ROOT / alert.annotations["runbook_url"]).is_file()
