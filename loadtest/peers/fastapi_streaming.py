"""Peer `fastapi-streaming`: FastAPI's StreamingResponse over an asyncio.Queue for each client."""

from collections.abc import AsyncIterator

from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from loadtest.peers.fanout import Clients, serve


def _event(number: int, payload: str) -> bytes:
    return f"id: {number}\ndata: {payload}\n\n".encode()


clients = Clients(_event, heartbeat=b": heartbeat\n\n")
app = FastAPI(lifespan=clients.lifespan)


async def _stream() -> AsyncIterator[bytes]:
    with clients.queue() as queue:
        while True:
            yield await queue.get()


@app.get("/events")
async def events() -> StreamingResponse:
    return StreamingResponse(_stream(), media_type="text/event-stream", headers={"Cache-Control": "no-cache"})


if __name__ == "__main__":
    serve(app)
