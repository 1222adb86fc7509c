"""Whatever stands in a query, a header or a position: a stream, or a 400 that names the parameter; never a 500."""

import asyncio
import json
from collections.abc import Callable, Iterator
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from nats.aio.client import Client as Nats

from ssecast.dev import EmbeddedNats
from ssecast.events import PARAMETERS
from tests.fuzz.door import House, Outcome
from tests.fuzz.effort import examples
from tests.fuzz.grammar import Piece
from tests.harness import Client, Pod, until
from tests.sse_parser import ChunkedDecoder, EventStreamParser, Message

KNOWN = [*PARAMETERS, "_", "_x", "subjects", "Subject", "last-event-id", "latest[]"]

digits = st.text("0123456789٣५²", min_size=1, max_size=30)
numbers = st.one_of(
    st.integers().map(str),
    digits,
    st.builds(lambda zeros, number: "0" * zeros + number, st.integers(1, 20), digits),
    st.sampled_from(["9" * 400, "9" * 5000, "-0", "+1", " 1", "1e3", "0x1", "1_0", "nan", "inf", "1.0"]),
)
positions = st.one_of(
    st.builds("{}-{}".format, st.sampled_from(["a", "b", "A", "", "é", "a-a", "z" * 41]), numbers),
    st.sampled_from(["a", "-", "a-", "-1", "a-1-1", "\0", "a-1\n", "null", "undefined", "a-9223372036854775808"]),
    st.text(),
)
subjects = st.lists(st.sampled_from(["events", "a", "*", ">", "", "a*", "é", "\0", "$JS", "_INBOX"]), max_size=5).map(
    ".".join
)
values = st.one_of(subjects, numbers, positions, st.sampled_from(["true", "false", "json", "data"]), st.text())
names = st.one_of(st.sampled_from(KNOWN), st.sampled_from(KNOWN), st.text(max_size=12), st.just("x" * 3000))
pairs = st.lists(st.tuples(names, values), max_size=5)


def printable(data: bytes) -> bytes:
    """What a header may hold."""
    return bytes(byte for byte in data if byte >= 32 and byte != 127)


def percent(text: str) -> str:
    return quote_from_bytes(text.encode(errors="surrogatepass"), safe="")


def request(query: bytes, *headers: bytes) -> list[Piece]:
    lines = b"".join(header + b"\r\n" for header in (b"Host: x", *headers))
    return [Piece(b"GET /events?" + query + b" HTTP/1.1\r\n" + lines + b"\r\n", rest=True)]


def first_events(outcome: Outcome) -> list[Message]:
    return EventStreamParser().feed(ChunkedDecoder().feed(outcome.body))


class Visitor:
    """Sends requests to a public side in memory."""

    def __init__(self, runner: asyncio.Runner, house: House) -> None:
        self._runner, self.house = runner, house

    def ask(self, query: bytes, *headers: bytes) -> Outcome:
        outcome = self._runner.run(self.house.visit(request(query, *headers)))
        assert not self.house.defects
        return outcome


@pytest.fixture(scope="module")
def visitor() -> Iterator[Visitor]:
    with asyncio.Runner() as runner, House(runner.get_loop()) as house:
        yield Visitor(runner, house)


@settings(max_examples=examples(400))
@given(pairs)
@example([("interval", "0" * 9 + "9" * 400)])
@example([("x" * 3000, "")])
def test_a_query_opens_a_stream_or_is_told_which_parameter_is_wrong(
    visitor: Visitor, pairs: list[tuple[str, str]]
) -> None:
    query = "&".join(f"{percent(name)}={percent(value)}" for name, value in pairs)
    outcome = visitor.ask(query.encode())
    if outcome.streams:
        assert outcome.status == 200
        return
    assert outcome.status == 400
    detail = json.loads(outcome.body)["detail"]
    assert len(outcome.body) < 2000, "an answer does not repeat all that it was sent"
    assert any(detail["parameter"] == name[: len(detail["parameter"])] for name, _ in sent(pairs))
    assert detail["problem"]
    assert detail["allowed"]


