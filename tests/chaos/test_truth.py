"""The publisher's rests and JetStream's times, as the figures need them."""

from loadtest.chaos.figures import longest_pause
from loadtest.chaos.records import Paused
from loadtest.chaos.truth import CLOCK_MS, Span, Stored, Truth

UNIX_MS = 1_764_000_000_000
"""What the wall clock is ahead."""


def test_the_publishers_rests_are_no_pause_in_delivery() -> None:
    truth = Truth(rests=[Span(1000, 5000), Span(8000, 8500), Span(20_000, 30_000)])
    assert truth.pause(900, 5100) == 200
    assert truth.pause(900, 9000) == 8100 - 4000 - 500
    assert truth.pause(2000, 3000) == 0
    assert truth.pause(10_000, 12_000) == 2000
    assert longest_pause(truth, [Paused(5100, 900), Paused(11_000, 10_000), Paused(30_100, 19_900)]) == 1000
    assert longest_pause(truth, []) == 0


def test_an_event_was_stored_after_it_was_sent_and_before_that_was_acknowledged() -> None:
    truth = Truth(clocks=[UNIX_MS, UNIX_MS + 3])
    truth.store(Stored(7, "events.quiet", 0, 1, 5000, 5010))
    for at, fine in (
        (5000, True),
        (5013, True),
        (5000 - CLOCK_MS - 1, False),
        (5013 + CLOCK_MS + 1, False),
        (5000 + 3_600_000, False),
    ):
        assert truth.was_stored_at(7, (UNIX_MS + at) * 1000) is fine, "an hour is another time zone"
    assert not truth.was_stored_at(7, UNIX_MS + 5005), "milliseconds are no microseconds"
    assert not truth.was_stored_at(8, (UNIX_MS + 5005) * 1000), "nobody published it"
