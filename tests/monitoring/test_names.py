"""What dashboards, alerts, records and the adapter's rule name is there when a real pod and a real operator are asked."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import pytest_asyncio
import yaml
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from monitoring.dashboards import DASHBOARDS, text_of
from ssecast_operator.decision import Reason
from ssecast_operator.metrics import Metrics
from ssecast_operator.victims import Phase
from tests.monitoring import runbooks
from tests.monitoring.fleet import Fleet
from tests.monitoring.names import Selected, filled, names_of
from tests.monitoring.rules import ROOT, alerts, rules
from tests.monitoring.shown import shown as panels_of

pytestmark = pytest.mark.asyncio(loop_scope="package")

Exposition = Mapping[str, Mapping[str, set[str]]]
"""Metric -> label -> values."""

OF_TARGETS = {"namespace", "pod", "broadcaster"}
"""Labels that every scraped series has from its target, or from the operator."""

PROMETHEUS_OWN = {"ALERTS", "up"}

LATER = {
    "ssecast_operator_actions_total": {"action"},
    "ssecast_operator_round_failures_total": {"reason"},
    "ssecast_operator_limited": {"by"},
}
"""Series that come with their first occurrence, and their labels."""

MAY_BE = {
    ("ssecast_operator_limited", "by"): {reason.value for reason in Reason},
    ("ssecast_operator_phase", "phase"): {phase.value for phase in Phase},
    ("ssecast_operator_api_calls_total", "code"): {"200", "404", "409"},
}
"""Values that come and go: what the code knows, not what is there now."""

PAGE = ROOT / "docs" / "metrics.md"
ADAPTER = ROOT / "charts" / "ssecast" / "files" / "adapter-rule.yaml"


def queries() -> Iterator[tuple[str, list[str]]]:
    """(who asks, for what) of everything."""
    for dashboard in DASHBOARDS:
        body = json.loads(text_of(dashboard))
        for panel in body["panels"]:
            if panel["type"] != "row":
                yield f"{dashboard.name}: {panel['title']}", [filled(each["expr"]) for each in panel["targets"]]
        for variable in body["templating"]["list"]:
            if variable["type"] == "query":
                yield f"{dashboard.name}: ${variable['name']}", [filled(_series_of(variable["definition"]))]
        for annotation in body["annotations"]["list"]:
            yield f"{dashboard.name}: annotations", [filled(annotation["expr"])]
    for rule in rules():
        yield rule.get("alert", rule.get("record", "")), [rule["expr"]]
    for alert in alerts():
        yield f"runbook: {alert.name}", runbooks.queries(runbooks.page(alert.name))
    if ADAPTER.is_file():
        yield "adapter", [each for rule in yaml.safe_load(ADAPTER.read_text())["rules"] for each in _asked(rule)]


def _series_of(definition: str) -> str:
    """label_values(series, label) is no PromQL; what it asks for is."""
    series, _, label = definition.removeprefix("label_values(").removesuffix(")").rpartition(", ")
    return f"count by ({label}) ({series})"


def _asked(rule: dict[str, Any]) -> Iterator[str]:
    """What prometheus-adapter asks for, with its templates filled as it would."""
    labels = list(rule["resources"]["overrides"])
    yield rule["seriesQuery"]
    series = rule["seriesQuery"].partition("{")[0]
    asked = rule["metricsQuery"].replace("<<.Series>>", series).replace("<<.GroupBy>>", ",".join(labels))
    yield asked.replace("<<.LabelMatchers>>", ",".join(f'{label}="x"' for label in labels))


QUERIES = dict(queries())
each_query = pytest.mark.parametrize("asked", QUERIES.values(), ids=QUERIES)
RECORDS = {rule["record"]: names_of(rule["expr"]).grouped for rule in rules() if "record" in rule}


def exposition(text: str) -> dict[str, dict[str, set[str]]]:
    found: dict[str, dict[str, set[str]]] = {}
    for family in text_string_to_metric_families(text):
        if not family.samples:
            found[family.name] = {}
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for name, value in sample.labels.items():
                labels.setdefault(name, set()).add(value)
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="package")
async def told(fleet: Fleet) -> Exposition:
    """By a pod that serves, and by the operator that has made it."""
    pod = fleet.kubelet.serving[0].pod
    return exposition(str(pod.admin("GET", "/metrics")[1])) | exposition(fleet.operator.metrics.render().decode())


def missing(one: Selected, told: Exposition) -> Iterator[str]:
    """What a selector asks for that is not there."""
    if one.metric in PROMETHEUS_OWN or one.metric in RECORDS:
        return
    if one.metric not in told:
        yield one.metric
        return
    own = told[one.metric]
    for label, asked in one.labels.items():
        if label in OF_TARGETS:
            continue
        if label not in own.keys() | LATER.get(one.metric, set()):
            yield f"{one.metric}: label {label}"
            continue
        known = MAY_BE.get((one.metric, label)) or own.get(label, set())
        yield from (f'{one.metric}: {label}="{value}"' for value in asked if value not in known)


@each_query
async def test_what_a_query_selects_is_there(asked: list[str], told: Exposition) -> None:
    """Metrics, labels, and the values of labels that are asked for by name."""
    selected = [one for query in asked for one in names_of(query).selected]
    assert not [each for one in selected for each in missing(one, _with_later(told))]


@each_query
async def test_what_a_query_groups_and_joins_by_is_there(asked: list[str], told: Exposition) -> None:
    """At least one of the metrics in it has the label."""
    for names in map(names_of, asked):
        labels = set(OF_TARGETS)
        for metric in names.metrics:
            labels |= set(_with_later(told).get(metric, ())) | RECORDS.get(metric, frozenset())
        assert names.grouped <= labels


def _with_later(told: Exposition) -> Exposition:
    return {name: {label: set() for label in labels} for name, labels in LATER.items()} | dict(told)


async def test_series_that_come_later_are_those_of_the_operator() -> None:
    """The list above is right about names and labels."""
    metrics = Metrics()
    metrics.actions.labels("n", "b", "Drain").inc()
    metrics.failures.labels("n", "b", "api").inc()
    metrics.limited.labels("n", "b", "AtMaxReplicas").set(1)
    told = exposition(metrics.render().decode())
    assert {name: set(told[name]) - OF_TARGETS for name in LATER} == LATER


async def test_what_the_prose_of_runbooks_names_is_there(told: Exposition) -> None:
    named = {name for alert in alerts() for name in runbooks.named(runbooks.page(alert.name))}
    assert named <= told.keys()


def families(who: str, fleet: Fleet) -> list[Metric]:
    """Those of ours, of a pod or of the operator, as they are told."""
    pod = fleet.kubelet.serving[0].pod
    text = str(pod.admin("GET", "/metrics")[1]) if who == "pod" else fleet.operator.metrics.render().decode()
    found = text_string_to_metric_families(text)
    return [each for each in found if each.name.startswith("ssecast_") and not each.name.endswith("_created")]


def name_of(family: Metric) -> str:
    return family.name + ("_total" if family.type == "counter" else "")


@pytest.mark.parametrize("who", ["pod", "operator"])
async def test_the_page_of_metrics_has_every_metric_with_its_labels(who: str, fleet: Fleet) -> None:
    """In the words of the exposition; rows that are missing stand in the failure, to be copied."""
    prefix = "| `ssecast_operator_" if who == "operator" else "| `ssecast_"
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith(prefix)]
    if who == "pod":
        rows = [row for row in rows if not row.startswith("| `ssecast_operator_")]
    assert rows == [row_of(family) for family in families(who, fleet)]


def row_of(family: Metric) -> str:
    own = {name for sample in family.samples for name in sample.labels} - OF_TARGETS - {"le"}
    labels = sorted(own | LATER.get(name_of(family), set()))
    shown = ", ".join(f"`{label}`" for label in labels)
    return f"| `{name_of(family)}` | {family.type} | {shown} | {family.documentation} |"


@pytest.mark.parametrize("who", ["pod", "operator"])
async def test_every_metric_is_on_a_dashboard(who: str, fleet: Fleet) -> None:
    """What nobody sees is measured for nobody, and an alert wants a curve to look at. Of a histogram its buckets are enough."""
    panels = [one for dashboard in DASHBOARDS for one in panels_of(dashboard.name, json.loads(text_of(dashboard)))]
    seen = {metric for one in panels for expr in one.exprs for metric in names_of(filled(expr)).metrics}
    assert {name_of(each) for each in families(who, fleet)} <= {name.removesuffix("_bucket") for name in seen}


async def test_every_alert_names_a_metric_of_ours() -> None:
    """An alert on another program's metrics would be silent where that program is not there."""
    for alert in alerts():
        metrics = names_of(alert.body["expr"]).metrics
        assert any(name.startswith(("ssecast_", "broadcaster:ssecast_")) for name in metrics), alert.name
