"""The record of where a run was made: without it a number means nothing."""

import os
import platform
import subprocess
import time
from importlib.metadata import version
from pathlib import Path

from loadtest.bench.peers import ROOT
from loadtest.bench.toolchain import go
from ssecast.dev import find_nats_server

OTHERS = "others_percent"
"""The metric of how busy other work kept the machine."""

PROGRAMS = {"node": "--version", "nginx": "-v"}
"""Of peers, where they are installed, and how each is asked for its version."""

PACKAGES = ("uvicorn", "uvloop", "fastapi", "starlette", "sse-starlette")


def record(against: Path | None = None) -> dict[str, str]:
    """What ran where, by name; against: the checkout that was measured beside this one."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cpu": _cpu(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory:.0f} GiB",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "go": go("env", "GOVERSION"),
        "nats-server": _output(find_nats_server(), "--version").rpartition(" ")[2],
        "commit": _commit(ROOT),
        **({"before": _commit(against)} if against else {}),
        **{name: version(name) for name in PACKAGES},
        **{name: said.split("/")[-1] for name, flag in PROGRAMS.items() if (said := _output(name, flag))},
    }


class OtherLoad:
    """How busy the machine was with what is not the benchmark's, from its making until it is asked."""

    def __init__(self) -> None:
        self._began, self._before = time.monotonic(), _busy_seconds() - _own_seconds()

    def metrics(self) -> dict[str, float]:
        """Percent of one core. All children must have ended: the time of those that run is not known to be ours."""
        used = _busy_seconds() - _own_seconds() - self._before
        return {OTHERS: max(used, 0.0) / (time.monotonic() - self._began) * 100}


def listen_drops() -> int:
    """Connections that the kernel turned away so far because an accept queue was full: each tries again a second later."""
    lines = Path("/proc/net/netstat").read_text().splitlines()
    names, values = (line.split() for line in lines if line.startswith("TcpExt:"))
    return int(values[names.index("ListenDrops")])


def _busy_seconds() -> float:
    """Of all cores since boot: user, nice, system, irq, softirq of /proc/stat."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    return sum(fields[:3] + fields[5:7]) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def _commit(checkout: Path) -> str:
    git = ("git", "-C", str(checkout))
    commit = _output(*git, "rev-parse", "--short=12", "HEAD") or "unknown"
    changed = _output(*git, "status", "--porcelain", "--untracked-files=no", "--", "service", "loadtest")
    return f"{commit} with changes" if changed else commit


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""
    except FileNotFoundError:
        return ""
