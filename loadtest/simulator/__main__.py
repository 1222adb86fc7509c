"""`python -m loadtest.simulator`: the command line, and the folder that it writes."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from loadtest.bench.peers import ROOT
from loadtest.simulator.goals import FILLED
from loadtest.simulator.report import report
from loadtest.simulator.variants import VARIANTS, points, spec_of
from loadtest.simulator.variants import draw as draw_variants
from ssecast_operator.plots import draw, save
from ssecast_operator.results import Figures, as_json, figures_of
from ssecast_operator.rivals import UTILIZATION
from ssecast_operator.simulation import Scaler, simulate
from ssecast_operator.spec import Spec
from ssecast_operator.traces import BUILT_IN, built_in

KNATIVE_FILLS = Spec.model_validate(
    {"scaling": {"streamsPerPod": {"target": round(Spec().scaling.streams_per_pod.target / UTILIZATION)}}}
)

RESULTS = ROOT / "loadtest" / "results"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def table(
    clients: Annotated[int, typer.Option(help="Most clients at once.", min=1)] = 200_000,
    seeds: Annotated[int, typer.Option(help="How many seeds, from 1.", min=1, max=100)] = 3,
    variants: Annotated[int, typer.Option(help="Seeds for other policies than the shipped one.", min=0, max=100)] = 1,
    results: Annotated[Path | None, typer.Option(help="Folder; default: a new one in loadtest/results.")] = None,
) -> None:
    """Run the shipped policy and its rivals over every built-in trace, and write README.md, results.json and pictures.

    Then some other policies, to see what each of them trades for what.
    """
    folder = results or RESULTS / f"{datetime.now(UTC):%Y-%m-%d}-simulator"
    folder.mkdir(parents=True, exist_ok=True)
    found: list[Figures] = []
    for name in BUILT_IN:
        for seed in range(1, seeds + 1):
            runs = {each.value: simulate(built_in(name, clients), Spec(), each, seed=seed) for each in Scaler}
            found += [figures_of(run) for run in runs.values()]
            found.append(
                figures_of(simulate(built_in(name, clients), KNATIVE_FILLS, Scaler.KNATIVE, seed=seed), FILLED)
            )
            if seed == 1:
                save(draw(runs), folder / f"{name}.png")
        typer.echo(name)
    for variant in VARIANTS if variants else ():
        for name in BUILT_IN:
            for seed in range(1, min(variants, seeds) + 1):
                found.append(figures_of(simulate(built_in(name, clients), spec_of(variant), seed=seed), variant))
        typer.echo(variant)
    if variants:
        save(draw_variants(points(found)), folder / "tradeoffs.png")
    (folder / "results.json").write_text(json.dumps(as_json(found), indent=1) + "\n")
    (folder / "README.md").write_text(report(found, clients))
    typer.echo(f"{folder}/README.md")


if __name__ == "__main__":
    app()
