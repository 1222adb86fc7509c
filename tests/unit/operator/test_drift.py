"""drift.py: what is written is what differs, and nothing that the API server made of it."""

from typing import Any

import pytest

from ssecast_operator.drift import APPLIED, differs, stamped


@pytest.mark.parametrize(
    ("wanted", "live"),
    [
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 2], "c": 3}}),
        ({"cpu": "1000m"}, {"cpu": "1"}),
        ({"memory": "1024Mi"}, {"memory": "1Gi"}),
        ({"cpu": 2}, {"cpu": "2"}),
        ({"ports": [{"name": "http", "port": 80}]}, {"ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}),
        ({"env": [{"name": "b"}, {"name": "a"}]}, {"env": [{"name": "a"}, {"name": "x"}, {"name": "b"}]}),
        ({"from": [{"podSelector": {}}]}, {"from": [{"podSelector": {}}]}),
        ({"tolerations": [], "selector": {}, "flag": False, "count": 0}, {}),
    ],
)
def test_what_is_added_by_others_is_no_difference(wanted: Any, live: Any) -> None:
    assert not differs(wanted, live)


@pytest.mark.parametrize(
    ("wanted", "live"),
    [
        ({"a": 1}, {}),
        ({"a": 1}, {"a": 2}),
        ({"a": {"b": 1}}, {"a": None}),
        ({"a": True}, {"a": False}),
        ({"a": True}, {}),
        ({"cpu": "1000m"}, {"cpu": "2"}),
        ({"image": "x:1"}, {"image": "x:1000m"}),
        ({"args": ["serve"]}, {"args": ["serve", "more"]}),
        ({"args": ["serve"]}, {"args": []}),
        ({"ports": [{"name": "http", "port": 80}]}, {"ports": [{"name": "http", "port": 81}]}),
        ({"env": [{"name": "a", "value": "1"}]}, {"env": [{"name": "b", "value": "1"}]}),
        ({"from": [{"podSelector": {"a": 1}}]}, {"from": [{"podSelector": {}}]}),
    ],
)
def test_what_is_missing_or_other_is_one(wanted: Any, live: Any) -> None:
    assert differs(wanted, live)


def test_a_manifest_with_less_in_it_is_written_too() -> None:
    """Only a write takes away what is no longer said."""
    before = stamped({"metadata": {"annotations": {"a": "1", "b": "2"}}})
    after = stamped({"metadata": {"annotations": {"a": "1"}}})
    assert differs(after, before)
    assert not differs(before, before)


def test_the_stamp_is_of_the_content() -> None:
    one: dict[str, Any]
    one, other = {"metadata": {"name": "x"}, "spec": {"a": 1}}, {"spec": {"a": 1}, "metadata": {"name": "x"}}
    assert stamped(one) == stamped(other)
    assert APPLIED not in one["metadata"], "the manifest itself stays as it is"
