"""Peer `sse-starlette`: its EventSourceResponse, which encodes and sends heartbeats itself, over a queue per client."""

from collections.abc import AsyncIterator

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from loadtest.peers.fanout import HEARTBEAT_SECONDS, Clients, serve


def _event(number: int, payload: str) -> ServerSentEvent:
    return ServerSentEvent(payload, id=str(number))


clients = Clients(_event)


async def _stream() -> AsyncIterator[ServerSentEvent]:
    with clients.queue() as queue:
        while True:
            yield await queue.get()


async def events(_: Request) -> EventSourceResponse:
    return EventSourceResponse(_stream(), ping=HEARTBEAT_SECONDS, sep="\n")


app = Starlette(routes=[Route("/events", events)], lifespan=clients.lifespan)

if __name__ == "__main__":
    serve(app)
