"""`python -m loadtest.bench`: the command line, and what one sees while it runs."""

import re
import signal
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from loadtest.bench import toolchain
from loadtest.bench.machine import record
from loadtest.bench.peers import MAX_STREAMS, ROOT, before
from loadtest.bench.report import figures, write
from loadtest.bench.results import Results, from_json
from loadtest.bench.roster import chosen
from loadtest.bench.scenarios import SCENARIOS, Scenario
from loadtest.bench.session import Choice, Run, busy, carry_out, plan

WRONG = 2
RESULTS = ROOT / "loadtest" / "results"
NAMES = ", ".join(scenario.name for scenario in SCENARIOS)
NAME = re.compile(r"[A-Za-z0-9.-]*")
FLEETS_MOST = 10 * MAX_STREAMS

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
screen = Console(stderr=True)


@app.command()
def bench(
    quick: Annotated[bool, typer.Option("--quick", help="Fewer streams, one round; within three minutes.")] = False,
    scenario: Annotated[list[str] | None, typer.Option(help=f"One of {NAMES}; may be repeated.")] = None,
    peer: Annotated[list[str] | None, typer.Option(help="A peer's name; may be repeated.")] = None,
    streams: Annotated[list[int] | None, typer.Option(min=10, help="Instead of the scenario's own sweep.")] = None,
    rounds: Annotated[int, typer.Option(min=1, max=50, help="How often each peer runs.")] = 3,
    name: Annotated[str, typer.Option(help="Ends the name of the folder of results.")] = "",
    against: Annotated[
        Path | None, typer.Option(help="Another checkout, whose pod is measured side by side with this one's.")
    ] = None,
    redraw: Annotated[
        Path | None, typer.Option(help="Measure nothing: write a folder's tables and plots anew.")
    ] = None,
    results: Annotated[Path, typer.Option(help="Where the folder of results is put.")] = RESULTS,
) -> None:
    """Measures ssecast side by side with other servers, and writes tables and plots into loadtest/results/.

    Everything runs on this machine, on loopback. It judges nothing: people do.
    """
    if redraw is not None:
        write(redraw, *from_json((redraw / "results.json").read_text()))
        return
    if not NAME.fullmatch(name):
        _fail(f"--name {name!r} ends the name of a folder: letters, digits, dots and dashes")
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, _interrupt)
    try:
        toolchain.build()
        others = [] if against is None else [before(against)]
        peers, skipped = chosen(peer or (["ssecast"] if others else ()))
        wanted = _scenarios(scenario or ())
    except (ValueError, RuntimeError) as wrong:
        _fail(str(wrong))
    most = FLEETS_MOST if all(each.name == "fleet" for each in wanted) else MAX_STREAMS
    if streams and max(streams) > most:
        _fail(f"at most {most:,} streams: a process may open only so many files")
    for sentence in skipped:
        screen.print(sentence, highlight=False, style="yellow")
    choice = Choice(wanted, [*peers, *others], rounds, streams or (), quick, named=bool(peer or others))
    machine = record(against)  # before: what is measured is what was there when it began
    found, notes = _with_progress(choice)
    folder = results / f"{datetime.now(UTC):%Y-%m-%d}-{name or ('quick' if quick else machine['commit'].split()[0])}"
    write(folder, found, machine, [*skipped, *notes, *busy(found.measurements)])
    _show(found, folder)


def _with_progress(choice: Choice) -> tuple[Results, list[str]]:
    runs = list(plan(choice))
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=screen) as progress:
        task = progress.add_task("starting", total=len(runs))

        def tell(run: Run, outcome: str) -> None:
            progress.update(task, description=str(run), advance=1 if outcome else 0)
            if outcome not in ("", "done") or (outcome and not screen.is_terminal):
                progress.console.print(f"{run}: {outcome}", highlight=False)

        return carry_out(choice, runs, tell)


def _scenarios(names: Iterable[str]) -> list[Scenario]:
    """The scenarios of these names or numbers, or all. Raises ValueError."""
    known = {key: scenario for scenario in SCENARIOS for key in (scenario.name, str(scenario.number))}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"{unknown[0]} is no scenario; there are {NAMES}")
    return [known[name] for name in names] or list(SCENARIOS)


def _show(results: Results, folder: Path) -> None:
    Console().print(Markdown("\n".join(figures(results))))
    Console().print(f"Tables and plots: {folder / 'README.md'}", highlight=False)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _fail(sentence: str) -> NoReturn:
    screen.print(f"bench: {sentence}", style="red", highlight=False)
    raise typer.Exit(WRONG)


if __name__ == "__main__":
    app(prog_name="ssecast bench")
