"""Everything that takes part, started and stopped: NATS, a relay and a pod each, the proxy, the clients, the publisher."""

import asyncio
import json
import shutil
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from signal import SIGKILL

import nats.errors as nats_errors
from nats.js.api import StorageType, StreamConfig
from nats.js.errors import BadRequestError

from loadtest.chaos.clients import Clients
from loadtest.chaos.effects import Look
from loadtest.chaos.plan import SECONDS, Bounds
from loadtest.chaos.pods import Pod
from loadtest.chaos.proxy import Proxy, installed
from loadtest.chaos.publisher import ANSWER_SECONDS, Publisher, now_ms
from loadtest.chaos.relay import Relay
from loadtest.chaos.traffic import SERVED
from loadtest.chaos.truth import Era, Truth
from ssecast.dev import EmbeddedNats
from ssecast.jetstream import base36

STREAM = "ssecast"
KEPT_SECONDS = 3600.0
"""How long the stream keeps events, but for the faults that are about it."""

DUPLICATE_SECONDS = 120.0
SETTLE_SECONDS, SETTLE_MOST_SECONDS = 60.0, 600.0
"""How long nothing may come to clients that are behind, and how long they may take in all: machines differ."""

POLL_SECONDS = 0.2
SAMPLE_SECONDS = 1.0
FOR_CHANCE = 1.7
"""Random waits do not come evenly, and who is refused comes again beside others who come for the first time: what is spread
over this much more time keeps within the budget in its worst second."""

HEARTBEAT_SECONDS = 3.0
STALL_SECONDS = 4.0
DRAIN_DELAY_SECONDS = 0.6
"""Until the proxy has noticed that a pod is not ready."""

