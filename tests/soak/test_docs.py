"""What the pages say of the extension and of the scenarios is all there is, and is there."""

import re

from loadtest.bench.peers import ROOT
from loadtest.soak.k6 import SCRIPTS, SOURCE, scenarios

EXTENSION = (SOURCE / "README.md").read_text()
GO = {path.stem: path.read_text() for path in SOURCE.glob("*.go") if not path.stem.endswith("_test")}
PAGE = (SCRIPTS / "README.md").read_text()
JS = "\n".join(path.read_text() for path in SCRIPTS.rglob("*.js"))


def first_cells(text: str, header: str) -> set[str]:
    """The words in code type of the first column of the table under a header, without defaults, which stand in parentheses."""
    rows = text.partition(header)[2].partition("\n\n")[0].splitlines()[1:]
    cells = [re.sub(r"\([^)]*\)", "", row.split(" | ")[0]) for row in rows]
    return {word for cell in cells for word in re.findall(r"`([^`]+)`", cell)}


def test_every_metric_is_told_and_exists() -> None:
    told = {word for word in first_cells(EXTENSION, "| metric | kind | meaning |") if word.startswith("sse_")}
    assert told == set(re.findall(r'"(sse_\w+)"', GO["meters"]))


def test_scenarios_and_their_summary_name_metrics_that_there_are() -> None:
    named = set(re.findall(r"\bsse_\w+", JS))
    assert named
    assert named <= set(re.findall(r'"(sse_\w+)"', GO["meters"]))


def test_every_option_of_a_fleet_is_told_and_exists() -> None:
    taken = set(re.findall(r'p\.\w+\("(\w+)"', GO["fleet"]))
    assert first_cells(EXTENSION, "| option | meaning |") == taken


def test_every_option_of_the_other_functions_is_told() -> None:
    for name in ("publish", "open", "probe"):
        section = EXTENSION.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        taken = set(re.findall(r'p\.\w+\("(\w+)"', GO[name]))
        assert taken
        assert taken <= set(re.findall(r"\w+", section)), name


def test_every_setting_of_the_scenarios_is_told_and_read() -> None:
    read = set(re.findall(r"number\('(\w+)'", JS)) | set(re.findall(r"__ENV\.(\w+)", JS))
    assert first_cells(PAGE, "| variable | meaning |") == read


def test_every_scenario_has_its_row_and_opens_with_what_it_is_for() -> None:
    assert first_cells(PAGE, "| scenario | what happens |") == {f"{name}.js" for name in scenarios()}
    assert all((SCRIPTS / f"{name}.js").read_text().startswith("// ") for name in scenarios())


def test_the_version_of_k6_is_told_as_it_is_built() -> None:
    (version,) = re.findall(r"go\.k6\.io/k6 (v\S+)", (SOURCE / "go.mod").read_text())
    assert f"xk6 build {version} --with ssecast.dev/xk6-ssecast=./loadtest/xk6-ssecast" in EXTENSION
    assert (ROOT / "loadtest" / "xk6-ssecast").is_dir()
