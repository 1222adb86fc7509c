"""An API server that is a shelf of objects, and a kubelet whose containers are processes: enough for a real operator to run
a real fleet of real pods on loopback. It knows no schemas, no rights and no other controller than that of Deployments.

What the real API server does with all this is tested in tests/cluster.
"""

import asyncio
import base64
import copy
import hashlib
import json
import random
import signal
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ssecast_operator.children import BROADCASTER
from ssecast_operator.cluster import DEPLOYMENTS, KINDS, MANAGER, PODS, SECRETS, Body, Conflict, Kind, NotFound
from ssecast_operator.configuration import TOKEN_KEY
from ssecast_operator.fleet import DELETION_COST, SERVING, TEMPLATE_HASH, YES
from ssecast_operator.instants import rfc3339
from tests.harness import Pod, free_port

LOOK_SECONDS = 0.25

Name = tuple[str, str, str]
"""Kind, namespace, name."""


class Shelf:
    """Objects by name, as `ssecast_operator.cluster.Cluster`: what the operator calls is counted, what the kubelet does is
    not. on_call: as LightkubeCluster's. on_change: told the kind, the body, and whether it is still there."""

    def __init__(self, on_call: Callable[[str, str, int], None], on_change: Callable[[str, Body, bool], None]) -> None:
        self.objects: dict[Name, Body] = {}
        self._on_call, self._on_change = on_call, on_change
        self._version = 0

    async def get(self, kind: Kind, namespace: str, name: str) -> Body | None:
        found = self.objects.get((kind.kind, namespace, name))
        self._on_call("get", kind.plural, 404 if found is None else 200)
        return copy.deepcopy(found)

    async def list(self, kind: Kind, namespace: str | None, labels: dict[str, Any]) -> list[Body]:
        self._on_call("list", kind.plural, 200)
        return [
            copy.deepcopy(body)
            for body in self.of_kind(kind)
            if namespace in (None, body["metadata"]["namespace"])
            if labels.keys() <= (body["metadata"].get("labels") or {}).keys()
        ]

    async def create(self, body: Body) -> Body:
        self._on_call("create", KINDS[body["kind"]].plural, 200)
        metadata = {"name": f"{body['metadata'].get('generateName', '')}{uuid.uuid4().hex[:8]}"} | body["metadata"]
        return self.write(body | {"metadata": metadata})

    async def apply(self, body: Body, manager: str = MANAGER, *, force: bool = True) -> Body:
        known = self.objects.get(_name(body), {"metadata": {}})
        version = known["metadata"].get("resourceVersion")
        if body["metadata"].get("resourceVersion", version) != version:
            self._on_call("patch", KINDS[body["kind"]].plural, 409)
            raise Conflict("the object has been changed")
        self._on_call("patch", KINDS[body["kind"]].plural, 200)
        return self.write(body)

    async def merge(self, kind: Kind, namespace: str, name: str, patch: Body, *, status: bool = False) -> Body:
        there = (kind.kind, namespace, name) in self.objects
        self._on_call("patch", kind.plural, 200 if there else 404)
        return self.patch(kind, namespace, name, patch)

    async def delete(self, kind: Kind, namespace: str, name: str) -> None:
        self._on_call("delete", kind.plural, 200)
        self.remove(kind, namespace, name)

    def of_kind(self, kind: Kind) -> tuple[Body, ...]:
        return tuple(body for (of_kind, _, _), body in self.objects.items() if of_kind == kind.kind)

    def patch(self, kind: Kind, namespace: str, name: str, patch: Body) -> Body:
        """Raises NotFound."""
        if (kind.kind, namespace, name) not in self.objects:
            raise NotFound(f"{kind.kind} {name!r} does not exist")
        identity = {"name": name, "namespace": namespace}
        return self.write(patch | {"kind": kind.kind, "metadata": identity | patch.get("metadata", {})})

    def remove(self, kind: Kind, namespace: str, name: str) -> None:
        if (body := self.objects.pop((kind.kind, namespace, name), None)) is not None:
            self._on_change(kind.kind, body, False)

    def write(self, change: Body) -> Body:
        """Lays what is said over what is there."""
        known = self.objects.get(_name(change), {})
        body: Body = _merged(known, copy.deepcopy(change))
        metadata = body["metadata"]
        metadata.setdefault("uid", str(uuid.uuid4()))
        metadata.setdefault("creationTimestamp", rfc3339(time.time()))
        if body.get("spec") != known.get("spec"):
            metadata["generation"] = metadata.get("generation", 0) + 1
        if "stringData" in body:
            body["data"] = {k: base64.b64encode(v.encode()).decode() for k, v in body.pop("stringData").items()}
        if body != known:
            self._version += 1
            metadata["resourceVersion"] = str(self._version)
        self.objects[_name(body)] = body
        self._on_change(body["kind"], copy.deepcopy(body), True)
        return copy.deepcopy(body)


def _name(body: Body) -> Name:
    return body["kind"], body["metadata"].get("namespace", ""), body["metadata"]["name"]


def _merged(known: Any, change: Any) -> Any:
    """RFC 7396."""
    if not isinstance(change, dict):
        return change
    merged = dict(known) if isinstance(known, dict) else {}
    for key, value in change.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key), value)
    return merged


class Container:
    """A pod and its process."""

    def __init__(self, name: str, revision: str, pod: Pod) -> None:
        self.name, self.revision, self.pod = name, revision, pod
        self.ready_since: float | None = None
        self.terminating = False

    @property
    def ended(self) -> bool:
        return self.pod.process is not None and self.pod.process.poll() is not None


