"""Which pages of other origins may read from this pod, and which may act on it with a cookie. Pure.

Origins are compared letter by letter, as browsers write them. `*` is for everybody and therefore never with credentials.
"""

import re
from collections.abc import Sequence

Headers = Sequence[tuple[bytes, bytes]]

EVERYBODY = "*"
METHODS = b"GET, HEAD, POST, OPTIONS"
REQUEST_HEADERS = b"Authorization, Content-Type, Idempotency-Key, Last-Event-ID, Ssecast-Event"
PREFLIGHT_SECONDS = b"7200"
"""How long a browser remembers the answer to a preflight; none of them does for longer."""

ORIGIN, ASKED_METHOD = b"origin", b"access-control-request-method"
VARY = (b"vary", b"Origin")
"""On every answer, or a cache would give one origin what was meant for another."""


_WRITTEN = re.compile(r"[a-z][a-z0-9+.\-]*://([a-z0-9_.\-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
_IDLE_PORT = re.compile(r"http://.*:80|https://.*:443")


def wrong_origins(origins: tuple[str, ...]) -> str | None:
    """What is wrong with a list of origins, in words: one that no browser would ever send must not stand in it."""
    for origin in origins:
        if origin == EVERYBODY and len(origins) > 1:
            return "'*' stands alone"
        if origin != EVERYBODY and not _WRITTEN.fullmatch(origin):
            return f"{origin!r} is not written as browsers write an origin"
        if _IDLE_PORT.fullmatch(origin):
            return f"browsers leave out the port of {origin!r}"
    return None


class Cors:
    """The answer to each origin, made once: the heads of streams are remembered by these very headers."""

    def __init__(self, origins: tuple[str, ...]) -> None:
        self.is_on = bool(origins)
        self._exact = frozenset(origin for origin in origins if origin != EVERYBODY)
        self._known = {origin.encode(): _allowing(origin.encode()) for origin in self._exact}
        self._others: tuple[tuple[bytes, bytes], ...] = (VARY,) if self._exact else ()
        if EVERYBODY in origins:
            self._others = ((b"access-control-allow-origin", b"*"),)

    def headers(self, origin: bytes | None) -> tuple[tuple[bytes, bytes], ...]:
        """What an answer to this origin says, None where the request names none."""
        return self._others if origin is None else self._known.get(origin, self._others)

    def allows(self, origin: str) -> bool:
        """Whether the origin is named: `*` names nobody."""
        return origin in self._exact

    def preflight(self, origin: bytes) -> list[tuple[bytes, bytes]]:
        """The answer to a browser that asks before it sends."""
        return [
            *self.headers(origin),
            (b"access-control-allow-methods", METHODS),
            (b"access-control-allow-headers", REQUEST_HEADERS),
            (b"access-control-max-age", PREFLIGHT_SECONDS),
        ]


def asks_before(method: str, headers: Headers) -> bytes | None:
    """The origin of a preflight; None for every other request."""
    if method != "OPTIONS":
        return None
    given = dict(headers)
    return given.get(ORIGIN) if ASKED_METHOD in given else None


def is_same_origin(origin: str, scheme: str, host: str, fetch_site: str) -> bool:
    """Whether a page of this very origin sent the request.

    fetch_site: what the browser says about it in `Sec-Fetch-Site`, which no page can forge; it is right even behind a
    proxy that ends TLS without being believed about the scheme.
    """
    default = {"http": ":80", "https": ":443"}.get(scheme, "")
    return fetch_site == "same-origin" or origin == f"{scheme}://{host.lower().removesuffix(default)}"


def _allowing(origin: bytes) -> tuple[tuple[bytes, bytes], ...]:
    return ((b"access-control-allow-origin", origin), (b"access-control-allow-credentials", b"true"), VARY)
