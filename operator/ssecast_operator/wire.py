"""What the models of a Broadcaster have in common: camelCase in the cluster, frozen here, and words for the schema."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

from ssecast_operator.quantities import DURATION_PATTERN, SIZE_PATTERN, seconds, size

SETTING = "setting"
"""Key of the schema under which a field names the pod's setting that it becomes; the CRD leaves it out."""


class Model(BaseModel):
    """A part of the object. What it does not know is ignored: a newer CRD may be in the cluster than this operator."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", validate_default=True, alias_generator=to_camel, populate_by_name=True
    )


def of(
    default: Any,
    description: str,
    *,
    ge: float | None = None,
    le: float | None = None,
    min_length: int | None = None,
    max_length: int | None = None,
    pattern: str | None = None,
    setting: str | None = None,
    schema: dict[str, Any] | None = None,
) -> Any:
    """A field with its description; `...` as default: it must be given. schema: more words for the CRD's schema."""
    extra = (schema or {}) | ({SETTING: setting} if setting else {})
    return Field(
        default,
        description=description,
        ge=ge,
        le=le,
        min_length=min_length,
        max_length=max_length,
        pattern=pattern,
        json_schema_extra=extra or None,
    )


SET: dict[str, Any] = {"x-kubernetes-list-type": "set"}
"""Schema of a list in which nothing stands twice."""


def keyed(key: str) -> dict[str, Any]:
    """Schema of a list of objects with a field that names each; server-side apply merges it by that."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}


Rule = tuple[str, str] | tuple[str, str, str]
"""A CEL rule: expression, message, and the field that is blamed where it is not the whole object."""


def ruled(*rules: Rule) -> ConfigDict:
    """The configuration of a model with CEL rules. The API server checks them, we do not."""
    return ConfigDict(json_schema_extra={"x-kubernetes-validations": validations(rules)})


def validations(rules: Sequence[Rule]) -> list[Any]:
    """CEL rules as the schema wants them."""
    return [dict(zip(("rule", "message", "fieldPath"), rule, strict=False)) for rule in rules]


Seconds = Annotated[
    float, BeforeValidator(seconds), WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN, "maxLength": 32})
]
"""A duration; `10m` in the cluster, seconds here."""

Bytes = Annotated[
    int,
    BeforeValidator(size),
    WithJsonSchema({"x-kubernetes-int-or-string": True, "pattern": SIZE_PATTERN, "maxLength": 24}),
]
"""A size; `1Gi` in the cluster, bytes here."""

Open = Annotated[dict[str, Any], WithJsonSchema({"type": "object", "x-kubernetes-preserve-unknown-fields": True})]
"""Kubernetes' own type, passed on as it is."""

Time = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
"""A point in time, RFC 3339."""
