"""One system call that writes the same bytes to many sockets: Linux AIO (io_submit), by ctypes.

A loop of os.write costs each socket a turn of the interpreter and a hand-over of its lock, and threads that do it stand
in each other's way. Here the kernel does the loop, with the lock given up once. On a socket io_submit writes at once:
what the socket does not take it does not wait for. See io_submit(2), and struct iocb in linux/aio_abi.h.
"""

import ctypes
import errno
import os
import platform
import sys
from array import array
from collections.abc import Sequence

SLICE = 1024
"""Sockets per system call: bounds the tables, and the share of the node's fs.aio-max-nr."""

IOCB_CMD_PWRITE = 1
IOCB_WORDS, EVENT_WORDS = 8, 4
"""Sizes of struct iocb and struct io_event in words of 64 bits."""

OPCODE, DESCRIPTOR = 4, 5
"""Where these stand in struct iocb, in words of 32 bits."""

CALLS = {"x86_64": (206, 207, 208, 209), "aarch64": (0, 1, 4, 2)}
"""Numbers of io_setup, io_destroy, io_getevents and io_submit."""

Rest = list[tuple[int, int]]


class AioWriter:
    """Tables and a kernel context for writes of one thread at a time. Raises OSError where the kernel grants none."""

    def __init__(self) -> None:
        calls = CALLS.get(platform.machine())
        if sys.platform != "linux" or sys.byteorder != "little" or calls is None:
            raise OSError(errno.ENOSYS, "no Linux AIO on this platform")
        self._setup, self._destroy, self._get_events, self._submit = calls
        self._syscall = ctypes.CDLL(None, use_errno=True).syscall
        self._syscall.restype = ctypes.c_long
        self._context = ctypes.c_ulong(0)
        if self._syscall(self._setup, ctypes.c_uint(SLICE), ctypes.byref(self._context)) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        self._iocbs = array("Q", bytes(8 * IOCB_WORDS * SLICE))
        self._words = memoryview(self._iocbs).cast("B").cast("I")
        self._words[OPCODE :: 2 * IOCB_WORDS] = array("I", [IOCB_CMD_PWRITE]) * SLICE
        first = self._iocbs.buffer_info()[0]
        self._pointers = array("Q", range(first, first + 8 * IOCB_WORDS * SLICE, 8 * IOCB_WORDS))
        self._events = array("q", bytes(8 * EVENT_WORDS * SLICE))

    def close(self) -> None:
        if self._context.value:
            self._syscall(self._destroy, self._context)
            self._context.value = 0

    def __del__(self) -> None:
        if hasattr(self, "_context"):
            self.close()

    def write_all(self, fds: Sequence[int], wire: bytes, rest: Rest) -> None:
        """Writes wire to each descriptor; appends (descriptor, bytes written) where not all of it was taken.

        A descriptor whose peer is gone is passed over. Raises OSError where the kernel refuses the call itself.
        """
        for at in range(0, len(fds), SLICE):
            part = fds[at : at + SLICE]
            self._fill(part, wire)
            start = 0
            while start < len(part):
                start += self._write(start, len(part) - start, len(wire), rest)

    def _fill(self, fds: Sequence[int], wire: bytes) -> None:
        """struct iocb: 0 data (comes back with the result), 2 opcode and descriptor, 3 address, 4 length.

        The upper half of the data stays 0, and so does what stands beside the opcode, which stands from the beginning.
        """
        count, end = len(fds), IOCB_WORDS * len(fds)
        address = ctypes.cast(ctypes.c_char_p(wire), ctypes.c_void_p).value
        iocbs, words, numbers = self._iocbs, self._words, array("I", fds)
        words[0 : 2 * end : 2 * IOCB_WORDS] = numbers
        words[DESCRIPTOR : 2 * end : 2 * IOCB_WORDS] = numbers
        iocbs[3:end:IOCB_WORDS] = array("Q", [address or 0]) * count
        iocbs[4:end:IOCB_WORDS] = array("Q", [len(wire)]) * count

    def _write(self, start: int, count: int, size: int, rest: Rest) -> int:
        """Submits the iocbs from start on, as many as the kernel takes at once; returns how many are done with."""
        pointers = ctypes.c_void_p(self._pointers.buffer_info()[0] + 8 * start)
        done = self._syscall(self._submit, self._context, ctypes.c_long(count), pointers)
        if done < 0:
            wrong = ctypes.get_errno()
            if wrong == errno.EBADF:  # the first one: its peer is gone, and so is the descriptor
                return 1
            raise OSError(wrong, os.strerror(wrong))
        self._collect(done, size, rest)
        return int(done)

    def _collect(self, count: int, size: int, rest: Rest) -> None:
        """struct io_event: 0 data, 2 bytes written or a negative errno."""
        events = self._events
        got = 0
        while got < count:
            table = ctypes.c_void_p(events.buffer_info()[0] + 8 * EVENT_WORDS * got)
            left = ctypes.c_long(count - got)
            got += max(0, self._syscall(self._get_events, self._context, left, left, table, None))
        results = events[2 : EVENT_WORDS * count : EVENT_WORDS]
        if results.count(size) == count:
            return
        for fd, result in zip(events[0 : EVENT_WORDS * count : EVENT_WORDS], results, strict=True):
            if 0 <= result < size:
                rest.append((fd, result))
            elif result == -errno.EAGAIN:
                rest.append((fd, 0))
