"""Mode hpa: a real HorizontalPodAutoscaler scales the Broadcaster by its `scale` subresource; the operator carries it out."""

import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.cluster.parts import Cluster, Operator, apply, broadcaster, eventually, ready, status

API = "external.metrics.k8s.io"
METRIC = "ssecast-streams"

pytestmark = pytest.mark.timeout(600)


class ExternalMetrics:
    """An external metrics API with one metric, served from this machine to the API server."""

    def __init__(self) -> None:
        self.value = 0
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = json.dumps(api.answer(self.path)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Nobody reads it."""

        self._server = ThreadingHTTPServer(("0.0.0.0", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert("metrics").configure_cert(context)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str) -> dict[str, Any]:
        version = f"{API}/v1beta1"
        if METRIC in path:
            item = {
                "metricName": METRIC,
                "metricLabels": {},
                "timestamp": "2026-01-01T00:00:00Z",
                "value": str(self.value),
            }
            return {"kind": "ExternalMetricValueList", "apiVersion": version, "metadata": {}, "items": [item]}
        resource = {
            "name": METRIC,
            "singularName": "",
            "namespaced": True,
            "kind": "ExternalMetricValueList",
            "verbs": ["get"],
        }
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": [resource]}


@pytest.fixture
def metrics(nats: Cluster) -> Iterator[ExternalMetrics]:
    """Registered with the API server by a Service that leads to this machine."""
    api = ExternalMetrics()
    nodes = json.loads(nats("get", "nodes", "--output=json"))["items"]
    address = next(each["address"] for each in nodes[0]["status"]["addresses"] if each["type"] == "InternalIP")
    service = {"name": "external-metrics", "namespace": nats.namespace}
    ports = [{"name": "https", "port": 443, "targetPort": api.port}]
    endpoints = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "external-metrics", "labels": {"kubernetes.io/service-name": "external-metrics"}},
        "addressType": "IPv4",
        "ports": [{"name": "https", "port": api.port}],
        "endpoints": [{"addresses": [address]}],
    }
    registration = {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": f"v1beta1.{API}"},
        "spec": {
            "group": API,
            "version": "v1beta1",
            "service": service,
            "insecureSkipTLSVerify": True,
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
        },
    }
    if not nats.run("get", "apiservice", f"v1beta1.{API}").returncode:
        pytest.skip(f"this cluster has a {API} of its own")
    apply(
        nats,
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "external-metrics"}, "spec": {"ports": ports}},
        endpoints,
        registration,
    )
    try:
        eventually(lambda: not nats.run("get", "--raw", f"/apis/{API}/v1beta1").returncode, "the API")
        yield api
    finally:
        nats("delete", "apiservice", f"v1beta1.{API}")
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
