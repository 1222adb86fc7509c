"""crd.py: the definition is made from the typed spec, and is what an API server takes for structural.

tests/cluster asks a real one.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import Field
from typer.testing import CliRunner

from ssecast_operator.__main__ import app
from ssecast_operator.crd import crd, rendered, structural
from ssecast_operator.wire import Model, of, ruled

CHART = Path(__file__).parents[3] / "charts" / "ssecast" / "crds" / "broadcasters.yaml"

VERSION = crd()["spec"]["versions"][0]
SCHEMA = VERSION["schema"]["openAPIV3Schema"]


def every(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Each schema within, with where it stands."""
    yield path, schema
    for name, each in schema.get("properties", {}).items():
        yield from every(each, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from every(schema[key], f"{path}[]")


SCHEMAS = dict(every(SCHEMA))


def test_the_chart_ships_what_the_operator_applies() -> None:
    assert CHART.read_text() == rendered(), "make crd"
    assert yaml.safe_load(CHART.read_text()) == crd()


def test_the_command_prints_it() -> None:
    done = CliRunner().invoke(app, ["crd"])
    assert (done.exit_code, done.stdout) == (0, rendered())


def test_its_names() -> None:
    names = crd()["spec"]["names"]
    assert crd()["metadata"]["name"] == "broadcasters.ssecast.dev"
    assert (names["kind"], names["plural"], names["shortNames"], names["categories"]) == (
        "Broadcaster",
        "broadcasters",
        ["bc"],
        ["all"],
    )
    assert (crd()["spec"]["scope"], VERSION["name"]) == ("Namespaced", "v1alpha1")


def test_its_subresources_point_at_what_is_there() -> None:
    scale = VERSION["subresources"]["scale"]
    assert set(VERSION["subresources"]) == {"status", "scale"}
    assert {path: SCHEMAS[path]["type"] for path in scale.values()} == {
        ".spec.replicas": "integer",
        ".status.replicas": "integer",
        ".status.selector": "string",
    }


def test_its_columns_point_at_what_is_there() -> None:
    columns = VERSION["additionalPrinterColumns"]
    assert [column["name"] for column in columns] == ["Desired", "Ready", "Streams", "Reason", "Age"]
    shown = {column["jsonPath"]: column["type"] for column in columns}
    assert shown.pop(".metadata.creationTimestamp") == "date"
    assert {path: SCHEMAS[path]["type"] for path in shown} == shown


@pytest.mark.parametrize("path", [path for path in SCHEMAS if path.startswith(".spec")])
def test_a_schema_is_structural(path: str) -> None:
    """A type, and no word that the API server does not know."""
    schema = SCHEMAS[path]
    known = {
        "description",
        "type",
        "format",
        "default",
        "enum",
        "required",
        "properties",
        "items",
        "additionalProperties",
    }
    bounds = {"minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "pattern"}
    assert set(schema) <= known | bounds | {key for key in schema if key.startswith("x-kubernetes-")}
    assert ("type" in schema) is not ("x-kubernetes-int-or-string" in schema)


@pytest.mark.parametrize("path", [path for path in SCHEMAS if path.startswith(".spec") and not path.endswith("[]")])
def test_a_field_is_described(path: str) -> None:
    assert SCHEMAS[path]["description"].endswith(".")


@pytest.mark.parametrize(
    "path", [path for path, each in SCHEMAS.items() if each.get("type") == "array" and "spec" in path]
)
def test_lists_are_bounded(path: str) -> None:
    """What a rule costs is reckoned with the longest list; without a bound none would be allowed."""
    assert SCHEMAS[path]["maxItems"] <= 64


def test_rules_have_messages_that_a_person_understands() -> None:
    rules = [rule for each in SCHEMAS.values() for rule in each.get("x-kubernetes-validations", [])]
    assert len(rules) >= 15
    for rule in rules:
        assert len(rule["message"]) > 20
        assert "self." not in rule["message"]


def test_a_default_with_rules_inside_is_whole() -> None:
    """The API server holds it against them before it fills it."""
    assert SCHEMAS[".spec.scaling"]["default"]["streamsPerPod"] == {"target": 6000, "limit": 10_000}
    assert SCHEMAS[".spec.drain"]["default"] == {}


class Inner(Model):
    """Inside."""

    model_config = ruled(("self.low <= self.high", "low must not exceed high", ".low"))

    low: int = of(1, "Low.", ge=0, le=9)
    high: int = of(2, "High.", ge=0, le=2**40)


class Outer(Model):
    """Outside."""

    given: Inner = of(Inner(), "Always there.")
    maybe: Inner | None = of(None, "Perhaps.")
    either: int | str = of(..., "One or the other.")
    untold: dict[str, str] = Field(default_factory=dict)


def test_how_a_model_becomes_a_schema() -> None:
    """References are resolved, what may be missing is not nullable, and what a field says wins over its type."""
    inner = {
        "type": "object",
        "properties": {
            "low": {
                "description": "Low.",
                "type": "integer",
                "format": "int32",
                "default": 1,
                "minimum": 0,
                "maximum": 9,
            },
            "high": {
                "description": "High.",
                "type": "integer",
                "format": "int64",
                "default": 2,
                "minimum": 0,
                "maximum": 2**40,
            },
        },
        "x-kubernetes-validations": [
            {"rule": "self.low <= self.high", "message": "low must not exceed high", "fieldPath": ".low"}
        ],
    }
    assert structural(Outer) == {
        "description": "Outside.",
        "type": "object",
        "required": ["either"],
        "properties": {
            "given": inner | {"description": "Always there.", "default": {"low": 1, "high": 2}},
            "maybe": inner | {"description": "Perhaps."},
            "either": {"description": "One or the other.", "anyOf": [{"type": "integer"}, {"type": "string"}]},
            "untold": {"type": "object", "additionalProperties": {"type": "string"}},
        },
    }
