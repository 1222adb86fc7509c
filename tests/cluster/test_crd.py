"""The CustomResourceDefinition on a real API server: what it refuses, and with which sentence."""

from typing import Any

import pytest

from ssecast_operator.broadcaster import parse
from ssecast_operator.instants import rfc3339
from ssecast_operator.spec import Spec
from tests.cluster.parts import Cluster
from tests.fleets import NOW


def broadcaster(name: str = "live", **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "ssecast.dev/v1alpha1", "kind": "Broadcaster", "metadata": {"name": name}, "spec": spec}


def refusal(cluster: Cluster, body: dict[str, Any]) -> str:
    """What a person reads who applies it; empty: it was accepted."""
    return " ".join(
        cluster.run("apply", "--server-side", "--dry-run=server", "--filename", "-", given=body).stderr.split()
    )


def applied(cluster: Cluster, body: dict[str, Any]) -> Any:
    cluster("apply", "--server-side", "--filename", "-", given=body)
    return cluster.get("broadcaster", body["metadata"]["name"])


def test_a_spec_that_says_nothing_gets_our_defaults(cluster: Cluster) -> None:
    """The API server fills in what the typed spec has; both read the same."""
    stored = applied(cluster, broadcaster("default"))
    assert stored["spec"]["scaling"]["behavior"]["scaleDown"]["policies"] == [
        {"type": "Percent", "value": 100, "periodSeconds": 15}
    ]
    assert stored["spec"]["nats"]["stream"]["maxAge"] == "10m"
    assert parse(stored).spec == Spec()


def test_a_part_of_a_section_gets_the_rest_of_its_defaults(cluster: Cluster) -> None:
    stored = applied(
        cluster, broadcaster("part", scaling={"streamsPerPod": {"target": 50}, "behavior": {"scaleUp": {}}})
    )
    assert stored["spec"]["scaling"]["streamsPerPod"] == {"target": 50, "limit": 10_000}
    assert len(stored["spec"]["scaling"]["behavior"]["scaleUp"]["policies"]) == 2
    assert parse(stored).spec.scaling.streams_per_pod.target == 50


EVERYTHING: dict[str, Any] = {
    "image": "registry.example.com/ssecast:1.2.3",
    "nats": {
        "url": "tls://nats-1:4222, tls://nats-2:4222",
        "credentialsSecret": {"name": "nats", "key": "nats.creds"},
        "tls": {"caSecret": {"name": "ca", "key": "ca.crt"}, "certificateSecret": "nats-client"},
        "subjects": ["events.>", "orders.*.new"],
        "stream": {"name": "events", "maxAge": "1h30m", "maxBytes": 1073741824, "replicas": 3, "storage": "memory"},
    },
    "replicas": 4,
    "scaling": {"mode": "hpa", "surge": {"threshold": 3}, "fallback": {"replicas": 5}, "tolerance": {"up": 0}},
    "drain": {"delaySeconds": 10, "windowSeconds": 120},
    "stream": {
        "heartbeatSeconds": 10,
        "maxAgeSeconds": 0,
        "overload": "503",
        "slowClient": "skip",
        "maxPayload": "64Ki",
    },
    "auth": {
        "jwksUrl": "https://id.example.com/keys",
        "algorithms": ["ES256"],
        "issuer": "https://id.example.com",
        "query": "token",
    },
    "cors": {"origins": ["https://app.example.com", "http://localhost:3000"]},
    "publish": True,
    "page": True,
    "service": {"type": "LoadBalancer", "port": 443, "annotations": {"a": "b"}, "trustedProxies": ["10.0.0.0/8"]},
    "networkPolicy": {"monitoring": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}], "egress": [{}]},
    "podTemplate": {
        "labels": {"team": "news"},
        "env": [
            {"name": "SSECAST_LOG_MAX_BYTES", "value": "128Mi"},
            {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        ],
        "resources": {"requests": {"cpu": 1, "memory": "1Gi"}, "limits": {"memory": "1Gi"}},
        "tolerations": [{"key": "spot", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {}},
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}],
        "imagePullSecrets": [{"name": "registry"}],
    },
}


