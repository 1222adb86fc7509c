"""A pod with a planted bug: after a few events it tells who publishes that the next one is too large, whatever its size."""

from ssecast.__main__ import main
from ssecast.frame import Position
from ssecast.refusals import too_large
from ssecast.source import Source

TAKEN = 30

publish = Source.publish


async def refusing(
    self: Source, subject: str, data: bytes, name: str | None = None, message_id: str | None = None
) -> tuple[Position, bool]:
    position, duplicate = await publish(self, subject, data, name, message_id)
    if position.seq > TAKEN:
        raise too_large(TAKEN)
    return position, duplicate


if __name__ == "__main__":
    Source.publish = refusing  # type: ignore[method-assign]
    main()
