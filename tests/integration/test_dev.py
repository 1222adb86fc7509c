"""`ssecast dev`, and what the README and its own banner tell people to type: each line is run as printed."""

import asyncio
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.demo import Demo, running, shell
from tests.harness import Client, until

README = (Path(__file__).parents[2] / "README.md").read_text()


@pytest.fixture
async def dev() -> AsyncIterator[Demo]:
    async with running() as demo:
        yield demo


async def test_the_printed_lines_publish_and_the_events_arrive(dev: Demo) -> None:
    client = await Client.open(dev.port)
    await until(lambda: bool(client.last_id), "the first block")
    assert "position" in await shell(dev.line_after("Publish over HTTP").replace("curl", "curl -s"))
    await shell(dev.line_after("Publish with nothing but NATS"))
    assert await client.has(2) == ["hello", "hello from NATS"]
    await client.close()


async def test_the_printed_curl_line_shows_the_stream(dev: Demo) -> None:
    line = dev.line_after("Watch it in a terminal")
    watching = await asyncio.create_subprocess_shell(f"exec {line}", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert watching.stdout is not None
    assert (await asyncio.wait_for(watching.stdout.readline(), 30)).startswith(b"retry: ")
    watching.terminate()
    await watching.wait()


async def test_ctrl_c_stops_everything_without_a_traceback(dev: Demo) -> None:
    client = await Client.open(dev.port)
    dev.process.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(dev.process.wait(), 20) == 0
    await until(lambda: client.ended, "the stream to end")
    await client.close()


async def test_not_even_a_killed_demo_leaves_its_nats_server_behind(dev: Demo) -> None:
    port = dev.nats_port
    dev.process.kill()
    await dev.process.wait()

    async def refused() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            return True
        except ConnectionError:  # in the middle of its end
            return False
        writer.close()
        return False

    await until(refused, "the nats-server's end")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


async def test_the_commands_of_the_readme_run_as_printed(dev: Demo) -> None:
    """With the port of this demo in the place of the usual one, and NATS's likewise."""
    client = await Client.open(dev.port, "/events?subject=events.demo.>")
    publish = next(block for block in blocks("sh") if "/publish/" in block)
    await shell(publish.replace("curl", "curl -s").replace("8080", str(dev.port)))
    program = next(block for block in blocks("python") if "nats.connect" in block)
    code = program.replace("nats://127.0.0.1:4222", f"nats://127.0.0.1:{dev.nats_port}")
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    assert await asyncio.wait_for(process.wait(), 30) == 0
    assert await client.has(2) == ["hello", "hello from NATS"]
    await client.close()


def test_every_path_that_the_readme_links_exists() -> None:
    root = Path(__file__).parents[2]
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert links
    assert not [link for link in links if not (root / link).exists()]
