"""What the operator may do: the verbs that it uses, and no more. Pure."""

from typing import Any

from ssecast_operator.broadcaster import GROUP, PLURAL
from ssecast_operator.crd import crd

NAME = "ssecast-operator"

Rule = dict[str, Any]


def _rule(groups: str, resources: str, verbs: str, **more: Any) -> Rule:
    return {"apiGroups": [groups], "resources": resources.split(), "verbs": verbs.split(), **more}


WORK: tuple[Rule, ...] = (
    _rule(GROUP, PLURAL, "get list watch"),
    _rule(GROUP, f"{PLURAL}/status", "patch"),
    _rule("apps", "deployments", "get list watch create patch"),
    _rule("", "services serviceaccounts configmaps", "get list watch create patch"),
    _rule("policy", "poddisruptionbudgets", "get list watch create patch"),
    _rule("networking.k8s.io", "networkpolicies", "get list watch create patch delete"),
    _rule("", "secrets", "get create"),
    _rule("", "pods", "get list watch patch"),
    _rule("", "events", "create"),
)
"""In each namespace that is looked after. Secrets are only read by name: our own, and those that a spec refers to."""

OWN: tuple[Rule, ...] = (_rule("coordination.k8s.io", "leases", "get create patch"),)
"""In the operator's own namespace."""

DEFINITION: tuple[Rule, ...] = (
    _rule("apiextensions.k8s.io", "customresourcedefinitions", "get patch", resourceNames=[crd()["metadata"]["name"]]),
)
"""In the cluster, where the operator keeps its CustomResourceDefinition up to date."""


def rights(namespace: str, *, cluster: bool, manage_crd: bool) -> list[dict[str, Any]]:
    """ServiceAccount, roles and bindings. namespace: the operator's. cluster: it looks after all namespaces."""
    labels = {"app.kubernetes.io/name": NAME}
    subject = {"kind": "ServiceAccount", "name": NAME, "namespace": namespace}
    local = {"name": NAME, "namespace": namespace, "labels": labels}
    made: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": local},
    ]
    rules = list(OWN) if cluster else [*WORK, *OWN]
    made += _bound("Role", local, rules, subject)
    everywhere = [*(WORK if cluster else ()), *(DEFINITION if manage_crd else ())]
    if everywhere:
        name = NAME if cluster else f"{namespace}-{NAME}"
        made += _bound("ClusterRole", {"name": name, "labels": labels}, everywhere, subject)
    return made


def _bound(kind: str, metadata: dict[str, Any], rules: list[Rule], subject: dict[str, str]) -> list[dict[str, Any]]:
    group = "rbac.authorization.k8s.io"
    role = {"apiVersion": f"{group}/v1", "kind": kind, "metadata": metadata, "rules": rules}
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": f"{kind}Binding",
        "metadata": metadata,
        "roleRef": {"apiGroup": group, "kind": kind, "name": metadata["name"]},
        "subjects": [subject],
    }
    return [role, binding]
