"""Writing to many real sockets, by both ways, on one thread and on several."""

import contextlib
import os
import socket
from collections.abc import Iterator

import pytest

from ssecast import sockets
from ssecast.aio import SLICE, AioWriter
from ssecast.settings import Settings
from ssecast.sockets import Flusher, LoopWriter, bind, bound_streams

COUNT = 700


@pytest.fixture(params=["aio", "loop"])
def flusher(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flusher]:
    if request.param == "loop":
        monkeypatch.setattr(sockets, "_writers", lambda count: [LoopWriter() for _ in range(count)])
    flusher = Flusher(2)
    if flusher.by_aio is not (request.param == "aio"):
        flusher.close()
        pytest.skip("the kernel grants no AIO (fs.aio-max-nr, or a seccomp profile)")
    yield flusher
    flusher.close()


@pytest.fixture
def pairs() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    pairs = [socket.socketpair() for _ in range(COUNT)]
    for ours, theirs in pairs:
        ours.setblocking(False)
        theirs.setblocking(False)
    yield pairs
    for ours, theirs in pairs:
        ours.close()
        theirs.close()


def fill(sock: socket.socket) -> None:
    with contextlib.suppress(BlockingIOError):
        while True:
            sock.send(b"x" * 65536)


@pytest.mark.parametrize("count", [1, 20, 499, COUNT])
def test_every_socket_gets_the_bytes_once(
    flusher: Flusher, pairs: list[tuple[socket.socket, socket.socket]], count: int
) -> None:
    assert flusher.write_many([ours.fileno() for ours, _ in pairs[:count]], b"hello") == []
    assert all(theirs.recv(100) == b"hello" for _, theirs in pairs[:count])
    with pytest.raises(BlockingIOError):
        pairs[0][1].recv(100)


def test_a_full_socket_is_reported_with_what_it_took_and_holds_up_nobody(
    flusher: Flusher, pairs: list[tuple[socket.socket, socket.socket]]
) -> None:
    full, partly = pairs[3][0], pairs[COUNT - 3]
    fill(full)
    partly[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    wire = b"y" * 50_000
    rest = dict(flusher.write_many([ours.fileno() for ours, _ in pairs], wire))
    assert rest[full.fileno()] == 0
    assert 0 < rest[partly[0].fileno()] < len(wire)
    assert len(partly[1].recv(100_000)) == rest[partly[0].fileno()]
    assert all(theirs.recv(100_000) == wire for ours, theirs in pairs if ours.fileno() not in rest)


def test_a_peer_that_is_gone_is_passed_over(flusher: Flusher, pairs: list[tuple[socket.socket, socket.socket]]) -> None:
    pairs[5][1].close()
    pairs[COUNT - 5][1].close()
    assert flusher.write_many([ours.fileno() for ours, _ in pairs], b"hello") == []
    left = [theirs for _, theirs in pairs if theirs.fileno() >= 0]
    assert len(left) == COUNT - 2
    assert all(theirs.recv(100) == b"hello" for theirs in left)


@pytest.mark.parametrize("at", [0, 1, 17, COUNT - 1])
def test_a_descriptor_that_is_closed_keeps_nobody_else_from_the_bytes(
    flusher: Flusher, pairs: list[tuple[socket.socket, socket.socket]], at: int
) -> None:
    closed = os.dup(0)
    os.close(closed)
    fds = [ours.fileno() for ours, _ in pairs]
    fds[at] = closed
    assert flusher.write_many(fds, b"hello") == []
    assert all(theirs.recv(100) == b"hello" for n, (_, theirs) in enumerate(pairs) if n != at)


def test_one_call_may_be_for_more_sockets_than_the_tables_hold(
    pairs: list[tuple[socket.socket, socket.socket]],
) -> None:
    writer = AioWriter()
    fds = [ours.fileno() for ours, _ in pairs]
    rest: list[tuple[int, int]] = []
    writer.write_all((fds * 2)[: SLICE + 100], b"hi", rest)
    writer.close()
    assert rest == []
    assert pairs[0][1].recv(100) == b"hihi"
    assert pairs[COUNT - 1][1].recv(100) == b"hi"


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux has all of these options")
def test_what_is_set_on_the_listener_holds_for_every_connection() -> None:
    """Within a minute of the last heartbeat that was answered, whoever is dead is gone."""
    [listener] = bind("127.0.0.1", 0, 10)
    assert bound_streams(listener, 128 * 1024) == []
    with listener, socket.create_connection(listener.getsockname()):
        listener.setblocking(True)
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 128 * 1024
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            user_timeout = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) / 1000
            assert Settings.model_fields["stall_seconds"].default < user_timeout, "or the kernel would come first"
            assert Settings.model_fields["heartbeat_seconds"].default + user_timeout < 60
            idle, every, count = (
                accepted.getsockopt(socket.IPPROTO_TCP, option)
                for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
            )
            assert idle + every * count <= user_timeout, "on Linux asked before that, elsewhere given up by then"
