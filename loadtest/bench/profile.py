"""`python -m loadtest.bench.profile`: where a pod's CPU goes, by perf, for the figures that ask why they are what they are."""

import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from loadtest.bench import toolchain
from loadtest.bench.machine import record
from loadtest.bench.measures import BACKLOG_EVENTS, RATE
from loadtest.bench.peers import ROOT, SSECAST
from loadtest.bench.processes import Driver
from loadtest.bench.rig import Rig, finish, served

RESULTS = ROOT / "loadtest" / "results"
SAMPLES_PER_SECOND = 1999
SUSTAINED_SECONDS = 15
ROWS = 14

GROUPS = (
    ("kernel: sending", r"tcp_sendmsg|sock_write_iter|__sys_sendto|aio_write|io_submit|tcp_write_xmit"),
    ("kernel: accepting and setting up sockets", r"inet_csk_accept|__sys_accept|sock_alloc|tcp_conn_request"),
    ("kernel: closing", r"tcp_close|__fput|inet_release"),
    ("kernel: waiting and waking", r"epoll|futex|schedule|io_uring|poll"),
    ("kernel: receiving", r"tcp_recvmsg|sock_read_iter|__sys_recvfrom"),
)
"""What a stack in the kernel was there for: the first whose pattern is in it."""


class Sample(NamedTuple):
    """One stack, outermost last, and in which object its innermost function is."""

    weight: int
    stack: str
    function: str
    object: str


@dataclass(frozen=True, slots=True)
class Phase:
    """What is profiled. act: returns how many units were done."""

    name: str
    what: str
    unit: str
    prepare: Callable[[Rig, Driver], None]
    act: Callable[[Rig, Driver], int]


def _nothing(_: Rig, __: Driver) -> None:
    """Nothing has to be there before."""


def _open(streams: int) -> Callable[[Rig, Driver], int]:
    return lambda bench, client: streams - int(bench.storm(client, streams, inflight=0)["failed"])


def _fill(streams: int) -> Callable[[Rig, Driver], None]:
    def prepare(bench: Rig, client: Driver) -> None:
        bench.open(client, streams)

    return prepare


def _sustain(streams: int) -> Callable[[Rig, Driver], int]:
    def act(bench: Rig, client: Driver) -> int:
        events = RATE * SUSTAINED_SECONDS
        return int(bench.deliver(client, streams, events, rate=RATE, seconds=SUSTAINED_SECONDS + 60)["deliveries"])

    return act


def _live(bench: Rig, client: Driver) -> None:
    """Some are served live, and the backlog is there that others will want."""
    bench.open(client, 500)
    bench.deliver(client, 500, 1)
    bench.deliver(client, 500, BACKLOG_EVENTS, rate=2000)


def _storm(bench: Rig, client: Driver) -> int:
    """5,000 come back to where the backlog begins, while live events go on."""
    behind = re.sub(r"-\d+$", f"-{bench.published - BACKLOG_EVENTS}", client.ask("report", "report")["last_id"])
    events = RATE * 3
    bench.expect(client, 500, events)
    publishing = threading.Thread(target=bench.publish, args=(events,), kwargs={"rate": RATE})
    storm = bench.add_client(bench.ports[0])
    order = {
        "first": bench.published - BACKLOG_EVENTS + 1,
        "count": BACKLOG_EVENTS,
        "deliveries": 5000 * BACKLOG_EVENTS,
    }
    storm.ask("expect", "expecting", values=order)
    publishing.start()
    bench.storm(storm, 5000, inflight=0, id=behind)
    report = finish(storm, 60)
    publishing.join()
    finish(client)
    return int(report["deliveries"])


PHASES = (
    Phase("open", "10,000 streams opened at once", "stream", _nothing, _open(10_000)),
    Phase("sustained", f"{RATE} events per second to 1,000 streams", "delivery", _fill(1000), _sustain(1000)),
    Phase(
        "storm",
        f"5,000 streams come back {BACKLOG_EVENTS:,} events behind, 500 are served live",
        "replayed event",
        _live,
        _storm,
    ),
)


