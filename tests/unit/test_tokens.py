"""tokens.py: where a token is found, what makes it good, and the sentence for each way in which it is not."""

import base64
import hashlib
import hmac
import json
import time
from collections import Counter
from typing import Any

import pytest

from ssecast import tokens
from ssecast.access import DENIED, Denied, Grant, Headers, KeysAway, Open, Unknown
from ssecast.keys import ALGORITHMS, Key, parse
from ssecast.tokens import TokenOptions, Tokens, split_query
from tests.issuer import Signer, jwks, signer

ES = signer("ES256", kid="es")
SERVED = ("events.>", "orders.*.new")


class Ring:
    """Keys that a test changes. fresh: what comes when somebody asks for newer ones; None while nobody can tell."""

    def __init__(self, *signers: Signer) -> None:
        self.keys = keys_of(*signers)
        self.fresh: tuple[Key, ...] | None = self.keys
        self.loads: Counter[str] = Counter()
        self.loaded_at = 1.0
        self.asked = 0

    async def run(self) -> None:
        """These do not change by themselves."""

    async def freshen(self) -> None:
        self.asked += 1
        if self.fresh is None:
            raise KeysAway
        self.keys = self.fresh


def keys_of(*signers: Signer) -> tuple[Key, ...]:
    return parse(jwks(*signers), ALGORITHMS)


def access(*signers: Signer, **options: Any) -> Tokens:
    return Tokens(TokenOptions(SERVED, **options), Ring(*(signers or (ES,))))


def bearer(token: str) -> Headers:
    return [(b"host", b"x"), (b"authorization", b"Bearer " + token.encode())]


def grant(token: str, *signers: Signer, **options: Any) -> Grant:
    return access(*signers, **options).grant(bearer(token))


def denial(token: str, *signers: Signer, **options: Any) -> Denied:
    with pytest.raises(Denied) as found:
        grant(token, *signers, **options)
    assert found.value.reason in DENIED
    return found.value


def made_up(header: object, payload: bytes = b"{}", signature: str = "c2ln") -> str:
    """A token that nobody signed."""
    parts = [json.dumps(header).encode() if not isinstance(header, bytes) else header, payload]
    return ".".join([base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts] + [signature])


# What a good token gives


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_verifies_with_its_key(algorithm: str) -> None:
    of = signer(algorithm)
    found = grant(of.grant(["events.a"], ["events.b"]), of)
    assert (found.subscribe, found.publish, found.subject) == (("events.a",), ("events.b",), "ann")
    assert found.expires_at > time.time()


def test_a_grant_lies_within_what_is_served() -> None:
    found = grant(ES.grant([">"], ["orders.>", "elsewhere.>", "*.x"]))
    assert found.subscribe == SERVED
    assert found.publish == ("events.x", "orders.*.new")


def test_a_token_without_the_claim_allows_nothing() -> None:
    assert grant(ES.token())[:2] == ((), ())
    assert grant(ES.token({"ssecast": {}}))[:2] == ((), ())
    assert grant(ES.token({"sub": None})).subject == ""


def test_issuer_and_audience_are_checked_where_they_are_set() -> None:
    token = ES.token({"iss": "me", "aud": ["you", "others"]})
    assert grant(token, issuer="me", audience="you")
    assert denial(token, issuer="you", audience="you").reason == "issuer"
    assert denial(token, audience="me").reason == "audience"


# What is wrong with others


