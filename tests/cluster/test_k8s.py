"""`k8s/`: the plain manifests, with an overlay of one's own as its README shows, in a real cluster."""

import asyncio
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from charts.make.__main__ import K8S
from loadtest.fleet.objects import Images
from tests.cluster.helm import available, receive, tunnel, volume
from tests.cluster.parts import Cluster

pytestmark = pytest.mark.timeout(300)

OPERATOR = "ghcr.io/ssecast/ssecast-operator"


@pytest.fixture
def site() -> Iterator[Cluster]:
    found = Cluster(f"ssecast-k8s-{uuid.uuid4().hex[:6]}")
    found("create", "namespace", found.namespace)
    try:
        with volume(found):
            yield found
    finally:
        found("delete", "broadcasters", "--all", "--wait=false")
        found("delete", "namespace", found.namespace, "--wait=false")
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
    site("wait", "--for=condition=Established", "customresourcedefinition/broadcasters.ssecast.dev")
    site("apply", "--server-side", "--force-conflicts", "--kustomize", str(tmp_path))
    available(site)
    with tunnel(site, "service/ssecast", 80) as web, tunnel(site, "service/ssecast-nats", 4222) as bare:
        assert asyncio.run(receive(web, bare)) == "hello"
