"""`python -m loadtest.chaos`: the command line, and what one sees while it runs."""

import asyncio
import re
import resource
import shlex
import shutil
import signal
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NoReturn

import nats.errors
import typer
from rich.console import Console

from loadtest.bench import toolchain
from loadtest.bench.machine import record
from loadtest.bench.peers import ROOT
from loadtest.chaos.figures import Figures, figures
from loadtest.chaos.proxy import LEFT_OUT, installed
from loadtest.chaos.report import verdict, write
from loadtest.chaos.session import Outcome, chaos
from loadtest.chaos.stage import Options

FAILED, WRONG = 1, 2
RESULTS = ROOT / "loadtest" / "results"
NAME = re.compile(r"[A-Za-z0-9.-]*")
CLIENTS_MOST = 8000
"""A proxy has two files open for each."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
screen = Console(stderr=True)


@app.command()
def main(
    minutes: Annotated[
        float, typer.Option(min=0.5, max=600, help="How long faults happen, both parts together.")
    ] = 3.0,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same plan of faults.")] = 1,
    clients: Annotated[int, typer.Option(min=50, max=CLIENTS_MOST, help="EventSources.")] = 2000,
    pods: Annotated[int, typer.Option(min=2, max=9)] = 3,
    rate: Annotated[float, typer.Option(min=1, max=1000, help="Events per second.")] = 20.0,
    budget: Annotated[float, typer.Option(min=10, help="Reconnects per second that the pods are set up for.")] = 500.0,
    proxy: Annotated[bool, typer.Option(help="HAProxy in front, where it is installed.")] = True,
    pod: Annotated[str, typer.Option(help="Another command that starts a pod.")] = "",
    results: Annotated[Path, typer.Option(help="Where the folder of results is put.")] = RESULTS,
    name: Annotated[str, typer.Option(help="Ends the name of that folder.")] = "",
    keep: Annotated[bool, typer.Option("--keep", help="Keep logs and records of a good run too.")] = False,
) -> None:
    """Faults at random around some pods, and an oracle that says what each client must see.

    Ends with 1 where an event was lost, duplicated or out of order, a gap was false or missing, or a client gave up.
    """
    if not NAME.fullmatch(name):
        _fail(f"--name {name!r} ends the name of a folder: letters, digits, dots and dashes", WRONG)
    options = Options(minutes, seed, clients, pods, rate, budget, proxy, tuple(shlex.split(pod)) or None)
    try:
        toolchain.build()
        _raise_files()
    except RuntimeError as wrong:
        _fail(str(wrong), WRONG)
    if proxy and not installed():
        _say(LEFT_OUT)
    machine = record()
    work = Path(tempfile.mkdtemp(prefix="ssecast-chaos-"))
    kept = True
    try:
        outcome, found = _run(options, work)
        folder = results / f"{datetime.now(UTC):%Y-%m-%d}-chaos-{name or f'seed-{seed}'}"
        write(folder, outcome, found, machine)
        kept = keep or bool(found.wrong)
    except (KeyboardInterrupt, asyncio.CancelledError):
        kept = False
        _fail("interrupted; everything that was started has ended", FAILED)
    except (RuntimeError, OSError, ValueError, nats.errors.Error) as wrong:
        _fail(f"{str(wrong) or type(wrong).__name__}; logs are in {work}", FAILED)
    finally:
        if not kept:
            shutil.rmtree(work, ignore_errors=True)
    for finding in found.findings:
        _say(finding)
    _say(f"{folder / 'README.md'}")
    if found.wrong:
        _fail(f"{verdict(found)} Logs and records are in {work}; seed {seed}", FAILED)
    _say(verdict(found))
    if keep:
        _say(f"Logs and records are in {work}")


def _run(options: Options, work: Path) -> tuple[Outcome, Figures]:
    async def to_the_end() -> Outcome:
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        return await chaos(options, work, _say)

    outcome = asyncio.run(to_the_end())
    _say("reading what the clients saw")
    return outcome, figures(outcome)


def _raise_files() -> None:
    """As many files as the system allows, for us and for all that we start."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _say(sentence: str) -> None:
    screen.print(sentence, highlight=False, markup=False, soft_wrap=True)


def _fail(sentence: str, code: int) -> NoReturn:
    screen.print(f"chaos: {sentence}", style="red", highlight=False, markup=False, soft_wrap=True)
    raise typer.Exit(code)


if __name__ == "__main__":
    app(prog_name="ssecast chaos")
