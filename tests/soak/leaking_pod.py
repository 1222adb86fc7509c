"""A pod with two planted bugs: it keeps something of each event for ever, and opens a file that it never closes."""

import os

from ssecast.__main__ import main
from ssecast.frame import Event
from ssecast.hub import Hub

KEPT_BYTES = 256 * 1024

publish = Hub.publish
kept: list[tuple[bytes, int]] = []


def leaking(self: Hub, event: Event) -> None:
    kept.append((b"x" * KEPT_BYTES, os.open(os.devnull, os.O_RDONLY)))
    publish(self, event)


if __name__ == "__main__":
    Hub.publish = leaking  # type: ignore[method-assign]
    main()
