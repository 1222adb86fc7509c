"""A real Prometheus scrapes a live fleet, and every panel has something to show."""

import json
from functools import partial

import pytest

from monitoring.dashboards import DASHBOARDS, text_of
from tests.harness import until
from tests.monitoring.fleet import NAME, NAMESPACE, OPERATORS, Fleet
from tests.monitoring.names import filled
from tests.monitoring.prometheus import Prometheus, values
from tests.monitoring.rules import alerts, rules
from tests.monitoring.shown import CALM, Shown, shown

pytestmark = pytest.mark.asyncio(loop_scope="package")

SHOWN = [one for dashboard in DASHBOARDS for one in shown(dashboard.name, json.loads(text_of(dashboard)))]


async def test_pods_and_operator_bear_the_labels_that_queries_join_by(fleet: Fleet, prometheus: Prometheus) -> None:
    """By the PodMonitors' own relabelings: pods from what Kubernetes knows, the operator's from itself."""
    await until(lambda: _answers(prometheus, "ssecast_streams and on (namespace, pod) up == 1", 2), "both pods")
    pods = await prometheus.query("ssecast_streams")
    of = {"namespace": NAMESPACE, "broadcaster": NAME}
    assert all(of.items() <= each["metric"].items() for each in pods)
    assert {each["metric"]["pod"] for each in pods} >= {each.name for each in fleet.kubelet.serving}
    await until(lambda: _answers(prometheus, "ssecast_operator_desired_pods", 1), "the operator")
    (desired,) = await prometheus.query("ssecast_operator_desired_pods")
    assert of.items() <= desired["metric"].items()
    (leading,) = await prometheus.query("ssecast_operator_leading")
    assert leading["metric"]["namespace"] == OPERATORS


@pytest.mark.parametrize("one", SHOWN, ids=[each.panel for each in SHOWN])
async def test_every_query_of_a_panel_returns_data(one: Shown, prometheus: Prometheus) -> None:
    """With all variables at All, as a dashboard opens."""
    for expr in (filled(expr, prometheus.rate_interval) for expr in one.exprs):
        if one.panel in CALM:
            await prometheus.query(expr)
        else:
            await until(partial(_answers, prometheus, expr, 1), f"data for {expr}")


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert") or rule["record"])
async def test_prometheus_understands_every_rule(rule: dict[str, str], prometheus: Prometheus) -> None:
    await prometheus.query(rule["expr"])


async def test_no_alert_is_about_a_fleet_that_is_well(prometheus: Prometheus) -> None:
    """None fires, and none is about to."""
    await until(lambda: _answers(prometheus, "broadcaster:ssecast_streams:sum", 1), "the rules are evaluated")
    await until(lambda: _is_calm(prometheus), "a fleet about which there is no alert")


async def test_what_prometheus_has_loaded_is_every_alert(prometheus: Prometheus) -> None:
    loaded = await prometheus.loaded_alerts()
    assert loaded == {alert.name for alert in alerts()}


async def _is_calm(prometheus: Prometheus) -> bool:
    """While the operator has not been scraped yet, it looks absent; that passes before anything fires."""
    about = await prometheus.query('ALERTS{alertname=~"Ssecast.+"}')
    assert not [each["metric"] for each in about if each["metric"]["alertstate"] == "firing"]
    return not about


async def _answers(prometheus: Prometheus, expr: str, count: int) -> bool:
    return len(values(await prometheus.query(expr))) >= count