def sent(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """What arrives of texts that UTF-8 cannot carry."""
    return [tuple(text.encode(errors="surrogatepass").decode(errors="replace") for text in pair) for pair in pairs]  # type: ignore[misc]


@settings(max_examples=examples(200))
@given(st.binary(max_size=300).map(lambda data: bytes(byte for byte in data if byte > 32 and byte not in b"#\x7f")))
def test_raw_bytes_in_a_query_are_no_server_error(visitor: Visitor, query: bytes) -> None:
    assert visitor.ask(query).status in (200, 400)


@settings(max_examples=examples(400))
@given(
    st.one_of(
        positions.map(lambda text: printable(text.encode(errors="replace"))), st.binary(max_size=60).map(printable)
    )
)
@example(b"a-9999999999999999999")
@example("a-٣".encode())
@example(b"a-2 ")
def test_no_last_event_id_closes_an_event_source_for_good(visitor: Visitor, last_event_id: bytes) -> None:
    """Every answer is a stream, and its first event is a position or a gap with the id from which it goes on."""
    outcome = visitor.ask(b"", b"Last-Event-ID: " + last_event_id)
    assert (outcome.status, outcome.streams) == (200, True)
    first = next(event for event in first_events(outcome) if event.name in ("position", "gap"))
    wanted = last_event_id.strip(b" \t")
    if not wanted or wanted in (b"a-0", b"a-1", b"a-2", b"a-3"):
        assert first == Message("position", "", wanted.decode() or "a-3")
        return
    gaps = [event for event in first_events(outcome) if event.name == "gap"]
    assert [gap.id for gap in gaps] == ["a-3"]
    assert json.loads(gaps[0].data)["requested"] == wanted.decode(errors="replace")[:64]


@settings(max_examples=examples(100))
@given(positions)
def test_a_position_in_the_query_is_read_as_one_in_the_header(visitor: Visitor, position: str) -> None:
    outcome = visitor.ask(f"last_event_id={percent(position)}".encode())
    assert (outcome.status, outcome.streams) == (200, True)


async def test_forged_positions_get_a_stream_from_a_real_pod(
    nats_server: EmbeddedNats, make_pod: Callable[..., Pod], publisher: Nats
) -> None:
    """Numbers ahead of any stream, of other streams, of none: a gap or a position, and then every event once."""
    pod = await make_pod(nats_server.url).start()
    for number in range(3):
        await publisher.publish("events.x", str(number).encode())
    await publisher.flush()
    await until(lambda: str(pod.admin("GET", "/load")[1]["position"]).endswith("-3"), "the three events")
    epoch = pod.admin("GET", "/load")[1]["position"].partition("-")[0]
    seqs = [
        "0",
        "3",
        "4",
        "999",
        str(2**63 - 1),
        str(2**63),
        str(2**64),
        "9" * 19,
        "9" * 20,
        "-1",
        "00",
        "٣",
        "0x3",
        "",
    ]
    forged = [f"{name}-{seq}" for seq in seqs for name in (epoch, "zz", epoch.upper(), "")]
    clients = [await Client.open(pod.port, last_event_id=each) for each in forged]
    await publisher.publish("events.x", b"after")
    for client, asked in zip(clients, forged, strict=True):
        whole = {f"{epoch}-0": ["0", "1", "2"], f"{epoch}-3": []}
        expected = [*whole.get(asked, []), "after"]
        await client.has(len(expected))
        assert (client.status, client.data) == (200, expected), asked
        reasons = [gap["reason"] for gap in client.gaps]
        assert len(reasons) == (asked not in whole), asked
        assert set(reasons) <= {"ahead", "epoch", "unreadable"}
    assert pod.admin("GET", "/healthz")[0] == 200
