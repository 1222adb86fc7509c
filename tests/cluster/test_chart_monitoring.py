"""`ci/monitoring-values.yaml` in a real cluster: by the objects that it makes there a real Prometheus has data for every panel of
every dashboard, and raises an alert.

Prometheus runs on this machine, and for lack of the Prometheus operator its configuration is written here, from the
PodMonitors and the PrometheusRule as the API server has them.
"""

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import nats
import pytest
import yaml

from tests.chart.definitions import PROMETHEUS_OPERATOR, definitions_of
from tests.chart.parts import values
from tests.cluster.helm import (
    RELEASE,
    Browsers,
    Helm,
    Publishing,
    available,
    definitions,
    images,
    node,
    reaches_pods,
    tunnel,
)
from tests.cluster.parts import Cluster, eventually, ready
from tests.harness import until
from tests.monitoring import prometheus as monitoring
from tests.monitoring.fleet import Target, target
from tests.monitoring.names import filled
from tests.monitoring.prometheus import Prometheus
from tests.monitoring.rules import program
from tests.monitoring.shown import CALM, Shown, shown

pytestmark = pytest.mark.timeout(400)

STREAMS = 30
SPEC = {
    "scaling": {
        "minReplicas": 1,
        "maxReplicas": 2,
        "streamsPerPod": {"target": 10, "limit": 40},
        "burst": 0,
        "maxReconnectsPerSecond": 50,
        "rebalance": {"enabled": False},
    },
    "nats": {"stream": {"storage": "memory", "maxBytes": "16Mi"}},
    "drain": {"delaySeconds": 1, "windowSeconds": 2},
    "stream": {"retryMilliseconds": 200},
    "service": {"type": "NodePort"},
    "podTemplate": {"resources": {"requests": {"cpu": "20m", "memory": "64Mi"}}},
}
"""For which so many streams want three pods, and may have two."""


@pytest.fixture
def site() -> Iterator[Cluster]:
    """With the definitions of the Prometheus operator, and a release by the values."""
    program("prometheus")
    found = Cluster(f"ssecast-watched-{uuid.uuid4().hex[:6]}")
    helm = Helm(found)
    with definitions(found, *definitions_of(PROMETHEUS_OPERATOR)):
        found("create", "namespace", found.namespace)
        given = {"nats": {"embedded": {"persistence": {"enabled": False}}}, "broadcaster": {"spec": SPEC}}
        try:
            helm.install(images() | values("monitoring") | given)
            available(found)
            yield found
        finally:
            helm.run("uninstall", RELEASE, "--ignore-not-found")
            found("delete", "namespace", found.namespace, "--wait=false")


@contextlib.asynccontextmanager
async def watched(site: Cluster, folder: Path) -> AsyncIterator[Prometheus]:
    """A Prometheus that scrapes the pods which the PodMonitors select now, and evaluates the rules."""
    monitors = {each["metadata"]["name"]: each for each in items(site, "podmonitors")}
    (rules,) = items(site, "prometheusrules")
    assert all(each["metadata"]["labels"]["release"] == "kube-prometheus-stack" for each in (*monitors.values(), rules))
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules["spec"]))
    prometheus = Prometheus(folder, monitors, folder / "rules.yaml")
    for name, monitor in monitors.items():
        prometheus.tell(name, selected(site, monitor))
    await prometheus.start()
    try:
        yield prometheus
    finally:
        await prometheus.stop()


