"""What `simulate` and `recommend` do: read policies, traces and histories, run them, and show what came of it."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from ssecast_operator.history import History, measured, read_range, trace_of
from ssecast_operator.page import Chapter, page
from ssecast_operator.policies import Policy, PolicyError, read_policy
from ssecast_operator.prometheus import PrometheusError, Source, history
from ssecast_operator.recommendation import Past, recommend
from ssecast_operator.results import ROWS, Figures, as_json, figures_of
from ssecast_operator.simulation import Run, Scaler, simulate
from ssecast_operator.spec import Spec
from ssecast_operator.traces import BUILT_IN, Trace, TraceError, built_in, read_csv
from ssecast_operator.world import Surroundings

PICTURES = (".png", ".svg")
MEASURED = "measured"
"""The label of what really happened."""


class InputError(ValueError):
    """What was asked for cannot be done: one sentence."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to run and where to put it; files are empty where nothing is to be written.

    source: a Prometheus whose history is replayed too. now: up to when, in seconds since the Unix epoch.
    """

    files: Sequence[Path] = ()
    traces: Sequence[str] = ("kick-off",)
    source: Source | None = None
    now: float = 0.0
    clients: int = 100_000
    seeds: Sequence[int] = (0,)
    rivals: bool = True
    surroundings: Surroundings = field(default_factory=Surroundings)
    json: Path | None = None
    plot: Path | None = None
    page: Path | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """All runs of one trace with one seed, by label."""

    trace: Trace
    seed: int
    runs: dict[str, Run]

    @property
    def title(self) -> str:
        most, hours = max(self.trace.clients), self.trace.seconds / 3600
        return f"{self.trace.name}: up to {most:,.0f} clients, {hours:.1f} h, seed {self.seed}"

    @property
    def figures(self) -> list[Figures]:
        return [figures_of(run, label) for label, run in self.runs.items()]


def rehearse(request: Request, console: Console) -> None:
    """Raises InputError."""
    policies = [_policy(file) for file in request.files] or [Policy("defaults", Spec())]
    traces: list[tuple[Trace, Run | None]] = [
        (trace, None) for name in request.traces for trace in _traces(name, request.clients)
    ]
    if request.source:
        past = _history(request.source, policies[0].spec, request.now)
        traces.append((trace_of(past), measured(past, policies[0].spec)))
    _check_outputs(request, len(traces) * len(request.seeds))
    outcomes = []
    for trace, real in traces:
        for seed in request.seeds:
            runs = {MEASURED: real} if real else {}
            outcomes.append(Outcome(trace, seed, runs | dict(_runs(request, policies, trace, seed))))
            console.print(table_of(outcomes[-1]))
    if request.json:
        figures = [each for outcome in outcomes for each in outcome.figures]
        request.json.write_text(json.dumps(as_json(figures), indent=1) + "\n")
    _draw(request, outcomes)


def _runs(request: Request, policies: Sequence[Policy], trace: Trace, seed: int) -> Iterable[tuple[str, Run]]:
    """Each policy by the operator; with one policy, the rivals at the same target."""
    for policy in policies:
        label = policy.name if len(policies) > 1 else Scaler.OPERATOR.value
        yield label, simulate(trace, policy.spec, Scaler.OPERATOR, request.surroundings, seed, pause=policy.pause)
    if request.rivals and len(policies) == 1:
        for rival in (Scaler.HPA, Scaler.KNATIVE):
            yield rival.value, simulate(trace, policies[0].spec, rival, request.surroundings, seed)


def advise(request: Request) -> str:
    """A Broadcaster in YAML with its reasons, from one trace or history. Raises InputError."""
    policy = _policy(request.files[0]) if request.files else Policy("recommended", Spec())
    if request.source:
        past = _past_of(_history(request.source, policy.spec, request.now))
    else:
        trace, *others = _traces(request.traces[0], request.clients)
        if others:
            raise InputError(
                f"--trace {request.traces[0]} are {1 + len(others)} traces; expected is one to recommend from"
            )
        past = Past(trace.name, np.array(trace.times), np.array(trace.clients))
    return recommend(past, policy.spec, policy.name).text


def _past_of(found: History) -> Past:
    capacity = found.columns["capacity"]
    return Past(
        what=f"{found.name}, {found.at(0)} to {found.at(float(found.times[-1]))}",
        times=found.times,
        clients=found.clients,
        capacity=int(min(capacity[capacity > 0], default=0)),
        hottest=int(found.columns["hottest"].max()),
        opened=float(found.columns["opened"].max()),
    )


def _history(source: Source, spec: Spec, now: float) -> History:
    try:
        return history(source, spec.scaling.streams_per_pod.target, now)
    except PrometheusError as wrong:
        raise InputError(str(wrong)) from None


def table_of(outcome: Outcome) -> Table:
    """For people."""
    most = max(outcome.trace.clients)
    title = (
        f"{outcome.trace.name}: up to {most:,.0f} clients, {outcome.trace.seconds / 3600:.1f} h, seed {outcome.seed}"
    )
    table = Table(title=title, title_justify="left")
    table.add_column("")
    figures = outcome.figures
    for each in figures:
        table.add_column(each.label, justify="right")
    for row in ROWS:
        table.add_row(row.words, *(row.shown(each) for each in figures))
    return table


def _policy(file: Path) -> Policy:
    try:
        return read_policy(_text(file), str(file))
    except PolicyError as wrong:
        raise InputError(str(wrong)) from None


def _traces(name: str, clients: int) -> list[Trace]:
    """Built in, all of those, or from a file."""
    if name == "all":
        return [built_in(each, clients) for each in BUILT_IN]
    if name in BUILT_IN:
        return [built_in(name, clients)]
    if not name.endswith((".csv", ".json")):
        raise InputError(
            f"there is no trace {name!r}; expected is a file that ends in .csv or .json, all, or one of {', '.join(BUILT_IN)}"
        )
    read = read_csv if name.endswith(".csv") else read_range
    try:
        return [read(_text(Path(name)), name)]
    except TraceError as wrong:
        raise InputError(str(wrong)) from None


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError as wrong:
        raise InputError(f"{file} cannot be read: {wrong.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{file} cannot be read: it is no text") from None


def _check_outputs(request: Request, outcomes: int) -> None:
    """Before anything is run: an hour of simulations must not end in a mistyped name."""
    for path in (request.json, request.plot, request.page):
        if path and not path.parent.is_dir():
            raise InputError(f"{path} cannot be written: there is no folder {path.parent}")
    if request.plot and request.plot.suffix not in PICTURES:
        raise InputError(f"{request.plot} is no picture; expected is a name that ends in {' or '.join(PICTURES)}")
    if request.plot and outcomes > 1 and "{" not in request.plot.name:
        raise InputError(f"{request.plot} is one picture for {outcomes} runs; expected is a name with {{trace}} in it")


def _draw(request: Request, outcomes: Sequence[Outcome]) -> None:
    if not (request.plot or request.page):
        return
    from ssecast_operator.plots import as_svg, draw, save  # matplotlib takes a second to load; only pictures need it

    if request.plot:
        for outcome in outcomes:
            save(draw(outcome.runs), Path(_named(str(request.plot), outcome)))
    if request.page:
        chapters = [Chapter(outcome.title, outcome.figures, as_svg(draw(outcome.runs))) for outcome in outcomes]
        request.page.write_text(page(chapters))


def _named(name: str, outcome: Outcome) -> str:
    return name.replace("{trace}", Path(outcome.trace.name).stem).replace("{seed}", str(outcome.seed))
