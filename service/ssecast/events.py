"""GET /events: reads and checks what a client asks for, and answers with a stream, a refusal or an error.

A plain ASGI endpoint: it stands inside the FastAPI app and its middlewares, but pays for no dependency injection.
"""

import json
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

from fastapi import HTTPException
from starlette.responses import JSONResponse, Response

from ssecast.access import Access, Denied, Grant, KeysAway
from ssecast.channel import Subscriber, Want
from ssecast.cors import ORIGIN, Cors
from ssecast.frame import Format, Position
from ssecast.hub import Hub
from ssecast.limits import CLIENT, Limits
from ssecast.stream import HEADERS, Address, Answer, EventStream, Headers, Receive, Scope, Send, come_back
from ssecast.subjects import covered, problem, reduce, reserved

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
MAX_INTERVAL_MS, INTERVAL_DIGITS = 60_000, 9
SHOWN_CHARS = 200
METHODS = "GET, HEAD, OPTIONS"
STREAM_HEADERS: Headers = tuple(HEADERS)
HEADERS_BY_NAME = {name.decode(): value.decode() for name, value in HEADERS}
KEYS_AWAY = "waiting for its keys"
REFUSALS = {
    "starting": "this pod is starting",
    "draining": "this pod is draining",
    "full": "this pod is full",
    "memory": "this pod is short of memory",
    "descriptors": "this pod is short of open files",
    CLIENT: "this client has as many streams as one client may have",
    KEYS_AWAY: "the keys that verify tokens cannot be had now",
}

TOKEN_MARGIN_SECONDS = 1.0
"""A stream ends so long before its token at the latest: room for a late tick. A token that ends sooner opens none."""

TRUTH = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True, slots=True)
class EventsOptions:
    """Values, not settings. Times in seconds unless named otherwise. subjects: what the pod serves."""

    retry_ms: int
    retry_spread_ms: int
    max_age: float
    overload_503: bool = False
    subjects: tuple[str, ...] = (">",)


class BadParameter(ValueError):
    """A parameter that cannot be served; as_detail is the body of the 400."""

    def __init__(self, parameter: str, value: str, wrong: str, allowed: str, nearest: str | None = None) -> None:
        super().__init__(f"parameter `{parameter}`: {wrong}")
        told = {"parameter": parameter[:SHOWN_CHARS], "value": value[:SHOWN_CHARS]}
        self.as_detail = told | {"problem": wrong, "allowed": allowed}
        if nearest:
            self.as_detail["nearest"] = nearest


def parse_want(
    query: bytes, served: tuple[str, ...], granted: tuple[str, ...] | None = None
) -> tuple[Want, str | None]:
    """What the query asks for, and the position in it. granted: what of the served is allowed, by default all of it.

    Raises BadParameter: `?subjects=` must not silently mean everything. Raises Denied for a subject that is not granted.
    """
    parse = _parse_short if len(query) <= SHORT_QUERY else _parse
    return parse(query, served, served if granted is None else granted)


