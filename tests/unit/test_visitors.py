"""Connections without a stream: what they owe, and who goes when descriptors run out."""

import time

import pytest

from ssecast.visitors import HEAD_SECONDS, LAST_DESCRIPTORS, SPARE_DESCRIPTORS, Visitors

LIMIT = 1000
SHORT = LIMIT - SPARE_DESCRIPTORS


class Peer:
    """A visitor that notes its end."""

    def __init__(self, deadline: float | None = None) -> None:
        self.deadline, self.owes = deadline, "head"
        self.aborted = False

    def abort(self) -> None:
        self.aborted = True


class Hall:
    """Visitors, and the set in which uvicorn keeps them."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.visitors = Visitors(limit)
        self.present: list[Peer] = []
        self.visitors.present = self.present

    def enter(self, fd: int) -> Peer:
        peer = Peer()
        self.present.append(peer)
        self.visitors.came(peer, fd)
        return peer


def test_a_newcomer_owes_a_head_and_is_closed_when_it_does_not_come() -> None:
    hall = Hall()
    silent = hall.enter(10)
    hall.visitors.end_overdue(time.monotonic())
    assert not silent.aborted
    hall.visitors.end_overdue(time.monotonic() + HEAD_SECONDS + 1)
    assert silent.aborted
    hall.visitors.end_overdue(time.monotonic() + HEAD_SECONDS + 1)
    hall.visitors.left(silent)
    assert hall.visitors.closed == {"head_timeout": 1}, "counted once"


def test_who_owes_nothing_stays() -> None:
    hall = Hall()
    answered = hall.enter(10)
    answered.deadline = None
    hall.visitors.end_overdue(time.monotonic() + 1000)
    assert not answered.aborted
    hall.visitors.left(answered)
    assert not hall.visitors.closed


def test_a_peer_that_leaves_before_its_request_is_counted() -> None:
    hall = Hall()
    hall.visitors.left(hall.enter(10))
    assert hall.visitors.closed == {"client": 1}


def test_where_descriptors_are_short_those_that_owed_their_head_longest_go() -> None:
    hall = Hall()
    old = [hall.enter(10 + number) for number in range(16)]
    for number, peer in enumerate(old):
        peer.deadline = float(number)
    old[0].deadline = None  # its head is there
    newcomer = hall.enter(SHORT)
    assert [number for number, peer in enumerate(old) if peer.aborted] == [1, 2, 3]
    assert not newcomer.aborted
    assert hall.visitors.short_of_descriptors
    hall.enter(10)
    assert not hall.visitors.short_of_descriptors


@pytest.mark.parametrize(("fd", "closed"), [(SHORT, False), (LIMIT - LAST_DESCRIPTORS, True)])
def test_where_nobody_can_make_room_the_last_descriptors_are_kept_free(fd: int, closed: bool) -> None:
    hall = Hall()
    busy = hall.enter(10)
    busy.deadline = None
    newcomer = hall.enter(fd)
    assert newcomer.aborted is closed
    assert not busy.aborted


def test_without_a_limit_of_open_files_nobody_goes() -> None:
    hall = Hall(limit=0)
    assert not [peer for peer in [hall.enter(10**6), hall.enter(10**7)] if peer.aborted]
    assert not hall.visitors.short_of_descriptors
