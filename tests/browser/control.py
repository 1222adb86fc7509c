"""Where the engines report to: a small server that outlives every stream's origin, and the pages it opens."""

import asyncio
import contextlib
import itertools
import json
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlencode

from tests.harness import PATIENCE, WebServer

RUNNER = Path(__file__).with_name("runner.html")
PAGE = Path(__file__).with_name("page.html")

POLL_SECONDS = 5.0
"""How long the runner's request for the next page is held open."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a page saw: its type (open, error, state, or the event's name) and what belongs to it.

    state: EventSource's readyState, or the word of ssecast.js. subject, time: from ssecast.js only.
    """

    type: str
    at_ms: float
    id: str = ""
    data: str = ""
    state: int | str = ""
    subject: str = ""
    time: str = ""


class Page:
    """One page in an engine, and what it has reported so far."""

    def __init__(self, close: Callable[[], None]) -> None:
        self.reports: list[Report] = []
        self.close = close
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()

    def take(self, report: Report) -> None:
        """Called by the server's threads."""
        self._loop.call_soon_threadsafe(self._append, report)

    def _append(self, report: Report) -> None:
        self.reports.append(report)
        self._changed.set()

    def of(self, *kinds: str) -> list[Report]:
        return [report for report in self.reports if report.type in kinds]

    @property
    def data(self) -> list[str]:
        """The payloads of what publishers sent, in order of arrival."""
        return [report.data for report in self.of("message")]

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Waits for what a report makes true; fails with everything the page has reported."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            lines = "\n".join(map(str, self.reports))
            raise AssertionError(f"{what} did not come true within {PATIENCE} s; reported:\n{lines}") from None

    async def has(self, kind: str, count: int = 1) -> Report:
        """Waits for so many reports of a type; returns the last of them."""
        await self.until(lambda: len(self.of(kind)) >= count, f"{count} of {kind}")
        return self.of(kind)[count - 1]

    async def has_data(self, *expected: str) -> None:
        """Waits for so many events of publishers; they are these, in this order, each once."""
        await self.until(lambda: len(self.data) >= len(expected), f"{len(expected)} events")
        assert self.data == list(expected)


class OpenPage(Protocol):
    """Opens a page that reads a stream of the front with EventSource or ssecast.js, and waits until it is loaded."""

    async def __call__(
        self, stream: str = "/events", client: str = "EventSource", *, cross_origin: bool = False
    ) -> Page: ...


class Control:
    """Serves the runner page, which asks for pages to open, and takes the reports of the pages."""

    def __init__(self) -> None:
        self._pages: dict[int, Page] = {}
        self._numbers = itertools.count(1)
        self._commands: queue.Queue[dict[str, Any]] = queue.Queue()
        self._server = WebServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> "Control":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._commands.put({})
        self._server.shutdown()
        self._server.server_close()

    def open(self, origin: str, stream: str, client: str = "EventSource", *, report_to: str | None = None) -> Page:
        """Opens a page of the origin that reads the stream (a path there, or an address) with EventSource or ssecast.js.

        report_to: the origin of the reports, where the page may not reach this server by its own address.
        """
        number = next(self._numbers)
        report = f"{self.url if report_to is None else report_to}/report/{number}"
        query = urlencode({"report": report, "stream": stream, "client": client})
        page = self._pages[number] = Page(lambda: self._close(number))
        self._commands.put({"open": number, "url": f"{origin}/page?{query}"})
        return page

    def _close(self, number: int) -> None:
        del self._pages[number]
        self._commands.put({"close": number})

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        control = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if self.path.startswith("/next"):
                    try:
                        command = control._commands.get(timeout=POLL_SECONDS)
                    except queue.Empty:
                        command = {}
                    self._answer(json.dumps(command).encode(), "application/json")
                elif self.path.startswith("/page"):  # where a proxy makes this server part of another origin
                    self._answer(PAGE.read_bytes(), "text/html")
                else:
                    self._answer(RUNNER.read_bytes(), "text/html")

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                page = control._pages.get(int(self.path.rpartition("/")[2]))
                if page is not None:
                    page.take(Report(**body))
                self._answer(b"", "text/plain")

            def _answer(self, body: bytes, kind: str) -> None:
                with contextlib.suppress(ConnectionError):  # the engine ends while it waits for a command
                    self._write(body, kind)

            def _write(self, body: bytes, kind: str) -> None:
                self.send_response(200)
                self.send_header("content-type", f"{kind}; charset=utf-8")
                self.send_header("content-length", str(len(body)))
                self.send_header("cache-control", "no-store")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        return Handler
