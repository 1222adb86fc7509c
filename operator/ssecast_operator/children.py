"""What belongs to a Broadcaster in the cluster, as manifests. Pure.

Each has an owner reference, so that Kubernetes removes it with its Broadcaster, and the label `ssecast.dev/broadcaster`.
The Deployment comes without `replicas`: whoever applies a field owns it, and that one belongs to scaling alone.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from ssecast_operator.broadcaster import GROUP, KIND, VERSION, Broadcaster
from ssecast_operator.budget import budget_of
from ssecast_operator.configuration import (
    FIELD_SETTINGS,
    FOLDER,
    PREFIX,
    SETTINGS_FOLDER,
    TOKEN_KEY,
    Mounted,
    fingerprint,
    mounted,
    settings_for,
)
from ssecast_operator.fleet import SERVING, YES

BROADCASTER = f"{GROUP}/broadcaster"
FINGERPRINT = f"{GROUP}/settings"
PUBLIC_PORT, ADMIN_PORT = 8080, 9090
USER = 65532
DOUBLINGS = 16

Manifest = dict[str, Any]

TOPOLOGY = ("topology.kubernetes.io/zone", "kubernetes.io/hostname")


class Surroundings(NamedTuple):
    """What the operator knows of itself. image: of pods whose Broadcaster names none. namespace, labels: its own, by which
    a NetworkPolicy knows it."""

    image: str
    namespace: str
    labels: Mapping[str, str]


def children(
    broadcaster: Broadcaster, surroundings: Surroundings, replicas: int, *, drained: int = 0, labelled: bool = True
) -> tuple[Manifest, ...]:
    """All of them but the Secret, in the order in which they are made. replicas: as many pods as the Deployment has.

    drained: how many of them are not ready because they are drained to be removed. labelled: whether each pod says by a label
    if it takes new streams: only then may the Service ask for that.
    """
    settings = settings_for(broadcaster)
    made = [
        _service_account(broadcaster),
        _config_map(broadcaster, settings),
        _service(broadcaster, labelled=labelled),
        _admin_service(broadcaster),
        _disruption_budget(broadcaster, drained),
        _deployment(broadcaster, surroundings, settings, replicas),
    ]
    if broadcaster.spec.network_policy.enabled:
        made.append(_network_policy(broadcaster, surroundings))
    return tuple(made)


def admin_secret(broadcaster: Broadcaster, token: str) -> Manifest:
    """The token by which pods know the operator's orders; made once, and kept."""
    return _object(broadcaster, "v1", "Secret", secret_name(broadcaster)) | {
        "type": "Opaque",
        "stringData": {TOKEN_KEY: token},
    }


def secret_name(broadcaster: Broadcaster) -> str:
    return f"{broadcaster.name}-admin-token"


def selector(name: str) -> dict[str, str]:
    """The labels by which the pods of a Broadcaster are known."""
    return {"app.kubernetes.io/name": "ssecast", BROADCASTER: name}


def _object(broadcaster: Broadcaster, version: str, kind: str, name: str, **metadata: Any) -> Manifest:
    owner = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "name": broadcaster.name,
        "uid": broadcaster.uid,
        "controller": True,
        "blockOwnerDeletion": False,  # it would need a right on the Broadcaster's finalizers
    }
    labels = selector(broadcaster.name) | {"app.kubernetes.io/managed-by": "ssecast-operator"}
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": broadcaster.namespace,
            "labels": labels,
            "ownerReferences": [owner],
            **metadata,
        },
    }


def _service_account(broadcaster: Broadcaster) -> Manifest:
    """Pods have no business with the API server."""
    account = _object(broadcaster, "v1", "ServiceAccount", broadcaster.name)
    return account | {"automountServiceAccountToken": False}


def _config_map(broadcaster: Broadcaster, settings: Mapping[str, str]) -> Manifest:
    return _object(broadcaster, "v1", "ConfigMap", _settings_name(broadcaster)) | {"data": dict(settings)}


def _settings_name(broadcaster: Broadcaster) -> str:
    return f"{broadcaster.name}-settings"


def _service(broadcaster: Broadcaster, *, labelled: bool) -> Manifest:
    """Without the pods that are cordoned."""
    service = broadcaster.spec.service
    annotations = {"annotations": dict(service.annotations)} if service.annotations else {}
    return _object(broadcaster, "v1", "Service", broadcaster.name, **annotations) | {
        "spec": {
            "type": service.type,
            "selector": selector(broadcaster.name) | ({SERVING: YES} if labelled else {}),
            "ports": [{"name": "http", "port": service.port, "targetPort": "http", "protocol": "TCP"}],
        }
    }


def _admin_service(broadcaster: Broadcaster) -> Manifest:
    """Headless, and with pods that are not ready: who drains is to be watched too."""
    return _object(broadcaster, "v1", "Service", f"{broadcaster.name}-admin") | {
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": selector(broadcaster.name),
            "ports": [{"name": "admin", "port": ADMIN_PORT, "targetPort": "admin", "protocol": "TCP"}],
        }
    }


def _disruption_budget(broadcaster: Broadcaster, drained: int) -> Manifest:
    """One eviction at a time: each one is a pod's worth of reconnects.

    Pods that are drained are not ready, by our own doing: without room for them no node could be drained meanwhile.
    """
    return _object(broadcaster, "policy/v1", "PodDisruptionBudget", broadcaster.name) | {
        "spec": {
            "maxUnavailable": 1 + drained,
            "selector": {"matchLabels": selector(broadcaster.name)},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        }
    }


