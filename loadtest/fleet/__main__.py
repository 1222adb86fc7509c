"""`python -m loadtest.fleet`: the command line, and what one sees while it runs."""

import shutil
from datetime import UTC, datetime
from typing import Annotated

import typer

from loadtest.bench.command import FAILED, RESULTS, Voice
from loadtest.fleet.command import STREAMS_MOST, NatsImage, OperatorImage, PodImage, Rate, Results, machine, on_cluster
from loadtest.fleet.objects import Images, Policy
from loadtest.fleet.report import write, wrong
from loadtest.fleet.session import run

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
voice = Voice("fleet")


@app.command()
def main(
    streams: Annotated[int, typer.Option(min=300, max=STREAMS_MOST, help="EventSources.")] = 3200,
    rate: Rate = 10.0,
    image: PodImage = Images.service,
    operator_image: OperatorImage = Images.operator,
    nats_image: NatsImage = Images.nats,
    results: Results = RESULTS,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the records of a good run too.")] = False,
) -> None:
    """A fleet on the cluster that KUBECONFIG names grows, evens out, rolls out and shrinks under real streams.

    Ends with 1 where an event was lost or duplicated, a client gave up, or more reconnected in a second than the budget.
    """
    policy, images = _policy(streams), Images(image, operator_image, nats_image)
    outcome, work = on_cluster(voice, images, policy, rate, lambda stage: run(stage, streams, voice.say))
    folder = results / f"{datetime.now(UTC):%Y-%m-%d}-fleet"
    write(folder, outcome, policy, machine())
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


if __name__ == "__main__":
    app(prog_name="ssecast fleet")
