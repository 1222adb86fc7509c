"""The dashboards are those that were made, and such that Grafana shows them anywhere."""

import json
import re
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest

from monitoring.dashboards import DASHBOARDS, FOLDER, text_of
from monitoring.panels import COLUMNS
from tests.monitoring.names import filled, names_of

DRAWN = {each.name: json.loads(text_of(each)) for each in DASHBOARDS}

UNITS = {"short", "none", "s", "bytes", "Bps", "percentunit", "reqps", "cps", "ops"}
"""Those that Grafana knows, as far as they are used."""

each_dashboard = pytest.mark.parametrize("body", DRAWN.values(), ids=DRAWN)


def panels() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, body in DRAWN.items():
        for panel in body["panels"]:
            if panel["type"] != "row":
                yield f"{name}: {panel['title']}", panel


PANELS = dict(panels())
each_panel = pytest.mark.parametrize("panel", PANELS.values(), ids=PANELS)


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda dashboard: dashboard.name)
def test_the_chart_has_what_make_dashboards_makes(dashboard: Any) -> None:
    assert (FOLDER / f"{dashboard.name}.json").read_text() == text_of(dashboard), "make dashboards makes it anew"


def test_the_chart_has_no_other_dashboards() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(DRAWN)


@each_dashboard
def test_a_dashboard_can_be_brought_into_any_grafana(body: dict[str, Any]) -> None:
    """By a stable uid, without questions at import, and with the data source as a variable."""
    assert body["uid"].startswith("ssecast-")
    assert body["description"]
    assert body["schemaVersion"] >= 41
    assert "__inputs" not in body
    assert body.get("id") is None
    variables = {each["name"]: each["type"] for each in body["templating"]["list"]}
    wanted = {"datasource": "datasource", "namespace": "query", "broadcaster": "query"}
    assert wanted.items() <= variables.items()
    assert next(iter(variables)) == "datasource", "the others ask it"


def test_uids_and_titles_are_unique() -> None:
    assert len({body["uid"] for body in DRAWN.values()}) == len({body["title"] for body in DRAWN.values()}) == 4


@each_dashboard
def test_everything_is_asked_of_the_chosen_data_source(body: dict[str, Any]) -> None:
    sources = re.findall(r'"uid": "(\$[^"]*)"', json.dumps(body))
    assert set(sources) == {"${datasource}"}
    asked = [*body["panels"], *body["annotations"]["list"], *body["templating"]["list"][1:]]
    assert all("datasource" in each for each in asked if each.get("type") != "row")


@each_dashboard
def test_panels_stand_beside_each_other(body: dict[str, Any]) -> None:
    """Within the grid, and none on another."""
    places = [panel["gridPos"] for panel in body["panels"]]
    assert all(place["x"] + place["w"] <= COLUMNS for place in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above
    numbers = [panel["id"] for panel in body["panels"]]
    assert len(set(numbers)) == len(numbers)


@each_dashboard
def test_titles_are_unique_within_a_dashboard(body: dict[str, Any]) -> None:
    """A runbook that names one means that one."""
    titles = [panel["title"] for panel in body["panels"] if panel["type"] != "row"]
    assert len(set(titles)) == len(titles)


@each_panel
def test_a_panel_says_what_it_shows_and_in_which_unit(panel: dict[str, Any]) -> None:
    assert re.search(r"[.:]$|\.$", panel["description"].strip()[-1:]), "a description is a sentence"
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    assert panel["targets"]
    assert all(target["legendFormat"] for target in panel["targets"])


@each_panel
def test_rates_follow_the_scrape_interval_and_selectors_the_variables(panel: dict[str, Any]) -> None:
    """A fixed window is empty with a slow Prometheus; fixed ones are for what is counted over a time that is said."""
    for target in panel["targets"]:
        expr = target["expr"]
        assert not re.search(r"\b(rate|irate|deriv)\([^[]*\[(?!\$__rate_interval)", expr)
        for fixed in re.findall(r"increase\([^[]*\[(\w+)\]", expr):
            words = {"5m": "five minutes", "1h": "hour"}[fixed]
            assert words in panel["title"] + panel["description"]
        for one in names_of(filled(expr)).selected:
            own = one.metric in ("ssecast_operator_leading", "ssecast_operator_api_calls_total")
            joined = one.metric in ("ssecast_streams", "ssecast_draining") and not one.labels
            assert own or joined or "round_seconds" in one.metric or "$namespace" in expr
            assert own or joined or "round_seconds" in one.metric or {"namespace", "broadcaster"} <= one.labels.keys()


@each_panel
def test_labels_of_a_legend_are_those_that_the_query_keeps(panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        wanted = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        kept = set(names_of(filled(target["expr"])).grouped)
        if "group_right" in target["expr"]:  # it keeps every label of what stands to its right
            kept.add("pod")
        assert wanted <= kept
