"""The shell of these tests itself: what fails is noticed, and what goes on by itself is ended."""

import os
from collections.abc import Iterator

import pytest

from tests.docs.terminal import Terminal, failed


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    with Terminal(os.environ) as terminal:
        yield terminal


def test_commands_share_one_shell(terminal: Terminal) -> None:
    assert terminal.type("NAME=news    # its name") == ""
    assert terminal.type('printf "%s" "$NAME" | tr a-z A-Z') == "NEWS"


def test_a_command_that_fails_is_told_with_what_it_said(terminal: Terminal) -> None:
    with pytest.raises(AssertionError, match=r"(?s)ls /nowhere: .*No such file"):
        terminal.type("ls /nowhere")
    assert terminal.type("echo on") == "on", "the shell is still there"


def test_a_shell_that_ends_is_told(terminal: Terminal) -> None:
    with pytest.raises(AssertionError, match="the shell has ended"):
        terminal.type("exit 3")


def test_a_command_that_does_not_end_is_told(terminal: Terminal) -> None:
    with pytest.raises(AssertionError, match=r"sleep 60: no .* within 0\.1 s"):
        terminal.type("sleep 60", 0.1)


def test_what_goes_on_is_watched_and_ended(terminal: Terminal) -> None:
    assert "two" in terminal.watch("{ echo one; echo two; exec sleep 60; }", "two")
    assert terminal.type("jobs -r | wc -l") == "1"
    terminal.rest()
    assert terminal.type("jobs -r | wc -l") == "0"


@pytest.mark.parametrize(
    ("command", "statuses", "expected"),
    [
        ("kubectl get pods", [0], False),
        ("kubectl get pods", [1], True),
        ("kubectl logs x | grep -i key", [0, 1], False),
        ("kubectl logs x | grep -i key", [1, 1], True),
        ("kubectl logs x | grep -i key", [0, 2], True),
        ("kubectl logs x | grep -i key | tail -20", [0, 1, 0], False),
        ("kubectl logs x | head", [141, 0], False),
        ("kubectl logs x | head", [0, 141], True),
        ("helm install x || echo no", [1], True),
        ("grep 'a|b' x", [1], True),
    ],
)
def test_only_a_grep_may_find_nothing(command: str, statuses: list[int], expected: bool) -> None:
    assert failed(command, statuses) is expected
