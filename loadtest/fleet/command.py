"""What the commands that put a fleet on a cluster have in common."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import nats.errors
import typer

from loadtest.bench import toolchain
from loadtest.bench.command import FAILED, INTERRUPTED, WRONG, Voice, to_the_end
from loadtest.bench.machine import record
from loadtest.fleet.kubectl import Kubectl, kubernetes_version, need_cluster
from loadtest.fleet.objects import Images, Policy
from loadtest.fleet.stage import Stage, staged

STREAMS_MOST = 12_000

Rate = Annotated[float, typer.Option(min=1, max=1000, help="Events per second.")]
PodImage = Annotated[str, typer.Option("--image", help="Of the pods.")]
OperatorImage = Annotated[str, typer.Option(help="Of the operator.")]
NatsImage = Annotated[str, typer.Option(help="Of nats-server.")]
Results = Annotated[Path, typer.Option(help="Where the folder of results is put.")]

Outcome = TypeVar("Outcome")


def on_cluster(
    voice: Voice, images: Images, policy: Policy, rate: float, act: Callable[[Stage], Awaitable[Outcome]]
) -> tuple[Outcome, Path]:
    """(what came of it, the folder of its records). Ends the process with one sentence where the cluster is not there, or
    something fails on it."""
    try:
        need_cluster()
        toolchain.build()
        Kubectl("default").node()
    except RuntimeError as problem:
        voice.fail(str(problem), WRONG)
    work = Path(tempfile.mkdtemp(prefix=f"ssecast-{voice.command}-"))
    stage = Stage(work, images, policy, rate)
    try:
        return to_the_end(_staged(stage, act)), work
    except (KeyboardInterrupt, asyncio.CancelledError):
        voice.fail(INTERRUPTED, FAILED)
    except (RuntimeError, OSError, TimeoutError, nats.errors.Error) as problem:
        voice.fail(f"{str(problem) or type(problem).__name__}\nrecords are in {work}", FAILED)


def machine() -> dict[str, str]:
    """This one, and its cluster."""
    return record() | {"kubernetes": kubernetes_version()}


async def _staged(stage: Stage, act: Callable[[Stage], Awaitable[Outcome]]) -> Outcome:
    async with staged(stage):
        return await act(stage)
