"""events.py and access: what the door lets in at once, what goes the slow way, and when a stream ends for its token."""

import json
import time
from typing import Any

import pytest

from ssecast.access import KeysAway, Open
from ssecast.cors import Cors
from ssecast.events import TOKEN_MARGIN_SECONDS, Events, EventsOptions
from ssecast.hub import Hub
from ssecast.keys import KeyRing
from ssecast.limits import Limits
from ssecast.log import EventLog
from ssecast.stream import EventStream
from ssecast.tokens import TokenOptions, Tokens
from tests.issuer import signer
from tests.properties.fakes import RecordingKernel
from tests.unit.test_tokens import SERVED, Ring, keys_of, made_up

ES = signer("ES256", kid="es")
APP = "https://app.example.com"


def hub() -> Hub:
    return Hub(EventLog(10, 10_000, "e", 0), RecordingKernel().write_many, lambda: None, lambda _: 1000)


def events(ring: KeyRing | None = None, origins: tuple[str, ...] = (), **options: Any) -> Events:
    pod = hub()
    access = Tokens(TokenOptions(SERVED, **options), ring or Ring(ES))
    limits = Limits(pod, 10, lambda: False)
    values = EventsOptions(1000, 0, 0.0, subjects=SERVED)
    return Events(pod, values, limits, access, lambda sub, position: None, Cors(origins))


