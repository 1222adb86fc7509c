"""Every object has the fields that its kind has, and no others: Kubernetes' own kinds, and those of the controllers.

No kubeconform: it fetches the schemas of Kubernetes' own kinds while it runs, and for the definitions that can be had as Go
modules it would do what is done here. `tests/cluster` asks a real API server, which knows all of it and the rules beyond.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest
import yaml
from lightkube.core.exceptions import LoadResourceError
from lightkube.core.resource_registry import resource_registry

from charts.make.engine import Manifest
from charts.make.schema import from_structural, spec_schema
from tests.chart.parts import SCENARIOS, fleet, made

DEFINITIONS = {
    "gateway.networking.k8s.io": ("sigs.k8s.io/gateway-api@v1.6.3", "config/crd/standard/*.yaml"),
    "gateway.envoyproxy.io": ("github.com/envoyproxy/gateway@v1.6.0", "charts/gateway-helm/crds/generated/*.yaml"),
    "traefik.io": (
        "github.com/traefik/traefik/v3@v3.6.0",
        "docs/content/reference/dynamic-configuration/traefik.io_*.yaml",
    ),
}
"""Where the CustomResourceDefinitions of a group are: a Go module, and the files in it."""

of_each_scenario = pytest.mark.parametrize("scenario", SCENARIOS)


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


def files_of(group: str) -> list[Path]:
    """Those with the definitions of a group; skips where the module cannot be had."""
    module, pattern = DEFINITIONS[group]
    if shutil.which("go") is None:
        pytest.skip("go is not installed: apt-get install golang-go")
    command = ["go", "mod", "download", "-json", module]
    environ = os.environ | {"GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod"}
    done = subprocess.run(command, capture_output=True, text=True, env=environ, cwd="/", timeout=100)
    folder = json.loads(done.stdout or "{}").get("Dir")
    if folder is None:
        pytest.skip(f"{module} cannot be had: go mod download {module}")
    return sorted(Path(folder).glob(pattern))


@cache
def definitions(group: str) -> dict[str, dict[str, Any]]:
    """Schema by kind."""
    schemas = {}
    for path in files_of(group):
        for body in yaml.safe_load_all(path.read_text()):
            if body and body["kind"] == "CustomResourceDefinition":
                for version in body["spec"]["versions"]:
                    kind = f"{body['spec']['group']}/{version['name']}/{body['spec']['names']['kind']}"
                    schemas[kind] = version["schema"]["openAPIV3Schema"]
    return schemas


def theirs(group: str) -> list[tuple[str, Manifest]]:
    """Objects of a group, by scenario."""
    return [(name, each) for name in SCENARIOS for each in made(name) if each["apiVersion"].startswith(f"{group}/")]


@pytest.mark.parametrize("group", DEFINITIONS)
def test_kinds_of_controllers(group: str) -> None:
    found = theirs(group)
    assert found
    for scenario, body in found:
        schema = definitions(group)[f"{body['apiVersion']}/{body['kind']}"]
        check(from_structural(schema["properties"]["spec"]), body["spec"], f"{scenario}: {body['kind']}")


def check(schema: dict[str, Any], spec: Any, what: str) -> None:
    wrong = [
        f"{'.'.join(map(str, each.instance_path))}: {each.message}" for each in jsonschema_rs.iter_errors(schema, spec)
    ]
    assert not wrong, f"{what}: {wrong}"


@of_each_scenario
def test_the_broadcaster(scenario: str) -> None:
    for each in made(scenario):
        if each["kind"] == "Broadcaster":
            check(spec_schema(), each["spec"], scenario)