def _network_policy(broadcaster: Broadcaster, surroundings: Surroundings) -> Manifest:
    policy = broadcaster.spec.network_policy
    operator = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": surroundings.namespace}},
        "podSelector": {"matchLabels": dict(surroundings.labels)},
    }
    streams: Manifest = {"ports": [{"port": PUBLIC_PORT, "protocol": "TCP"}]}
    if policy.clients:
        streams["from"] = list(policy.clients)
    admin = {"ports": [{"port": ADMIN_PORT, "protocol": "TCP"}], "from": [operator, *policy.monitoring]}
    spec: Manifest = {
        "podSelector": {"matchLabels": selector(broadcaster.name)},
        "policyTypes": ["Ingress"],
        "ingress": [streams, admin],
    }
    if policy.egress:
        spec |= {"policyTypes": ["Ingress", "Egress"], "egress": list(policy.egress)}
    return _object(broadcaster, "networking.k8s.io/v1", "NetworkPolicy", broadcaster.name) | {"spec": spec}


def grace_period(broadcaster: Broadcaster) -> int:
    """terminationGracePeriodSeconds: at least the budget's, rounded up to 30 s times a power of two. It stands in the
    template, where each change means new pods; a pod that is done sooner ends sooner."""
    needed = budget_of(broadcaster.spec).grace
    return next(30 << shift for shift in range(DOUBLINGS) if 30 << shift >= needed)


def _deployment(
    broadcaster: Broadcaster, surroundings: Surroundings, settings: Mapping[str, str], replicas: int
) -> Manifest:
    budget = budget_of(broadcaster.spec)
    return _object(broadcaster, "apps/v1", "Deployment", broadcaster.name) | {
        "spec": {
            "selector": {"matchLabels": selector(broadcaster.name)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "minReadySeconds": budget.min_ready,
            "progressDeadlineSeconds": budget.progress_deadline(max(1, replicas)),
            "revisionHistoryLimit": 3,
            "template": _template(broadcaster, surroundings, settings),
        }
    }


def _template(broadcaster: Broadcaster, surroundings: Surroundings, settings: Mapping[str, str]) -> Manifest:
    wanted = broadcaster.spec.pod_template
    labels = {**wanted.labels, **selector(broadcaster.name), SERVING: YES}
    spec: Manifest = {
        "serviceAccountName": broadcaster.name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": grace_period(broadcaster),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": list(wanted.topology_spread_constraints) or _spread(broadcaster.name),
        "containers": [_container(broadcaster, surroundings)],
        "volumes": _volumes(broadcaster),
    }
    for key, value in (
        ("nodeSelector", dict(wanted.node_selector)),
        ("tolerations", list(wanted.tolerations)),
        ("affinity", wanted.affinity),
        ("priorityClassName", wanted.priority_class_name),
        ("imagePullSecrets", list(wanted.image_pull_secrets)),
    ):
        if value:
            spec[key] = value
    annotations = {**wanted.annotations, FINGERPRINT: fingerprint(settings)}
    return {"metadata": {"labels": labels, "annotations": annotations}, "spec": spec}


def _spread(name: str) -> list[Manifest]:
    return [
        {
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": selector(name)},
        }
        for key in TOPOLOGY
    ]


def _container(broadcaster: Broadcaster, surroundings: Surroundings) -> Manifest:
    wanted = broadcaster.spec.pod_template
    env: list[Manifest] = [
        {"name": "POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
        {"name": f"{PREFIX}SETTINGS_DIR", "value": SETTINGS_FOLDER},
        {"name": f"{PREFIX}ADMIN_TOKEN_FILE", "value": f"{FOLDER}/admin/{TOKEN_KEY}"},
    ]
    for each in wanted.env:
        if each.name not in FIELD_SETTINGS:
            value = {"value": each.value or ""} if each.value_from is None else {"valueFrom": each.value_from}
            env.append({"name": each.name, **value})
    resources = {"requests": dict(wanted.resources.requests), "limits": dict(wanted.resources.limits)}
    return {
        "name": "ssecast",
        "image": broadcaster.spec.image or surroundings.image,
        "imagePullPolicy": wanted.image_pull_policy,
        "args": ["serve"],
        "env": env,
        "ports": [
            {"name": "http", "containerPort": PUBLIC_PORT, "protocol": "TCP"},
            {"name": "admin", "containerPort": ADMIN_PORT, "protocol": "TCP"},
        ],
        "resources": {key: value for key, value in resources.items() if value},
        "startupProbe": _probe("/healthz", periodSeconds=1, failureThreshold=60),
        "livenessProbe": _probe("/healthz", periodSeconds=10, failureThreshold=6, timeoutSeconds=5),
        "readinessProbe": _probe("/readyz", periodSeconds=2, failureThreshold=2, timeoutSeconds=2),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": name, "mountPath": folder, "readOnly": True}
            for name, folder in (
                ("settings", SETTINGS_FOLDER),
                ("admin", f"{FOLDER}/admin"),
                *((each.volume, each.folder) for each in mounted(broadcaster.spec)),
            )
        ],
    }


def _probe(path: str, **timing: int) -> Manifest:
    return {"httpGet": {"path": path, "port": "admin"}, **timing}


def _volumes(broadcaster: Broadcaster) -> list[Manifest]:
    token = Mounted("admin", secret_name(broadcaster), {TOKEN_KEY: TOKEN_KEY})
    return [
        {"name": "settings", "configMap": {"name": _settings_name(broadcaster)}},
        *(
            {
                "name": each.volume,
                "secret": {
                    "secretName": each.secret,
                    "items": [{"key": key, "path": path} for key, path in each.items.items()],
                },
            }
            for each in (token, *mounted(broadcaster.spec))
        ),
    ]
