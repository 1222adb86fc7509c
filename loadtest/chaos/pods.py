"""Pods as processes: started, stopped, killed, frozen, asked and weighed."""

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

START_SECONDS, STOP_SECONDS = 60.0, 60.0
POLL_SECONDS = 0.05
ASK_SECONDS = 5.0
COUNTERS = ("ssecast_source_restarts", "ssecast_resumes", "ssecast_gaps", "ssecast_breaks", "ssecast_streams_closed",
            "ssecast_streams_refused")  # fmt: skip


class Weight(NamedTuple):
    """Resident bytes and open files."""

    rss: int
    files: int


@dataclass(frozen=True, slots=True)
class Sample:
    """A pod at one moment. time: seconds of the monotonic clock. streams: -1 where it did not answer."""

    time: float
    streams: int
    rss: int
    files: int


class Pod:
    """One pod on ports that it keeps, with settings that may change from one start to the next."""

    def __init__(self, number: int, command: Sequence[str], folder: Path, settings: Mapping[str, object]) -> None:
        self.number, self.command = number, list(command)
        self.port, self.admin_port = free_port(), free_port()
        self.log = folder / f"pod-{number}.log"
        self.settings = dict(settings)
        self.child: Child | None = None
        self.turn = asyncio.Lock()
        self.samples: list[Sample] = []
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
        env = {f"SSECAST_{name.upper()}": str(value) for name, value in self.settings.items()}
        env |= {"SSECAST_PORT": str(self.port), "SSECAST_ADMIN_PORT": str(self.admin_port)}
        self.child = Child(self.command, self.log, env=env)
        self.starts += 1
        await self.wait_until("/readyz" if ready else "/healthz")

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
        """Ends it by a signal and waits for it."""
        child, self.child = self.child, None
        if child is None:
            return
        self._note_end(child)
        if how is signal.SIGTERM:
            await self.sample(child)
        if child.process.poll() is None:
            child.process.send_signal(how)
        for _ in range(int(STOP_SECONDS / POLL_SECONDS)):
            if child.process.poll() is not None:
                break
            await asyncio.sleep(POLL_SECONDS)
        await asyncio.to_thread(child.stop)

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

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
        streams = -1
        with suppress(OSError):
            text = await self.ask("GET", "/metrics", seconds=1.0)
            found = dict(_samples(text))
            streams = int(found.get("ssecast_streams", -1))
            if self.child in (child, None):
                self._boot = Counter({name: int(value) for name, value in found.items() if name.startswith(COUNTERS)})
        self.samples.append(Sample(time.monotonic(), streams, weight.rss, weight.files))

    async def weigh(self) -> tuple[int, int, int]:
        """(open streams, resident bytes, open files) now. Raises OSError where it does not answer."""
        assert self.child is not None
        streams = int((await self.ask("GET", "/load"))["streams"])
        return streams, *_weigh(self.child.process.pid)

    def check(self) -> None:
        """Notes it where it ended by itself."""
        if self.child is not None:
            self._note_end(self.child)

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


def _samples(exposition: str) -> list[tuple[str, float]]:
    """Name with labels, and value, of each sample in Prometheus's text format."""
    lines = (line.rpartition(" ") for line in exposition.splitlines() if not line.startswith("#"))
    return [(name, float(value)) for name, _, value in lines]


def _weigh(pid: int) -> Weight:
    try:
        resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return Weight(resident * os.sysconf("SC_PAGE_SIZE"), len(os.listdir(f"/proc/{pid}/fd")))
    except OSError:  # it has just ended
        return Weight(0, 0)
