"""frame.py: bytes on the wire, one by one; tests/properties has the rules for any input."""

import json

import pytest

from ssecast.frame import (
    MAX_NAME,
    Event,
    Format,
    Frame,
    Position,
    Refusal,
    chunked,
    gap_block,
    position_block,
    refusal,
    retry_block,
    rfc3339,
    wire_of,
)


def test_an_event_is_id_then_data() -> None:
    assert Frame(Event("a.b", 7, b"hello"), "ep").wire == b"id: ep-7\ndata: hello\n\n"


def test_a_name_stands_between_id_and_data() -> None:
    assert Frame(Event("a.b", 7, b"x", "price"), "ep").wire == b"id: ep-7\nevent: price\ndata: x\n\n"


@pytest.mark.parametrize("data", [b"a\nb", b"a\rb", b"a\r\nb"])
def test_each_line_gets_its_own_field_whatever_ended_it(data: bytes) -> None:
    assert Frame(Event("s", 1, data), "e").wire == b"id: e-1\ndata: a\ndata: b\n\n"


def test_an_empty_payload_is_still_an_event() -> None:
    assert Frame(Event("s", 1, b""), "e").wire == b"id: e-1\ndata: \n\n"


def test_the_json_form_wraps_the_payload_and_is_built_once() -> None:
    frame = Frame(Event("a.é", 2, 'ü"\n'.encode(), "n", 1_700_000_000_123_456_789), "e")
    head, _, data = frame.json_wire.partition(b"data: ")
    assert head == b"id: e-2\nevent: n\n"
    assert json.loads(data) == {"subject": "a.é", "time": "2023-11-14T22:13:20.123456Z", "data": 'ü"\n'}
    assert frame.json_wire is frame.json_wire
    assert wire_of[Format.JSON](frame) is frame.json_wire
    assert wire_of[Format.DATA](frame) is frame.wire


@pytest.mark.parametrize(("data", "kept"), [(b"x" * 10_000, True), (b'"' * 10_000, True), (b"\x01" * 10_000, False)])
def test_a_json_form_many_times_as_long_as_the_event_is_not_kept(data: bytes, kept: bool) -> None:
    """The log counts the plain form; control characters take six bytes each in JSON."""
    frame = Frame(Event("s", 1, data), "e")
    assert json.loads(frame.json_wire.partition(b"data: ")[2])["data"].encode() == data
    assert (frame.json_wire is frame.json_wire) is kept


def test_times_keep_their_microseconds_and_say_utc() -> None:
    assert rfc3339(0) == "1970-01-01T00:00:00.000000Z"
    assert rfc3339(1_000_000_999) == "1970-01-01T00:00:01.000000Z"


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("e1-0", Position("e1", 0)),
        ("abc-18", Position("abc", 18)),
        ("e1-01", None),
        ("e1--1", None),
        ("E1-1", None),
        ("e1-1\n", None),
        ("e1", None),
        ("", None),
        ("e1-١", None),
        ("e" * 41 + "-1", None),
        ("e-" + "9" * 20, None),
    ],
)
def test_only_what_we_wrote_is_read_as_a_position(text: str, position: Position | None) -> None:
    assert Position.parse(text) == position


def test_a_payload_is_refused_by_its_size_and_its_encoding() -> None:
    assert refusal(b"x" * 10, None, 10) is None
    assert refusal(b"x" * 11, None, 10) is Refusal.TOO_LARGE
    assert refusal("é".encode(), None, 10) is None
    assert refusal(b"\xff", None, 10) is Refusal.NOT_UTF8


@pytest.mark.parametrize("name", ["gap", "position", "open", "message", "error", "a\nid: 1", "a\0", "\u2028", "\ud800"])
def test_a_name_that_forges_or_breaks_something_is_refused(name: str) -> None:
    assert refusal(b"", name, 10) is Refusal.RESERVED_NAME


def test_names_are_bounded_and_free_otherwise() -> None:
    assert refusal(b"", "n" * MAX_NAME, 10) is None
    assert refusal(b"", "n" * (MAX_NAME + 1), 10) is Refusal.RESERVED_NAME
    assert refusal(b"", "Gap", 10) is None
    assert refusal(b"", "", 10) is None


def test_control_blocks_are_what_the_engines_need() -> None:
    """A position has a name and empty data: Firefox and WebKit ignore an id in a block without data."""
    at = Position("e", 5)
    assert retry_block(2500) == b"retry: 2500\n\n"
    assert position_block(at) == b"event: position\nid: e-5\ndata:\n\n"
    gap = gap_block("x" * 100, Position("e", 3), at, "epoch")
    head, _, data = gap.partition(b"data: ")
    assert head == b"event: gap\nid: e-5\n"
    assert json.loads(data) == {"requested": "x" * 64, "oldest": "e-3", "next": "e-5", "reason": "epoch"}


def test_a_requested_position_cannot_break_out_of_its_gap() -> None:
    gap = gap_block("\r\n\r\ndata: forged", Position("e", 3), Position("e", 5), "unreadable")
    assert gap.count(b"\n") == 4
    assert b"\r" not in gap


def test_chunks_have_their_size_in_hex() -> None:
    assert chunked(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"
