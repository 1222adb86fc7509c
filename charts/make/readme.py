"""The table of values in the chart's README, made from values.yaml. Pure."""

import json
from typing import Any

from charts.make.values import Value, leaves

BEGIN, END = "<!-- values: made by `make chart` from values.yaml -->\n", "<!-- end of values -->\n"


def rendered(readme: str, values: tuple[Value, ...]) -> str:
    """The README with its tables made anew."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    single = tuple(value for value in values if not value.parts)
    sections = [_section("For all", single), *(_section(value.name, (value,)) for value in values if value.parts)]
    return before + BEGIN + "\n" + "\n".join(sections) + END + after


def _section(title: str, values: tuple[Value, ...]) -> str:
    rows = [f"| `{each.path}` | {_shown(each.default)} | {_cell(each.comment)} |" for each in leaves(values)]
    notes = [f"`{each.path}`: {each.comment}\n" for value in values for each in _groups(value)]
    head = ["| value | default | meaning |", "| --- | --- | --- |"]
    return "\n".join([f"### {title}\n", *notes, *head, *rows, ""])


def _groups(value: Value) -> list[Value]:
    """Those with parts, whose comments no row would tell."""
    return [value, *(each for part in value.parts for each in _groups(part))] if value.parts else []


def _shown(default: Any) -> str:
    return f"`{json.dumps(default, ensure_ascii=False)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
