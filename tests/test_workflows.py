"""What actionlint and zizmor, which `make check` runs, cannot know of the workflows: this project's commands and its one required check."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from loadtest.soak.k6 import scenarios

ROOT = Path(__file__).parents[1]
WORKFLOWS = {path.stem: path for path in sorted((ROOT / ".github" / "workflows").glob("*.yml"))}
TARGETS = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

of_each_workflow = pytest.mark.parametrize("name", WORKFLOWS)


def jobs(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(WORKFLOWS[name].read_text())["jobs"]
    return found


def commands(name: str) -> list[str]:
    return [step["run"] for job in jobs(name).values() for step in job["steps"] if "run" in step]


@of_each_workflow
def test_jobs_call_commands_that_a_person_can_call(name: str) -> None:
    called = {target for command in commands(name) for target in re.findall(r"\bmake ([a-z0-9-]+)", command)}
    assert called
    assert called <= TARGETS


@pytest.mark.parametrize("command", ["bench", "chaos", "soak"])
def test_a_job_uses_options_that_there_are(command: str) -> None:
    lines = [line for name in WORKFLOWS for line in commands(name) if f"make {command} " in line]
    assert lines
    told = subprocess.run(
        [sys.executable, "-m", f"loadtest.{command}", "--help"], cwd=ROOT, capture_output=True, text=True
    )
    assert {option for line in lines for option in re.findall(r"--[a-z-]+", line)} <= set(
        re.findall(r"--[a-z-]+", told.stdout)
    )


def test_nightly_runs_every_long_scenario() -> None:
    matrix = jobs("nightly")["soak"]["strategy"]["matrix"]["include"]
    assert {each["scenario"] for each in matrix} == set(scenarios()) - {"smoke"}


def test_a_job_runs_tests_that_there_are() -> None:
    named = {path for name in WORKFLOWS for line in commands(name) for path in re.findall(r"\btests/[\w/.]*", line)}
    assert "tests/cluster" in named
    assert not [path for path in named if not (ROOT / path).exists()]


@of_each_workflow
def test_an_action_is_a_commit_with_its_version_beside_it(name: str) -> None:
    used = re.findall(r"uses: (.*)", WORKFLOWS[name].read_text())
    assert not [line for line in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)]


@of_each_workflow
def test_every_job_has_an_end_and_rights_of_its_own(name: str) -> None:
    assert yaml.safe_load(WORKFLOWS[name].read_text())["permissions"] == {}
    assert not [job for job, body in jobs(name).items() if not {"timeout-minutes", "permissions"} <= set(body)]


def test_the_required_check_needs_every_other_job() -> None:
    found = jobs("ci")
    assert set(found["ci"]["needs"]) == set(found) - {"ci"}


@pytest.mark.parametrize(
    ("results", "code"), [("success success", 0), ("success failure", 1), ("skipped success", 1), ("cancelled", 1)]
)
def test_the_required_check_passes_only_when_all_did(results: str, code: int) -> None:
    (step,) = jobs("ci")["ci"]["steps"]
    done = subprocess.run(["bash", "-e", "-c", step["run"]], env={"RESULTS": results}, capture_output=True, check=False)
    assert done.returncode == code


@pytest.mark.parametrize(("body", "code"), [("import pytest\n    pytest.skip('no browser')", 5), ("pass", 0)])
def test_a_job_whose_tests_were_all_skipped_fails(body: str, code: int, tmp_path: Path) -> None:
    """`--must-run`: a job for browsers that finds none would be green, and prove nothing."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "conftest.py").write_text("from tests.conftest import pytest_addoption, pytest_sessionfinish\n")
    (tmp_path / "test_it.py").write_text(f"def test_it():\n    {body}\n")
    command = [sys.executable, "-m", "pytest", "--must-run", "--rootdir", str(tmp_path), str(tmp_path)]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, check=False)
    assert done.returncode == code


def notes(folder: Path, version: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", "release-notes", f"VERSION={version}"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_notes_of_a_release_are_its_section_of_the_changelog(tmp_path: Path) -> None:
    for file in ("Makefile", "service/ssecast/__init__.py", "charts/ssecast/Chart.yaml"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    version = re.findall(r'__version__ = "(.*)"', (ROOT / "service/ssecast/__init__.py").read_text())[0]
    text = f"# Changelog\n\n## [{version}] - 2026-12-01\n\n- **New.**\n\n## [0.0.9] - 2026-01-01\n\n- Old.\n"
    (tmp_path / "CHANGELOG.md").write_text(text)
    assert notes(tmp_path, version).stdout == "\n- **New.**\n\n"
    other = notes(tmp_path, "9.9.9")
    assert other.returncode
    assert other.stdout == "the package has another version than 9.9.9\n"
    (tmp_path / "CHANGELOG.md").write_text(text.replace("2026-12-01", "unreleased"))
    undated = notes(tmp_path, version)
    assert undated.returncode
    assert undated.stdout == f"CHANGELOG.md has no [{version}] with a date\n"