@pytest.mark.parametrize(
    ("claims", "options", "reason", "sentence"),
    [
        ({"exp": None}, {}, "claim", "the token has no `exp`, which is needed here"),
        ({"exp": 1}, {}, "expired", "the token has expired"),
        ({"exp": "soon"}, {}, "malformed", "the token's claims cannot be read"),
        ({"exp": []}, {}, "malformed", "the token's claims cannot be read"),
        ({"exp": float("inf")}, {}, "malformed", "the token's claims cannot be read"),
        ({"exp": float("nan")}, {}, "malformed", "the token's claims cannot be read"),
        ({"exp": 10**400}, {}, "malformed", "the token's claims cannot be read"),
        ({"nbf": 2**40}, {}, "early", "the token is not valid yet"),
        ({"iat": 2**40}, {}, "early", "the token is not valid yet"),
        ({"sub": 7}, {}, "malformed", "the token's claims cannot be read"),
        ({"sub": "x" * 300}, {}, "claim", "the token's `sub` is longer than 256 characters"),
        ({}, {"issuer": "me"}, "claim", "the token has no `iss`, which is needed here"),
        ({"iss": "you"}, {"issuer": "me"}, "issuer", "the token is from another issuer than the one expected here"),
        ({}, {"audience": "me"}, "claim", "the token has no `aud`, which is needed here"),
        ({"aud": "you"}, {"audience": "me"}, "audience", "the token is for another audience than this service"),
        ({"aud": "you"}, {}, "audience", "the token is for another audience than this service"),
        ({"ssecast": ["a"]}, {}, "claim", "the token's claim `ssecast` is no object"),
        (
            {"ssecast": {"subscribe": "events.>"}},
            {},
            "claim",
            "`subscribe` in the token's claim `ssecast` is no list of subjects",
        ),
        ({"ssecast": {"publish": [1]}}, {}, "claim", "`publish` in the token's claim `ssecast` is no list of subjects"),
        (
            {"ssecast": {"subscribe": ["a..b"]}},
            {},
            "claim",
            "a subject of `subscribe` in the token's claim `ssecast` has an empty token (two dots, or a dot at an end)",
        ),
        (
            {"ssecast": {"subscribe": ["a"] * 65}},
            {},
            "claim",
            "`subscribe` in the token's claim `ssecast` has more than 64 subjects",
        ),
    ],
)
def test_a_token_with_wrong_claims_is_denied_with_a_sentence(
    claims: dict[str, Any], options: dict[str, Any], reason: str, sentence: str
) -> None:
    found = denial(ES.token(claims), **options)
    assert (found.status, found.reason, found.sentence, found.detail) == (401, reason, sentence, sentence)
    assert found.headers == {
        "www-authenticate": f'Bearer realm="ssecast", error="invalid_token", error_description="{sentence}"'
    }


@pytest.mark.parametrize(
    ("token", "reason", "sentence"),
    [
        ("x", "malformed", "the token is no JSON Web Token in its compact form"),
        ("a.b", "malformed", "the token is no JSON Web Token in its compact form"),
        ("a.b.c.d.e", "malformed", "the token is no JSON Web Token in its compact form"),
        ("ä.b.c", "malformed", "the token is no JSON Web Token in its compact form"),
        ("a.b.c=", "malformed", "the token is no JSON Web Token in its compact form"),
        ("x" * 8193, "malformed", "the token is longer than 8192 bytes"),
        ("a.b.c", "malformed", "the token's header cannot be read"),
        (made_up([]), "malformed", "the token's header cannot be read"),
        (made_up(b"[" * 2000), "malformed", "the token's header cannot be read"),
        (made_up({"alg": "ES256", "kid": 5}), "malformed", "the token's header cannot be read"),
        (made_up({"alg": "none"}, signature=""), "algorithm", "the token's algorithm is not allowed here"),
        (made_up({"alg": "NONE"}), "algorithm", "the token's algorithm is not allowed here"),
        (made_up({"alg": ["ES256"]}), "algorithm", "the token's algorithm is not allowed here"),
        (made_up({}), "algorithm", "the token's algorithm is not allowed here"),
        (made_up({"alg": "ES256K"}), "algorithm", "the token's algorithm is not allowed here"),
        (made_up({"alg": "ES256", "kid": "es"}), "signature", "the token's signature is wrong"),
        (made_up({"alg": "ES256", "kid": "new"}), "key", "the token is signed with a key that is not known here"),
        (made_up({"alg": "RS256"}), "key", "the token is signed with a key that is not known here"),
        (made_up({"alg": "ES256"}), "key", "the token is signed with a key that is not known here"),
    ],
    ids=lambda value: value[:40],
)
def test_a_token_that_nobody_signed_is_denied_with_a_sentence(token: str, reason: str, sentence: str) -> None:
    with pytest.raises(Denied) as found:
        access().grant([(b"authorization", b"Bearer " + token.encode("latin-1"))])
    assert (found.value.status, found.value.reason, found.value.sentence) == (401, reason, sentence)


def test_a_critical_extension_that_is_not_known_makes_a_token_unusable() -> None:
    """RFC 7515, 4.1.11."""
    found = denial(made_up({"alg": "ES256", "crit": ["x"], "x": 1}))
    assert found.reason == "malformed"
    assert denial(ES.token(None, crit=["b64"], b64=True)).reason == "malformed"


def test_a_payload_that_is_not_in_the_token_is_not_looked_for() -> None:
    """`b64: false` moves the payload out of the token (RFC 7797); nothing here could hand it over."""
    assert denial(made_up({"alg": "ES256", "b64": False, "kid": "es"})).reason == "malformed"


