"""What the import contracts in pyproject.toml cannot see; `make check` runs those."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "service" / "ssecast"
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
PURE_ROOMS = [name for contract in CONTRACTS for name in contract.get("source_modules", [])]
CLOCKS = {"datetime.now", "datetime.today", "datetime.utcnow", "date.today"}


def tree(room: str) -> ast.Module:
    return ast.parse((PACKAGE / f"{room}.py").read_text())


def imported(room: str) -> set[str]:
    """The rooms that a room imports."""
    modules = {node.module for node in ast.walk(tree(room)) if isinstance(node, ast.ImportFrom) and node.module}
    return {module.removeprefix("ssecast.") for module in modules if module.startswith("ssecast.")}


def reading_order() -> list[str]:
    """The rooms in the order of the table in service/README.md; a row may hold several."""
    rows = re.findall(r"^\| (`.+?`) \|", (ROOT / "service" / "README.md").read_text(), re.MULTILINE)
    rooms = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    return [name for name in rooms if (PACKAGE / f"{name}.py").exists()]


@pytest.mark.parametrize("room", PURE_ROOMS)
def test_a_pure_room_asks_no_clock(room: str) -> None:
    """An import contract lets `datetime` in, for its values, and with it `datetime.now`."""
    nodes = ast.walk(tree(room.removeprefix("ssecast.")))
    assert not [node.lineno for node in nodes if isinstance(node, ast.Attribute) and ast.unparse(node) in CLOCKS]


def test_the_reading_order_names_every_room_once() -> None:
    rooms = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    assert sorted(reading_order()) == sorted(rooms)


def test_whoever_reads_in_order_meets_no_room_before_what_it_imports() -> None:
    order = reading_order()
    early = {room: imported(room) - set(order[:place]) for place, room in enumerate(order)}
    assert not {room: missing for room, missing in early.items() if missing}
