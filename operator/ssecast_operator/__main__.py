"""The commands of the operator."""

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
import yaml

from ssecast_operator.crd import rendered
from ssecast_operator.explain import explain as explained
from ssecast_operator.quantities import range_seconds
from ssecast_operator.rights import rights

if TYPE_CHECKING:
    from ssecast_operator.prometheus import Source

NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

Prometheus = Annotated[str, typer.Option(help="Address of a Prometheus that scrapes the pods: its history is taken.")]
Lasting = Annotated[str, typer.Option("--range", help="How far back, such as 7d, 36h or 90m.")]
Name = Annotated[str, typer.Option(help="Name of the Broadcaster whose history is taken.")]
Namespace = Annotated[
    str, typer.Option("--namespace", "-n", help="Its namespace, where several have one of that name.")
]
Token = Annotated[
    str,
    typer.Option(
        "--prometheus-token",
        envvar="SSECAST_PROMETHEUS_TOKEN",
        show_envvar=True,
        help="Sent to Prometheus as a bearer; better by the environment.",
    ),
]

app = typer.Typer(
    name="ssecast-operator",
    help="Runs fleets of ssecast pods on Kubernetes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def operator() -> None:
    """Keeps the one command a command with a name."""


@app.command()
def crd() -> None:
    """Print the CustomResourceDefinition, as the chart ships it."""
    typer.echo(rendered(), nl=False)


@app.command()
def rbac(
    namespace: Annotated[str, typer.Option(help="Namespace of the operator.")] = "default",
    cluster: Annotated[bool, typer.Option(help="It looks after all namespaces, not only its own.")] = False,
    manage_crd: Annotated[bool, typer.Option(help="It keeps the CustomResourceDefinition up to date.")] = False,
) -> None:
    """Print the ServiceAccount, roles and bindings that `run` needs."""
    typer.echo(yaml.safe_dump_all(rights(namespace, cluster=cluster, manage_crd=manage_crd), sort_keys=False), nl=False)


@app.command()
def explain(
    name: Annotated[str, typer.Argument(help="Name of the Broadcaster.")],
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Its namespace; default: kubectl's.")] = "",
    file: Annotated[
        str, typer.Option(help="The object as JSON in a file, - for standard input; default: asks kubectl.")
    ] = "",
) -> None:
    """Say why a Broadcaster has as many pods as it has, from its status alone."""
    try:
        body = json.loads(_given(file) if file else _asked(name, namespace))
    except ValueError as wrong:
        raise _failed(f"this is not a Broadcaster in JSON: {wrong}") from None
    if not isinstance(body, dict) or body.get("metadata", {}).get("name") != name:
        raise _failed(f"this is not the Broadcaster {name!r}")
    typer.echo(explained(body), nl=False)


@app.command()
def run(
    image: Annotated[
        str, typer.Option(envvar="SSECAST_OPERATOR_IMAGE", help="Image of pods whose Broadcaster names none.")
    ] = "",
    namespace: Annotated[
        str,
        typer.Option(envvar="POD_NAMESPACE", help="Namespace of the operator itself; default: its service account's."),
    ] = "",
    watch: Annotated[
        str,
        typer.Option(
            envvar="SSECAST_OPERATOR_WATCH",
            help="Namespaces that are looked after, a comma list; * for all; default: the operator's own.",
        ),
    ] = "",
    labels: Annotated[
        str,
        typer.Option(
            envvar="SSECAST_OPERATOR_LABELS",
            help="Labels of the operator's pod (a=b,c=d), by which NetworkPolicies let it reach the pods.",
        ),
    ] = "app=ssecast-operator",
    manage_crd: Annotated[
        bool,
        typer.Option(
            envvar="SSECAST_OPERATOR_MANAGE_CRD", help="Bring the CustomResourceDefinition up to date at start."
        ),
    ] = True,
    port: Annotated[
        int, typer.Option(envvar="SSECAST_OPERATOR_PORT", help="Port of /healthz and /metrics.", min=1, max=65535)
    ] = 8081,
    log_level: Annotated[
        str, typer.Option(envvar="SSECAST_OPERATOR_LOG_LEVEL", help="debug, info, warning or error.")
    ] = "info",
) -> None:
    """Run the operator until a signal ends it."""
    import uvloop
    from lightkube.core.exceptions import ConfigError

    from ssecast_operator.logs import configure
    from ssecast_operator.runtime import Operator, Options

    if log_level.upper() not in logging.getLevelNamesMapping():
        raise _failed(f"--log-level is {log_level!r}; it must be debug, info, warning or error")
    configure(log_level)
    own = namespace or (NAMESPACE_FILE.read_text() if NAMESPACE_FILE.exists() else "default")
    options = Options(
        image=image or f"ghcr.io/ssecast/ssecast:{version('ssecast')}",
        namespace=own,
        namespaces=() if watch == "*" else tuple(each.strip() for each in watch.split(",") if each.strip()) or (own,),
        manage_crd=manage_crd,
        port=port,
        labels=_labels(labels),
    )

    async def main() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await Operator(options).run(stop)

    try:
        uvloop.run(main())  # a connection to each of a thousand pods costs half of what it costs asyncio's own loop
    except ConfigError as wrong:
        raise _failed(
            f"no cluster is known: there is no service account, and KUBECONFIG or ~/.kube/config must name one ({wrong})"
        ) from None


@app.command()
def simulate(
    file: Annotated[
        Path | None, typer.Argument(help="A Broadcaster as YAML; default: one of which nothing is said.")
    ] = None,
    compare: Annotated[
        tuple[Path, Path] | None, typer.Option(help="Two Broadcasters, one beside the other, instead of rivals.")
    ] = None,
    trace: Annotated[
        list[str] | None,
        typer.Option(
            help="A built-in trace, all, a CSV file with time,clients, or a saved answer of Prometheus' query_range as JSON; "
            "may be repeated. Default: kick-off."
        ),
    ] = None,
    clients: Annotated[int, typer.Option(help="Most clients at once in built-in traces.", min=1, max=10**9)] = 100_000,
    seed: Annotated[list[int] | None, typer.Option(help="Seed; may be repeated. Default: 0.", min=0)] = None,
    rivals: Annotated[bool, typer.Option(help="Also run an HPA and Knative's rule at the same target.")] = True,
    routing: Annotated[
        str, typer.Option(help="How clients reach pods: round-robin, least-connections or power-of-two.")
    ] = "round-robin",
    start_seconds: Annotated[float, typer.Option(help="Until a new pod is ready.", min=0, max=3600)] = 20.0,
    scrape_loss: Annotated[
        float, typer.Option(help="Share of questions about load without an answer.", min=0, max=1)
    ] = 0.0,
    api_delay: Annotated[float, typer.Option(help="Seconds until a decision is carried out.", min=0, max=600)] = 1.0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw here, .png or .svg; {trace} and {seed} in the name are replaced.")
    ] = None,
    page: Annotated[Path | None, typer.Option("--html", help="Write one self-contained page here.")] = None,
    prometheus: Prometheus = "",
    lasting: Lasting = "7d",
    broadcaster: Name = "",
    namespace: Namespace = "",
    token: Token = "",
) -> None:
    """Try a policy in virtual time, beside an HPA and Knative's rule at the same target.

    With --prometheus it is tried on what really happened, and that stands beside it.
    """
    try:
        from rich.console import Console

        from ssecast_operator.rehearsal import InputError, Request, rehearse
        from ssecast_operator.routing import Routing
        from ssecast_operator.world import Surroundings
    except ModuleNotFoundError as missing:
        raise _not_installed("simulate", missing) from None
    if routing not in list(Routing):
        raise _failed(f"--routing is {routing!r}; it must be {', '.join(Routing)}")
    if file and compare:
        raise _failed("there are a file and --compare; expected is one of them")
    request = Request(
        files=compare or ((file,) if file else ()),
        traces=tuple(trace or (() if prometheus else ("kick-off",))),
        source=_source(prometheus, lasting, broadcaster, namespace, token),
        now=time.time(),
        clients=clients,
        seeds=tuple(seed or (0,)),
        rivals=rivals,
        surroundings=Surroundings(
            Routing(routing), start_seconds=start_seconds, scrape_loss=scrape_loss, api_delay=api_delay
        ),
        json=json_file,
        plot=plot,
        page=page,
    )
    try:
        rehearse(request, Console())
    except InputError as wrong:
        raise _failed(str(wrong)) from None


