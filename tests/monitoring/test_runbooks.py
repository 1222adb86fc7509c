"""The runbooks fit the alerts, and what they tell people to type can be typed."""

import re
from pathlib import Path

import pytest

from tests.monitoring.names import names_of
from tests.monitoring.rules import ROOT, Alert, alerts
from tests.monitoring.runbooks import FOLDER, blocks, page, queries

SECTIONS = ["For clients", "Look", "Causes", "Now", "Later"]
VARIABLES = {"NS", "NAME", "POD", "OPNS"}
ALERTS = {alert.name: alert for alert in alerts()}

each_alert = pytest.mark.parametrize("alert", ALERTS.values(), ids=ALERTS)


@each_alert
def test_a_runbook_begins_with_the_alert_and_has_every_section(alert: Alert) -> None:
    """At 3 a.m. everything stands where it stood the last time."""
    text = page(alert.name)
    assert text.startswith(f"# {alert.name}\n\n**{alert.body['labels']['severity']}** · ")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == SECTIONS


@each_alert
def test_the_queries_of_a_runbook_are_promql(alert: Alert) -> None:
    """Whole ones: names are looked for in test_names.py."""
    asked = [names_of(query) for query in queries(page(alert.name))]
    assert asked
    assert all(names.metrics for names in asked)


@each_alert
def test_the_commands_of_a_runbook_use_only_names_that_the_index_explains(alert: Alert) -> None:
    text = page(alert.name)
    assert set(re.findall(r"\$(?:\{)?([A-Z]+)\b", text)) <= VARIABLES
    for command in "".join(blocks(text, "sh")).replace("\\\n", "").splitlines():
        assert command.split()[0] in ("kubectl", "curl", "nats")


def test_no_runbook_is_left_over() -> None:
    assert {path.stem for path in FOLDER.glob("*.md")} == {*ALERTS, "README"}


@each_alert
def test_the_index_has_every_alert_with_its_severity(alert: Alert) -> None:
    row = f"| [{alert.name}]({alert.name}.md) | {alert.body['labels']['severity']} | "
    assert (FOLDER / "README.md").read_text().count(row) == 1


def test_the_index_explains_every_name() -> None:
    (names,) = blocks(page("README"), "sh")
    assert set(re.findall(r"^([A-Z]+)=", names, re.MULTILINE)) == VARIABLES


@pytest.mark.parametrize("path", sorted((ROOT / "docs").rglob("*.md")), ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)", path.read_text())
    assert not [link for link in links if "://" not in link and not (path.parent / link).exists()]