def main(
    results: Annotated[Path, typer.Option(help="Where the folder of results is put.")] = RESULTS,
) -> None:
    """Profiles one pod through each phase, on loopback, and writes what its CPU was spent on."""
    if shutil.which("perf") is None:
        typer.echo("profile: perf is not installed: apt-get install linux-perf", err=True)
        raise typer.Exit(2)
    toolchain.build()
    machine = record()
    lines = [
        "# Where the CPU goes\n",
        f"`python -m loadtest.bench.profile`: one pod, sampled by perf {SAMPLES_PER_SECOND:,} times a second of its CPU clock, all "
        "threads. Units are what the pod did in the phase; microseconds per unit are of CPU and add up to the whole.\n",
    ]
    with tempfile.TemporaryDirectory(prefix="ssecast-profile-") as folder:
        for phase in PHASES:
            typer.echo(phase.what, err=True)
            units, samples = _profile(phase, Path(folder) / f"{phase.name}.data")
            lines += _section(phase, units, samples)
    lines += ["| machine | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in machine.items())]
    target = results / f"{datetime.now(UTC):%Y-%m-%d}-profiles"
    target.mkdir(parents=True, exist_ok=True)
    (target / "README.md").write_text("\n".join(lines) + "\n")
    typer.echo(target / "README.md")


def _profile(phase: Phase, data: Path) -> tuple[int, list[Sample]]:
    with served(SSECAST) as (bench, client):
        phase.prepare(bench, client)
        with _recorded(bench.servers[0].process.pid, data):
            units = phase.act(bench, client)
    return units, list(_samples(data))


@contextmanager
def _recorded(pid: int, data: Path) -> Iterator[None]:
    command = (
        "perf",
        "record",
        "--quiet",
        "-e",
        "cpu-clock",
        "-F",
        str(SAMPLES_PER_SECOND),
        "-g",
        "-p",
        str(pid),
        "-o",
    )
    with subprocess.Popen([*command, str(data)], stderr=subprocess.PIPE, text=True) as recording:
        while not data.exists() and recording.poll() is None:
            pass  # perf makes the file when it has attached itself; it says nothing
        try:
            yield
        finally:
            recording.terminate()
            recording.wait()


def _samples(data: Path) -> Iterator[Sample]:
    fields = "period,ip,sym,dso"
    text = subprocess.run(
        ["perf", "script", "-i", str(data), "-F", fields], capture_output=True, text=True, check=True
    ).stdout
    for block in text.split("\n\n"):
        head, *frames = [line for line in block.splitlines() if line.strip()] or [""]
        if not frames:
            continue
        parsed = [re.match(r"\s*[0-9a-f]+ (.+?) \((.+)\)$", frame) for frame in frames]
        named = [(found[1].split("+0x")[0], found[2]) for found in parsed if found]
        if named:
            yield Sample(int(head.strip().rstrip(":")), " ".join(name for name, _ in named), *named[0])


def _group(sample: Sample) -> str:
    if "kernel" in sample.object or sample.object.endswith(".ko") or sample.object == "[unknown]":
        return next((name for name, pattern in GROUPS if re.search(pattern, sample.stack)), "kernel: the rest")
    name = Path(sample.object).name
    for part, group in (
        ("libpython", "interpreter"),
        ("python", "interpreter"),
        ("uvloop", "uvloop"),
        ("httptools", "httptools"),
        ("libc", "libc"),
        ("libm", "libc"),
    ):
        if part in name:
            return group
    return name


def _section(phase: Phase, units: int, samples: list[Sample]) -> Iterator[str]:
    total = sum(sample.weight for sample in samples) or 1
    groups: dict[str, int] = {}
    functions: dict[tuple[str, ...], int] = {}
    for sample in samples:
        group = _group(sample)
        groups[group] = groups.get(group, 0) + sample.weight
        functions[group, sample.function] = functions.get((group, sample.function), 0) + sample.weight
    # The period of cpu-clock is in nanoseconds.
    yield f"## {phase.what[0].upper()}{phase.what[1:]}\n"
    yield f"{units:,} units of one {phase.unit}, {total / 1e9:.2f} s of CPU, {total / 1e3 / max(1, units):.2f} µs each.\n"
    yield f"| where | share | µs per {phase.unit} |\n| --- | ---: | ---: |"
    yield from _rows({(name,): weight for name, weight in groups.items()}, total, units, len(groups))
    yield f"\n| function | share | µs per {phase.unit} |\n| --- | ---: | ---: |"
    yield from _rows(functions, total, units, ROWS)
    yield ""


def _rows(weights: Mapping[tuple[str, ...], int], total: int, units: int, most: int) -> Iterator[str]:
    for names, weight in sorted(weights.items(), key=lambda item: -item[1])[:most]:
        words = ": ".join(names)
        yield f"| {words} | {weight / total:.1%} | {weight / 1e3 / max(1, units):.2f} |"


if __name__ == "__main__":
    typer.run(main)
