"""The door: requests for streams take turns, and one that fails keeps nobody else waiting."""

import asyncio
from typing import Any

from ssecast.handoff import OPENS_PER_TURN, Door
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
