"""A pod with a planted bug: of ten thousand events one never reaches the hub, and the head moves past it in silence."""

from ssecast.__main__ import main
from ssecast.frame import Event
from ssecast.hub import Hub

EVERY, AT = 10_000, 1_500

publish = Hub.publish


def dropping(self: Hub, event: Event) -> None:
    if event.seq % EVERY == AT:
        self.advance(event.seq)
    else:
        publish(self, event)


if __name__ == "__main__":
    Hub.publish = dropping  # type: ignore[method-assign]
    main()
