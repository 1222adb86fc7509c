"""Pods as processes: started, changed, stopped, killed, frozen, asked and weighed."""

import asyncio
import json
import os
import signal
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from loadtest.bench.processes import Child, free_port
from loadtest.chaos.effects import FROZEN, KILLED, Look
from loadtest.chaos.publisher import now_ms
from ssecast.settings import LIVE, PREFIX

START_SECONDS, STOP_SECONDS = 60.0, 60.0
POLL_SECONDS = 0.05
ASK_SECONDS = 5.0
CHANGE_SECONDS = 20.0
"""A pod looks at its settings every two seconds, and may be frozen or busy meanwhile."""

TAKEN = "settings taken"
"""What its log says then."""

STOPPING_LOOK_SECONDS = 0.25
STOPPED = "T"
TRACEBACK_CHARS = 300
COUNTERS = ("ssecast_source_restarts", "ssecast_resumes", "ssecast_gaps", "ssecast_breaks", "ssecast_streams_closed",
            "ssecast_streams_refused")  # fmt: skip


class Weight(NamedTuple):
    """Resident bytes and open files."""

    rss: int
    files: int


@dataclass(frozen=True, slots=True)
class Sample:
    """A pod at one moment. at: milliseconds of the monotonic clock. boot: how often it had been started by then.
    streams: -1 where it did not answer. kept: bytes of its memory that are its log, as it counts them."""

    at: int
    boot: int
    streams: int
    rss: int
    files: int
    kept: int = 0


