"""Who may subscribe and publish to what: the grant that a request comes with, or why it is denied.

Here are the words for it, and access for everybody; `tokens` reads grants out of tokens.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

CLAIM = "ssecast"

Headers = Sequence[tuple[bytes, bytes]]


class Grant(NamedTuple):
    """What a request may do; the patterns lie within what the pod serves.

    subject: who it is for, empty where nobody has to say. expires_at: Unix time, 0 for never. ambient: whether the browser
    sends the token by itself, as it does with cookies: then another site could be behind the request.
    """

    subscribe: tuple[str, ...]
    publish: tuple[str, ...]
    subject: str = ""
    expires_at: float = 0.0
    ambient: bool = False


class Denied(Exception):
    """A request that may not do what it asks for. reason: for metrics. detail: for the client, a sentence in it."""

    def __init__(self, reason: str, sentence: str, detail: Mapping[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.reason, self.sentence = reason, sentence
        self.detail = dict(detail) if detail else sentence

    @property
    def status(self) -> int:
        return 403 if self.reason in FORBIDDEN else 401

    @property
    def headers(self) -> dict[str, str]:
        """RFC 6750, 3: a request without a token is told how to send one, and no more."""
        if self.reason == "origin":
            return {}
        error = "insufficient_scope" if self.status == 403 else "invalid_token"
        told = "" if self.reason == "missing" else f', error="{error}", error_description="{self.sentence}"'
        return {"www-authenticate": f'Bearer realm="{CLAIM}"{told}'}


class Unknown(Denied):
    """None of the keys at hand has signed the token: newer ones may have."""


class KeysAway(Exception):
    """Nobody can tell now whether there are newer keys."""


FORBIDDEN = ("subject", "origin")
DENIED = (
    "missing", "malformed", "algorithm", "key", "signature", "expired", "early", "issuer", "audience", "claim",
    *FORBIDDEN, "keys_away",
)  # fmt: skip
"""Why requests are denied, as metrics count it; the last one is none of the client's doing."""


class Access(Protocol):
    """Reads the grant out of a request. denied: counts by reason. cookie, query: where a token may be, beside the header."""

    denied: Counter[str]
    is_open: bool
    cookie: str
    query: str

    @property
    def keys(self) -> int:
        """How many there are to verify with."""

    @property
    def loads(self) -> Counter[str]:
        """Attempts to read them, by result."""

    @property
    def loaded_at(self) -> float:
        """When they were last read, in Unix time; 0 before the first time."""

    @property
    def ready(self) -> bool:
        """Whether there are keys to verify with."""

    async def run(self) -> None:
        """Keeps the keys fresh until it is cancelled."""

    def move(self, headers: Headers, query: bytes) -> tuple[Headers, bytes]:
        """The request with a token that stood in its query in the header: what comes behind logs no query with a token."""

    def grant(self, headers: Headers) -> Grant:
        """By what is known now. Raises Denied; Unknown where `ask` could know more."""

    async def ask(self, headers: Headers) -> Grant:
        """Waits for newer keys where the token needs them. Raises Denied, and KeysAway where nobody can tell."""


class Open:
    """Access without tokens: everybody may do everything that the pod serves."""

    is_open, ready, cookie, query = True, True, "", ""
    keys, loaded_at = 0, 0.0

    def __init__(self, subjects: tuple[str, ...]) -> None:
        self.denied: Counter[str] = Counter()
        self.loads: Counter[str] = Counter()
        self._grant = Grant(subjects, subjects)

    async def run(self) -> None:
        await asyncio.get_running_loop().create_future()

    def move(self, headers: Headers, query: bytes) -> tuple[Headers, bytes]:
        return headers, query

    def grant(self, headers: Headers) -> Grant:
        return self._grant

    async def ask(self, headers: Headers) -> Grant:
        return self._grant
