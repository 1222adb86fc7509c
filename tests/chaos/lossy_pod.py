"""A pod with a planted bug: of 250 events one never reaches the hub, and the head moves past it in silence."""

from ssecast.__main__ import main
from ssecast.frame import Event
from ssecast.hub import Hub

EVERY = 250

publish = Hub.publish


def lossy(self: Hub, event: Event) -> None:
    if event.seq % EVERY == EVERY - 1:
        self.advance(event.seq)
    else:
        publish(self, event)


if __name__ == "__main__":
    Hub.publish = lossy  # type: ignore[method-assign]
    main()
