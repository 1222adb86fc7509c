"""What belongs to a Broadcaster is made, and kept as it should be; only what differs is written, and nothing of others.

Everything that is in the way becomes a Problem.
"""

import base64
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from ssecast_operator.broadcaster import Broadcaster
from ssecast_operator.children import Manifest, Surroundings, admin_secret, children, secret_name
from ssecast_operator.cluster import KINDS, NETWORK_POLICIES, SECRETS, Cluster, Conflict, Refused
from ssecast_operator.conditions import Problem
from ssecast_operator.configuration import TOKEN_KEY, mounted
from ssecast_operator.drift import APPLIED, differs, stamped
from ssecast_operator.fleet import drained_among, labelled
from ssecast_operator.store import Key, Store

SECRETS_SECONDS = 60.0
"""Between two looks at Secrets, which are not watched: that would take the right to read all of them."""

log = structlog.get_logger()


class InTheWay(Exception):
    """Something is as it must not be; goes on with the others."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class Upkeep:
    """Of one Broadcaster. token: by which its pods know our orders, empty until it is known. rolling_from: the generation
    of the Deployment since which its pods are to be replaced."""

    def __init__(self, key: Key, store: Store, cluster: Cluster, surroundings: Surroundings) -> None:
        self.key, self._store, self._cluster, self._surroundings = key, store, cluster, surroundings
        self.token = ""
        self.rolling_from = 0
        self._looked_at = float("-inf")
        self._secret_problems: list[Problem] = []
        self._given_up: dict[tuple[str, str], tuple[str, str]] = {}

    async def keep(
        self, broadcaster: Broadcaster, replicas: int, pods: Sequence[Mapping[str, Any]], now: float
    ) -> list[Problem]:
        """pods: the bodies of those that there are. Raises Unavailable where the API server cannot do it now."""
        problems: list[Problem] = []
        if now - self._looked_at >= SECRETS_SECONDS or not self.token:
            self._secret_problems = await self._look_at_secrets(broadcaster)
            self._looked_at = now
        problems += self._secret_problems
        if not self.token:
            return problems  # pods without a token would take orders from anybody
        for manifest in children(
            broadcaster, self._surroundings, replicas, drained=drained_among(pods), labelled=labelled(pods)
        ):
            try:
                await self._keep(broadcaster, stamped(manifest))
            except InTheWay as wrong:
                problems.append(wrong.problem)
        await self._drop_network_policy(broadcaster)
        return problems

    # Secrets

    async def _look_at_secrets(self, broadcaster: Broadcaster) -> list[Problem]:
        problems = []
        try:
            self.token = await self._own_token(broadcaster)
        except InTheWay as wrong:
            self.token = ""
            problems.append(wrong.problem)
        for each in mounted(broadcaster.spec):
            found = await self._cluster.get(SECRETS, self.key.namespace, each.secret)
            missing = sorted(key for key in each.items if key not in ((found or {}).get("data") or {}))
            if found is None:
                problems.append(Problem("SecretMissing", f"the Secret {each.secret!r} does not exist"))
            elif missing:
                problems.append(Problem("SecretMissing", f"the Secret {each.secret!r} has no key {missing[0]!r}"))
        return problems

    async def _own_token(self, broadcaster: Broadcaster) -> str:
        name = secret_name(broadcaster)
        found = await self._cluster.get(SECRETS, self.key.namespace, name)
        if found is None:
            try:
                found = await self._cluster.create(admin_secret(broadcaster, secrets.token_urlsafe(32)))
            except Conflict:
                found = await self._cluster.get(SECRETS, self.key.namespace, name) or {"metadata": {"name": name}}
        self._must_be_ours(broadcaster, "Secret", found)
        token = _decoded((found.get("data") or {}).get(TOKEN_KEY, ""))
        if not token:
            raise InTheWay(
                Problem("SecretUnusable", f"the Secret {name!r} has no {TOKEN_KEY!r}: delete it, and it is made anew")
            )
        return token

    # Everything else

    async def _keep(self, broadcaster: Broadcaster, manifest: Manifest) -> None:
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        live = self._store.child(self.key, kind, name)
        if live is None:
            live = await self._cluster.get(KINDS[kind], self.key.namespace, name)
        if live is not None:
            self._must_be_ours(broadcaster, kind, live)
            digest = manifest["metadata"]["annotations"][APPLIED]
            if self._given_up.get((kind, name)) == (digest, live["metadata"].get("resourceVersion", "")):
                return
            if not differs(manifest, live):
                return
        try:
            made = await self._apply(manifest, live)
        except (Refused, Conflict) as wrong:
            raise InTheWay(Problem("NotAccepted", f"{kind} {name!r} is not accepted: {wrong}")) from wrong
        log.info("applied", broadcaster=str(self.key), kind=kind, name=name, new=live is None)
        self._note(manifest, live, made)

    async def _apply(self, manifest: Manifest, live: Mapping[str, Any] | None) -> dict[str, Any]:
        """Somebody else's item of a list, such as a port, may collide with ours: then the list is written as a whole."""
        try:
            return await self._cluster.apply(manifest)
        except Refused:
            if live is None or "spec" not in manifest:
                raise
        kind, name = KINDS[manifest["kind"]], manifest["metadata"]["name"]
        await self._cluster.merge(kind, self.key.namespace, name, {"spec": manifest["spec"]})
        return await self._cluster.apply(manifest)

    def _note(self, manifest: Manifest, live: Mapping[str, Any] | None, made: Mapping[str, Any]) -> None:
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        if kind == "Deployment" and live is not None and live["spec"]["template"] != made["spec"]["template"]:
            self.rolling_from = made["metadata"]["generation"]
        if differs(manifest, made):  # somebody changes what we write: again and again would help nobody
            version = made["metadata"].get("resourceVersion", "")
            self._given_up[kind, name] = (manifest["metadata"]["annotations"][APPLIED], version)
        self._store.put(kind, made)

    async def _drop_network_policy(self, broadcaster: Broadcaster) -> None:
        if broadcaster.spec.network_policy.enabled:
            return
        found = self._store.child(self.key, NETWORK_POLICIES.kind, broadcaster.name)
        if found is not None and _owner(found) == broadcaster.uid:
            await self._cluster.delete(NETWORK_POLICIES, self.key.namespace, broadcaster.name)
            self._store.drop(NETWORK_POLICIES.kind, found)

    @staticmethod
    def _must_be_ours(broadcaster: Broadcaster, kind: str, live: Mapping[str, Any]) -> None:
        owner, name = _owner(live), live["metadata"]["name"]
        if owner == broadcaster.uid and not live["metadata"].get("deletionTimestamp"):
            return
        if live["metadata"].get("deletionTimestamp"):
            raise InTheWay(Problem("BeingRemoved", f"{kind} {name!r} is still being removed"))
        if _is_of_an_earlier_one(broadcaster, live):
            raise InTheWay(Problem("BeingRemoved", f"{kind} {name!r} of an earlier Broadcaster is still there"))
        raise InTheWay(
            Problem(
                "NameTaken",
                f"{kind} {name!r} belongs to somebody else: rename it, or the Broadcaster; it is left alone",
            )
        )


def _owner(body: Mapping[str, Any]) -> str:
    """UID of the controller."""
    references = body["metadata"].get("ownerReferences") or ()
    return next((each["uid"] for each in references if each.get("controller")), "")


def _is_of_an_earlier_one(broadcaster: Broadcaster, live: Mapping[str, Any]) -> bool:
    references = live["metadata"].get("ownerReferences") or ()
    return any(each.get("kind") == "Broadcaster" and each.get("name") == broadcaster.name for each in references)


def _decoded(text: str) -> str:
    return base64.b64decode(text).decode(errors="replace").strip()
