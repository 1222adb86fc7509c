"""Matching, containment and overlap against a naive matcher that tries every small subject; the trie likewise."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ssecast.subjects import (
    SubjectTrie,
    collide,
    common,
    contains,
    covered,
    intersection,
    matcher,
    matches,
    problem,
    reduce,
)
from tests.properties import naive
from tests.properties.naive import PATTERNS, SUBJECTS

MEANING = {pattern: {s for s in SUBJECTS if naive.matches(pattern.split("."), s.split("."))} for pattern in PATTERNS}
patterns = st.sampled_from(PATTERNS)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_matches_what_nats_says_and_nothing_else(pattern: str) -> None:
    assert {subject for subject in SUBJECTS if matches(pattern, subject)} == MEANING[pattern]
    assert problem(pattern) is None


@pytest.mark.parametrize("pattern", PATTERNS)
def test_wildcards_in_a_subject_are_words_like_others(pattern: str) -> None:
    """nats-server lets publishers use them. What is found live must be found when it is read again."""
    odd = list(naive.paths("ab*>", 3))
    trie: SubjectTrie[str] = SubjectTrie()
    trie.add(pattern, pattern)
    meant = {subject for subject in odd if naive.matches(pattern.split("."), subject.split("."))}
    assert {subject for subject in odd if matches(pattern, subject)} == meant
    assert {subject for subject in odd if trie.match(subject)} == meant


@pytest.mark.parametrize("pattern", PATTERNS)
def test_containment_is_that_of_the_sets_of_subjects(pattern: str) -> None:
    assert {p for p in PATTERNS if contains(pattern, p)} == {p for p in PATTERNS if MEANING[p] <= MEANING[pattern]}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_collide_where_their_sets_of_subjects_meet(pattern: str) -> None:
    assert {p for p in PATTERNS if collide(pattern, p)} == {p for p in PATTERNS if MEANING[p] & MEANING[pattern]}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_an_intersection_is_that_of_the_sets_of_subjects(pattern: str) -> None:
    for other in PATTERNS:
        found = intersection(pattern, other)
        assert (MEANING[found] if found else set()) == MEANING[pattern] & MEANING[other], (pattern, other, found)
        assert (found is None) is not collide(pattern, other)


@given(st.lists(patterns, max_size=4), st.lists(patterns, max_size=4))
def test_what_is_common_is_what_both_sides_mean_and_none_is_idle(some: list[str], others: list[str]) -> None:
    found = common(some, others)
    both = set().union(*(MEANING[p] for p in some)) & set().union(*(MEANING[p] for p in others))
    assert set().union(*(MEANING[p] for p in found)) == both
    assert found == reduce(found)
    assert sorted(common(others, some)) == sorted(found)


ODD = [*SUBJECTS, *naive.paths("ab*>", 3), "", "a.", ".a", "a..b", "a\n", "a.\n", "a.b\x85.c", "a+b", "(a)"]


@given(st.lists(st.one_of(patterns, st.sampled_from(["a+b.>", "(a).*", "a|b", "[ab].>", "a\\d", "\n.>"])), min_size=1))
@example(["a"])
@example(["a.*", "a.>"])
def test_many_patterns_at_once_match_as_each_does(several: list[str]) -> None:
    fits = matcher(several)
    assert [bool(fits(subject)) for subject in ODD] == [any(matches(p, subject) for p in several) for subject in ODD]


@given(st.lists(patterns, max_size=6))
def test_reduced_patterns_mean_the_same_and_none_is_idle(several: list[str]) -> None:
    fewer = reduce(several)
    assert set().union(*(MEANING[p] for p in fewer)) == set().union(*(MEANING[p] for p in several))
    assert not any(covered(p, [q for q in fewer if q != p]) for p in fewer)
    assert reduce(reversed(several)) == fewer


@given(st.text(st.characters(exclude_categories=())))
@example("\ud800")
def test_no_text_breaks_the_check_of_subjects(text: str) -> None:
    """What passes as a subject has no wildcard, no white space and no empty token."""
    if problem(text, wildcards=False) is None:
        assert not set("*> \t\r\n\0") & set(text)
        assert all(text.split("."))
        assert problem(text) is None


class TrieMachine(RuleBasedStateMachine):
    """Adding, removing and matching in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.trie: SubjectTrie[int] = SubjectTrie()
        self.model: set[tuple[str, int]] = set()

    @rule(pattern=patterns, value=st.integers(0, 3))
    def add(self, pattern: str, value: int) -> None:
        self.trie.add(pattern, value)
        self.model.add((pattern, value))

    @rule(pattern=patterns, value=st.integers(0, 3))
    def remove(self, pattern: str, value: int) -> None:
        if (pattern, value) in self.model:
            self.model.remove((pattern, value))
            self.trie.remove(pattern, value)
        else:
            with pytest.raises(KeyError):
                self.trie.remove(pattern, value)

    @rule(which=st.data())
    def remove_one_that_is_there(self, which: st.DataObject) -> None:
        if self.model:
            self.remove(*which.draw(st.sampled_from(sorted(self.model))))

    @rule(subject=st.sampled_from(SUBJECTS))
    def match(self, subject: str) -> None:
        assert self.trie.match(subject) == {value for pattern, value in self.model if subject in MEANING[pattern]}

    @invariant()
    def holds_nothing_else(self) -> None:
        assert sorted(self.trie) == sorted(value for _, value in self.model)
        if not self.model:
            assert not self.trie._root.children


TestTrie = TrieMachine.TestCase
