"""The public HTTP app on port 8080: the stream, publishing, the client module and the page."""

import re
from base64 import b64encode
from collections.abc import Awaitable, Callable
from hashlib import blake2b, sha256
from importlib.resources import files
from typing import Annotated, Any

from fastapi import FastAPI, Header, HTTPException, Path, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import BaseModel
from starlette.requests import ClientDisconnect
from starlette.routing import Route
from starlette.types import ASGIApp

from ssecast import __version__
from ssecast.access import Access, Denied, Grant, KeysAway
from ssecast.cors import is_same_origin
from ssecast.entrance import Entrance
from ssecast.events import MAX_INTERVAL_MS, MAX_SUBJECTS, PARAMETERS, Events, not_granted
from ssecast.frame import MAX_NAME, RESERVED_NAMES, Position, Refusal, refusal
from ssecast.memory import Memory, NoRoom, Payload, Payloads
from ssecast.subjects import covered, is_api, problem, reserved

PAGE_HEADERS = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer", "cache-control": "no-cache"}
_INLINE = r"<%s[^>]*>(.*?)</%s>"

Publish = Callable[[str, bytes, str | None, str | None], Awaitable[tuple[Position, bool]]]
"""(subject, payload, event name, idempotency key) -> (position, duplicate); raises PublishFailed."""


class Published(BaseModel):
    """position: the event's id, for who reads the stream. duplicate: it had been stored under that key before."""

    position: str
    duplicate: bool = False


class NotPublished(BaseModel):
    """A sentence, or what is wrong with which parameter and what is allowed."""

    detail: str | dict[str, str]


PUBLISH_RESPONSES: dict[int | str, dict[str, Any]] = {
    202: {"model": Published, "description": "stored; where the stream keeps nothing, sent"},
    400: {"model": NotPublished, "description": "a subject or an event that cannot be published, with what is allowed"},
    413: {"model": NotPublished, "description": "the body is larger than a payload may be"},
    503: {
        "model": NotPublished,
        "description": "not stored, nobody knows, or no room for it now; with an `Idempotency-Key` it is safe to repeat",
    },
}
NO_ROOM = {
    "memory": "this pod is short of memory; try again in 1 s",
    "bytes": "too many payloads are on their way through this pod; try again in 1 s",
}
PAYLOAD = {"description": "the payload, text in UTF-8", "content": {"*/*": {}}}


class ModuleResponse(Response):
    """An ES module."""

    media_type = "text/javascript"


class PublishFailed(Exception):
    """The stream has not acknowledged the event: it may or may not have been stored."""


class TooLarge(PublishFailed):
    """NATS takes less than the pod would."""


