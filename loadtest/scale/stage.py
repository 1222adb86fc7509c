"""A namespace with Broadcasters whose pods exist on paper alone, an operator as a process, and somebody who answers for the pods.

No node fits the pods, so no kubelet starts them: everything else about them is real, from the ReplicaSet to the API server.
"""

import asyncio
import json
import os
import re
import secrets
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loadtest.bench.peers import ROOT
from loadtest.fleet.kubectl import Kubectl
from ssecast_operator.broadcaster import GROUP, KIND, VERSION
from ssecast_operator.children import BROADCASTER
from ssecast_operator.cluster import BROADCASTERS, PODS, LightkubeCluster

CRD = ROOT / "charts" / "ssecast" / "crds" / "broadcasters.yaml"
STREAMS = 6000
AT_ONCE = 32
POLL_SECONDS = 0.5
PATIENCE = 900.0
STOP_SECONDS = 30.0

Body = dict[str, Any]


class StageError(RuntimeError):
    """Something did not become what it should: a sentence."""


@dataclass(frozen=True)
class Reading:
    """The operator at one time. rounds: how many, and their seconds; buckets: rounds by their upper bound in seconds.

    writes: calls that may change something, by verb and resource, without the Lease's. cpu: seconds of its process. peak:
    most bytes that it ever held."""

    at: float
    rounds: int
    seconds: float
    buckets: dict[float, int]
    writes: dict[str, int]
    cpu: float
    peak: int


@dataclass
class Stage:
    """names: of the Broadcasters. addresses: of the pods, by UID."""

    folder: Path
    cluster: LightkubeCluster
    namespace: str = field(default_factory=lambda: f"ssecast-scale-{secrets.token_hex(3)}")
    addresses: dict[str, str] = field(default_factory=dict)
    answerer: asyncio.subprocess.Process = field(init=False)
    operator: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.kubectl = Kubectl(self.namespace)
        self.port = 0

    # The operator

    def start_operator(self, port: int) -> None:
        self.port = port
        environ = os.environ | {"POD_NAMESPACE": self.namespace, "SSECAST_OPERATOR_IMAGE": "localhost/none:1"}
        command = [sys.executable, "-m", "ssecast_operator", "run", "--no-manage-crd", f"--port={port}"]
        with (self.folder / "operator.log").open("ab") as log:
            self.operator = subprocess.Popen(command, env=environ, stdout=log, stderr=subprocess.STDOUT)

    def stop_operator(self) -> None:
        if self.operator is not None:
            self.operator.terminate()
            try:
                self.operator.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.operator.kill()
                self.operator.wait()
                raise StageError(f"the operator has not ended {STOP_SECONDS:g} s after SIGTERM") from None

    def read(self) -> Reading:
        assert self.operator is not None
        text = self._get("/metrics")
        samples = dict(re.findall(r"^(ssecast_operator_[^\s]+) (\S+)$", text, re.MULTILINE))
        prefix = "ssecast_operator_round_seconds"
        bounds = {name: float(value) for name, value in samples.items() if name.startswith(f"{prefix}_bucket")}
        ticks = os.sysconf("SC_CLK_TCK")
        stat = Path(f"/proc/{self.operator.pid}/stat").read_text().rpartition(")")[2].split()
        status = Path(f"/proc/{self.operator.pid}/status").read_text()
        peak = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert peak is not None
        return Reading(
            at=time.monotonic(),
            rounds=int(float(samples[f"{prefix}_count"])),
            seconds=float(samples[f"{prefix}_sum"]),
            buckets={float(name.split('"')[1]): int(count) for name, count in bounds.items()},
            writes=_writes(samples),
            cpu=(int(stat[11]) + int(stat[12])) / ticks,
            peak=int(peak[1]) * 1024,
        )

    def _get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            return str(answer.read().decode())

    # Broadcasters and their pods

    async def create(self, names: list[str], pods: int) -> None:
        for at in range(0, len(names), AT_ONCE):
            bodies = [_broadcaster(name, pods) for name in names[at : at + AT_ONCE]]
            await asyncio.to_thread(self.kubectl.apply, bodies)

    async def pods(self) -> list[Body]:
        found = await self.cluster.list(PODS, self.namespace, {BROADCASTER: None})
        return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]

    async def populate(self, count: int) -> None:
        """Waits for so many pods, and makes each ready at an address of its own."""
        slots = asyncio.Semaphore(AT_ONCE)

        async def enliven(pod: Body) -> None:
            uid = pod["metadata"]["uid"]
            number = len(self.addresses)
            self.addresses[uid] = address = f"127.{130 + number // 62_500}.{number // 250 % 250}.{number % 250 + 1}"
            name, alive = pod["metadata"]["name"], _alive(pod, address)
            async with slots:
                await self.cluster.merge(PODS, self.namespace, name, alive, status=True)

        deadline = time.monotonic() + PATIENCE
        while True:
            there = await self.pods()
            new = [pod for pod in there if pod["metadata"]["uid"] not in self.addresses]
            await asyncio.gather(*[enliven(pod) for pod in new if _scheduling(pod)])
            await self.tell({pod["metadata"]["uid"] for pod in there})
            if len(there) == count and all(pod["metadata"]["uid"] in self.addresses for pod in there):
                return
            if time.monotonic() > deadline:
                raise StageError(f"{len(there)} of {count} pods were made")
            await asyncio.sleep(POLL_SECONDS)

    async def tell(self, uids: set[str]) -> None:
        """Whoever answers for the pods is told who they are."""
        said = {address: (uid, STREAMS) for uid, address in self.addresses.items() if uid in uids}
        assert self.answerer.stdin is not None
        assert self.answerer.stdout is not None
        self.answerer.stdin.write(json.dumps(said).encode() + b"\n")
        await self.answerer.stdin.drain()
        await self.answerer.stdout.readline()

    async def status(self) -> dict[str, Body]:
        found = await self.cluster.list(BROADCASTERS, self.namespace, {})
        return {each["metadata"]["name"]: each.get("status") or {} for each in found}

    async def until(self, holds: Any, what: str) -> None:
        """Waits until the statuses of all are as wanted. Raises StageError."""
        deadline = time.monotonic() + PATIENCE
        while not holds(await self.status()):
            if time.monotonic() > deadline:
                raise StageError(f"not within {PATIENCE:g} s: {what}; see {self.folder}/operator.log")
            await asyncio.sleep(POLL_SECONDS)


