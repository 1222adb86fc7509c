"""Commands of the pages that need no cluster: those that ask NATS, and the simulator."""

import asyncio
import os
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import nats
import pytest

from ssecast.dev import EmbeddedNats
from ssecast_operator.simulation import simulate
from ssecast_operator.traces import built_in
from tests.docs.pages import Command
from tests.docs.shares import HISTORY, NATS_LINES, SIMULATION, flat
from tests.docs.terminal import Terminal
from tests.fleets import spec_of
from tests.monitoring.remembered import Scrapes, remembering
from tests.nats_parts import NATS_CLI
from tests.proxies.programs import on_path

ACCOUNTS = """
system_account: SYS
accounts {
  SYS { users: [{user: sys, password: sys}] }
  APP { jetstream: enabled, users: [{user: app, password: app}] }
}
no_auth_user: app
"""

FILLED = {"--max-bytes=…": "--max-bytes=32MB", "--max-age=…": "--max-age=20m", "--subject=…": "--subject=events.x"}
"""What stands here for what somebody would choose."""

ASKS = ("nats stream edit", "nats stream purge")
"""Those that want a yes from a person."""


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedNats]:
    """With the stream of a Broadcaster `news` in a namespace `shop`, and an account for the system."""
    with EmbeddedNats(config=ACCOUNTS) as running:
        asyncio.run(_fill(running.url))
        yield running


async def _fill(url: str) -> None:
    client = await nats.connect(url)
    jetstream = client.jetstream()
    await jetstream.add_stream(name="shop-news", subjects=["events.>"], max_bytes=2**24, max_age=600)
    for number in range(3):
        await jetstream.publish("events.x", str(number).encode())
    await client.close()


@pytest.mark.parametrize("command", NATS_LINES, ids=[each.bare for each in NATS_LINES])
def test_what_is_asked_of_nats(command: Command, server: EmbeddedNats, tmp_path: Path) -> None:
    on_path("nats", NATS_CLI)
    user = "sys" if command.bare.startswith("nats server ") else "app"
    environ = {"NS": "shop", "NAME": "news", "NATS_URL": server.url, "NATS_USER": user, "NATS_PASSWORD": user}
    line = command.bare
    for printed, ours in FILLED.items():
        line = line.replace(printed, ours)
    with closing(
        Terminal(os.environ | environ | {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)})
    ) as terminal:
        if line.startswith("nats sub "):
            assert terminal.watch(line, "Subscribing on", 30)
        else:
            assert terminal.type(f"{line} --force" if line.startswith(ASKS) else line, 30)


def test_a_policy_is_tried(tmp_path: Path) -> None:
    (tmp_path / "broadcaster.yaml").write_text("kind: Broadcaster\nmetadata: {name: news}\nspec: {}\n")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    (step,) = SIMULATION
    with closing(Terminal(os.environ | {"PATH": path}, tmp_path)) as terminal:
        (printed,) = [terminal.type(command.text, 100) for command in step if not command.needs]
    assert "forced disconnects per client-hour" in printed
    assert (tmp_path / "kick-off.png").stat().st_size


def test_what_really_happened_is_replayed(tmp_path: Path) -> None:
    """From a Prometheus that remembers two hours; it has another address here."""
    (tmp_path / "broadcaster.yaml").write_text("kind: Broadcaster\nmetadata: {name: news}\nspec: {}\n")
    (tmp_path / "prometheus").mkdir()
    trace = built_in("flash-crowd", 20_000)
    past = Scrapes(
        simulate(trace, spec_of()), time.time() - trace.seconds, {"namespace": "shop", "broadcaster": "news"}
    )
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with (
        remembering(tmp_path / "prometheus", past.text) as url,
        closing(Terminal(os.environ | {"PATH": path, "COLUMNS": "160"}, tmp_path)) as terminal,
    ):
        lines = [each.text.replace("http://prometheus:9090", url) for each in flat(HISTORY)]
        printed = [terminal.type(line, 100) for line in lines]
    assert [("measured" in text, "pod-hours" in text) for text in printed] == [
        (True, True), (False, False), (False, True), (False, False), (True, True)
    ]  # fmt: skip
    assert (tmp_path / "week.png").stat().st_size
    assert "maxReconnectsPerSecond" in (tmp_path / "new.yaml").read_text()
