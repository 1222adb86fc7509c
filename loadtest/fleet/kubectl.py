"""kubectl in a namespace of its own."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from typing import Any

SECONDS = 60.0


class KubectlError(RuntimeError):
    """What kubectl said."""


def need_cluster() -> None:
    """Raises KubectlError where no cluster is named, or nobody can ask it."""
    if not os.environ.get("KUBECONFIG") or not shutil.which("kubectl"):
        raise KubectlError(
            "KUBECONFIG must name a cluster, and kubectl must be installed (kind create cluster makes one)"
        )


def kubernetes_version() -> str:
    """That of the cluster's first node."""
    return str(Kubectl("default").get("nodes")["items"][0]["status"]["nodeInfo"]["kubeletVersion"])


class Kubectl:
    """The cluster that KUBECONFIG names."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def __call__(self, *arguments: str, given: str = "", seconds: float = SECONDS) -> str:
        """What it printed. Raises KubectlError."""
        command = ["kubectl", "--namespace", self.namespace, *arguments]
        try:
            done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=seconds)
        except subprocess.TimeoutExpired:
            raise KubectlError(f"kubectl {' '.join(arguments)} has not ended within {seconds:g} s") from None
        if done.returncode:
            raise KubectlError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def apply(self, objects: Iterable[Mapping[str, Any]]) -> None:
        body = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self("apply", "--server-side", "--force-conflicts", "--filename", "-", given=json.dumps(body))

    def get(self, kind: str, *names: str, **options: str) -> Any:
        """An object, or a list of them. options: such as selector."""
        flags = [f"--{name}={value}" for name, value in options.items()]
        return json.loads(self("get", kind, *names, *flags, "--output=json"))

    def merge(self, kind: str, name: str, patch: Mapping[str, Any]) -> None:
        self("patch", kind, name, "--type=merge", f"--patch={json.dumps(patch)}")

    def wait(self, what: str, condition: str, seconds: float) -> None:
        self("wait", what, f"--for={condition}", f"--timeout={seconds:g}s", seconds=seconds + 10)

    def node(self) -> str:
        """An address of a node, where NodePorts are open."""
        nodes = self.get("nodes")["items"]
        return next(str(each["address"]) for each in nodes[0]["status"]["addresses"] if each["type"] == "InternalIP")

    def node_port(self, service: str) -> int:
        return int(self.get("service", service)["spec"]["ports"][0]["nodePort"])
