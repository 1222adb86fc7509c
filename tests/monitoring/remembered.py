"""A real Prometheus that remembers what it has never seen: its history is written by promtool, from a simulated run."""

import contextlib
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import numpy as np

from ssecast_operator.simulation import Run
from tests.harness import free_port
from tests.monitoring.rules import program, promtool

SCRAPE_SECONDS = 15
POLL_SECONDS = 0.05
START_SECONDS = 60.0


@contextlib.contextmanager
def remembering(folder: Path, exposition: str) -> Iterator[str]:
    """Its address. exposition: in OpenMetrics' format, with timestamps."""
    binary = program("prometheus")
    (folder / "past.txt").write_text(exposition)
    promtool("tsdb", "create-blocks-from", "openmetrics", folder / "past.txt", folder / "data")
    (folder / "prometheus.yml").write_text("{}\n")
    port = free_port()
    command = [
        binary,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--query.lookback-delta=30s",  # what is written by promtool has no marks where a series ends
    ]
    with (folder / "prometheus.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            _wait_for(f"http://127.0.0.1:{port}", process, folder / "prometheus.log")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _wait_for(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    with httpx.Client(trust_env=False) as http:
        while process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(httpx.TransportError):
                if http.get(f"{url}/-/ready").status_code == 200:
                    return
            time.sleep(POLL_SECONDS)
    raise AssertionError(log.read_text())


class Scrapes:
    """What pods and operator of a simulated run would have told a Prometheus, as text with timestamps."""

    def __init__(self, run: Run, began: float, labels: Mapping[str, str]) -> None:
        self._run, self._began, self._labels = run, began, labels
        self._lines: dict[str, list[str]] = {}

    @property
    def text(self) -> str:
        series = self._run.series
        for second in range(0, len(series.pods), SCRAPE_SECONDS):
            self._pods(second)
            self._say("ssecast_operator_demand_streams", second, float(series.waiting[second]), where="refused")
            self._say("ssecast_operator_desired_pods", second, float(series.desired[second]))
        for reason, counted in (
            ("drain", series.drained),
            ("shed", series.shed),
            ("shutdown", series.ended),
            ("age", series.rotated),
        ):
            self._count("ssecast_streams_closed", np.cumsum(counted).tolist(), reason=reason)
        self._count("ssecast_streams_refused", np.cumsum(series.refused).tolist(), reason="full")
        self._count("ssecast_streams_opened", np.cumsum(series.rotated + series.returned).tolist())
        parts = [f"# TYPE {name} {self._type(name)}\n" + "".join(lines) for name, lines in self._lines.items()]
        return "".join(parts) + "# EOF\n"

    def _pods(self, second: int) -> None:
        """The fullest one, and the others alike."""
        series = self._run.series
        pods, ready = int(series.pods[second]), int(series.ready[second])
        hottest, rest = float(series.hottest[second]), float(series.connected[second] - series.hottest[second])
        for pod in range(pods):
            streams = hottest if pod == 0 else rest / (pods - 1)
            self._say("ssecast_streams", second, streams, pod=f"p{pod}")
            self._say("ssecast_draining", second, float(pod >= ready), pod=f"p{pod}")
            self._say("ssecast_capacity_streams", second, 10_000.0, pod=f"p{pod}")

    def _count(self, name: str, totals: list[float], **labels: str) -> None:
        for second in range(0, len(totals), SCRAPE_SECONDS):
            self._say(name, second, totals[second], pod="p0", **labels)

    def _say(self, name: str, second: int, value: float, **labels: str) -> None:
        shown = ",".join(f'{key}="{each}"' for key, each in {**self._labels, **labels}.items())
        sample = f"{name}_total" if self._type(name) == "counter" else name
        self._lines.setdefault(name, []).append(f"{sample}{{{shown}}} {value!r} {self._began + second:.0f}\n")

    @staticmethod
    def _type(name: str) -> str:
        return "counter" if name.endswith(("_closed", "_refused", "_opened")) else "gauge"
