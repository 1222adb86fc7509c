"""Helm's own engine, without a cluster: renders the chart as `helm template` would."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from helm_python import Chart, _native

CHART = Path(__file__).parents[1] / "ssecast"
KUBERNETES = "v1.36.0"

Manifest = dict[str, Any]


def rendered(
    values: Mapping[str, Any] | None = None,
    *,
    name: str = "ssecast",
    namespace: str = "default",
    apis: Sequence[str] = (),
    kubernetes: str = KUBERNETES,
) -> dict[str, str]:
    """Text by template. apis: that the cluster has beside its own. Raises helm_python.HelmError with Helm's sentence."""
    options = {"name": name, "namespace": namespace, "kube_version": kubernetes, "api_versions": list(apis)}
    with Chart.load(CHART) as chart:
        # `chart.render` takes neither the version of Kubernetes nor its APIs; the function that it calls does.
        text = _native.call_string("helm_render", chart._raw(), json.dumps(dict(values or {})), json.dumps(options))
    made: dict[str, str] = json.loads(text)
    return made


def objects(
    values: Mapping[str, Any] | None = None,
    *,
    name: str = "ssecast",
    namespace: str = "default",
    apis: Sequence[str] = (),
    kubernetes: str = KUBERNETES,
) -> Iterator[Manifest]:
    """The objects that would be created, the test's among them. Takes and raises what `rendered` does."""
    texts = rendered(values, name=name, namespace=namespace, apis=apis, kubernetes=kubernetes)
    for template, text in sorted(texts.items()):
        if template.endswith(".yaml"):
            yield from (each for each in yaml.safe_load_all(text) if each)
