"""`python -m loadtest.replay`: the command line, and what one sees while it runs."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from loadtest.bench.command import FAILED, RESULTS, WRONG, Voice
from loadtest.fleet.command import STREAMS_MOST, NatsImage, OperatorImage, PodImage, Rate, Results, machine, on_cluster
from loadtest.fleet.objects import Images, Policy
from loadtest.replay.comparison import BodyError
from loadtest.replay.report import write
from loadtest.replay.session import replay

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
voice = Voice("replay")


@app.command()
def main(
    streams: Annotated[int, typer.Option(min=300, max=STREAMS_MOST, help="Clients at the height.")] = 3200,
    rate: Rate = 10.0,
    image: PodImage = Images.service,
    operator_image: OperatorImage = Images.operator,
    nats_image: NatsImage = Images.nats,
    results: Results = RESULTS,
    draw: Annotated[
        Path | None, typer.Option(help="A folder with a results.json: make its page and picture anew, and no more.")
    ] = None,
) -> None:
    """A kick-off and its end on the cluster that KUBECONFIG names, with real streams, and the simulator's curve beside it.

    Ends with 1 where a client gave up, or more reconnected in a second than the budget.
    """
    if draw:
        _write(draw, _read(draw / "results.json"))
        return
    policy, images = _policy(streams), Images(image, operator_image, nats_image)
    body, work = on_cluster(voice, images, policy, rate, lambda stage: replay(stage, streams, voice.say))
    folder = results / f"{datetime.now(UTC):%Y-%m-%d}-replay"
    _write(folder, body | {"machine": machine()})
    peak = max(body["forced"], default=0)
    if body["gave_up"] or peak > policy.budget:
        voice.fail(f"{body['gave_up']:,} gave up; {peak:,} reconnects in a second, budget {policy.budget:,}", FAILED)
    shutil.rmtree(work, ignore_errors=True)


def _policy(streams: int) -> Policy:
    """As many streams want the most pods, and the fewest at first can take less than all of them: some are refused."""
    burst = streams // 32
    target = round((streams + burst) / (Policy.pods[1] - 0.3))
    return Policy(
        budget=max(50, streams // 20), burst=burst, limit=round(target * 1.5), target_small=target, patience=30
    )


def _read(file: Path) -> dict[str, Any]:
    try:
        body = json.loads(file.read_text())
    except OSError as wrong:
        voice.fail(f"{file} cannot be read: {wrong.strerror}", WRONG)
    except ValueError as wrong:
        voice.fail(f"{file}: {wrong}; expected is JSON", WRONG)
    return dict(body) if isinstance(body, dict) else {}


def _write(folder: Path, body: dict[str, Any]) -> None:
    try:
        write(folder, body)
    except BodyError as wrong:
        voice.fail(f"{folder / 'results.json'}: {wrong}", WRONG)
    voice.say(f"{folder / 'README.md'}")


if __name__ == "__main__":
    app(prog_name="ssecast replay")
