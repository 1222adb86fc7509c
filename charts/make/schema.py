"""values.schema.json: types from the defaults, words from the comments, bounds from the table below, and the Broadcaster's
spec from its CustomResourceDefinition. Whatever is not listed in values.yaml is refused. Pure."""

import json
from typing import Any

from charts.make.values import Value
from ssecast_operator.crd import crd

Schema = dict[str, Any]

QUANTITY = r"^[0-9]+(\.[0-9]+)?(Ki|Mi|Gi|Ti|k|M|G|T)?$"
DNS_LABEL = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"


def optional(pattern: str) -> Schema:
    """A string that may be left empty."""
    return {"pattern": rf"^$|{pattern}"}


def listed(**properties: Schema) -> Schema:
    """A list of objects in which each of these is needed, and nothing else allowed."""
    return {"items": closed(properties, list(properties))}


def closed(properties: dict[str, Schema], required: list[str] | None = None) -> Schema:
    made: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return made | ({"required": required} if required else {})


NAME: Schema = {"type": "string", "minLength": 1, "maxLength": 253}
TEXTS: Schema = {"additionalProperties": {"type": "string"}}
OBJECTS: Schema = {"items": {"type": "object"}}
AMOUNTS: Schema = {"type": "object", "additionalProperties": {"type": ["string", "number"]}}
RESOURCES = closed({"requests": AMOUNTS, "limits": AMOUNTS, "claims": {"type": "array"}})
PEERS: Schema = {
    "items": closed({name: {"type": "object"} for name in ("podSelector", "namespaceSelector", "ipBlock")})
    | {"minProperties": 1}
}

BY_NAME: dict[str, Schema] = {
    "affinity": {},
    "annotations": TEXTS,
    "commonLabels": TEXTS,
    "clients": PEERS,
    "digest": optional(r"^sha256:[0-9a-f]{64}$"),
    "fullnameOverride": {"maxLength": 40} | optional(DNS_LABEL),
    "imagePullSecrets": listed(name=NAME),
    "labels": TEXTS,
    "monitoring": PEERS,
    "nameOverride": {"maxLength": 40} | optional(DNS_LABEL),
    "nodeSelector": TEXTS,
    "peers": PEERS,
    "podAnnotations": TEXTS,
    "podLabels": TEXTS,
    "pullPolicy": {"enum": ["Always", "IfNotPresent", "Never"]},
    "repository": {"minLength": 1},
    "resources": RESOURCES,
    "tag": {"maxLength": 128},
    "tolerations": OBJECTS,
}
"""What holds for every value of that name."""

BY_PATH: dict[str, Schema] = {
    "autoscaling.hpa.metric": {"minLength": 1},
    "autoscaling.mode": {"enum": ["operator", "hpa"]},
    "broadcaster.name": {"maxLength": 50} | optional(DNS_LABEL),
    "exposure.fallback.replicas": {"minimum": 1, "maximum": 20},
    "exposure.gateway.parentRefs": {"items": {"type": "object", "required": ["name"], "properties": {"name": NAME}}},
    "exposure.hosts": {"items": {"type": "string", "pattern": r"^(\*\.)?[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"}},
    "exposure.ingress.entryPoints": {"items": {"type": "string", "minLength": 1}},
    "exposure.ingress.preset": {"enum": ["", "nginx", "traefik", "haproxy"]},
    "exposure.ingress.tls": {
        "items": closed({"secretName": NAME, "hosts": {"type": "array", "items": {"type": "string"}}}, ["secretName"])
    },
    "exposure.paths": {"items": {"type": "string", "pattern": "^/[^`]*$"}},
    "exposure.type": {"enum": ["none", "gateway", "ingress"]},
    "monitoring.podMonitor.interval": {"pattern": r"^([0-9]+(ms|s|m|h))+$"},
    "nats.embedded.image.tag": {"minLength": 1},
    "nats.embedded.jetstream.maxFile": {"pattern": QUANTITY},
    "nats.embedded.jetstream.maxMemory": {"pattern": QUANTITY},
    "nats.embedded.persistence.size": {"pattern": QUANTITY},
    "nats.url": optional(r"^(nats|tls)://[^\s,]+(, *(nats|tls)://[^\s,]+)*$"),
    "networkPolicy.apiServer.ports": {
        "minItems": 1,
        "items": {"type": "integer", "minimum": 1, "maximum": 65535},
    },
    "operator.logLevel": {"enum": ["debug", "info", "warning", "error"]},
    "test.subject": {"pattern": r"^[^\s*>]*$"},
}

TYPES = {bool: "boolean", int: "integer", str: "string", list: "array", dict: "object"}


def rendered(values: tuple[Value, ...]) -> str:
    """The file."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Values of the chart ssecast",
        **_closed(values),
    }
    schema["properties"]["global"] = {"type": "object", "description": "What a parent chart says to all of its charts."}
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def spec_schema() -> Schema:
    """The Broadcaster's spec as JSON Schema."""
    structural = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return from_structural(structural)


def spec_defaults() -> dict[str, Any]:
    """What the API server fills in where the spec is silent."""
    structural = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    filled: dict[str, Any] = _filled(structural, {})
    return filled


def _closed(values: tuple[Value, ...]) -> Schema:
    return closed({value.name: _of(value) for value in values})


def _of(value: Value) -> Schema:
    words = {"description": value.comment} if value.comment else {}
    if value.parts:
        return words | _closed(value.parts)
    if value.path == "broadcaster.spec":
        return spec_schema() | words
    known = BY_PATH.get(value.path, BY_NAME.get(value.name, {}))
    return words | {"type": TYPES[type(value.default)]} | known


def from_structural(schema: Schema) -> Schema:
    """A structural schema in which nothing unknown is allowed; the API server would drop it without a word."""
    kept = {key: schema[key] for key in _KEPT if key in schema}
    if schema.get("x-kubernetes-int-or-string"):
        return {**kept, "type": ["integer", "string"]}
    if "properties" in schema:
        kept["properties"] = {name: from_structural(each) for name, each in schema["properties"].items()}
        kept["additionalProperties"] = False
    elif isinstance(schema.get("additionalProperties"), dict):
        kept["additionalProperties"] = from_structural(schema["additionalProperties"])
    if "items" in schema:
        kept["items"] = from_structural(schema["items"])
    return kept


_KEPT = (
    "description", "type", "enum", "required", "pattern", "minimum", "maximum", "minLength", "maxLength", "minItems",
    "maxItems",
)  # fmt: skip


def _filled(schema: Schema, given: Any) -> Any:
    """What is given, with the defaults of the schema where it is silent."""
    if not isinstance(given, dict) or "properties" not in schema:
        return given
    filled = dict(given)
    for name, each in schema["properties"].items():
        if name in given or "default" in each:
            filled[name] = _filled(each, given.get(name, each.get("default")))
    return filled
