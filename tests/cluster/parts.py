"""The operator as a process on this machine, and what it looks after in a real cluster."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from tests.harness import free_port

PATIENCE = 90.0
PULSE = 0.2
CRD = "customresourcedefinition/broadcasters.ssecast.dev"
IMAGE = os.environ.get("SSECAST_TEST_IMAGE", "localhost/ssecast:dev")

T = TypeVar("T")


def eventually(look: Callable[[], T], what: str, seconds: float = PATIENCE) -> T:
    """What a look shows as soon as it is true; fails with the name of it. The cluster tells nobody on its own."""
    deadline = time.monotonic() + seconds
    while True:
        seen = look()
        if seen:
            return seen
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(PULSE)


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


class Operator:
    """`ssecast-operator run` for one namespace; as whom: by KUBECONFIG."""

    def __init__(self, cluster: Cluster, log: Path, kubeconfig: str = "") -> None:
        self.cluster, self.log, self.port = cluster, log, free_port()
        self.environ = os.environ | {"POD_NAMESPACE": cluster.namespace, "SSECAST_OPERATOR_IMAGE": IMAGE}
        if kubeconfig:
            self.environ["KUBECONFIG"] = kubeconfig
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Operator":
        command = [sys.executable, "-m", "ssecast_operator", "run", "--no-manage-crd", f"--port={self.port}"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, env=self.environ, stdout=log, stderr=subprocess.STDOUT)
        eventually(self._answers, f"the operator's port: {self.log}", 30)
        return self

    def kill(self) -> None:
        """Without a word; it gives its Lease back to nobody."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"the operator ended: {self.log.read_text()[-2000:]}"
        with contextlib.suppress(OSError):
            return bool(self.get("/healthz"))
        return False

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
            return str(answer.read().decode())

    def samples(self, name: str) -> dict[frozenset[tuple[str, str]], float]:
        """Of one metric, by labels."""
        found = {}
        for line in self.get("/metrics").splitlines():
            matched = re.fullmatch(rf"{name}(?:\{{(.*)\}})? (\S+)", line)
            if matched:
                labels = re.findall(r'(\w+)="([^"]*)"', matched[1] or "")
                found[frozenset(labels)] = float(matched[2])
        return found

    @property
    def rounds(self) -> float:
        return sum(self.samples("ssecast_operator_round_seconds_count").values())

    @property
    def writes(self) -> dict[tuple[str, str], float]:
        """Calls that may change something, by verb and resource; without those of the Lease, which is renewed."""
        calls = self.samples("ssecast_operator_api_calls_total")
        named = {(dict(labels)["verb"], dict(labels)["resource"]): count for labels, count in calls.items()}
        return {of: count for of, count in named.items() if of[0] not in ("get", "list") and of[1] != "leases"}


def broadcaster(name: str = "live", **spec: Any) -> dict[str, Any]:
    """Small and impatient; nobody is kept waiting for what only time brings."""
    scaling = {
        "minReplicas": 1,
        "maxReplicas": 4,
        "streamsPerPod": {"target": 20, "limit": 40},
        "burst": 0,
        "maxReconnectsPerSecond": 50,
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 5}},
        "surge": {"enabled": False},
        "rebalance": {"enabled": False},
    }
    given: dict[str, Any] = {
        "nats": {"url": "nats://nats:4222", "stream": {"storage": "memory", "maxBytes": "16Mi"}},
        "scaling": scaling | spec.pop("scaling", {}),
        "drain": {"delaySeconds": 1, "patienceSeconds": 3, "windowSeconds": 5},
        "stream": {"retryMilliseconds": 200, "heartbeatSeconds": 5},
        "podTemplate": {"resources": {"requests": {"cpu": "20m", "memory": "64Mi"}}},
    }
    return {
        "apiVersion": "ssecast.dev/v1alpha1",
        "kind": "Broadcaster",
        "metadata": {"name": name},
        "spec": given | spec,
    }


def apply(cluster: Cluster, *bodies: dict[str, Any]) -> None:
    cluster("apply", "--filename", "-", given={"apiVersion": "v1", "kind": "List", "items": list(bodies)})


def status(cluster: Cluster, name: str = "live") -> dict[str, Any]:
    return dict(cluster.get("broadcaster", name).get("status") or {})


def condition(cluster: Cluster, type_: str, name: str = "live") -> dict[str, Any]:
    found = [each for each in status(cluster, name).get("conditions", ()) if each["type"] == type_]
    return dict(found[0]) if found else {"status": "", "reason": "", "message": ""}


def pods(cluster: Cluster, name: str = "live") -> list[dict[str, Any]]:
    """Those that have not been told to end."""
    found = cluster("get", "pods", "--selector", f"ssecast.dev/broadcaster={name}", "--output", "json")
    return [pod for pod in json.loads(found)["items"] if not pod["metadata"].get("deletionTimestamp")]


def is_ready(pod: Mapping[str, Any]) -> bool:
    conditions = pod["status"].get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def ready(cluster: Cluster, count: int, name: str = "live") -> bool:
    """Whether there are just so many pods, all ready."""
    found = pods(cluster, name)
    return len(found) == count and all(map(is_ready, found))
