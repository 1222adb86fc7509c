"""The memory that the kernel grants the pod's cgroup (version 1 or 2), what of it is in use, and what still fits.

A pod above its limit is killed, with all of its streams at once. So it takes no new ones while there is still room for
what the open ones may yet need.
"""

import ctypes
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, NoReturn

import structlog

LOOK_SECONDS = 0.5
"""Between two looks. In between, new streams are charged by STREAM_BYTES."""

HIGH, LOW = 0.85, 0.80
"""Shares of the limit from which memory is short, and under which it suffices again. While it is short no stream and no
payload is taken, and there is one backfill at most. What is left above HIGH is for what is open: sockets that fill, that
backfill, the log up to its bound (with a limit of 512Mi, 77Mi are left). The distance to LOW keeps the door from flapping
with every stream that ends."""

CRITICAL = 0.95
"""Share of the limit from which it is given back, or the kernel would close all streams: those whose sockets are full are
closed, backfills are dropped and wait, payloads that have come in part are refused, and the log grows no more."""

SHARE = 0.25
"""Of the limit, at most, for the log; and for one backfill."""

PAYLOADS_BYTES = 16 * 2**20
"""For the payloads of all publishers at once, or for one of the largest size where that is more. Each is in memory three
times at worst, on its way from a socket to NATS."""

TRIM_EVERY = 10
"""Looks between two attempts to give to the kernel what has been freed; each may take some milliseconds."""

STREAM_BYTES = 8 * 2**10
"""What a new stream is charged until the next look: more than twice what one takes at rest, in the pod and in the kernel
(3 KiB of the cgroup's memory each, 8,000 measured), for some of what is on its way to it."""

FEW = 32
"""With room for fewer streams than that, the mark counts as reached."""

UNLIMITED = float("inf")

log = structlog.get_logger()


class Reading(NamedTuple):
    """Bytes granted and bytes in use, without what the kernel can take back at once."""

    limit: int
    used: int

    @property
    def share(self) -> float:
        return self.used / self.limit


class Cgroup(NamedTuple):
    """A directory of the memory controller, and what its files are called."""

    directory: Path
    limit_file: str
    usage_file: str
    reclaimable: str

    def read(self) -> Reading | None:
        """None where it sets no limit, or cannot be read."""
        with suppress(OSError, ValueError, StopIteration):
            limit = int((self.directory / self.limit_file).read_text())  # "max" is no number
            usage = int((self.directory / self.usage_file).read_text())
            lines = (self.directory / "memory.stat").read_text().splitlines()
            reclaimable = next(int(line.split()[1]) for line in lines if line.startswith(self.reclaimable))
            # Version 1 writes "no limit" as the largest number of pages.
            return Reading(limit, max(0, usage - reclaimable)) if 0 < limit < 2**60 else None
        return None


def cgroups(root: Path = Path("/")) -> list[Cgroup]:
    """The cgroups that hold this process, innermost first, as far out as can be seen: each may have a limit."""
    with suppress(OSError, ValueError):
        mounts = (root / "proc/self/mountinfo").read_text().splitlines()
        own = (root / "proc/self/cgroup").read_text().splitlines()
        return [cgroup for mount in mounts for cgroup in _of_mount(root, mount, own)]
    return []


def _of_mount(root: Path, mount: str, own: Sequence[str]) -> Iterator[Cgroup]:
    """The cgroups of one line of mountinfo (see proc(5)), where that is a hierarchy with a memory controller."""
    left, _, right = mount.partition(" - ")
    kind, _, options = right.split(" ", 2)
    if kind == "cgroup2":
        names, controller = ("memory.max", "memory.current", "inactive_file "), ""
    elif kind == "cgroup" and "memory" in options.split(","):
        names, controller = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "), "memory"
    else:
        return
    mount_root, mount_point = left.split(" ")[3:5]
    top = root / mount_point.lstrip("/")
    for line in own:
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            for directory in _upwards(top, mount_root, path):
                yield Cgroup(directory, *names)