@asynccontextmanager
async def staged(folder: Path, cluster: LightkubeCluster) -> AsyncIterator[Stage]:
    """With the definition and an empty namespace; afterwards the definition alone is left."""
    stage = Stage(folder, cluster)
    ask = stage.kubectl
    await asyncio.to_thread(
        ask, "apply", "--server-side", "--force-conflicts", "--field-manager=helm", "--filename", str(CRD)
    )
    await asyncio.to_thread(ask, "create", "namespace", stage.namespace)
    pipe = asyncio.subprocess.PIPE
    command = (sys.executable, "-m", "loadtest.scale.answerer")
    stage.answerer = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, cwd=ROOT, limit=2**20)
    try:
        yield stage
    finally:
        try:
            stage.stop_operator()
        finally:
            stage.answerer.terminate()
            await stage.answerer.wait()
            await asyncio.to_thread(ask, "delete", "broadcasters", "--all", "--wait=false")
            await asyncio.to_thread(ask, "delete", "namespace", stage.namespace, "--wait=false")


def _broadcaster(name: str, pods: int) -> Body:
    """Of pods that no node fits."""
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "metadata": {"name": name},
        "spec": {
            "scaling": {
                "minReplicas": pods,
                "maxReplicas": pods,
                "burst": 0,
                "rebalance": {"enabled": False},
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
            },
            "drain": {"delaySeconds": 0, "patienceSeconds": 0, "windowSeconds": 1},
            "podTemplate": {"nodeSelector": {f"{GROUP}/no-such-node": "here"}},
        },
    }


def _scheduling(pod: Body) -> list[Body]:
    """What the scheduler has said of a pod: that no node fits it, or nothing yet."""
    conditions = pod.get("status", {}).get("conditions", ())
    return [each for each in conditions if each["type"] == "PodScheduled"]


def _alive(pod: Body, address: str) -> Body:
    """With what the scheduler has said: what is taken away it says again, pod by pod, while the operator is measured at rest."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    ready = {"status": "True", "lastTransitionTime": now}
    ours = [{"type": type_, **ready} for type_ in ("Ready", "ContainersReady", "Initialized")]
    return {
        "status": {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "startTime": now,
            "conditions": [*ours, *_scheduling(pod)],
        }
    }


def _writes(samples: dict[str, str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, count in samples.items():
        if name.startswith("ssecast_operator_api_calls_total"):
            labels = dict(re.findall(r'(\w+)="([^"]*)"', name))
            if labels["verb"] not in ("get", "list") and labels["resource"] != "leases":
                key = f"{labels['verb']} {labels['resource']}"
                found[key] = found.get(key, 0) + int(float(count))
    return found
