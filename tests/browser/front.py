"""The origin of a test's page and streams: a tiny reverse proxy that can be told to do what networks do.

It answers `/page`, `/ssecast.js` and `/token` itself, all else by the script while there is one, then from the pod, one request
per connection. For a pod that is away it answers `200` and `retry:`, as every proxy in front of ssecast must; what worse
proxies and networks do comes by the script, refuse and reset. Pages of every origin may read its streams.
"""

import asyncio
import contextlib
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from importlib.resources import files

from tests.browser.control import PAGE
from tests.harness import PATIENCE

COME_BACK = b"retry: 100\n\n"
ANY_ORIGIN = b"Access-Control-Allow-Origin: *\r\n"


class End(Enum):
    """How an answer ends."""

    CLEAN = "clean"
    RESET = "reset"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Answer:
    """One scripted answer to a request for a stream."""

    body: bytes
    end: End = End.OPEN
    status: str = "200 OK"


ERROR_503 = Answer(b"no pod", End.CLEAN, "503 Service Unavailable")


@dataclass(frozen=True, slots=True)
class Request:
    """One request for a stream, as it came. at: seconds of the monotonic clock."""

    method: str
    path: str
    headers: dict[str, str]
    at: float

    @property
    def last_event_id(self) -> str | None:
        return self.headers.get("last-event-id")


class Front:
    """One origin on a port of its own. token: makes what `/token` answers. cookie: set by every page."""

    def __init__(self) -> None:
        self.pod: int | None = None
        self.token: Callable[[], str] = lambda: ""
        self.cookie = ""
        self.script: deque[Answer] = deque()
        self.requests: list[Request] = []
        self.ended_at: list[float] = []
        self._came = asyncio.Event()
        self._streams: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._socket = _bound(0)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    async def listen(self) -> "Front":
        """Accepts connections, again after refuse."""
        self._server = await asyncio.start_server(self._serve, sock=self._socket)
        return self

    def refuse(self) -> None:
        """From now on connections are refused, and what is open is reset. The port stays ours."""
        assert self._server is not None
        self._socket = _bound(self.port)
        self._server.close()
        self._server = None
        self.reset()

    def reset(self) -> None:
        """Cuts every open stream with a RST."""
        for writer in list(self._streams):
            _reset(writer)

    async def stop(self) -> None:
        if self._server is None:
            self._socket.close()
        else:
            self._server.close()
        self.reset()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def request(self, number: int) -> Request:
        """Waits for the so-manieth request for a stream, counted from 1."""
        try:
            async with asyncio.timeout(PATIENCE):
                while len(self.requests) < number:
                    self._came.clear()
                    await self._came.wait()
        except TimeoutError:
            raise AssertionError(f"request {number} did not come; there were {self.requests}") from None
        return self.requests[number - 1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await self._answer(reader, writer)
        self._streams.discard(writer)
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip("\r\n").split("\r\n")
        method, path, _ = first.split()
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        own = self._own(path)
        if own is not None:
            writer.write(_head("200 OK", own[0], len(own[1]), self.cookie) + own[1])
            await writer.drain()
            return
        self._streams.add(writer)
        self.requests.append(Request(method, path, headers, time.monotonic()))
        self._came.set()
        if self.script:
            await self._play(self.script.popleft(), reader, writer)
        else:
            await self._relay(_closing(head), reader, writer)

    def _own(self, path: str) -> tuple[str, bytes] | None:
        if path.startswith("/page"):
            return "text/html", PAGE.read_bytes()
        if path.startswith("/token"):
            return "text/plain", self.token().encode()
        if path.startswith("/ssecast.js"):
            return "text/javascript", (files("ssecast") / "static" / "ssecast.js").read_bytes()
        return None

    async def _play(self, answer: Answer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        kind = "text/event-stream" if answer.status.startswith("200") else "text/plain"
        writer.write(_head(answer.status, kind, None) + answer.body)
        await writer.drain()
        if answer.end is End.OPEN:
            await reader.read()
        self.ended_at.append(time.monotonic())
        if answer.end is End.RESET:
            _reset(writer)

    async def _relay(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self.pod is None:
                raise ConnectionRefusedError
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.pod)
        except OSError:
            await self._play(Answer(COME_BACK, End.CLEAN), reader, writer)
            return
        gone = asyncio.ensure_future(reader.read())
        gone.add_done_callback(lambda _: far_writer.close())
        try:
            far_writer.write(head)
            status = await far_reader.readuntil(b"\r\n")
            writer.write(status + ANY_ORIGIN)
            while data := await far_reader.read(65536):
                writer.write(data)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            _reset(writer)
        finally:
            gone.cancel()
            far_writer.close()


def _bound(port: int) -> socket.socket:
    """A socket that is bound and does not listen yet: who connects is refused."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("127.0.0.1", port))
    return sock


def _reset(writer: asyncio.StreamWriter) -> None:
    """Closes with a RST: that is what lingering for no time means."""
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    writer.transport.abort()


def _head(status: str, kind: str, length: int | None, cookie: str = "") -> bytes:
    size = "" if length is None else f"Content-Length: {length}\r\n"
    size += f"Set-Cookie: {cookie}\r\n" if cookie else ""
    lines = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{size}Cache-Control: no-store\r\nConnection: close\r\n"
    return lines.encode() + ANY_ORIGIN + b"\r\n"


def _closing(head: str) -> bytes:
    """The request with `Connection: close`: one request per connection."""
    lines = [line for line in head.rstrip("\r\n").split("\r\n") if not line.lower().startswith("connection:")]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1")
