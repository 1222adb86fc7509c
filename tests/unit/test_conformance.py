"""The cases of web-platform-tests `eventsource/` that concern what a server writes.

WIRE holds our parser to them: it must read these streams as a browser does, or it proves nothing about the encoder.
TEXTS turns them inside out: whatever they do to a stream, a payload may contain it, and it must arrive as it was.
"""

import collections
import json
from typing import NamedTuple

import pytest

from ssecast.frame import (
    COMMENT,
    LAST_CHUNK,
    Event,
    Format,
    Frame,
    Position,
    chunked,
    gap_block,
    position_block,
    refusal,
    retry_block,
    wire_of,
)
from tests.sse_parser import ChunkedDecoder, EventStreamParser, Message


class Case(NamedTuple):
    """A test of WPT: the stream, and the events that a page must see (name, data)."""

    name: str
    stream: str
    seen: list[tuple[str, str]]
    last_id: str = ""
    retry: int | None = None


LONG = "x" * 2000

WIRE = [
    Case("event-data", "data:msg\ndata: msg\n\n:\nfalsefield:msg\n\nfalsefield:msg\nData:data\n\ndata\n\ndata:end\n\n",
         [("message", "msg\nmsg"), ("message", ""), ("message", "end")]),
    Case("format-bom", "\ufeffdata:1\n\n\ufeffdata:2\n\ndata:3\n\n", [("message", "1"), ("message", "3")]),
    Case("format-bom-2", "\ufeff\ufeffdata:1\n\ndata:2\n\ndata:3\n\n", [("message", "2"), ("message", "3")]),
    Case("format-comments", f"data:1\r:\0\n:\r\ndata:2\n:{LONG}\rdata:3\n:data:fail\r:{LONG}\ndata:4\n\n",
         [("message", "1\n2\n3\n4")]),
    Case("format-data-before-final-empty-line", "data:test1\n\nretry:1000\nid:test\ndata:test2", [("message", "test1")],
         retry=1000),
    Case("format-field-data", "data:\n\ndata\ndata\n\ndata:test\n\n", [("message", ""), ("message", "\n"), ("message", "test")]),
    Case("format-field-event", "event:test\ndata:x\n\ndata:x\n\n", [("test", "x"), ("message", "x")]),
    Case("format-field-event-empty", "event: \ndata:data\n\n", [("message", "data")]),
    Case("format-field-id", "id:…\ndata:1\n\n", [("message", "1")], last_id="…"),
    Case("format-field-id-2", "id:a\ndata:1\n\ndata:2\n\n", [("message", "1"), ("message", "2")], last_id="a"),
    Case("format-field-id-3, an empty id resets", "id:a\ndata:1\n\nid\ndata:2\n\n", [("message", "1"), ("message", "2")]),
    Case("format-field-id-null", "id:a\ndata:0\n\nid:\0x\ndata:1\n\nid:x\0x\ndata:2\n\nid: \0\ndata:3\n\n",
         [("message", each) for each in "0123"], last_id="a"),
    Case("format-field-parsing",
         "data:\0\ndata:  2\rData:1\ndata\0:2\ndata:1\r\0data:4\nda-ta:3\rdata_5\ndata:3\rdata:\r\n data:32\ndata:4\n\n",
         [("message", "\0\n 2\n1\n3\n\n4")]),
    Case("format-field-retry", "retry:03000\ndata:x\n\n", [("message", "x")], retry=3000),
    Case("format-field-retry-bogus", "retry:3000\nretry:1000x\ndata:x\n\n", [("message", "x")], retry=3000),
    Case("format-field-retry-empty", "retry\ndata:test\n\n", [("message", "test")]),
    Case("retry counts without a blank line, digits are ASCII", "retry:7\nretry:-1\nretry:١\nretry: 8\n", [], retry=8),
    Case("format-field-unknown", "data:test\n data\ndata\nfoobar:xxx\njustsometext\n:thisisacommentyay\ndata:test\n\n",
         [("message", "test\n\ntest")]),
    Case("format-leading-space", "data:\ttest\rdata: \ndata:test\n\n", [("message", "\ttest\n\ntest")]),
    Case("format-newlines", "data:test\r\ndata\ndata:test\r\n\r", [("message", "test\n\ntest")]),
    Case("format-null-character", "data:\0\n\n\n\n", [("message", "\0")]),
    Case("format-utf-8", "data:ok…\n\n", [("message", "ok…")]),
    Case("field-name-event", "event: message\ndata: data\n\nevent: Custom\ndata:\n\n", [("message", "data"), ("Custom", "")]),
    Case("only CR, LF and CRLF end a line", "data:a\u2028b\x85c\vd\fe\n\n", [("message", "a\u2028b\x85c\vd\fe")]),
    Case("an id without data is kept but nothing is dispatched", "id:7\n\n", [], last_id="7"),
]  # fmt: skip

