"""`ssecast dev`, and what the README and its own banner tell people to type: each line is run as printed."""

import asyncio
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.harness import Client, free_port, until

README = (Path(__file__).parents[2] / "README.md").read_text()


class Dev:
    """A running `ssecast dev` and what it printed."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process, self.port = process, port
        self.printed = ""

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


@pytest.fixture
async def dev() -> AsyncIterator[Dev]:
    port = free_port()
    command = [sys.executable, "-m", "ssecast", "dev", "--port", str(port), "--admin-port", str(free_port())]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    running = Dev(process, port)
    try:
        await asyncio.wait_for(running.read_banner(), 30)
        yield running
    finally:
        if process.returncode is None:
            process.terminate()  # not SIGKILL: it has a nats-server to stop
            await asyncio.wait_for(process.wait(), 30)


async def shell(line: str) -> str:
    process = await asyncio.create_subprocess_shell(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, out.decode()
    return out.decode()


async def test_the_printed_lines_publish_and_the_events_arrive(dev: Dev) -> None:
    client = await Client.open(dev.port)
    await until(lambda: bool(client.last_id), "the first block")
    assert "position" in await shell(dev.line_after("Publish over HTTP").replace("curl", "curl -s"))
    await shell(dev.line_after("Publish with nothing but NATS"))
    assert await client.has(2) == ["hello", "hello from NATS"]
    await client.close()


async def test_the_printed_curl_line_shows_the_stream(dev: Dev) -> None:
    line = dev.line_after("Watch it in a terminal")
    watching = await asyncio.create_subprocess_shell(f"exec {line}", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert watching.stdout is not None
    assert (await asyncio.wait_for(watching.stdout.readline(), 30)).startswith(b"retry: ")
    watching.terminate()
    await watching.wait()


async def test_ctrl_c_stops_everything_without_a_traceback(dev: Dev) -> None:
    client = await Client.open(dev.port)
    dev.process.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(dev.process.wait(), 20) == 0
    await until(lambda: client.ended, "the stream to end")
    await client.close()


async def test_not_even_a_killed_demo_leaves_its_nats_server_behind(dev: Dev) -> None:
    port = re.search(r"nats://127.0.0.1:(\d+)", dev.printed)
    assert port is not None
    dev.process.kill()
    await dev.process.wait()

    async def refused() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", int(port[1]))
        except ConnectionRefusedError:
            return True
        except ConnectionError:  # in the middle of its end
            return False
        writer.close()
        return False

    await until(refused, "the nats-server's end")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


async def test_the_commands_of_the_readme_run_as_printed(dev: Dev) -> None:
    """With the port of this demo in the place of the usual one, and NATS's likewise."""
    client = await Client.open(dev.port, "/events?subject=events.demo.>")
    publish = next(block for block in blocks("sh") if "/publish/" in block)
    await shell(publish.replace("curl", "curl -s").replace("8080", str(dev.port)))
    nats_url = re.search(r"nats://[\d.:]+", dev.printed)
    assert nats_url is not None
    program = next(block for block in blocks("python") if "nats.connect" in block)
    code = program.replace("nats://127.0.0.1:4222", nats_url[0])
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    assert await asyncio.wait_for(process.wait(), 30) == 0
    assert await client.has(2) == ["hello", "hello from NATS"]
    await client.close()


def test_every_path_that_the_readme_links_exists() -> None:
    root = Path(__file__).parents[2]
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert links
    assert not [link for link in links if not (root / link).exists()]
