"""Everything that takes part but k6: nats-server, pods, one that is spare, and HAProxy in front of them."""

import asyncio
import json
import math
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL

from loadtest.bench.processes import Child, free_port
from loadtest.chaos.pods import Pod
from loadtest.chaos.proxy import Proxy
from loadtest.chaos.publisher import now_ms
from ssecast.dev import EmbeddedNats

POD = (sys.executable, "-m", "ssecast", "serve")
POLLED = (sys.executable, "-m", "loadtest.peers.polling")
SUBJECT = "events.soak"
BUDGET = 500
"""Reconnects per second that retries and drains are spread for."""

RETRY_MS = 500
LOG_SECONDS = 10
"""Of events that a pod keeps in memory: its log has its full size before it is watched."""

DRAIN_DELAY_SECONDS = 0.6
"""Until the proxy has noticed that a pod is not ready."""

CHANGING = frozenset({"soak", "mixed", "upload-progress"})
"""Scenarios in which pods come and go. The others measure something that this would spoil."""

BEHIND_PROXY_MOST = 7_000
"""Streams: a proxy has two files open for each, and a process may open 20,000 on the usual machine."""

PROXY_SPARE = 5
"""The kernel does not spread clients evenly: a proxy takes a fifth more than its share."""

MINUTES_PER_CHANGE = 10.0
CHANGES_MOST = 48


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for. churn: percent of the streams that are cut within a minute. pod: the command that starts one.
    behind_proxy: streams that one proxy takes."""

    scenario: str = "soak"
    minutes: float = 5.0
    streams: int = 2000
    pods: int = 3
    churn: float = 5.0
    rate: float = 10.0
    pod: tuple[str, ...] = POD
    behind_proxy: int = BEHIND_PROXY_MOST

    @property
    def proxies(self) -> int:
        """How many of them share a port."""
        return math.ceil(self.streams / self.behind_proxy) if self.pods > 1 else 0

    @property
    def capacity(self) -> int:
        """Streams that one pod takes: two thirds of them together where there is to be no room for all of them, else as
        many as come when a pod is away."""
        if self.scenario == "ramp":
            return max(self.streams * 2 // 3 // self.pods, 1)
        return self.streams + self.streams // 5 + 50

    @property
    def spread_ms(self) -> int:
        return max(1000, self.streams * 1000 // BUDGET)

    @property
    def changes(self) -> list[float]:
        """When a pod is drained and another one started: seconds after k6 began."""
        if self.scenario not in CHANGING or self.pods < 2:
            return []
        count = min(max(round(self.minutes / MINUTES_PER_CHANGE), 1 if self.minutes < 1.5 else 2), CHANGES_MOST)
        return [self.minutes * 60 * (number + 1) / (count + 1) for number in range(count)]

    def settings(self, nats_url: str) -> dict[str, object]:
        """Of a pod; what is not here is as it is shipped."""
        return {
            "host": "127.0.0.1",
            "admin_host": "127.0.0.1",
            "nats_url": nats_url,
            "publish": True,
            "max_streams": self.capacity,
            "retry_ms": RETRY_MS,
            "retry_spread_ms": self.spread_ms,
            "log_max_events": max(int(self.rate * LOG_SECONDS), 100),
            "drain_delay_seconds": DRAIN_DELAY_SECONDS,
            "drain_seconds": max(self.streams / self.pods / BUDGET * 2, 1.0),
        }

    def environment(self, stage: "Stage") -> dict[str, object]:
        """What the scenario reads."""
        found: dict[str, object] = {
            "URL": f"http://127.0.0.1:{stage.port}",
            "SUBJECT": SUBJECT,
            "MINUTES": self.minutes,
            "STREAMS": self.streams,
            "CHURN": self.churn,
            "RATE": self.rate,
        }
        if self.scenario == "ramp":
            found["CAPACITY"] = self.capacity * self.pods
        if stage.polled is not None:
            found["POLL_URL"] = f"http://127.0.0.1:{stage.polled_port}"
            found["POLL_METRICS"] = f"http://127.0.0.1:{stage.polled_port}/metrics"
            found["METRICS"] = ",".join(f"http://127.0.0.1:{pod.admin_port}/metrics" for pod in stage.running)
        return found


@dataclass(frozen=True, slots=True)
class Life:
    """A pod from when it took part until it was told to end, or the run ended. Milliseconds of the monotonic clock."""

    pod: int
    boot: int
    since: int
    until: int


class Stage:
    """What is started and watched. The first pod lives as long as the run; of the others one is spare in turn."""

    def __init__(self, options: Options, folder: Path) -> None:
        self.options, self.folder = options, folder
        store = json.dumps(str(folder / "jetstream"))
        self.nats = EmbeddedNats(jetstream=False, config=f"jetstream {{ store_dir: {store} }}")
        self.pods: list[Pod] = []
        self.proxies: list[Proxy] = []
        self.polled: Child | None = None
        self.polled_port = 0
        self.lives: list[Life] = []
        self._begun: dict[int, int] = {}
        self._processes: list[Child] = []

    @property
    def running(self) -> list[Pod]:
        return [pod for pod in self.pods if pod.child is not None]

    @property
    def port(self) -> int:
        """Where streams and publishers come to."""
        return self.proxies[0].port if self.proxies else self.pods[0].port

    async def change(self) -> str:
        """Starts the spare pod, and drains the one beside the first that has lived longest; returns what happened."""
        spare = next(pod for pod in self.pods if pod.child is None)
        oldest = min(self.running[1:], key=lambda pod: self._begun[pod.number])
        await self._start(spare)
        streams = oldest.streams
        self._end_life(oldest)
        await oldest.stop()
        return f"pod {spare.number} was started, and pod {oldest.number} drained of {streams:,} streams"

    async def sample(self) -> None:
        """Weighs the pods, and notes it where one has ended by itself."""
        await asyncio.gather(*(pod.sample() for pod in self.running))
        for pod in self.pods:
            pod.check()

    def end_lives(self) -> None:
        """From now on nothing that the pods hold counts."""
        for pod in self.running:
            self._end_life(pod)

    def _end_life(self, pod: Pod) -> None:
        self.lives.append(Life(pod.number, pod.starts, self._begun.pop(pod.number), now_ms()))

    async def _start(self, pod: Pod) -> None:
        await pod.start()
        assert pod.child is not None
        self._processes.append(pod.child)
        self._begun[pod.number] = now_ms()

    async def raise_curtain(self, stack: AsyncExitStack) -> None:
        """Starts everything."""
        options = self.options
        stack.callback(self.nats.close)
        await asyncio.to_thread(self.nats.start)
        count = options.pods + bool(options.changes)
        settings = options.settings(self.nats.url)
        self.pods = [Pod(number, options.pod, self.folder, settings) for number in range(count)]
        stack.push_async_callback(self._stop_pods)
        await asyncio.gather(*(self._start(pod) for pod in self.pods[: options.pods]))
        for number in range(options.proxies):
            self._start_proxy(number, stack)
        if options.scenario == "polling":
            self._start_polled(stack)

    def _start_proxy(self, number: int, stack: AsyncExitStack) -> None:
        options, folder = self.options, self.folder / f"haproxy-{number}"
        folder.mkdir()
        share = math.ceil(options.streams / options.proxies)
        self.proxies.append(
            Proxy(
                self.pods,
                folder,
                clients=share + (share // PROXY_SPARE if options.proxies > 1 else 0),
                retry_ms=RETRY_MS,
                spread_ms=options.spread_ms,
                beside=self.proxies[0] if self.proxies else None,
            )
        )
        stack.enter_context(self.proxies[-1])

    def _start_polled(self, stack: AsyncExitStack) -> None:
        self.polled_port = free_port()
        command = [*POLLED, str(self.polled_port)]
        self.polled = stack.enter_context(Child(command, self.folder / "polled.log", env={"NATS_URL": self.nats.url}))
        self.polled.wait_until_up(self.polled_port)

    async def _stop_pods(self) -> None:
        await asyncio.gather(*(pod.stop(SIGKILL) for pod in self.pods), return_exceptions=True)
        # A pod that was just draining when the run ended is nobody's any more.
        await asyncio.gather(*(asyncio.to_thread(process.stop) for process in self._processes))


@asynccontextmanager
async def staged(options: Options, folder: Path) -> AsyncIterator[Stage]:
    """A stage with everything up, and nothing of it left afterwards but the folder."""
    stage = Stage(options, folder)
    async with AsyncExitStack() as stack:
        await stage.raise_curtain(stack)
        yield stage
