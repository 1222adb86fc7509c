"""The CustomResourceDefinitions of other projects, out of Go modules; who asks is skipped where a module cannot be had."""

import json
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from loadtest.bench.peers import ROOT
from loadtest.bench.toolchain import INSTALL, NoGo, go

Definition = dict[str, Any]

FILES = {
    "gateway.networking.k8s.io": ("sigs.k8s.io/gateway-api@v1.6.3", "config/crd/standard/*.yaml"),
    "gateway.envoyproxy.io": ("github.com/envoyproxy/gateway@v1.6.0", "charts/gateway-helm/crds/generated/*.yaml"),
    "traefik.io": (
        "github.com/traefik/traefik/v3@v3.6.0",
        "docs/content/reference/dynamic-configuration/traefik.io_*.yaml",
    ),
}
"""Where those of a group are: a Go module, and the files in it."""

PROMETHEUS_OPERATOR = "monitoring.coreos.com"
"""Its definitions are made here, from its types, as that project makes them: with controller-gen."""

TYPES = "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
OF_TYPES = "tests/chart/prometheus_operator"
"""Its go.mod has the versions of the types and of controller-gen."""

MADE = ("podmonitors", "prometheusrules")
"""Of its kinds those that the chart has: the others are megabytes."""

GROUPS = (*FILES, PROMETHEUS_OPERATOR)


@cache
def definitions_of(group: str) -> tuple[Definition, ...]:
    """Skips where they cannot be had. Where nothing is compiled yet, those of the Prometheus operator take a minute."""
    texts = _made() if group == PROMETHEUS_OPERATOR else _found(*FILES[group])
    bodies = (body for text in texts for body in yaml.safe_load_all(text) if body)
    return tuple(body for body in bodies if body["kind"] == "CustomResourceDefinition")


def _found(module: str, pattern: str) -> Iterator[str]:
    said = _got(f"go mod download -json {module}")
    return (path.read_text() for path in sorted(Path(json.loads(said)["Dir"]).glob(pattern)))


def _made() -> Iterator[str]:
    _got(f"go -C {OF_TYPES} mod download")
    with tempfile.TemporaryDirectory() as folder:
        go("-C", OF_TYPES, "tool", "controller-gen", "crd", f"paths={TYPES}", f"output:crd:dir={folder}", folder=ROOT)
        for plural in MADE:
            yield (Path(folder) / f"{PROMETHEUS_OPERATOR}_{plural}.yaml").read_text()


def _got(command: str) -> str:
    """What a command says that gets modules. Skips where it cannot."""
    try:
        return go(*command.split()[1:], folder=ROOT)
    except NoGo:
        pytest.skip(f"go is not installed: {INSTALL}")
    except RuntimeError:
        pytest.skip(f"definitions cannot be had: {command}")
