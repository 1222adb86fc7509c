"""The picture of three terminals in the README: what it shows happens, and it shows what the README says to type."""

import re
from html import unescape
from pathlib import Path

from tests import cast
from tests.integration.test_dev import README

PICTURE = unescape((Path(__file__).parents[2] / "docs" / "try-it.svg").read_text())


async def test_the_commands_do_what_the_picture_shows() -> None:
    session = await cast.record()
    client = [line for _, line in session.stream.lines]
    assert [line for line in client if line.startswith("data: ")] == ["data: hello", "data: while you were away"]
    published = [line for _, line in session.publisher.lines if "position" in line]
    assert [f"id: {re.findall(r'[0-9a-z]+-[0-9]+', line)[0]}" for line in published] == [
        client[client.index(data) - 1] for data in ("data: hello", "data: while you were away")
    ]
    assert all(escaped in unescape(cast.draw(session)) for escaped in (*client, *published))


def test_the_picture_shows_what_the_readme_says_to_type() -> None:
    for command in ("make demo", cast.STREAM, cast.PUBLISH.format("hello")):
        assert f"{command}\n" in README
        assert f"$ {command}<" in PICTURE
    assert f"$ {cast.RESUME.partition('{}')[0]}" in PICTURE
    assert "while you were away" in PICTURE
