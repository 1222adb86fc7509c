"""A Broadcaster from a file, refused as the API server would refuse it: in the same words, with file and line. Pure.

The API server checks the schema, which is made from the typed spec, and CEL rules. What those say is said once more here, for
Python; a test holds both together, so that no rule is forgotten.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

import yaml
from pydantic import ValidationError

from ssecast_operator.broadcaster import KIND, Pause, pause_of, sentence_of
from ssecast_operator.budget import budget_of
from ssecast_operator.crd import Schema, structural
from ssecast_operator.decide import RUNNING
from ssecast_operator.spec import RESERVED_ENV, Spec

Path = tuple[str | int, ...]


class PolicyError(ValueError):
    """A file that cannot be used: one sentence with file, line and what is expected."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A spec, what it is called, and which ways annotations bar."""

    name: str
    spec: Spec
    pause: Pause = RUNNING


def read_policy(text: str, file: str) -> Policy:
    """The first Broadcaster of a YAML file. Raises PolicyError."""
    try:
        roots = list(yaml.compose_all(text, yaml.SafeLoader))
        bodies = list(yaml.safe_load_all(text))
    except yaml.MarkedYAMLError as wrong:
        line = wrong.problem_mark.line + 1 if wrong.problem_mark else 1
        raise PolicyError(f"{file}, line {line}: {wrong.problem}; expected is a {KIND} in YAML") from None
    for root, body in zip(roots, bodies, strict=True):
        if isinstance(body, Mapping) and body.get("kind") == KIND:
            return Policy(_name(body, file), _checked(root, body, file), _pause(root, body, file))
    raise PolicyError(f"{file}, line 1: there is no {KIND}; expected is an object with kind: {KIND}")


def _name(body: Mapping[str, Any], file: str) -> str:
    metadata = body.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    return name if isinstance(name, str) else file


def _pause(root: yaml.Node, body: Mapping[str, Any], file: str) -> Pause:
    """Kubernetes takes text for an annotation and nothing else; a bare true is none."""
    metadata = body.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, Mapping) else None
    if not isinstance(annotations, Mapping):
        return RUNNING
    for name, value in annotations.items():
        if not isinstance(value, str):
            line = line_of(root, ("metadata", "annotations", name))
            raise PolicyError(f"{file}, line {line}: the annotation {name} is {value!r}; expected is text, in quotes")
    return pause_of(annotations)


def _checked(root: yaml.Node, body: Mapping[str, Any], file: str) -> Spec:
    given = body.get("spec")
    if not isinstance(given, Mapping):
        raise PolicyError(f"{file}, line {line_of(root, ('spec',))}: spec is missing; expected is an object")
    schema = structural(Spec)
    for path in unknown_fields(given, schema):
        shown = ".".join(str(part) for part in ("spec", *path))
        raise PolicyError(
            f"{file}, line {line_of(root, ('spec', *path))}: unknown field {shown}; expected is one of {_known(schema, path)}"
        )
    try:
        spec = Spec.model_validate(given)
    except ValidationError as wrong:
        first = wrong.errors()[0]
        raise PolicyError(f"{file}, line {line_of(root, ('spec', *first['loc']))}: {sentence_of(first)}") from None
    for path, message in rules(schema):
        holds = HOLDS.get(message)
        if holds is not None and not holds(spec):
            shown = ".".join(str(part) for part in ("spec", *path))
            raise PolicyError(f"{file}, line {line_of(root, ('spec', *path))}: {shown}: {message}.")
    return spec


def line_of(root: yaml.Node | None, path: Path) -> int:
    """The line of the field, or of the innermost one around it that stands in the file."""
    node, line = root, 1
    for part in path:
        found = None
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == part), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            found = (node.value[part], node.value[part])
        if found is None:
            break
        line, node = found[0].start_mark.line + 1, found[1]
    return line


