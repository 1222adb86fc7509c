"""What a dashboard asks Prometheus, panel by panel."""

from collections.abc import Iterator
from typing import Any, NamedTuple

CALM = {
    "autoscaler: Rounds that ended early, by reason",
    "rollouts: Streams on draining pods",
}
"""What shows nothing while all is well; Prometheus understands it all the same."""


class Shown(NamedTuple):
    panel: str
    exprs: list[str]


def shown(name: str, body: dict[str, Any]) -> Iterator[Shown]:
    """Of one dashboard."""
    for panel in body["panels"]:
        if panel["type"] != "row":
            yield Shown(f"{name}: {panel['title']}", [target["expr"] for target in panel["targets"]])