def scope(query: str = "", method: str = "GET", **headers: str) -> dict[str, Any]:
    named = [(name.replace("_", "-").lower().encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "method": method, "query_string": query.encode(), "headers": named, "client": None}


def token(*subscribe: str, **claims: Any) -> str:
    return "Bearer " + ES.grant(list(subscribe or ["events.>"]), **claims)


class Answer:
    """What an endpoint has sent."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        self.body += message.get("body", b"")

    @property
    def detail(self) -> Any:
        return json.loads(self.body)["detail"]


async def ask(endpoint: Events, asked: dict[str, Any]) -> Answer:
    answer = Answer()

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    await endpoint(asked, receive, answer.send)
    return answer


# The door


def test_a_token_of_a_known_key_is_let_in_at_the_door() -> None:
    found = events()
    assert isinstance(found.admit(scope(authorization=token())), EventStream)
    assert isinstance(found.admit(scope("subject=events.a", authorization=token())), EventStream)
    assert not found.access.denied


def test_a_token_in_the_cookie_or_the_query_is_let_in_at_the_door_too() -> None:
    bare = ES.grant(["events.>"])
    assert isinstance(events(cookie="t").admit(scope(cookie=f"t={bare}")), EventStream)
    assert isinstance(events(query="q").admit(scope(f"subject=events.a&q={bare}")), EventStream)
    assert events().admit(scope(f"q={bare}", authorization=token())) is None, "an unknown parameter has to be explained"


@pytest.mark.parametrize(
    "asked",
    [
        scope(),
        scope(authorization="Bearer nonsense"),
        scope(authorization="Bearer " + made_up({"alg": "ES256", "kid": "new"})),
        scope("subject=orders.a.new", authorization=token()),
        scope("subject=elsewhere", authorization=token()),
        scope("subjects=events.a", authorization=token()),
        scope(authorization=token("elsewhere.>")),
        scope(authorization=token(exp=int(time.time()) + 1)),
    ],
    ids=[
        "none",
        "nonsense",
        "unknown key",
        "not granted",
        "not served",
        "misspelt",
        "nothing granted",
        "about to expire",
    ],
)
def test_whatever_has_to_be_explained_goes_the_slow_way(asked: dict[str, Any]) -> None:
    """And is counted there: the door says nothing and counts nothing."""
    found = events()
    assert found.admit(asked) is None
    assert not found.access.denied


def test_a_stream_that_the_door_opens_tells_other_origins_what_the_slow_way_tells_them() -> None:
    found = events(origins=(APP,))
    stream = found.admit(scope(authorization=token(), origin=APP))
    assert stream is not None
    assert stream.headers == found.cors.headers(APP.encode())
    other = found.admit(scope(authorization=token()))
    assert other is not None
    assert other.headers == ((b"vary", b"Origin"),)


def test_without_tokens_the_door_lets_in_whoever_comes() -> None:
    pod = hub()
    options = EventsOptions(1000, 0, 0.0, subjects=SERVED)
    found = Events(pod, options, Limits(pod, 10, lambda: False), Open(SERVED), lambda sub, position: None)
    stream = found.admit(scope(authorization="Bearer nonsense"))
    assert isinstance(stream, EventStream)
    assert (stream.headers, stream._end_by) == ((), 0.0)


# The slow way


async def test_a_request_without_a_token_is_401() -> None:
    found = events()
    answer = await ask(found, scope())
    assert (answer.status, answer.headers["www-authenticate"]) == (401, 'Bearer realm="ssecast"')
    assert answer.detail == "a token is needed; send it in the header `Authorization: Bearer ...`"
    assert found.access.denied == {"missing": 1}


async def test_a_request_for_more_than_the_token_allows_is_403() -> None:
    found = events()
    answer = await ask(found, scope("subject=events.>", authorization=token("events.a", "events.b.*")))
    assert answer.status == 403
    assert answer.detail == {
        "parameter": "subject",
        "value": "events.>",
        "problem": "is not allowed by the token",
        "allowed": "subjects within events.a, events.b.*",
    }
    assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
    answer = await ask(found, scope(authorization=token("elsewhere")))
    assert (answer.status, answer.detail) == (403, "the token allows no subject that is served here")
    assert found.access.denied == {"subject": 2}


async def test_a_bad_request_with_a_good_token_is_400_and_without_one_401() -> None:
    """Strangers learn nothing of what is served."""
    found = events()
    assert (await ask(found, scope("subject=elsewhere", authorization=token()))).status == 400
    assert (await ask(found, scope("subject=elsewhere"))).status == 401


@pytest.mark.parametrize(("method", "status"), [("HEAD", 401), ("OPTIONS", 204), ("POST", 405)])
async def test_other_methods_ask_for_a_token_where_they_tell_something(method: str, status: int) -> None:
    assert (await ask(events(), scope(method=method))).status == status


async def test_a_new_key_is_waited_for_and_then_known_at_the_door() -> None:
    new = signer("ES256", kid="new", number=1)
    ring = Ring(ES)
    ring.fresh = keys_of(ES, new)
    found = events(ring)
    asked = scope(method="HEAD", authorization="Bearer " + new.grant(["events.>"]))
    assert found.admit(asked) is None
    assert (await ask(found, asked)).status == 200
    assert found.admit(asked) is not None


async def test_while_no_keys_can_be_had_a_browser_is_told_to_come_back() -> None:
    """An error would close its EventSource for good, for something that passes. Others get 503."""
    ring = Ring(ES)
    ring.keys, ring.fresh = (), None
    found = events(ring)
    browser = await ask(found, scope(authorization=token(), accept="text/event-stream"))
    assert (browser.status, browser.body) == (200, b"retry: 1000\n\n: waiting for its keys, come back\n\n")
    other = await ask(found, scope(authorization=token()))
    assert (other.status, other.headers["retry-after"]) == (503, "1")
    assert found.access.denied == {"keys_away": 2}
    assert not found.hub.refused, "no demand for another pod, which would have no keys either"
    with pytest.raises(KeysAway):
        await found.access.ask(scope(authorization=token())["headers"])


# The end of a stream


def test_a_stream_ends_before_its_token_spread_over_the_last_fifth() -> None:
    found = events()
    ends = []
    for _ in range(200):
        exp = int(time.time()) + 1000
        stream = found.admit(scope(authorization=token(exp=exp)))
        assert isinstance(stream, EventStream)
        ends.append(stream._end_by - time.monotonic())
        assert stream._end_by - time.monotonic() <= exp - time.time() - TOKEN_MARGIN_SECONDS
    assert min(ends) >= 0.8 * (998 - TOKEN_MARGIN_SECONDS)
    assert max(ends) - min(ends) > 100


async def test_a_token_that_is_good_by_the_leeway_alone_opens_no_stream() -> None:
    """Nothing is sent after `exp`, however the clocks differ."""
    answer = await ask(events(leeway=100.0), scope(authorization=token(exp=int(time.time()) - 10)))
    assert (answer.status, answer.detail) == (401, "the token has expired or is about to")
