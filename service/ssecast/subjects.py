"""NATS subjects and patterns: validity, matching, containment, and a trie of patterns. Pure.

A subject is tokens joined by dots. In a pattern `*` stands for one token and a final `>` for one or more.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import product, zip_longest
from typing import Generic, TypeVar

MAX_SUBJECT = 255
"""Longest subject or pattern in bytes; nats-server itself refuses lines above 4096 bytes."""

API = ("$JS", "$SYS", "_INBOX")
"""First tokens of requests to NATS, and of answers to its clients."""

T = TypeVar("T")


def problem(pattern: str, *, wildcards: bool = True) -> str | None:
    """What is wrong with a pattern (or, without wildcards, with a subject) in words; None where it is fine."""
    if not pattern:
        return "is empty"
    if any(c.isspace() or not c.isprintable() for c in pattern):
        return "contains white space or a control character"
    if "\ufffd" in pattern:
        return "contains U+FFFD, which stands for bytes that are not UTF-8"
    if len(pattern.encode()) > MAX_SUBJECT:
        return f"is longer than {MAX_SUBJECT} bytes"
    tokens = pattern.split(".")
    if "" in tokens:
        return "has an empty token (two dots, or a dot at an end)"
    if not wildcards and ("*" in pattern or ">" in pattern):
        return "contains a wildcard where one exact subject is needed"
    if any(token not in ("*", ">") and ("*" in token or ">" in token) for token in tokens):
        return "has a wildcard inside a token; `*` and `>` stand alone between dots"
    if ">" in tokens[:-1]:
        return "has `>` before its end; it may only come last"
    return None


def matches(pattern: str, subject: str) -> bool:
    """Whether a subject is one that the pattern stands for. Publishers may use `*` and `>` in it: NATS reads them as words."""
    tokens = subject.split(".")
    wanted = pattern.split(".")
    for at, token in enumerate(wanted):
        if token == ">":
            return len(tokens) > at
        if at >= len(tokens) or token not in ("*", tokens[at]):
            return False
    return len(tokens) == len(wanted)


def matcher(patterns: Iterable[str]) -> Callable[[str], object]:
    """Says of a subject whether one of the patterns stands for it: `matches` for many subjects, fifty times as fast and
    hardly slower for many patterns. To make it takes milliseconds."""
    words = {"*": "[^.]*", ">": ".*"}
    ways = [r"\.".join([words.get(token) or re.escape(token) for token in each.split(".")]) for each in patterns]
    return re.compile("|".join(ways), re.DOTALL).fullmatch


def contains(outer: str, inner: str) -> bool:
    """Whether every subject that inner stands for is one of outer's: containment, not overlap."""
    outer_tokens, inner_tokens = outer.split("."), inner.split(".")
    for at, token in enumerate(outer_tokens):
        if token == ">":
            return len(inner_tokens) > at
        if at >= len(inner_tokens) or inner_tokens[at] == ">":
            return False
        if token not in ("*", inner_tokens[at]):
            return False
    return len(outer_tokens) == len(inner_tokens)


def collide(one: str, other: str) -> bool:
    """Whether some subject matches both patterns."""
    one_tokens, other_tokens = one.split("."), other.split(".")
    for a, b in zip(one_tokens, other_tokens, strict=False):
        if ">" in (a, b):
            return True
        if a != b and "*" not in (a, b):
            return False
    return len(one_tokens) == len(other_tokens)


def covered(pattern: str, patterns: Iterable[str]) -> bool:
    """Whether one of the patterns contains the pattern."""
    return any(contains(outer, pattern) for outer in patterns)


def reserved(pattern: str, served: Iterable[str]) -> bool:
    """Whether a subject or pattern is NATS' own ($JS.API…, $SYS…, _INBOX…) and none of the served names its first token.

    A wildcard does not reach there, as in MQTT 5 (4.7.2): who serves `>` means what publishers say.
    """
    first = pattern.partition(".")[0]
    if not first.startswith("$") and first != "_INBOX":
        return False
    return not any(each.partition(".")[0] == first for each in served)


def is_api(subject: str) -> bool:
    """Whether NATS or one of its clients acts on what is published there."""
    return subject.partition(".")[0] in API


def intersection(one: str, other: str) -> str | None:
    """The pattern of all subjects that match both patterns; None where there is none."""
    tokens: list[str] = []
    for a, b in zip_longest(one.split("."), other.split(".")):
        if a is None or b is None:
            return None
        if ">" in (a, b):
            narrow = other if a == ">" else one
            return ".".join([*tokens, *narrow.split(".")[len(tokens) :]])
        if a != b and "*" not in (a, b):
            return None
        tokens.append(b if a == "*" else a)
    return ".".join(tokens)


def common(some: Iterable[str], others: Iterable[str]) -> tuple[str, ...]:
    """Patterns for the subjects that match one of some and one of the others, reduced."""
    pairs = (intersection(one, other) for one, other in product(some, others))
    return reduce(pattern for pattern in pairs if pattern is not None)


def reduce(patterns: Iterable[str]) -> tuple[str, ...]:
    """The patterns without those that another one contains, sorted: one spelling for one set of subjects."""
    unique = sorted(set(patterns))
    return tuple(p for p in unique if not covered(p, (q for q in unique if q != p)))


class _Node(Generic[T]):
    __slots__ = ("children", "values")

    def __init__(self) -> None:
        self.children: dict[str, _Node[T]] = {}
        self.values: set[T] = set()


class SubjectTrie(Generic[T]):
    """Patterns with their values; one subject costs what its matching patterns cost, not all patterns."""

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()

    def add(self, pattern: str, value: T) -> None:
        node = self._root
        for token in pattern.split("."):
            node = node.children.setdefault(token, _Node())
        node.values.add(value)

    def remove(self, pattern: str, value: T) -> None:
        """Takes one value back and drops the branches that hold nothing more.

        Raises KeyError where the pattern does not hold the value.
        """
        path = [self._root]
        tokens = pattern.split(".")
        for token in tokens:
            path.append(path[-1].children[token])
        path[-1].values.remove(value)
        for token, parent, node in zip(reversed(tokens), reversed(path[:-1]), reversed(path[1:]), strict=True):
            if node.values or node.children:
                break
            del parent.children[token]

    def match(self, subject: str) -> set[T]:
        """The values of every pattern that stands for the subject."""
        found: set[T] = set()
        nodes = [self._root]
        for token in subject.split("."):
            ahead: list[_Node[T]] = []
            for node in nodes:
                for way in (token, "*"):
                    child = node.children.get(way)
                    if child is not None:
                        ahead.append(child)
                rest = node.children.get(">")
                if rest is not None:
                    found |= rest.values
            if not ahead:
                return found
            nodes = ahead
        for node in nodes:
            found |= node.values
        return found

    def __iter__(self) -> Iterator[T]:
        waiting = [self._root]
        while waiting:
            node = waiting.pop()
            yield from node.values
            waiting.extend(node.children.values())
