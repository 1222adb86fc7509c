"""Answers in place of pods that are away, behind a proxy that has no answer of its own.

A browser gives up for good when a stream is answered with an error, and comes back by itself after a 200 that ends. So whoever
asks for a stream gets `retry:` and the end; everybody else is told the truth. `/retry` and `/unavailable` ask for one of the
two by name, `/healthz` says that this is alive. Nothing but Python's own library.
"""

import asyncio
import os
import random
import signal

HEAD_MOST = 32 * 1024
IDLE_SECONDS = 75.0
ORIGINS = frozenset(filter(None, os.environ.get("ORIGINS", "").split(",")))
RETRY_MS, SPREAD_MS = int(os.environ.get("RETRY_MS", "2000")), int(os.environ.get("SPREAD_MS", "4000"))


def answer(path: str, headers: dict[str, str]) -> bytes:
    """The whole response. A proxy that intercepts an error puts what was asked for into X-Format (ingress-nginx)."""
    if path == "/healthz":
        return response("200 OK", "text/plain", "ok\n", [])
    wait = RETRY_MS + random.randrange(SPREAD_MS)  # browsers add no jitter of their own
    accepted = f"{headers.get('accept', '')},{headers.get('x-format', '')}".lower()
    if path == "/retry" or (path != "/unavailable" and "text/event-stream" in accepted):
        return response("200 OK", "text/event-stream", f"retry: {wait}\n\n", allowed(headers.get("origin", "")))
    more = [*allowed(headers.get("origin", "")), f"Retry-After: {-(-wait // 1000)}"]
    return response("503 Service Unavailable", "text/plain", "no pod is available\n", more)


def allowed(origin: str) -> list[str]:
    """Headers without which a page of another origin would take the answer for an error."""
    if "*" in ORIGINS:
        return ["Access-Control-Allow-Origin: *"]
    if origin in ORIGINS:
        return [f"Access-Control-Allow-Origin: {origin}", "Access-Control-Allow-Credentials: true", "Vary: Origin"]
    return []


def response(status: str, kind: str, body: str, more: list[str]) -> bytes:
    lines = [
        f"HTTP/1.1 {status}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        *more,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


class Connection(asyncio.Protocol):
    """One connection; requests come one after the other. One with a body is answered, and the connection closed."""

    transport: asyncio.Transport
    idle: asyncio.TimerHandle

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport, self.waiting = transport, b""
        self.idle = asyncio.get_running_loop().call_later(IDLE_SECONDS, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self.idle.cancel()

    def data_received(self, data: bytes) -> None:
        self.waiting += data
        while b"\r\n\r\n" in self.waiting:
            head, _, self.waiting = self.waiting.partition(b"\r\n\r\n")
            self.asked(head.decode("latin-1").split("\r\n"))
            if self.transport.is_closing():
                return
        if len(self.waiting) > HEAD_MOST:
            self.transport.close()

    def asked(self, lines: list[str]) -> None:
        first = lines[0].split(" ")
        if len(first) != 3:
            return self.transport.close()
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
        }
        made = answer(first[1].partition("?")[0], headers)
        self.transport.write(made if first[0] != "HEAD" else made.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
        bodied = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
        if bodied or first[2] == "HTTP/1.0" or headers.get("connection", "").lower() == "close":
            self.transport.close()
        return None


async def main() -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    host, port = os.environ.get("HOST") or None, int(os.environ.get("PORT", "8080"))
    server = await loop.create_server(Connection, host, port, backlog=2048)
    await stop.wait()
    await asyncio.sleep(float(os.environ.get("STOP_SECONDS", "5")))  # until no proxy sends anybody here any more
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
