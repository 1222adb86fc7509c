"""Each scenario does what it is for, against real pods; and against anything else it ends with one clear line."""

import asyncio
import os
import socket
import socketserver
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import pytest

from loadtest.chaos.pods import Pod as SoakPod
from loadtest.soak.k6 import ABORTED, ALONE, K6, SCRIPTS, K6Run, Result, scenarios
from loadtest.soak.stage import Options, staged
from ssecast.dev import EmbeddedNats
from tests.harness import Pod, until

pytestmark = [pytest.mark.usefixtures("k6"), pytest.mark.timeout(900)]

STREAMS = 120
SHORT = {"MINUTES": 0.25, "SETTLE": 20, "P99": 60_000, "UPLOADS": 5, "EVERY": 2, "BACK": 120}
"""How long anything took is no matter here."""


@pytest.fixture(scope="module")
def results(k6: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    """Of all scenarios but the ramp, which fills the pods up: at once, each with subjects of its own."""
    folder = tmp_path_factory.mktemp("scenarios")

    async def run_all() -> dict[str, Result]:
        options = Options("polling", 0.25, STREAMS * 6, 2)
        async with staged(options, folder) as stage, AsyncExitStack() as stack:
            runs = {}
            for number, name in enumerate(each for each in scenarios() if each != "ramp"):
                (folder / name).mkdir()
                own = {"STREAMS": STREAMS, "SUBJECT": f"events.s{number}"}
                settings = options.environment(stage) | SHORT | own
                runs[name] = stack.enter_context(K6Run(name, folder / name, settings))
            ended = await asyncio.gather(*(run.ended(600) for run in runs.values()))
            return dict(zip(runs, ended, strict=True))

    return asyncio.run(run_all())


def check(result: Result) -> None:
    assert result.code == 0, (result.said, [str(each) for each in result.thresholds if not each.ok])
    assert all(each.ok for each in result.thresholds)
    assert {"sse_lost", "sse_duplicates"} <= {each.metric for each in result.thresholds}


def test_smoke(results: dict[str, Result]) -> None:
    check(results["smoke"])
    assert results["smoke"].value("sse_streams_most") == STREAMS


def test_soak_cuts_some_connections(results: dict[str, Result]) -> None:
    check(results["soak"])
    assert results["soak"].value("sse_event") > STREAMS * 100


def test_storm_makes_everybody_come_back_twice(results: dict[str, Result]) -> None:
    check(results["storm"])
    assert results["storm"].value("sse_reconnects") >= STREAMS * 2 * 0.9
    assert results["storm"].value("sse_opened") >= STREAMS * 3 * 0.9


def test_mixed_has_all_kinds_of_clients(results: dict[str, Result]) -> None:
    check(results["mixed"])
    metrics = results["mixed"].metrics
    assert all(metrics[f"sse_event{{scenario:{kind}}}"]["values"]["count"] for kind in ("slow", "stalled", "subjects"))


def test_uploads_are_followed_to_their_end(results: dict[str, Result]) -> None:
    check(results["upload-progress"])
    assert results["upload-progress"].value("uploads") >= 5


def test_polling_is_told_beside_streams(results: dict[str, Result]) -> None:
    """As many clients ask again and again, and miss nothing: so the two can be compared."""
    check(results["polling"])
    found = results["polling"]
    assert found.value("http_reqs{side:polling}") > found.value("sse_opened{side:streams}") >= STREAMS
    assert found.value("compared_cpu{side:polling}") > 0
    assert found.value("compared_cpu{side:streams}") > 0
    assert found.metrics["delivery_polled"]["values"]["med"] > found.value("sse_delay_p50")


async def test_ramp_fills_the_pods_up_and_nobody_gives_up(tmp_path: Path) -> None:
    options = Options("ramp", 0.25, STREAMS, 1)
    async with staged(options, tmp_path) as stage:
        with K6Run("ramp", tmp_path, options.environment(stage) | SHORT | {"SETTLE": 2}) as run:
            result = await run.ended(300)
    check(result)
    assert result.value("sse_turned_away") > 0
    assert result.value("sse_streams_most") >= options.capacity == STREAMS * 2 // 3


def run(scenario: str, **settings: object) -> subprocess.CompletedProcess[str]:
    env = os.environ | ALONE | {name: str(value) for name, value in (SHORT | settings).items()}
    command = [str(K6), "run", "--quiet", "--no-color", "--address", "", str(SCRIPTS / f"{scenario}.js")]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def check_one_line(done: subprocess.CompletedProcess[str], sentence: str) -> None:
    assert done.returncode == ABORTED, done.stderr
    (line,) = done.stderr.splitlines()
    assert sentence in line
    assert "\\tat" not in line, "no stack trace"
    assert done.stdout.strip() == "", "nothing that looks like a result"


@contextmanager
def answering(head: bytes) -> Iterator[str]:
    """A server that answers every request with this, and ends the connection."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline().strip():
                pass
            self.wfile.write(head)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("head", "sentence"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", "it answers 503 Service Unavailable"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi", "it answers with text/html"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: hi\n\n",
            "its stream ended, or said nothing",
        ),
        (b"220 mail.example.org ESMTP\r\n", "malformed HTTP"),
    ],
    ids=["503", "html", "another event stream", "no HTTP"],
)
def test_a_server_that_is_not_ours_ends_the_run_with_one_line(head: bytes, sentence: str) -> None:
    with answering(head) as address:
        check_one_line(run("soak", URL=address), f"test aborted: {address}: {sentence}")


@pytest.mark.parametrize("scenario", [each for each in scenarios() if each != "smoke"])
def test_a_server_that_is_down_ends_each_scenario_with_one_line(scenario: str) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{sock.getsockname()[1]}"
        check_one_line(run(scenario, URL=address), f"{address}: connect: connection refused")


async def test_a_pod_that_takes_no_events_is_said_to_be_one(
    make_pod: Callable[..., Pod], nats_server: EmbeddedNats
) -> None:
    pod = await make_pod(nats_server.url).start()
    check_one_line(await asyncio.to_thread(run, "smoke", URL=pod.url), "SSECAST_PUBLISH=true turns it on")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"STREAMS": "many"}, "STREAMS=many: it must be a number from 1 to"),
        ({"MINUTES": "0"}, "MINUTES=0: it must be a number from 0.05 to"),
        ({"URL": "ftp://x"}, "no http or https address"),
    ],
)
def test_a_setting_that_means_nothing_is_one_line(settings: dict[str, str], sentence: str) -> None:
    check_one_line(run("soak", **settings), sentence)


async def has_streams(pod: SoakPod, count: int) -> bool:
    return int((await pod.ask("GET", "/load"))["streams"]) >= count


async def test_a_server_that_dies_fails_the_run(tmp_path: Path) -> None:
    """Streams that cannot come back are no clients that had everything."""
    options = Options("smoke", 0.25, 20, 1)
    async with staged(options, tmp_path) as stage:
        with K6Run("smoke", tmp_path, options.environment(stage) | SHORT | {"SETTLE": 2}) as run:
            pod = stage.pods[0]
            await until(lambda: has_streams(pod, 20), "twenty streams")
            await pod.kill()
            result = await run.ended(300)
    assert result.code == 99
    assert "sse_absent" in {each.metric for each in result.thresholds if not each.ok}
