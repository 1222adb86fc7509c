"""A shell into which commands are typed as a page prints them."""

import contextlib
import os
import queue
import re
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.docs.pages import ROOT

PATIENCE = 240.0
"""Seconds that a command may take; one of the pages waits for three minutes."""

END = "=== ended:"


class Terminal:
    """bash. environ: all of it."""

    def __init__(self, environ: Mapping[str, str], folder: Path = ROOT) -> None:
        self._shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._printed: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def type(self, command: str, seconds: float = PATIENCE) -> str:
        """What a command prints. Fails with it where the command fails, or does not end in time."""
        self._write(f"{command}\nprintf '\\n{END} %s\\n' \"${{PIPESTATUS[*]}}\"\n")
        printed, _, statuses = self._until(END, command, seconds).rpartition(END)
        assert not failed(command, [int(each) for each in statuses.split()]), f"{command}: {statuses}{printed}"
        return printed.strip()

    def watch(self, command: str, words: str, seconds: float = PATIENCE) -> str:
        """What a command has printed up to these words. It goes on, in the background, until `rest`."""
        self._write(f"{command} &\n")
        return self._until(words, command, seconds)

    def rest(self) -> None:
        """Ends what goes on in the background."""
        self.type("kill $(jobs -p) 2>/dev/null; wait", 30)

    def close(self) -> None:
        """Ends the shell, and what it has left in the background."""
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._shell.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._shell.pid, signal.SIGKILL)
        self._shell.wait()
        self._reader.join()
        self._shell.stdout.close()

    def _write(self, text: str) -> None:
        assert self._shell.stdin is not None
        self._shell.stdin.write(text)
        self._shell.stdin.flush()

    def _read(self) -> None:
        assert self._shell.stdout is not None
        for line in self._shell.stdout:
            self._printed.put(line)
        self._printed.put("")

    def _until(self, words: str, command: str, seconds: float) -> str:
        """What is printed up to the line that has these words."""
        printed, deadline = "", time.monotonic() + seconds
        while True:
            try:
                line = self._printed.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"{command}: no {words!r} within {seconds:g} s: {printed}") from None
            assert line, f"{command}: the shell has ended: {printed}"
            printed += line
            if words in line:
                return printed


def failed(command: str, statuses: Sequence[int]) -> bool:
    """Whether a pipeline has. It has not where grep finds nothing, or where `head` or `tail` has read enough of what stands
    before it."""
    parts = [part.strip() for part in re.split(r"(?<!\|)\|(?!\|)", command)]
    if len(parts) != len(statuses):
        return any(statuses)
    for at, (part, status) in enumerate(zip(parts, statuses, strict=True)):
        found_nothing = status == 1 and part.startswith("grep ")
        cut_short = status == 128 + signal.SIGPIPE and at + 1 < len(parts)
        if status and not found_nothing and not cut_short:
            return True
    return False
