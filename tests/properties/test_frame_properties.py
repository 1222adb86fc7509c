"""What was encoded is what a client reads, whatever the text and however the network cuts it."""

import json
import re
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from ssecast.frame import (
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
    wire_of,
)
from tests.sse_parser import ChunkedDecoder, EventStreamParser, Message

NASTY = [
    "\r",
    "\n",
    "\r\n",
    "\n\r",
    "\0",
    "\u2028",
    "\u2029",
    "\x85",
    "\v",
    "\f",
    "\ufeff",
    " ",
    ":",
    "data: ",
    "id: 1",
    "\U0001f680",
]
texts = st.one_of(st.text(), st.lists(st.one_of(st.sampled_from(NASTY), st.text(max_size=3))).map("".join))
names = st.one_of(st.none(), texts).filter(lambda name: refusal(b"", name, 0) is None)
epochs = st.text("0123456789abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=40)
seqs = st.integers(0, 2**63)
positions = st.builds(Position, epochs, seqs)
events = st.builds(
    Event,
    subject=st.one_of(st.text("abc.é", min_size=1), st.text(min_size=1)),
    seq=seqs,
    data=texts.map(str.encode),
    name=names,
    time_ns=st.integers(0, 253_402_300_799_999_999_999),
)


def cut(data: bytes, at: list[int]) -> list[bytes]:
    """The data in pieces, cut at these places, counted round and round; at every place where there is none of them."""
    edges = [0, *sorted(edge % (len(data) + 1) for edge in at or range(len(data))), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


def read(data: bytes, at: list[int]) -> tuple[list[Message], EventStreamParser]:
    parser = EventStreamParser()
    messages = [message for piece in cut(data, at) for message in parser.feed(piece)]
    assert parser.idle
    assert not parser.dataless_ids
    return messages, parser


def unified(text: str) -> str:
    """Line ends as a page sees them: the format has no way to tell one from another."""
    return re.sub("\r\n|\r", "\n", text)


cuts = st.lists(st.integers(0, 5000), max_size=8)


@given(st.lists(events, max_size=4), epochs, cuts)
def test_events_are_read_as_they_were_sent(sent: list[Event], epoch: str, at: list[int]) -> None:
    messages, parser = read(b"".join(Frame(event, epoch).wire for event in sent), at)
    assert messages == [
        Message(event.name or "message", unified(event.data.decode()), f"{epoch}-{event.seq}") for event in sent
    ]
    assert [Position.parse(each) for each in parser.ids] == [Position(epoch, event.seq) for event in sent]


@given(st.lists(events, max_size=4), epochs, cuts)
def test_json_carries_subject_and_data(sent: list[Event], epoch: str, at: list[int]) -> None:
    messages, _ = read(b"".join(Frame(event, epoch).json_wire for event in sent), at)
    assert [(message.name, message.id) for message in messages] == [
        (event.name or "message", f"{epoch}-{event.seq}") for event in sent
    ]
    for event, message in zip(sent, messages, strict=True):
        body = json.loads(message.data)
        assert list(body) == ["subject", "time", "data"]
        assert (body["subject"], body["data"]) == (event.subject, unified(event.data.decode()))


@given(st.lists(st.tuples(events, st.sampled_from(Format)), min_size=1, max_size=4), cuts)
def test_chunked_framing_is_undone_by_a_strict_decoder(sent: list[tuple[Event, Format]], at: list[int]) -> None:
    wires = [wire_of[form](Frame(event, "e")) for event, form in sent]
    decoder = ChunkedDecoder()
    stream = b"".join(map(chunked, wires)) + b"0\r\n\r\n"
    assert b"".join(decoder.feed(piece) for piece in cut(stream, at)) == b"".join(wires)
    assert decoder.ended


@given(st.one_of(st.binary(), st.builds(bytes.__add__, texts.map(str.encode), st.binary(max_size=3))), names, cuts)
@example(b"\xed\xa0\x80", None, [])
@example(b"\xef\xbb\xbf", None, [])
def test_any_bytes_are_refused_or_arrive(data: bytes, name: str | None, at: list[int]) -> None:
    """A payload that is refused is not UTF-8 by anybody's reckoning; one that is not arrives in both formats."""
    try:
        text = unified(data.decode())
    except UnicodeDecodeError:
        assert refusal(data, name, len(data)) is Refusal.NOT_UTF8
        return
    assert refusal(data, name, len(data)) is None
    assert refusal(data + b"x", name, len(data)) is Refusal.TOO_LARGE
    frame = Frame(Event("s", 1, data, name), "e")
    (plain, wrapped), _ = read(frame.wire + frame.json_wire, at)
    assert plain == Message(name or "message", text, "e-1")
    assert wrapped == Message(name or "message", wrapped.data, "e-1")
    assert json.loads(wrapped.data)["data"] == text


@given(events)
def test_the_payload_is_read_back_from_the_wire(event: Event) -> None:
    assert Frame(event, "e").payload.decode() == unified(event.data.decode())


@given(positions)
def test_positions_are_read_back_and_safe_across_origins(position: Position) -> None:
    assert Position.parse(str(position)) == position
    assert re.fullmatch("[0-9a-z-]{1,64}", str(position))


@given(st.text())
def test_no_text_breaks_the_reading_of_positions(text: str) -> None:
    position = Position.parse(text)
    assert position is None or str(position) == text


@given(positions, positions, st.text(), st.integers(0, 10**6), cuts)
def test_control_blocks_carry_their_ids(
    oldest: Position, following: Position, asked: str, ms: int, at: list[int]
) -> None:
    wire = retry_block(ms) + position_block(oldest) + gap_block(asked, oldest, following, "why")
    (position, gap), parser = read(wire, at)
    assert parser.retry == ms
    assert position == Message("position", "", str(oldest))
    assert (gap.name, gap.id) == ("gap", str(following))
    body = json.loads(gap.data)
    assert body == {"requested": asked[:64], "oldest": str(oldest), "next": str(following), "reason": "why"}


@given(st.text(st.characters(exclude_categories=())))
@example("\ud800")
def test_a_name_is_refused_or_arrives(name: str) -> None:
    """No name, lone surrogates included, can break the stream or the encoder."""
    if refusal(b"", name, 0) is None:
        (message,), _ = read(Frame(Event("s", 1, b"", name), "e").wire, [])
        assert message.name == (name or "message")
