"""`python -m charts.make chart` and `python -m charts.make k8s`."""

import sys
from collections.abc import Callable
from pathlib import Path

from charts.make import generated, manifests, readme, schema
from charts.make.engine import CHART
from charts.make.values import values_of

K8S = Path(__file__).parents[2] / "k8s"


def chart_files() -> dict[str, str]:
    """Text by name of everything in the chart that is made from something else."""
    values = values_of((CHART / "values.yaml").read_text())
    return {
        "values.schema.json": schema.rendered(values),
        "files/generated.yaml": generated.rendered(values),
        "README.md": readme.rendered((CHART / "README.md").read_text(), values),
    }


def chart() -> None:
    for name, text in chart_files().items():
        (CHART / name).write_text(text)


def k8s() -> None:
    manifests.write(K8S)


WHAT: dict[str, Callable[[], None]] = {"chart": chart, "k8s": k8s}

if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in WHAT:
        sys.exit(f"usage: python -m charts.make {'|'.join(WHAT)}")
    WHAT[sys.argv[1]]()
