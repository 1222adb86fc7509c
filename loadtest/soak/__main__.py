"""`python -m loadtest.soak`: the command line, and what one sees while it runs."""

import asyncio
import shlex
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from loadtest.bench.command import FAILED, INTERRUPTED, RESULTS, WRONG, Voice, raise_files, to_the_end
from loadtest.bench.machine import record
from loadtest.chaos.proxy import INSTALL, installed
from loadtest.soak import k6
from loadtest.soak.figures import figures
from loadtest.soak.report import verdict, write
from loadtest.soak.session import soak
from loadtest.soak.stage import POD, Options

STREAMS_MOST = 16_000
"""k6 has a file open for each, and a process may open 20,000 on the usual machine."""

UNNAMED = "unnamed"
"""The end of a folder that git leaves alone."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
voice = Voice("soak")


@app.command()
def main(
    minutes: Annotated[float, typer.Option(min=0.25, max=60 * 24 * 7, help="How long the scenario lasts.")] = 5.0,
    streams: Annotated[int, typer.Option(min=20, max=STREAMS_MOST, help="EventSources.")] = 2000,
    pods: Annotated[int, typer.Option(min=1, max=9, help="With one there is no proxy, and no pod comes or goes.")] = 3,
    scenario: Annotated[str, typer.Option(help=f"One of {', '.join(k6.scenarios())}.")] = "soak",
    churn: Annotated[
        float, typer.Option(min=0, max=6000, help="Percent of the streams whose connection is cut within a minute.")
    ] = 5.0,
    rate: Annotated[float, typer.Option(min=0.1, max=1000, help="Events per second.")] = 10.0,
    pod: Annotated[str, typer.Option(help="Another command that starts a pod.")] = "",
    results: Annotated[Path, typer.Option(help="Where the folder of results is put.")] = RESULTS,
    name: Annotated[str, typer.Option(help="Ends the name of that folder.")] = "",
    keep: Annotated[bool, typer.Option("--keep", help="Keep the logs of a good run too.")] = False,
) -> None:
    """A scenario of k6 against some pods, which are weighed meanwhile, and of which one after the other is exchanged.

    Ends with 1 where a threshold of the scenario was crossed, or a pod leaks.
    """
    options = Options(scenario, minutes, streams, pods, churn, rate, tuple(shlex.split(pod)) or POD)
    voice.check_name(name)
    _check(options)
    try:
        k6.build()
        raise_files()
    except RuntimeError as wrong:
        voice.fail(str(wrong), WRONG)
    machine = record()
    work = Path(tempfile.mkdtemp(prefix="ssecast-soak-"))
    kept = True
    try:
        outcome = to_the_end(soak(options, work, voice.say))
        found = figures(outcome)
        folder = results / f"{datetime.now(UTC):%Y-%m-%d}-k6-{scenario}-{name or UNNAMED}"
        write(folder, outcome, found, machine, work / "summary.html")
        kept = keep or bool(found.wrong)
    except (KeyboardInterrupt, asyncio.CancelledError):
        kept = False
        voice.fail(INTERRUPTED, FAILED)
    except (RuntimeError, OSError) as wrong:
        voice.fail(f"{str(wrong) or type(wrong).__name__}; logs are in {work}", FAILED)
    finally:
        if not kept:
            shutil.rmtree(work, ignore_errors=True)
    voice.say(f"{folder / 'README.md'}")
    if found.wrong:
        voice.fail(f"{verdict(outcome, found)} Logs are in {work}", FAILED)
    voice.say(verdict(outcome, found))
    if keep:
        voice.say(f"Logs are in {work}")


def _check(options: Options) -> None:
    """Ends the command where such a run cannot be made."""
    known = k6.scenarios()
    if options.scenario not in known:
        voice.fail(f"{options.scenario} is no scenario; there are {', '.join(known)}", WRONG)
    if options.pods > 1 and not installed():
        voice.fail(f"several pods need HAProxy in front of them: {INSTALL}; or --pods 1", WRONG)


if __name__ == "__main__":
    app(prog_name="ssecast soak")
