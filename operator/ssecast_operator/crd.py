"""The CustomResourceDefinition, made from the typed spec and status: the chart ships it, the operator applies it. Pure."""

from typing import Any

import yaml
from pydantic import BaseModel

from ssecast_operator.broadcaster import GROUP, KIND, PLURAL, VERSION
from ssecast_operator.spec import Spec
from ssecast_operator.status import Status
from ssecast_operator.wire import SETTING, validations

HEADER = "# Made from operator/ssecast_operator by `make crd`; do not edit.\n"
NAME_MAX = 50
"""Names of what belongs to a Broadcaster begin with its own and must fit into 63 characters."""

Schema = dict[str, Any]

FIRST = ("description", "type", "format", "default", "enum", "required", "properties", "items")
"""The order in which a person wants to read a schema; the rest comes after."""

COLUMNS = (
    ("Desired", "integer", ".status.autoscaler.desired", "Pods that were decided on"),
    ("Ready", "integer", ".status.readyReplicas", "Pods that are ready"),
    ("Streams", "integer", ".status.streams", "Open streams"),
    ("Reason", "string", ".status.autoscaler.reason", "Why so many pods"),
    ("Age", "date", ".metadata.creationTimestamp", "Since when it exists"),
)

RULES = (
    (
        f"self.metadata.name.size() <= {NAME_MAX}",
        f"the name must have at most {NAME_MAX} characters: names of Services and pods are made from it",
    ),
    (
        "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        "the name must begin with a letter and have only lower-case letters, digits and hyphens: Services are named after it",
    ),
)


def crd() -> dict[str, Any]:
    """The whole object."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["bc"],
                "categories": ["all"],
            },
            "scope": "Namespaced",
            "versions": [_version()],
        },
    }


def rendered() -> str:
    """The object as YAML, as it stands in the chart."""
    return HEADER + yaml.dump(crd(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


class _Dumper(yaml.SafeDumper):
    """Says the same thing twice where it stands twice: people read it, and not every tool knows anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _version() -> dict[str, Any]:
    return {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": _object()},
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
        "additionalPrinterColumns": [
            {"name": name, "type": type_, "jsonPath": path, "description": description}
            for name, type_, path, description in COLUMNS
        ],
    }


def _object() -> Schema:
    return {
        "type": "object",
        "description": "Broadcasts what is published on NATS subjects to browsers, by a fleet of pods.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": structural(Spec),
            "status": structural(Status),
        },
        "x-kubernetes-validations": validations(RULES),
    }


def structural(model: type[BaseModel]) -> Schema:
    """A model as a structural schema: nothing referred to, nothing nullable, defaults that reach into objects."""
    schema = model.model_json_schema(by_alias=True)
    return _resolved(schema, schema.get("$defs", {}))


def _resolved(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    """What a schema says, with what it refers to put in its place; what is said beside a reference wins."""
    schema = _without_null(schema)
    if "$ref" in schema:
        referred = _resolved(definitions[schema["$ref"].rsplit("/", 1)[1]], definitions)
        schema = referred | {key: value for key, value in schema.items() if key != "$ref"}
    kept = {key: value for key, value in schema.items() if key not in ("$defs", "title", SETTING)}
    if "properties" in kept:
        kept["properties"] = {name: _resolved(each, definitions) for name, each in kept["properties"].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(kept.get(key), dict):
            kept[key] = _resolved(kept[key], definitions)
    return _in_dialect(kept)


def _without_null(schema: Schema) -> Schema:
    """`X or nothing` is X: what is left out is not there, and null is nothing that anybody should write."""
    choices = [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]
    if len(choices) != 1:
        return schema
    rest = {key: value for key, value in schema.items() if key != "anyOf" and (key, value) != ("default", None)}
    return {**choices[0], **rest}


def _default(schema: Schema) -> Schema:
    """An empty object, which the API server fills with the defaults of its fields.

    Where there are rules it must be whole: the API server holds the default itself against them, before it fills it.
    """
    whole = {name: each["default"] for name, each in schema["properties"].items() if "default" in each}
    return whole if _has_rules(schema) else {}


def _has_rules(schema: Schema) -> bool:
    return "x-kubernetes-validations" in schema or any(
        _has_rules(each) for each in schema.get("properties", {}).values()
    )


def _in_dialect(schema: Schema) -> Schema:
    """What JSON Schema says as the API server wants it said."""
    if "default" in schema and "properties" in schema:
        schema["default"] = _default(schema)
    elif schema.get("default") in ([], {}):
        del schema["default"]
    if schema.get("type") == "integer":
        schema["format"] = "int32" if schema.get("maximum", 2**31) < 2**31 else "int64"
    return {
        key: schema[key] for key in sorted(schema, key=lambda key: FIRST.index(key) if key in FIRST else len(FIRST))
    }