def create_app(
    events: Events,
    *,
    subjects: tuple[str, ...],
    publish: Publish | None,
    page: bool,
    max_payload_bytes: int,
    payloads: Payloads | None = None,
) -> ASGIApp:
    """The app; publish is None where publishing is off. payloads: where the bodies of publishers find room."""
    app = FastAPI(title="ssecast", version=__version__, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.router.routes.insert(0, Route("/events", events, include_in_schema=False))
    _describe(app, events.access)
    _add_denials(app, events)
    _add_files(app, page=page)

    @app.get("/info", summary="What this pod serves", tags=["page"])
    async def info() -> dict[str, Any]:
        return {"version": __version__, "subjects": list(subjects), "publish": publish is not None}

    if publish is not None:
        payloads = payloads or Payloads(Memory([]), max_payload_bytes)
        _add_publish(app, events, publish, subjects, max_payload_bytes, payloads)
    return Entrance(app, events)


def _add_denials(app: FastAPI, events: Events) -> None:
    async def denied(_: Request, wrong: Exception) -> Response:
        assert isinstance(wrong, Denied)
        return events.deny(wrong)

    async def keys_away(_: Request, wrong: Exception) -> Response:
        events.access.denied["keys_away"] += 1
        return JSONResponse({"detail": "the keys that verify tokens cannot be had now"}, 503, {"retry-after": "5"})

    app.add_exception_handler(Denied, denied)
    app.add_exception_handler(KeysAway, keys_away)


def _add_publish(
    app: FastAPI,
    events: Events,
    publish: Publish,
    subjects: tuple[str, ...],
    max_payload_bytes: int,
    payloads: Payloads,
) -> None:
    example = subjects[0].replace("*", "any").replace(">", "hello")

    @app.post(
        "/publish/{subject}",
        status_code=202,
        summary="Publish the body as one event",
        tags=["publish"],
        responses=PUBLISH_RESPONSES | ({} if events.access.is_open else DENIED_RESPONSES),
        openapi_extra={"requestBody": PAYLOAD},
    )
    async def publish_event(
        subject: Annotated[str, Path(description=f"within {', '.join(subjects)}", examples=[example])],
        request: Request,
        ssecast_event: Annotated[str | None, Header()] = None,
        idempotency_key: Annotated[str | None, Header(max_length=256)] = None,
    ) -> JSONResponse:
        grant = await events.access.ask(request.scope["headers"])
        if grant.ambient:
            _check_origin(request, events)
        _check_subject(subject, subjects)
        if not covered(subject, grant.publish):
            raise not_granted(subject, grant.publish)
        try:
            with payloads.one() as payload:
                body = await _body(request, payload, max_payload_bytes)
                refused = refusal(body, ssecast_event, max_payload_bytes)
                if refused:
                    raise HTTPException(400, _unfit(refused, ssecast_event))
                position, duplicate = await publish(
                    subject, body, ssecast_event or None, _message_id(idempotency_key, grant)
                )
        except TooLarge as failed:
            raise HTTPException(413, str(failed)) from failed
        except PublishFailed as failed:
            raise HTTPException(503, str(failed), {"retry-after": "1"}) from failed
        except NoRoom as full:
            raise HTTPException(503, NO_ROOM[str(full)], {"retry-after": "1"}) from full
        answer: dict[str, Any] = {"position": str(position)}
        return JSONResponse(answer | ({"duplicate": True} if duplicate else {}), 202)


def _check_origin(request: Request, events: Events) -> None:
    """Raises Denied where a page of another site may be behind the request: the browser adds the cookie all the same."""
    given = request.headers
    origin = given.get("origin")
    if origin is None:
        raise Denied("origin", "a POST with a cookie needs the header `Origin`; without a browser, use `Authorization`")
    if is_same_origin(origin, request.url.scheme, given.get("host", ""), given.get("sec-fetch-site", "")):
        return
    if not events.cors.allows(origin):
        raise Denied("origin", "a POST with a cookie must come from a page of this origin or of an allowed one")


def _message_id(key: str | None, grant: Grant) -> str | None:
    """What the stream knows the key by: one key of two token subjects must not make one's event the other's duplicate."""
    if not key or not grant.subject:
        return key
    subject = grant.subject.encode(errors="surrogatepass")  # a token can say "\\ud800"
    return f"{blake2b(subject, digest_size=12).hexdigest()}-{key}"


def _check_subject(subject: str, served: tuple[str, ...]) -> None:
    wrong = problem(subject, wildcards=False)
    if wrong is None and (not covered(subject, served) or reserved(subject, served)):
        wrong = "is not served here"
    if wrong is None and is_api(subject):
        wrong = "is one of NATS' own, which nobody publishes to from here"
    if wrong:
        allowed = "one subject within " + ", ".join(served)
        raise HTTPException(400, {"parameter": "subject", "value": subject[:200], "problem": wrong, "allowed": allowed})


def _unfit(refused: Refusal, name: str | None) -> dict[str, str]:
    if refused is Refusal.RESERVED_NAME:
        allowed = (
            f"up to {MAX_NAME} characters without control characters, and none of {', '.join(sorted(RESERVED_NAMES))}"
        )
        wrong = "is no name that an event may have"
        return {"parameter": "Ssecast-Event", "value": (name or "")[:200], "problem": wrong, "allowed": allowed}
    return {"parameter": "body", "problem": "is not UTF-8", "allowed": "text in UTF-8"}


async def _body(request: Request, payload: Payload, limit: int) -> bytes:
    """The body, read no further than the limit. Raises NoRoom."""
    try:
        async for part in request.stream():
            payload.add(part)
            if len(payload.data) > limit:
                raise HTTPException(413, f"the payload is larger than {limit} bytes")
    except ClientDisconnect:  # nobody is left to be answered, and a traceback per visitor is none of our logs' business
        raise HTTPException(400, "the payload has not come as far as its end") from None
    return bytes(payload.data)


def _add_files(app: FastAPI, *, page: bool) -> None:
    static = files("ssecast") / "static"
    module = (static / "ssecast.js").read_bytes()

    @app.get("/ssecast.js", summary="The client as an ES module", tags=["page"], response_class=ModuleResponse)
    async def client_module() -> Response:
        return ModuleResponse(module, headers={"cache-control": "no-cache", "x-content-type-options": "nosniff"})

    if page:
        html = (static / "index.html").read_bytes()
        headers = PAGE_HEADERS | {"content-security-policy": content_security_policy(html.decode())}

        @app.get("/", summary="Watch events live", tags=["page"], response_class=HTMLResponse)
        async def index() -> Response:
            return HTMLResponse(html, headers=headers)


def content_security_policy(html: str) -> str:
    """Allows what stands in the page itself by its hash: whatever is brought into it from outside runs nothing."""
    scripts, styles = ("".join(f" 'sha256-{digest}'" for digest in _digests(html, tag)) for tag in ("script", "style"))
    return (
        f"default-src 'none'; style-src{styles}; script-src 'self'{scripts}; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )


def _digests(html: str, tag: str) -> list[str]:
    inline = re.findall(_INLINE % (tag, tag), html, re.DOTALL)
    return [b64encode(sha256(text.encode()).digest()).decode() for text in inline]


def _describe(app: FastAPI, access: Access) -> None:
    """Adds to the OpenAPI description the stream, which is no path operation, and how to send a token."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            description = generate()
            description["paths"]["/events"] = {"get": EVENTS_OPERATION}
            if not access.is_open:
                _describe_access(description, access)
        return app.openapi_schema or generate()

    app.openapi = openapi  # type: ignore[method-assign]


def _describe_access(description: dict[str, Any], access: Access) -> None:
    schemes: dict[str, Any] = {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
    for place, name in (("query", access.query), ("cookie", access.cookie)):
        if name:
            schemes[place] = {"type": "apiKey", "in": place, "name": name}
    description.setdefault("components", {})["securitySchemes"] = schemes
    events = EVENTS_OPERATION | {"responses": EVENTS_OPERATION["responses"] | _by_text(DENIED_RESPONSES)}
    description["paths"]["/events"] = {"get": events}
    for path, operations in description["paths"].items():
        if path == "/events" or path.startswith("/publish/"):
            for operation in operations.values():
                operation["security"] = [{scheme: []} for scheme in schemes]


def _by_text(responses: dict[int | str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {str(status): response for status, response in responses.items()}


DENIED_RESPONSES: dict[int | str, dict[str, Any]] = {
    401: {"description": "no token, or one that is not accepted; `detail` says why"},
    403: {"description": "the token does not allow this; `detail` says what it allows"},
}

TEXT = {"type": "string"}
SCHEMAS: dict[str, dict[str, Any]] = {
    "subject": {"type": "array", "items": TEXT, "maxItems": MAX_SUBJECTS},
    "interval": {"type": "integer", "minimum": 0, "maximum": MAX_INTERVAL_MS},
    "latest": {"type": "boolean"},
    "format": {"enum": ["data", "json"]},
}
"""Of the parameters of a stream that are more than a text."""

EVENTS_OPERATION: dict[str, Any] = {
    "summary": "Open a stream of server-sent events",
    "operationId": "events",
    "tags": ["stream"],
    "parameters": [
        {"name": name, "in": "query", "required": False, "description": text, "schema": SCHEMAS.get(name, TEXT)}
        for name, text in PARAMETERS.items()
    ]
    + [
        {
            "name": "Last-Event-ID",
            "in": "header",
            "required": False,
            "description": "the position after which to go on; wins over the query",
            "schema": TEXT,
        }
    ],
    "responses": {
        "200": {"description": "a stream", "content": {"text/event-stream": {"schema": TEXT}}},
        "400": {"description": "a parameter that cannot be served, named with what is allowed"},
        "503": {"description": "no room; only for clients that do not accept text/event-stream"},
    },
}
