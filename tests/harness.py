"""Real parts for tests: pods as processes, an SSE client on a socket, a TCP relay that can stall. All on loopback."""

import asyncio
import contextlib
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from tests.sse_parser import ChunkedDecoder, EventStreamParser, Message

PATIENCE = 40.0
"""Seconds until a condition that a test waits for counts as never coming; no test measures time by it."""


async def until(
    condition: Callable[[], bool | Awaitable[bool]], what: str = "the condition", seconds: float = PATIENCE
) -> None:
    """Waits for a condition by looking again; fails with its name."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if isinstance(value, Awaitable):
            value = await value
        if value:
            return
        assert time.monotonic() < deadline, f"{what} did not come true within {seconds} s"
        await asyncio.sleep(0.02)


_ports = iter(random.sample(range(10_000, 32_000), 22_000))
"""Below those that the kernel gives to outgoing connections: one of these could take the port of a server that is being
restarted. Each at most once."""


def free_port() -> int:
    """A port that is free on every address."""
    for port in _ports:
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("", port))
            return port
    raise AssertionError("no port is free")


class Pod:
    """One `ssecast serve` in a process of its own. Pods with addresses of their own can share their ports, as in a cluster."""

    def __init__(
        self,
        nats_url: str,
        log: Path,
        *,
        address: str = "127.0.0.1",
        ports: tuple[int, int] | None = None,
        **settings: object,
    ) -> None:
        self.address = address
        self.port, self.admin_port = ports or (free_port(), free_port())
        self.log = log
        self.environ = os.environ | {
            "SSECAST_HOST": address,
            "SSECAST_PORT": str(self.port),
            "SSECAST_ADMIN_PORT": str(self.admin_port),
            "SSECAST_ADMIN_HOST": address,
            "SSECAST_NATS_URL": nats_url,
            "SSECAST_DRAIN_DELAY_SECONDS": "0",
            "SSECAST_DRAIN_SECONDS": "0",
            "SSECAST_RETRY_MS": "300",
            "SSECAST_RETRY_SPREAD_MS": "200",
        }
        self.configure(**settings)
        self.command = [sys.executable, "-m", "ssecast", "serve"]
        self.process: subprocess.Popen[bytes] | None = None

    def configure(self, **settings: object) -> None:
        self.environ |= {f"SSECAST_{name.upper()}": str(value) for name, value in settings.items()}

    @property
    def url(self) -> str:
        return f"http://{self.address}:{self.port}"

    async def start(self, *, ready: bool = True) -> "Pod":
        self._spawn()
        await until(lambda: self._answers("/readyz" if ready else "/healthz"), f"pod {self.port} up: {self.log}")
        return self

    def _spawn(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, env=self.environ, stdout=log, stderr=subprocess.STDOUT)

    def _answers(self, path: str) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"the pod ended: {self.log.read_text()}"
        with contextlib.suppress(OSError):
            return self.admin("GET", path)[0] == 200
        return False

    def admin(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        return self.request(method, path, body, port=self.admin_port)

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        port: int = 0,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, Any]:
        """One request; the answer's body is parsed where it is JSON."""
        connection = http.client.HTTPConnection(self.address, port or self.port, timeout=PATIENCE)
        try:
            data = json.dumps(body).encode() if body is not None and not isinstance(body, bytes) else body
            kind = {"content-type": "application/json"} if data is not None else {}
            connection.request(method, path, data, kind | (headers or {}))
            answer = connection.getresponse()
            text = answer.read().decode()
            is_json = answer.headers.get("content-type", "").startswith("application/json")
            return answer.status, json.loads(text) if is_json and text else text
        finally:
            connection.close()

    @property
    def load(self) -> dict[str, Any]:
        answer: dict[str, Any] = self.admin("GET", "/load")[1]
        return answer

    @property
    def open_files(self) -> int:
        """Descriptors that the process holds."""
        assert self.process is not None
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    @property
    def resident_bytes(self) -> int:
        assert self.process is not None
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def metric(self, name: str) -> float:
        """The value of one sample line, given as it stands in the exposition."""
        for line in self.admin("GET", "/metrics")[1].splitlines():
            if line.rpartition(" ")[0] == name:
                return float(line.rpartition(" ")[2])
        raise AssertionError(f"no metric {name}")

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Ends the process, by a signal, and waits for it."""
        process = self.process
        if process is None:
            return 0
        if process.poll() is None:
            process.send_signal(how)
        code = await asyncio.to_thread(process.wait, PATIENCE)
        self.process = None
        return code


class Client:
    """One stream as an EventSource would read it, over a plain socket."""

    made: ClassVar[list["Client"]] = []
    """All clients of the running test: a fixture closes what the test left open."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.made.append(self)
        self.reader, self.writer = reader, writer
        self.task: asyncio.Future[None] | None = None
        self.events: list[Message] = []
        self.arrived: list[float] = []
        """When each of the events came, on the monotonic clock."""
        self.status = 0
        self.headers: dict[str, str] = {}
        self.ended = False
        self.complete = False
        self.parser = EventStreamParser()
        self._reading = asyncio.Event()
        self._reading.set()

    @classmethod
    async def open(
        cls,
        port: int,
        path: str = "/events",
        *,
        host: str = "127.0.0.1",
        last_event_id: str | None = None,
        version: str = "1.1",
        receive_buffer: int = 0,
        **headers: str,
    ) -> "Client":
        """Connects and reads the head; the body is read in the background."""
        sock = socket.socket()
        if receive_buffer:  # before the connection: afterwards the kernel has promised more already
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, (host, port))
            self = cls(*await asyncio.open_connection(sock=sock))
        except BaseException:  # whoever gives up meanwhile leaves nothing open
            sock.close()
            raise
        lines = {"Host": f"{host}:{port}", "Accept": "text/event-stream"}
        lines |= {name.replace("_", "-"): value for name, value in headers.items()}
        if last_event_id is not None:
            lines["Last-Event-ID"] = last_event_id
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self.writer.write(f"GET {path} HTTP/{version}\r\n{head}\r\n".encode())
        await self.listen()
        return self

    async def listen(self) -> None:
        """Reads the head of the response that comes next, and the body in the background."""
        first, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        self.status = int(first.split()[1])
        self.headers = dict(line.lower().split(": ", 1) for line in lines if line)
        self.task = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        chunks = ChunkedDecoder() if self.headers.get("transfer-encoding") == "chunked" else None
        with contextlib.suppress(ConnectionError):
            while data := await self.reader.read(65536):
                await self._reading.wait()
                self.events += self.parser.feed(chunks.feed(data) if chunks else data)
                self.arrived += [time.monotonic()] * (len(self.events) - len(self.arrived))
        self.complete = chunks is None or chunks.ended
        self.ended = True

    def pause(self) -> None:
        """Stops reading: bytes pile up in the sockets, then on the server's side."""
        self._reading.clear()

    def go_on(self) -> None:
        self._reading.set()

    @property
    def data(self) -> list[str]:
        """The payloads of what publishers sent, in order of arrival."""
        return [event.data for event in self.events if event.name not in ("position", "gap")]

    @property
    def gaps(self) -> list[dict[str, str]]:
        return [json.loads(event.data) for event in self.events if event.name == "gap"]

    @property
    def last_id(self) -> str:
        return self.parser.last_id

    async def has(self, count: int) -> list[str]:
        """Waits until so many events of publishers have come."""
        await until(lambda: len(self.data) >= count, f"{count} events ({len(self.data)} came)")
        return self.data

    async def close(self) -> None:
        self.writer.close()
        if self.task is not None:
            self.task.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await self.task
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


