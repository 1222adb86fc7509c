"""The objects of the cluster as they were last seen, by their Broadcaster; of pods, of which there are many, what is looked at.
Watches fill it, and so do our own writes.

What was written is in here at once: a decision made from a look that is older than one's own write would be made twice.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from ssecast_operator.broadcaster import KIND
from ssecast_operator.children import BROADCASTER
from ssecast_operator.fleet import POD, essentials_of

Body = Mapping[str, Any]


class Key(NamedTuple):
    """A Broadcaster."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Store:
    """wake: told the Broadcaster to which something has happened."""

    def __init__(self, wake: Callable[[Key], None] = lambda _: None) -> None:
        self.wake = wake
        self._broadcasters: dict[Key, Body] = {}
        self._children: dict[Key, dict[tuple[str, str], Body]] = {}

    @property
    def keys(self) -> list[Key]:
        """Of all Broadcasters."""
        return list(self._broadcasters)

    def broadcaster(self, key: Key) -> Body | None:
        return self._broadcasters.get(key)

    def child(self, key: Key, kind: str, name: str) -> Body | None:
        return self._children.get(key, {}).get((kind, name))

    def children(self, key: Key, kind: str) -> list[Body]:
        return [body for (of_kind, _), body in self._children.get(key, {}).items() if of_kind == kind]

    def put(self, kind: str, body: Body) -> None:
        """Takes a look at an object, unless a newer one is known."""
        key = key_of(kind, body)
        if key is None:
            return
        known = self._known(kind, key, body)
        if known is not None and _version(known) >= _version(body):
            return
        if kind == KIND:
            self._broadcasters[key] = body
        else:
            kept = essentials_of(body) if kind == POD else body
            self._children.setdefault(key, {})[(kind, body["metadata"]["name"])] = kept
        self.wake(key)

    def drop(self, kind: str, body: Body) -> None:
        """The object is gone; another one of the same name stays."""
        key = key_of(kind, body)
        if key is None:
            return
        known = self._known(kind, key, body)
        if known is None or known["metadata"].get("uid") != body["metadata"].get("uid"):
            return
        if kind == KIND:
            del self._broadcasters[key]
        else:
            of_key = self._children[key]
            del of_key[(kind, body["metadata"]["name"])]
            if not of_key:
                del self._children[key]
        self.wake(key)

    def replace(self, kind: str, bodies: Iterable[Body], before: Mapping[tuple[Key, str], str]) -> None:
        """All that there are of a kind. before: what was known (see `known`) when they were asked for: of that, who is not
        among them is gone; watches do not tell of what went while they were broken."""
        found = set()
        for body in bodies:
            key = key_of(kind, body)
            if key is not None:
                found.add((key, body["metadata"]["name"]))
                self.put(kind, body)
        for (key, name), uid in before.items():
            if (key, name) not in found:
                self.drop(kind, self._stand_in(kind, key, name, uid))

    def known(self, kind: str) -> dict[tuple[Key, str], str]:
        """(Broadcaster, name) -> UID of all objects of a kind."""
        if kind == KIND:
            return {(key, key.name): body["metadata"].get("uid", "") for key, body in self._broadcasters.items()}
        return {
            (key, name): body["metadata"].get("uid", "")
            for key, of_key in self._children.items()
            for (of_kind, name), body in of_key.items()
            if of_kind == kind
        }

    def _known(self, kind: str, key: Key, body: Body) -> Body | None:
        if kind == KIND:
            return self._broadcasters.get(key)
        return self.child(key, kind, body["metadata"]["name"])

    @staticmethod
    def _stand_in(kind: str, key: Key, name: str, uid: str) -> Body:
        labels = {} if kind == KIND else {BROADCASTER: key.name}
        return {"metadata": {"namespace": key.namespace, "name": name, "uid": uid, "labels": labels}}


def key_of(kind: str, body: Body) -> Key | None:
    """The Broadcaster that an object is or belongs to; None where it is nobody's."""
    metadata = body["metadata"]
    name = metadata["name"] if kind == KIND else (metadata.get("labels") or {}).get(BROADCASTER)
    return Key(metadata.get("namespace", ""), name) if name else None


def _version(body: Body) -> int:
    """Of one cluster's objects of one kind, numbers that rise (Kubernetes says so since 1.35, and it has always been so)."""
    text = body["metadata"].get("resourceVersion", "0")
    return int(text) if str(text).isdigit() else 0
