"""A TCP relay between one pod and NATS: it can stand still, as a stuck network does, or be down, and knows which
consumers the pod asked for."""

import asyncio
import contextlib
import re
from collections import deque
from collections.abc import Callable
from typing import Self

PIECE = 65_536
ASKED = re.compile(rb"PUB \$JS\.API\.CONSUMER\.CREATE\.[\w-]+\.([\w-]+) ")
LONGEST = 200
"""Bytes of such a line up to the name: so much of a piece is looked at again with the next one."""

KNOWN = 50


class Relay:
    """Listens on a port of its own, and passes on what it gets, while it flows."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.down = False
        self.consumers: deque[str] = deque(maxlen=KNOWN)
        """Names of the last ones that were asked for; those that are gone are among them."""
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    def stand_still(self) -> None:
        """Nothing comes through any more, and nobody is told."""
        self._flowing.clear()

    def flow(self) -> None:
        self._flowing.set()

    def go_down(self) -> None:
        """Cuts every connection, and those that come until it is up again."""
        self.down = True
        self._cut()

    def come_up(self) -> None:
        self.down = False

    async def stop(self) -> None:
        self._server.close()
        self.flow()
        self._cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _cut(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        far_writer = None
        try:
            if self.down:
                raise ConnectionRefusedError
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
            self._writers |= {writer, far_writer}
            await asyncio.gather(self._copy(reader, far_writer, self._listener()), self._copy(far_reader, writer))
        except (OSError, asyncio.CancelledError):
            pass  # only stop cancels; Python 3.11 would print a traceback of its own callback
        finally:
            for each in (writer, far_writer):
                if each is not None:
                    self._writers.discard(each)
                    each.transport.abort()

    def _listener(self) -> Callable[[bytes], None]:
        """Notes which consumers are asked for in pieces of one connection."""
        rest = b""

        def listen(piece: bytes) -> None:
            nonlocal rest
            text = rest + piece
            found = list(ASKED.finditer(text))
            self.consumers.extend(each[1].decode() for each in found)
            rest = text[max(found[-1].end() if found else 0, len(text) - LONGEST) :]

        return listen

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, listen: Callable[[bytes], None] | None = None
    ) -> None:
        """Until either side ends; then the other one is cut, as when a server is gone."""
        with contextlib.suppress(OSError):
            while data := await reader.read(PIECE):
                if listen is not None:
                    listen(data)
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()
        writer.transport.abort()
