"""What the long commands share: sentences on the screen, results with a name, files, and an end by a signal that leaves nothing."""

import asyncio
import re
import resource
import signal
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, NoReturn, TypeVar

import typer
from rich.console import Console

from loadtest.bench.peers import ROOT

FAILED, WRONG = 1, 2
"""What a command ends with: a run that did not pass, or could not be made; and wrong use."""

RESULTS = ROOT / "loadtest" / "results"
INTERRUPTED = "interrupted; everything that was started has ended"
_NAME = re.compile(r"[A-Za-z0-9.-]*")

T = TypeVar("T")


class Voice:
    """What a command says, on stderr."""

    def __init__(self, command: str) -> None:
        self.command = command
        self._screen = Console(stderr=True)

    def say(self, sentence: str) -> None:
        self._screen.print(sentence, highlight=False, markup=False, soft_wrap=True)

    def fail(self, sentence: str, code: int) -> NoReturn:
        """Raises typer.Exit."""
        sentence = f"{self.command}: {sentence}"
        self._screen.print(sentence, style="red", highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(code)

    def check_name(self, name: str) -> None:
        """Ends the command where it is no end of a folder's name."""
        if not _NAME.fullmatch(name):
            self.fail(f"--name {name!r} ends the name of a folder: letters, digits, dots and dashes", WRONG)


def to_the_end(run: Coroutine[Any, Any, T]) -> T:
    """Runs it. A signal that ends a process cancels it, so that it can clean up; raises asyncio.CancelledError then."""

    async def cancelled_by_signals() -> T:
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        return await run

    return asyncio.run(cancelled_by_signals())


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Does it meanwhile, and cancels it at the end. What it raised by then is raised there."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def raise_files() -> None:
    """As many files as the system allows, for this process and for all that it starts."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
