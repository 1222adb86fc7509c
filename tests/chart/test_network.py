"""The NetworkPolicies of the chart and of the operator together: what must come through does, and nothing else."""

from typing import Any

import pytest

from tests.chart.flows import Party, allowed
from tests.chart.parts import NAMESPACE, fleet, made, one, pod_templates, values

BROWSER = Party("browser", address="203.0.113.7")
API_SERVER = Party("API server", address="192.0.2.1")
CONTROLLER = Party("ingress controller", "ingress", {"app": "proxy"})
PROMETHEUS = Party("Prometheus", "monitoring", {"app.kubernetes.io/name": "prometheus"})
NEIGHBOUR = Party("neighbour", NAMESPACE, {"app": "other"})
PUBLISHER = Party("publisher", NAMESPACE, {"ssecast.dev/publisher": "true"})
STRANGER = Party("stranger", "other", {"ssecast.dev/publisher": "true", "ssecast.dev/broadcaster": "ssecast"})
DNS = Party("DNS", "kube-system", {"k8s-app": "kube-dns"})


class Site:
    """A release: its policies, those that its operator makes, and its pods."""

    def __init__(self, scenario: str = "default", given: dict[str, Any] | None = None) -> None:
        manifests = made(scenario, given)
        theirs = fleet(manifests)
        self.policies = [each for each in (*manifests, *theirs) if each["kind"] == "NetworkPolicy"]
        pods = {name: template["metadata"]["labels"] for name, template in pod_templates(manifests)}
        pods["streams"] = one(theirs, "Deployment")["spec"]["template"]["metadata"]["labels"]
        parties = {name.removeprefix("ssecast-"): Party(name, NAMESPACE, labels) for name, labels in pods.items()}
        self.operator, self.streams, self.test = parties["operator"], parties["streams"], parties["test"]
        self.nats, self.fallback = parties.get("nats", BROWSER), parties.get("fallback", BROWSER)

    def lets(self, source: Party, target: Party, port: int, protocol: str = "TCP") -> bool:
        return allowed(self.policies, source, target, port, protocol)


SITE = Site()


@pytest.mark.parametrize(
    ("source", "target", "port"),
    [
        (BROWSER, SITE.streams, 8080),
        (CONTROLLER, SITE.streams, 8080),
        (SITE.test, SITE.streams, 8080),
        (SITE.operator, SITE.streams, 9090),
        (SITE.operator, API_SERVER, 443),
        (SITE.operator, API_SERVER, 6443),
        (SITE.streams, SITE.nats, 4222),
        (SITE.test, SITE.nats, 4222),
        (PUBLISHER, SITE.nats, 4222),
        (SITE.streams, BROWSER, 443),  # the keys behind a JWKS address, and traces
    ],
    ids=lambda each: getattr(each, "name", str(each)),
)
def test_what_is_needed_comes_through(source: Party, target: Party, port: int) -> None:
    assert SITE.lets(source, target, port)


def test_the_operator_resolves_names() -> None:
    assert SITE.lets(SITE.operator, DNS, 53, "UDP")
    assert SITE.lets(SITE.operator, DNS, 53)


@pytest.mark.parametrize(
    ("source", "target", "port"),
    [
        *(
            (source, SITE.streams, 9090)
            for source in (BROWSER, CONTROLLER, PROMETHEUS, NEIGHBOUR, SITE.test, SITE.nats)
        ),
        *((source, SITE.nats, 4222) for source in (BROWSER, CONTROLLER, NEIGHBOUR, SITE.operator, STRANGER)),
        (NEIGHBOUR, SITE.nats, 8222),
        (SITE.streams, SITE.nats, 8222),
        (PROMETHEUS, SITE.operator, 8081),
        (NEIGHBOUR, SITE.operator, 8081),
        (SITE.streams, SITE.operator, 8081),
        (SITE.nats, BROWSER, 443),
        (SITE.nats, SITE.streams, 8080),
        (SITE.operator, BROWSER, 80),
        (SITE.operator, NEIGHBOUR, 9090),
    ],
    ids=lambda each: getattr(each, "name", str(each)),
)
def test_everything_else_does_not(source: Party, target: Party, port: int) -> None:
    assert not SITE.lets(source, target, port)


def test_an_operator_of_another_namespace_is_a_stranger() -> None:
    impostor = Party("impostor", "other", SITE.operator.labels)
    assert not SITE.lets(impostor, SITE.streams, 9090)


def test_whoever_watches_reads_metrics_of_pods_and_operator_and_nothing_else() -> None:
    site = Site("monitoring")
    assert site.lets(PROMETHEUS, site.streams, 9090)
    assert site.lets(PROMETHEUS, site.operator, 8081)
    assert not site.lets(PROMETHEUS, site.nats, 4222)
    assert not site.lets(NEIGHBOUR, site.streams, 9090)
    assert not site.lets(NEIGHBOUR, site.operator, 8081)


def test_further_clients_of_nats_are_let_in() -> None:
    peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "other"}}}
    site = Site(given={"nats": {"embedded": {"clients": [peer]}}})
    assert site.lets(STRANGER, site.nats, 4222)
    assert not site.lets(NEIGHBOUR, site.nats, 4222)


def test_proxies_reach_the_fallback_and_it_reaches_nobody() -> None:
    site = Site("ingress-nginx")
    assert site.lets(CONTROLLER, site.fallback, 8080)
    assert not site.lets(site.fallback, site.nats, 4222)
    assert not site.lets(site.fallback, site.streams, 9090)
    assert not site.lets(site.fallback, BROWSER, 443)


def test_an_operator_of_all_namespaces_reaches_pods_in_all_of_them() -> None:
    site = Site(given=values("default") | {"operator": {"clusterWide": True}})
    elsewhere = Party("streams elsewhere", "other", site.streams.labels)
    assert site.lets(site.operator, elsewhere, 9090)
    assert not SITE.lets(SITE.operator, elsewhere, 9090)


def test_without_policies_everybody_reaches_everybody() -> None:
    off = {"networkPolicy": {"enabled": False}, "broadcaster": {"spec": {"networkPolicy": {"enabled": False}}}}
    site = Site(given=off)
    assert not site.policies
    assert site.lets(NEIGHBOUR, site.nats, 4222)
