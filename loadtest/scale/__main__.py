"""`python -m loadtest.scale`: the command line, and the page that it writes."""

import asyncio
import json
import math
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from loadtest.bench.command import FAILED, INTERRUPTED, RESULTS, WRONG, Voice, to_the_end
from loadtest.bench.machine import record
from loadtest.fleet.kubectl import KubectlError, need_cluster
from loadtest.scale.stage import Reading, Stage, StageError, staged
from ssecast_operator.cluster import ClusterError, LightkubeCluster

STEADY_SECONDS = 60.0
REMOVED = 10

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
voice = Voice("scale")


@dataclass(frozen=True)
class Span:
    """What the operator did between two readings. slowest: upper bound of the longest round, seconds."""

    what: str
    lasted: float
    rounds: int
    mean: float
    slowest: float
    cpu_percent: float
    cpu_per_round: float
    peak_mb: float
    writes: Mapping[str, int]


@app.command()
def main(
    pods: Annotated[int, typer.Option(min=2, max=1000, help="Of the one large Broadcaster.")] = 1000,
    broadcasters: Annotated[int, typer.Option(min=1, max=1000, help="Small ones, of two pods each.")] = 200,
    seconds: Annotated[float, typer.Option(min=5, max=600, help="How long each is watched at rest.")] = STEADY_SECONDS,
    results: Annotated[Path, typer.Option(help="Where the folder of results is put.")] = RESULTS,
) -> None:
    """What rounds cost an operator that looks after very many pods, on the cluster that KUBECONFIG names."""
    try:
        need_cluster()
    except KubectlError as problem:
        voice.fail(str(problem), WRONG)
    work = Path(tempfile.mkdtemp(prefix="ssecast-scale-"))
    try:
        spans = to_the_end(_run(work, pods, broadcasters, seconds))
    except (KeyboardInterrupt, asyncio.CancelledError):
        voice.fail(INTERRUPTED, FAILED)
    except (StageError, ClusterError, KubectlError, OSError) as problem:
        voice.fail(f"{str(problem) or type(problem).__name__}\nthe operator's log is in {work}", FAILED)
    folder = results / f"{datetime.now(UTC):%Y-%m-%d}-operator-scale"
    _write(folder, spans, pods, broadcasters)
    shutil.rmtree(work, ignore_errors=True)
    voice.say(f"{folder / 'README.md'}")


async def _run(work: Path, pods: int, broadcasters: int, seconds: float) -> list[Span]:
    cluster = LightkubeCluster()
    async with staged(work, cluster) as stage:
        large = await _large(stage, pods, seconds)
    async with staged(work, cluster) as stage:
        return large + await _small(stage, broadcasters, seconds)


async def _large(stage: Stage, pods: int, seconds: float) -> list[Span]:
    voice.say(f"one Broadcaster with {pods:,} pods is made")
    stage.start_operator(_free_port())
    await stage.create(["large"], pods)
    await stage.populate(pods)
    await stage.until(lambda seen: _calm(seen) and _ready(seen) == pods, f"{pods} ready pods and calm")
    spans = [await _rest(stage, f"1 Broadcaster, {pods:,} pods, at rest", seconds)]
    fewer = max(1, pods - REMOVED)
    before = await asyncio.to_thread(stage.read)
    patch = {"spec": {"scaling": {"minReplicas": fewer, "maxReplicas": fewer}}}
    await asyncio.to_thread(stage.kubectl.merge, "broadcaster", "large", patch)
    await stage.until(lambda seen: _calm(seen) and seen["large"].get("replicas") == fewer, f"{fewer} pods are left")
    return [*spans, _span(f"the same, {pods - fewer} pods are drained and removed", before, stage.read())]


