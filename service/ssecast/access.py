"""Who may subscribe and publish to what: the grant that a request comes with."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

Headers = Sequence[tuple[bytes, bytes]]


class Grant(NamedTuple):
    """What a request may do. subject: who it is for, empty where nobody has to say. expires_at: Unix time, 0 for never."""

    subscribe: tuple[str, ...]
    publish: tuple[str, ...]
    subject: str = ""
    expires_at: float = 0.0


class Access(Protocol):
    """Reads the grant out of a request."""

    def grant(self, headers: Headers, query: bytes) -> Grant: ...


class Open:
    """Access without tokens: everybody may do everything that the pod serves."""

    def __init__(self, subjects: tuple[str, ...]) -> None:
        self._grant = Grant(subjects, subjects)

    def grant(self, headers: Headers, query: bytes) -> Grant:
        return self._grant