TEXTS = [case.stream for case in WIRE]


def read(wire: bytes, piece: int) -> tuple[list[Message], EventStreamParser]:
    parser = EventStreamParser()
    return [m for at in range(0, len(wire), piece) for m in parser.feed(wire[at : at + piece])], parser


def unified(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


@pytest.mark.parametrize("piece", [1, 2, 3, 10_000])
@pytest.mark.parametrize("case", WIRE, ids=lambda case: case.name)
def test_the_parser_reads_a_stream_as_a_browser_does(case: Case, piece: int) -> None:
    messages, parser = read(case.stream.encode(), piece)
    assert [(message.name, message.data) for message in messages] == case.seen
    assert (parser.last_id, parser.retry) == (case.last_id, case.retry)


@pytest.mark.parametrize("form", Format)
@pytest.mark.parametrize("text", TEXTS, ids=[case.name for case in WIRE])
def test_a_payload_that_looks_like_a_stream_arrives_as_one_event(text: str, form: Format) -> None:
    """No payload can end its event, change an id, a name or the reconnection time."""
    frame = Frame(Event("events.a", 5, text.encode(), "given"), "e")
    (message, following), parser = read(wire_of[form](frame) + Frame(Event("events.a", 6, b"next"), "e").wire, 7)
    assert following == Message("message", "next", "e-6")
    assert parser.retry is None
    assert (message.name, message.id) == ("given", "e-5")
    data = json.loads(message.data)["data"] if form is Format.JSON else message.data
    assert data == unified(text)


@pytest.mark.parametrize("text", TEXTS, ids=[case.name for case in WIRE])
def test_a_name_that_looks_like_a_stream_is_refused(text: str) -> None:
    assert refusal(b"", text, 10_000) is not None


def test_what_the_encoder_writes_never_begins_with_a_byte_order_mark() -> None:
    """The client would strip it: a stream begins with a field, so that a payload's own mark arrives."""
    (message,), _ = read(Frame(Event("s", 1, "\ufefftext".encode()), "e").wire, 1)
    assert message.data == "\ufefftext"


def test_control_blocks_are_read_as_meant_and_never_reach_onmessage() -> None:
    at, following = Position("e", 4), Position("e", 9)
    wire = retry_block(2500) + position_block(at) + COMMENT + gap_block("x-1", at, following, "epoch")
    messages, parser = read(wire, 1)
    assert [(message.name, message.id) for message in messages] == [("position", "e-4"), ("gap", "e-9")]
    assert (parser.ids, parser.retry, parser.comments, parser.dataless_ids) == (["e-4", "e-9"], 2500, 1, [])
    assert parser.idle


def test_every_block_is_whole_so_that_nothing_is_lost_at_the_end() -> None:
    for block in (retry_block(1), position_block(Position("e", 1)), COMMENT, Frame(Event("s", 1, b""), "e").wire):
        _, parser = read(block, 1)
        assert parser.idle


def test_the_parser_is_strict_about_utf_8() -> None:
    with pytest.raises(UnicodeDecodeError):
        read(b"data: \xff\n\n", 1)


def test_the_parser_tells_when_something_is_pending() -> None:
    for open_end in (b"data: x\n", b"id: 1\n", b"event: x\n", b"dat", b"data: \xe2\x80"):
        assert not read(open_end, 100)[1].idle
    assert read(b"id: 1\n\n", 1)[1].dataless_ids == ["1"]


@pytest.mark.parametrize("piece", [1, 2, 5, 100])
def test_the_chunk_decoder_reads_chunks_in_pieces(piece: int) -> None:
    wire = chunked(b"a" * 300) + chunked(b"\r\n") + LAST_CHUNK
    decoder = ChunkedDecoder()
    content = b"".join(decoder.feed(wire[at : at + piece]) for at in range(0, len(wire), piece))
    assert content == b"a" * 300 + b"\r\n"
    assert decoder.ended
    assert decoder.idle


@pytest.mark.parametrize(
    "wire",
    [
        b"x\r\n",
        b"\r\n",
        b"-1\r\n",
        b"1\r\nab\r\n",
        b"0\r\n\r\n0",
        b"1;a=b\r\n",
        b" 1\r\n",
        b"123456789",
        b"0\r\na: b\r\n\r\n",
    ],
)
def test_the_chunk_decoder_refuses_what_is_no_chunk(wire: bytes) -> None:
    decoder = ChunkedDecoder()
    with pytest.raises(ValueError, match=r"chunk|last"):
        collections.deque(decoder.feed(bytes([byte])) for byte in wire)


def test_the_chunk_decoder_stands_between_chunks_or_not() -> None:
    decoder = ChunkedDecoder()
    decoder.feed(b"2\r\na")
    assert not decoder.idle
    decoder.feed(b"b\r\n")
    assert decoder.idle
