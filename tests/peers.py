"""Raw peers for tests: bytes on sockets, resets, silence, and what the kernel holds for a connection."""

import asyncio
import contextlib
import ctypes
import socket
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

SO_ATTACH_FILTER = 26
"""Linux; Python has no name for it."""

DROP_ALL = struct.pack("HBBI", 0x06, 0, 0, 0)
"""One instruction of classic BPF: of each packet, keep nothing."""

POURS = 500

HEAD = b"Host: x\r\nAccept: text/event-stream\r\nConnection: close\r\n"
BEGUN = b"data:\n\n\r\n"
"""In the first block of a stream: its position."""

STREAM = b"GET /events HTTP/1.1\r\n" + HEAD + b"\r\n"


class Peer:
    """One connection, without a protocol of its own."""

    made: ClassVar[list["Peer"]] = []
    """All peers of the running test: a fixture closes what the test left open."""

    def __init__(self, sock: socket.socket) -> None:
        self.made.append(self)
        self.sock = sock

    @classmethod
    async def connect(cls, port: int, receive_buffer: int = 0) -> "Peer":
        sock = socket.socket()
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        return cls(sock)

    @property
    def port(self) -> int:
        port: int = self.sock.getsockname()[1]
        return port

    async def send(self, *pieces: bytes) -> None:
        """Each in a packet of its own, which the pod has time to read."""
        for piece in pieces:
            await asyncio.get_running_loop().sock_sendall(self.sock, piece)
            if piece is not pieces[-1]:
                await asyncio.sleep(0.05)

    async def pour(self, data: bytes) -> None:
        """Sends it again and again until the other side has had enough."""
        with contextlib.suppress(ConnectionError):
            for _ in range(POURS):
                await self.send(data)
            raise AssertionError(f"{POURS * len(data)} bytes were taken")

    async def read(self, *ends: bytes) -> bytes:
        """What comes until one of the ends is in it, or until that of the connection; a reset is one too."""
        data = b""
        with contextlib.suppress(ConnectionError):
            while piece := await asyncio.get_running_loop().sock_recv(self.sock, 65536):
                data += piece
                if any(end in data for end in ends):
                    break
        return data

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        self.sock.close()

    def vanish(self) -> None:
        """From now on nothing that is sent to it arrives, and nothing is answered: a machine without power."""
        drop_all(self.sock)


def drop_all(sock: socket.socket) -> None:
    """From now on nothing that is sent to it arrives."""
    code = ctypes.create_string_buffer(DROP_ALL)
    program = struct.pack("HxxxxxxP", 1, ctypes.addressof(code))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)


async def exchange(port: int, *pieces: bytes) -> bytes:
    """All that a server says to these bytes."""
    peer = await Peer.connect(port)
    try:
        await peer.send(*pieces)
        return await peer.read()
    finally:
        peer.close()


def in_pieces(request: bytes) -> Iterable[bytes]:
    """A request that the pod cannot answer at sight: its head comes in two parts."""
    return request[:9], request[9:]


def unsent_bytes(port: int) -> dict[int, int]:
    """What the kernel holds for each peer of a port, by the peer's port: sent and not acknowledged, or not sent yet."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    here = [fields for fields in lines if fields[1].endswith(f":{port:04X}")]
    return {int(fields[2].rpartition(":")[2], 16): int(fields[4].partition(":")[0], 16) for fields in here}
