"""Processes of the benchmark: started, asked, weighed and stopped. Only what was started here is ever stopped."""

import json
import os
import select
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from loadtest.bench.peers import FANBENCH, ROOT

START_SECONDS = 30.0
STOP_SECONDS = 5.0
ANSWER_SECONDS = 60.0
POLL_SECONDS = 0.02
LAST_LINES = 4


class Usage(NamedTuple):
    """What a server and its children have used: CPU seconds since they started, bytes of memory now."""

    cpu: float
    rss: int


class Child:
    """A process with a process group of its own, its output in a file, and a stdin whose end it may take as its own."""

    def __init__(
        self,
        command: list[str],
        log: Path,
        *,
        env: Mapping[str, str],
        cores: set[int] | None = None,
        answers: bool = False,
    ) -> None:
        self.log = log
        with (
            log.open("ab") as output,
            _on(cores),
        ):  # before it runs: threads that it starts at once would stay elsewhere
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=os.environ | env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if answers else output,
                stderr=output,
                process_group=0,  # Ctrl-C goes to the benchmark alone, which stops its children in order
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends it, and what it left behind in its process group."""
        group = self.process.pid
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.process.returncode is None and not self._ended(0):
                os.kill(group, number)
                self._ended(STOP_SECONDS)
        if self.process.returncode is None:
            # Not waited for yet, so its number is still its own and no other group can have taken it.
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
            self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()

    def _ended(self, seconds: float) -> bool:
        """Whether it ends within that time; it is not waited for."""
        deadline = time.monotonic() + seconds
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        try:
            while os.waitid(os.P_PID, self.process.pid, flags) is None:
                if time.monotonic() >= deadline:
                    return False
                time.sleep(POLL_SECONDS)
        except ChildProcessError:  # another thread has waited for it
            self.process.poll()
        return True

    def check(self) -> None:
        """Raises RuntimeError with its last words where it has ended."""
        if self.process.poll() is not None:
            lines = self.log.read_text(errors="replace").split("\n")
            said = " ".join(line.strip() for line in lines[-LAST_LINES:])
            raise RuntimeError(f"{self.process.args!r} ended with {self.process.returncode}: {said.strip()}")

    def wait_until_up(self, port: int, ready: str = "") -> None:
        """Waits until the port takes connections, or the address answers 200."""
        deadline = time.monotonic() + START_SECONDS
        while not (_answers(ready) if ready else _listens(port)):
            self.check()
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.process.args!r} is not up after {START_SECONDS} s")
            time.sleep(POLL_SECONDS)

    def usage(self) -> Usage:
        """Of the process and its descendants."""
        self.check()
        each = [_usage(pid) for pid in family(self.process.pid)]
        return Usage(sum(used.cpu for used in each), sum(used.rss for used in each))


class Driver(Child):
    """A fanbench process that takes commands and answers each with a JSON line of a known type."""

    def __init__(self, arguments: list[str], log: Path, *, nats_url: str, cores: set[int] | None = None) -> None:
        super().__init__([str(FANBENCH), *arguments], log, env={"NATS_URL": nats_url}, cores=cores, answers=True)
        self._unread = b""
        self.answer("ready")

    def tell(self, verb: str, values: Mapping[str, object]) -> None:
        assert self.process.stdin is not None
        words = [verb, *(f"{name}={value}" for name, value in values.items())]
        self.process.stdin.write((" ".join(words) + "\n").encode())
        self.process.stdin.flush()

    def ask(
        self, verb: str, answer: str, seconds: float = ANSWER_SECONDS, values: Mapping[str, object] | None = None
    ) -> dict[str, Any]:
        """Gives a command, and waits for the answer of that type."""
        self.tell(verb, values or {})
        return self.answer(answer, seconds)

    def answer(self, kind: str, seconds: float = ANSWER_SECONDS) -> dict[str, Any]:
        """The next answer of that type; others are passed over. Raises TimeoutError, RuntimeError on an error."""
        deadline = time.monotonic() + seconds
        while True:
            message = json.loads(self._line(deadline))
            if message["type"] == kind:
                return dict(message)
            if message["type"] == "error":
                raise RuntimeError(message["error"])

    def _line(self, deadline: float) -> bytes:
        assert self.process.stdout is not None
        while b"\n" not in self._unread:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise TimeoutError(f"no answer from {self.process.args!r}")
            data = os.read(self.process.stdout.fileno(), 1 << 20)
            if not data:
                self.process.wait(STOP_SECONDS)
                self.check()
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        return line


@contextmanager
def _on(cores: set[int] | None) -> Iterator[None]:
    """What this thread starts meanwhile runs on these cores alone."""
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def free_port() -> int:
    """A port below the range from which the kernel takes those of outgoing connections, as far as it can be had."""
    for port in range(20_000 + os.getpid() % 5_000, 32_000):
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            if port not in _given:
                _given.add(port)
                return port
    raise RuntimeError("no free port")


_given: set[int] = set()


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        sock.settimeout(1)
        return sock.connect_ex(("127.0.0.1", port)) == 0


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=1) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def family(pid: int) -> list[int]:
    """The process and its descendants."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            found += [int(child) for child in task.read_text().split()]
    return found


def _usage(pid: int) -> Usage:
    """CPU time from the process's own clock, which counts nanoseconds where /proc/pid/stat counts hundredths of seconds."""
    try:
        cpu = time.clock_gettime(_cpu_clock(pid))
        resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:  # it has just ended
        return Usage(0.0, 0)
    return Usage(cpu, resident * os.sysconf("SC_PAGE_SIZE"))


def _cpu_clock(pid: int) -> int:
    """The id of another process's CPU clock: MAKE_PROCESS_CPUCLOCK in Linux's posix-timers_types.h."""
    return ~pid << 3 | 2
