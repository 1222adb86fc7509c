"""`k8s/`: the plain manifests in a real cluster, by the lines of its README and with an overlay of one's own."""

import asyncio
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from charts.make.__main__ import K8S
from loadtest.fleet.objects import Images
from tests.cluster.desk import Desk
from tests.cluster.helm import available, others, receive, tunnel, volume
from tests.cluster.parts import Cluster
from tests.docs.shares import PLAIN_MANIFESTS

pytestmark = pytest.mark.timeout(300)

CRD = "customresourcedefinition/broadcasters.ssecast.dev"
OPERATOR = "ghcr.io/ssecast/ssecast-operator"


@pytest.fixture
def site() -> Iterator[Cluster]:
    found = Cluster(f"ssecast-k8s-{uuid.uuid4().hex[:6]}")
    found("create", "namespace", found.namespace)
    try:
        with volume(found):
            yield found
    finally:
        remove(found)


@pytest.fixture
def theirs() -> Iterator[Cluster]:
    """The namespace that the manifests themselves name. The definition goes with it, unless somebody else needs it: from a
    kubectl that is not Helm, Helm would not take it over."""
    found = Cluster("ssecast")
    if not found.run("get", "namespace", found.namespace).returncode:
        pytest.skip("this cluster has a namespace `ssecast` already")
    try:
        with volume(found):
            yield found
    finally:
        remove(found)
        if not others(found):
            found("delete", CRD, "--ignore-not-found")


def remove(found: Cluster) -> None:
    found.run("delete", "broadcasters", "--all", "--wait=false")
    found("delete", "namespace", found.namespace, "--ignore-not-found", "--wait=false")
    for kind in ("clusterrolebinding", "clusterrole"):
        found("delete", kind, "ssecast-ssecast-operator", "--ignore-not-found")


def overlay(folder: Path, namespace: str) -> None:
    """As somebody would write it who has the images elsewhere, and another namespace."""
    repository, _, tag = Images.operator.rpartition(":")
    environment = [{"name": "SSECAST_OPERATOR_IMAGE", "value": Images.service}]
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "ssecast-operator"},
        "spec": {"template": {"spec": {"containers": [{"name": "operator", "env": environment}]}}},
    }
    body = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": namespace,
        "resources": [os.path.relpath(K8S / "overlays" / "embedded-nats", folder)],
        "images": [{"name": OPERATOR, "newName": repository, "newTag": tag}],
        "patches": [
            {"target": {"kind": "Deployment", "name": "ssecast-operator"}, "patch": yaml.safe_dump(deployment)}
        ],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(body))


def test_an_overlay_of_ones_own_leads_to_a_stream(site: Cluster, tmp_path: Path) -> None:
    overlay(tmp_path, site.namespace)
    site(
        "apply",
        "--server-side",
        "--force-conflicts",
        "--field-manager=helm",
        "--filename",
        str(K8S / "base" / "crd.yaml"),
    )
    site("wait", "--for=condition=Established", CRD)
    site("apply", "--server-side", "--force-conflicts", "--kustomize", str(tmp_path))
    available(site)
    with tunnel(site, "service/ssecast", 80) as web, tunnel(site, "service/ssecast-nats", 4222) as bare:
        assert asyncio.run(receive(web, bare)) == "hello"


def test_the_lines_of_the_page_lead_to_a_stream(theirs: Cluster, tmp_path: Path) -> None:
    """But for the images, which are those of a checkout."""
    ((*make, wait),) = PLAIN_MANIFESTS
    with Desk(theirs, tmp_path) as desk:
        desk.follow(tuple(make))
        theirs("set", "env", "deployment/ssecast-operator", f"SSECAST_OPERATOR_IMAGE={Images.service}")
        theirs("set", "image", "deployment/ssecast-operator", f"operator={Images.operator}")
        assert "condition met" in desk.follow((wait,))
    with tunnel(theirs, "service/ssecast", 80) as web, tunnel(theirs, "service/ssecast-nats", 4222) as bare:
        assert asyncio.run(receive(web, bare)) == "hello"
