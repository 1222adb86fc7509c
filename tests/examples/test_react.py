"""The React hook: its types by TypeScript's own compiler, and what it does by React itself in Chromium."""

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler
from pathlib import Path

import pytest
from nats.aio.client import Client as Nats
from selenium.webdriver.remote.webdriver import WebDriver

from ssecast.dev import EmbeddedNats
from tests.examples.parts import EXAMPLES
from tests.examples.test_pages import seen, text, texts
from tests.harness import Pod, WebServer, until

REACT = EXAMPLES / "react"
MODULES = REACT / "node_modules"
TSC = MODULES / ".bin" / "tsc"
PARTS = ("scheduler/cjs/scheduler", "react/cjs/react", "react-dom/cjs/react-dom", "react-dom/cjs/react-dom-client")

IMPORTS = 'import { useState } from "react";\nimport { useEvents, type StreamEvent } from "./useEvents";\n'

pytestmark = pytest.mark.skipif(
    not TSC.exists() or shutil.which("node") is None,
    reason="TypeScript and React are not here: npm ci --prefix examples/react (apt-get install nodejs npm)",
)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the hook as JavaScript, React, and a page that uses both."""
    folder = tmp_path_factory.mktemp("react")
    command = [str(TSC), "--project", str(REACT), "--outDir", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    for part in PARTS:
        shutil.copy(MODULES / f"{part}.development.js", folder)
    (folder / "react.mjs").write_text("export const { useEffect, useRef, useState } = globalThis.React;")
    shutil.copy(Path(__file__).with_name("react.html"), folder)
    return folder


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Says nothing."""


def serving(handler: Callable[..., BaseHTTPRequestHandler], port: int = 0) -> WebServer:
    server = WebServer(("127.0.0.1", port), handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server


@pytest.fixture
def origin(compiled: Path) -> Iterator[str]:
    server = serving(partial(Quiet, directory=str(compiled)))
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
async def reader(make_pod: Callable[..., Pod], nats_server: EmbeddedNats, origin: str) -> Pod:
    return await make_pod(nats_server.url, cors_origins=origin).start()


def test_its_types_are_right(compiled: Path) -> None:
    assert (compiled / "useEvents.js").exists()


def check(folder: Path, source: str) -> str:
    """What the compiler says of a component beside the hook; nothing when its types are right."""
    shutil.copy(REACT / "useEvents.ts", folder)
    (folder / "node_modules").symlink_to(MODULES)
    (folder / "News.tsx").write_text(f"{IMPORTS}{source}")
    options = {"noEmit": True, "jsx": "react-jsx", "rootDir": "."}
    config = {"extends": f"{REACT}/tsconfig.json", "files": ["News.tsx"], "compilerOptions": options}
    (folder / "tsconfig.json").write_text(json.dumps(config))
    return subprocess.run([str(TSC), "--project", str(folder)], capture_output=True, text=True, check=False).stdout


def test_the_component_in_the_readme_is_right(tmp_path: Path) -> None:
    (source,) = re.findall(r"```tsx\n(.*?)```", (REACT / "README.md").read_text(), re.DOTALL)
    assert check(tmp_path, source) == ""


def test_a_wrong_use_of_it_is_an_error(tmp_path: Path) -> None:
    said = check(tmp_path, 'useEvents("/events", (event: StreamEvent) => event.subject);')
    assert "Property 'subject' does not exist on type 'StreamEvent'" in said


@pytest.mark.browser
async def test_a_component_has_every_event_once_although_its_pod_dies(
    origin: str, reader: Pod, bare_tab: WebDriver, publisher: Nats
) -> None:
    """React's strict mode mounts everything twice: the first stream must be closed again."""
    bare_tab.get(f"{origin}/react.html?url={reader.url}/events")
    await seen(bare_tab, lambda: text(bare_tab, "output") == "open")
    await until(lambda: reader.load["streams"] == 1, "one stream")
    await publisher.publish("events.x", b"one")
    await seen(bare_tab, lambda: texts(bare_tab, "li") == ["message one"])
    await reader.stop()
    await publisher.publish("events.x", b"two", headers={"Ssecast-Event": "named"})
    await reader.start()
    await seen(bare_tab, lambda: texts(bare_tab, "li") == ["message one", "named two"])
    bare_tab.execute_script("leave()")
    await until(lambda: reader.load["streams"] == 0, "no stream without a component")


@pytest.mark.browser
async def test_it_comes_back_where_a_browser_gives_up(
    origin: str, reader: Pod, bare_tab: WebDriver, publisher: Nats
) -> None:
    asked = threading.Event()

    class BadGateway(Quiet):
        def do_GET(self) -> None:
            self.send_error(502)
            asked.set()

    bare_tab.get(f"{origin}/react.html?url={reader.url}/events")
    await seen(bare_tab, lambda: text(bare_tab, "output") == "open")
    await reader.stop()
    server = serving(BadGateway, reader.port)
    await until(asked.is_set, "a request that is answered 502")
    server.shutdown()
    server.server_close()
    await publisher.publish("events.x", b"meanwhile")
    await reader.start()
    await seen(bare_tab, lambda: texts(bare_tab, "li") == ["message meanwhile"])
