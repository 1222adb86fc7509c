"""Who may read what, against a naive matcher that tries every small subject; and no bytes bring the readers down."""

import time
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from ssecast.access import Denied, Headers
from ssecast.events import BadParameter, parse_want
from ssecast.keys import ALGORITHMS, BadKeys, KeyRing, parse
from ssecast.tokens import TokenOptions, Tokens
from tests.issuer import jwks, signer
from tests.properties.naive import PATTERNS
from tests.properties.test_subjects_properties import MEANING
from tests.unit.test_tokens import Ring, bearer

SECRET = signer("HS256")

patterns = st.sampled_from(PATTERNS)
several = st.lists(patterns, max_size=4)
served_patterns = st.lists(patterns, min_size=1, max_size=3)


def tokens(served: list[str], ring: KeyRing | None = None, **options: Any) -> Tokens:
    return Tokens(TokenOptions(tuple(served), **options), ring or Ring(SECRET))


def meaning(some: list[str] | tuple[str, ...]) -> set[str]:
    return set().union(*(MEANING[each] for each in some))


def within_one(asked: str, some: list[str]) -> bool:
    """Containment as the word says it: in one pattern, whole."""
    return any(MEANING[asked] <= MEANING[each] for each in some)


@given(served_patterns, several, several)
def test_a_grant_is_what_is_claimed_and_served_and_nothing_else(
    served: list[str], subscribe: list[str], publish: list[str]
) -> None:
    grant = tokens(served).grant(bearer(SECRET.grant(subscribe, publish)))
    for granted, claimed in ((grant.subscribe, subscribe), (grant.publish, publish)):
        assert meaning(granted) == meaning(claimed) & meaning(served)


@given(served_patterns, several, patterns)
def test_a_subject_is_had_where_one_claim_and_one_served_pattern_contain_it(
    served: list[str], claimed: list[str], asked: str
) -> None:
    granted = tokens(served).grant(bearer(SECRET.grant(claimed))).subscribe
    try:
        want, _ = parse_want(f"subject={asked}".encode(), tuple(served), granted)
    except BadParameter:
        assert not within_one(asked, served)
    except Denied:
        assert not within_one(asked, claimed) or not meaning(claimed) & meaning(served)
    else:
        assert want.subjects == (asked,)
        assert within_one(asked, served)
        assert within_one(asked, claimed)


@given(served_patterns, several)
def test_without_a_subject_everything_that_is_granted_is_had(served: list[str], claimed: list[str]) -> None:
    granted = tokens(served).grant(bearer(SECRET.grant(claimed))).subscribe
    try:
        want, _ = parse_want(b"", tuple(served), granted)
    except Denied:
        assert not meaning(claimed) & meaning(served)
    else:
        assert want.subjects == granted


# No bytes bring the readers down

texts = st.text('ab.*>1 "\\\n\0é\ud800', max_size=10)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts | st.sampled_from(["subscribe", "publish"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts | st.just("subscribe"), inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from(["exp", "nbf", "iat", "iss", "aud", "sub", "jti", "ssecast"])
header_names = st.sampled_from([b"authorization", b"cookie", b"x"])
values = st.binary(max_size=200) | st.sampled_from([b"Bearer a.b.c", b"t=a.b.c", b"Bearer ..", b"bearer  x"])


def outcome(access: Tokens, headers: Headers) -> bool:
    """Whether something is granted; everything that is raised but a denial is a defect."""
    try:
        access.grant(headers)
    except Denied as denied:
        told = denied.headers["www-authenticate"]
    else:
        return True
    assert told.isascii()
    assert told.isprintable()
    return False


@given(st.lists(st.tuples(header_names, values), max_size=4), st.binary(max_size=200))
def test_no_request_brings_the_reader_of_tokens_down(headers: Headers, query: bytes) -> None:
    access = tokens([">"], cookie="t", query="q")
    assert not outcome(access, access.move(headers, query)[0])


@given(st.dictionaries(names, json_values, max_size=4))
@example({"exp": 2**40, "ssecast": {"subscribe": ["a", 5]}})
def test_no_claims_bring_the_reader_of_tokens_down(claims: dict[str, Any]) -> None:
    """An issuer's mistakes are told to the client, and are no failure of the pod."""
    try:
        token = SECRET.token(claims)
    except (TypeError, ValueError, OverflowError):  # PyJWT refuses to sign some of them
        return
    if outcome(tokens([">"]), bearer(token)):
        assert float(claims.get("exp") or time.time() + 60) > time.time()


@given(st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk", "x5c", "jku"]), json_values))
def test_no_header_makes_a_token_good(header: dict[str, Any]) -> None:
    """Neither a key that it brings along, nor an address of keys, nor an algorithm."""
    stranger = signer("HS256", number=1)
    try:
        token = stranger.token(None, **header | {"alg": "HS256"})
    except Exception:  # what cannot be written cannot be sent
        return
    assert not outcome(tokens([">"]), bearer(token))


@given(st.binary(max_size=300) | json_values.map(lambda value: repr(value).encode()))
@example(b"-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----")
@example(jwks(SECRET)[:-5])
def test_no_bytes_bring_the_reader_of_keys_down(data: bytes) -> None:
    try:
        keys = parse(data, ALGORITHMS)
    except BadKeys:
        return
    assert keys
    assert all(key.algorithms for key in keys)