def _upwards(top: Path, mount_root: str, path: str) -> Iterator[Path]:
    """From the directory of a cgroup up to the mount. In a container the mount often shows only the own cgroup, while
    the path is still the one of the node."""
    seen_from = mount_root.rstrip("/")
    inside = path.removeprefix(seen_from) if f"{path}/".startswith(f"{seen_from}/") else "/"
    here = top / inside.lstrip("/")
    if ".." in here.parts or not here.is_dir():
        here = top
    while here != top:
        yield here
        here = here.parent
    yield top


class Memory:
    """How much is granted and used by the tightest of the cgroups, and what follows from it. Asks no clock.

    most_streams: with so many open streams, no more are taken until the next look.
    """

    def __init__(self, groups: Sequence[Cgroup]) -> None:
        self._groups = groups
        self.limit: float = UNLIMITED
        self.used = 0
        self.most_streams: float = UNLIMITED
        self.is_short = self.is_critical = False
        self._critical_looks = 0

    def bound(self, size: int) -> int:
        """So much of it as one thing may have."""
        return size if self.limit == UNLIMITED else min(size, int(SHARE * self.limit))

    def look(self, streams: int) -> None:
        """Reads the files. streams: how many are open now."""
        readings = [reading for group in self._groups if (reading := group.read()) is not None]
        if not readings:
            self.limit, self.most_streams = UNLIMITED, UNLIMITED
            self.is_short = self.is_critical = False
            return
        tightest = max(readings, key=lambda reading: reading.share)
        self.limit, self.used = tightest
        self.is_critical = tightest.share >= CRITICAL
        room = min(HIGH * reading.limit - reading.used for reading in readings) // STREAM_BYTES
        was_short, self.is_short = self.is_short, tightest.share >= LOW if self.is_short else room < FEW
        if self.is_short is not was_short:
            self._say()
        self.most_streams = 0 if self.is_short else streams + room
        self._critical_looks = self._critical_looks + 1 if self.is_critical else 0
        if self._critical_looks % TRIM_EVERY == 2:  # at the first one nothing was freed yet
            give_to_kernel()

    def _say(self) -> None:
        say, event = (log.warning, "memory is short") if self.is_short else (log.info, "memory suffices again")
        say(event, used_bytes=self.used, limit_bytes=self.limit, new_streams=not self.is_short)


class NoRoom(Exception):
    """A payload that is not taken now; its text is the reason that is counted."""


class Payloads:
    """The payloads that publishers are sending, and that NATS has yet to acknowledge: bounded in bytes, all together."""

    def __init__(self, memory: Memory, largest: int) -> None:
        self._memory = memory
        self._most = max(PAYLOADS_BYTES, largest)
        self.held = 0
        self.refused: Counter[str] = Counter()

    def one(self) -> "Payload":
        """Raises NoRoom."""
        if self._memory.is_short:
            self.refuse("memory")
        return Payload(self)

    def take(self, size: int) -> None:
        """Raises NoRoom."""
        if self._memory.is_critical:
            self.refuse("memory")
        if self.held + size > self._most:
            self.refuse("bytes")
        self.held += size

    def refuse(self, reason: str) -> NoReturn:
        self.refused[reason] += 1
        raise NoRoom(reason)


class Payload:
    """One that is coming; what it holds is given back at the end of its `with`."""

    def __init__(self, payloads: Payloads) -> None:
        self._payloads = payloads
        self.data = bytearray()

    def __enter__(self) -> "Payload":
        return self

    def __exit__(self, *_: object) -> None:
        self._payloads.held -= len(self.data)

    def add(self, part: bytes) -> None:
        """Raises NoRoom."""
        self._payloads.take(len(part))
        self.data += part


def give_to_kernel() -> None:
    """What was freed stays with the C library otherwise, and counts as used for ever. Only glibc knows the call."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
