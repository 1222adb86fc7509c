"""A real Prometheus on loopback, configured as the chart's PodMonitors would, for a fleet here or in a cluster."""

import asyncio
import contextlib
import json
import re
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import yaml

from tests.harness import free_port, until
from tests.monitoring.chart import Manifest, monitors
from tests.monitoring.fleet import Fleet, Target
from tests.monitoring.rules import RULES, program

TARGETS_SECONDS = 0.5

ALWAYS = (("__meta_kubernetes_namespace", "namespace"), ("__meta_kubernetes_pod_name", "pod"))
"""What the Prometheus operator adds to the labels of every PodMonitor."""


class Prometheus:
    """One process. monitors: PodMonitors, by names of jobs; who they select, `tell` says. scrape_seconds: between two scrapes;
    rules are evaluated as often."""

    def __init__(
        self, folder: Path, monitors: Mapping[str, Manifest], rules: Path = RULES, scrape_seconds: float = 1.0
    ) -> None:
        self.folder, self.monitors, self.rules, self.scrape_seconds = folder, monitors, rules, scrape_seconds
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", trust_env=False)

    @property
    def rate_interval(self) -> str:
        """What Grafana would put in place of `$__rate_interval`: four scrapes."""
        return f"{4 * self.scrape_seconds:g}s"

    async def start(self) -> None:
        binary = program("prometheus")
        (self.folder / "prometheus.yml").write_text(yaml.safe_dump(self._configuration()))
        command = [
            binary,
            f"--config.file={self.folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--query.lookback-delta=30s",
        ]
        with (self.folder / "prometheus.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        await until(self._is_ready, f"Prometheus up: {self.folder / 'prometheus.log'}")

    async def stop(self) -> None:
        await self._http.aclose()
        if self._process is not None:
            self._process.terminate()
            await asyncio.to_thread(self._process.wait)

    async def query(self, expr: str) -> list[dict[str, Any]]:
        """An instant vector, now. Fails with what Prometheus says."""
        return await self._ask("query", query=expr)

    async def query_range(self, expr: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        return await self._ask("query_range", query=expr, start=start, end=end, step=step)

    async def loaded_alerts(self) -> set[str]:
        """Names of the alerts that it evaluates."""
        groups = (await self._http.get("/api/v1/rules", params={"type": "alert"})).json()["data"]["groups"]
        return {rule["name"] for group in groups for rule in group["rules"]}

    def tell(self, name: str, targets: Sequence[Target]) -> None:
        """Whom a PodMonitor selects now."""
        new = self.folder / f"{name}.new"
        new.write_text(json.dumps(targets))
        new.replace(self.folder / f"{name}.json")

    async def _ask(self, what: str, **parameters: Any) -> list[dict[str, Any]]:
        answer = (await self._http.post(f"/api/v1/{what}", content=urlencode(parameters), headers=FORM)).json()
        assert answer["status"] == "success", f"{parameters['query']}: {answer.get('error')}"
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    async def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "prometheus.log").read_text()
        with contextlib.suppress(httpx.TransportError):
            return (await self._http.get("/-/ready")).status_code == 200
        return False

    def _configuration(self) -> dict[str, Any]:
        every = f"{round(self.scrape_seconds * 1000)}ms"
        jobs = [job for name, monitor in self.monitors.items() for job in self._jobs(name, monitor)]
        return {
            "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
            "rule_files": [str(self.rules)],
            "scrape_configs": jobs,
        }

    def _jobs(self, name: str, monitor: Manifest) -> Iterator[dict[str, Any]]:
        """As the Prometheus operator would make them; the selector's work is done by whoever writes the file."""
        always = [{"source_labels": [source], "target_label": target} for source, target in ALWAYS]
        for endpoint in monitor["spec"]["podMetricsEndpoints"]:
            yield {
                "job_name": name,
                "metrics_path": endpoint["path"],
                "honor_labels": endpoint.get("honorLabels", False),
                "file_sd_configs": [{"files": [str(self.folder / f"{name}.json")], "refresh_interval": "1s"}],
                "relabel_configs": [*always, *map(_snake, endpoint.get("relabelings", ()))],
            }


FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def _snake(relabeling: dict[str, Any]) -> dict[str, Any]:
    return {re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", key): value for key, value in relabeling.items()}


def values(found: Sequence[dict[str, Any]]) -> list[float]:
    """Numbers of an instant vector, without those that are none."""
    numbers = [float(each["value"][1]) for each in found]
    return [number for number in numbers if number == number]


async def _follow(prometheus: Prometheus, fleet: Fleet) -> None:
    """Tells Prometheus of pods that come and go, for ever."""
    while True:
        _tell(prometheus, fleet)
        await asyncio.sleep(TARGETS_SECONDS)


def _tell(prometheus: Prometheus, fleet: Fleet) -> None:
    prometheus.tell("pods", fleet.pod_targets)
    prometheus.tell("operator", fleet.operator_targets)


@contextlib.asynccontextmanager
async def watching(fleet: Fleet, folder: Path, scrape_seconds: float = 1.0) -> AsyncIterator[Prometheus]:
    """A Prometheus that follows the fleet; it is gone at the end."""
    pods, operator = monitors()
    prometheus = Prometheus(folder, {"pods": pods, "operator": operator}, scrape_seconds=scrape_seconds)
    _tell(prometheus, fleet)
    await prometheus.start()
    following = asyncio.ensure_future(_follow(prometheus, fleet))
    try:
        yield prometheus
    finally:
        following.cancel()
        await prometheus.stop()
