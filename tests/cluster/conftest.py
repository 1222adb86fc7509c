"""A real API server, where KUBECONFIG names one; a namespace of its own for each test module."""

import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CRD = Path(__file__).parents[2] / "charts" / "ssecast" / "crds" / "broadcasters.yaml"


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


class Cluster:
    """kubectl in one namespace."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def run(self, *arguments: str, given: Any = None) -> subprocess.CompletedProcess[str]:
        command = ["kubectl", "--namespace", self.namespace, *arguments]
        return subprocess.run(
            command, input=None if given is None else json.dumps(given), capture_output=True, text=True, timeout=60
        )

    def __call__(self, *arguments: str, given: Any = None) -> str:
        """The output; fails with what kubectl said."""
        done = self.run(*arguments, given=given)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def get(self, what: str, name: str) -> Any:
        return json.loads(self("get", what, name, "--output", "json"))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    namespace = f"ssecast-{uuid.uuid4().hex[:8]}"
    found = Cluster(namespace)
    found("create", "namespace", namespace)
    found("apply", "--server-side", "--force-conflicts", "--filename", str(CRD))
    found(
        "wait",
        "--for",
        "condition=Established",
        "customresourcedefinition/broadcasters.ssecast.dev",
        "--timeout",
        "30s",
    )
    yield found
    found("delete", "broadcasters", "--all")
    found("delete", "namespace", namespace, "--wait=false")
