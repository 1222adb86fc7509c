"""A running `ssecast dev`, and a shell for what the README and its banner say to type."""

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.harness import free_port


class Demo:
    """The process and what it printed."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, admin_port: int) -> None:
        self.process, self.port, self.admin_port = process, port, admin_port
        self.printed = ""

    @property
    def nats_port(self) -> int:
        found = re.search(r"nats://127.0.0.1:(\d+)", self.printed)
        assert found is not None, self.printed
        return int(found[1])

    async def read_banner(self) -> None:
        assert self.process.stdout is not None
        while "Ctrl-C" not in self.printed:
            line = await self.process.stdout.readline()
            assert line, f"it ended after: {self.printed}"
            self.printed += line.decode()

    def line_after(self, title: str) -> str:
        found = re.search(rf"{title}:\n    (.*)\n", self.printed)
        assert found is not None, self.printed
        return found[1]


@asynccontextmanager
async def running(*, quiet: bool = False) -> AsyncIterator[Demo]:
    """On ports that are free. quiet: without its log."""
    port, admin_port = free_port(), free_port()
    command = [sys.executable, "-m", "ssecast", "dev", "--port", str(port), "--admin-port", str(admin_port)]
    stderr = subprocess.DEVNULL if quiet else None
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=stderr)
    demo = Demo(process, port, admin_port)
    try:
        await asyncio.wait_for(demo.read_banner(), 30)
        yield demo
    finally:
        if process.returncode is None:
            process.terminate()  # not SIGKILL: it has a nats-server to stop
            await asyncio.wait_for(process.wait(), 30)


async def shell(line: str) -> str:
    process = await asyncio.create_subprocess_shell(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, out.decode()
    return out.decode()
