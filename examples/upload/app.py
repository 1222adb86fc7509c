"""Takes file uploads, and says on NATS how far each one is: on `progress.<id>`, for whoever wants to watch."""

import contextlib
import html
import json
import os
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import nats
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse
from starlette.requests import ClientDisconnect

NATS_URL = os.environ.get("NATS_URL", "nats://127.0.0.1:4222")
STREAMS_URL = os.environ.get("STREAMS_URL", "http://127.0.0.1:8080")
PAGE = Path(__file__).with_name("page.html")
MOST_BYTES = 1 << 30


@contextlib.asynccontextmanager
async def connected(app: FastAPI) -> AsyncIterator[None]:
    app.state.nats = await nats.connect(NATS_URL)
    yield
    await app.state.nats.drain()


app = FastAPI(lifespan=connected)


@app.get("/", response_class=HTMLResponse)
def page() -> str:
    return PAGE.read_text().replace("STREAMS_URL", html.escape(STREAMS_URL))


# An id is a UUID and nothing else: a `.`, `*` or `>` in it would make another subject of it.
@app.put("/uploads/{upload}")
async def upload(upload: uuid.UUID, request: Request) -> dict[str, int]:
    total = int(request.headers.get("content-length", 0))
    if not 0 < total <= MOST_BYTES:
        raise HTTPException(413, f"an upload has 1 to {MOST_BYTES} bytes and says how many")
    received = percent = 0
    try:
        async for chunk in request.stream():
            received += len(chunk)  # a real one would write the chunk to where its files are kept
            if received * 100 // total > percent:  # a hundred events at most, however large the file
                percent = received * 100 // total
                await tell(upload, "receiving", percent)
    except ClientDisconnect:
        await tell(upload, "failed", percent)
        raise
    await tell(upload, "done", 100)
    return {"bytes": received}


async def tell(upload: uuid.UUID, state: str, percent: int) -> None:
    await app.state.nats.publish(f"progress.{upload}", json.dumps({"state": state, "percent": percent}).encode())