def test_everything_that_can_be_said_is_kept(cluster: Cluster) -> None:
    """Nothing is pruned, and it reads the same from the API server as from the file."""
    stored = applied(cluster, broadcaster("everything", **EVERYTHING))
    assert parse(stored).spec == Spec.model_validate(EVERYTHING)


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        (
            {"scaling": {"minReplicas": 5, "maxReplicas": 4}},
            "spec.scaling: Invalid value: minReplicas must not exceed maxReplicas",
        ),
        (
            {"scaling": {"streamsPerPod": {"target": 20_000}}},
            "target must not exceed limit: a pod cannot be meant to have more than it takes",
        ),
        ({"scaling": {"fallback": {"replicas": 51}}}, "fallback.replicas must not exceed maxReplicas"),
        (
            {"scaling": {"burst": 300_001}},
            "burst is more than maxReplicas pods of streamsPerPod.target streams can have: raise maxReplicas, or lower burst",
        ),
        (
            {"scaling": {"maxReconnectsPerSecond": 3}},
            "maxReconnectsPerSecond is so low that draining one full pod would take more than an hour",
        ),
        (
            {"nats": {"stream": {"maxAge": "88s"}}},
            "spec.nats.stream.maxAge: Invalid value: nats.stream.maxAge must exceed the drain window",
        ),
        (
            {"nats": {"stream": {"maxAge": "30m"}}, "drain": {"windowSeconds": 1800}},
            "clients that wait longer than events are kept lose some",
        ),
        ({"nats": {"stream": {"maxBytes": "1Ki"}}}, "maxBytes must be at least 1Mi"),
        ({"nats": {"stream": {"maxBytes": 1024}}}, "maxBytes must be at least 1Mi"),
        ({"nats": {"url": "http://nats:4222"}}, "spec.nats.url"),
        ({"nats": {"subjects": ["a..b"]}}, "spec.nats.subjects[0]"),
        (
            {"nats": {"subjects": []}},
            "spec.nats.subjects: Invalid value: 0: spec.nats.subjects in body should have at least 1",
        ),
        ({"nats": {"subjects": ["a", "a"]}}, ".spec.nats.subjects: duplicate entries"),
        ({"stream": {"heartbeatSeconds": 60, "maxAgeSeconds": 60}}, "heartbeatSeconds must be less than maxAgeSeconds"),
        ({"stream": {"maxPayload": "65Mi"}}, "maxPayload must be from 1 byte to 64Mi"),
        ({"stream": {"maxPayload": 0}}, "maxPayload must be from 1 byte to 64Mi"),
        ({"auth": {}}, "spec.auth: Invalid value: exactly one of keySecret and jwksUrl must be given"),
        (
            {"auth": {"jwksUrl": "https://a/", "keySecret": {"name": "a", "key": "b"}}},
            "exactly one of keySecret and jwksUrl must be given: keys come from one place",
        ),
        (
            {"auth": {"jwksUrl": "https://a/", "algorithms": ["RS256", "HS256"]}},
            "HS algorithms need keySecret: the keys behind a JWKS URL are public",
        ),
        ({"auth": {"keySecret": {"name": "a", "key": "b"}, "algorithms": ["none"]}}, 'Unsupported value: "none"'),
        (
            {"auth": {"jwksUrl": "https://a/", "query": "subject"}},
            "query must not be a parameter that streams already have",
        ),
        (
            {"auth": {"jwksUrl": "https://a/", "cookie": "token"}, "cors": {"origins": ["*"]}},
            "spec.auth.cookie: Invalid value: auth.cookie needs origins by name in cors.origins",
        ),
        ({"cors": {"origins": ["*", "https://a"]}}, "'*' allows every origin and must stand alone"),
        ({"cors": {"origins": ["https://a/path"]}}, "spec.cors.origins[0]"),
        (
            {"podTemplate": {"env": [{"name": "SSECAST_PORT", "value": "1"}]}},
            "this variable is the operator's own; fields of the spec say what it may be",
        ),
        ({"scaling": {"mode": "manual"}}, 'supported values: "operator", "hpa", "off"'),
        ({"scaling": {"behavior": {"scaleUp": {"policies": []}}}}, "should have at least 1 items"),
        ({"scaling": {"behavior": {"scaleUp": {"stabilizationWindowSeconds": 3601}}}}, "less than or equal to 3600"),
        ({"replicas": -1}, "spec.replicas: Invalid value: -1"),
        ({"scaling": {"speed": 3}}, ".spec.scaling.speed: field not declared in schema"),
    ],
)
def test_what_cannot_work_is_refused_with_a_sentence(cluster: Cluster, spec: dict[str, Any], sentence: str) -> None:
    said = refusal(cluster, broadcaster(**spec)).replace('Invalid value: "object": ', "Invalid value: ")
    assert sentence in said


