"""The chart as Helm's own engine renders it, and what stands in it."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import yaml

from charts.make.engine import CHART, Manifest, objects
from ssecast_operator.broadcaster import Broadcaster, parse
from ssecast_operator.children import Surroundings, children

APIS = (
    "custom.metrics.k8s.io/v1beta2",
    "gateway.envoyproxy.io/v1alpha1",
    "gateway.networking.k8s.io/v1",
    "monitoring.coreos.com/v1",
    "traefik.io/v1alpha1",
)
"""That a cluster may have beside its own."""

SCENARIOS = sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").glob("*-values.yaml"))
NAMESPACE = "live"
OPERATOR_IMAGE = "SSECAST_OPERATOR_IMAGE"


def values(scenario: str) -> dict[str, Any]:
    return dict(yaml.safe_load((CHART / "ci" / f"{scenario}-values.yaml").read_text()) or {})


@cache
def _scenario(scenario: str) -> tuple[Manifest, ...]:
    return tuple(objects(values(scenario), namespace=NAMESPACE, apis=APIS))


def made(scenario: str = "default", given: Mapping[str, Any] | None = None) -> list[Manifest]:
    """The objects of a scenario, or of values."""
    if given is not None:
        return list(objects(given, namespace=NAMESPACE, apis=APIS))
    return list(_scenario(scenario))


def one(manifests: list[Manifest], kind: str, name: str = "") -> Manifest:
    (found,) = [each for each in manifests if each["kind"] == kind and name in ("", each["metadata"]["name"])]
    return found


def pod_templates(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """(name, metadata and spec) of every pod that is made, directly or by what is made."""
    for each in manifests:
        if each["kind"] == "Pod":
            yield each["metadata"]["name"], each
        elif "template" in each.get("spec", {}):
            yield each["metadata"]["name"], each["spec"]["template"]


def broadcaster(manifests: list[Manifest]) -> Broadcaster:
    """As the operator reads it; the API server would have filled in what the schema defaults."""
    body = one(manifests, "Broadcaster")
    return parse(body | {"metadata": body["metadata"] | {"uid": "1"}})


def fleet(manifests: list[Manifest]) -> list[Manifest]:
    """What the operator of this release would make for its Broadcaster."""
    operator = one(manifests, "Deployment", "ssecast-operator")["spec"]["template"]
    env = {each["name"]: each.get("value", "") for each in operator["spec"]["containers"][0]["env"]}
    labels = dict(pair.split("=") for pair in env["SSECAST_OPERATOR_LABELS"].split(","))
    assert labels.items() <= operator["metadata"]["labels"].items(), "the operator's pod is what it says of itself"
    return list(children(broadcaster(manifests), Surroundings(env[OPERATOR_IMAGE], NAMESPACE, labels), 2))
