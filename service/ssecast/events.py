"""GET /events: reads and checks what a client asks for, and answers with a stream, a refusal or an error.

A plain ASGI endpoint: it stands inside the FastAPI app and its middlewares, but pays for no dependency injection.
"""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

from fastapi import HTTPException
from starlette.responses import JSONResponse, Response

from ssecast.access import Access
from ssecast.channel import Subscriber, Want
from ssecast.frame import Format, Position
from ssecast.hub import Hub
from ssecast.limits import CLIENT, Limits
from ssecast.stream import HEADERS, Answer, EventStream, Headers, Receive, Scope, Send, come_back
from ssecast.subjects import covered, problem, reduce

PARAMETERS = {
    "subject": "a NATS subject, wildcards `*` and `>` allowed; may be given several times",
    "interval": "milliseconds between two writes, 1 to 60000; 0 for none",
    "latest": "true or false; with `interval`",
    "format": "data or json",
    "last_event_id": "the id of the last event received",
    "lastEventId": "the id of the last event received",
}
MAX_SUBJECTS = 32
MAX_TOKENS = 256
"""Of all subjects together: each may cost the trie a node of half a kilobyte."""

SHORT_QUERY = 256
MAX_INTERVAL_MS = 60_000
METHODS = "GET, HEAD, OPTIONS"
STREAM_HEADERS: Headers = tuple(HEADERS)
HEADERS_BY_NAME = {name.decode(): value.decode() for name, value in HEADERS}
REFUSALS = {
    "starting": "this pod is starting",
    "draining": "this pod is draining",
    "full": "this pod is full",
    "memory": "this pod is short of memory",
    "descriptors": "this pod is short of open files",
    CLIENT: "this client has as many streams as one client may have",
}
TRUTH = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True, slots=True)
class EventsOptions:
    """Values, not settings. Times in seconds unless named otherwise."""

    retry_ms: int
    retry_spread_ms: int
    max_age: float
    overload_503: bool = False


class BadParameter(ValueError):
    """A parameter that cannot be served; as_detail is the body of the 400."""

    def __init__(self, parameter: str, value: str, wrong: str, allowed: str, nearest: str | None = None) -> None:
        super().__init__(f"parameter `{parameter}`: {wrong}")
        self.as_detail = {"parameter": parameter, "value": value[:200], "problem": wrong, "allowed": allowed}
        if nearest:
            self.as_detail["nearest"] = nearest


def parse_want(query: bytes, served: tuple[str, ...]) -> tuple[Want, str | None]:
    """What the query asks for, and the position in it.

    Raises BadParameter: `?subjects=` must not silently mean everything.
    """
    return (_parse_short if len(query) <= SHORT_QUERY else _parse)(query, served)


def _parse(query: bytes, served: tuple[str, ...]) -> tuple[Want, str | None]:
    given: dict[str, list[str]] = {}
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True, errors="replace"):
        if not name.startswith("_"):  # cache busters
            given.setdefault(name, []).append(value)
    for name, values in given.items():
        _check_name(name, values)
    interval = _interval(given.get("interval", ["0"])[0])
    want = Want(
        subjects=_subjects(given.get("subject", []), served),
        format=_format(given.get("format", ["data"])[0]),
        interval=interval,
        latest=_latest(given.get("latest", ["false"])[0], interval),
    )
    positions = given.get("last_event_id", []) + given.get("lastEventId", [])
    return want, positions[0] if positions and positions[0] else None


_parse_short = lru_cache(maxsize=4096)(_parse)
"""Thousands ask for the same; a limit on the length, or strangers could fill the memory with it."""


def _check_name(name: str, values: list[str]) -> None:
    if name not in PARAMETERS:
        nearest = get_close_matches(name, PARAMETERS, n=1, cutoff=0.5)
        allowed = "one of " + ", ".join(PARAMETERS)
        raise BadParameter(name, values[0], "is not a parameter of /events", allowed, *nearest)
    if len(values) > 1 and name != "subject":
        raise BadParameter(name, values[1], "is given more than once", PARAMETERS[name])


def _subjects(asked: list[str], served: tuple[str, ...]) -> tuple[str, ...]:
    if not asked:
        return served
    if len(asked) > MAX_SUBJECTS:
        raise BadParameter("subject", asked[-1], f"is given more than {MAX_SUBJECTS} times", PARAMETERS["subject"])
    if sum(subject.count(".") + 1 for subject in asked) > MAX_TOKENS:
        many = f"brings the tokens of all subjects to more than {MAX_TOKENS}"
        raise BadParameter("subject", asked[-1], many, PARAMETERS["subject"])
    for subject in asked:
        wrong = problem(subject)
        if wrong:
            raise BadParameter("subject", subject, wrong, PARAMETERS["subject"])
        if not covered(subject, served):
            allowed = "subjects within " + ", ".join(served)
            raise BadParameter("subject", subject, "is not served here", allowed)
    return reduce(asked)