@pytest.mark.parametrize(
    "spec",
    [
        {"nats": {"stream": {"maxAge": "89s"}}},
        {"nats": {"stream": {"name": "", "maxAge": "1s"}}},
        {"nats": {"subjects": [f"s{at}.>" for at in range(64)]}},
        {"cors": {"origins": ["*"]}},
        {"auth": {"jwksUrl": "https://a/", "cookie": "token"}, "cors": {"origins": ["https://a"]}},
        {"cors": {"origins": [f"https://o{at}.example.com" for at in range(64)]}},
        {"auth": {"keySecret": {"name": "a", "key": "b"}, "algorithms": ["HS256"]}},
        {"podTemplate": {"env": [{"name": f"E{at}", "value": "1"} for at in range(64)]}},
        {"scaling": {"mode": "off"}, "replicas": 0},
        {"scaling": {"maxReconnectsPerSecond": 4}, "nats": {"stream": {"maxAge": "3h"}}},
    ],
)
def test_what_can_work_is_accepted(cluster: Cluster, spec: dict[str, Any]) -> None:
    """At the bounds of the rules, and with lists as long as they may be."""
    assert "serverside-applied" in cluster(
        "apply", "--server-side", "--dry-run=server", "--filename", "-", given=broadcaster(**spec)
    )


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("x" * 51, "the name must have at most 50 characters"),
        ("1st", "must begin with a letter"),
        ("a.b", "must begin with a letter"),
    ],
)
def test_names_that_no_service_could_have_are_refused(cluster: Cluster, name: str, sentence: str) -> None:
    assert sentence in refusal(cluster, broadcaster(name))


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ({"name": "one"}, {"name": "two"}, "name cannot be changed: positions that clients hold belong to one stream"),
        ({}, {"name": "two"}, "name cannot be changed"),
        ({"storage": "file"}, {"storage": "memory"}, "storage cannot be changed: JetStream does not move a stream"),
    ],
)
def test_what_cannot_be_changed(cluster: Cluster, before: dict[str, Any], after: dict[str, Any], sentence: str) -> None:
    applied(cluster, broadcaster("fixed", nats={"stream": before}))
    assert sentence in refusal(cluster, broadcaster("fixed", nats={"stream": after}))
    cluster("delete", "broadcaster", "fixed")


def test_what_can_be_changed(cluster: Cluster) -> None:
    applied(cluster, broadcaster("fluid", nats={"stream": {"name": "one"}}))
    stored = applied(
        cluster, broadcaster("fluid", nats={"stream": {"name": "one", "maxAge": "1h"}}, scaling={"maxReplicas": 9})
    )
    assert (stored["spec"]["nats"]["stream"]["maxAge"], stored["metadata"]["generation"]) == ("1h", 2)


def test_people_and_autoscalers_scale_it_by_its_subresource(cluster: Cluster) -> None:
    applied(cluster, broadcaster("scaled", scaling={"mode": "off"}))
    cluster("scale", "broadcaster/scaled", "--replicas", "7")
    status = {"status": {"replicas": 5, "selector": "app=ssecast"}}
    cluster(
        "patch",
        "broadcaster",
        "scaled",
        "--subresource",
        "status",
        "--type",
        "merge",
        "--patch-file",
        "/dev/stdin",
        given=status,
    )
    scale = f"/apis/ssecast.dev/v1alpha1/namespaces/{cluster.namespace}/broadcasters/scaled/scale"
    assert '"replicas":7' in cluster("get", "--raw", scale)
    assert '"status":{"replicas":5,"selector":"app=ssecast"}' in cluster("get", "--raw", scale)


def test_what_kubectl_get_shows(cluster: Cluster) -> None:
    """Also by its short name, and among all."""
    applied(cluster, broadcaster("shown"))
    status = {
        "observedGeneration": 1,
        "readyReplicas": 4,
        "streams": 23_456,
        "autoscaler": {"desired": 5, "reason": "DemandRose", "lastScaleTime": rfc3339(NOW)},
    }
    cluster(
        "patch",
        "bc",
        "shown",
        "--subresource",
        "status",
        "--type",
        "merge",
        "--patch-file",
        "/dev/stdin",
        given={"status": status},
    )
    heads, line = cluster("get", "bc", "shown").splitlines()
    assert heads.split() == ["NAME", "DESIRED", "READY", "STREAMS", "REASON", "AGE"]
    assert line.split()[:5] == ["shown", "5", "4", "23456", "DemandRose"]
    assert "broadcaster.ssecast.dev/shown" in cluster("get", "all", "--output", "name")


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("broadcaster.spec.scaling", "how many clients may have to reconnect for it"),
        ("broadcaster.spec.scaling.burst", "Free slots kept ready for clients that come all at once"),
        ("broadcaster.spec.scaling.behavior.scaleDown.policies.type", "a percentage of the pods"),
        ("broadcaster.spec.nats.stream.maxAge", "How long events are kept"),
        ("broadcaster.status.autoscaler.demand.refused", "Clients that were turned away"),
    ],
)
def test_kubectl_explains_it(cluster: Cluster, path: str, sentence: str) -> None:
    assert sentence in " ".join(cluster("explain", path).split())
