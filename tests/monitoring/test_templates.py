"""What the chart makes of dashboards, alerts and metrics' ports."""

import copy
import json
from typing import Any

import pytest
import yaml
from helm_python import HelmError

from monitoring.dashboards import DASHBOARDS, text_of
from ssecast_operator.children import BROADCASTER
from tests.monitoring.chart import MONITORING, ON, Manifest, monitors, rendered
from tests.monitoring.rules import RULES

ROOT_OF_RUNBOOKS = "https://github.com/ssecast/ssecast/blob/main/docs/runbooks/"


def of_kind(kind: str) -> list[Manifest]:
    return [each for each in rendered(ON, MONITORING) if each["kind"] == kind]


def without(part: str) -> dict[str, Any]:
    values = copy.deepcopy(dict(ON))
    values["monitoring"][part]["enabled"] = False
    return values


def test_dashboards_come_to_grafana_as_they_are() -> None:
    """Each in a ConfigMap of its own, found by its label; Helm leaves Grafana's `{{…}}` alone."""
    made = {each["metadata"]["name"]: each for each in of_kind("ConfigMap")}
    assert made.keys() == {f"ssecast-dashboard-{each.name}" for each in DASHBOARDS}
    for each in DASHBOARDS:
        config = made[f"ssecast-dashboard-{each.name}"]
        assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert config["metadata"]["annotations"] == {"folder": "ssecast"}
        assert {name: json.loads(text) for name, text in config["data"].items()} == {
            f"ssecast-{each.name}.json": json.loads(text_of(each))
        }


def test_alerts_come_to_prometheus_as_they_are_but_for_the_address_of_the_runbook() -> None:
    """Prometheus's own `{{ $labels… }}` survives Helm."""
    (made,) = of_kind("PrometheusRule")
    wanted = yaml.safe_load(RULES.read_text().replace("docs/runbooks/", ROOT_OF_RUNBOOKS))
    assert made["spec"] == wanted
    assert made["metadata"]["labels"]["release"] == "prometheus"
    assert "{{ $labels.namespace }}" in str(made["spec"])


def test_pods_are_found_by_their_broadcaster_and_bear_its_name() -> None:
    """Whatever their Broadcaster is called, and while they drain: a Service would have forgotten them by then."""
    pods, operator = (each["spec"] for each in monitors())
    assert pods["selector"] == {"matchExpressions": [{"key": BROADCASTER, "operator": "Exists"}]}
    (endpoint,) = pods["podMetricsEndpoints"]
    meta = f"__meta_kubernetes_pod_label_{BROADCASTER.replace('.', '_').replace('/', '_')}"
    assert endpoint["relabelings"] == [{"sourceLabels": [meta], "targetLabel": "broadcaster"}]
    assert "namespaceSelector" not in pods
    assert operator["podMetricsEndpoints"][0]["honorLabels"] is True


def test_an_operator_of_all_namespaces_has_pods_in_all_of_them() -> None:
    values = dict(ON) | {"operator": {"clusterWide": True}}
    everywhere = [each for each in rendered(values, MONITORING) if each["kind"] == "PodMonitor"]
    assert sum(each["spec"].get("namespaceSelector") == {"any": True} for each in everywhere) == 1


@pytest.mark.parametrize(
    ("part", "kinds"),
    [("dashboards", {"ConfigMap"}), ("podMonitor", {"PodMonitor"}), ("rules", {"PrometheusRule"})],
)
def test_each_part_can_be_left_out(part: str, kinds: set[str]) -> None:
    every = {each["kind"] for each in rendered(ON, MONITORING)}
    assert {each["kind"] for each in rendered(without(part), MONITORING)} == every - kinds


@pytest.mark.parametrize("part", ["podMonitor", "rules"])
def test_without_the_prometheus_operator_it_is_said_which_value_asks_for_it(part: str) -> None:
    other = {"podMonitor": "rules", "rules": "podMonitor"}[part]
    with pytest.raises(HelmError, match=f"monitoring.{part}.enabled needs {MONITORING}"):
        rendered(without(other))
