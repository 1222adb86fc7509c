"""`k8s/`: plain manifests for people without Helm, made from what the chart renders."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from charts.make.engine import CHART, Manifest, objects
from charts.make.generated import Plain

NAMESPACE = "ssecast"
HEADER = "# Made from the chart by `make k8s`; do not edit: overlay it.\n"
EXTERNAL = "nats://nats.example.com:4222"
KUSTOMIZATION = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}


def files() -> dict[str, str]:
    """Text by path below `k8s/`; the README is written by hand."""
    operator = _made({"broadcaster": {"enabled": False}, "nats": {"url": EXTERNAL}})
    embedded = _beside(operator, _made({}))
    external = _beside(operator, _made({"nats": {"url": EXTERNAL}}))
    scaled = _beside([*operator, *embedded], _made({"autoscaling": {"mode": "hpa"}}, ["custom.metrics.k8s.io/v1beta2"]))
    broadcaster = next(each for each in embedded if each["kind"] == "Broadcaster")
    return {
        "base/crd.yaml": (CHART / "crds" / "broadcasters.yaml").read_text(),
        "base/operator.yaml": _text(operator),
        "base/kustomization.yaml": _kustomization(["crd.yaml", "operator.yaml"]),
        "overlays/embedded-nats/nats.yaml": _text(each for each in embedded if each is not broadcaster),
        "overlays/embedded-nats/broadcaster.yaml": _text([broadcaster]),
        "overlays/embedded-nats/kustomization.yaml": _kustomization(["../../base", "nats.yaml", "broadcaster.yaml"]),
        "overlays/external-nats/broadcaster.yaml": _text(external),
        "overlays/external-nats/kustomization.yaml": _kustomization(["../../base", "broadcaster.yaml"]),
        "overlays/hpa/hpa.yaml": _text(each for each in scaled if each["kind"] != "Broadcaster"),
        "overlays/hpa/mode.yaml": _text([_mode(broadcaster)]),
        "overlays/hpa/kustomization.yaml": _kustomization(
            ["../embedded-nats", "hpa.yaml"], patches=[{"path": "mode.yaml"}]
        ),
    }


def write(folder: Path) -> None:
    for name, text in files().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _made(values: Mapping[str, Any], apis: Iterable[str] = ()) -> list[Manifest]:
    """The objects without what only Helm needs: its test, and labels that name it."""
    found = objects(values, namespace=NAMESPACE, apis=list(apis))
    return [_plain(each) for each in found if "helm.sh/hook" not in each["metadata"].get("annotations", {})]


def _plain(body: Manifest) -> Manifest:
    labels = body["metadata"]["labels"]
    kept = {name: labels[name] for name in labels if name not in ("helm.sh/chart", "app.kubernetes.io/managed-by")}
    return body | {"metadata": body["metadata"] | {"labels": kept}}


def _beside(known: Iterable[Manifest], made: Iterable[Manifest]) -> list[Manifest]:
    """Those that are not known yet."""
    names = {(each["kind"], each["metadata"]["name"]) for each in known if each["kind"] != "Broadcaster"}
    return [each for each in made if (each["kind"], each["metadata"]["name"]) not in names]


def _mode(broadcaster: Manifest) -> Manifest:
    metadata = {key: broadcaster["metadata"][key] for key in ("name", "namespace")}
    return broadcaster | {"metadata": metadata, "spec": {"scaling": {"mode": "hpa"}}}


def _kustomization(resources: list[str], **more: Any) -> str:
    return _text([{**KUSTOMIZATION, "resources": resources, **more}])


def _text(bodies: Iterable[Manifest]) -> str:
    return HEADER + yaml.dump_all(list(bodies), Dumper=Plain, sort_keys=False, allow_unicode=True, width=120)
