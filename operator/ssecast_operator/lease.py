"""One operator acts at a time: a Lease, and only its holder writes or gives orders.

Source: client-go's leaderelection. Clocks of others are not compared with ours: a Lease is over when it has not been renewed
for its duration since we first saw it as it is.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import structlog

from ssecast_operator.cluster import LEASES, MANAGER, Body, Cluster, ClusterError, Conflict, Kind, Unavailable

DURATION_SECONDS, RENEW_SECONDS, GIVE_UP_SECONDS = 15, 2.0, 10.0
"""How long others wait for a holder that is silent; how often it renews; and after how long without success it stops."""

log = structlog.get_logger()


class Lease:
    """held: whether we are the one. clock: monotonic seconds."""

    def __init__(self, cluster: Cluster, namespace: str, name: str, identity: str, clock: Callable[[], float]) -> None:
        self._cluster, self._namespace, self._name, self._identity = cluster, namespace, name, identity
        self._clock = clock
        self._seen: tuple[Any, float] = (None, 0.0)
        self._renewed_at = float("-inf")
        self._holder = ""

    @property
    def held(self) -> bool:
        return self._clock() - self._renewed_at < GIVE_UP_SECONDS

    @property
    def holder(self) -> str:
        return self._holder

    async def run(self) -> None:
        """Until it is cancelled: becomes the holder when nobody is, and stays it."""
        was_held = False
        while True:
            began = self._clock()
            try:
                await self._try(began)
            except ClusterError as wrong:
                if not isinstance(wrong, Conflict):
                    log.warning("the Lease cannot be had", why=str(wrong))
            if self.held is not was_held:
                was_held = self.held
                log.info("leading" if was_held else "not leading any more", holder=self._holder)
            await asyncio.sleep(RENEW_SECONDS)

    async def release(self) -> None:
        """Lets the next one begin at once."""
        if not self.held:
            return
        self._renewed_at = float("-inf")
        try:
            lease = await self._cluster.get(LEASES, self._namespace, self._name)
            if lease is not None and lease["spec"].get("holderIdentity") == self._identity:
                await self._write(lease, "", 1)
        except ClusterError as wrong:
            log.warning("the Lease could not be given back", why=str(wrong))

    async def _try(self, now: float) -> None:
        lease = await self._cluster.get(LEASES, self._namespace, self._name)
        if lease is None:
            await self._cluster.create(self._body())
            self._holder, self._renewed_at = self._identity, now
            return
        spec = lease.get("spec") or {}
        self._holder = spec.get("holderIdentity") or ""
        version = lease["metadata"]["resourceVersion"]
        if version != self._seen[0]:
            self._seen = (version, now)
        over = now - self._seen[1] >= (spec.get("leaseDurationSeconds") or DURATION_SECONDS)
        if self._holder not in ("", self._identity) and not over:
            return
        written = await self._write(lease, self._identity, DURATION_SECONDS)
        self._seen = (written["metadata"]["resourceVersion"], now)
        self._holder, self._renewed_at = self._identity, now

    async def _write(self, lease: dict[str, Any], holder: str, duration: int) -> dict[str, Any]:
        """With the version that was read: of two that try at once, one gets a Conflict."""
        spec = lease.get("spec") or {}
        changes = 0 if spec.get("holderIdentity") == holder else 1
        patch = {
            "metadata": {"resourceVersion": lease["metadata"]["resourceVersion"]},
            "spec": {
                "holderIdentity": holder,
                "leaseDurationSeconds": duration,
                "renewTime": _now(),
                "leaseTransitions": (spec.get("leaseTransitions") or 0) + changes,
            }
            | ({"acquireTime": _now()} if changes else {}),
        }
        return await self._cluster.merge(LEASES, self._namespace, self._name, patch)

    def _body(self) -> dict[str, Any]:
        return {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": {
                "holderIdentity": self._identity,
                "leaseDurationSeconds": DURATION_SECONDS,
                "acquireTime": _now(),
                "renewTime": _now(),
                "leaseTransitions": 0,
            },
        }


class HoldersCluster:
    """A cluster in which only the holder of the Lease writes. A round that lasts, as with an API server that is slow, may
    outlive the Lease: its writes raise Unavailable from then on."""

    def __init__(self, cluster: Cluster, held: Callable[[], bool]) -> None:
        self._cluster, self._held = cluster, held

    async def get(self, kind: Kind, namespace: str, name: str) -> Body | None:
        return await self._cluster.get(kind, namespace, name)

    async def list(self, kind: Kind, namespace: str | None, labels: dict[str, Any]) -> list[Body]:
        return await self._cluster.list(kind, namespace, labels)

    async def create(self, body: Body) -> Body:
        self._must_be_held()
        return await self._cluster.create(body)

    async def apply(self, body: Body, manager: str = MANAGER, *, force: bool = True) -> Body:
        self._must_be_held()
        return await self._cluster.apply(body, manager, force=force)

    async def merge(self, kind: Kind, namespace: str, name: str, patch: Body, *, status: bool = False) -> Body:
        self._must_be_held()
        return await self._cluster.merge(kind, namespace, name, patch, status=status)

    async def delete(self, kind: Kind, namespace: str, name: str) -> None:
        self._must_be_held()
        await self._cluster.delete(kind, namespace, name)

    def _must_be_held(self) -> None:
        if not self._held():
            raise Unavailable("the Lease is held no more")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
