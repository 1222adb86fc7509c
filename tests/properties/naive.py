"""The words of NATS about subjects, as slow and as obvious as can be: what the fast code is held against."""

from collections.abc import Iterable, Iterator
from itertools import product


def matches(pattern: list[str], subject: list[str]) -> bool:
    """`*` stands for one token, a final `>` for one or more."""
    if not pattern or not subject:
        return pattern == subject
    if pattern == [">"]:
        return True
    return pattern[0] in ("*", subject[0]) and matches(pattern[1:], subject[1:])


def fits(patterns: Iterable[str], subject: str) -> bool:
    return any(matches(pattern.split("."), subject.split(".")) for pattern in patterns)


def paths(tokens: Iterable[str], longest: int) -> Iterator[str]:
    """Every path of up to `longest` of the tokens."""
    letters = tuple(tokens)
    for length in range(1, longest + 1):
        yield from (".".join(path) for path in product(letters, repeat=length))


SUBJECTS = tuple(paths("abz", 4))
"""One token more and one letter (z, which stands for every other word) more than the patterns have: enough to tell any
two of them apart."""

PATTERNS = tuple(p for p in paths(("a", "b", "*", ">"), 3) if ">" not in p[:-1])
"""Every valid pattern of up to three tokens over two words."""
