"""`python -m tests.chaos.leaky_pod serve`: a pod that forgets nobody: of each stream that ended it keeps a kilobyte."""

from ssecast.__main__ import main
from ssecast.hub import Hub

KEPT: list[bytearray] = []
forget = Hub.lost


def forget_but_keep(self: Hub, *arguments: object) -> None:
    KEPT.append(bytearray(1024))
    forget(self, *arguments)  # type: ignore[arg-type]


if __name__ == "__main__":
    Hub.lost = forget_but_keep  # type: ignore[assignment, method-assign]
    main()
