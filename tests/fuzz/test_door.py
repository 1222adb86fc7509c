"""Nobody can tell who reads a request: the doorman's pattern in front, or uvicorn's parser behind it.

A request that two readers understand in two ways is how smuggling begins, so the two are held against each other, and the
pattern against httptools itself.
"""

import asyncio
import logging
from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.door import House, Outcome, Witness
from tests.fuzz.effort import examples
from tests.fuzz.grammar import ENDS, HEADERS, INSERTS, METHODS, TARGETS, VERSIONS, Piece, pieces, stream

PLAIN = b"GET /events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n"

HANDMADE = [
    *[method + PLAIN.removeprefix(b"GET") for method in dict.fromkeys(METHODS)],
    *[PLAIN.replace(b"/events", target) for target in TARGETS],
    *[PLAIN.replace(b"HTTP/1.1", version) for version in dict.fromkeys(VERSIONS)],
    *[PLAIN.replace(b"Host: x", header) for header in HEADERS],
    *[PLAIN.replace(b"Accept: text/event-stream", header) + b"body\r\n\r\n" for header in HEADERS],
    *[PLAIN.replace(b"\r\n", end, count) for end in dict.fromkeys(ENDS) for count in (1, 2, 3, 4)],
    *[PLAIN[:at] + insert + PLAIN[at:] for insert in INSERTS for at in (0, 3, 4, 11, 12, 20, 22, 26, 27, 28, 29, 30)],
    *[PLAIN + following for following in (PLAIN, b"\r\n", b"\x00", b"GET /info HTTP/1.1\r\n\r\n", b"GARBAGE")],
]
PLAINLY_PLAIN = [PLAIN, PLAIN.replace(b"/events", b"/events?subject=events.a"), PLAIN.replace(b"Host: x", b"host:x")]


def as_read(packets: list[Piece]) -> list[Piece]:
    """The packets as the doorman reads them: what comes before his turn in one piece. Behind a whole request it would
    matter otherwise: requests that wait stop the reading, and what nobody reads is not found to be malformed."""
    before = next((number for number, packet in enumerate(packets, 1) if packet.rest), len(packets))
    return (
        [Piece(b"".join(packet.data for packet in packets[:before]), rest=True), *packets[before:]] if packets else []
    )


class Pair:
    """The same packets with the doorman in front and without."""

    def __init__(self, runner: asyncio.Runner, house: House) -> None:
        self._runner, self.house = runner, house

    def run(self, packets: list[Piece], *, door: bool = True) -> Outcome:
        return self._runner.run(self.house.visit(packets, door=door))

    def compare(self, packets: list[Piece]) -> Outcome:
        """What the client got, once it is sure that it is the same both ways, and no server error."""
        with_door = self.run(packets)
        self._check_admitted(b"".join(packet.data for packet in packets))
        without = self.run(as_read(packets), door=False)
        assert with_door == without, packets
        assert not self.house.defects
        assert with_door.status < 500
        return with_door

    def _check_admitted(self, data: bytes) -> None:
        """What the pattern took is one whole request to httptools too: the same one, with nothing behind its head."""
        for scope in self.house.admitted:
            head, end, _ = data.partition(b"\r\n\r\n")
            seen = Witness(head + end)
            assert (seen.method, seen.version, seen.upgrade) == (b"GET", "1.1", False)
            assert (seen.begun, seen.complete, seen.body) == (1, 1, b"")
            path, _, query = seen.url.partition(b"?")
            assert (path, query) == (b"/events", scope["query_string"])
            assert seen.headers == scope["headers"]


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with asyncio.Runner() as runner, House(runner.get_loop()) as house:
        yield Pair(runner, house)


@pytest.mark.parametrize("data", PLAINLY_PLAIN)
def test_a_plain_request_needs_no_parser(pair: Pair, data: bytes) -> None:
    """Or the comparisons of this module would compare uvicorn with itself."""
    assert pair.run([Piece(data, rest=True)]).streams
    assert pair.house.admitted


def test_every_shape_of_request_is_read_alike(pair: Pair) -> None:
    """The shapes of smuggling and of sloppy clients, each whole, in two packets, and with a pause in between."""
    for data in HANDMADE:
        cuts = [len(data), *range(1, len(data), max(1, len(data) // 2))]
        for cut in cuts:
            for rest in (False, True):
                packets = [Piece(part, rest) for part in (data[:cut], data[cut:]) if part]
                pair.compare(packets)


@pytest.mark.parametrize("behind", [b"", b"GET /info HTTP/1.1\r\n\r\n", b"\x00", b"GET /info HTTP/1.1\r\n\r\n\x00"])
def test_a_visitor_who_leaves_before_his_answer_is_no_error(pair: Pair, behind: bytes) -> None:
    """Whatever he sent behind the request that is being answered: nobody writes to a connection that is closed."""
    request = b"POST /publish/events.a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx"
    pair.house.stored.clear()
    pair.run([Piece(request + behind, rest=True)])
    assert not pair.house.defects


def test_only_what_goes_wrong_in_the_house_is_a_defect(pair: Pair) -> None:
    """A task of another loop that nobody awaited says so when the collector finds it, whoever is being served then."""

    async def complain() -> None:
        asyncio.get_running_loop().call_exception_handler({"message": "Task was destroyed but it is pending!"})

    pair.run([Piece(PLAIN, rest=True)])
    asyncio.run(complain())
    assert not pair.house.defects
    logging.getLogger("uvicorn.error").error("Exception in ASGI application")
    pair.house.loop.call_exception_handler({"message": "Task exception was never retrieved"})
    assert len(pair.house.defects) == 2


@settings(max_examples=examples(400))
@given(st.randoms(use_true_random=False))
def test_no_request_is_read_in_two_ways(pair: Pair, rng: Random) -> None:
    """Requests by the grammar, mutated, one after another, in packets of any size."""
    pair.compare(pieces(rng, stream(rng)))
