"""The pages for people who run ssecast, and the commands that these tell them to type, as they stand there."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]

PAGES = (
    "README.md",
    "charts/ssecast/README.md",
    "k8s/README.md",
    *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md")),
)
"""Of the first one only what is about Kubernetes; the rest of it is for who develops, and has tests of its own."""

PROGRAMS = ("curl", "helm", "kind", "kubectl", "nats", "pip", "ssecast", "ssecast-operator")
FENCED = re.compile(r"^[ \d.*-]*```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
IN_PROSE = re.compile(rf"`((?:{'|'.join(PROGRAMS)})\s[^`]+)`")


class Command(NamedTuple):
    """text: as the shell gets it."""

    page: str
    text: str

    @property
    def bare(self) -> str:
        """Without what is said to the reader behind it, and with single spaces."""
        return " ".join(re.sub(r"\s#\s.*", "", self.text).split())

    @property
    def needs(self) -> str:
        """What it needs that not every machine has, as the page says behind it: `# needs a cloud`. Empty: nothing."""
        said = re.search(r"\s# needs (\S.*)", self.text)
        return said[1] if said else ""

    @property
    def program(self) -> str:
        return self.text.split()[0]


Step = tuple[Command, ...]
"""What is typed one after the other: a block, or one command in the prose."""


def text_of(page: str) -> str:
    text = (ROOT / page).read_text()
    return text.partition("\n## On Kubernetes\n")[2].partition("\n## ")[0] if page == "README.md" else text


def languages(text: str) -> set[str]:
    return {language for language, _ in FENCED.findall(text)}


def blocks(page: str, text: str) -> Iterator[Step]:
    """A command whose line ends in a backslash goes on in the next one."""
    for language, body in FENCED.findall(text):
        if language == "sh":
            lines = [line.strip() for line in body.replace("\\\n", "").splitlines()]
            yield tuple(Command(page, line) for line in lines if line and not line.startswith("#"))


def in_prose(page: str, text: str) -> Iterator[Command]:
    """Each once."""
    found = (" ".join(command.split()) for command in IN_PROSE.findall(FENCED.sub("", text)))
    return (Command(page, command) for command in dict.fromkeys(found))


def steps(page: str) -> Iterator[Step]:
    """Everything that a page tells people to type."""
    text = text_of(page)
    yield from blocks(page, text)
    yield from ((command,) for command in in_prose(page, text))


def step(page: str, begins: str) -> Step:
    """The one block that begins so, or the command in the prose that is just this. Raises LookupError."""
    text = text_of(page)
    found = [block for block in blocks(page, text) if block[0].text.startswith(begins)]
    found += [(command,) for command in in_prose(page, text) if command.text == begins]
    if len(found) != 1:
        raise LookupError(f"{page} has {len(found)} blocks or commands that begin with {begins!r}")
    return found[0]


def commands() -> Iterator[Command]:
    for page in PAGES:
        for each in steps(page):
            yield from each
