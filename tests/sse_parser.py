"""An independent, strict reader of event streams: chunked transfer coding (RFC 9112, 7.1) and the HTML standard, 9.2.6.

It knows nothing of ssecast. Where a browser would be lenient about what no server should write (bytes that are not
UTF-8, a malformed chunk), it raises. It works on decoded characters one by one: slow, and close to the standard's text.
"""

import codecs
from typing import NamedTuple

BOM = "\ufeff"


class Message(NamedTuple):
    """An event as a page sees it. name: its type, `message` where the stream named none; id: lastEventId."""

    name: str
    data: str
    id: str


class EventStreamParser:
    """Reads a stream in pieces of any size.

    last_id: what a reconnect would send as Last-Event-ID. ids: every value that last_id was given, in order.
    retry: the reconnection time in milliseconds, None before the first; retries: all of them.
    dataless_ids: ids in blocks without `data`; the standard keeps them, Firefox and WebKit do not.
    """

    def __init__(self) -> None:
        self.last_id = ""
        self.ids: list[str] = []
        self.dataless_ids: list[str] = []
        self.retries: list[int] = []
        self.comments = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("strict")
        self._at_start = True
        self._after_cr = False
        self._line: list[str] = []
        self._name = self._id = ""
        self._id_seen = False
        self._data: list[str] = []

    @property
    def retry(self) -> int | None:
        return self.retries[-1] if self.retries else None

    @property
    def idle(self) -> bool:
        """Whether nothing was read since the last blank line: what is open at the end of a stream is lost."""
        return not (self._line or self._data or self._name or self._id_seen or self._decoder.getstate()[0])

    def feed(self, data: bytes) -> list[Message]:
        """The events that are complete now. Raises UnicodeDecodeError where the bytes are not UTF-8."""
        messages: list[Message] = []
        for char in self._decoder.decode(data):
            if self._at_start:
                self._at_start = False
                if char == BOM:
                    continue
            after_cr, self._after_cr = self._after_cr, char == "\r"
            if char == "\n" and after_cr:
                continue
            if char in ("\r", "\n"):
                self._end_line(messages)
            else:
                self._line.append(char)
        return messages

    def _end_line(self, messages: list[Message]) -> None:
        line, self._line = "".join(self._line), []
        if not line:
            self._dispatch(messages)
            return
        name, colon, value = line.partition(":")
        if colon and not name:
            self.comments += 1
            return
        self._field(name, value[1:] if value[:1] == " " else value)

    def _field(self, name: str, value: str) -> None:
        if name == "event":
            self._name = value
        elif name == "data":
            self._data.append(value)
        elif name == "id" and "\0" not in value:
            self._id, self._id_seen = value, True
        elif name == "retry" and value and all(char in "0123456789" for char in value):
            self.retries.append(int(value))

    def _dispatch(self, messages: list[Message]) -> None:
        if self._id_seen:
            self.last_id = self._id
            self.ids.append(self._id)
            if not self._data:
                self.dataless_ids.append(self._id)
        if self._data:
            messages.append(Message(self._name or "message", "\n".join(self._data), self.last_id))
        self._name, self._data, self._id_seen = "", [], False


class ChunkedDecoder:
    """Undoes chunked transfer coding as a server without extensions and trailers should write it; raises ValueError."""

    def __init__(self) -> None:
        self.ended = False
        self._waiting = b""
        self._left: int | None = None
        self._is_last = False

    @property
    def idle(self) -> bool:
        """Whether the stream stands between two chunks."""
        return not self._waiting and self._left is None

    def feed(self, data: bytes) -> bytes:
        """The content that has come, whole chunks or not."""
        self._waiting += data
        content = b""
        while True:
            if self.ended and self._waiting:
                raise ValueError(f"bytes after the last chunk: {self._waiting[:40]!r}")
            if self._left is None and not self._size():
                return content
            taken = self._take()
            content += taken
            if not taken and not self._end():
                return content

    def _size(self) -> bool:
        line, end, rest = self._waiting.partition(b"\r\n")
        digits = line.removesuffix(b"\r") if not end else line
        if len(digits) > 8 or any(digit not in b"0123456789abcdefABCDEF" for digit in digits) or (end and not digits):
            raise ValueError(f"not a chunk size: {line[:40]!r}")
        if not end:
            return False
        self._left, self._waiting = int(line, 16), rest
        self._is_last = self._left == 0
        return True

    def _take(self) -> bytes:
        assert self._left is not None
        taken, self._waiting = self._waiting[: self._left], self._waiting[self._left :]
        self._left -= len(taken)
        return taken

    def _end(self) -> bool:
        """Takes the line end behind a chunk's content; True where it was there."""
        if self._left:
            return False
        if not b"\r\n".startswith(self._waiting[:2]):
            raise ValueError(f"no line end behind a chunk: {self._waiting[:40]!r}")
        if len(self._waiting) < 2:
            return False
        self._waiting, self._left = self._waiting[2:], None
        self.ended = self._is_last
        return True
