"""The public HTTP app on port 8080: the stream, publishing, the client module and the page."""

from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Annotated, Any

from fastapi import FastAPI, Header, HTTPException, Request
from fastapi.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ssecast import __version__
from ssecast.events import PARAMETERS, Events
from ssecast.frame import Position, refusal
from ssecast.subjects import covered, problem

PAGE_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self' 'unsafe-inline'; "
    "script-src 'self' 'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}

Publish = Callable[[str, bytes, str | None, str | None], Awaitable[tuple[Position, bool]]]
"""(subject, payload, event name, idempotency key) -> (position, duplicate); raises PublishFailed."""


class PublishFailed(Exception):
    """The stream has not acknowledged the event: it may or may not have been stored."""


def create_app(
    events: Events, *, subjects: tuple[str, ...], publish: Publish | None, page: bool, max_payload_bytes: int
) -> ASGIApp:
    """The app; publish is None where publishing is off."""
    app = FastAPI(title="ssecast", version=__version__, docs_url=None, redoc_url=None)
    app.router.routes.insert(0, Route("/events", events, include_in_schema=False))
    _describe_events(app)
    _add_files(app, page=page)

    @app.get("/info", summary="What this pod serves", tags=["page"])
    async def info() -> dict[str, Any]:
        return {"version": __version__, "subjects": list(subjects), "publish": publish is not None}

    if publish is not None:
        _add_publish(app, publish, subjects, max_payload_bytes)
    return ShortCut(app, events)


class ShortCut:
    """Takes requests for a stream past the app's router and instrumentation, for which a stream has no use."""

    def __init__(self, app: ASGIApp, events: Events) -> None:
        self._app, self._events = app, events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._events if scope["type"] == "http" and scope["path"] == "/events" else self._app
        await app(scope, receive, send)


def _add_publish(app: FastAPI, publish: Publish, subjects: tuple[str, ...], max_payload_bytes: int) -> None:
    @app.post("/publish/{subject}", status_code=202, summary="Publish the body as one event", tags=["publish"])
    async def publish_event(
        subject: str,
        request: Request,
        ssecast_event: Annotated[str | None, Header()] = None,
        idempotency_key: Annotated[str | None, Header(max_length=256)] = None,
    ) -> JSONResponse:
        _check_subject(subject, subjects)
        body = await _body(request, max_payload_bytes)
        refused = refusal(body, ssecast_event, max_payload_bytes)
        if refused:
            raise HTTPException(400, {"problem": refused.value, "subject": subject})
        try:
            position, duplicate = await publish(subject, body, ssecast_event or None, idempotency_key)
        except PublishFailed as failed:
            raise HTTPException(503, str(failed), {"retry-after": "1"}) from failed
        answer: dict[str, Any] = {"position": str(position)}
        return JSONResponse(answer | ({"duplicate": True} if duplicate else {}), 202)


def _check_subject(subject: str, served: tuple[str, ...]) -> None:
    wrong = problem(subject, wildcards=False)
    if wrong is None and not covered(subject, served):
        wrong = "is not served here"
    if wrong:
        allowed = "one subject within " + ", ".join(served)
        raise HTTPException(400, {"parameter": "subject", "value": subject[:200], "problem": wrong, "allowed": allowed})


async def _body(request: Request, limit: int) -> bytes:
    """The body, read no further than the limit."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > limit:
            raise HTTPException(413, f"the payload is larger than {limit} bytes")
    return bytes(body)


def _add_files(app: FastAPI, *, page: bool) -> None:
    static = files("ssecast") / "static"
    module = (static / "ssecast.js").read_bytes()

    @app.get("/ssecast.js", summary="The client as an ES module", tags=["page"])
    async def client_module() -> Response:
        headers = {"cache-control": "no-cache", "x-content-type-options": "nosniff"}
        return Response(module, media_type="text/javascript", headers=headers)

    if page:
        html = (static / "index.html").read_bytes()

        @app.get("/", summary="Watch events live", tags=["page"])
        async def index() -> Response:
            return Response(html, media_type="text/html", headers=PAGE_HEADERS)


def _describe_events(app: FastAPI) -> None:
    """Adds the stream to the OpenAPI description: it is no path operation, but people look for it there."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        description = generate()
        description["paths"].setdefault("/events", {"get": EVENTS_OPERATION})
        return description

    app.openapi = openapi  # type: ignore[method-assign]


EVENTS_OPERATION: dict[str, Any] = {
    "summary": "Open a stream of server-sent events",
    "operationId": "events",
    "tags": ["stream"],
    "parameters": [
        {"name": name, "in": "query", "required": False, "description": text, "schema": {"type": "string"}}
        for name, text in PARAMETERS.items()
    ]
    + [
        {
            "name": "Last-Event-ID",
            "in": "header",
            "required": False,
            "description": "the position after which to go on; wins over the query",
            "schema": {"type": "string"},
        }
    ],
    "responses": {
        "200": {"description": "a stream", "content": {"text/event-stream": {"schema": {"type": "string"}}}},
        "400": {"description": "a parameter that cannot be served, named with what is allowed"},
        "503": {"description": "no room; only for clients that do not accept text/event-stream"},
    },
}
