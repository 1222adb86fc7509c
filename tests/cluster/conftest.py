"""A real API server, where KUBECONFIG names one; a namespace of its own for each test module."""

import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtest.fleet.objects import Images, nats_server
from tests.cluster.parts import CRD, IMAGE, Cluster, Operator, apply, eventually

CRD_FILE = Path(__file__).parents[2] / "charts" / "ssecast" / "crds" / "broadcasters.yaml"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips these tests, with the reason, where there is no cluster."""
    missing = [
        reason
        for reason, there in (
            ("KUBECONFIG names no cluster (kind create cluster makes one)", os.environ.get("KUBECONFIG")),
            ("kubectl is not installed", shutil.which("kubectl")),
        )
        if not there
    ]
    for item in items:
        if missing and Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=missing[0]))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    namespace = f"ssecast-{uuid.uuid4().hex[:8]}"
    found = Cluster(namespace)
    found("create", "namespace", namespace)
    found("apply", "--server-side", "--force-conflicts", "--field-manager=helm", "--filename", str(CRD_FILE))
    found(
        "wait",
        "--for",
        "condition=Established",
        CRD,
        "--timeout",
        "30s",
    )
    yield found
    found("delete", "broadcasters", "--all")
    found("delete", "namespace", namespace, "--wait=false")


@pytest.fixture(scope="module")
def nats(cluster: Cluster) -> Cluster:
    """The cluster with a nats-server in the namespace; skips where it lacks the images."""
    apply(cluster, *nats_server(Images.nats))
    done = cluster.run("wait", "deployment/nats", "--for=condition=Available", "--timeout=60s")
    if done.returncode:
        pytest.skip(f"the cluster cannot run {Images.nats} and {IMAGE} (make images builds them)")
    return cluster


@pytest.fixture
def operator(nats: Cluster, tmp_path: Path) -> Iterator[Operator]:
    """Running; afterwards it is gone, and so is every Broadcaster."""
    running = Operator(nats, tmp_path / "operator.log").start()
    yield running
    running.stop()
    nats("delete", "broadcasters", "--all", "--wait=true")
    eventually(
        lambda: not nats("get", "pods", "--selector=ssecast.dev/broadcaster", "--output=name"), "no pods left", 180
    )
