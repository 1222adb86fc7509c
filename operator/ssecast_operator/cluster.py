"""What the operator asks of the API server, in one protocol: objects are dicts, as they stand in the cluster.

lightkube does the talking. Every call is counted, and what goes wrong is one of few errors: Conflict, NotFound, Refused and,
for everything that another try may mend, Unavailable.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import httpx2
from lightkube.config.kubeconfig import KubeConfig
from lightkube.core.async_client import AsyncClient
from lightkube.core.exceptions import ApiError
from lightkube.generic_resource import create_global_resource, create_namespaced_resource
from lightkube.types import PatchType

from ssecast_operator.broadcaster import GROUP, KIND, PLURAL, VERSION

MANAGER = "ssecast-operator"
SCALER = "ssecast-operator-scale"
"""Field managers: the second one owns the replicas of Deployments and nothing else."""

HELM = "helm"
"""Helm's own. The definition is written under it: with another one the next install of a newer chart, in a cluster where an older
one has been, would end with a conflict between Helm and the operator."""

TIMEOUT_SECONDS = 30.0

Body = dict[str, Any]


class Kind(NamedTuple):
    """A kind of object as the API server knows it."""

    group: str
    version: str
    kind: str
    plural: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


BROADCASTERS = Kind(GROUP, VERSION, KIND, PLURAL)
DEPLOYMENTS = Kind("apps", "v1", "Deployment", "deployments")
PODS = Kind("", "v1", "Pod", "pods")
SECRETS = Kind("", "v1", "Secret", "secrets")
EVENTS = Kind("", "v1", "Event", "events")
LEASES = Kind("coordination.k8s.io", "v1", "Lease", "leases")
DEFINITIONS = Kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions")
NETWORK_POLICIES = Kind("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies")
CHILDREN = (
    DEPLOYMENTS,
    Kind("", "v1", "Service", "services"),
    Kind("", "v1", "ServiceAccount", "serviceaccounts"),
    Kind("", "v1", "ConfigMap", "configmaps"),
    Kind("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets"),
    NETWORK_POLICIES,
)
"""What a Broadcaster is made of, and is watched."""

KINDS = {each.kind: each for each in (*CHILDREN, BROADCASTERS, PODS, SECRETS, EVENTS, LEASES, DEFINITIONS)}


class ClusterError(Exception):
    """What the API server said, in a sentence."""


class Conflict(ClusterError):
    """The object is another one than it was thought to be, or somebody else owns the field."""


class NotFound(ClusterError):
    """There is no such object, or no such namespace."""


class Refused(ClusterError):
    """Not allowed, or not valid: the same again would be refused again."""


class Unavailable(ClusterError):
    """The API server cannot be reached, is busy, or failed: later it may not. retry_after: seconds that it asked for."""

    def __init__(self, sentence: str, retry_after: float = 0.0) -> None:
        super().__init__(sentence)
        self.retry_after = retry_after


class Cluster(Protocol):
    """Each raises ClusterError."""

    async def get(self, kind: Kind, namespace: str, name: str) -> Body | None: ...

    async def list(self, kind: Kind, namespace: str | None, labels: dict[str, Any]) -> list[Body]: ...

    async def create(self, body: Body) -> Body: ...

    async def apply(self, body: Body, manager: str = MANAGER, *, force: bool = True) -> Body: ...

    async def merge(self, kind: Kind, namespace: str, name: str, patch: Body, *, status: bool = False) -> Body: ...

    async def delete(self, kind: Kind, namespace: str, name: str) -> None: ...


class LightkubeCluster:
    """The real one: in-cluster, or by KUBECONFIG. on_call: told the verb, the plural and the status code of every call,
    0 where there was no answer."""

    def __init__(self, on_call: Callable[[str, str, int], None] = lambda *_: None) -> None:
        timeout = httpx2.Timeout(TIMEOUT_SECONDS, connect=10.0)
        self._client = AsyncClient(KubeConfig.from_env(), timeout=timeout, field_manager=MANAGER)
        self._on_call = on_call
        self._resources: dict[Kind, Any] = {}

    async def get(self, kind: Kind, namespace: str, name: str) -> Body | None:
        where: dict[str, Any] = {"namespace": namespace} if namespace else {}
        try:
            return await self._call("get", kind, self._client.get(self._resource(kind), name, **where))
        except NotFound:
            return None

    async def list(self, kind: Kind, namespace: str | None, labels: dict[str, Any]) -> list[Body]:
        """namespace: None for all of them."""
        where: dict[str, Any] = {"namespace": namespace or "*", "labels": labels, "chunk_size": 500}
        try:
            # Items of a list do not say what they are: it is the same for all.
            same = {"apiVersion": kind.api_version, "kind": kind.kind}
            found = [_dict(each) | same async for each in self._client.list(self._resource(kind), **where)]
        except Exception as wrong:
            raise self._told("list", kind, wrong) from wrong
        self._on_call("list", kind.plural, 200)
        return found

    async def create(self, body: Body) -> Body:
        kind = KINDS[body["kind"]]
        return await self._call("create", kind, self._client.create(self._resource(kind)(body)))

    async def apply(self, body: Body, manager: str = MANAGER, *, force: bool = True) -> Body:
        kind = KINDS[body["kind"]]
        call = self._client.apply(self._resource(kind)(body), field_manager=manager, force=force)
        return await self._call("patch", kind, call)

    async def merge(self, kind: Kind, namespace: str, name: str, patch: Body, *, status: bool = False) -> Body:
        resource = self._resource(kind)
        call = self._client.patch(
            resource.Status if status else resource, name, patch, namespace=namespace, patch_type=PatchType.MERGE
        )
        return await self._call("patch", kind, call)

    async def delete(self, kind: Kind, namespace: str, name: str) -> None:
        try:
            await self._call("delete", kind, self._client.delete(self._resource(kind), name, namespace=namespace))
        except NotFound:
            return

    def _resource(self, kind: Kind) -> Any:
        if kind not in self._resources:
            make = create_global_resource if kind is DEFINITIONS else create_namespaced_resource
            self._resources[kind] = make(kind.group, kind.version, kind.kind, kind.plural)
        return self._resources[kind]

    async def _call(self, verb: str, kind: Kind, call: Any) -> Body:
        try:
            answer = await call
        except Exception as wrong:
            raise self._told(verb, kind, wrong) from wrong
        self._on_call(verb, kind.plural, 200)
        return _dict(answer) if answer is not None else {}

    def _told(self, verb: str, kind: Kind, wrong: Exception) -> Exception:
        if isinstance(wrong, httpx2.HTTPStatusError):
            self._on_call(verb, kind.plural, wrong.response.status_code)
            return _as_error(wrong)
        if isinstance(wrong, httpx2.HTTPError | OSError):
            self._on_call(verb, kind.plural, 0)
            return Unavailable(f"the API server does not answer: {str(wrong) or type(wrong).__name__}")
        return wrong


def _as_error(wrong: httpx2.HTTPStatusError) -> ClusterError:
    code = wrong.response.status_code
    sentence = str(wrong.status.message) if isinstance(wrong, ApiError) else str(wrong)
    if code == 409:
        return Conflict(sentence)
    if code == 404:
        return NotFound(sentence)
    if code == 429 or code >= 500:
        return Unavailable(sentence, _seconds(wrong.response.headers.get("retry-after")))
    return Refused(sentence)


def _seconds(text: str | None) -> float:
    return float(text) if text and text.isdigit() else 0.0


def _dict(answer: Any) -> Body:
    return dict(answer.to_dict())