def test_one_changed_letter_breaks_the_signature() -> None:
    head, payload, signature = ES.grant(["events.>"]).split(".")
    other = ES.grant(["orders.>"]).split(".")[1]
    assert denial(f"{head}.{other}.{signature}").reason == "signature"
    swapped = signature[:10] + ("A" if signature[10] != "A" else "B") + signature[11:]
    assert denial(f"{head}.{payload}.{swapped}").reason == "signature"


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "ES384", "EdDSA"])
def test_no_form_of_a_public_key_verifies_an_hmac(algorithm: str) -> None:
    """Algorithm confusion: everybody knows the public key, in every form, and could sign with it."""
    of = signer(algorithm, kid="k")
    forms = [of.pem, of.pem.strip(), of.pem.rstrip() + b"\r\n", json.dumps(of.jwk).encode(), jwks(of)]
    for secret in forms:
        for name in ("HS256", "HS384", "HS512"):
            forged = _hmac(name, secret, {"kid": "k"})
            assert denial(forged, of).reason == "key"


def _hmac(name: str, secret: bytes, header: dict[str, str]) -> str:
    """By hand, because PyJWT refuses to sign with such a secret."""
    claims = json.dumps({"exp": int(time.time()) + 60, "ssecast": {"subscribe": [">"]}}).encode()
    unsigned = made_up(header | {"alg": name}, claims, "").rstrip(".")
    digest = hmac.new(secret, unsigned.encode(), getattr(hashlib, f"sha{name[2:]}")).digest()
    return f"{unsigned}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def test_an_hmac_made_by_hand_is_a_good_one_with_the_right_secret() -> None:
    """Or the test above would prove nothing."""
    of = signer("HS256")
    assert grant(_hmac("HS256", of.private, {}), of).subscribe == SERVED


def test_an_algorithm_that_the_settings_leave_out_is_not_allowed() -> None:
    of = signer("RS256")
    assert denial(of.token(), of, algorithms=("PS256",)).reason == "algorithm"


def test_a_key_id_chooses_the_key_and_keys_without_one_are_all_tried() -> None:
    named, other, nameless = signer("ES256", kid="a", number=1), signer("ES256", kid="b", number=2), signer("ES256")
    assert grant(named.token(), other, named, nameless)
    assert grant(nameless.token(), other, named, nameless)
    assert grant(nameless.token(None, kid="unknown"), other, nameless)
    assert denial(other.token(None, kid="a"), named, other).reason == "signature"
    assert isinstance(denial(other.token(None, kid="c"), named, other), Unknown)


def test_clocks_may_differ_by_the_leeway_and_no_more() -> None:
    now = int(time.time())
    for claims in ({"exp": now - 100}, {"nbf": now + 100}, {"iat": now + 100}):
        assert grant(ES.token(claims), leeway=200.0)
        assert denial(ES.token(claims), leeway=20.0).reason in ("expired", "early")


# Newer keys


async def test_a_token_of_a_new_key_waits_for_it() -> None:
    new = signer("ES256", kid="new", number=1)
    found = access()
    ring = found.ring
    assert isinstance(ring, Ring)
    ring.fresh = keys_of(ES, new)
    assert (await found.ask(bearer(new.token()))).subject == "ann"
    assert ring.asked == 1
    await found.ask(bearer(new.token()))
    with pytest.raises(Denied):
        await found.ask(bearer(made_up({"alg": "ES256", "kid": "new"})))
    assert ring.asked == 1, "a wrong signature by a known key is a wrong signature"


async def test_a_token_of_a_key_that_nobody_knows_is_denied_or_nobody_can_tell() -> None:
    found = access()
    ring = found.ring
    assert isinstance(ring, Ring)
    stranger = bearer(signer("ES256", kid="?", number=1).token())
    with pytest.raises(Denied, match="not known here"):
        await found.ask(stranger)
    ring.fresh = None
    with pytest.raises(KeysAway):
        await found.ask(stranger)
    assert (await found.ask(bearer(ES.token()))).subject == "ann"


def test_what_was_verified_is_remembered_until_it_expires_or_the_keys_change(monkeypatch: pytest.MonkeyPatch) -> None:
    found = access()
    ring = found.ring
    assert isinstance(ring, Ring)
    token = bearer(ES.token())
    first = found.grant(token)
    assert found.grant(token) is first
    with monkeypatch.context() as later:
        later.setattr(time, "time", lambda: first.expires_at + 1)
        assert found.grant(token) is not first, "verified again, by PyJWT's own clock"
    ring.keys = keys_of(signer("ES256", kid="es", number=1))
    with pytest.raises(Denied, match="signature is wrong"):
        found.grant(token)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "REMEMBERED", 3)
    found = access()
    made = [bearer(ES.token({"n": number})) for number in range(5)]
    grants = [found.grant(each) for each in made]
    assert len(found._remembered) == 3
    assert found.grant(made[4]) is grants[4]
    assert found.grant(made[0]) is not grants[0]


