"""Who may give orders on the admin port: everybody who reaches it, or only who has a token and signs.

It stands in front of the app: of a request that is not allowed nothing is parsed. Reading is always open.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ssecast.signature import FILE_MAX_BYTES, MAX_SKEW_MS, SIGNATURE, TIME, parse_tokens, refusal

READING = frozenset({"GET", "HEAD", "OPTIONS"})
CARRIED_OUT = 202
BODY_MAX_BYTES, BODY_SECONDS = 4096, 10.0

REMEMBERED_MAX = 1000
"""Signed orders within a minute. Each is remembered until it is too old to be sent again; beyond this they are refused."""

CHALLENGE = {"www-authenticate": "Ssecast-HMAC-SHA256"}

log = structlog.get_logger()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class Guard:
    """Checks orders. uid: the pod's. token_file: None where orders need no signature. refused: counted by reason.

    The file is read for every order: orders are rare, and a token that was replaced counts from the next one on.
    """

    def __init__(self, uid: str, token_file: str | None, now_ms: Callable[[], int] = _now_ms) -> None:
        self.uid, self.token_file, self._now_ms = uid, token_file, now_ms
        self.refused: Counter[str] = Counter()
        self._tokens: tuple[str, ...] | None = None
        self._carried_out: dict[str, int] = {}

    def check(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> JSONResponse | None:
        """The answer to an order that is refused; None for one that may be carried out."""
        if "origin" in headers:  # no page is an operator, whatever it is that its visitor's browser can reach
            return self.refuse(403, "origin", "orders are not taken from web pages: leave out the header Origin")
        if self.token_file is None:
            return None
        try:
            tokens = self._read(self.token_file)
        except (OSError, ValueError) as wrong:
            why = (wrong.strerror if isinstance(wrong, OSError) else None) or str(wrong)
            log.error("no order can be checked", file=self.token_file, why=why)
            return self.refuse(503, "token_file", f"this pod cannot check orders, for its token file is no use: {why}")
        now = self._now_ms()
        wrong_order = refusal(tokens, self.uid, method, path, body, headers, now)
        if wrong_order is not None:
            return self.refuse(401, wrong_order.reason.value, wrong_order.sentence)
        self._carried_out = {sign: at for sign, at in self._carried_out.items() if at + MAX_SKEW_MS >= now}
        if len(self._carried_out) >= REMEMBERED_MAX:
            return self.refuse(429, "too_many", f"this pod takes {REMEMBERED_MAX} orders a minute at most")
        return None

    def refuse(self, status: int, reason: str, sentence: str) -> JSONResponse:
        self.refused[reason] += 1
        return JSONResponse({"detail": sentence}, status, CHALLENGE if status == 401 else None)

    def claim(self, headers: Mapping[str, str]) -> bool:
        """Marks an order that passed the check as carried out; False where it was so before.

        The signature tells orders apart. So one that somebody overheard, or that is sent again because its answer was
        lost, does nothing a second time.
        """
        signature = headers.get(SIGNATURE.lower())
        if self.token_file is None or signature is None:
            return True
        if signature in self._carried_out:
            return False
        self._carried_out[signature] = int(headers[TIME.lower()])
        return True

    def release(self, headers: Mapping[str, str]) -> None:
        """The order was not carried out after all."""
        self._carried_out.pop(headers.get(SIGNATURE.lower(), ""), None)

    def _read(self, path: str) -> tuple[str, ...]:
        """Raises OSError or ValueError."""
        with open(path, "rb") as file:
            tokens = parse_tokens(file.read(FILE_MAX_BYTES + 1))
        if tokens != self._tokens:
            log.info("tokens for orders read", tokens=len(tokens))
            self._tokens = tokens
        return tokens


class Gate:
    """The guard as a middleware. state: what an order is answered with that was carried out before."""

    def __init__(self, app: ASGIApp, guard: Guard, state: Callable[[], dict[str, Any]]) -> None:
        self._app, self._guard, self._state = app, guard, state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in READING:
            await self._app(scope, receive, send)
            return
        body = await _body(receive)
        answer = self._answer(scope, body)
        if answer is not None:
            await answer(scope, receive, send)
        else:
            await self._carry_out(scope, body or b"", receive, send)

    def _answer(self, scope: Scope, body: bytes | None) -> JSONResponse | None:
        if body is None:
            limits = f"{BODY_MAX_BYTES} bytes within {BODY_SECONDS:.0f} s"
            return self._guard.refuse(413, "body", f"the body of an order is complete in at most {limits}")
        headers = Headers(scope=scope)
        refused = self._guard.check(scope["method"], scope["path"], headers, body)
        if refused is not None or self._guard.claim(headers):
            return refused
        return JSONResponse(self._state() | {"repeated": True}, CARRIED_OUT)

    async def _carry_out(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        sent: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
        statuses: list[int] = []

        async def again() -> Message:
            return sent.pop() if sent else await receive()

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])
            await send(message)

        try:
            await self._app(scope, again, watched)
        finally:
            if statuses != [CARRIED_OUT]:
                self._guard.release(Headers(scope=scope))


async def _body(receive: Receive) -> bytes | None:
    """The body; None where it is too large or does not come."""
    body, more = b"", True
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                body += message.get("body", b"")
                more = message.get("more_body", False) and len(body) <= BODY_MAX_BYTES
    except TimeoutError:
        return None
    return body if len(body) <= BODY_MAX_BYTES else None
