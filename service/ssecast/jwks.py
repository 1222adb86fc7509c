"""Keys from an address that serves a JWK Set: fetched at start, now and then, and when a token names a key that is new.

While the address fails, the keys of the last good answer stay in force.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable

import httpx
import structlog

from ssecast.access import KeysAway
from ssecast.keys import BadKeys, Key, from_jwks

FETCH_SECONDS = 5.0
"""How long one fetch may take in all; a request that waits for new keys waits no longer."""

MAX_BYTES = 1 << 18

REFRESH_SECONDS = 300.0
"""Keys that were published before they are used, as they should be, are known before the first token comes."""

FIRST_DELAY, LONGEST_DELAY = 1.0, 60.0
"""Seconds between two attempts while the address fails, doubled each time."""

ASKED_BURST, ASKED_SECONDS = 3, 10.0
"""Tokens can ask for a fetch, and strangers write tokens: so many at once, and then one in so many seconds."""

log = structlog.get_logger()


class Jwks:
    """A KeyRing. url: http or https; redirects are not followed, or they could lead from https to http."""

    def __init__(self, url: str, algorithms: Iterable[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._url, self._algorithms, self._clock = url, tuple(algorithms), clock
        self.keys: tuple[Key, ...] = ()
        self.loads: Counter[str] = Counter()
        self.loaded_at = 0.0
        self._fetching: asyncio.Future[None] | None = None
        self._problem = ""
        self._may_ask, self._asked_at = float(ASKED_BURST), clock()
        # Made once and early: it reads all the certificates there are, and the loop stands still for so long.
        self._client = httpx.AsyncClient(follow_redirects=False, limits=httpx.Limits(max_keepalive_connections=0))

    async def run(self) -> None:
        try:
            await self._run()
        finally:
            await self._client.aclose()

    async def _run(self) -> None:
        delay = FIRST_DELAY
        while True:
            await self._fetch()
            if self._problem:
                await asyncio.sleep(delay * random.uniform(0.5, 1.0))
                delay = min(2 * delay, LONGEST_DELAY)
            else:
                delay = FIRST_DELAY
                await asyncio.sleep(REFRESH_SECONDS * random.uniform(0.8, 1.0))

    async def freshen(self) -> None:
        """Raises KeysAway too where strangers' made-up key ids have used up the turns: the token may well be signed with a
        key that is new, and a browser that is told 401 never asks again."""
        if self._fetching is None and not self._take_turn():
            raise KeysAway(self._problem or "they were asked for too often; soon they may be asked for again")
        await self._fetch()
        if self._problem:
            raise KeysAway(self._problem)

    def _take_turn(self) -> bool:
        """Whether a token may cause a fetch now."""
        now = self._clock()
        self._may_ask = min(ASKED_BURST, self._may_ask + (now - self._asked_at) / ASKED_SECONDS)
        self._asked_at = now
        if self._may_ask < 1:
            return False
        self._may_ask -= 1
        return True

    async def _fetch(self) -> None:
        """One fetch at a time, shared by all who wait for it; whoever goes away leaves it to the others."""
        if self._fetching is None:
            self._fetching = asyncio.ensure_future(self._fetch_once())
            self._fetching.add_done_callback(self._fetched)
        await asyncio.shield(self._fetching)

    def _fetched(self, _: "asyncio.Future[None]") -> None:
        self._fetching = None

    async def _fetch_once(self) -> None:
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                keys = from_jwks(await self._download(), self._algorithms, secrets=False)
        except BadKeys as wrong:
            self._fail(f"it {wrong}")
        except Exception as wrong:  # whatever a broken server, name or certificate makes the libraries raise
            self._fail(f"it cannot be fetched: {str(wrong) or type(wrong).__name__}")
        else:
            self._succeed(keys)

    async def _download(self) -> bytes:
        body = bytearray()
        headers = {"accept": "application/json"}
        # Each step shorter than the whole: a socket stays open where a TLS handshake is cancelled from outside.
        async with self._client.stream("GET", self._url, headers=headers, timeout=0.8 * FETCH_SECONDS) as answer:
            if answer.status_code != 200:
                raise BadKeys(f"was answered with status {answer.status_code}")
            async for part in answer.aiter_bytes():
                body += part
                if len(body) > MAX_BYTES:
                    raise BadKeys(f"is larger than {MAX_BYTES} bytes")
        return bytes(body)

    def _succeed(self, keys: tuple[Key, ...]) -> None:
        if self._problem or keys != self.keys:
            log.info("the JWK Set was fetched", keys=[key.kid for key in keys])
        if keys != self.keys:  # else the old object: whoever remembers what it verified goes by that
            self.keys = keys
        self._problem = ""
        self.loads["ok"] += 1
        self.loaded_at = time.time()

    def _fail(self, problem: str) -> None:
        """Said once for each problem, not for each attempt."""
        self.loads["failed"] += 1
        if problem != self._problem:
            log.error("the JWK Set is away; the old keys stay in force", problem=problem, keys=len(self.keys))
        self._problem = problem