# Where a token is


def test_a_request_without_a_token_is_told_how_to_send_one() -> None:
    """RFC 6750, 3.1: and no error code, it may not know that one is needed."""
    with pytest.raises(Denied) as found:
        access().grant([])
    assert found.value.sentence == "a token is needed; send it in the header `Authorization: Bearer ...`"
    assert found.value.headers == {"www-authenticate": 'Bearer realm="ssecast"'}
    with pytest.raises(Denied) as found:
        access(cookie="session", query="token").grant([])
    assert found.value.sentence == (
        "a token is needed; send it in the header `Authorization: Bearer ...` or the query parameter `token` or the "
        "cookie `session`"
    )


@pytest.mark.parametrize("header", ["Bearer {}", "bearer {}", "BEARER   {}", " Bearer {} "])
def test_the_scheme_of_the_header_is_read_as_http_says(header: str) -> None:
    assert access().grant([(b"authorization", header.format(ES.token()).encode())]).subject == "ann"


@pytest.mark.parametrize("header", [b"", b"Bearer", b"Bearer ", b"Basic dXNlcjpwdw==", b"BearerX a.b.c"])
def test_another_scheme_is_no_token(header: bytes) -> None:
    """Basic authentication of a proxy must not hide the cookie."""
    by_cookie = [(b"authorization", header), (b"cookie", f"t={ES.token()}".encode())]
    assert access(cookie="t").grant(by_cookie).ambient
    with pytest.raises(Denied, match="a token is needed"):
        access().grant(by_cookie)


def test_the_cookie_is_found_among_others() -> None:
    token = ES.token()
    for value in (f"t={token}", f"a=b; t={token}; c=d", f'x=1;t="{token}"', f"tt=x; t=; t={token}"):
        found = access(cookie="t").grant([(b"cookie", b"z=1"), (b"cookie", value.encode())])
        assert (found.subject, found.ambient) == ("ann", True)
    with pytest.raises(Denied, match="a token is needed"):
        access(cookie="t").grant([(b"cookie", f"T={token}; tt={token}".encode())])
    with pytest.raises(Denied, match="a token is needed"):
        access().grant([(b"cookie", f"t={token}".encode())])


def test_the_header_decides_before_the_query_and_the_query_before_the_cookie() -> None:
    """The first that is there decides alone, even where it is wrong and the next would be right."""
    found = access(cookie="t", query="q")
    token = {name: ES.token({"sub": name}) for name in ("header", "query", "cookie")}
    cookie = (b"cookie", f"t={token['cookie']}".encode())
    by_query = found.move([cookie], f"q={token['query']}".encode())[0]
    by_all = found.move([cookie, *bearer(token["header"])], f"q={token['query']}".encode())[0]
    assert found.grant([cookie])[2:5:2] == ("cookie", True)
    assert found.grant(by_query)[2:5:2] == ("query", False)
    assert found.grant(by_all)[2:5:2] == ("header", False)
    with pytest.raises(Denied, match="compact form"):
        found.grant(found.move([cookie], b"q=nonsense")[0])


def test_a_token_leaves_the_query() -> None:
    found = access(query="q")
    headers, query = found.move([], b"subject=a&q=x.y.z&format=json")
    assert (query, headers) == (b"subject=a&format=json", [(b"authorization", b"Bearer x.y.z")])
    assert found.move(headers, query) == (headers, query)
    plain = access()
    assert plain.move([], b"q=x.y.z") == ([], b"q=x.y.z")


@pytest.mark.parametrize(
    ("query", "rest", "token"),
    [
        (b"", b"", b""),
        (b"q=t", b"", b"t"),
        (b"a=1&q=t", b"a=1", b"t"),
        (b"q=t&a=1&q=u", b"a=1", b"t"),
        (b"q=&q=u", b"", b"u"),
        (b"q", b"", b""),
        (b"%71=t%2Eu", b"", b"t.u"),
        (b"Q=t&qq=u&a=q=1", b"Q=t&qq=u&a=q=1", b""),
        (b"a=%FF&&q=%FF", b"a=%FF&", "�".encode()),
    ],
)
def test_the_query_is_split(query: bytes, rest: bytes, token: bytes) -> None:
    assert split_query(query, "q") == (rest, token)


# Without tokens


async def test_open_access_grants_what_is_served_to_everybody() -> None:
    found = Open(SERVED)
    headers = bearer("nonsense")
    assert found.grant(headers) == await found.ask([]) == Grant(SERVED, SERVED)
    assert found.move(headers, b"token=x") == (headers, b"token=x")
    assert (found.is_open, found.ready, found.keys) == (True, True, 0)