def _parse(query: bytes, served: tuple[str, ...], granted: tuple[str, ...]) -> tuple[Want, str | None]:
    given: dict[str, list[str]] = {}
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True, errors="replace"):
        if not name.startswith("_"):  # cache busters
            given.setdefault(name, []).append(value)
    for name, values in given.items():
        _check_name(name, values)
    interval = _interval(given.get("interval", ["0"])[0])
    want = Want(
        subjects=_subjects(given.get("subject", []), served, granted),
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


def _subjects(asked: list[str], served: tuple[str, ...], granted: tuple[str, ...]) -> tuple[str, ...]:
    if not granted:
        raise Denied("subject", "the token allows no subject that is served here")
    if not asked:
        return granted
    if len(asked) > MAX_SUBJECTS:
        raise BadParameter("subject", asked[-1], f"is given more than {MAX_SUBJECTS} times", PARAMETERS["subject"])
    if sum(subject.count(".") + 1 for subject in asked) > MAX_TOKENS:
        many = f"brings the tokens of all subjects to more than {MAX_TOKENS}"
        raise BadParameter("subject", asked[-1], many, PARAMETERS["subject"])
    for subject in asked:
        wrong = problem(subject)
        if wrong:
            raise BadParameter("subject", subject, wrong, PARAMETERS["subject"])
        if not covered(subject, served) or reserved(subject, served):
            allowed = "subjects within " + ", ".join(served)
            raise BadParameter("subject", subject, "is not served here", allowed)
        if not covered(subject, granted):
            raise not_granted(subject, granted)
    return reduce(asked)


def not_granted(subject: str, granted: tuple[str, ...]) -> Denied:
    """The refusal of a subject, pattern or not, that the token does not contain."""
    wrong = "is not allowed by the token"
    allowed = "subjects within " + ", ".join(granted)
    detail = {"parameter": "subject", "value": subject[:200], "problem": wrong, "allowed": allowed}
    return Denied("subject", "the token does not allow this subject", detail)


def _interval(value: str) -> float:
    is_number = value.isascii() and value.isdigit() and len(value) <= INTERVAL_DIGITS
    if not is_number or int(value) > MAX_INTERVAL_MS:
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
        cors: Cors | None = None,
    ) -> None:
        self.hub, self.options, self.limits, self.access = hub, options, limits, access
        self.cors = cors or Cors(())
        self._lookup = lookup

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            response = await self._respond(scope)
        except Denied as denied:
            response = self.deny(denied)
        except HTTPException as error:
            response = JSONResponse({"detail": error.detail}, error.status_code, error.headers)
        await response(scope, receive, send)

    def admit(self, scope: Scope) -> EventStream | Answer | None:
        """The stream or the refusal that a plain GET gets at once; None where there is more to say than that.

        scope needs no more than `query_string`, `headers` and `client`.
        """
        try:
            headers, query = self.access.move(scope["headers"], scope["query_string"])
            given = dict(headers)
            own_headers = self.cors.headers(given.get(ORIGIN)) if self.cors.is_on else ()
            reason = self.limits.closed()  # a pod that takes nobody reads no further: thousands may come at once
            if reason is None:
                stream = self._stream(scope["client"], given, query, self.access.grant(headers), own_headers)
                reason = self.limits.crowded(stream.client) if stream.client else None
                if reason is None:
                    return stream
            return self._refuse(reason, given.get(b"accept", b""), own_headers)
        except (BadParameter, Denied):
            return None

    def deny(self, denied: Denied) -> Response:
        """The answer to a request that may not do what it asks for; counts it."""
        self.access.denied[denied.reason] += 1
        return JSONResponse({"detail": denied.detail}, denied.status, denied.headers)

    async def _respond(self, scope: Scope) -> Any:
        method = scope["method"]
        if method == "OPTIONS":
            return Response(status_code=204, headers={"allow": METHODS})
        if method not in ("GET", "HEAD"):
            raise HTTPException(405, f"{method} is not allowed here; use {METHODS}", {"allow": METHODS})
        given = dict(scope["headers"])
        accept = given.get(b"accept", b"")
        reason = self.limits.closed() if method == "GET" else None
        if reason is not None:
            return _response(self._refuse(reason, accept))
        try:
            grant = await self.access.ask(scope["headers"])
            stream = self._stream(scope.get("client"), given, scope["query_string"], grant)
        except KeysAway:
            self.access.denied["keys_away"] += 1
            return _response(self._send_away(KEYS_AWAY, accept))
        except BadParameter as wrong:
            raise HTTPException(400, wrong.as_detail) from None
        if method == "HEAD":
            return Response(headers=HEADERS_BY_NAME)
        reason = self.limits.crowded(stream.client)
        return _response(self._refuse(reason, accept)) if reason else stream

    def _stream(
        self,
        client: Address | None,
        headers: Mapping[bytes, bytes],
        query: bytes,
        grant: Grant,
        own_headers: Headers = (),
    ) -> EventStream:
        """Raises BadParameter and Denied."""
        want, requested = parse_want(query, self.options.subjects, grant.subscribe)
        sent = headers.get(b"last-event-id")
        last_event_id = sent.decode(errors="replace") if sent else requested
        lifetime = self.options.max_age * (0.8 + 0.2 * random.random())  # uniform takes three times as long
        name = self.limits.client(grant.subject, client[0] if client else "") if self.limits.per_client else ""
        end_by = _end_by(grant.expires_at) if grant.expires_at else 0.0
        return EventStream(
            self.hub,
            want,
            last_event_id,
            lifetime,
            self._lookup,
            name,
            own_headers,
            end_by,
            self.limits.refusal,
        )

    def _refuse(self, reason: str, accept: bytes, own_headers: Headers = ()) -> Answer:
        self.hub.refused[reason] += 1
        return self._send_away(reason, accept, own_headers)

    def _send_away(self, reason: str, accept: bytes, own_headers: Headers = ()) -> Answer:
        """A browser gives up for good after any error, so it is told when to come back on a stream that ends."""
        retry = draw_retry(self.options)
        if b"text/event-stream" in accept and not self.options.overload_503:
            return Answer(200, STREAM_HEADERS + own_headers, come_back(retry, reason))
        seconds = max(1, round(retry / 1000))
        body = {"detail": f"{REFUSALS[reason]}; try again in {seconds} s"}
        headers: Headers = ((b"content-type", b"application/json"), (b"retry-after", b"%d" % seconds))
        return Answer(429 if reason == CLIENT else 503, headers + own_headers, json.dumps(body).encode())


def _response(answer: Answer) -> Response:
    headers = {name.decode(): value.decode() for name, value in answer.headers}
    return Response(answer.body, answer.status, headers)


def _end_by(expires_at: float) -> float:
    """When a stream ends for its token, on the monotonic clock; spread, because many tokens may end at once.

    Raises Denied where there is no time left for a stream.
    """
    left = expires_at - time.time() - TOKEN_MARGIN_SECONDS
    if left <= 0:
        raise Denied("expired", "the token has expired or is about to")
    return time.monotonic() + left * random.uniform(0.8, 1.0)


def draw_retry(options: EventsOptions) -> int:
    """Milliseconds until a client comes back, spread because browsers add no jitter of their own."""
    return options.retry_ms + int(random.random() * (options.retry_spread_ms + 1))  # randint takes four times as long
