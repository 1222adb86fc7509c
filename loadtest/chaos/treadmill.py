"""The same streams over and over at a pod that has nothing else to do any more: what it holds more afterwards is a leak.

While faults happen memory says little: a pod keeps the highest that it ever needed, and each accident may need more than
those before. Here every round needs the same.
"""

import asyncio
import re

from loadtest.chaos.pods import Pod

STREAMS, ROUNDS = 400, 24
WARM_ROUNDS = 6
"""The first rounds fill up what is kept for the next ones."""

FIRST_BLOCK_SECONDS, END_SECONDS = 20.0, 10.0
POSITION = re.compile(rb"event: position\r?\nid: (\S+)")


async def tread(pod: Pod) -> list[int]:
    """Bytes of the pod after each round but the first ones. Raises OSError where it takes no stream, or does not let go of one."""
    position, weights = b"", list[int]()
    for _ in range(ROUNDS):
        position = await _round(pod.port, position)
        weights.append(await _at_rest(pod))
    return weights[WARM_ROUNDS:]


async def _round(port: int, position: bytes) -> bytes:
    """Opens the streams, of which every second one resumes, and closes them; returns a position that they were given."""
    writers: list[asyncio.StreamWriter] = []
    try:
        opening = (_open(port, position if number % 2 else b"", writers) for number in range(STREAMS))
        positions = await asyncio.gather(*opening, return_exceptions=True)
    finally:
        for writer in writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)
    for each in positions:
        if isinstance(each, BaseException):
            raise each
        position = each
    return position


async def _open(port: int, position: bytes, writers: list[asyncio.StreamWriter]) -> bytes:
    """Opens a stream; returns the position in its first block."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writers.append(writer)
    resume = b"last-event-id: %b\r\n" % position if position else b""
    writer.write(b"GET /events HTTP/1.1\r\nhost: pod\r\naccept: text/event-stream\r\n%b\r\n" % resume)
    said = b""
    async with asyncio.timeout(FIRST_BLOCK_SECONDS):  # its TimeoutError is an OSError
        while (found := POSITION.search(said)) is None:
            piece = await reader.read(4096)
            if not piece:
                raise ConnectionError(f"a stream ended before its first position: {said[-200:]!r}")
            said += piece
    return found[1]


async def _at_rest(pod: Pod) -> int:
    async with asyncio.timeout(END_SECONDS):
        while True:
            streams, rss, _ = await pod.weigh()
            if not streams:
                return rss