async def _small(stage: Stage, broadcasters: int, seconds: float) -> list[Span]:
    voice.say(f"{broadcasters:,} Broadcasters with two pods each are made")
    names = [f"small-{number}" for number in range(broadcasters)]
    stage.start_operator(_free_port())
    await stage.until(lambda _: _answers(stage), "the operator's port")
    before = await asyncio.to_thread(stage.read)
    await stage.create(names, 2)
    await stage.populate(2 * broadcasters)
    await stage.until(
        lambda seen: _calm(seen) and _ready(seen) == 2 * broadcasters and len(seen) == broadcasters,
        "all ready and calm",
    )
    made = _span(f"{broadcasters:,} Broadcasters of 2 pods are made", before, await asyncio.to_thread(stage.read))
    return [made, await _rest(stage, f"{broadcasters:,} Broadcasters of 2 pods, at rest", seconds)]


async def _rest(stage: Stage, what: str, seconds: float) -> Span:
    """From the end of a round, so that what it was still writing does not count."""
    began = await asyncio.to_thread(stage.read)
    enough = began.rounds + 2 * len(await stage.status())
    await stage.until(lambda _: stage.read().rounds >= enough, "two rounds of each")
    before = await asyncio.to_thread(stage.read)
    voice.say(what)
    await asyncio.sleep(seconds)  # not to wait for something: this is what is measured
    return _span(what, before, await asyncio.to_thread(stage.read))


def _answers(stage: Stage) -> bool:
    try:
        return bool(stage.read())
    except OSError:
        return False


def _calm(seen: Mapping[str, Any]) -> bool:
    return bool(seen) and all(
        each.get("phase") == "Steady" and _holds(each, "Available") == "True" for each in seen.values()
    )


def _ready(seen: Mapping[str, Any]) -> int:
    return sum(each.get("readyReplicas", 0) for each in seen.values())


def _holds(status: Mapping[str, Any], type_: str) -> str:
    return next((str(each["status"]) for each in status.get("conditions", ()) if each["type"] == type_), "")


def _span(what: str, before: Reading, after: Reading) -> Span:
    rounds, lasted = after.rounds - before.rounds, after.at - before.at
    within = {bound: count - before.buckets.get(bound, 0) for bound, count in sorted(after.buckets.items())}
    writes = {name: count - before.writes.get(name, 0) for name, count in after.writes.items()}
    return Span(
        what=what,
        lasted=lasted,
        rounds=rounds,
        mean=(after.seconds - before.seconds) / max(1, rounds),
        slowest=next((bound for bound, count in within.items() if count >= rounds), math.inf),
        cpu_percent=(after.cpu - before.cpu) / lasted * 100,
        cpu_per_round=(after.cpu - before.cpu) / max(1, rounds),
        peak_mb=after.peak / 2**20,
        writes={name: count for name, count in sorted(writes.items()) if count},
    )


def _write(folder: Path, spans: list[Span], pods: int, broadcasters: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    machine = record()
    body = {"pods": pods, "broadcasters": broadcasters, "machine": machine, "spans": [asdict(span) for span in spans]}
    (folder / "results.json").write_text(json.dumps(body, indent=1) + "\n")
    (folder / "README.md").write_text("\n".join(_page(spans, machine)) + "\n")


def _page(spans: list[Span], machine: Mapping[str, str]) -> Iterator[str]:
    yield "# How far one operator reaches\n"
    yield (
        "`python -m loadtest.scale`, on a real API server that shares the machine. The pods exist on paper: no node fits "
        "them, and one process answers `/load` and takes orders for all. A round looks at everything of one Broadcaster, "
        "asks each of its pods, decides and acts; at rest each Broadcaster has one every five seconds.\n"
    )
    yield "| what | rounds | a round, mean | no round over | CPU | CPU per round | most memory | writes |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |"
    for span in spans:
        writes = ", ".join(f"{count:,} {name}" for name, count in span.writes.items()) or "none"
        yield (
            f"| {span.what}, {span.lasted:.0f} s | {span.rounds:,} | {span.mean:.3f} s | {span.slowest:g} s "
            f"| {span.cpu_percent:.1f} % of a core | {span.cpu_per_round * 1000:.1f} ms | {span.peak_mb:.0f} MB | {writes} |"
        )
    yield "\n| machine | |\n| --- | --- |"
    yield from (f"| {name} | {value} |" for name, value in machine.items())


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


if __name__ == "__main__":
    app(prog_name="ssecast scale")