@app.command()
def recommend(
    file: Annotated[
        Path | None, typer.Argument(help="The Broadcaster as it is, as YAML; default: one of which nothing is said.")
    ] = None,
    trace: Annotated[
        str, typer.Option(help="A CSV file with time,clients, or a saved answer of Prometheus' query_range as JSON.")
    ] = "",
    prometheus: Prometheus = "",
    lasting: Lasting = "7d",
    broadcaster: Name = "",
    namespace: Namespace = "",
    token: Token = "",
) -> None:
    """Print target, limit, burst and budget that suit what happened, each with its reason, as YAML that simulate takes."""
    try:
        from ssecast_operator.rehearsal import InputError, Request, advise
    except ModuleNotFoundError as missing:
        raise _not_installed("recommend", missing) from None
    if bool(trace) == bool(prometheus):
        raise _failed("expected is one of --trace and --prometheus: what to recommend from")
    source = _source(prometheus, lasting, broadcaster, namespace, token)
    request = Request(files=(file,) if file else (), traces=(trace,), source=source, now=time.time())
    try:
        typer.echo(advise(request), nl=False)
    except InputError as wrong:
        raise _failed(str(wrong)) from None


def _source(url: str, lasting: str, broadcaster: str, namespace: str, token: str) -> "Source | None":
    """Whom to ask for a history, if anybody. numpy is needed for it."""
    from ssecast_operator.history import Subject
    from ssecast_operator.prometheus import Source

    if not url:
        if broadcaster or namespace:
            raise _failed("there is a --broadcaster or a --namespace, and no --prometheus that is asked for it")
        return None
    if not broadcaster:
        raise _failed("--prometheus needs --broadcaster, the name of the one whose history is wanted")
    try:
        return Source(url, range_seconds(lasting), Subject(broadcaster, namespace), token)
    except ValueError as wrong:
        raise _failed(f"--range is {wrong}") from None


