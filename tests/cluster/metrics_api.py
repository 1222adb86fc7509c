"""An API of metrics that is served from this machine, and registered with the API server as any other one."""

import contextlib
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import trustme

from tests.cluster.parts import Cluster, apply, eventually


class MetricsApi:
    """answer: the body for a path."""

    def __init__(self, answer: Callable[[str], dict[str, Any]]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = json.dumps(answer(self.path)).encode()
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


def resources(version: str, name: str, kind: str) -> dict[str, Any]:
    """What the API has: one resource."""
    resource = {"name": name, "singularName": "", "namespaced": True, "kind": kind, "verbs": ["get"]}
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": [resource]}


@contextlib.contextmanager
def registered(cluster: Cluster, group: str, version: str, api: MetricsApi) -> Iterator[None]:
    """A Service leads the API server to this machine; skips where the cluster has the API already."""
    name = f"{version}.{group}"
    if not cluster.run("get", "apiservice", name).returncode:
        pytest.skip(f"this cluster has a {group} of its own")
    nodes = json.loads(cluster("get", "nodes", "--output=json"))["items"]
    address = next(each["address"] for each in nodes[0]["status"]["addresses"] if each["type"] == "InternalIP")
    ports = [{"name": "https", "port": 443, "targetPort": api.port}]
    apply(
        cluster,
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "metrics-api"}, "spec": {"ports": ports}},
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": "metrics-api", "labels": {"kubernetes.io/service-name": "metrics-api"}},
            "addressType": "IPv4",
            "ports": [{"name": "https", "port": api.port}],
            "endpoints": [{"addresses": [address]}],
        },
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": name},
            "spec": {
                "group": group,
                "version": version,
                "service": {"name": "metrics-api", "namespace": cluster.namespace},
                "insecureSkipTLSVerify": True,
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
            },
        },
    )
    try:
        eventually(lambda: not cluster.run("get", "--raw", f"/apis/{group}/{version}").returncode, "the API")
        yield
    finally:
        cluster("delete", "apiservice", name)
