"""Every object has the fields that its kind has, and no others: Kubernetes' own kinds, and those of the controllers.

No kubeconform: it fetches the schemas of Kubernetes' own kinds while it runs, and for the definitions that can be had as Go
modules it would do what is done here. `tests/cluster` asks a real API server, which knows all of it and the rules beyond.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

import jsonschema_rs
import msgspec
import pytest
from lightkube.core.exceptions import LoadResourceError
from lightkube.core.resource_registry import resource_registry

from charts.make.engine import Manifest
from charts.make.schema import from_structural, spec_schema
from tests.chart.definitions import GROUPS, definitions_of
from tests.chart.parts import SCENARIOS, fleet, made

pytestmark = pytest.mark.timeout(400)
"""For machines on which controller-gen has yet to be compiled."""

of_each_scenario = pytest.mark.parametrize("scenario", SCENARIOS)
of_each_group = pytest.mark.parametrize("group", GROUPS)


@of_each_scenario
def test_kubernetes_own_kinds(scenario: str) -> None:
    manifests = made(scenario)
    if any(each["kind"] == "Broadcaster" for each in manifests):
        manifests += fleet(manifests)
    known = 0
    for each in manifests:
        try:
            kind = resource_registry.load(each["apiVersion"], each["kind"])
        except LoadResourceError:
            continue
        read = msgspec.to_builtins(msgspec.convert(each, kind))
        assert not [*lost(each, read, each["kind"])]
        known += 1
    assert known >= 8


def lost(written: Any, read: Any, path: str) -> Iterator[str]:
    """Where something was written that is not read."""
    if isinstance(written, dict) and isinstance(read, dict):
        for key, value in written.items():
            if key in read:
                yield from lost(value, read[key], f"{path}.{key}")
            else:
                yield f"{path}.{key}"
    elif isinstance(written, list) and isinstance(read, list):
        for one, other in zip(written, read, strict=True):
            yield from lost(one, other, f"{path}[]")


def test_a_field_that_does_not_exist_is_found() -> None:
    body = {"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"port": 1, "portt": 2}]}}
    kind = resource_registry.load("v1", "Service")
    assert [*lost(body, msgspec.to_builtins(msgspec.convert(body, kind)), "Service")] == ["Service.spec.ports[].portt"]


@cache
def definitions(group: str) -> dict[str, dict[str, Any]]:
    """Schema by kind."""
    return {
        f"{group}/{version['name']}/{body['spec']['names']['kind']}": version["schema"]["openAPIV3Schema"]
        for body in definitions_of(group)
        for version in body["spec"]["versions"]
    }


def theirs(group: str) -> list[tuple[str, Manifest]]:
    """Objects of a group, by scenario."""
    return [(name, each) for name in SCENARIOS for each in made(name) if each["apiVersion"].startswith(f"{group}/")]


@of_each_group
def test_kinds_of_controllers(group: str) -> None:
    found = theirs(group)
    assert found
    for scenario, body in found:
        said = wrong(schema_of(group, body), body["spec"])
        assert not said, f"{scenario}: {body['kind']}: {said}"


@of_each_group
def test_a_field_that_a_controller_does_not_know_is_found(group: str) -> None:
    """None of the definitions is one that accepts anything."""
    for _, body in theirs(group):
        (said,) = wrong(schema_of(group, body), body["spec"] | {"hostnamez": ["*"]})
        assert "hostnamez" in said, said


def schema_of(group: str, body: Manifest) -> dict[str, Any]:
    schema = definitions(group)[f"{body['apiVersion']}/{body['kind']}"]
    return from_structural(schema["properties"]["spec"])


def wrong(schema: dict[str, Any], spec: Any) -> list[str]:
    return [
        f"{'.'.join(map(str, each.instance_path))}: {each.message}" for each in jsonschema_rs.iter_errors(schema, spec)
    ]


@of_each_scenario
def test_the_broadcaster(scenario: str) -> None:
    for each in made(scenario):
        if each["kind"] == "Broadcaster":
            assert not wrong(spec_schema(), each["spec"])