def _not_installed(command: str, missing: ModuleNotFoundError) -> typer.Exit:
    return _failed(f"{command} needs {missing.name}; install it with: pip install 'ssecast[operator,simulate]'")


def _labels(text: str) -> dict[str, str]:
    pairs = [each.partition("=") for each in text.split(",") if each.strip()]
    if not pairs or any(not found or not name.strip() for name, found, _ in pairs):
        raise _failed(f"--labels is {text!r}; it must be such as app=ssecast-operator,tier=control")
    return {name.strip(): value.strip() for name, _, value in pairs}


def _given(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text()
    except OSError as wrong:
        raise _failed(f"{file} cannot be read: {wrong.strerror}") from None


def _asked(name: str, namespace: str) -> str:
    command = ["kubectl", "get", "broadcasters.ssecast.dev", name, "--output=json"]
    try:
        done = subprocess.run(
            command + ([f"--namespace={namespace}"] if namespace else []),
            capture_output=True,
            text=True,
            env=os.environ,
        )
    except FileNotFoundError:
        raise _failed("kubectl is not installed; without it, give the object by --file") from None
    if done.returncode:
        raise _failed(done.stderr.strip())
    return done.stdout


def _failed(sentence: str) -> typer.Exit:
    typer.echo(f"ssecast-operator: {sentence}", err=True)
    return typer.Exit(2)


def main() -> None:
    """The console script."""
    app(prog_name="ssecast-operator")


if __name__ == "__main__":
    main()
