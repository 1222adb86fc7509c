"""A pod with a small queue between NATS and itself: `python -m loadtest.chaos.narrow serve`. A burst overflows it."""

from functools import partial

from ssecast import server
from ssecast.__main__ import main
from ssecast.source import SourceOptions

PENDING_MSGS = 40

if __name__ == "__main__":
    vars(server)["SourceOptions"] = partial(SourceOptions, pending_msgs=PENDING_MSGS)
    main()
