"""A node without a kubelet: an object with a Lease that is renewed, and a process on this machine for the pod that is put on it.

It is how a node looks from afar that there is: its pod serves streams, answers the operator and takes its orders. So it can go
as a node goes, without a word, and nothing else in the cluster has to go with it.
"""

import asyncio
import base64
import json
import secrets
import signal
import socket
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ssecast_operator.children import ADMIN_PORT, PUBLIC_PORT
from ssecast_operator.configuration import TOKEN_KEY
from tests.cluster.parts import Cluster, apply, eventually
from tests.harness import Pod

ONLY = "ssecast.dev/ghost"
"""Label of the node, and its taint: only pods that are made for it come to it."""

LEASES = Cluster("kube-node-lease")
LEASE_SECONDS = 40
RENEW_SECONDS = 8.0


class Ghost:
    """With room for one pod. Its name comes after those of real nodes: other tests take the first one for theirs.

    It has no label of an operating system: the DaemonSets of a cluster tolerate every taint, and go by that.
    """

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster, self._folder = cluster, folder
        self.name = f"{cluster.namespace}-ghost-{secrets.token_hex(3)}"
        self.process: Pod | None = None
        self._gone = threading.Event()
        self._kubelet = threading.Thread(target=self._renew, name=self.name, daemon=True)

    @property
    def address(self) -> str:
        """The one by which this machine reaches the cluster, and so is reached from there; not of loopback: a Service has no
        such endpoints."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((self.cluster.get("service", "nats")["spec"]["clusterIP"], ADMIN_PORT))
            return str(probe.getsockname()[0])

    @property
    def template(self) -> dict[str, Any]:
        """Of pods of which one, and the first, is put on it."""
        here = {"key": ONLY, "operator": "In", "values": [self.name]}
        preferred = [{"weight": 100, "preference": {"matchExpressions": [here]}}]
        return {
            "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}},
            "tolerations": [{"key": ONLY, "operator": "Equal", "value": self.name, "effect": "NoSchedule"}],
            "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}},
        }

    # It comes

    def come(self) -> "Ghost":
        taint = {"key": ONLY, "value": self.name, "effect": "NoSchedule"}
        labels = {"kubernetes.io/hostname": self.name, ONLY: self.name}
        node = {"metadata": {"name": self.name, "labels": labels}, "spec": {"taints": [taint]}}
        apply(self.cluster, {"apiVersion": "v1", "kind": "Node", **node})
        self._renew_once()
        self._kubelet.start()
        room = {"pods": "1", "cpu": "4", "memory": "8Gi"}
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "a test says so"}
        times = {"lastHeartbeatTime": _now(), "lastTransitionTime": _now()}
        self._patch("node", self.name, {"capacity": room, "allocatable": room, "conditions": [ready | times]})
        eventually(lambda: self.cluster.get("node", self.name)["spec"]["taints"] == [taint], "pods may come to it")
        return self

    async def run(self) -> dict[str, Any]:
        """What its kubelet would do: runs the pod that has been put on it. The pod as it is then."""
        pod = await asyncio.to_thread(eventually, self.pod, "a pod on the ghost", 120)
        assert pod is not None
        name, metadata = pod["metadata"]["name"], pod["metadata"]
        owner = metadata["labels"]["ssecast.dev/broadcaster"]
        token = self._folder / "token"
        token.write_bytes(base64.b64decode(self.cluster.get("secret", f"{owner}-admin-token")["data"][TOKEN_KEY]))
        server = f"nats://{self.cluster.get('service', 'nats')['spec']['clusterIP']}:4222"
        log = self._folder / "ghost.log"
        self.process = Pod(server, log, address=self.address, ports=(PUBLIC_PORT, ADMIN_PORT))
        self.process.environ |= self.cluster.get("configmap", f"{owner}-settings")["data"] | {
            "POD_UID": metadata["uid"],
            "SSECAST_NATS_URL": server,
            "SSECAST_ADMIN_TOKEN_FILE": str(token),
        }
        await self.process.start()
        self._patch("pod", name, _running(self.address, pod["spec"]["containers"][0]["image"]))
        return dict(self.cluster.get("pod", name))

    def pod(self) -> dict[str, Any] | None:
        """The one that is on it, whether it ends or not."""
        found = self.cluster("get", "pods", f"--field-selector=spec.nodeName={self.name}", "--output=json")
        return next(iter(json.loads(found)["items"]), None)

    # It goes

    def vanish(self) -> None:
        """No packet of it is answered any more, and nobody is told: whoever is connected waits."""
        self._gone.set()
        assert self.process is not None
        self.process.send(signal.SIGSTOP)

    async def remove(self) -> None:
        """With all that is left of it."""
        self._gone.set()
        if self._kubelet.is_alive():
            await asyncio.to_thread(self._kubelet.join)
        self.cluster("delete", "node", self.name, "--ignore-not-found")
        LEASES("delete", "lease", self.name, "--ignore-not-found")
        here = f"--field-selector=spec.nodeName={self.name}"
        self.cluster("delete", "pods", here, "--force", "--grace-period=0", "--wait=false")
        if self.process is not None:
            await self.process.stop(signal.SIGKILL)

    # Its kubelet

    def _renew(self) -> None:
        while not self._gone.wait(RENEW_SECONDS):
            self._renew_once()

    def _renew_once(self) -> None:
        lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": self.name}}
        spec = {"holderIdentity": self.name, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": _now(".%fZ")}
        apply(LEASES, lease | {"spec": spec})

    def _patch(self, kind: str, name: str, status: dict[str, Any]) -> None:
        self.cluster("patch", kind, name, "--subresource=status", f"--patch={json.dumps({'status': status})}")


def _running(address: str, image: str) -> dict[str, Any]:
    """The status of a pod that is ready."""
    holds = {"status": "True", "lastTransitionTime": _now()}
    container = {"name": "ssecast", "image": image, "imageID": "", "ready": True, "started": True, "restartCount": 0}
    return {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": _now(),
        "conditions": [{"type": type_, **holds} for type_ in ("Ready", "ContainersReady", "Initialized")],
        "containerStatuses": [container | {"state": {"running": {"startedAt": _now()}}}],
    }


def _now(fraction: str = "Z") -> str:
    return datetime.fromtimestamp(time.time(), UTC).strftime(f"%Y-%m-%dT%H:%M:%S{fraction}")