NOBODY = datetime(1970, 1, 1, tzinfo=UTC)
POD = (sys.executable, "-m", "ssecast", "serve")
NARROW_POD = (sys.executable, "-m", "loadtest.chaos.narrow", "serve")


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for. budget: reconnects per second that the pods' settings allow. rate: events per second.

    pod: the command that starts a pod; None: that of the checkout, with a small queue on the last one.
    """

    minutes: float = 3.0
    seed: int = 1
    clients: int = 2000
    pods: int = 3
    rate: float = 20.0
    budget: float = 500.0
    proxy: bool = True
    pod: tuple[str, ...] | None = None

    @property
    def spread_ms(self) -> int:
        """So that all streams of a pod that is killed, which may be all there are, come back within the budget."""
        return max(1000, int(self.clients / self.budget * FOR_CHANCE * 1000))

    @property
    def retry_ms(self) -> int:
        """So that clients that find no pod at all, and try again and again, keep within it too."""
        return self.spread_ms // 2

    @property
    def window_seconds(self) -> float:
        """In which so many streams may be closed in good order."""
        return max(1.0, self.clients / self.budget * FOR_CHANCE)

    @property
    def back_seconds(self) -> float:
        """After a sudden fault, until everybody has come back."""
        return (self.retry_ms + self.spread_ms) / 1000 + 1.0

    @property
    def max_age_seconds(self) -> float:
        """So that all who came at once go within the budget, in the last fifth of their time; and nobody does while what
        others bring about is measured, at the beginning."""
        return max(min(60.0, self.minutes * 20.0), 7.4 * self.window_seconds + 18.0)

    def bounds(self, seconds: float, *, proxy: bool) -> Bounds:
        """What the plan of the first part must fit into."""
        can = {"reload": proxy, "overflow": self.pod is None}
        kinds = [name for name in SECONDS if can.get(name, True)]
        return Bounds(seconds, self.pods, kinds, self.window_seconds, self.back_seconds)

    def command(self, pod: int) -> tuple[str, ...]:
        return self.pod or (NARROW_POD if pod == self.pods - 1 else POD)

    def settings(self, relay_port: int) -> dict[str, object]:
        """A pod with a short memory, small buffers and little patience: everything comes up often."""
        return {
            "host": "127.0.0.1",
            "admin_host": "127.0.0.1",
            "nats_url": f"nats://127.0.0.1:{relay_port}",
            "stream": STREAM,
            "subjects": SERVED,
            "stream_max_age_seconds": KEPT_SECONDS,
            "max_streams": self.clients + self.clients // 5 + 10,
            "retry_ms": self.retry_ms,
            "retry_spread_ms": self.spread_ms,
            "heartbeat_seconds": HEARTBEAT_SECONDS,
            "max_age_seconds": self.max_age_seconds,
            "stall_seconds": STALL_SECONDS,
            "client_buffer_bytes": 16_384,
            "log_max_events": int(self.rate * 15),
            "drain_delay_seconds": DRAIN_DELAY_SECONDS,
            "drain_seconds": self.window_seconds,
        }


class Stage:
    """What the faults act upon."""

    def __init__(self, options: Options, folder: Path) -> None:
        self.options, self.folder = options, folder
        self.truth = Truth()
        self.store = folder / "jetstream"
        self.nats = EmbeddedNats(jetstream=False, config=f"jetstream {{ store_dir: {json.dumps(str(self.store))} }}")
        self.relays: list[Relay] = []
        self.pods: list[Pod] = []
        self.proxy: Proxy | None = None
        self.clients: Clients
        self.publisher: Publisher
        self.nats_turn = asyncio.Lock()
        self.stall_turn, self.reload_turn = asyncio.Lock(), asyncio.Lock()
        self.history = [Look(now_ms(), Counter())]
        """What was counted of what is no pod's."""

    def note(self, name: str, count: int) -> None:
        self.history.append(Look(now_ms(), self.history[-1].counters + Counter({name: count})))

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger"

    # The stream

    async def create_stream(self, cause: str) -> None:
        """Creates it; from now on what is stored belongs to a new era."""
        began = now_ms()
        try:
            info = await self.publisher.jetstream.add_stream(self._config(KEPT_SECONDS))
        except BadRequestError:  # a pod was faster: it creates what is missing
            info = await self.publisher.jetstream.update_stream(self._config(KEPT_SECONDS))
        self.truth.eras.append(Era(epoch_of(info.created), began, cause))

    async def delete_stream(self) -> None:
        await self.publisher.jetstream.delete_stream(STREAM)

    async def keep(self, seconds: float) -> None:
        """How long the stream keeps events from now on."""
        shorter = not self.truth.retention or seconds < self.truth.retention[-1][1]
        if shorter:  # what it drops is dropped at once
            self.truth.retention.append((now_ms(), seconds))
        await self.publisher.jetstream.update_stream(self._config(seconds))
        if not shorter:
            self.truth.retention.append((now_ms(), seconds))

    async def head(self) -> tuple[str, int, int]:
        """(epoch, last seq, messages) of the stream."""
        info = await self.publisher.jetstream.stream_info(STREAM)
        return epoch_of(info.created), info.state.last_seq, info.state.messages

    def _config(self, seconds: float) -> StreamConfig:
        return StreamConfig(
            name=STREAM,
            subjects=[SERVED],
            max_age=seconds,
            duplicate_window=min(seconds, DUPLICATE_SECONDS),
            storage=StorageType.FILE,
        )

    async def pause(self, pod: int, seconds: float) -> int:
        """JetStream sends a pod's consumers nothing for so long, or again at once where that is 0; returns how many."""
        until = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
        body = json.dumps({"pause_until": until} if seconds else {}).encode()
        names = set(self.relays[pod].consumers)
        return sum(await asyncio.gather(*(self._pause(name, body) for name in names)))

    async def _pause(self, consumer: str, body: bytes) -> bool:
        """False where it is gone, or NATS is."""
        client = self.publisher.client
        assert client is not None
        try:
            answer = await client.request(f"$JS.API.CONSUMER.PAUSE.{STREAM}.{consumer}", body, timeout=ANSWER_SECONDS)
        except (nats_errors.Error, OSError):
            return False
        return "error" not in json.loads(answer.data)

    # The clients

    async def settle(self, *, exactly: bool = False) -> int:
        """Waits until every client has come to the stream's head, or is known to stand exactly there; returns how many
        have not, when nothing has come to any of them for a while. Nothing may be published meanwhile."""
        epoch, seq, _ = await self.head()
        longest, before = time.monotonic() + SETTLE_MOST_SECONDS, (0, 0)
        moved_at = time.monotonic()
        while True:
            report = await self.clients.report(epoch, seq, exactly=exactly)
            now, state = time.monotonic(), (int(report["behind"]), int(report["deliveries"]))
            if state != before:
                before, moved_at = state, now
            if not state[0] or now - moved_at > SETTLE_SECONDS or now > longest:
                return state[0]
            await asyncio.sleep(POLL_SECONDS)

    def part_of(self, share: float) -> int:
        return max(1, round(self.options.clients * share))

    # The life of it

    async def watch(self) -> None:
        """Weighs the pods, and asks them what they count, until it is cancelled."""
        while True:
            await asyncio.gather(*(pod.sample() for pod in self.pods))
            for pod in self.pods:
                pod.check()
            await asyncio.sleep(SAMPLE_SECONDS)

    async def raise_curtain(self, stack: AsyncExitStack) -> None:
        """Starts everything but the clients' streams."""
        options = self.options
        stack.callback(self.nats.close)
        await asyncio.to_thread(self.nats.start)
        self.publisher = await Publisher(self.nats.url, options.rate, self.truth).start()
        stack.push_async_callback(self.publisher.stop)
        await self.create_stream("")
        self.truth.retention.append((now_ms(), KEPT_SECONDS))
        for number in range(options.pods):
            relay = await Relay(self.nats.port).start()
            stack.push_async_callback(relay.stop)
            self.relays.append(relay)
            pod = Pod(number, options.command(number), self.folder, options.settings(relay.port))
            self.pods.append(pod)
        stack.push_async_callback(self._stop_pods)
        await asyncio.gather(*(pod.start() for pod in self.pods))
        ports = [pod.port for pod in self.pods]
        if options.proxy and installed():
            self.proxy = Proxy(
                self.pods, self.folder, clients=options.clients, retry_ms=options.retry_ms, spread_ms=options.spread_ms
            )
            stack.enter_context(self.proxy)
            ports = [self.proxy.port]
        self.clients = Clients(self.ledger, self.folder / "clients.log", ports)
        stack.enter_context(self.clients)

    async def _stop_pods(self) -> None:
        for pod in self.pods:
            pod.thaw()
        await asyncio.gather(*(pod.stop(SIGKILL) for pod in self.pods), return_exceptions=True)


@asynccontextmanager
async def staged(options: Options, folder: Path) -> AsyncIterator[Stage]:
    """A stage with everything up, and nothing of it left afterwards but the folder."""
    stage = Stage(options, folder)
    async with AsyncExitStack() as stack:
        await stage.raise_curtain(stack)
        yield stage


def epoch_of(created: datetime | None) -> str:
    """The epoch of a stream that was created then."""
    assert created is not None
    return base36((created - NOBODY) // timedelta(microseconds=1))


def copy_store(source: Path, target: Path) -> None:
    """Puts a copy of nats-server's data in the place of another one; the server must be down."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
