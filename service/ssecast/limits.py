"""Whether the pod takes one more stream, and the reason where it does not. Old streams are never closed for new ones."""

from collections.abc import Callable

from ssecast.hub import Hub


class Limits:
    """capacity: streams at most. starting: whether the source has yet to be warm."""

    def __init__(self, hub: Hub, capacity: int, starting: Callable[[], bool]) -> None:
        self.hub, self.capacity = hub, capacity
        self._starting = starting

    def refusal(self, client: str) -> str | None:
        """Why a stream of this client would be refused now; None where there is room."""
        if self._starting():
            return "starting"
        if self.hub.is_draining:
            return "draining"
        return "full" if self.hub.streams >= self.capacity else None
