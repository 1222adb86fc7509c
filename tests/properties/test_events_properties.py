"""Whatever a client writes into its query: a Want within what is served, or one sentence that names the parameter."""

from urllib.parse import urlencode

from hypothesis import given
from hypothesis import strategies as st

from ssecast.channel import Want
from ssecast.events import MAX_INTERVAL_MS, MAX_SUBJECTS, MAX_TOKENS, PARAMETERS, BadParameter, parse_want
from ssecast.subjects import covered

SERVED = ("events.>", "orders.*.new")

tokens = st.sampled_from(["events", "orders", "a", "new", "*", ">", "", "a*", "é"])
subjects = st.lists(tokens, min_size=1, max_size=4).map(".".join)
values = st.one_of(subjects, st.sampled_from(["true", "false", "1", "0", "json", "data", "1000", "60001"]), st.text())
names = st.one_of(st.sampled_from([*PARAMETERS, "_", "subjects"]), st.text(max_size=12))


def parsed(query: bytes) -> Want | BadParameter:
    try:
        return parse_want(query, SERVED)[0]
    except BadParameter as wrong:
        return wrong


@given(st.binary(max_size=400))
def test_no_bytes_bring_the_parser_down(query: bytes) -> None:
    assert parsed(query)


@given(st.lists(st.tuples(names, values), max_size=6))
def test_what_is_wanted_lies_within_what_is_served(pairs: list[tuple[str, str]]) -> None:
    query = urlencode(pairs, errors="replace").encode()
    found = parsed(query)
    if isinstance(found, BadParameter):
        assert found.as_detail["parameter"] in [name for name, _ in pairs]
        assert found.as_detail["allowed"]
        return
    assert 0 < len(found.subjects) <= MAX_SUBJECTS
    assert all(covered(subject, SERVED) for subject in found.subjects)
    assert 0 <= found.interval <= MAX_INTERVAL_MS / 1000
    assert not found.latest or found.interval
    assert {name for name, _ in pairs if not name.startswith("_")} <= set(PARAMETERS)


@given(st.integers(0, 20), st.one_of(st.integers(0, 10**6), st.just(10**400)))
def test_an_interval_is_as_long_as_it_says_or_refused(zeros: int, milliseconds: int) -> None:
    found = parsed(b"interval=%b%d" % (b"0" * zeros, milliseconds))
    assert isinstance(found, BadParameter) or found.interval == milliseconds / 1000 <= MAX_INTERVAL_MS / 1000
    assert isinstance(found, Want) or milliseconds > MAX_INTERVAL_MS or zeros


def test_the_order_and_repetition_of_subjects_make_no_other_channel() -> None:
    one, _ = parse_want(b"subject=events.a&subject=events.b&subject=events.a", SERVED)
    other, _ = parse_want(b"subject=events.b&subject=events.a", SERVED)
    assert one == other
    assert parse_want(b"subject=events.>&subject=events.a", SERVED)[0].subjects == ("events.>",)


def test_no_request_can_ask_for_subjects_that_take_megabytes_to_remember() -> None:
    """Each token of a subject that nobody else asked for is a node of the trie."""
    long = "events" + ".x" * 100
    assert isinstance(parsed(f"subject={long}a&subject={long}b".encode()), Want)
    refused = parsed("&".join(f"subject={long}{end}" for end in "abc").encode())
    assert isinstance(refused, BadParameter)
    assert str(MAX_TOKENS) in refused.as_detail["problem"]
