"""Everything that takes part, put into a namespace of its own and removed again."""

import asyncio
import contextlib
import json
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtest.bench.peers import ROOT
from loadtest.chaos.clients import Clients
from loadtest.chaos.publisher import Publisher, now_ms
from loadtest.chaos.stage import epoch_of
from loadtest.chaos.truth import Era, Truth
from loadtest.fleet.kubectl import Kubectl, KubectlError
from loadtest.fleet.objects import BROADCASTER, NATS, OPERATOR, Images, Policy, broadcaster, nats_server, operator

CRD = ROOT / "charts" / "ssecast" / "crds" / "broadcasters.yaml"
START_SECONDS = 120.0
STREAM_SECONDS = 600.0
"""How long the stream keeps events: the default of a Broadcaster."""

POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Look:
    """The fleet at one time, milliseconds of the monotonic clock. replicas: of the Deployment; pods: that exist."""

    at: int
    replicas: int
    pods: int
    ready: int
    desired: int
    streams: int
    phase: str
    reason: str


class Stage:
    """A cluster's namespace with NATS, the operator and one Broadcaster; clients and publisher on this machine."""

    def __init__(self, folder: Path, images: Images, policy: Policy, rate: float) -> None:
        self.folder, self.images, self.policy, self.rate = folder, images, policy, rate
        self.kubectl = Kubectl(f"ssecast-fleet-{secrets.token_hex(3)}")
        self.truth = Truth()
        self.looks: list[Look] = []
        self.clients: Clients
        self.publisher: Publisher

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger"

    async def put_up(self) -> None:
        """NATS, the operator and the Broadcaster, until its pods are ready."""
        ask = self.kubectl
        await self._do(ask, "apply", "--server-side", "--force-conflicts", "--field-manager=helm", f"--filename={CRD}")
        await self._do(ask, "wait", "--for=condition=Established", "crd/broadcasters.ssecast.dev", "--timeout=30s")
        await self._do(ask.apply, nats_server(self.images.nats))
        await self._do(ask.apply, operator(self.images.operator, self.images.service, _rights(ask.namespace)))
        await self._do(ask.wait, f"deployment/{NATS}", "condition=Available", START_SECONDS)
        await self._do(ask.apply, [broadcaster(self.policy)])
        await self.until(lambda look: look.ready >= self.policy.pods[0], "the first pods are ready", START_SECONDS)
        node = await self._do(ask.node)
        url = f"nats://{node}:{await self._do(ask.node_port, NATS)}"
        self.publisher = await Publisher(url, self.rate, self.truth).start()
        await self._begin_truth()
        server = f"{node}:{await self._do(ask.node_port, BROADCASTER)}"
        self.clients = Clients(self.ledger, self.folder / "clients.log", [server])

    async def _begin_truth(self) -> None:
        """The pods have created the stream."""
        info = await self.publisher.jetstream.stream_info(f"{self.kubectl.namespace}-{BROADCASTER}")
        self.truth.eras.append(Era(epoch_of(info.created), now_ms(), ""))
        self.truth.retention.append((now_ms(), STREAM_SECONDS))

    # Looking at it

    async def look(self) -> Look:
        """As the cluster shows it now."""
        body = await self._do(self.kubectl.get, "broadcaster", BROADCASTER)
        status = body.get("status") or {}
        scaler = status.get("autoscaler") or {}
        found = await self._do(self.kubectl.get, "deployments", field_selector=f"metadata.name={BROADCASTER}")
        spec = found["items"][0]["spec"] if found["items"] else {}
        return Look(
            at=now_ms(),
            replicas=int(spec.get("replicas", 0)),
            pods=int(status.get("replicas", 0)),
            ready=int(status.get("readyReplicas", 0)),
            desired=int(scaler.get("desired", 0)),
            streams=int(status.get("streams", 0)),
            phase=str(status.get("phase", "")),
            reason=str(scaler.get("reason", "")),
        )

    async def watch(self) -> None:
        """Looks again and again, until it is cancelled."""
        while True:
            with contextlib.suppress(KubectlError):  # an API server under load; the next look tells
                self.looks.append(await self.look())
            await asyncio.sleep(POLL_SECONDS)

    async def until(self, holds: Any, what: str, seconds: float) -> Look:
        """Waits until a look is as wanted. Raises RuntimeError, with what the Broadcaster says, where that takes too long."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    look = await self.look()
                    if holds(look):
                        return look
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise RuntimeError(f"not within {seconds:g} s: {what}\n{await self.describe()}") from None

    async def describe(self) -> str:
        """What a person would look at first."""
        parts = []
        for arguments in (
            ("describe", "broadcaster", BROADCASTER),
            ("get", "pods", "--output=wide"),
            ("logs", f"deployment/{OPERATOR}", "--tail=30"),
        ):
            try:
                parts.append(str(await self._do(self.kubectl, *arguments)))
            except KubectlError as wrong:
                parts.append(str(wrong))
        return "\n".join(parts)

    async def pods(self, selector: str = f"ssecast.dev/broadcaster={BROADCASTER}") -> list[dict[str, Any]]:
        """Pods as the API returns them, those that end included."""
        items: list[dict[str, Any]] = (await self._do(self.kubectl.get, "pods", selector=selector))["items"]
        return items

    async def streams(self) -> list[int]:
        """How many each pod of the Broadcaster says that it has open, through the API server."""
        counts = []
        for pod in await self.pods():
            path = f"/api/v1/namespaces/{self.kubectl.namespace}/pods/{pod['metadata']['name']}:9090/proxy/load"
            with contextlib.suppress(KubectlError):  # it has ended meanwhile
                counts.append(int(json.loads(await self._do(self.kubectl, "get", "--raw", path))["streams"]))
        return counts

    async def kill_operator(self) -> None:
        """Without a word, as when its node dies; another one is started by its Deployment."""
        pod = (await self.pods(f"app={OPERATOR}"))[0]["metadata"]["name"]
        await self._do(self.kubectl, "delete", "pod", pod, "--grace-period=0", "--force", "--wait=false")

    async def patch(self, spec: dict[str, Any]) -> None:
        await self._do(self.kubectl.merge, "broadcaster", BROADCASTER, {"spec": spec})

    async def head(self) -> tuple[str, int]:
        """(epoch, last seq) of the stream."""
        info = await self.publisher.jetstream.stream_info(f"{self.kubectl.namespace}-{BROADCASTER}")
        return epoch_of(info.created), info.state.last_seq

    @staticmethod
    async def _do(call: Any, *arguments: Any, **options: Any) -> Any:
        return await asyncio.to_thread(call, *arguments, **{k.replace("_", "-"): v for k, v in options.items()})


@asynccontextmanager
async def staged(stage: Stage) -> AsyncIterator[Stage]:
    """With everything up, and nothing of it left in the cluster afterwards but the definition."""
    ask = stage.kubectl
    await asyncio.to_thread(ask, "create", "namespace", ask.namespace)
    try:
        await stage.put_up()
        try:
            with stage.clients:
                yield stage
        finally:
            await stage.publisher.stop()
    finally:
        await asyncio.to_thread(ask, "delete", "namespace", ask.namespace, "--wait=false")


def _rights(namespace: str) -> str:
    command = [sys.executable, "-m", "ssecast_operator", "rbac", "--namespace", namespace]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
