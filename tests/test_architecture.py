"""What the import contracts in pyproject.toml cannot see; `make check` runs those."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {"ssecast": ROOT / "service", "ssecast_operator": ROOT / "operator"}
"""Where each package stands, beside its README."""

CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
PURE_ROOMS = [name for contract in CONTRACTS for name in contract.get("source_modules", [])]
CLOCKS = {"datetime.now", "datetime.today", "datetime.utcnow", "date.today"}

of_each_package = pytest.mark.parametrize("package", FOLDERS)


def tree(package: str, room: str) -> ast.Module:
    return ast.parse((FOLDERS[package] / package / f"{room}.py").read_text())


def imported(package: str, room: str) -> set[str]:
    """The rooms that a room imports."""
    nodes = ast.walk(tree(package, room))
    modules = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return {module.removeprefix(f"{package}.") for module in modules if module.startswith(f"{package}.")}


def rooms(package: str) -> set[str]:
    return {path.stem for path in (FOLDERS[package] / package).glob("*.py")} - {"__init__"}


def reading_order(package: str) -> list[str]:
    """The rooms in the order of the table in the README; a row may hold several."""
    text = (FOLDERS[package] / "README.md").read_text().partition("## Rooms, in reading order")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.+?`) \|", text, re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    return [name for name in named if name in rooms(package)]


@pytest.mark.parametrize("room", PURE_ROOMS)
def test_a_pure_room_asks_no_clock(room: str) -> None:
    """An import contract lets `datetime` in, for its values, and with it `datetime.now`."""
    nodes = ast.walk(tree(*room.split(".")))
    assert not [node.lineno for node in nodes if isinstance(node, ast.Attribute) and ast.unparse(node) in CLOCKS]


@of_each_package
def test_the_reading_order_names_every_room_once(package: str) -> None:
    assert sorted(reading_order(package)) == sorted(rooms(package))


@of_each_package
def test_whoever_reads_in_order_meets_no_room_before_what_it_imports(package: str) -> None:
    order = reading_order(package)
    early = {room: imported(package, room) - set(order[:place]) for place, room in enumerate(order)}
    assert not {room: missing for room, missing in early.items() if missing}
