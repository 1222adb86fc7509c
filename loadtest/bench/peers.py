"""What a peer is, and the peers that come with the benchmark itself. Others stand in `loadtest/peers/registry.py`."""

import importlib.util
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ssecast.settings import granted_cores

ROOT = Path(__file__).parents[2]
FANBENCH = ROOT / "build" / "fanbench"
PYTHON = sys.executable
MAX_STREAMS = 19_000
ALL_CORES = 0


@dataclass(frozen=True, slots=True)
class Need:
    """Something that must be there: a program on the path, or a Python module, or a file; and what installs it."""

    name: str
    install: str
    kind: str = "program"

    def met(self) -> bool:
        match self.kind:
            case "program":
                return shutil.which(self.name) is not None
            case "module":
                return importlib.util.find_spec(self.name) is not None
            case "file":
                return Path(self.name).exists()
        raise ValueError(f"{self.kind!r} is no kind of need")


@dataclass(frozen=True, slots=True)
class Peer:
    """A server that subscribes to `bench.>` at NATS_URL and serves it as an event stream.

    command: `{port}`, `{admin_port}` and `{nats_url}` are filled in; where it names no {port}, the port is its last
    argument. env likewise; NATS_URL is always set. It counts as up when its port takes connections, or when `ready`, an
    address, answers 200.
    """

    name: str
    command: list[str]
    needs: tuple[Need, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    threads: int = 1
    """Threads that send; ALL_CORES: as many as there are cores. With one, server and client are pinned apart."""
    path: str = "/events"
    ready: str = ""
    resumes: bool = False
    """Whether a stream that comes back with `Last-Event-ID` gets what it missed."""
    subject_query: str = ""
    """How a stream asks for one subject, such as `subject={subject}`; empty: it cannot."""

    def missing(self) -> Need | None:
        """The first need that is not met."""
        return next((need for need in self.needs if not need.met()), None)

    def command_line(self, places: Mapping[str, object]) -> list[str]:
        filled = [part.format_map(places) for part in self.command]
        names_port = any("{port}" in part for part in (*self.command, *self.env.values()))
        return filled if names_port else [*filled, str(places["port"])]

    def environment(self, places: Mapping[str, object]) -> dict[str, str]:
        return {name: value.format_map(places) for name, value in self.env.items()}


FLUSH_THREADS = min(granted_cores(), 4)
"""What a pod uses by default."""

SSECAST = Peer(
    name="ssecast",
    command=[PYTHON, "-m", "ssecast", "serve"],
    env={
        "SSECAST_HOST": "127.0.0.1",
        "SSECAST_PORT": "{port}",
        "SSECAST_ADMIN_HOST": "127.0.0.1",
        "SSECAST_ADMIN_PORT": "{admin_port}",
        "SSECAST_NATS_URL": "{nats_url}",
        "SSECAST_SUBJECTS": "bench.>",
        "SSECAST_MAX_STREAMS": str(MAX_STREAMS),
        "SSECAST_DRAIN_DELAY_SECONDS": "0",
        "SSECAST_DRAIN_SECONDS": "0",
    },
    threads=ALL_CORES,
    ready="http://127.0.0.1:{admin_port}/readyz",
    resumes=True,
    subject_query="subject={subject}",
)
SSECAST_1 = replace(SSECAST, name="ssecast-1", env={**SSECAST.env, "SSECAST_FLUSH_THREADS": "1"}, threads=1)
BEFORE = "before"


def before(checkout: Path) -> Peer:
    """The pod of another checkout, such as the one a change started from. Raises ValueError where there is none."""
    service = checkout.resolve() / "service"
    if not (service / "ssecast" / "__main__.py").exists():
        raise ValueError(f"--against {checkout} is no checkout of ssecast: it has no service/ssecast")
    return replace(SSECAST, name=BEFORE, env={**SSECAST.env, "PYTHONPATH": str(service)})


GO_HUB = Peer("go-hub", [str(FANBENCH), "hub"], threads=ALL_CORES)
FLOOR_1 = Peer("floor-1", [str(FANBENCH), "floor", "-threads", "1"])
FLOOR_N = Peer("floor-n", [str(FANBENCH), "floor", "-threads", str(FLUSH_THREADS)], threads=ALL_CORES)

CORE = (SSECAST, GO_HUB, FLOOR_N)
"""The published comparison: all of them send on all cores."""

OWN = (*CORE, SSECAST_1, FLOOR_1)
