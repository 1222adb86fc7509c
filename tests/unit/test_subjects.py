"""subjects.py by example; tests/properties tries every small pattern."""

import pytest

from ssecast.subjects import (
    MAX_SUBJECT,
    SubjectTrie,
    collide,
    common,
    contains,
    covered,
    intersection,
    matches,
    problem,
    reduce,
    reserved,
)


@pytest.mark.parametrize("pattern", ["a", "a.b", "*", ">", "a.*.c", "a.>", "é.x", "x" * MAX_SUBJECT])
def test_a_valid_pattern_has_no_problem(pattern: str) -> None:
    assert problem(pattern) is None


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("", "is empty"),
        ("x" * (MAX_SUBJECT + 1), "longer than 255 bytes"),
        ("é" * 128, "longer than 255 bytes"),
        ("a b", "white space"),
        ("a\0", "control character"),
        ("\ud800", "control character"),
        ("a.\ufffd", "not UTF-8"),
        ("a..b", "empty token"),
        (".a", "empty token"),
        ("a.", "empty token"),
        ("a.b*", "inside a token"),
        ("a.>b", "inside a token"),
        (">.a", "only come last"),
    ],
)
def test_each_mistake_is_named(pattern: str, words: str) -> None:
    assert words in (problem(pattern) or "")


@pytest.mark.parametrize("subject", ["a.*", "a.>", "a*"])
def test_a_subject_has_no_wildcards(subject: str) -> None:
    assert "wildcard" in (problem(subject, wildcards=False) or "")


def test_a_star_is_one_token_and_an_arrow_one_or_more() -> None:
    assert matches("a.*", "a.b")
    assert not matches("a.*", "a")
    assert not matches("a.*", "a.b.c")
    assert matches("a.>", "a.b.c")
    assert not matches("a.>", "a")
    assert not matches("a.b", "a.c")


def test_a_claim_contains_a_narrower_pattern_not_a_wider_one() -> None:
    """Containment, not matching: `a.*` must not open `a.>`."""
    assert contains("a.>", "a.*")
    assert not contains("a.*", "a.>")
    assert not contains("a.b", "a.*")
    assert covered("a.x", ["b", "a.*"])
    assert not covered("a.>", ["b", "a.*"])


def test_patterns_collide_where_one_subject_fits_both() -> None:
    assert collide("a.*", "*.b")
    assert collide("a.>", "a.b.c")
    assert not collide("a.>", "a")
    assert not collide("a.x", "a.y")


def test_an_intersection_is_one_pattern_or_none() -> None:
    assert intersection("a.*", "*.b") == "a.b"
    assert intersection("a.>", "*.b.*") == "a.b.*"
    assert intersection(">", "a.>") == intersection("a.>", ">") == "a.>"
    assert intersection("*.>", "a.*") == "a.*"
    assert intersection("a.>", "a") is None
    assert intersection("a.b", "a.c") is None
    assert intersection("a.*", "a.*.c") is None


def test_what_is_common_is_the_union_of_intersections() -> None:
    assert common(["events.>", "orders.*"], ["*.new", "events.a.*"]) == ("events.a.*", "events.new", "orders.new")
    assert common([], [">"]) == ()


def test_reducing_gives_one_spelling_for_one_set() -> None:
    assert reduce(["b", "a.x", "a.*", "b"]) == ("a.*", "b")


def test_the_trie_finds_every_pattern_that_fits() -> None:
    trie: SubjectTrie[int] = SubjectTrie()
    for value, pattern in enumerate(["a.b", "a.*", "a.>", ">", "*.b", "a", "a.b.c"]):
        trie.add(pattern, value)
    assert trie.match("a.b") == {0, 1, 2, 3, 4}
    assert trie.match("x.y.z") == {3}
    assert sorted(trie) == list(range(7))


def test_the_trie_forgets_what_was_removed_and_its_empty_branches() -> None:
    trie: SubjectTrie[int] = SubjectTrie()
    trie.add("a.b.c", 1)
    trie.add("a.b", 2)
    trie.add("a.b", 3)
    trie.remove("a.b.c", 1)
    trie.remove("a.b", 2)
    assert trie.match("a.b") == {3}
    trie.remove("a.b", 3)
    assert not trie._root.children


def test_removing_what_is_not_there_is_an_error() -> None:
    trie: SubjectTrie[int] = SubjectTrie()
    trie.add("a", 1)
    for pattern, value in (("a", 2), ("b", 1), ("a.b", 1)):
        with pytest.raises(KeyError):
            trie.remove(pattern, value)


@pytest.mark.parametrize("pattern", ["$JS.API.INFO", "$KV.bucket.x", "$SYS.>", "_INBOX.x", "$"])
def test_a_wildcard_does_not_reach_what_is_the_servers_own(pattern: str) -> None:
    assert reserved(pattern, (">",))
    assert reserved(pattern, ("*.>", "events.>"))
    assert not reserved(pattern, ("events.>", pattern))


@pytest.mark.parametrize("pattern", ["events.$JS", "_INBOXES.x", ">", "*.x"])
def test_everything_else_is_the_publishers(pattern: str) -> None:
    assert not reserved(pattern, (">",))
