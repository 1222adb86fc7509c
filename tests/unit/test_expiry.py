"""expiry.py: streams end in the tick that holds their time, and nothing of them stays."""

from ssecast.channel import Subscriber
from ssecast.expiry import Expiry
from tests.properties.fakes import Recorder

TICK = 0.1


def due(expiry: Expiry, now: float) -> list[Subscriber]:
    """Who is due; they are closed, as the hub does."""
    found = expiry.due(now)
    for sub in found:
        expiry.remove(sub)
    return found


def test_a_stream_is_due_in_the_tick_of_its_time() -> None:
    expiry, early, late = Expiry(TICK), Recorder(), Recorder()
    expiry.due(100.0)
    expiry.add(early, 100.25)
    expiry.add(late, 100.55)
    seen = {round(step * TICK, 1): due(expiry, 100.0 + step * TICK + 1e-9) for step in range(8)}
    assert {at: found for at, found in seen.items() if found} == {0.2: [early], 0.5: [late]}


def test_a_time_that_has_passed_is_due_in_the_next_tick() -> None:
    expiry, sub = Expiry(TICK), Recorder()
    expiry.due(100.0)
    expiry.add(sub, 3.0)
    assert due(expiry, 100.0) == []
    assert due(expiry, 100.11) == [sub]


def test_the_first_look_and_one_after_a_long_sleep_find_all_that_have_passed() -> None:
    expiry, subs = Expiry(TICK), [Recorder() for _ in range(3)]
    for number, sub in enumerate(subs):
        expiry.add(sub, 100.0 + number * 1e5)
    assert due(expiry, 150.0) == subs[:1]
    assert due(expiry, 1e6) == subs[1:]


def test_what_has_ended_by_itself_is_forgotten() -> None:
    expiry, gone, stays = Expiry(TICK), Recorder(), Recorder()
    for sub in (gone, stays):
        expiry.add(sub, 1.0)
    expiry.remove(gone)
    expiry.remove(gone)
    assert due(expiry, 2.0) == [stays]
    assert (len(expiry), expiry._slots) == (0, {})


def test_the_clock_may_stand() -> None:
    expiry, sub = Expiry(TICK), Recorder()
    expiry.due(5.0)
    expiry.add(sub, 5.3)
    assert due(expiry, 5.0) == []
    assert due(expiry, 4.0) == []
    assert due(expiry, 5.31) == [sub]
