"""Files of a run: JSON with every measurement, a Markdown page with tables, and plots."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from loadtest.bench.figures import verdicts
from loadtest.bench.plots import draw
from loadtest.bench.results import Results, table, to_json
from loadtest.bench.scenarios import SCENARIOS

HOW = """Medians of the rounds, least and most in parentheses. In each round every peer ran once, in turn, each time as a new
process with a new nats-server. Client, publisher and nats-server ran on the same machine, so times hold the client's share
too: compare them with each other, not with other machines. How it is measured: [loadtest/README.md](../../README.md).
"""


def write(folder: Path, results: Results, machine: Mapping[str, str], notes: Iterable[str]) -> None:
    """Writes all files of a run into a folder, which is made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    said = list(notes)
    (folder / "results.json").write_text(to_json(results, machine, said))
    pictures = draw(results, folder, f"{machine['cores']} cores, {machine['cpu']}, commit {machine['commit']}")
    (folder / "README.md").write_text("\n".join(page(results, machine, said, pictures)) + "\n")


def page(results: Results, machine: Mapping[str, str], notes: list[str], pictures: list[str]) -> Iterator[str]:
    yield "# Fan-out benchmark\n"
    yield HOW
    yield "| machine | |\n| --- | --- |"
    yield from (f"| {name} | {value} |" for name, value in machine.items())
    yield "\n## Figures\n"
    yield from figures(results)
    for scenario in SCENARIOS:
        if results.of(scenario.name):
            yield f"\n## ({scenario.number}) {scenario.title}\n"
            yield from table(results, scenario.name, scenario.shown)
    if pictures:
        yield "\n## Plots\n"
        yield from (f"![{picture}]({picture}.png)" for picture in pictures)
    if notes:
        yield "\n## What is missing\n"
        yield from (f"- {' '.join(note.split())}" for note in notes)


def figures(results: Results) -> Iterator[str]:
    """The figures to reach; ✓✓: the aim, ✓: what is asked at least, ✗: neither."""
    yield "| what | streams | measured | at least | aim |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    yield from (f"| {' | '.join(row)} |" for row in verdicts(results))
