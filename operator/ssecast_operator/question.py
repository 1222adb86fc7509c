"""One question to a pod, a plain GET, on a connection of its own.

With a thousand pods the comforts of an HTTP client (redirects, cookies, compression, a pool) were two thirds of a round's CPU,
and a connection that is kept may be another pod's by the next time, or be closed by the pod just when it is used.
"""

import asyncio
from typing import NamedTuple, cast

import httptools

from ssecast_operator.samples import NoLoadError

ANSWER_MAX_BYTES = 64 * 1024
"""Head and body."""


class Answer(NamedTuple):
    """The status code, and the body."""

    status: int
    body: bytes


async def ask(ip: str, port: int, path: str) -> Answer:
    """What the pod answers, which must say how long it is; how long it takes is for the caller to bound.

    Raises OSError where it cannot be reached, goes away or does not speak HTTP, NoLoadError where the answer does not end.
    """
    loop = asyncio.get_running_loop()
    host = f"[{ip}]" if ":" in ip else ip
    request = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nAccept: application/json\r\nConnection: close\r\n\r\n"
    exchange = _Exchange(request.encode(), loop.create_future())
    try:
        transport, _ = await loop.create_connection(lambda: exchange, ip, port)
        try:
            return await exchange.answered
        finally:
            transport.close()
    finally:
        exchange.answered.cancel()  # whoever gave up meanwhile does not wait for what went wrong


class _Exchange(asyncio.Protocol):
    """Sends the request as soon as there is a connection, and reads one answer."""

    def __init__(self, request: bytes, answered: asyncio.Future[Answer]) -> None:
        self.answered = answered
        self._request, self._body, self._received = request, b"", 0
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.WriteTransport", transport).write(self._request)  # uvloop's is none by its class

    def data_received(self, data: bytes) -> None:
        if self._parser is None or self.answered.done():
            return
        self._received += len(data)
        if self._received > ANSWER_MAX_BYTES:
            self._fail(NoLoadError(f"the answer is longer than {ANSWER_MAX_BYTES:,} bytes"))
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as wrong:
            self._fail(ConnectionError(f"the answer is not HTTP: {wrong}"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(exc or ConnectionError("the connection has ended before the answer"))
        self._parser = None  # it knows us, and a circle would wait for the garbage collector

    # What the parser tells

    def on_body(self, piece: bytes) -> None:
        self._body += piece

    def on_message_complete(self) -> None:
        if self._parser is not None and not self.answered.done():
            self.answered.set_result(Answer(self._parser.get_status_code(), self._body))

    def _fail(self, wrong: Exception) -> None:
        if not self.answered.done():
            self.answered.set_exception(wrong)
