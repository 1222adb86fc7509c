"""A wrong value stops an install before anything is created, with the key and what is allowed in one sentence."""

from typing import Any

import pytest
from helm_python import HelmError

from charts.make.engine import rendered

GATEWAY = {"parentRefs": [{"name": "public"}]}


def spec(**fields: Any) -> dict[str, Any]:
    return {"broadcaster": {"spec": fields}}


def refusal(values: dict[str, Any], *apis: str) -> str:
    with pytest.raises(HelmError) as refused:
        rendered(values, apis=apis)
    return " ".join(str(refused.value).split())


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        pytest.param(
            {"exposure": {"type": "gateway", "gateway": GATEWAY, "ingress": {"preset": "nginx"}}},
            "exposure.gateway.parentRefs and exposure.ingress.preset are both set: choose one way in, and name it in "
            "exposure.type (none, gateway or ingress).",
            id="two exposures",
        ),
        pytest.param(
            {"exposure": {"ingress": {"preset": "nginx"}}},
            'exposure.ingress.preset is set, but exposure.type is "none": it must be "ingress" then.',
            id="an exposure that nobody chose",
        ),
        pytest.param(
            {"exposure": {"gateway": GATEWAY}},
            'exposure.gateway.parentRefs is set, but exposure.type is "none": it must be "gateway" then.',
            id="a gateway that nobody chose",
        ),
        pytest.param(
            {"exposure": {"type": "loadbalancer"}},
            "at '/exposure/type': value must be one of 'none', 'gateway', 'ingress'",
            id="unknown exposure",
        ),
        pytest.param(
            {"exposure": {"type": "ingress"}},
            'exposure.type is "ingress", but exposure.ingress.preset is empty: it must be nginx, traefik or haproxy.',
            id="ingress without a preset",
        ),
        pytest.param(
            {"exposure": {"type": "ingress", "ingress": {"preset": "contour"}}},
            "at '/exposure/ingress/preset': value must be one of '', 'nginx', 'traefik', 'haproxy'",
            id="unknown preset",
        ),
        pytest.param(
            {"exposure": {"type": "gateway"}},
            'exposure.type is "gateway", but exposure.gateway.parentRefs is empty: name at least one Gateway, such as '
            "{name: public}.",
            id="gateway without a Gateway",
        ),
        pytest.param(
            {"exposure": {"type": "gateway", "gateway": GATEWAY}},
            "exposure.type=gateway needs the API gateway.networking.k8s.io/v1, which this cluster has not got",
            id="no Gateway API",
        ),
        pytest.param(
            {"exposure": {"type": "ingress", "ingress": {"preset": "traefik"}}},
            "exposure.ingress.preset=traefik needs the API traefik.io/v1alpha1, which this cluster has not got",
            id="no Traefik",
        ),
        pytest.param(
            {"autoscaling": {"mode": "hpa"}},
            'autoscaling.mode is "hpa", but this cluster has no custom.metrics.k8s.io: install prometheus-adapter, or set '
            'autoscaling.mode to "operator", which needs no metrics.',
            id="hpa without metrics",
        ),
        pytest.param(
            {"autoscaling": {"mode": "keda"}},
            "at '/autoscaling/mode': value must be one of 'operator', 'hpa'",
            id="unknown mode",
        ),
        pytest.param(
            {"nats": {"url": "nats://a:4222", "embedded": {"persistence": {"size": "5Gi"}}}},
            "nats.embedded.persistence is set, but nats.url names a NATS of your own: set one of them, not both.",
            id="two NATS",
        ),
        pytest.param(
            {"nats": {"embedded": {"persistence": {"enabled": False, "existingClaim": "old"}}}},
            "nats.embedded.persistence.existingClaim is set, but nats.embedded.persistence.enabled is false: it must be true "
            "then.",
            id="a claim and no volume",
        ),
        pytest.param({"nats": {"url": "http://a"}}, "at '/nats/url': 'http://a' does not match", id="not a NATS URL"),
        pytest.param(
            spec(nats={"url": "nats://a:4222"}),
            "broadcaster.spec.nats.url must not be set: the value nats.url says which NATS is used.",
            id="NATS in the wrong place",
        ),
        pytest.param(
            spec(auth={"keySecret": {"key": "key.pem"}}),
            "at '/broadcaster/spec/auth/keySecret': missing property 'name'",
            id="a secret without a name",
        ),
        pytest.param(
            spec(auth={"issuer": "me"}),
            "broadcaster.spec.auth needs exactly one of keySecret and jwksUrl: keys come from one place.",
            id="tokens without keys",
        ),
        pytest.param(
            {"exposure": {"ingress": {"tls": [{"hosts": ["a"]}]}}},
            "at '/exposure/ingress/tls/0': missing property 'secretName'",
            id="a certificate without a name",
        ),
        pytest.param(
            {"imagePullSecrets": ["registry"]}, "at '/imagePullSecrets/0': got string, want object", id="a bare secret"
        ),
        pytest.param(
            spec(scaling={"minReplica": 3}),
            "at '/broadcaster/spec/scaling': additional properties 'minReplica' not allowed",
            id="a field with a typo",
        ),
        pytest.param(
            spec(stream={"heartbeatSeconds": "soon"}),
            "at '/broadcaster/spec/stream/heartbeatSeconds': got string, want integer",
            id="a field of the wrong kind",
        ),
        pytest.param(
            spec(scaling={"minReplicas": 30, "maxReplicas": 3}),
            "broadcaster.spec.scaling.minReplicas is 30: it must not exceed maxReplicas (3).",
            id="more at least than at most",
        ),
        pytest.param(
            spec(scaling={"streamsPerPod": {"target": 20000}}),
            "broadcaster.spec.scaling.streamsPerPod.target is 20000: it must not exceed limit (10000).",
            id="a target above the limit",
        ),
        pytest.param(
            spec(scaling={"mode": "hpa"}),
            'broadcaster.spec.scaling.mode may only be "off": the value autoscaling.mode says whether operator or hpa.',
            id="a mode in the wrong place",
        ),
        pytest.param({"exposer": {}}, "at '': additional properties 'exposer' not allowed", id="a value with a typo"),
        pytest.param(
            {"operator": {"manageCRD": "yes"}}, "at '/operator/manageCRD': got string, want boolean", id="wrong kind"
        ),
        pytest.param(
            {"networkPolicy": {"monitoring": [{"podSelectors": {}}]}},
            "at '/networkPolicy/monitoring/0': additional properties 'podSelectors' not allowed",
            id="a peer with a typo",
        ),
    ],
)
def test_what_contradicts_itself_is_refused(values: dict[str, Any], sentence: str) -> None:
    assert sentence in refusal(values)


def test_replicas_and_an_hpa_are_refused() -> None:
    given = {"autoscaling": {"mode": "hpa"}, "broadcaster": {"spec": {"replicas": 3}}}
    assert 'broadcaster.spec.replicas must not be set where autoscaling.mode is "hpa"' in refusal(
        given, "custom.metrics.k8s.io/v1beta1"
    )


def test_an_empty_value_of_a_parent_chart_is_no_mistake() -> None:
    assert rendered({"global": {"imageRegistry": "example.com"}})
