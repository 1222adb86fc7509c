"""The runbooks as texts: their commands and their queries."""

import re

from tests.monitoring.rules import ROOT

FOLDER = ROOT / "docs" / "runbooks"


def page(name: str) -> str:
    return (FOLDER / f"{name}.md").read_text()


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def queries(text: str) -> list[str]:
    """One per line, so that it can be copied."""
    return [line for block in blocks(text, "promql") for line in block.splitlines()]


def named(text: str) -> set[str]:
    """Metrics that the prose names."""
    return set(re.findall(r"`(ssecast_\w+)`", text))
