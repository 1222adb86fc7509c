"""What may stand at a pod's address in place of a pod that is well."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from enum import Enum


class Habit(Enum):
    """What an impostor does with a request."""

    STREAMS = "answers with a stream that stays open"
    SAYS_NOTHING = "accepts and says nothing"
    DIES_IN_THE_HEAD = "resets the connection in the middle of the answer's head"
    DIES_AT_ONCE = "resets the connection before it has answered"


READY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nOK"
BLOCK = b"event: position\nid: e-1\ndata:\n\n"
STREAM = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"%x\r\n%b\r\n" % (len(BLOCK), BLOCK)
)

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Impostor:
    """A server at a pod's two ports that calls itself ready, and keeps the heads of the requests it gets."""

    def __init__(self, address: str, port: int, admin_port: int, habit: Habit) -> None:
        self.address, self.port, self.admin_port, self.habit = address, port, admin_port, habit
        self.heads: list[str] = []
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> "Impostor":
        for port, serve in ((self.port, self._behave), (self.admin_port, self._be_ready)):
            self._servers.append(await asyncio.start_server(self._watched(serve), self.address, port))
        return self

    async def stop(self) -> None:
        for server in self._servers:
            server.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*self._tasks)

    def _watched(self, serve: Serve) -> Serve:
        """The same, known as a task for as long as it lasts; a connection that goes away ends it."""

        async def watched(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            self._writers.add(writer)
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await serve(reader, writer)
            self._writers.discard(writer)
            writer.close()

        return watched

    async def _be_ready(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(READY)
        await writer.drain()

    async def _behave(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode("latin-1"))
        if self.habit is Habit.STREAMS:
            writer.write(STREAM)
        elif self.habit is Habit.DIES_IN_THE_HEAD:
            writer.write(STREAM[:40])
            await writer.drain()
        if self.habit in (Habit.DIES_IN_THE_HEAD, Habit.DIES_AT_ONCE):
            writer.transport.abort()
        else:
            await reader.read()