def items(site: Cluster, kind: str, *options: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(site("get", kind, *options, "--output=json"))["items"]
    return found


def selected(site: Cluster, monitor: Mapping[str, Any]) -> list[Target]:
    """The pods of its own namespace that a PodMonitor selects, as Prometheus is told of them."""
    spec = monitor["spec"]
    assert "namespaceSelector" not in spec
    (endpoint,) = spec["podMetricsEndpoints"]
    found = items(site, "pods", f"--selector={selector(spec['selector'])}")
    assert found, f"{monitor['metadata']['name']} selects no pod"
    return [
        target(
            f"{pod['status']['podIP']}:{port(pod, endpoint['port'])}",
            site.namespace,
            pod["metadata"]["name"],
            pod["metadata"]["labels"],
        )
        for pod in found
    ]


def selector(given: Mapping[str, Any]) -> str:
    """As kubectl writes it. Of expressions those that ask whether a label is there."""
    expressions = given.get("matchExpressions", [])
    assert all(each["operator"] == "Exists" for each in expressions)
    labels = [f"{name}={value}" for name, value in given.get("matchLabels", {}).items()]
    return ",".join([*labels, *(each["key"] for each in expressions)])


def port(pod: Mapping[str, Any], name: str) -> int:
    ports = (each for container in pod["spec"]["containers"] for each in container.get("ports", ()))
    (found,) = [each["containerPort"] for each in ports if each["name"] == name]
    return int(found)


def panels(site: Cluster) -> list[Shown]:
    """Of the dashboards that Grafana's sidecar would find."""
    found = items(site, "configmaps", "--selector=grafana_dashboard=1")
    assert len(found) == 4
    assert all(each["metadata"]["annotations"]["grafana_folder"] == "ssecast" for each in found)
    prefix, suffix = "ssecast-", ".json"
    return [
        one
        for config in found
        for name, text in config["data"].items()
        for one in shown(name.removeprefix(prefix).removesuffix(suffix), json.loads(text))
    ]


async def test_dashboards_have_data_and_an_alert_is_raised(site: Cluster, tmp_path: Path) -> None:
    """The rules as they are: the alert that is waited for is one that takes a minute."""
    if not reaches_pods(site, 9090):
        pytest.skip("the addresses of pods cannot be reached from here")
    browsers = Browsers(node(site), site.get("service", RELEASE)["spec"]["ports"][0]["nodePort"])
    browsers.come(STREAMS)
    with tunnel(site, "service/ssecast-nats", 4222) as bare:
        async with Publishing.to(bare):
            await asyncio.to_thread(eventually, lambda: ready(site, 2, RELEASE), "two pods", 180)
            async with watched(site, tmp_path) as prometheus:
                await until(lambda: has(prometheus, 'ssecast_events_dropped_total{reason="not_utf8"} == 0', 2), "pods")
                await publish_what_cannot_be_broadcast(bare)
                await every_panel_has_data(site, prometheus)
                await until(
                    lambda: has(prometheus, about("SsecastAutoscalerAtMaximum", "pending")), "word of the limit"
                )
                await until(lambda: has(prometheus, about("SsecastEventsDropped", "firing")), "the alert", 110)
                (firing,) = await prometheus.query('ALERTS{alertname=~"Ssecast.+",alertstate="firing"}')
    await browsers.leave()
    of = {"namespace": site.namespace, "broadcaster": RELEASE, "reason": "not_utf8", "severity": "warning"}
    assert of.items() <= firing["metric"].items()


async def publish_what_cannot_be_broadcast(bare: int) -> None:
    client = await nats.connect(f"nats://127.0.0.1:{bare}")
    await client.jetstream().publish("events.binary", b"\xff")
    await client.close()


async def every_panel_has_data(site: Cluster, prometheus: Prometheus) -> None:
    for one in panels(site):
        for expr in (filled(expr, prometheus.rate_interval) for expr in one.exprs):
            if one.panel in CALM:
                await prometheus.query(expr)
            else:
                await until(partial(has, prometheus, expr), f"{one.panel}: data for {expr}")


def about(alert: str, state: str) -> str:
    return f'ALERTS{{alertname="{alert}",alertstate="{state}"}}'


async def has(prometheus: Prometheus, expr: str, count: int = 1) -> bool:
    """Whether a query returns as many numbers."""
    return len(monitoring.values(await prometheus.query(expr))) >= count
