"""Talks to pods: asks each for its load, and gives orders. An answer that does not come is no data, never zero."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import aiohttp
import structlog

from ssecast.signature import signed
from ssecast_operator.actions import Drain, Shed, Undrain
from ssecast_operator.children import ADMIN_PORT
from ssecast_operator.question import ask
from ssecast_operator.samples import NO_SAMPLE, NoLoadError, Sample, read_load

ASK_SECONDS = 2.0
ASKED_AT_ONCE = 128
FORGET_SECONDS = 300.0

log = structlog.get_logger()


class Address(NamedTuple):
    """Where a pod is reached, and who it must be."""

    uid: str
    ip: str


class OrderError(Exception):
    """The pod has not carried out an order, or nobody knows: a sentence."""


class Loads:
    """Samples of all pods, by UID. failures: how often asking failed, by reason."""

    def __init__(self) -> None:
        self.failures: Counter[str] = Counter()
        self._samples: dict[str, Sample] = {}
        self._asked: dict[str, float] = {}
        self._slots = asyncio.Semaphore(ASKED_AT_ONCE)
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        timeout = aiohttp.ClientTimeout(total=ASK_SECONDS)
        connector = aiohttp.TCPConnector(limit=0, force_close=True)  # an address may be another pod's the next time
        self._session = aiohttp.ClientSession(timeout=timeout, connector=connector, trust_env=False)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def of(self, pods: Iterable[Mapping[str, Any]]) -> dict[str, Sample]:
        """The last samples of these pods, by UID."""
        uids = (pod["metadata"]["uid"] for pod in pods)
        return {uid: self._samples.get(uid, NO_SAMPLE) for uid in uids}

    async def ask(self, pods: Iterable[Mapping[str, Any]], now: float) -> None:
        """Asks each pod that has an address, all at once; whoever does not answer keeps the last sample."""
        await asyncio.gather(*[self._ask(address) for address in addresses(pods)])
        for uid in [uid for uid, at in self._asked.items() if at < now - FORGET_SECONDS]:
            del self._asked[uid]
            self._samples.pop(uid, None)

    async def order(self, action: Drain | Undrain | Shed, ip: str, token: str) -> None:
        """Raises OrderError."""
        path, fields = _order(action)
        body = json.dumps(fields).encode() if fields else b""
        headers = signed(token, action.uid, "POST", path, body, int(time.time() * 1000))
        if fields:
            headers["Content-Type"] = "application/json"
        assert self._session is not None
        try:
            async with self._session.post(_url(ip, path), data=body, headers=headers) as answer:
                if answer.status not in (200, 202):
                    said = (await answer.content.read(500)).decode(errors="replace")
                    raise OrderError(f"{action.pod} has answered {path} with {answer.status}: {said}")
        except (aiohttp.ClientError, TimeoutError, OSError) as wrong:
            raise OrderError(f"{action.pod} does not answer {path}: {_why(wrong)}") from wrong

    async def _ask(self, address: Address) -> None:
        self._asked[address.uid] = time.time()
        try:
            async with self._slots, asyncio.timeout(ASK_SECONDS):
                answer = await ask(address.ip, ADMIN_PORT, "/load")
            if answer.status != 200:
                self.failures["status"] += 1
                return
            self._samples[address.uid] = Sample(read_load(answer.body, address.uid), time.time())
        except NoLoadError as wrong:
            self.failures["unreadable"] += 1
            log.warning("a pod's load cannot be used", pod_uid=address.uid, why=str(wrong))
        except TimeoutError:
            self.failures["timeout"] += 1
        except OSError:
            self.failures["unreachable"] += 1


def addresses(pods: Iterable[Mapping[str, Any]]) -> list[Address]:
    """Of the pods that have one."""
    found = ((pod["metadata"]["uid"], (pod.get("status") or {}).get("podIP")) for pod in pods)
    return [Address(uid, ip) for uid, ip in found if ip]


def _url(ip: str, path: str) -> str:
    host = f"[{ip}]" if ":" in ip else ip
    return f"http://{host}:{ADMIN_PORT}{path}"


def _order(action: Drain | Undrain | Shed) -> tuple[str, dict[str, float]]:
    match action:
        case Drain():
            return "/drain", {"window_seconds": action.window, "delay_seconds": action.delay}
        case Shed():
            return "/shed", {"count": action.count, "window_seconds": action.window}
        case Undrain():
            return "/undrain", {}


def _why(wrong: Exception) -> str:
    return (
        f"nothing within {ASK_SECONDS:.0f} s" if isinstance(wrong, TimeoutError) else str(wrong) or type(wrong).__name__
    )
