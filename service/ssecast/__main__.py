"""The commands. They read the settings and say what is wrong with them; everything else is the server's."""

import os
import shlex
import socket
import sys
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from ssecast import __version__
from ssecast.logs import Level, configure
from ssecast.settings import PREFIX, Settings, SettingsError, described, load_settings
from ssecast.subjects import covered

BAD_SETTINGS = 2
"""Exit code; the same as for a wrong option."""

NATS_PORT = 4222

CHECKOUT = Path(__file__).parents[2]
"""Where the repository is, where this is one."""

app = typer.Typer(
    name="ssecast",
    help="Broadcasts what publishers push to NATS to any number of browsers over Server-Sent Events.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _settings_help() -> str:
    lines = [f"  {name}  [{default}]\n      {text}" for name, default, text in described()]
    # \b keeps click from filling the lines to paragraphs.
    return "Settings, from the environment [default]:\n\n\b\n" + "\n".join(lines)


LogLevel = Annotated[Level, typer.Option(help="Least severe level that is logged.", case_sensitive=False)]


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"ssecast {__version__}")
        raise typer.Exit


@app.callback()
def ssecast(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None:
    """Read by typer for `--version`; the commands do the work."""


@app.command(epilog=_settings_help())
def serve(log_level: LogLevel = Level.INFO) -> None:
    """Run one pod. It needs a NATS server, and is configured by SSECAST_* variables only.

    Exit code 2 and one sentence per wrong setting before any port opens; SIGTERM or Ctrl-C drains and stops it.
    """
    configure(log_level)
    settings = _load(os.environ)
    from ssecast import server, tracing  # late: help and settings' sentences need none of their weight

    _refuse([*tracing.problems(os.environ), *_key_problems(settings)])
    raise typer.Exit(server.run(settings))


@app.command()
def dev(
    port: Annotated[int, typer.Option(help="Port of streams, publishing and the page.")] = 8080,
    admin_port: Annotated[int, typer.Option(help="Port of health, metrics and load.")] = 9090,
    host: Annotated[str, typer.Option(help="Address that both listen on.")] = "127.0.0.1",
    subjects: Annotated[str, typer.Option(help="Subjects to serve, a comma list.")] = "events.>",
    log_level: LogLevel = Level.WARNING,
) -> None:
    """Try it: an embedded nats-server, one pod and a page, and what to type next. Ctrl-C stops all of it.

    Publishing and the page are on; other SSECAST_* variables apply, those about NATS and draining do not.
    """
    configure(log_level)
    given = {"PORT": str(port), "ADMIN_PORT": str(admin_port), "HOST": host, "SUBJECTS": subjects}
    environ = dev_environ(os.environ, **given)
    _refuse(_key_problems(_load(environ)))  # what is wrong is said before the nats-server starts
    # A Ctrl-C before the server has taken over the signal is a wish like any other.
    with suppress(KeyboardInterrupt):
        raise typer.Exit(_serve_with_nats(environ))


@app.command(
    add_help_option=False,  # the benchmark has its own
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def bench(arguments: typer.Context) -> None:
    """Measure it side by side with other servers (in a checkout of the repository only)."""
    if not (CHECKOUT / "loadtest" / "bench").is_dir():
        _fail("`ssecast bench` needs a checkout of the repository: there, `make bench` does the same.")
    os.chdir(CHECKOUT)
    os.execv(sys.executable, [sys.executable, "-m", "loadtest.bench", *arguments.args])


def dev_environ(environ: Mapping[str, str], **given: str) -> dict[str, str]:
    """The environment of a pod beside an embedded nats-server: ours, without what is said about other NATS servers."""
    kept = {name: value for name, value in environ.items() if not name.startswith(f"{PREFIX}NATS_")}
    fixed = {"PAGE": "true", "PUBLISH": "true", "DRAIN_SECONDS": "0", "DRAIN_DELAY_SECONDS": "0"}
    given["ADMIN_HOST"] = given.get("HOST", "127.0.0.1")
    return kept | {PREFIX + name: value for name, value in (given | fixed).items()}


def banner(settings: Settings) -> str:
    """What to type next, ready to be pasted into a shell."""
    subject = sample(settings.subjects)
    url = f"http://{_reachable(settings.host)}:{settings.port}"
    publish = (
        f'import nats; c = await nats.connect("{settings.nats_url}"); '
        f'await c.publish("{subject}", b"hello from NATS"); await c.drain()'
    )
    lines = {
        "Watch it in a browser": f"{url}/",
        "Watch it in a terminal": f"curl -N {shlex.quote(f'{url}/events?subject={settings.subjects[0]}')}",
        "Publish over HTTP": f"curl -d hello {shlex.quote(f'{url}/publish/{subject}')}",
        "Publish with nothing but NATS": f"echo {shlex.quote(publish)} | {shlex.quote(sys.executable)} -m asyncio",
    }
    text = "\n".join(f"{what}:\n    {line}" for what, line in lines.items())
    return f"ssecast {__version__} is up, NATS at {settings.nats_url}\n\n{text}\n\nCtrl-C stops all of it.\n"


def sample(subjects: tuple[str, ...]) -> str:
    """A subject without wildcards that is served."""
    tokens = subjects[0].split(".")
    tail = ["demo", "hello"] if tokens[-1] == ">" else [tokens[-1].replace("*", "hello")]
    subject = ".".join([*(token.replace("*", "demo") for token in tokens[:-1]), *tail])
    assert covered(subject, subjects)
    return subject


def _serve_with_nats(environ: Mapping[str, str]) -> int:
    try:
        from ssecast import server, tracing  # late, as in serve
        from ssecast.dev import EmbeddedNats
    except ModuleNotFoundError as missing:
        if (missing.name or "").startswith("ssecast"):
            raise
        _fail(f"`ssecast dev` needs {missing.name}: install it with pip install 'ssecast[dev]'.")
    _refuse(tracing.problems(environ))
    with ExitStack() as stack:
        try:
            nats = stack.enter_context(EmbeddedNats(port=_usual_port_or_any()))
        except FileNotFoundError as missing:
            _fail(f"`ssecast dev` needs nats-server ({missing}): install it with pip install 'ssecast[dev]'.")
        settings = _load({**environ, f"{PREFIX}NATS_URL": nats.url})
        return server.run(settings, lambda: typer.echo(banner(settings)))


def _usual_port_or_any() -> int:
    """NATS's usual port, so that what people copy from elsewhere works; 0, for any, where something listens there."""
    with socket.socket() as sock, suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", NATS_PORT))
        return NATS_PORT
    return 0


def _reachable(host: str) -> str:
    """The host as a client on this machine writes it."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{host}]" if ":" in host else host


def _key_problems(settings: Settings) -> list[str]:
    if settings.jwt_key_file is None:
        return []
    from ssecast import keys  # late: the weight of cryptography is for those who use it

    return keys.problems(settings.jwt_key_file, settings.jwt_algorithms)


def _load(environ: Mapping[str, str]) -> Settings:
    try:
        settings = load_settings(environ)
    except SettingsError as wrong:
        _fail(*wrong.sentences)
    return settings


def _refuse(sentences: list[str]) -> None:
    if sentences:
        _fail(*sentences)


def _fail(*sentences: str) -> NoReturn:
    for sentence in sentences:
        typer.echo(f"ssecast: {sentence}", err=True)
    raise typer.Exit(BAD_SETTINGS)


def main() -> None:
    """The console script."""
    app(prog_name="ssecast")


if __name__ == "__main__":
    main()
