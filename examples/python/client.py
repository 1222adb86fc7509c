"""Reads a stream with nothing but Python's own library, comes back when it breaks, and goes on where it was."""

import contextlib
import http.client
import random
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Iterable, Iterator
from typing import NamedTuple

SILENCE_SECONDS = 60
"""Pods send a heartbeat every 15 seconds: after four that did not come, the connection is dead."""


class Event(NamedTuple):
    """name: "message", "gap" (events are missing, data says which), or what the publisher's header Ssecast-Event says."""

    id: str
    name: str
    data: str


class Refused(Exception):
    """Asking again would not help: the address, the parameters or the token are wrong."""


def follow(url: str, last_id: str = "") -> Generator[Event, None, None]:
    """Every event once, for ever. Raises Refused with what the pod said."""
    retry_ms = 3000
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException):
            for block in blocks(opened(url, last_id)):
                retry_ms = int(block.get("retry", retry_ms))
                last_id = block.get("id", last_id)
                name = block.get("event", "message")
                if "data" in block and name != "position":
                    yield Event(last_id, name, block["data"])
        time.sleep(retry_ms / 1000 * random.uniform(1, 1.5))  # spread, or all readers come back at once


def opened(url: str, last_id: str) -> http.client.HTTPResponse:
    headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_id} if last_id else {})
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=SILENCE_SECONDS)
    except urllib.error.HTTPError as wrong:
        if wrong.code >= 500 or wrong.code == 429:
            raise
        raise Refused(f"{wrong.code}: {wrong.read().decode()}") from wrong
    assert isinstance(answer, http.client.HTTPResponse)
    return answer


def blocks(lines: Iterable[bytes]) -> Iterator[dict[str, str]]:
    """The fields of each block; pods end lines with LF alone. What is cut off before its empty line counts for nothing."""
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.decode().rstrip("\n").partition(":")
        value = value.removeprefix(" ")
        if line == b"\n":
            yield fields
            fields = {}
        elif name == "data" and "data" in fields:
            fields["data"] += "\n" + value
        elif name:
            fields[name] = value


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        for event in follow(*sys.argv[1:]):
            print(*event, flush=True)
