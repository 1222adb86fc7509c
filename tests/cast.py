"""`python -m tests.cast FILE`: runs the README's first commands for real and draws what they printed, as an animated SVG.

Browsers play it without a script; what cannot play it shows all lines at once.
"""

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from tests.demo import Demo, running, shell

PORT, NATS_PORT = 8080, 4222
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

    def __init__(self, demo: Demo) -> None:
        self.pod, self.client, self.publisher = Pane("a pod"), Pane("a client"), Pane("a publisher")
        self.now = 0.0
        self._port = demo.port
        self._ports = {demo.port: PORT, demo.nats_port: NATS_PORT}

    @property
    def panes(self) -> tuple[Pane, ...]:
        return self.pod, self.client, self.publisher

    def real(self, command: str) -> str:
        return command.replace(f":{PORT}/", f":{self._port}/").replace("curl", "curl -sS")

    def shown(self, text: str) -> str:
        for real, usual in self._ports.items():
            text = text.replace(f":{real}", f":{usual}")
        return text

    def pause(self) -> None:
        self.now += READING_SECONDS


async def record() -> Session:
    """The demo starts; a client hears an event, goes away, and gets the one that it missed."""
    async with running(quiet=True) as demo:
        await shell(f"curl -fsS --retry 30 --retry-delay 1 http://127.0.0.1:{demo.admin_port}/readyz")
        session = Session(demo)
        _start(session, demo)
        client = session.client
        async with _streaming(session, STREAM) as stream:
            client.print(session.now, await _read(stream, "data:\n\n"))
            session.pause()
            await _publish(session, "hello")
            said = await _read(stream, "data: hello\n\n")
            client.print(session.now, said)
            session.pause()
        position = re.findall(r"^id: (\S+)", said, re.MULTILINE)[-1]
        client.print(session.now, "^C")
        session.pause()
        await _publish(session, "while you were away")
        session.pause()
        async with _streaming(session, RESUME.format(position)) as stream:
            client.print(session.now, await _read(stream, "data: while you were away\n\n"))
    return session


def _start(session: Session, demo: Demo) -> None:
    session.pod.type(session.now, "make demo")
    session.pause()
    session.pod.print(session.now, session.shown(demo.printed.strip().split("\n\n")[0]))
    session.pod.print(session.now, f"    http://127.0.0.1:{PORT}/")
    session.pause()


async def _publish(session: Session, payload: str) -> None:
    command = PUBLISH.format(payload)
    session.publisher.type(session.now, command)
    session.publisher.print(session.now, await shell(session.real(command)))


@asynccontextmanager
async def _streaming(session: Session, command: str) -> AsyncIterator[asyncio.StreamReader]:
    session.client.type(session.now, command)
    session.pause()
    process = await asyncio.create_subprocess_shell(f"exec {session.real(command)}", stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        process.terminate()
        await process.wait()


async def _read(stream: asyncio.StreamReader, end: str) -> str:
    """What a stream says up to and including some text."""
    return (await asyncio.wait_for(stream.readuntil(end.encode()), 30)).decode()


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
