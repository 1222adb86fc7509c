"""`python -m loadtest.fleet`: the command line, and what one sees while it runs."""

import asyncio
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import nats.errors
import typer

from loadtest.bench import toolchain
from loadtest.bench.command import FAILED, INTERRUPTED, RESULTS, WRONG, Voice, to_the_end
from loadtest.bench.machine import record
from loadtest.fleet.kubectl import Kubectl, kubernetes_version, need_cluster
from loadtest.fleet.objects import Images, Policy
from loadtest.fleet.report import write, wrong
from loadtest.fleet.session import Outcome, run
from loadtest.fleet.stage import Stage, staged

STREAMS_MOST = 12_000

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
voice = Voice("fleet")


@app.command()
def main(
    streams: Annotated[int, typer.Option(min=300, max=STREAMS_MOST, help="EventSources.")] = 3200,
    rate: Annotated[float, typer.Option(min=1, max=1000, help="Events per second.")] = 10.0,
    image: Annotated[str, typer.Option(help="Of the pods.")] = Images.service,
    operator_image: Annotated[str, typer.Option(help="Of the operator.")] = Images.operator,
    nats_image: Annotated[str, typer.Option(help="Of nats-server.")] = Images.nats,
    results: Annotated[Path, typer.Option(help="Where the folder of results is put.")] = RESULTS,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the records of a good run too.")] = False,
) -> None:
    """A fleet on the cluster that KUBECONFIG names grows, evens out, rolls out and shrinks under real streams.

    Ends with 1 where an event was lost or duplicated, a client gave up, or more reconnected in a second than the budget.
    """
    try:
        need_cluster()
        toolchain.build()
        Kubectl("default").node()
    except RuntimeError as problem:
        voice.fail(str(problem), WRONG)
    policy = _policy(streams)
    work = Path(tempfile.mkdtemp(prefix="ssecast-fleet-"))
    stage = Stage(work, Images(image, operator_image, nats_image), policy, rate)
    try:
        outcome = to_the_end(_run(stage, streams))
    except (KeyboardInterrupt, asyncio.CancelledError):
        voice.fail(INTERRUPTED, FAILED)
    except (RuntimeError, OSError, TimeoutError, nats.errors.Error) as problem:
        voice.fail(f"{str(problem) or type(problem).__name__}\nrecords are in {work}", FAILED)
    folder = results / f"{datetime.now(UTC):%Y-%m-%d}-fleet"
    write(folder, outcome, policy, record() | {"kubernetes": kubernetes_version()})
    for finding in outcome.findings:
        voice.say(finding)
    problems = wrong(outcome, policy)
    if problems:
        voice.fail(f"{'; '.join(problems)}. Records are in {work}, the report in {folder}", FAILED)
    if not keep:
        shutil.rmtree(work, ignore_errors=True)
    peak = max(outcome.peak(step) for step in outcome.steps)
    voice.say(
        f"{outcome.counts['made']:,} deliveries, none lost or duplicated; at most {peak:,} reconnects per second, "
        f"budget {policy.budget:,}; {folder / 'README.md'}"
    )


def _policy(streams: int) -> Policy:
    """As many streams want the most pods by one target, and the fewest by the other."""
    small, large = Policy.pods
    burst = streams // 32
    wanted = streams + burst
    return Policy(
        budget=max(50, streams // 16),
        burst=burst,
        limit=round(wanted * 0.8),
        target_small=round(wanted / (large - 0.3)),
        target_large=round(wanted / (small - 0.25)),
    )


async def _run(stage: Stage, streams: int) -> Outcome:
    async with staged(stage):
        return await run(stage, streams, voice.say)


if __name__ == "__main__":
    app(prog_name="ssecast fleet")
