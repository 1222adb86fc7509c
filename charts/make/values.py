"""The chart's values as a person reads them: each key with its default and the comment above it. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

STEP = 2
"""Blanks by which a key stands further in than the one that it belongs to."""


@dataclass(frozen=True, slots=True)
class Value:
    """One key. path: `nats.embedded.persistence.size`. comment: empty where there is none."""

    path: str
    default: Any
    comment: str
    parts: tuple["Value", ...] = field(default=())
    """The keys below it that have a comment of their own; without any, the default is documented as a whole."""

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2]


def values_of(text: str) -> tuple[Value, ...]:
    """All values of a values.yaml, in its order."""
    return tuple(_values(yaml.safe_load(text), _comments(text), ""))


def leaves(values: tuple[Value, ...]) -> Iterator[Value]:
    """Those that a person sets: without parts."""
    for value in values:
        if value.parts:
            yield from leaves(value.parts)
        else:
            yield value


def _values(body: Mapping[str, Any], comments: Mapping[str, str], above: str) -> Iterator[Value]:
    for name, default in body.items():
        path = f"{above}{name}"
        inner = tuple(_values(default, comments, f"{path}.")) if isinstance(default, dict) else ()
        documented = any(part.comment for part in inner)
        yield Value(path, default, comments.get(path, ""), inner if documented else ())


def _comments(text: str) -> dict[str, str]:
    """The comment that stands right above each key of a block mapping, by its path."""
    found: dict[str, str] = {}
    path: list[str] = []
    words: list[str] = []
    for line in text.splitlines():
        bare = line.strip()
        if bare.startswith("#"):
            words.append(bare.removeprefix("#").strip())
        elif not bare:
            words = []
        else:
            depth = (len(line) - len(line.lstrip())) // STEP
            path = [*path[:depth], bare.partition(":")[0]]
            found[".".join(path)] = " ".join(words)
            words = []
    return found
