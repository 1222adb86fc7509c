"""Access by JSON Web Token: finds the token of a request, verifies it and turns its claims into a grant.

A token stands in the Authorization header, in the query or in a cookie: the first of them that is there decides, alone.
Which keys verify it, and with which algorithms, is the key's affair (`keys`) and never the token's.
"""

import re
import time
from collections import Counter
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any
from urllib.parse import unquote_plus

import jwt

from ssecast.access import CLAIM, Denied, Grant, Headers, Unknown
from ssecast.keys import ALGORITHMS, Key, KeyRing
from ssecast.subjects import common, problem

MAX_TOKEN = 8192
MAX_PATTERNS = 64
"""Patterns of one list in the claim."""

MAX_SUBJECT_OF_TOKEN = 256

REMEMBERED = 8192
"""Verified tokens. Whoever reconnects brings the one that was verified before: about 2 us of CPU instead of 200 (ES256)."""

AUTHORIZATION, COOKIE = b"authorization", b"cookie"
_BEARER = re.compile(rb"bearer +([^ ].*)", re.IGNORECASE)
_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*", re.ASCII)
_DECODE_OPTIONS: Any = {"require": ["exp"]}

SENTENCES: dict[type[Exception], tuple[str, str]] = {
    jwt.ExpiredSignatureError: ("expired", "the token has expired"),
    jwt.ImmatureSignatureError: ("early", "the token is not valid yet"),
    jwt.InvalidIssuerError: ("issuer", "the token is from another issuer than the one expected here"),
    jwt.InvalidAudienceError: ("audience", "the token is for another audience than this service"),
}


@dataclass(frozen=True, slots=True)
class TokenOptions:
    """Values, not settings. issuer, audience: None where any will do, or none. leeway: seconds that clocks may differ."""

    subjects: tuple[str, ...]
    algorithms: tuple[str, ...] = ALGORITHMS
    issuer: str | None = None
    audience: str | None = None
    leeway: float = 0.0
    cookie: str = ""
    query: str = ""


