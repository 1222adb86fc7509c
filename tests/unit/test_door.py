"""The door: requests for streams take turns, and one that fails keeps nobody else waiting."""

import asyncio
from typing import Any

from ssecast.door import OPENS_PER_TURN, Door
from ssecast.stream import Answer
from tests.harness import until


class FakeDoorman:
    """Counts its turn; a broken one raises instead."""

    def __init__(self, opened: list[int], number: int, broken: bool = False) -> None:
        self.opened, self.number, self.broken = opened, number, broken
        self.transport = self
        self.aborted = False

    def open(self) -> None:
        if self.broken:
            raise RuntimeError("a defect")
        self.opened.append(self.number)

    def abort(self) -> None:
        self.aborted = True


async def test_a_request_that_fails_loses_its_own_connection_and_keeps_nobody_waiting() -> None:
    opened: list[int] = []
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    count = 3 * OPENS_PER_TURN
    doormen = [FakeDoorman(opened, number, broken=number == 5) for number in range(count)]
    door = Door(lambda _: None)
    for doorman in doormen:
        door.knock(doorman)  # type: ignore[arg-type]
    await until(lambda: len(opened) == count - 1, "every other turn")
    assert opened == [number for number in range(count) if number != 5]
    assert [doorman.number for doorman in doormen if doorman.aborted] == [5]
    assert len(told) == 1


async def test_live_events_get_their_turn_between_requests() -> None:
    opened: list[int] = []
    door = Door(lambda _: None)
    for number in range(2 * OPENS_PER_TURN):
        door.knock(FakeDoorman(opened, number))  # type: ignore[arg-type]
    seen: list[int] = []
    asyncio.get_running_loop().call_soon(lambda: seen.append(len(opened)))
    await until(lambda: len(opened) == 2 * OPENS_PER_TURN, "every turn")
    assert seen == [OPENS_PER_TURN]


def test_an_answer_is_a_whole_response_whose_date_is_renewed() -> None:
    door = Door(lambda _: None)
    answer = Answer(503, ((b"retry-after", b"2"),), b"full")
    wire = door.whole([(b"date", b"one")], answer)
    assert wire == (
        b"HTTP/1.1 503 Service Unavailable\r\ndate: one\r\nretry-after: 2\r\ncontent-length: 4\r\n"
        b"connection: close\r\n\r\nfull"
    )
    assert b"date: two\r\n" in door.whole([(b"date", b"two")], answer)
    assert door.whole([(b"date", b"two")], answer._replace(body=b"other")).endswith(
        b"length: 5\r\nconnection: close\r\n\r\nother"
    )
