"""What is published and asked for: payloads that can be checked, and kinds of clients whose subjects are what NATS means."""

import re
import zlib

import pytest

from loadtest.chaos.traffic import KINDS, LARGEST, NAMED, SUBJECTS, Kind, crowd, name_of, payload, subject_of
from ssecast.events import parse_want
from ssecast.subjects import matches


def test_a_payload_tells_its_number_time_subject_and_name_and_its_checksum_fits() -> None:
    for number in range(1, 400):
        body, _, sum_ = payload(number, 123456).rpartition(b" ")
        assert zlib.crc32(body) == int(sum_, 16)
        words = body.decode().split(" ")
        assert words[:4] == [str(number), "123456", subject_of(number), name_of(number) or "-"]
        assert len(body) < LARGEST + 80
    assert any(b"\n" in payload(number, 0) for number in range(20))


def test_every_subject_is_published_to_and_only_prices_have_a_name() -> None:
    numbers = range(1, 1000)
    assert {subject_of(number) for number in numbers} == SUBJECTS
    assert {subject_of(number) for number in numbers if name_of(number)} == NAMED


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_what_the_oracle_thinks_a_kind_is_owed_is_what_its_query_says(kind: Kind) -> None:
    query = kind.query.encode()
    want, _ = parse_want(query, ("events.>",))
    owed = {subject for subject in SUBJECTS if any(matches(pattern, subject) for pattern in want.subjects)}
    assert owed == kind.subjects
    assert want.latest == kind.latest


def test_a_crowd_has_some_of_each_kind_and_as_many_as_were_asked_for() -> None:
    for clients in (50, 2000, 4999):
        counts = crowd(clients)
        assert sum(counts.values()) == clients
        assert min(counts.values()) >= 1
    with pytest.raises(ValueError, match="too few"):
        crowd(5)


def test_kinds_have_names_that_a_line_can_hold() -> None:
    assert all(re.fullmatch(r"[a-z-]+", kind.name) for kind in KINDS)
    assert len({kind.name for kind in KINDS}) == len(KINDS)
