"""A NATS client that says nothing but bytes: what no library would send, any publisher can."""

import asyncio
import json
from typing import Any

CONNECT = {"verbose": False, "pedantic": False, "headers": True, "no_responders": True, "lang": "raw", "version": "0"}


class RawNats:
    """One connection that publishes whatever it is told to, and tells what the server had against it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.errors: list[bytes] = []

    @classmethod
    async def connect(cls, port: int) -> "RawNats":
        self = cls(*await asyncio.open_connection("127.0.0.1", port))
        await self._reader.readline()  # INFO
        self._writer.write(b"CONNECT %b\r\n" % json.dumps(CONNECT).encode())
        await self.flush()
        return self

    def publish(self, subject: bytes, payload: bytes = b"", headers: bytes | None = None) -> None:
        """headers: the block as it stands on the wire, version line included."""
        if headers is None:
            self._writer.write(b"PUB %b %d\r\n%b\r\n" % (subject, len(payload), payload))
        else:
            size = len(headers)
            total = size + len(payload)
            self._writer.write(b"HPUB %b %d %d\r\n%b%b\r\n" % (subject, size, total, headers, payload))

    async def flush(self) -> None:
        """Waits until the server has taken everything."""
        self._writer.write(b"PING\r\n")
        while (line := await self._reader.readline()) != b"PONG\r\n":
            assert line, f"the server hung up: {self.errors}"
            if line == b"PING\r\n":
                self._writer.write(b"PONG\r\n")
            elif line.startswith(b"-ERR"):
                self.errors.append(line)

    async def request(self, subject: str, body: Any = None) -> Any:
        """Asks JetStream's API."""
        self._writer.write(b"SUB answers 1\r\n")
        payload = b"" if body is None else json.dumps(body).encode()
        self._writer.write(b"PUB %b answers %d\r\n%b\r\n" % (subject.encode(), len(payload), payload))
        line = await self._reader.readline()
        while not line.startswith(b"MSG answers"):
            line = await self._reader.readline()
        answer = await self._reader.readexactly(int(line.split()[-1]) + 2)
        self._writer.write(b"UNSUB 1\r\n")
        return json.loads(answer)

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()
