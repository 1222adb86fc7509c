"""One operator acts at a time, whatever happens on the way to the API server."""

from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ssecast_operator.cluster import MANAGER, Body, Conflict, Kind, NotFound, Unavailable
from ssecast_operator.lease import DURATION_SECONDS, GIVE_UP_SECONDS, HoldersCluster, Lease

T = TypeVar("T")


def done(work: Coroutine[Any, Any, T]) -> T:
    """The result of what never waits."""
    try:
        work.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError("it waits for something")


class OneObject:
    """As much of an API server as a Lease needs: one object, whose version must be the one that was read.

    lost: the next write is carried out, and its answer does not come.
    """

    def __init__(self) -> None:
        self.body: Body | None = None
        self.away = self.lost = False
        self.writes = 0

    async def get(self, kind: Kind, namespace: str, name: str) -> Body | None:
        self._reach()
        return None if self.body is None else dict(self.body)

    async def list(self, kind: Kind, namespace: str | None, labels: dict[str, Any]) -> list[Body]:
        self._reach()
        return []

    async def create(self, body: Body) -> Body:
        self._reach()
        if self.body is not None:
            raise Conflict("it exists")
        return self._put(body)

    async def apply(self, body: Body, manager: str = MANAGER, *, force: bool = True) -> Body:
        return await self.create(body)

    async def merge(self, kind: Kind, namespace: str, name: str, patch: Body, *, status: bool = False) -> Body:
        self._reach()
        if self.body is None:
            raise NotFound("there is none")
        if patch["metadata"]["resourceVersion"] != self.body["metadata"]["resourceVersion"]:
            raise Conflict("another version")
        return self._put(self.body | {"spec": self.body["spec"] | patch["spec"]})

    async def delete(self, kind: Kind, namespace: str, name: str) -> None:
        self._reach()
        self.body = None

    def _reach(self) -> None:
        if self.away:
            raise Unavailable("nobody answers")

    def _put(self, body: Body) -> Body:
        self.writes += 1
        self.body = body | {"metadata": {"name": "lease", "resourceVersion": str(self.writes)}}
        if self.lost:
            self.lost = False
            raise Unavailable("the answer did not come")
        return dict(self.body)


class Way(OneObject):
    """One operator's way to the API server, which may be cut."""

    def __init__(self, server: OneObject) -> None:
        super().__init__()
        self.server, self.cut = server, False

    async def get(self, kind: Kind, namespace: str, name: str) -> Body | None:
        self._check()
        return await self.server.get(kind, namespace, name)

    async def create(self, body: Body) -> Body:
        self._check()
        return await self.server.create(body)

    async def merge(self, kind: Kind, namespace: str, name: str, patch: Body, *, status: bool = False) -> Body:
        self._check()
        return await self.server.merge(kind, namespace, name, patch, status=status)

    def _check(self) -> None:
        if self.cut:
            raise Unavailable("cut off")


class Rivals(RuleBasedStateMachine):
    """Three operators with clocks of their own, which show the same seconds from different points on."""

    @initialize(offsets=st.lists(st.integers(0, 10**6), min_size=3, max_size=3))
    def begin(self, offsets: list[int]) -> None:
        self.now = 0.0
        self.server = OneObject()
        self.ways = [Way(self.server) for _ in offsets]
        self.leases = [
            Lease(way, "ns", "lease", f"operator-{number}", lambda offset=offset: self.now + offset)  # type: ignore[misc]
            for number, (way, offset) in enumerate(zip(self.ways, offsets, strict=True))
        ]

    @rule(who=st.integers(0, 2))
    def renew(self, who: int) -> None:
        lease = self.leases[who]
        with suppress(Unavailable, Conflict, NotFound):
            done(lease._try(lease._clock()))

    @rule(seconds=st.floats(0.1, 20))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule(who=st.integers(0, 2), cut=st.booleans())
    def cut(self, who: int, cut: bool) -> None:
        self.ways[who].cut = cut

    @rule(away=st.booleans())
    def go_away(self, away: bool) -> None:
        self.server.away = away

    @rule()
    def lose_an_answer(self) -> None:
        self.server.lost = True

    @rule(who=st.integers(0, 2))
    def release(self, who: int) -> None:
        done(self.leases[who].release())

    @rule()
    def delete(self) -> None:
        """By somebody who should not; then who held it has up to ten seconds left, in which nobody may take it."""
        if not any(lease.held for lease in self.leases):
            self.server.body = None

    @invariant()
    def one_at_most(self) -> None:
        if hasattr(self, "leases"):
            assert sum(lease.held for lease in self.leases) <= 1


TestRivals = Rivals.TestCase
TestRivals.settings = settings(max_examples=150, stateful_step_count=40)


def test_who_is_silent_is_replaced_after_its_time_and_stops_before() -> None:
    now = 0.0
    server = OneObject()
    first, second = (Lease(server, "ns", "lease", name, lambda: now) for name in ("first", "second"))
    done(first._try(now))
    done(second._try(now))
    assert (first.held, second.held, second.holder) == (True, False, "first")
    now = GIVE_UP_SECONDS
    assert not first.held
    now = DURATION_SECONDS - 0.1
    done(second._try(now))
    assert not second.held
    now = DURATION_SECONDS
    done(second._try(now))
    assert (first.held, second.held, second.holder) == (False, True, "second")


def test_what_is_given_back_can_be_had_at_once() -> None:
    server = OneObject()
    first, second = (Lease(server, "ns", "lease", name, lambda: 5.0) for name in ("first", "second"))
    done(first._try(5.0))
    done(first.release())
    assert not first.held
    done(second._try(5.0))
    assert second.held


def test_who_does_not_hold_it_reads_and_writes_nothing() -> None:
    server = OneObject()
    held = True
    cluster = HoldersCluster(server, lambda: held)
    kind = Kind("", "v1", "ConfigMap", "configmaps")
    made = done(cluster.create({"spec": {}}))
    done(cluster.merge(kind, "ns", "lease", {"metadata": made["metadata"], "spec": {"a": 1}}))
    held = False
    assert done(cluster.get(kind, "ns", "lease")) == server.body
    assert done(cluster.list(kind, "ns", {})) == []
    for write in (
        cluster.create({}),
        cluster.apply({}),
        cluster.merge(kind, "ns", "lease", {}),
        cluster.delete(kind, "ns", "lease"),
    ):
        with pytest.raises(Unavailable, match="held no more"):
            done(write)
    assert server.writes == 2
    held = True
    done(cluster.delete(kind, "ns", "lease"))
    assert server.body is None
