"""What the clients write is what the oracle reads."""

from pathlib import Path

import pytest

from loadtest.chaos.records import (
    Connected,
    Ended,
    Entry,
    Gap,
    GaveUp,
    Malformed,
    Opened,
    Paused,
    Placed,
    Refused,
    Run,
    Summary,
    parse,
    read,
)
from loadtest.chaos.timeline import Timeline, most_in_a_second
from loadtest.chaos.truth import Span

LINES = {
    "c 10 8080 -": Connected(10, 8080, ""),
    "c 10 8080 e1-7": Connected(10, 8080, "e1-7"),
    "x 11 refused": Refused(11, "refused"),
    "h 12": Opened(12),
    "p 13 e1 7": Placed(13, "e1", 7),
    "r 14 20 e1 8 108 2 4 3": Run(14, 20, "e1", 8, 108, 2, 4, 3),
    'g 21 e2 5 {"requested": "e1-12", "oldest": "e2-1", "next": "e2-5", "reason": "epoch"}': Gap(
        21, "e2", 5, "e1-12", "e2-1", "e2-5", "epoch"
    ),
    "b 22 a payload of 3 bytes": Malformed(22, "a payload of 3 bytes"),
    "e 23 cut": Ended(23, "cut"),
    "f 24 http/1.1 503": GaveUp(24, "http/1.1 503"),
    "q 20 3": Paused(20, 3),
    "s 3 4": Summary(3, 4),
}


@pytest.mark.parametrize("line", LINES, ids=str)
def test_each_line_is_read_as_what_it_says(line: str) -> None:
    assert parse(line) == LINES[line]


def test_a_gap_whose_data_is_not_what_was_promised_is_malformed() -> None:
    number = '{"requested": "e-1", "oldest": 1, "next": "e-2", "reason": "expired"}'
    for data in ("", "{}", "[]", "{", number):
        assert isinstance(parse(f"g 1 e 5 {data}"), Malformed)


def test_a_line_that_is_no_record_is_refused() -> None:
    with pytest.raises(ValueError, match="is no record"):
        parse("z 1 2 3")


def test_a_run_is_its_events() -> None:
    assert list(Run(0, 0, "e", 8, 108, 2, 4, 3).events()) == [(8, 108), (10, 112), (12, 116)]


def test_lines_of_many_clients_are_sorted_out(tmp_path: Path) -> None:
    file = tmp_path / "ledger"
    file.write_text("G plain 0 2 /events\n0 h 1\n1 h 2\nG order 2 1 /events?subject=a\nT 7 1000012\n2 h 3\n0 e 4 end\n")
    ledger = read(file)
    clients = ledger.clients
    assert ledger.times == {7: 1_000_012}
    assert [(client.index, client.kind) for client in clients] == [(0, "plain"), (1, "plain"), (2, "order")]
    assert list(clients[0].entries()) == [Opened(1), Ended(4, "end")]


def test_a_timeline_counts_open_streams_and_reconnects_second_by_second() -> None:
    timeline = Timeline(began=10_000)
    timeline.add(
        [Connected(10_050, 1, ""), Opened(10_060), Ended(11_500, "cut"), Connected(11_950, 1, "e-1"), Opened(12_010)]
    )
    timeline.add([Connected(10_050, 1, ""), Opened(10_070), Ended(11_500, "cut"), Connected(12_050, 1, "e-1")])
    assert timeline.open_streams == [2, 0, 1]
    assert timeline.reconnects_per_second == [0, 1, 1]
    assert timeline.peak(10_000, 13_000) == 2, "a second may begin anywhere"
    assert timeline.peak(10_000, 11_000) == 0


AGE_MS = 10_000


def comes_back(opened: int, ended: int, how: str = "end") -> list[Entry]:
    return [Connected(opened - 5, 1, ""), Opened(opened), Ended(ended, how), Connected(ended + 200, 1, "e-1")]


def test_a_timeline_tells_reconnects_after_a_stream_that_ended_by_age_from_the_others() -> None:
    timeline = Timeline(began=0, age=AGE_MS, disturbed=[Span(21_000, 22_000)])
    timeline.add(comes_back(1000, 10_000))
    timeline.add(comes_back(1000, 10_100))
    timeline.add(comes_back(1000, 10_100, "cut"))
    timeline.add(comes_back(1000, 8000))
    timeline.add(comes_back(1000, 13_000))
    timeline.add(comes_back(12_000, 21_500))
    assert sum(timeline.aged) == 2, (
        "neither who was cut off, nor who ended too early or too late, nor a pod's that stood still"
    )
    assert most_in_a_second(timeline.aged) == 2
    assert sum(timeline.reconnects) == 6


def test_where_streams_may_last_for_ever_none_ends_by_age() -> None:
    timeline = Timeline(began=0)
    timeline.add(comes_back(1000, 10_000))
    assert not timeline.aged