class Kubelet:
    """Keeps as many pods as each Deployment asks for: one more during a rollout, in which it takes one away when all are
    ready, and the cheapest first when there are too many. All pods share their ports, as in a cluster."""

    def __init__(self, shelf: Shelf, folder: Path) -> None:
        self.shelf, self.folder, self.admin_port = shelf, folder, free_port()
        self.containers: list[Container] = []
        self._net = f"127.{random.randint(2, 250)}.{random.randint(2, 250)}"
        self._port = free_port()
        self._count = 0

    async def run(self) -> None:
        while True:
            for deployment in self.shelf.of_kind(DEPLOYMENTS):
                await self._keep(deployment)
            await asyncio.sleep(LOOK_SECONDS)

    async def stop(self) -> None:
        for each in self.containers:
            await each.pod.stop(signal.SIGKILL)

    @property
    def serving(self) -> list[Container]:
        """Those that the Service would send new clients to: ready, and not cordoned."""
        named = {
            body["metadata"]["name"]
            for body in self.shelf.of_kind(PODS)
            if body["metadata"].get("labels", {}).get(SERVING) == YES
        }
        return [
            each
            for each in self.containers
            if each.name in named and each.ready_since is not None and not each.terminating
        ]

    async def _keep(self, deployment: Body) -> None:
        await self._look(deployment)
        spec, revision = deployment["spec"], _digest(deployment["spec"]["template"])
        replicas = spec.get("replicas", 1)
        present = [each for each in self.containers if not each.terminating]
        new = [each for each in present if each.revision == revision]
        old = [each for each in present if each.revision != revision]
        settled = [each for each in present if self._age(each) >= spec.get("minReadySeconds", 0)]
        if len(new) < replicas and len(present) < replicas + bool(old):
            await self._start(deployment, revision)
        elif old and len(settled) == len(present) > replicas:
            self._end(old[0], deployment)
        elif not old and len(present) > replicas:
            self._end(min(new, key=self._cost), deployment)
        status = {
            "observedGeneration": deployment["metadata"]["generation"],
            "replicas": len(present),
            "updatedReplicas": len(new),
            "readyReplicas": sum(each.ready_since is not None for each in present),
        }
        if deployment.get("status") != status:
            self._patch(DEPLOYMENTS, deployment, deployment["metadata"]["name"], {"status": status})

    async def _look(self, deployment: Body) -> None:
        for each in list(self.containers):
            if each.ended:
                self.containers.remove(each)
                self.shelf.remove(PODS, deployment["metadata"]["namespace"], each.name)
                continue
            ready = await asyncio.to_thread(_answers, each.pod)
            if ready is not (each.ready_since is not None):
                each.ready_since = time.time() if ready else None
                self._patch(PODS, deployment, each.name, {"status": _pod_status(each)})

    @staticmethod
    def _age(container: Container) -> float:
        return time.time() - container.ready_since if container.ready_since is not None else -1.0

    def _cost(self, container: Container) -> float:
        costs = (
            float((body["metadata"].get("annotations") or {}).get(DELETION_COST, 0))
            for body in self.shelf.of_kind(PODS)
            if body["metadata"]["name"] == container.name
        )
        return next(costs, 0.0)

    async def _start(self, deployment: Body, revision: str) -> None:
        metadata = deployment["metadata"]
        self._count += 1
        name = f"{metadata['name']}-{revision[:5]}-{self._count}"
        address = f"{self._net}.{self._count}"
        settings = self.shelf.objects["ConfigMap", metadata["namespace"], f"{metadata['name']}-settings"]["data"]
        pod = Pod("", self.folder / f"{name}.log", address=address, ports=(self._port, self.admin_port))
        container = Container(name, revision, pod)
        body = self.shelf.write(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": name,
                    "namespace": metadata["namespace"],
                    "labels": deployment["spec"]["template"]["metadata"]["labels"] | {TEMPLATE_HASH: revision},
                },
                "spec": {"nodeName": "here"},
                "status": _pod_status(container),
            }
        )
        token = self.shelf.objects[SECRETS.kind, metadata["namespace"], _secret(metadata)]["data"][TOKEN_KEY]
        (self.folder / "token").write_bytes(base64.b64decode(token))
        files = {"POD_UID": body["metadata"]["uid"], "SSECAST_ADMIN_TOKEN_FILE": str(self.folder / "token")}
        pod.environ |= settings | files
        self.containers.append(container)
        await pod.start(ready=False)

    def _end(self, container: Container, deployment: Body) -> None:
        container.terminating = True
        container.pod.send(signal.SIGTERM)
        self._patch(PODS, deployment, container.name, {"metadata": {"deletionTimestamp": rfc3339(time.time())}})

    def _patch(self, kind: Kind, deployment: Body, name: str, patch: Body) -> None:
        with suppress(NotFound):
            self.shelf.patch(kind, deployment["metadata"]["namespace"], name, patch)


def _secret(metadata: Body) -> str:
    return f"{metadata['labels'][BROADCASTER]}-admin-token"


def _answers(pod: Pod) -> bool:
    with suppress(OSError):
        return pod.admin("GET", "/readyz")[0] == 200
    return False


def _pod_status(container: Container) -> Body:
    ready = container.ready_since is not None
    since = rfc3339(container.ready_since or time.time())
    return {
        "phase": "Running",
        "podIP": container.pod.address,
        "conditions": [{"type": "Ready", "status": str(ready), "lastTransitionTime": since}],
    }


def _digest(template: Body) -> str:
    return hashlib.blake2b(json.dumps(template, sort_keys=True).encode(), digest_size=5).hexdigest()
