"""What every request to the public port passes first, unless it was answered at the door.

Tokens leave the query before anything behind could log it, preflights are answered, answers to other origins are marked.
"""

from collections.abc import MutableMapping
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from ssecast.cors import ORIGIN, asks_before
from ssecast.events import Events


class Entrance:
    """Leads requests for a stream past the app's router and instrumentation, for which a stream has no use."""

    def __init__(self, app: ASGIApp, events: Events) -> None:
        self._app, self._events = app, events
        self._access = events.access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, query = self._access.move(scope["headers"], scope["query_string"])
        if query is not scope["query_string"]:
            scope = {**scope, "headers": headers, "query_string": query}
        cors = self._events.cors
        if cors.is_on:
            asking = asks_before(scope["method"], headers)
            if asking is not None:
                await _answer_preflight(cors.preflight(asking), send)
                return
            send = _marked(send, cors.headers(dict(headers).get(ORIGIN)))
        app = self._events if scope["path"] == "/events" else self._app
        await app(scope, receive, send)


async def _answer_preflight(headers: list[tuple[bytes, bytes]], send: Send) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _marked(send: Send, own_headers: tuple[tuple[bytes, bytes], ...]) -> Send:
    """A send that adds headers to the answer, whoever gives it."""

    async def send_marked(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *own_headers]
        await send(message)

    return send_marked
