"""What streams replace: a server that is asked again and again what has happened since. Same framework, same events, and
`/metrics` as the pod has them. `NATS_URL=nats://... python -m loadtest.peers.polling PORT`.

Everything published on SUBJECTS (`events.>`) is kept in memory, the newest LIMIT of it.
"""

import json
import os
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import islice

import nats
from fastapi import FastAPI, HTTPException
from fastapi.responses import PlainTextResponse, Response
from nats.aio.msg import Msg
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from loadtest.peers.fanout import serve

LIMIT = 10_000

events: deque[str] = deque(maxlen=LIMIT)
registry = CollectorRegistry()
ProcessCollector(registry=registry)
published = 0


@asynccontextmanager
async def subscribed(_: FastAPI) -> AsyncIterator[None]:
    """Subscribed from before the port opens until after the last request."""
    client = await nats.connect(os.environ["NATS_URL"])
    await client.subscribe(os.environ.get("SUBJECTS", "events.>"), cb=_keep)
    await client.flush()
    yield
    await client.close()


async def _keep(message: Msg) -> None:
    global published
    events.append(message.data.decode())
    published += 1


app = FastAPI(lifespan=subscribed)


@app.get("/events/since/{number}")
async def since(number: str) -> Response:
    """Events after that number, which is that of the last event one had; `now`: none, but their number."""
    if number == "now":
        return _answer([])
    if not number.isdecimal():
        raise HTTPException(400, "a number, or now")
    new = published - int(number)
    if new <= 0:
        return Response(status_code=204)
    return _answer(list(islice(events, max(len(events) - new, 0), None)))


def _answer(found: list[str]) -> Response:
    return Response(json.dumps({"last": published, "events": found}), media_type="application/json")


@app.get("/metrics")
async def metrics() -> Response:
    """The process's own, CPU time among them."""
    return PlainTextResponse(generate_latest(registry))


if __name__ == "__main__":
    serve(app)