def unknown_fields(given: Any, schema: Schema, path: Path = ()) -> Iterator[Path]:
    """Fields that the definition does not have: the API server drops them, and kubectl refuses them."""
    if isinstance(given, Mapping) and "properties" in schema:
        for name, value in given.items():
            if name not in schema["properties"]:
                yield (*path, str(name))
            else:
                yield from unknown_fields(value, schema["properties"][name], (*path, name))
    elif isinstance(given, list) and "items" in schema:
        for at, value in enumerate(given):
            yield from unknown_fields(value, schema["items"], (*path, at))


def _known(schema: Schema, path: Path) -> str:
    for part in path[:-1]:
        schema = schema["items"] if isinstance(part, int) else schema["properties"][part]
    return ", ".join(schema["properties"])


# Rules


def rules(schema: Schema, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """The field that is blamed, and the message, of every CEL rule about one object; those about changes are left out."""
    for rule in schema.get("x-kubernetes-validations", ()):
        if "oldSelf" not in rule["rule"]:
            blamed = tuple(part for part in rule.get("fieldPath", "").split(".") if part)
            yield (*path, *blamed), rule["message"]
    for name, each in schema.get("properties", {}).items():
        yield from rules(each, (*path, name))
    if isinstance(schema.get("items"), Mapping):
        yield from rules(schema["items"], path)


def _kept_long_enough(spec: Spec) -> bool:
    """In whole seconds, as CEL reckons."""
    budget = budget_of(spec)
    drain = int(budget.limit / budget.per_second) + 1
    window = max(spec.drain.window_seconds, drain)
    return spec.nats.stream.name == "" or int(spec.nats.stream.max_age) > drain + int(budget.retry) + window


def _drainable(spec: Spec) -> bool:
    return ceil(budget_of(spec).seconds_for(spec.scaling.streams_per_pod.limit)) <= 3600


HOLDS: dict[str, Callable[[Spec], bool]] = {
    message: holds
    for beginning, holds in {
        "nats.stream.maxAge must exceed": _kept_long_enough,
        "auth.cookie needs origins": lambda spec: (
            not (spec.auth and spec.auth.cookie and "*" in spec.cors.origins) if spec.cors else True
        ),
        "maxBytes must be at least": lambda spec: spec.nats.stream.max_bytes >= 2**20,
        "minReplicas must not": lambda spec: spec.scaling.min_replicas <= spec.scaling.max_replicas,
        "fallback.replicas must not": lambda spec: (
            not spec.scaling.fallback or spec.scaling.fallback.replicas <= spec.scaling.max_replicas
        ),
        "burst is more": lambda spec: (
            spec.scaling.burst <= spec.scaling.max_replicas * spec.scaling.streams_per_pod.target
        ),
        "maxReconnectsPerSecond is so low": _drainable,
        "target must not exceed limit": lambda spec: (
            spec.scaling.streams_per_pod.target <= spec.scaling.streams_per_pod.limit
        ),
        "heartbeatSeconds must be less": lambda spec: (
            spec.stream.max_age_seconds == 0 or spec.stream.heartbeat_seconds < spec.stream.max_age_seconds
        ),
        "maxPayload must be": lambda spec: 1 <= spec.stream.max_payload <= 64 * 2**20,
        "exactly one of keySecret": lambda spec: (
            not spec.auth or (spec.auth.key_secret is None) != (spec.auth.jwks_url is None)
        ),
        "HS algorithms need": lambda spec: (
            not (spec.auth and spec.auth.jwks_url and any(each.startswith("HS") for each in spec.auth.algorithms))
        ),
        "query must not be": lambda spec: (
            not spec.auth
            or spec.auth.query not in ("subject", "interval", "latest", "format", "last_event_id", "lastEventId")
        ),
        "'*' allows every origin": lambda spec: (
            not spec.cors or "*" not in spec.cors.origins or len(spec.cors.origins) == 1
        ),
        "this variable is the operator's": lambda spec: (
            not any(each.name in RESERVED_ENV for each in spec.pod_template.env)
        ),
    }.items()
    for message in {message for _, message in rules(structural(Spec)) if message.startswith(beginning)}
}
"""By message. Beginnings are enough to name a rule; the sentence itself stands in the spec."""
