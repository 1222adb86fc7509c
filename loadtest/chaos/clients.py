"""The EventSources: one `fanbench eventsource` that holds all of them, told what to do line by line."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from loadtest.bench.processes import Driver
from loadtest.chaos.traffic import BUFFER, MEAN_EVENT_BYTES, Kind

OPEN_SECONDS = 70.0
PORTION_BYTES = 1024
"""Least that a slow reader reads in a second."""


class Clients:
    """ledger: the file that they write what they saw into. servers: ports of this machine, or `ADDRESS:PORT`."""

    def __init__(self, ledger: Path, log: Path, servers: Sequence[int | str]) -> None:
        self.ledger, self.log, self.servers = ledger, log, servers
        self._turn = asyncio.Lock()

    def __enter__(self) -> Self:
        arguments = ["eventsource", str(self.ledger), *map(str, self.servers)]
        self._driver = Driver(arguments, self.log, nats_url=os.environ.get("NATS_URL", ""))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._driver.stop()

    async def open(self, crowd: Mapping[Kind, int], rate: float) -> int:
        """Opens all of them; returns how many have a position. rate: events per second."""
        placed = 0
        for kind, count in crowd.items():
            values: dict[str, object] = {"name": kind.name, "n": count, "path": kind.path, "rcvbuf": BUFFER}
            if kind.json:
                values["format"] = "json"
            if kind.rate:
                values["rate"] = int(max(kind.rate * rate * MEAN_EVENT_BYTES, PORTION_BYTES))
            placed = int((await self._ask("open", "opened", values, OPEN_SECONDS))["placed"])
        return placed

    async def stall(self, count: int, seconds: float, seed: int) -> int:
        """Some open streams read nothing for so long; returns how many."""
        answer = await self._ask("stall", "done", {"n": count, "seconds": max(1, round(seconds)), "seed": seed})
        return int(answer["count"])

    async def reset(self, count: int, seed: int) -> int:
        """Resets some open streams; returns how many."""
        return int((await self._ask("reset", "done", {"n": count, "seed": seed}))["count"])

    async def leave(self, count: int, seed: int) -> int:
        """Some open streams are closed by their clients, for good; returns how many."""
        return int((await self._ask("leave", "done", {"n": count, "seed": seed}))["count"])

    async def report(self, epoch: str = "", seq: int = 0, *, exactly: bool = False) -> dict[str, Any]:
        """How many are open; `behind`: have not come to this position, or do not stand exactly there."""
        values = {"epoch": epoch, "seq": seq, "exact": int(exactly)} if epoch else {}
        return await self._ask("report", "report", values)

    async def close(self) -> None:
        """Ends all of them; then the ledger is complete."""
        await self._ask("close", "closed", {})

    async def _ask(self, verb: str, answer: str, values: Mapping[str, object], seconds: float = 30.0) -> dict[str, Any]:
        async with self._turn:
            return await asyncio.to_thread(self._driver.ask, verb, answer, seconds, values)
