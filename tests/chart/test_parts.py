"""What the chart brings along, run for real: NATS's configuration, the fallback, and what `helm test` does."""

import asyncio
import http.client
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from charts.make.engine import CHART
from ssecast.dev import EmbeddedNats
from tests.chart.parts import made, one
from tests.harness import Pod, free_port, until
from tests.issuer import signer

RECEIVE = CHART / "files" / "receive.py"


def nats_server() -> str:
    found = shutil.which("nats-server", path=str(Path(sys.executable).parent))
    assert found is not None
    return found


def test_nats_takes_its_configuration(tmp_path: Path) -> None:
    text = one(made(), "ConfigMap", "ssecast-nats")["data"]["nats.conf"]
    path = tmp_path / "nats.conf"
    path.write_text(text)
    done = subprocess.run([nats_server(), "-t", "-c", str(path)], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr


class Fallback:
    """The fallback as a process."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read().decode()
        finally:
            connection.close()

    def alive(self) -> bool:
        try:
            return self.ask("/healthz")[0] == 200
        except OSError:
            return False


@asynccontextmanager
async def fallback(**environ: str) -> AsyncIterator[Fallback]:
    port = free_port()
    script = one(made("ingress-nginx"), "ConfigMap", "ssecast-fallback")["data"]["fallback.py"]
    given = os.environ | {"PORT": str(port), "HOST": "127.0.0.1", "STOP_SECONDS": "0"} | environ
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, env=given)
    try:
        there = Fallback(port)
        await until(there.alive, "the fallback")
        yield there
    finally:
        process.terminate()
        assert await process.wait() == 0


async def test_whoever_asks_for_a_stream_is_told_when_to_come_back() -> None:
    async with fallback() as there:
        waits = set()
        for path, headers in (
            ("/events", {"Accept": "text/event-stream"}),
            ("/", {"X_Format": "text/event-stream", "X_Code": "503"}),
            ("/retry", {}),
        ):
            status, head, body = await asyncio.to_thread(there.ask, path, **headers)
            assert (status, head["content-type"], head["cache-control"]) == (200, "text/event-stream", "no-store")
            assert body.startswith("retry: ")
            assert body.endswith("\n\n")
            waits.add(int(body.removeprefix("retry: ")))
        assert all(2000 <= wait < 6000 for wait in waits)
        assert len(waits) > 1, "browsers must not come back together"


async def test_everybody_else_is_told_the_truth() -> None:
    async with fallback() as there:
        for path, headers in (("/events", {"Accept": "*/*"}), ("/unavailable", {"Accept": "text/event-stream"})):
            status, head, _ = await asyncio.to_thread(there.ask, path, **headers)
            assert status == 503
            assert 2 <= int(head["retry-after"]) <= 6


async def test_pages_of_other_origins_may_read_the_answer() -> None:
    async with fallback(ORIGINS="https://app.example.com") as there:
        theirs = {"Accept": "text/event-stream", "Origin": "https://app.example.com"}
        _, head, _ = await asyncio.to_thread(there.ask, "/events", **theirs)
        assert head["access-control-allow-origin"] == "https://app.example.com"
        _, head, _ = await asyncio.to_thread(there.ask, "/events", **theirs | {"Origin": "https://evil.example.com"})
        assert "access-control-allow-origin" not in head


async def test_one_connection_serves_many_requests_and_garbage_ends_it() -> None:
    async with fallback() as there:
        reader, writer = await asyncio.open_connection("127.0.0.1", there.port)
        for _ in range(3):
            writer.write(b"GET /events HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK")
            await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]))
        writer.write(b"what?\r\n\r\n")
        assert await reader.read() == b""
        writer.close()


async def received(*, service: str, nats_url: str, **environ: str) -> tuple[int, str]:
    """Runs what `helm test` runs: (exit code, what it said)."""
    given = {"SERVICE": service, "NATS_URL": nats_url, "SUBJECT": "events.helm-test"} | environ
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(RECEIVE),
        env=os.environ | given,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode()


async def test_helm_test_receives_what_it_publishes(nats_server: EmbeddedNats, pod: Pod) -> None:
    code, said = await received(service=f"127.0.0.1:{pod.port}", nats_url=nats_server.url)
    assert code == 0, said
    assert said.startswith("published to events.helm-test by NATS, received by SSE: helm-test ")


async def test_helm_test_says_in_a_sentence_what_is_wrong(nats_server: EmbeddedNats, pod: Pod) -> None:
    nobody = f"nats://127.0.0.1:{free_port()}"
    code, said = await received(service=f"127.0.0.1:{pod.port}", nats_url=nobody)
    assert code == 1
    assert len(said.strip().splitlines()[-1]) < 300
    code, said = await received(service=f"127.0.0.1:{free_port()}", nats_url=nats_server.url)
    assert code == 1
    assert "ConnectionRefusedError" in said
    assert "Traceback" not in said


async def test_helm_test_accepts_that_a_stream_needs_a_token(
    nats_server: EmbeddedNats, make_pod: Callable[..., Pod], tmp_path: Path
) -> None:
    key = tmp_path / "key.pem"
    key.write_bytes(signer().pem)
    pod = await make_pod(nats_server.url, jwt_key_file=key).start()
    code, said = await received(service=f"127.0.0.1:{pod.port}", nats_url=nats_server.url, TOKENS="true")
    assert (code, said) == (0, "access is by token, and a stream without one was refused: 401\n")


@pytest.mark.parametrize("name", ["receive.py", "fallback.py"])
def test_a_script_has_nothing_that_kubernetes_would_expand(name: str) -> None:
    assert "$(" not in (CHART / "files" / name).read_text()
