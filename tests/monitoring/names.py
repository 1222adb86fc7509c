"""What PromQL names: metrics, the labels and values that it selects, and the labels that it groups and joins by."""

import re
from collections.abc import Iterator
from typing import NamedTuple

import promql_parser as promql

GRAFANA = re.compile(r"\$__rate_interval|\$(namespace|broadcaster|pod)\b")


class Selected(NamedTuple):
    """One selector: a metric, and label -> the values that are asked for; a regular expression is split at its bars."""

    metric: str
    labels: dict[str, tuple[str, ...]]


class Names(NamedTuple):
    selected: tuple[Selected, ...]
    grouped: frozenset[str]
    """Labels behind by, on and group_left."""

    @property
    def metrics(self) -> set[str]:
        return {each.metric for each in self.selected}


def filled(expr: str, rate_interval: str = "1m") -> str:
    """A panel's query as Grafana sends it with all variables at All."""
    return GRAFANA.sub(lambda found: rate_interval if found[0] == "$__rate_interval" else ".*", expr)


def names_of(expr: str) -> Names:
    """Raises ValueError where it is no PromQL."""
    selected: list[Selected] = []
    grouped: set[str] = set()

    def visit(node: promql.Expr) -> None:
        if isinstance(node, promql.VectorSelector):
            selected.append(_selected(node))
        elif isinstance(node, promql.AggregateExpr) and node.modifier is not None:
            grouped.update(node.modifier.labels)
        elif isinstance(node, promql.BinaryExpr) and node.modifier is not None and node.modifier.matching is not None:
            grouped.update(node.modifier.matching.labels)

    promql.walk(promql.parse(expr), visit)
    return Names(tuple(selected), frozenset(grouped))


def _selected(node: promql.VectorSelector) -> Selected:
    return Selected(str(node.name), {each.name: tuple(_values(each.value)) for each in node.matchers.matchers})


def _values(value: str) -> Iterator[str]:
    """Patterns are no names of values."""
    return (each for each in value.split("|") if each and re.fullmatch(r"[\w-]+", each))