class WebServer(ThreadingHTTPServer):
    """Whoever ends may reset the connections that it has open: no error worth a word."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Relay:
    """A TCP relay in front of a server: it can stand still, and cut what is open. The way to pause one pod's Source."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.connections = 0
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> "Relay":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    def pause(self) -> None:
        self._flowing.clear()

    def resume(self) -> None:
        self._flowing.set()

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def stop(self) -> None:
        self._server.close()
        self.resume()
        self.cut()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.close()
            return
        self._writers |= {writer, far_writer}
        await asyncio.gather(self._copy(reader, far_writer), self._copy(far_reader, writer))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            while data := await reader.read(65536):
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()
        writer.close()
        self._writers.discard(writer)


@contextlib.asynccontextmanager
async def pods(log_dir: Path) -> AsyncIterator[Callable[..., Pod]]:
    """A factory of pods; all of them are gone at the end."""
    made: list[Pod] = []

    def make(nats_url: str, **settings: Any) -> Pod:
        made.append(Pod(nats_url, log_dir / f"pod-{len(made)}.log", **settings))
        return made[-1]

    try:
        yield make
    finally:
        for pod in made:
            await pod.stop(signal.SIGKILL)


@contextlib.contextmanager
def environment(**values: str) -> Iterator[None]:
    """Variables of the environment for as long as the block lasts."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
