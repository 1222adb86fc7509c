"""What the pages say is there, and what they show can be installed."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from charts.make.engine import CHART, objects
from charts.make.values import Value, values_of
from ssecast_operator.broadcaster import parse
from ssecast_operator.budget import budget_of
from ssecast_operator.children import grace_period
from ssecast_operator.crd import crd
from tests.chart.parts import APIS

ROOT = Path(__file__).parents[2]
PAGES = sorted([*(ROOT / "docs").glob("*.md"), CHART / "README.md", ROOT / "k8s" / "README.md"])
VALUES = values_of((CHART / "values.yaml").read_text())
NAMES = tuple(value.name for value in VALUES)

of_each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def headings(page: Path) -> set[str]:
    """As GitHub makes anchors of them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@of_each_page
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in headings(target), link


def test_the_index_names_every_page() -> None:
    linked = set(re.findall(r"\]\(([\w-]+\.md)", (ROOT / "docs" / "README.md").read_text()))
    assert linked == {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}


def shown() -> Iterator[Any]:
    for page in PAGES:
        for number, block in enumerate(re.findall(r"```yaml\n *# values\n(.+?)```", page.read_text(), re.DOTALL)):
            yield pytest.param(yaml.safe_load(block), id=f"{page.name}-{number}")


@pytest.mark.parametrize("values", [*shown()])
def test_values_that_a_page_shows_can_be_installed(values: dict[str, Any]) -> None:
    assert list(objects(values, apis=APIS))


def test_there_are_values_to_try() -> None:
    assert len(list(shown())) >= 8


@of_each_page
def test_values_that_a_page_names_are_there(page: Path) -> None:
    """`exposure.type`, `broadcaster.spec.scaling.burst`, `nats.embedded.persistence.*`."""
    text = page.read_text()
    named = set(re.findall(rf"`((?:{'|'.join(NAMES)})\.[A-Za-z.]+?)(?:[.=:][^`A-Za-z][^`]*|=[^`]*)?`", text))
    assert not {path for path in named if not (path.endswith(".yaml") or _value(VALUES, path) or _field(path))}


def _value(values: tuple[Value, ...], path: str) -> bool:
    """Whether values.yaml has it, or a part of what it documents as a whole."""
    for value in values:
        below = path.removeprefix(f"{value.path}.")
        if path == value.path or (isinstance(value.default, dict) and below in value.default):
            return True
        if below != path:
            return _value(value.parts, path)
    return False


def _field(path: str) -> bool:
    """Whether the Broadcaster's spec has it: pages shorten `broadcaster.spec.nats.stream` to `nats.stream`."""
    schema = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    for name in path.removeprefix("broadcaster.spec.").split("."):
        if name not in schema.get("properties", {}):
            return False
        schema = schema["properties"][name]
    return True


def test_conditions_and_reasons_are_those_of_the_operator() -> None:
    text = (ROOT / "docs" / "troubleshooting.md").read_text()
    code = "\n".join(path.read_text() for path in (ROOT / "operator" / "ssecast_operator").glob("*.py"))
    for condition, reason in re.findall(r"`(\w+)=(?:True|False)`(?: `(\w+)`)?", text):
        assert f'"{condition}"' in code
        assert not reason or f'"{reason}"' in code


def test_metrics_are_those_of_the_pods() -> None:
    code = (ROOT / "service" / "ssecast" / "metrics.py").read_text()
    for name in re.findall(r"`ssecast_(\w+?)(?:_total)?`", (ROOT / "docs" / "troubleshooting.md").read_text()):
        assert f'"{name}"' in code


def test_figures_of_the_sizing_table_are_measured() -> None:
    """Each number that is not a count of streams stands in one of the results that the page cites."""
    page = (ROOT / "docs" / "operations.md").read_text()
    cited = re.findall(r"\]\((\.\./loadtest/results/[^)]+)\)", page)
    measured = "\n".join((ROOT / "docs" / path).read_text() for path in cited)
    rows = re.findall(r"^\| [\d,]+ \|(.+)\|$", page, re.MULTILINE)
    assert len(rows) == 4
    figures = re.findall(r"[\d,.]*\d(?= (?:ms|MB|%) )", "".join(rows))
    assert len(figures) == 12
    figures += re.findall(r"\*\* is ([\d.]+) (?:KB|µs)", page)
    assert len(figures) == 14
    assert not [number for number in figures if not re.search(rf"(?<![\d.,]){re.escape(number)}(?![\d.,])", measured)]


def test_what_follows_from_the_budget_by_default() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    broadcaster = parse({"metadata": {"name": "a", "namespace": "b"}, "spec": {}})
    budget = budget_of(broadcaster.spec)
    table = page.partition("with the defaults (500, limit 10,000)")[2].partition("\n\n")[0]
    expected = [
        f"{budget.pod_window:g} s",
        f"{budget.retry:g} to {budget.longest_retry:g} s",
        f"{budget.min_ready} s",
        f"{grace_period(broadcaster)} s",
        f"{budget.delay + budget.patience:g} s",
    ]
    assert re.findall(r"\| ([^|]+ s) \|$", table, re.MULTILINE) == expected


def test_the_quick_start_is_three_lines() -> None:
    section = (ROOT / "README.md").read_text().partition("## On Kubernetes")[2]
    (block,) = re.findall(r"```sh\n(.+?)```", section.partition("\n## ")[0], re.S)
    assert len(block.splitlines()) == 3
    assert "helm install ssecast charts/ssecast" in block
