"""`autoscaling.mode: hpa`: from the streams that are open by operator, Prometheus and the chart's own rule to the number of pods.

prometheus-adapter is the one part that is not the real one: a small API evaluates exactly the rule that the chart ships.
"""

import asyncio
import contextlib
import json
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.desk import Desk
from tests.cluster.helm import RELEASE, Browsers, Helm, available, images, node, tunnel
from tests.cluster.metrics_api import MetricsApi, registered, resources
from tests.cluster.parts import Cluster, eventually, ready, status
from tests.docs.shares import BY_HPA
from tests.harness import free_port

GROUP, VERSION = "custom.metrics.k8s.io", "v1beta2"
OBJECT = re.compile(r"/namespaces/([^/]+)/broadcasters\.ssecast\.dev/([^/]+)/([^/?]+)")

SCALING = {
    "minReplicas": 1,
    "maxReplicas": 3,
    "streamsPerPod": {"target": 20, "limit": 40},
    "burst": 0,
    "maxReconnectsPerSecond": 50,
    "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
    "rebalance": {"enabled": False},
}
SPEC = {
    "scaling": SCALING,
    "nats": {"stream": {"storage": "memory", "maxBytes": "16Mi"}},
    "drain": {"delaySeconds": 1, "patienceSeconds": 3, "windowSeconds": 5},
    "stream": {"retryMilliseconds": 200},
    "service": {"type": "NodePort"},
    "podTemplate": {"resources": {"requests": {"cpu": "20m", "memory": "64Mi"}}},
}
VALUES = {
    "autoscaling": {"mode": "hpa"},
    "nats": {"embedded": {"persistence": {"enabled": False}}},
    "broadcaster": {"spec": SPEC},
}

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def site() -> Iterator[Cluster]:
    found = Cluster(f"ssecast-hpa-{uuid.uuid4().hex[:6]}")
    found("create", "namespace", found.namespace)
    yield found
    found("delete", "namespace", found.namespace, "--wait=false")


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator["Prometheus"]:
    running = Prometheus(tmp_path)
    yield running
    running.stop()


class Prometheus:
    """The real one, which reads what it is told to."""

    def __init__(self, folder: Path) -> None:
        if shutil.which("prometheus") is None:
            pytest.skip("prometheus is not installed: apt-get install prometheus")
        self.folder, self.port = folder, free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def watch(self, target: int) -> None:
        """honor_labels, as the chart's PodMonitor of the operator has it."""
        scrape = {
            "job_name": "operator",
            "scrape_interval": "1s",
            "honor_labels": True,
            "static_configs": [{"targets": [f"127.0.0.1:{target}"], "labels": {"namespace": "elsewhere"}}],
        }
        (self.folder / "prometheus.yml").write_text(yaml.safe_dump({"scrape_configs": [scrape]}))
        command = [
            "prometheus",
            f"--config.file={self.folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        eventually(lambda: not self.asks("up").get("error"), "Prometheus", 60)

    def asks(self, query: str) -> dict[str, Any]:
        address = f"http://127.0.0.1:{self.port}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        try:
            with urllib.request.urlopen(address, timeout=10) as answer:
                return dict(json.load(answer))
        except OSError as wrong:
            return {"error": str(wrong)}

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)


class Adapter:
    """What prometheus-adapter does with one rule, for one kind of object."""

    def __init__(self, prometheus: Prometheus) -> None:
        self._prometheus = prometheus
        self.rule: dict[str, Any] = {}

    def answer(self, path: str) -> dict[str, Any]:
        version = f"{GROUP}/{VERSION}"
        found = OBJECT.search(path)
        if found is None or not self.rule:
            return resources(version, "broadcasters.ssecast.dev/ssecast_demand_streams", "MetricValueList")
        namespace, name, metric = found.groups()
        values = self._values(namespace, name) if metric == self.rule["name"]["as"] else []
        described = {"kind": "Broadcaster", "apiVersion": "ssecast.dev/v1alpha1", "namespace": namespace, "name": name}
        items = [
            {
                "describedObject": described,
                "metric": {"name": metric},
                "timestamp": "2026-01-01T00:00:00Z",
                "value": value,
            }
            for value in values
        ]
        return {"kind": "MetricValueList", "apiVersion": version, "metadata": {}, "items": items}

    def _values(self, namespace: str, name: str) -> list[str]:
        """The labels are those that the rule maps to the namespace and to Broadcasters."""
        series = self.rule["seriesQuery"].partition("{")[0]
        assert self._prometheus.asks(self.rule["seriesQuery"])["data"]["result"], "the rule finds its series"
        of = {each["resource"]: label for label, each in self.rule["resources"]["overrides"].items()}
        matchers = f'{of["namespace"]}="{namespace}",{of["broadcaster"]}="{name}"'
        query = self.rule["metricsQuery"].replace("<<.Series>>", series).replace("<<.LabelMatchers>>", matchers)
        result = self._prometheus.asks(query.replace("<<.GroupBy>>", of["broadcaster"]))["data"]["result"]
        return [each["value"][1] for each in result]


async def test_pods_follow_streams_by_the_charts_hpa_and_rule(
    site: Cluster, prometheus: Prometheus, tmp_path: Path
) -> None:
    helm, adapter = Helm(site), Adapter(prometheus)
    api = MetricsApi(adapter.answer)
    try:
        with registered(site, GROUP, VERSION, api):
            await asyncio.to_thread(helm.install, images() | VALUES | {"operator": images()["operator"]})
            rules = site.get("configmap", "ssecast-adapter-rule")["data"]["rules.yaml"]
            await asyncio.to_thread(available, site)
            with tunnel(site, "deployment/ssecast-operator", 8081) as operator:
                await asyncio.to_thread(prometheus.watch, operator)
                (adapter.rule,) = yaml.safe_load(rules)["rules"]
                await _grows_and_shrinks(site)
                await asyncio.to_thread(_by_the_pages, site, tmp_path)
            helm("uninstall", RELEASE)
    finally:
        api.close()


def _by_the_pages(site: Cluster, folder: Path) -> None:
    """What they tell people to look at shows the rule, and the metric."""
    with contextlib.closing(Desk(site, folder)) as desk:
        rule, same, metric = map(desk.follow, BY_HPA)
    assert "ssecast_operator_demand_streams" in rule
    assert "ssecast-adapter-rule" in same
    assert '"value"' in metric


async def _grows_and_shrinks(site: Cluster) -> None:
    port = site.get("service", "ssecast")["spec"]["ports"][0]["nodePort"]
    browsers = Browsers(node(site), port)
    browsers.come(55)
    await asyncio.to_thread(eventually, lambda: ready(site, 3, "ssecast"), "three pods", 240)
    assert site.get("broadcaster", "ssecast")["spec"]["replicas"] == 3, "the HPA has written it"
    assert status(site, "ssecast")["autoscaler"]["reason"] == "ReplicasByHPA"
    await browsers.leave()
    await asyncio.to_thread(eventually, lambda: ready(site, 1, "ssecast"), "one pod", 240)
