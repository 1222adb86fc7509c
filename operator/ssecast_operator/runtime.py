"""The operator as a process: kopf watches, one task per Broadcaster goes round, a Lease says who acts, one port tells."""

import asyncio
import os
import socket
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import kopf
import structlog
from aiohttp import web
from kopf._core.engines import peering

from ssecast_operator.actions import Action
from ssecast_operator.broadcaster import GROUP, KIND, PLURAL
from ssecast_operator.children import BROADCASTER, Surroundings
from ssecast_operator.cluster import (
    BROADCASTERS,
    CHILDREN,
    EVENTS,
    HELM,
    PODS,
    Cluster,
    ClusterError,
    LightkubeCluster,
    Unavailable,
)
from ssecast_operator.crd import crd
from ssecast_operator.decision import Decision
from ssecast_operator.fleet import Fleet
from ssecast_operator.lease import HoldersCluster, Lease
from ssecast_operator.loads import Loads
from ssecast_operator.metrics import Metrics
from ssecast_operator.rebalance import Rebalancing
from ssecast_operator.reconcile import Reconciler
from ssecast_operator.store import Key, Store
from ssecast_operator.victims import Plan

ROUND_SECONDS = 5.0
"""Between two rounds of a Broadcaster to which nothing happens: the pods are asked for their loads."""

SETTLE_SECONDS = 0.2
"""Much happens at once when pods come and go: a round waits so long for the rest of it."""

RELIST_SECONDS = 60.0
"""Between two looks at everything: watches do not tell of what went while they were broken."""

BACKOFF_SECONDS = (1.0, 30.0)
STUCK_SECONDS = 120.0
EVENT_MAX_CHARS = 1000

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Options:
    """namespaces: those that are looked after; empty: all. namespace: our own."""

    image: str
    namespace: str
    namespaces: tuple[str, ...]
    manage_crd: bool
    port: int
    lease: str = "ssecast-operator"
    labels: Mapping[str, str] = field(default_factory=lambda: {"app": "ssecast-operator"})

    @property
    def identity(self) -> str:
        return f"{os.environ.get('POD_NAME') or socket.gethostname()}_{uuid.uuid4().hex[:8]}"


