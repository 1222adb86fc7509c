"""The real engines of Debian, each started once and given one page that opens the pages of the tests."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.remote.webdriver import WebDriver

from tests.browser.control import Control

MINI_BROWSERS = "*/webkit2gtk-4.*/MiniBrowser"
SHA256_OID = "2.16.840.1.101.3.4.2.1"

CHROMIUM_ARGUMENTS = (
    "--headless",
    "--no-sandbox",  # root in a container has no user namespace to give away
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
    "--window-size=1100,900",
)

FIREFOX_PREFERENCES: dict[str, bool | int | str] = {
    "app.normandy.enabled": False,
    "app.update.enabled": False,
    "browser.aboutwelcome.enabled": False,
    "browser.safebrowsing.downloads.remote.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.homepage_override.mstone": "ignore",
    "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "network.proxy.type": 0,
    "toolkit.telemetry.reportingpolicy.firstRun": False,
}


@dataclass(frozen=True, slots=True)
class Engine:
    """A running engine with the runner page of its control open; driver where it has one."""

    name: str
    control: Control
    driver: WebDriver | None


@dataclass(frozen=True, slots=True)
class Trust:
    """A certificate that no authority of the engine's has signed, and the ports of 127.0.0.1 where it is to be believed.

    fingerprint: SHA-256 in capital hexadecimal digits, with colons.
    """

    fingerprint: str = ""
    ports: tuple[int, ...] = ()


NOBODY = Trust()


@contextlib.contextmanager
def running(name: str, control: Control, trust: Trust = NOBODY) -> Iterator[Engine]:
    """The engine with the control's runner page open; skips where it is not installed."""
    with (
        tempfile.TemporaryDirectory(prefix=f"ssecast-{name}-", ignore_cleanup_errors=True) as folder,
        _STARTS[name](control.url, Path(folder), trust) as driver,
    ):
        yield Engine(name, control, driver)


@contextlib.contextmanager
def _chromium(url: str, folder: Path, trust: Trust) -> Iterator[WebDriver]:
    options = webdriver.ChromeOptions()
    options.accept_insecure_certs = bool(trust.ports)
    options.binary_location = _program("chromium", "chromium")
    for argument in (*CHROMIUM_ARGUMENTS, f"--user-data-dir={folder}"):
        options.add_argument(argument)
    service = webdriver.ChromeService(_program("chromedriver", "chromium-driver"), env=_environ(folder))
    driver = webdriver.Chrome(options=options, service=service)
    try:
        driver.get(url)
        yield driver
    finally:
        driver.quit()


@contextlib.contextmanager
def _firefox(url: str, folder: Path, trust: Trust) -> Iterator[None]:
    """Debian has no geckodriver: the page is opened by the command line, and exceptions for certificates are a file."""
    program = _program("firefox-esr", "firefox-esr")
    lines = (f'user_pref("{key}", {_javascript(value)});\n' for key, value in FIREFOX_PREFERENCES.items())
    (folder / "user.js").write_text("".join(lines))
    exceptions = (f"127.0.0.1:{port}:\tOID.{SHA256_OID}\t{trust.fingerprint}\t\n" for port in trust.ports)
    (folder / "cert_override.txt").write_text("".join(exceptions))
    with _process([program, "--headless", "--no-remote", "--profile", str(folder), url], _environ(folder)):
        yield None


@contextlib.contextmanager
def _webkit(url: str, folder: Path, trust: Trust) -> Iterator[None]:
    """WebKit's own small browser on a display of its own: it knows no headless mode."""
    browsers = sorted(Path("/usr/lib").glob(MINI_BROWSERS))
    if not browsers:
        pytest.skip("WebKit's MiniBrowser is not here: apt-get install webkit2gtk-driver")
    sandbox = {"WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS": "1"} if os.geteuid() == 0 else {}
    with _display(folder) as display:
        environ = _environ(folder) | sandbox | {"DISPLAY": display, "GDK_BACKEND": "x11", "LIBGL_ALWAYS_SOFTWARE": "1"}
        lenient = ["--ignore-tls-errors"] if trust.ports else []
        environ |= {"SOUP_FORCE_HTTP1": "1"}  # in HTTP/2 libsoup 3.2 does not notice that a stream was reset
        with _process([str(browsers[-1]), "--private", *lenient, url], environ):
            yield None


_STARTS: dict[str, Callable[[str, Path, Trust], contextlib.AbstractContextManager[WebDriver | None]]] = {
    "chromium": _chromium,
    "firefox": _firefox,
    "webkit": _webkit,
}
ENGINES = tuple(_STARTS)


@contextlib.contextmanager
def _display(folder: Path) -> Iterator[str]:
    """An X server of our own on a display that it picks itself."""
    reader, writer = os.pipe()
    command = [_program("Xvfb", "xvfb"), "-displayfd", str(writer), "-screen", "0", "1100x900x24", "-nolisten", "tcp"]
    with _process(command, _environ(folder), pass_fds=(writer,)):
        os.close(writer)
        with os.fdopen(reader) as answer:
            number = answer.readline().strip()
        assert number, "Xvfb did not start"
        yield f":{number}"


@contextlib.contextmanager
def _process(command: list[str], environ: dict[str, str], pass_fds: tuple[int, ...] = ()) -> Iterator[None]:
    """A process in a group of its own; the whole group is gone at the end."""
    process = subprocess.Popen(
        command,
        env=environ,
        pass_fds=pass_fds,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)


def _environ(folder: Path) -> dict[str, str]:
    """Ours without proxies and without the user's own folders."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return kept | {"HOME": str(folder), "XDG_RUNTIME_DIR": str(folder), "MOZ_CRASHREPORTER_DISABLE": "1"}


def _program(name: str, package: str) -> str:
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/bin:/usr/sbin")
    if found is None:
        pytest.skip(f"{name} is not here: apt-get install {package}")
    return found


def _javascript(value: bool | int | str) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value).replace("'", '"')
