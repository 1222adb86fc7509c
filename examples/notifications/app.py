"""Signs people in, gives each a token for their own notifications, and publishes those on NATS: on `notify.<user>`."""

import contextlib
import functools
import html
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import jwt
import nats
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from fastapi import Cookie, Depends, FastAPI, HTTPException, Request, Response
from fastapi import Path as InPath
from fastapi.responses import HTMLResponse, PlainTextResponse

NATS_URL = os.environ.get("NATS_URL", "nats://127.0.0.1:4222")
STREAMS_URL = os.environ.get("STREAMS_URL", "http://127.0.0.1:8080")
PRIVATE_KEY_FILE = Path(os.environ.get("PRIVATE_KEY_FILE", "private.pem"))
TOKEN_SECONDS = int(os.environ.get("TOKEN_SECONDS", "300"))
SESSION_SECONDS = 8 * 3600
SESSION = "session"
PAGE = Path(__file__).with_name("page.html")

User = Annotated[str, InPath(pattern="^[a-z0-9-]{1,32}$")]
"""A name becomes a part of a subject. Whoever may call themselves `*` or `>` would read everybody's notifications."""


@contextlib.asynccontextmanager
async def connected(app: FastAPI) -> AsyncIterator[None]:
    key()  # without one this is no time to start
    app.state.nats = await nats.connect(NATS_URL)
    yield
    await app.state.nats.drain()


app = FastAPI(lifespan=connected)


@functools.cache
def key() -> EllipticCurvePrivateKey:
    found = load_pem_private_key(PRIVATE_KEY_FILE.read_bytes(), None)
    assert isinstance(found, EllipticCurvePrivateKey), "ES256 wants a key of an elliptic curve"
    return found


def signed(seconds: int, **claims: object) -> str:
    return jwt.encode({**claims, "exp": int(time.time()) + seconds}, key(), "ES256")


def signed_in(session: Annotated[str, Cookie()] = "") -> str:
    try:
        return str(jwt.decode(session, key().public_key(), ["ES256"], audience=SESSION)["sub"])
    except jwt.InvalidTokenError as wrong:
        raise HTTPException(401, "sign in first") from wrong


@app.get("/", response_class=HTMLResponse)
def page() -> str:
    return PAGE.read_text().replace("STREAMS_URL", html.escape(STREAMS_URL))


# Where a real one asks for a password. The cookie has an audience of its own, so pods refuse it as a token.
@app.post("/login/{user}")
def login(user: User, response: Response) -> None:
    cookie = signed(SESSION_SECONDS, sub=user, aud=SESSION)
    response.set_cookie(SESSION, cookie, max_age=SESSION_SECONDS, httponly=True, samesite="strict")


# Short-lived, for it travels in an address: proxies write that to their logs. The stream ends before it does, and comes back.
@app.get("/token", response_class=PlainTextResponse)
def token(user: Annotated[str, Depends(signed_in)]) -> str:
    return signed(TOKEN_SECONDS, sub=user, ssecast={"subscribe": [f"notify.{user}", "notify.all"]})


@app.post("/notify/{user}", dependencies=[Depends(signed_in)])
async def notify(user: User, request: Request) -> None:
    await app.state.nats.publish(f"notify.{user}", await request.body())
