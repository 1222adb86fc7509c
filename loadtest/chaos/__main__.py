"""`python -m loadtest.chaos`: the command line, and what one sees while it runs."""

import asyncio
import shlex
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import nats.errors
import typer

from loadtest.bench import toolchain
from loadtest.bench.command import FAILED, INTERRUPTED, RESULTS, WRONG, Voice, raise_files, to_the_end
from loadtest.bench.machine import record
from loadtest.chaos.figures import Figures, figures
from loadtest.chaos.proxy import LEFT_OUT, installed
from loadtest.chaos.report import verdict, write
from loadtest.chaos.session import Outcome, chaos
from loadtest.chaos.stage import Options

CLIENTS_MOST = 8000
"""A proxy has two files open for each."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
voice = Voice("chaos")


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
    voice.check_name(name)
    options = Options(minutes, seed, clients, pods, rate, budget, proxy, tuple(shlex.split(pod)) or None)
    try:
        toolchain.build()
        raise_files()
    except RuntimeError as wrong:
        voice.fail(str(wrong), WRONG)
    if proxy and not installed():
        voice.say(LEFT_OUT)
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
        voice.fail(INTERRUPTED, FAILED)
    except (RuntimeError, OSError, ValueError, nats.errors.Error) as wrong:
        voice.fail(f"{str(wrong) or type(wrong).__name__}; logs are in {work}", FAILED)
    finally:
        if not kept:
            shutil.rmtree(work, ignore_errors=True)
    for finding in found.findings:
        voice.say(finding)
    voice.say(f"{folder / 'README.md'}")
    if found.wrong:
        voice.fail(f"{verdict(found)} Logs and records are in {work}; seed {seed}", FAILED)
    voice.say(verdict(found))
    if keep:
        voice.say(f"Logs and records are in {work}")


def _run(options: Options, work: Path) -> tuple[Outcome, Figures]:
    outcome = to_the_end(chaos(options, work, voice.say))
    voice.say("reading what the clients saw")
    return outcome, figures(outcome)


if __name__ == "__main__":
    app(prog_name="ssecast chaos")