def _interval(value: str) -> float:
    if not value.isascii() or not value.isdigit() or int(value[:9]) > MAX_INTERVAL_MS:
        raise BadParameter("interval", value, "is not a number of milliseconds in range", PARAMETERS["interval"])
    return int(value) / 1000


def _latest(value: str, interval: float) -> bool:
    if value not in TRUTH:
        raise BadParameter("latest", value, "is neither true nor false", PARAMETERS["latest"])
    if TRUTH[value] and not interval:
        raise BadParameter("latest", value, "needs `interval`", PARAMETERS["latest"])
    return TRUTH[value]


def _format(value: str) -> Format:
    try:
        return Format(value)
    except ValueError:
        nearest = get_close_matches(value, ["data", "json"], n=1)
        raise BadParameter("format", value, "is not a format", PARAMETERS["format"], *nearest) from None


class Events:
    """The ASGI endpoint of /events."""

    def __init__(
        self,
        hub: Hub,
        options: EventsOptions,
        limits: Limits,
        access: Access,
        lookup: Callable[[Subscriber, Position], None],
    ) -> None:
        self.hub, self.options, self.limits, self.access = hub, options, limits, access
        self._lookup = lookup

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            response = self._respond(scope)
        except HTTPException as error:
            response = JSONResponse({"detail": error.detail}, error.status_code, error.headers)
        await response(scope, receive, send)

    def admit(self, scope: Scope) -> EventStream | Answer | None:
        """The stream or the refusal that a plain GET gets at once; None where there is more to say than that.

        scope needs no more than `query_string`, `headers` and `client`.
        """
        try:
            return self._stream_or_refusal(scope)
        except BadParameter:
            return None

    def _respond(self, scope: Scope) -> Any:
        method = scope["method"]
        if method == "OPTIONS":
            return Response(status_code=204, headers={"allow": METHODS})
        if method not in ("GET", "HEAD"):
            raise HTTPException(405, f"{method} is not allowed here; use {METHODS}", {"allow": METHODS})
        try:
            found = self._stream(scope) if method == "HEAD" else self._stream_or_refusal(scope)
        except BadParameter as wrong:
            raise HTTPException(400, wrong.as_detail) from None
        if method == "HEAD":
            return Response(headers=HEADERS_BY_NAME)
        if isinstance(found, Answer):
            headers = {name.decode(): value.decode() for name, value in found.headers}
            return Response(found.body, found.status, headers)
        return found

    def _stream_or_refusal(self, scope: Scope) -> EventStream | Answer:
        """A pod that takes nobody reads no further: thousands may come at once. Raises BadParameter."""
        reason = self.limits.closed()
        if reason is None:
            stream = self._stream(scope)
            reason = self.limits.refusal(stream.client)
            if reason is None:
                return stream
        return self._refuse(reason, dict(scope["headers"]).get(b"accept", b""))

    def _stream(self, scope: Scope) -> EventStream:
        """Raises BadParameter."""
        headers, query = dict(scope["headers"]), scope["query_string"]
        grant = self.access.grant(scope["headers"], query)
        want, requested = parse_want(query, grant.subscribe)
        last_event_id = headers.get(b"last-event-id", b"").decode(errors="replace") or requested
        lifetime = self.options.max_age * random.uniform(0.8, 1.0)
        client = self.limits.client(grant.subject, _address(scope))
        refusal = self.limits.refusal
        return EventStream(self.hub, want, last_event_id, lifetime, self._lookup, client, refusal=refusal)

    def _refuse(self, reason: str, accept: bytes) -> Answer:
        """A browser gives up for good after any error, so it is told when to come back on a stream that ends."""
        self.hub.refused[reason] += 1
        retry = draw_retry(self.options)
        if b"text/event-stream" in accept and not self.options.overload_503:
            return Answer(200, STREAM_HEADERS, come_back(retry, reason))
        seconds = max(1, round(retry / 1000))
        body = {"detail": f"{REFUSALS[reason]}; try again in {seconds} s"}
        headers: Headers = ((b"content-type", b"application/json"), (b"retry-after", b"%d" % seconds))
        return Answer(429 if reason == CLIENT else 503, headers, json.dumps(body).encode())


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else ""


def draw_retry(options: EventsOptions) -> int:
    """Milliseconds until a client comes back, spread because browsers add no jitter of their own."""
    return options.retry_ms + int(random.random() * (options.retry_spread_ms + 1))  # randint takes four times as long
