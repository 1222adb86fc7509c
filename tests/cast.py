"""`python -m tests.cast FILE`: runs the README's first commands for real and draws what they printed, as an animated SVG.

Browsers play it without a script; what cannot play it shows all lines at once.
"""

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from tests.harness import free_port, until

PORT, ADMIN_PORT, NATS_PORT = 8080, 9090, 4222
"""What the picture shows in the place of the ports that were free."""

STREAM = "curl -N 'http://127.0.0.1:8080/events?subject=events.demo.>'"
PUBLISH = "curl -d '{}' http://127.0.0.1:8080/publish/events.demo.hello"
RESUME = "curl -N -H 'Last-Event-ID: {}' 'http://127.0.0.1:8080/events?subject=events.demo.>'"

CHAR, LINE, MARGIN = 7.85, 18, 14
COLUMNS = 98
READING_SECONDS = 0.9
"""Between two steps: what was printed within milliseconds must be read."""


@dataclass
class Pane:
    """One terminal: lines with the second at which each appears."""

    title: str
    lines: list[tuple[float, str]] = field(default_factory=list)

    def type(self, at: float, command: str) -> None:
        self.lines.append((at, f"$ {command}"))

    def print(self, at: float, text: str) -> None:
        self.lines += [(at, line) for line in text.removesuffix("\n").split("\n")]


class Session:
    """Three terminals and a demo that runs. The clock is that of the picture."""

    def __init__(self) -> None:
        self.demo, self.stream, self.publisher = Pane("a pod"), Pane("a client"), Pane("a publisher")
        self.now = 0.0
        self.ports = {free_port(): PORT, free_port(): ADMIN_PORT}

    @property
    def panes(self) -> tuple[Pane, ...]:
        return self.demo, self.stream, self.publisher

    def real(self, command: str) -> str:
        return command.replace(f":{PORT}/", f":{next(iter(self.ports))}/").replace("curl", "curl -sS")

    def shown(self, text: str) -> str:
        for real, usual in self.ports.items():
            text = text.replace(str(real), str(usual))
        return text

    def pause(self) -> None:
        self.now += READING_SECONDS


async def record() -> Session:
    """The demo starts; a client hears an event, goes away, and gets the one that it missed."""
    session = Session()
    async with _demo(session):
        client = session.stream
        async with _streaming(session, STREAM) as read:
            client.print(session.now, await read("data:\n\n"))
            session.pause()
            await _publish(session, "hello")
            said = await read("data: hello\n\n")
            client.print(session.now, said)
            session.pause()
        position = re.findall(r"^id: (\S+)", said, re.MULTILINE)[-1]
        client.print(session.now, "^C")
        session.pause()
        await _publish(session, "while you were away")
        session.pause()
        async with _streaming(session, RESUME.format(position)) as read:
            client.print(session.now, await read("data: while you were away\n\n"))
    return session


@asynccontextmanager
async def _demo(session: Session) -> AsyncIterator[None]:
    port, admin_port = session.ports
    session.demo.type(session.now, "make demo")
    session.pause()
    command = [sys.executable, "-m", "ssecast", "dev", "--port", str(port), "--admin-port", str(admin_port)]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    try:
        banner = (await asyncio.wait_for(process.stdout.readuntil(b"Ctrl-C"), 30)).decode()
        nats = re.search(r"nats://127.0.0.1:(\d+)", banner)
        assert nats is not None
        session.ports[int(nats[1])] = NATS_PORT
        await until(lambda: _is_ready(admin_port), "the pod to be ready")
        session.demo.print(session.now, session.shown(banner.strip().split("\n\n")[0]))
        session.demo.print(session.now, f"    http://127.0.0.1:{PORT}/")
        session.pause()
        yield
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), 30)


async def _is_ready(admin_port: int) -> bool:
    code, _ = await _output(f"curl -fsS http://127.0.0.1:{admin_port}/readyz")
    return code == 0


async def _publish(session: Session, payload: str) -> None:
    command = PUBLISH.format(payload)
    session.publisher.type(session.now, command)
    code, said = await _output(session.real(command))
    if code:
        raise RuntimeError(f"{command} failed: {said}")
    session.publisher.print(session.now, said)


async def _output(command: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_shell(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode, out.decode()


@asynccontextmanager
async def _streaming(session: Session, command: str) -> AsyncIterator[Callable[[str], "asyncio.Future[str]"]]:
    """A stream that is open; read: what it says up to and including some text."""
    session.stream.type(session.now, command)
    session.pause()
    process = await asyncio.create_subprocess_shell(f"exec {session.real(command)}", stdout=subprocess.PIPE)
    assert process.stdout is not None
    reader = process.stdout

    def read(end: str) -> "asyncio.Future[str]":
        async def decoded() -> str:
            return (await asyncio.wait_for(reader.readuntil(end.encode()), 30)).decode()

        return asyncio.ensure_future(decoded())

    try:
        yield read
    finally:
        process.terminate()
        await process.wait()


def draw(session: Session) -> str:
    """The SVG."""
    width = round(COLUMNS * CHAR + 2 * MARGIN)
    heights = [(len(_wrapped(pane)) + 1) * LINE + MARGIN for pane in session.panes]
    height = sum(heights) + (len(heights) + 1) * MARGIN
    said = " ".join(line for pane in session.panes for _, line in pane.lines)
    body: list[str] = []
    top = MARGIN
    for pane, tall in zip(session.panes, heights, strict=True):
        body += _pane(pane, top, width, tall)
        top += tall + MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
            f"<title>Three terminals: {escape(said)}</title>",
            "<style>",
            "text{font:13px ui-monospace,Menlo,Consolas,monospace;fill:#c9d1d9;white-space:pre}",
            ".title{fill:#8b949e}.typed{fill:#7ee787}.line{animation:appear .1s both}",
            "@keyframes appear{from{opacity:0}}",
            "</style>",
            f'<rect width="{width}" height="{height}" rx="8" fill="#0d1117"/>',
            *body,
            "</svg>\n",
        ]
    )


def _pane(pane: Pane, top: int, width: int, tall: int) -> Iterator[str]:
    yield f'<rect x="{MARGIN / 2}" y="{top}" width="{width - MARGIN}" height="{tall}" rx="6" fill="#161b22"/>'
    yield f'<text class="title" x="{MARGIN}" y="{top + LINE}">{escape(pane.title)}</text>'
    for number, (at, line, typed) in enumerate(_wrapped(pane), start=2):
        kind = "line typed" if typed else "line"
        place = f'x="{MARGIN}" y="{top + number * LINE}"'
        yield f'<text class="{kind}" {place} style="animation-delay:{at:.1f}s">{escape(line)}</text>'


def _wrapped(pane: Pane) -> list[tuple[float, str, bool]]:
    return [
        (at, line[begin : begin + COLUMNS], line.startswith("$ "))
        for at, line in pane.lines
        for begin in range(0, max(1, len(line)), COLUMNS)
    ]


def main(path: str) -> None:
    Path(path).write_text(draw(asyncio.run(record())))


if __name__ == "__main__":
    main(*sys.argv[1:])
