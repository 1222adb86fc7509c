"""The chart's templates for monitoring, rendered by Helm's own engine in a chart that has nothing else."""

import json
import shutil
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from helm_python import Chart, _native

from tests.monitoring.rules import ROOT

CHART = ROOT / "charts" / "ssecast"
TEMPLATES = ("dashboards.yaml", "podmonitor.yaml", "prometheusrule.yaml")
MONITORING = "monitoring.coreos.com/v1"

HELPERS = """
{{- define "ssecast.fullname" }}{{ .Release.Name }}{{ end }}
{{- define "ssecast.labels" }}app.kubernetes.io/part-of: ssecast{{ end }}
{{- define "ssecast.selectorLabels" }}app.kubernetes.io/name: ssecast-operator{{ end }}
{{- define "ssecast.requireApi" }}
{{- if not (.ctx.Capabilities.APIVersions.Has .api) }}{{ fail (printf "%s needs %s" .value .api) }}{{ end }}
{{- end }}
"""

ON: Mapping[str, Any] = {
    "operator": {"clusterWide": False},
    "monitoring": {
        "dashboards": {"enabled": True, "labels": {"grafana_dashboard": "1"}, "annotations": {"folder": "ssecast"}},
        "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}, "interval": "15s"},
        "rules": {"enabled": True, "labels": {"release": "prometheus"}},
    },
}

Manifest = dict[str, Any]


def rendered(values: Mapping[str, Any] = ON, *apis: str) -> list[Manifest]:
    """All objects. Raises helm_python.HelmError with Helm's sentence."""
    options = {"name": "ssecast", "namespace": "live", "kube_version": "v1.36.0", "api_versions": list(apis)}
    with tempfile.TemporaryDirectory() as folder:
        _lay_out(Path(folder))
        with Chart.load(folder) as chart:
            # `chart.render` does not take the APIs of the cluster; the function that it calls does.
            text = _native.call_string("helm_render", chart._raw(), json.dumps(values), json.dumps(options))
    return [each for made in json.loads(text).values() for each in yaml.safe_load_all(made) if each]


@cache
def monitors() -> tuple[Manifest, ...]:
    """Pods' and operator's, in this order."""
    made = [each for each in rendered(ON, MONITORING) if each["kind"] == "PodMonitor"]
    return tuple(sorted(made, key=lambda each: str(each["metadata"]["name"])))


def _lay_out(folder: Path) -> None:
    (folder / "Chart.yaml").write_text("{apiVersion: v2, name: ssecast, version: 0.0.0}")
    (folder / "values.yaml").write_text("{}")
    (folder / "templates").mkdir()
    (folder / "templates" / "_helpers.tpl").write_text(HELPERS)
    for name in TEMPLATES:
        shutil.copy(CHART / "templates" / name, folder / "templates" / name)
    for name in ("alerts", "dashboards"):
        shutil.copytree(CHART / name, folder / name)
