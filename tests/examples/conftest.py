"""Fixtures for examples: a folder with a pod as its README sets it up, and a tab of Chromium."""

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from selenium.webdriver.remote.webdriver import WebDriver

from ssecast.dev import EmbeddedNats
from tests.browser.control import Control
from tests.browser.engines import running
from tests.examples.parts import ROOT, Example
from tests.harness import Pod

StartExample = Callable[[str], Awaitable[Example]]


@pytest.fixture
def example(nats_server: EmbeddedNats, make_pod: Callable[..., Pod], tmp_path: Path) -> StartExample:
    """Starts the pod that the README asks for. Lines that make files, and pods that read them, run in a folder of the test's."""

    async def start(folder: str) -> Example:
        found = Example(folder, nats_server.url, ROOT)
        settings = found.settings
        for line in found.lines:
            if line.startswith("openssl"):
                found.home = tmp_path
                await found.run(line)
        if "jwt_key_file" in settings:
            settings["jwt_key_file"] = str(tmp_path / settings["jwt_key_file"])
        found.pod = await make_pod(nats_server.url, **settings).start()
        return found

    return start


@pytest.fixture(scope="session", params=["chromium"])
def chromium(request: pytest.FixtureRequest) -> Iterator[WebDriver]:
    with Control() as control, running(request.param, control) as engine:
        assert engine.driver is not None
        yield engine.driver


@pytest.fixture
def bare_tab(chromium: WebDriver) -> Iterator[WebDriver]:
    """A tab of its own."""
    home = chromium.current_window_handle
    chromium.switch_to.new_window("tab")
    yield chromium
    chromium.delete_all_cookies()
    chromium.close()
    chromium.switch_to.window(home)


@pytest.fixture
def tab(bare_tab: WebDriver) -> Iterator[WebDriver]:
    """The same for pages that have nothing to write to the console: errors of theirs would stand there."""
    bare_tab.get_log("browser")  # type: ignore[attr-defined]
    yield bare_tab
    assert not bare_tab.get_log("browser")  # type: ignore[attr-defined]
