"""Mode hpa: a real HorizontalPodAutoscaler scales the Broadcaster by its `scale` subresource; the operator carries it out."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.metrics_api import MetricsApi, registered, resources
from tests.cluster.parts import Cluster, Operator, apply, broadcaster, eventually, ready, status

API, VERSION = "external.metrics.k8s.io", "v1beta1"
METRIC = "ssecast-streams"

pytestmark = pytest.mark.timeout(600)


class ExternalMetrics(MetricsApi):
    """One metric, with the value that the test says."""

    def __init__(self) -> None:
        super().__init__(self.answer)
        self.value = 0

    def answer(self, path: str) -> dict[str, Any]:
        version = f"{API}/{VERSION}"
        if METRIC not in path:
            return resources(version, METRIC, "ExternalMetricValueList")
        item = {
            "metricName": METRIC,
            "metricLabels": {},
            "timestamp": "2026-01-01T00:00:00Z",
            "value": str(self.value),
        }
        return {"kind": "ExternalMetricValueList", "apiVersion": version, "metadata": {}, "items": [item]}


@pytest.fixture
def metrics(nats: Cluster) -> Iterator[ExternalMetrics]:
    api = ExternalMetrics()
    try:
        with registered(nats, API, VERSION, api):
            yield api
    finally:
        api.close()


def test_the_hpas_number_is_carried_out(
    nats: Cluster, operator: Operator, metrics: ExternalMetrics, tmp_path: Path
) -> None:
    apply(nats, broadcaster(replicas=1, scaling={"mode": "hpa"}))
    eventually(lambda: ready(nats, 1), "the first pod", 120)
    scaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "live"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "ssecast.dev/v1alpha1", "kind": "Broadcaster", "name": "live"},
            "minReplicas": 1,
            "maxReplicas": 3,
            "metrics": [
                {
                    "type": "External",
                    "external": {"metric": {"name": METRIC}, "target": {"type": "AverageValue", "averageValue": "20"}},
                }
            ],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
        },
    }
    metrics.value = 60
    apply(nats, scaler)
    eventually(lambda: ready(nats, 3), "three pods", 180)
    assert nats.get("broadcaster", "live")["spec"]["replicas"] == 3
    assert status(nats)["autoscaler"]["reason"] == "ReplicasByHPA"
    metrics.value = 10
    eventually(lambda: ready(nats, 1), "one pod", 240)
    nats("delete", "hpa", "live")
