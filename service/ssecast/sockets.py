"""Writing the same bytes to many descriptors, on several cores where the pod has them, and the options of the listener.

The interpreter's lock is given up while the kernel works, and the kernel's share is nearly all of a broadcast.
"""

import os
import socket
import threading
from collections.abc import Sequence
from queue import SimpleQueue

from ssecast.aio import AioWriter, Rest

ALONE_BELOW = 500
"""Descriptors under which one thread is faster than the hand-over to others; measured."""

LOOP_BELOW = 200
"""Descriptors under which a loop is as fast as AIO: 128 take it 83 us against 98, 250 take it 751 against 601 (loopback)."""

USER_TIMEOUT_SECONDS = 40.0
"""How long the kernel waits for an answer to what was sent. A peer that vanished is written to after a heartbeat (15 s) at
the latest: within a minute it is gone.

With this option set, a peer that answers every probe but makes no room ends then too (tcp_probe_timer in the kernel counts
from when its window closed; RFC 1122 alone would keep it for ever): longer than this, nobody can read nothing, whatever
SSECAST_STALL_SECONDS says. It is longer than the default of that one, so that the pod's own reason comes first."""

KEEPALIVE = {"TCP_KEEPIDLE": 20, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 2}
"""For streams to which nothing is sent. On Linux the user timeout decides when it is enough, and takes the count's place."""


def write_all(fds: Sequence[int], wire: bytes, rest: Rest) -> None:
    """Writes wire to each descriptor; appends (descriptor, bytes written) where not all of it was taken.

    A descriptor whose peer is gone is passed over: the loop sees the same error and closes the stream.
    """
    write, size = os.write, len(wire)
    for fd in fds:
        try:
            done = write(fd, wire)
        except BlockingIOError:
            done = 0
        except OSError:
            continue
        if done != size:
            rest.append((fd, done))


class Flusher:
    """Splits a write over `threads` threads, the caller's own among them.

    The caller stands still until every helper is through: no stream can be closed, and so no descriptor be used again,
    in between. Helpers touch nothing but descriptors.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._writers = _writers(threads)
        self._jobs: SimpleQueue[tuple[Sequence[int], bytes, Rest] | None] = SimpleQueue()
        self._done: SimpleQueue[None] = SimpleQueue()
        self._helpers = [
            threading.Thread(target=self._help, args=[writer], name="flush", daemon=True)
            for writer in self._writers[1:]
        ]
        for helper in self._helpers:
            helper.start()

    @property
    def by_aio(self) -> bool:
        return isinstance(self._writers[0], AioWriter)

    def write_many(self, fds: list[int], wire: bytes) -> Rest:
        """Writes wire to all descriptors; returns (descriptor, bytes written) for those that did not take all of it."""
        rest: Rest = []
        if len(fds) < LOOP_BELOW:
            write_all(fds, wire, rest)
            return rest
        first = self._writers[0]
        if self.threads == 1 or len(fds) < ALONE_BELOW:
            first.write_all(fds, wire, rest)
            return rest
        share = -(-len(fds) // self.threads)
        others = range(share, len(fds), share)
        for at in others:
            self._jobs.put((fds[at : at + share], wire, rest))
        try:
            first.write_all(fds[:share], wire, rest)
        finally:
            for _ in others:
                self._done.get()
        return rest

    def close(self) -> None:
        for _ in self._helpers:
            self._jobs.put(None)
        for helper in self._helpers:
            helper.join()
        for writer in self._writers:
            writer.close()

    def _help(self, writer: "AioWriter | LoopWriter") -> None:
        while (job := self._jobs.get()) is not None:
            try:
                writer.write_all(*job)
            finally:
                self._done.put(None)


class LoopWriter:
    """Writes descriptor by descriptor, where the kernel grants no AIO."""

    def write_all(self, fds: Sequence[int], wire: bytes, rest: Rest) -> None:
        write_all(fds, wire, rest)

    def close(self) -> None:
        """Holds nothing."""


def _writers(count: int) -> "list[AioWriter] | list[LoopWriter]":
    """One per thread, all of one kind."""
    try:
        return [AioWriter() for _ in range(count)]
    except OSError:  # contexts that were made are given back with their objects
        return [LoopWriter() for _ in range(count)]


def bind(host: str, port: int, backlog: int, queues: int = 1) -> list[socket.socket]:
    """Listening sockets, each with an accept queue of its own; the kernel spreads new connections over them.

    One queue is as long as net.core.somaxconn allows, whatever the backlog says; when it is full, clients try again
    after a second, and in a reconnect storm after several. Raises OSError where the address is taken or not ours.
    """
    if queues == 1:
        return [_listen(host, port, backlog, shared=False)]
    # With SO_REUSEPORT a second pod could listen beside this one unnoticed: the address must be free for one alone.
    _listen(host, port, backlog, shared=False).close()
    return [_listen(host, port, backlog, shared=True) for _ in range(queues)]


def _listen(host: str, port: int, backlog: int, *, shared: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((host, port))
        sock.listen(backlog)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def bound_streams(listener: socket.socket, client_buffer_bytes: int) -> list[str]:
    """Bounds what the kernel holds for a client, and how long it waits for a dead one.

    Set on the listener, for Linux hands these options on to the sockets it accepts: no system call per stream.
    Returns the names of the options that this platform lacks.
    """
    # The kernel doubles the value for its own bookkeeping; set, it no longer tunes itself to megabytes.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, max(client_buffer_bytes // 2, 4096))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    missing = []
    for name, value in (KEEPALIVE | {"TCP_USER_TIMEOUT": round(1000 * USER_TIMEOUT_SECONDS)}).items():
        option = getattr(socket, name, None)
        if option is None:
            missing.append(name)
        else:
            listener.setsockopt(socket.IPPROTO_TCP, option, value)
    return missing
