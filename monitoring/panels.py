"""Panels and dashboards as values, and what Grafana reads of them. Pure.

A dashboard here is rows of panels; places in the grid follow from widths, so that nobody counts columns. Queries ask raw
metrics, no recording rules: a dashboard shows the same whether the rules are loaded or not.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

COLUMNS = 24
SCHEMA = 41
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

OF = 'namespace=~"$namespace",broadcaster=~"$broadcaster"'
"""Selects what is said of Broadcasters."""

POD = f'{OF},pod=~"$pod"'
"""Selects what is said by pods."""

Kind = Literal["timeseries", "stat", "heatmap", "state-timeline"]
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Query:
    """legend: in Grafana's notation, `{{label}}`."""

    expr: str
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    """unit: in Grafana's words. stacked: areas that add up. bad_above, bad_below: from where a stat turns red."""

    title: str
    description: str
    queries: tuple[Query, ...]
    unit: str = "short"
    kind: Kind = "timeseries"
    width: int = 8
    stacked: bool = False
    bad_above: float | None = None
    bad_below: float | None = None

    @property
    def height(self) -> int:
        return 4 if self.kind == "stat" else 8


@dataclass(frozen=True, slots=True)
class Row:
    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """name: of its file. by_pod: whether one can choose pods."""

    name: str
    title: str
    description: str
    rows: tuple[Row, ...]
    by_pod: bool = True

    @property
    def uid(self) -> str:
        return f"ssecast-{self.name}"


def panel(title: str, description: str, *queries: tuple[str, str], **more: Any) -> Panel:
    """The short way to write one; queries: expression and legend."""
    return Panel(title, description, tuple(Query(*each) for each in queries), **more)


def stat(title: str, description: str, expr: str, legend: str = "", **more: Any) -> Panel:
    return panel(title, description, (expr, legend or title), **({"kind": "stat", "width": 4} | more))


# The JSON


def as_json(dashboard: Dashboard) -> Json:
    """What Grafana imports, or is given as a file."""
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": ["ssecast"],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": [_alerts()]},
        "links": [_links()],
        "templating": {"list": list(_variables(dashboard))},
        "panels": list(_placed(dashboard.rows)),
    }


def _alerts() -> Json:
    """Alerts stand in every graph from when they fired."""
    return {
        "name": "Alerts",
        "datasource": DATASOURCE,
        "enable": True,
        "iconColor": "red",
        "expr": f'ALERTS{{alertname=~"Ssecast.+",alertstate="firing",{OF}}}',
        "titleFormat": "{{alertname}}",
        "textFormat": "{{pod}}",
        "step": "60s",
    }


def _links() -> Json:
    return {
        "type": "dashboards",
        "title": "ssecast",
        "tags": ["ssecast"],
        "asDropdown": True,
        "keepTime": True,
        "includeVars": True,
    }


def _variables(dashboard: Dashboard) -> Iterator[Json]:
    yield {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "hide": 0}
    yield _variable("namespace", "Namespace", "ssecast_streams")
    yield _variable("broadcaster", "Broadcaster", 'ssecast_streams{namespace=~"$namespace"}')
    if dashboard.by_pod:
        yield _variable("pod", "Pod", f"ssecast_streams{{{OF}}}")


def _variable(name: str, label: str, series: str) -> Json:
    """All of them at first; `.*` also finds pods that no Broadcaster has."""
    query = f"label_values({series}, {name})"
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": name},
        "definition": query,
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
        "hide": 0,
    }


def _placed(rows: Sequence[Row]) -> Iterator[Json]:
    number = y = 0
    for row in rows:
        number += 1
        yield {
            "id": number,
            "type": "row",
            "title": row.title,
            "collapsed": False,
            "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1},
            "panels": [],
        }
        y += 1
        for line in _lines(row.panels):
            x = 0
            for each in line:
                number += 1
                yield _panel(each, number, {"x": x, "y": y, "w": each.width, "h": each.height})
                x += each.width
            y += max(each.height for each in line)


def _lines(panels: Sequence[Panel]) -> Iterator[list[Panel]]:
    line: list[Panel] = []
    for each in panels:
        if line and sum(other.width for other in line) + each.width > COLUMNS:
            yield line
            line = []
        line.append(each)
    yield line


def _panel(panel: Panel, number: int, place: Json) -> Json:
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": _field(panel), "overrides": []},
        "options": OPTIONS[panel.kind],
        "targets": [_target(panel, query, at) for at, query in enumerate(panel.queries)],
    }


def _target(panel: Panel, query: Query, at: int) -> Json:
    return {
        "refId": chr(ord("A") + at),
        "datasource": DATASOURCE,
        "editorMode": "code",
        "expr": query.expr,
        "legendFormat": query.legend,
        "format": "heatmap" if panel.kind == "heatmap" else "time_series",
        "range": panel.kind != "stat",
        "instant": panel.kind == "stat",
    }


def _field(panel: Panel) -> Json:
    field: Json = {"unit": panel.unit, "thresholds": _thresholds(panel), "color": {"mode": "palette-classic"}}
    match panel.kind:
        case "stat":
            field["color"] = {"mode": "thresholds"}
        case "timeseries":
            field["min"] = 0
            field["custom"] = {
                "drawStyle": "line",
                "lineWidth": 1,
                "fillOpacity": 30 if panel.stacked else 0,
                "showPoints": "never",
                "spanNulls": False,
                "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
            }
        case "state-timeline":
            field["custom"] = {"lineWidth": 0, "fillOpacity": 70, "spanNulls": False}
            states = {"1": {"text": "yes", "index": 0}, "0": {"text": "no", "color": "transparent", "index": 1}}
            field["mappings"] = [{"type": "value", "options": states}]
    return field


def _thresholds(panel: Panel) -> Json:
    steps: list[Json] = [{"color": "red" if panel.bad_below is not None else "green", "value": None}]
    if panel.bad_below is not None:
        steps.append({"color": "green", "value": panel.bad_below})
    if panel.bad_above is not None:
        steps.append({"color": "red", "value": panel.bad_above})
    return {"mode": "absolute", "steps": steps}


_LEGEND = {"showLegend": True, "displayMode": "list", "placement": "bottom", "calcs": []}

OPTIONS: Mapping[Kind, Json] = {
    "timeseries": {"legend": _LEGEND, "tooltip": {"mode": "multi", "sort": "desc"}},
    "stat": {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "value",
        "graphMode": "none",
        "textMode": "value",
    },
    "heatmap": {
        "calculate": False,
        "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64, "exponent": 0.5},
        "yAxis": {"unit": "s"},
        "cellGap": 1,
        "tooltip": {"mode": "single", "yHistogram": True},
        "legend": {"show": True},
    },
    "state-timeline": {"mergeValues": True, "showValue": "never", "rowHeight": 0.8, "legend": _LEGEND},
}
