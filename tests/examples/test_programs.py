"""The examples without a page: a client that resumes, and publishers in each language."""

import asyncio
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from nats.aio.client import Client as Nats

from examples.python.client import Refused, blocks, follow
from ssecast.dev import EmbeddedNats
from tests.examples.conftest import StartExample
from tests.examples.parts import EXAMPLES, FOLDERS, ROOT, Example
from tests.harness import PATIENCE, Client, Pod, until
from tests.nats_parts import NATS_CLI
from tests.sse_parser import EventStreamParser

PUBLISHERS = re.findall(r"^\| .*? \| `(.*)` \|$", (EXAMPLES / "publish" / "README.md").read_text(), re.MULTILINE)
INSTALL = {
    "go": "apt-get install golang-go",
    "node": "apt-get install nodejs",
    "nats": NATS_CLI,
}


def test_the_list_of_examples_names_each() -> None:
    assert sorted(re.findall(r"^\| \[(\w+)/\]\(\1/README.md\)", (EXAMPLES / "README.md").read_text(), re.M)) == FOLDERS


@pytest.mark.parametrize("page", [EXAMPLES / "README.md", *(EXAMPLES / folder / "README.md" for folder in FOLDERS)])
def test_every_path_that_a_readme_links_exists(page: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)", page.read_text()) if "://" not in link]
    assert not [link for link in links if not (page.parent / link).exists()]


# --- the client in Python


async def test_the_client_prints_every_event_once_although_its_pod_dies(example: StartExample, publisher: Nats) -> None:
    client = await example("python")
    pod = client.pod
    assert pod is not None
    async with client.running(client.line("client.py")) as process:
        assert process.stdout is not None
        await until(lambda: pod.load["streams"] == 1, "the stream")
        await publisher.publish("events.demo.x", b"one")
        printed = [await asyncio.wait_for(process.stdout.readline(), PATIENCE)]
        await pod.stop(signal.SIGKILL)
        await publisher.publish("events.demo.x", b"two", headers={"Ssecast-Event": "named"})
        await pod.start()
        await publisher.publish("events.demo.x", b"three\nlines")
        printed += [await asyncio.wait_for(process.stdout.readline(), PATIENCE) for _ in range(3)]
    words = [line.decode().split(maxsplit=1)[1] for line in printed[:3]]
    assert words == ["message one\n", "named two\n", "message three\n"]
    assert printed[3] == b"lines\n"


async def test_the_client_goes_on_from_an_id_that_it_is_given(pod: Pod, publisher: Nats) -> None:
    first = await Client.open(pod.port)
    for number in range(3):
        await publisher.publish("events.x", str(number).encode())
    await first.has(3)
    events = follow(f"{pod.url}/events", first.events[1].id)
    assert [(await asyncio.to_thread(next, events)).data for _ in range(2)] == ["1", "2"]
    await asyncio.to_thread(events.close)


async def test_the_client_says_why_it_is_refused(pod: Pod) -> None:
    with pytest.raises(Refused, match=r"400: .*subjects"):
        await asyncio.to_thread(next, follow(f"{pod.url}/events?subjects=x"))


def test_the_client_parses_as_a_browser_does_what_pods_send() -> None:
    text = "retry: 5\n\nid: a-1\nevent: named\ndata: one\ndata:\ndata:  two\n\n: heartbeat\n\nid: a-2\ndata: cut"
    expected = [(event.name, event.data) for event in EventStreamParser().feed(text.encode())]
    found = [
        (each.get("event", "message"), each["data"])
        for each in blocks(text.encode().splitlines(True))
        if "data" in each
    ]
    assert found == expected == [("named", "one\n\n two")]


# --- publishers


@pytest.mark.parametrize("line", PUBLISHERS, ids=["python", "go", "node", "nats"])
async def test_an_event_is_published(line: str, nats_server: EmbeddedNats, pod: Pod) -> None:
    program = line.split()[0]
    if program in INSTALL and shutil.which(program) is None:
        pytest.skip(f"{program} is not here: {INSTALL[program]}")
    if program == "go" and subprocess.run(["go", "mod", "download"], cwd=EXAMPLES / "publish" / "go").returncode:
        pytest.skip("nats.go could not be had: go mod download, in examples/publish/go")
    publish = Example("publish", nats_server.url, ROOT)
    client = await Client.open(pod.port)
    printed = await publish.run(publish.here(line).replace("go run", "GOTOOLCHAIN=local go run"))
    assert await client.has(1) == [re.findall(r"'(.*)'", line)[0]]
    if program != "nats":
        assert printed == "stored as 1\n"


@pytest.mark.parametrize("line", PUBLISHERS[:3], ids=["python", "go", "node"])
async def test_a_third_argument_names_the_event(line: str, nats_server: EmbeddedNats, pod: Pod) -> None:
    program = line.split()[0]
    if program in INSTALL and shutil.which(program) is None:
        pytest.skip(f"{program} is not here: {INSTALL[program]}")
    publish = Example("publish", nats_server.url, ROOT)
    client = await Client.open(pod.port)
    await publish.run(publish.here(f"{line} greeting"))
    await client.has(1)
    assert client.events[-1].name == "greeting"


@pytest.mark.skipif(shutil.which("node") is None, reason=f"node is not here: {INSTALL['node']}")
async def test_the_publisher_without_packages_says_when_nothing_takes_the_event(
    nats_server: EmbeddedNats, pod: Pod
) -> None:
    command = ["node", str(EXAMPLES / "publish" / "publish.mjs"), "elsewhere", "x"]
    environ = os.environ | {"NATS_URL": nats_server.url}
    done = await asyncio.to_thread(subprocess.run, command, env=environ, capture_output=True, text=True)
    assert done.returncode
    assert "no stream takes this subject" in done.stderr