class Pod:
    """One pod on ports that it keeps, with settings that may change while it runs: those stand in a folder, the others in
    its environment."""

    def __init__(self, number: int, command: Sequence[str], folder: Path, settings: Mapping[str, object]) -> None:
        self.number, self.command = number, list(command)
        self.port, self.admin_port = free_port(), free_port()
        self.log = folder / f"pod-{number}.log"
        self.settings_folder = folder / f"pod-{number}-settings"
        self.settings = dict(settings)
        self.child: Child | None = None
        self.turn = asyncio.Lock()
        self.samples: list[Sample] = []
        self.history: list[Look] = []
        self.starts = 0
        self.died: list[str] = []
        """How it ended without having been told to."""
        self._boot: Counter[str] = Counter()
        self._before: Counter[str] = Counter()

    @property
    def counters(self) -> Counter[str]:
        """What it and those before it counted, as far as they were asked in time."""
        return self._before + self._boot

    async def start(self, *, ready: bool = True) -> None:
        """Starts it and waits until it is ready, or at least alive."""
        self._before, self._boot = self.counters, Counter()
        self._write_live()
        env = {_variable(name): str(value) for name, value in self.settings.items() if name not in LIVE}
        env |= {
            _variable("port"): str(self.port),
            _variable("admin_port"): str(self.admin_port),
            _variable("settings_dir"): str(self.settings_folder),
        }
        self.child = Child(self.command, self.log, env=env)
        self.starts += 1
        await self.wait_until("/readyz" if ready else "/healthz")

    async def change(self, **settings: object) -> None:
        """Changes settings while it runs. Raises RuntimeError where it does not say in time that it has taken them."""
        said = self.log.stat().st_size
        self.settings |= settings
        self._write_live()
        deadline = time.monotonic() + CHANGE_SECONDS
        while TAKEN.encode() not in self.log.read_bytes()[said:]:
            if time.monotonic() > deadline:
                raise RuntimeError(f"pod {self.number} has not taken {settings} within {CHANGE_SECONDS:.0f} s")
            await asyncio.sleep(POLL_SECONDS)

    def _write_live(self) -> None:
        self.settings_folder.mkdir(exist_ok=True)
        for name in self.settings.keys() & LIVE:
            new = self.settings_folder / "new"
            new.write_text(str(self.settings[name]))
            new.replace(self.settings_folder / _variable(name))

    async def wait_until(self, path: str) -> None:
        """Until the address answers 200. Raises RuntimeError where it does not in time, or the process ended."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            assert self.child is not None
            self.child.check()
            with suppress(OSError, urllib.error.URLError):
                await self.ask("GET", path)
                return
            await asyncio.sleep(POLL_SECONDS)
        raise RuntimeError(
            f"pod {self.number} has not answered {path} with 200 within {START_SECONDS:.0f} s: {self.log}"
        )

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Ends it by a signal and waits for it; while it drains, it is asked what it counts until the last moment."""
        child, self.child = self.child, None
        if child is None:
            return
        self._note_end(child)
        if child.process.poll() is None:
            child.process.send_signal(how)
        deadline = time.monotonic() + STOP_SECONDS
        while child.process.poll() is None and time.monotonic() < deadline:
            await asyncio.sleep(STOPPING_LOOK_SECONDS if how is signal.SIGTERM else POLL_SECONDS)
            if how is signal.SIGTERM:
                await self.sample(child)
        await asyncio.to_thread(child.stop)

    async def kill(self) -> int:
        """Ends it by SIGKILL; returns how many streams it had just before."""
        await self.sample()
        streams = self.streams
        await self.stop(signal.SIGKILL)
        self._note(KILLED, streams)
        return streams

    @property
    def streams(self) -> int:
        """As many as it had when it was last asked."""
        return max(self.samples[-1].streams, 0) if self.samples else 0

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def note_frozen(self) -> None:
        """Counts it where the kernel says that the process is stopped."""
        if self.child is not None:
            self._note(FROZEN, int(_state(self.child.process.pid) == STOPPED))

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    async def ask(self, method: str, path: str, body: object = None, seconds: float = ASK_SECONDS) -> Any:
        """One request to the admin port; what it answers with. Raises OSError, also where that is an error."""
        return await asyncio.to_thread(self._ask, method, path, body, seconds)

    async def sample(self, child: Child | None = None) -> None:
        """Weighs it, and asks it what it counts; one that does not answer now is asked again later."""
        child = child or self.child
        if child is None or child.process.poll() is not None:
            return
        weight = _weigh(child.process.pid)
        streams, kept = -1, 0
        with suppress(OSError):
            text = await self.ask("GET", "/metrics", seconds=1.0)
            found = dict(_samples(text))
            streams, kept = int(found.get("ssecast_streams", -1)), int(found.get("ssecast_log_bytes", 0))
            if self.child in (child, None):
                self._boot = Counter({name: int(value) for name, value in found.items() if name.startswith(COUNTERS)})
                self.history.append(Look(now_ms(), self.counters))
        self.samples.append(Sample(now_ms(), self.starts, streams, weight.rss, weight.files, kept))

    async def weigh(self) -> tuple[int, int, int]:
        """(open streams, resident bytes, open files) now. Raises OSError where it does not answer."""
        assert self.child is not None
        streams = int((await self.ask("GET", "/load"))["streams"])
        return streams, *_weigh(self.child.process.pid)

    def check(self) -> None:
        """Notes it where it ended by itself."""
        if self.child is not None:
            self._note_end(self.child)

    def tracebacks(self) -> list[str]:
        """What it said that no pod should say, each in one line."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return [f"pod {self.number}: {_gist(part)}" for part in text.split("Traceback (most recent call last):")[1:]]

    def _note(self, name: str, count: int) -> None:
        self._before[name] += count
        self.history.append(Look(now_ms(), self.counters))

    def _note_end(self, child: Child) -> None:
        try:
            child.check()
        except RuntimeError as ended:
            if str(ended) not in self.died:
                self.died.append(str(ended))

    def _signal(self, number: signal.Signals) -> None:
        if self.child is not None and self.child.process.poll() is None:
            self.child.process.send_signal(number)

    def _ask(self, method: str, path: str, body: object, seconds: float) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Connection": "close"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.admin_port}{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=seconds) as answer:
            text = answer.read().decode()
            is_json = answer.headers.get_content_type() == "application/json"
        return json.loads(text) if is_json else text


def _gist(traceback: str) -> str:
    """What was raised: the end of the line where a log holds it in one, else the first line that is not indented."""
    head, *lines = traceback.splitlines()
    return head[-TRACEBACK_CHARS:] or next((line for line in lines if line and not line[0].isspace()), "")


def _samples(exposition: str) -> list[tuple[str, float]]:
    """Name with labels, and value, of each sample in Prometheus's text format."""
    lines = (line.rpartition(" ") for line in exposition.splitlines() if not line.startswith("#"))
    return [(name, float(value)) for name, _, value in lines]


def _variable(setting: str) -> str:
    return PREFIX + setting.upper()


def _state(pid: int) -> str:
    """One letter, as in proc(5); empty where there is no such process."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1]
    return ""


def _weigh(pid: int) -> Weight:
    try:
        resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return Weight(resident * os.sysconf("SC_PAGE_SIZE"), len(os.listdir(f"/proc/{pid}/fd")))
    except OSError:  # it has just ended
        return Weight(0, 0)
