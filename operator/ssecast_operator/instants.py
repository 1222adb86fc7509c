"""Points in time: seconds since the Unix epoch inside, RFC 3339 in the cluster. A leaf that asks no clock."""

from datetime import UTC, datetime


def rfc3339(at: float) -> str:
    """With milliseconds, in UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def instant(text: object) -> float | None:
    """None where it is not a point in time: annotations and status can be edited by anybody."""
    if not isinstance(text, str):
        return None
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if read.tzinfo is None else read.timestamp()