class Tokens:
    """Access by JSON Web Token."""

    is_open = False

    def __init__(self, options: TokenOptions, ring: KeyRing) -> None:
        self.options, self.ring = options, ring
        self.cookie, self.query = options.cookie, options.query
        self.denied: Counter[str] = Counter()
        self._remembered: dict[bytes, Grant] = {}
        self._verified_by = ring.keys

    @property
    def keys(self) -> int:
        return len(self.ring.keys)

    @property
    def loads(self) -> Counter[str]:
        return self.ring.loads

    @property
    def loaded_at(self) -> float:
        return self.ring.loaded_at

    @property
    def ready(self) -> bool:
        return bool(self.ring.keys)

    async def run(self) -> None:
        await self.ring.run()

    def move(self, headers: Headers, query: bytes) -> tuple[Headers, bytes]:
        if not self.query or not query:
            return headers, query
        rest, token = split_query(query, self.query)
        if token and _from_header(headers) is None:
            headers = [*headers, (AUTHORIZATION, b"Bearer " + token)]
        return headers, rest

    def grant(self, headers: Headers) -> Grant:
        token = _from_header(headers)
        if token is not None:
            return self._granted(token)
        token = _from_cookie(headers, self.cookie.encode()) if self.cookie else None
        if token is None:
            raise Denied("missing", self._how_to_send_one())
        return self._granted(token)._replace(ambient=True)

    async def ask(self, headers: Headers) -> Grant:
        try:
            return self.grant(headers)
        except Unknown:
            await self.ring.freshen()
            return self.grant(headers)

    def _how_to_send_one(self) -> str:
        ways = ["the header `Authorization: Bearer ...`"]
        ways += [f"the query parameter `{self.query}`"] if self.query else []
        ways += [f"the cookie `{self.cookie}`"] if self.cookie else []
        return f"a token is needed; send it in {' or '.join(ways)}"

    def _granted(self, token: bytes) -> Grant:
        """The grant of a token, remembered until it expires or the keys change."""
        if self._verified_by is not self.ring.keys:
            self._remembered.clear()
            self._verified_by = self.ring.keys
        digest = blake2b(token, digest_size=16).digest()
        grant = self._remembered.get(digest)
        if grant is not None and grant.expires_at > time.time():
            return grant
        self._remembered.pop(digest, None)
        grant = self._grant_of(self._verify(token))
        if len(self._remembered) >= REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[digest] = grant
        return grant

    def _verify(self, token: bytes) -> dict[str, Any]:
        """The claims of a token whose signature and whose claims about itself are right."""
        if len(token) > MAX_TOKEN:
            raise Denied("malformed", f"the token is longer than {MAX_TOKEN} bytes")
        text = token.decode("latin-1")
        if not _TOKEN.fullmatch(text):
            raise Denied("malformed", "the token is no JSON Web Token in its compact form")
        kid, algorithm = self._header(text)
        fitting = [key for key in self.ring.keys if algorithm in key.algorithms]
        named = [key for key in fitting if kid is not None and key.kid == kid]
        for key in named or [key for key in fitting if kid is None or key.kid is None]:
            try:
                return self._decode(text, key)
            except jwt.InvalidSignatureError:
                continue
        if named:
            raise Denied("signature", "the token's signature is wrong")
        raise Unknown("key", "the token is signed with a key that is not known here")

    def _header(self, token: str) -> tuple[str | None, str]:
        try:
            header = jwt.get_unverified_header(token)
        except Exception:  # PyJWT lets through what json raises for a header that somebody made up
            raise Denied("malformed", "the token's header cannot be read") from None
        algorithm, kid = header.get("alg"), header.get("kid")
        if "crit" in header:
            raise Denied("malformed", "the token's header has `crit`, of which nothing is known here")
        if not isinstance(algorithm, str) or algorithm not in self.options.algorithms:
            raise Denied("algorithm", "the token's algorithm is not allowed here")
        return kid, algorithm

    def _decode(self, token: str, key: Key) -> dict[str, Any]:
        """Raises Denied, and InvalidSignatureError where the key has not signed it."""
        options = self.options
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key.material,
                algorithms=key.algorithms,
                issuer=options.issuer,
                audience=options.audience,
                leeway=options.leeway,
                options=_DECODE_OPTIONS,
            )
            claims["exp"] = float(claims["exp"])
        except jwt.InvalidSignatureError:
            raise
        except jwt.MissingRequiredClaimError as wrong:
            raise Denied("claim", f"the token has no `{wrong.claim}`, which is needed here") from None
        except Exception as wrong:  # numbers and nesting beyond what PyJWT expects, beside its own
            reason, sentence = SENTENCES.get(type(wrong), ("malformed", "the token's claims cannot be read"))
            raise Denied(reason, sentence) from None
        return claims

    def _grant_of(self, claims: dict[str, Any]) -> Grant:
        claim = claims.get(CLAIM, {})
        if not isinstance(claim, dict):
            raise Denied("claim", f"the token's claim `{CLAIM}` is no object")
        subject = claims.get("sub", "")
        if len(subject) > MAX_SUBJECT_OF_TOKEN:
            raise Denied("claim", f"the token's `sub` is longer than {MAX_SUBJECT_OF_TOKEN} characters")
        served = self.options.subjects
        return Grant(
            subscribe=common(_patterns(claim, "subscribe"), served),
            publish=common(_patterns(claim, "publish"), served),
            subject=subject,
            expires_at=claims["exp"],
        )


def _patterns(claim: dict[str, Any], name: str) -> list[str]:
    patterns = claim.get(name, [])
    if not isinstance(patterns, list) or not all(isinstance(each, str) for each in patterns):
        raise Denied("claim", f"`{name}` in the token's claim `{CLAIM}` is no list of subjects")
    if len(patterns) > MAX_PATTERNS:
        raise Denied("claim", f"`{name}` in the token's claim `{CLAIM}` has more than {MAX_PATTERNS} subjects")
    for pattern in patterns:
        wrong = problem(pattern)
        if wrong:
            raise Denied("claim", f"a subject of `{name}` in the token's claim `{CLAIM}` {wrong}")
    return patterns


def split_query(query: bytes, name: str) -> tuple[bytes, bytes]:
    """The query without the parameter, and the parameter's first value that is not empty."""
    kept: list[bytes] = []
    found = b""
    for part in query.split(b"&"):
        key, _, value = part.partition(b"=")
        if unquote_plus(key.decode("latin-1")) != name:
            kept.append(part)
        elif not found:
            found = unquote_plus(value.decode("latin-1")).encode()
    return b"&".join(kept), found


def _from_header(headers: Headers) -> bytes | None:
    """The first bearer token; other schemes are a proxy's affair."""
    for name, value in headers:
        if name == AUTHORIZATION:
            found = _BEARER.fullmatch(value.strip())
            if found:
                return found[1]
    return None


def _from_cookie(headers: Headers, cookie: bytes) -> bytes | None:
    """The first cookie of the name that is not empty: browsers send the one with the longest path first."""
    for name, value in headers:
        if name == COOKIE:
            for pair in value.split(b";"):
                key, _, content = pair.strip().partition(b"=")
                if key == cookie and content.strip(b'"'):
                    return content.strip(b'"')
    return None