class NothingCompared(kopf.DiffBaseStorage):
    """What kopf's handlers of changes would begin with: we have none, and the copies that it makes of each object to compare
    are half of what an event of a pod costs."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> kopf.BodyEssence | None:
        return None

    def store(self, **_: Any) -> None:
        """Nowhere."""


class Teller:
    """Metrics, and Events in the cluster."""

    def __init__(self, cluster: Cluster, metrics: Metrics) -> None:
        self._cluster, self.metrics = cluster, metrics

    def decided(self, key: Key, decision: Decision, plan: Plan, rebalancing: Rebalancing, budget: float) -> None:
        self.metrics.decided(key, decision, plan, rebalancing, budget)

    def found(self, key: Key, fleet: Fleet, stuck: bool) -> None:
        self.metrics.found(key, fleet, stuck)

    def acted(self, key: Key, action: Action) -> None:
        self.metrics.acted(key, action)

    async def tell(self, body: Mapping[str, Any], kind: str, reason: str, message: str) -> None:
        """An Event that cannot be written is lost: the log has it too."""
        metadata = body["metadata"]
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        event = {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {"generateName": f"{metadata['name']}.", "namespace": metadata["namespace"]},
            "involvedObject": {
                "apiVersion": BROADCASTERS.api_version,
                "kind": KIND,
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
            },
            "type": kind,
            "reason": reason,
            "message": message[:EVENT_MAX_CHARS],
            "source": {"component": "ssecast-operator"},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        try:
            await self._cluster.create(event)
        except ClusterError as wrong:
            log.warning("an Event could not be written", why=str(wrong))


class Task:
    """The rounds of one Broadcaster, for as long as it is there."""

    def __init__(self, reconciler: Reconciler, lease: Lease, metrics: Metrics) -> None:
        self._reconciler, self._lease, self._metrics = reconciler, lease, metrics
        self._wake = asyncio.Event()
        self.ended_at = time.monotonic()
        self.running = asyncio.create_task(self._run())

    def wake(self) -> None:
        self._wake.set()

    async def _run(self) -> None:
        failures = 0
        while True:
            pause = ROUND_SECONDS
            if self._lease.held:
                self._wake.clear()
                failures = 0 if (wait := await self._round()) is None else failures + 1
                if wait is not None:
                    least, most = BACKOFF_SECONDS
                    pause = max(wait, min(most, least * 2 ** (failures - 1)))
            self.ended_at = time.monotonic()
            if failures:
                await asyncio.sleep(pause)
                continue
            with suppress(TimeoutError):
                # Not asyncio.wait_for: in Python 3.11 it swallows a cancellation that meets the event.
                async with asyncio.timeout(pause if self._lease.held else 1.0):
                    await self._wake.wait()
                await asyncio.sleep(SETTLE_SECONDS)

    async def _round(self) -> float | None:
        """None where it went to its end; else for how long at least to wait."""
        key = self._reconciler.key
        try:
            with self._metrics.rounds.time():
                await self._reconciler.round(time.time())
        except Unavailable as wrong:
            self._metrics.failures.labels(*key, "api").inc()
            log.warning("a round ended early", broadcaster=str(key), why=str(wrong))
            return wrong.retry_after
        except ClusterError as wrong:
            self._metrics.failures.labels(*key, "refused").inc()
            log.error("a round ended early", broadcaster=str(key), why=str(wrong))
            return 0.0
        except Exception:
            self._metrics.failures.labels(*key, "defect").inc()
            log.exception("a round failed", broadcaster=str(key))
            return 0.0
        return None


class Operator:
    """Everything, wired."""

    def __init__(self, options: Options, cluster: Cluster | None = None) -> None:
        self.options, self.metrics = options, Metrics()
        self.cluster: Cluster = cluster or LightkubeCluster(self.metrics.called)
        self.store, self.loads = Store(self._wake), Loads()
        self.lease = Lease(self.cluster, options.namespace, options.lease, options.identity, time.monotonic)
        self._writing = HoldersCluster(self.cluster, lambda: self.lease.held)
        self.teller = Teller(self._writing, self.metrics)
        self._surroundings = Surroundings(options.image, options.namespace, options.labels)
        self._tasks: dict[Key, Task] = {}
        self._listed_at = float("-inf")

    async def run(self, stop: asyncio.Event) -> None:
        """Until it is told to stop. What pods were told goes on without us, and so does the next operator."""
        await self.loads.open()
        site = await self._listen()
        runs = [self.lease.run(), self._relist(), self._watch(stop)]
        if self.options.manage_crd:
            runs.append(self._keep_definition())
        work = [asyncio.create_task(each) for each in runs]
        try:
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait([stopping, *work], return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            for task in work:
                if task.done() and not stop.is_set():
                    task.result()
        finally:
            stop.set()
            for each in self._tasks.values():
                each.running.cancel()
            await asyncio.gather(*[each.running for each in self._tasks.values()], return_exceptions=True)
            await self.lease.release()
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            await self.loads.close()
            await site.cleanup()

    # Tasks

    def _wake(self, key: Key) -> None:
        task = self._tasks.get(key)
        if self.store.broadcaster(key) is None:
            if task is not None:
                task.running.cancel()
                del self._tasks[key]
                self.metrics.forget(key)
        elif task is None:
            reconciler = Reconciler(
                key, self.store, self._writing, self.loads, self._surroundings, self.teller, lambda: self.lease.held
            )
            self._tasks[key] = Task(reconciler, self.lease, self.metrics)
        else:
            task.wake()

    # What is seen

    async def _watch(self, stop: asyncio.Event) -> None:
        namespaces = self.options.namespaces
        await kopf.operator(
            registry=self._registry(),
            settings=self._settings(),
            standalone=True,
            identity=peering.Identity(self.options.identity),  # its own takes the user's name, and 65532 has none
            clusterwide=not namespaces,
            namespaces=namespaces,
            stop_flag=stop,
        )

    def _settings(self) -> kopf.OperatorSettings:
        settings = kopf.OperatorSettings()
        settings.posting.enabled = False
        settings.scanning.disabled = bool(self.options.namespaces)
        settings.networking.request_timeout, settings.networking.connect_timeout = 30, 10
        settings.watching.server_timeout, settings.watching.client_timeout = 300, 310
        settings.persistence.finalizer = f"{GROUP}/unused"
        settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP)
        settings.persistence.diffbase_storage = NothingCompared()
        for kind in (PODS, *CHILDREN):
            settings.watching.label_selectors[kind.group or "v1", kind.plural] = BROADCASTER
        return settings

    def _registry(self) -> kopf.OperatorRegistry:
        """No handler that would put a finalizer or an annotation on anything."""
        registry = kopf.OperatorRegistry()

        def login(**given: Any) -> Any:
            return kopf.login_with_service_account(**given) or kopf.login_with_kubeconfig(**given)

        kopf.on.login(registry=registry)(login)

        def watch(kind: str) -> Any:
            async def seen(event: Mapping[str, Any], **_: Any) -> None:
                body = event["object"]
                if event["type"] == "DELETED":
                    self.store.drop(kind, body)
                else:
                    self.store.put(kind, body)

            return seen

        kopf.on.event(BROADCASTERS.group, BROADCASTERS.version, PLURAL, registry=registry)(watch(KIND))
        for each in (PODS, *CHILDREN):
            group = (each.group,) if each.group else ("",)
            kopf.on.event(*group, each.version, each.plural, registry=registry, labels={BROADCASTER: kopf.PRESENT})(
                watch(each.kind)
            )
        return registry

    async def _relist(self) -> None:
        while True:
            try:
                for kind in (BROADCASTERS, PODS, *CHILDREN):
                    for namespace in self.options.namespaces or (None,):
                        known = self.store.known(kind.kind)
                        if namespace is not None:
                            known = {of: uid for of, uid in known.items() if of[0].namespace == namespace}
                        labels = {} if kind is BROADCASTERS else {BROADCASTER: None}
                        self.store.replace(kind.kind, await self.cluster.list(kind, namespace, labels), known)
                self._listed_at = time.monotonic()
                await asyncio.sleep(RELIST_SECONDS)
            except ClusterError as wrong:
                log.warning("the cluster could not be listed", why=str(wrong))
                await asyncio.sleep(BACKOFF_SECONDS[0])

    async def _keep_definition(self) -> None:
        """Once for each time that we become the holder: an older version that merely waits must not bring its own."""
        done = False
        while True:
            if done is not self.lease.held:
                try:
                    done = self.lease.held and bool(await self._writing.apply(crd(), HELM))
                except ClusterError as wrong:
                    log.warning("the CustomResourceDefinition could not be brought up to date", why=str(wrong))
                    await asyncio.sleep(BACKOFF_SECONDS[1])
            await asyncio.sleep(BACKOFF_SECONDS[0])

    # What is told

    async def _listen(self) -> web.AppRunner:
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/metrics", self._metrics)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, port=self.options.port).start()
        return runner

    async def _healthz(self, _: web.Request) -> web.Response:
        stuck = [str(key) for key, task in self._tasks.items() if time.monotonic() - task.ended_at > STUCK_SECONDS]
        body = {"stuck": stuck, "leading": self.lease.held, "broadcasters": len(self._tasks)}
        return web.json_response(body, status=503 if stuck else 200)

    async def _metrics(self, _: web.Request) -> web.Response:
        self.metrics.leading.set(self.lease.held)
        return web.Response(body=self.metrics.render(), headers={"content-type": "text/plain; version=0.0.4"})
