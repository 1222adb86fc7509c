"""Connecting to NATS, one attempt at a time, and getting away from nats-py again."""

import asyncio
import random
import ssl
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from nats.aio.client import Client

CONNECT_SECONDS = 5
CANCEL_SECONDS = 1.0

RECONNECT_SECONDS = (0.25, 0.75)
"""Between two attempts of nats-py to come back; drawn per connection, so that pods do not come all at once."""

PING_SECONDS = 3
"""A dead connection is found after three of these; nats-py's own default takes minutes."""

OnError = Callable[[Exception], Awaitable[None]]
OnChange = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Address:
    """Where NATS is and what opens it. urls: a comma list."""

    urls: str
    creds_file: str | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None

    @property
    def servers(self) -> list[str]:
        return [url.strip() for url in self.urls.split(",")]

    @property
    def hosts(self) -> str:
        """The servers without what may be secret in their addresses."""
        return ", ".join(urlsplit(url).netloc.rpartition("@")[2] for url in self.servers)


async def dial(address: Address, on_error: OnError, on_disconnected: OnChange, on_up: OnChange) -> Client:
    """One attempt at every server. nats-py alone would go on for ever without a word.

    on_up: connected again, or closed for good. Raises what refused the connection, whatever it is: nats-py lets through
    what TLS, name lookup and key files raise.
    """
    client, left = Client(), len(address.servers)
    refused: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def count_error(error: Exception) -> None:
        nonlocal left
        left -= 1
        if left == 0 and not refused.done():
            refused.set_exception(error)
        await on_error(error)

    connecting = asyncio.ensure_future(_connect(client, address, count_error, on_disconnected, on_up))
    try:
        await asyncio.wait({connecting, refused}, timeout=CONNECT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if connecting.done():
            connecting.result()
            return client
        if refused.done():
            refused.result()
        raise TimeoutError(f"no answer within {CONNECT_SECONDS} s")
    finally:
        refused.cancel()
        if not connecting.done() or connecting.exception() is not None:
            await cancel(connecting)
            await client.close()


async def cancel(task: "asyncio.Future[Any]") -> None:
    """Cancels a task that talks to NATS. nats-py swallows a cancellation here and there: it is repeated until heard."""
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=CANCEL_SECONDS)


async def until_cancelled(work: Coroutine[Any, Any, None]) -> None:
    """Runs work that talks to NATS; when this is cancelled, so is the work, however deaf nats-py makes it."""
    task = asyncio.create_task(work)
    try:
        await asyncio.wait({task})
        task.result()
    finally:
        await cancel(task)


async def _connect(
    client: Client, address: Address, on_error: OnError, on_disconnected: OnChange, on_up: OnChange
) -> None:
    options: dict[str, Any] = {}
    if address.ca_file or address.cert_file:
        options["tls"] = ssl.create_default_context(cafile=address.ca_file)
        if address.cert_file:
            options["tls"].load_cert_chain(address.cert_file, address.key_file)
    await client.connect(
        address.servers,
        name="ssecast",
        error_cb=on_error,
        disconnected_cb=on_disconnected,
        reconnected_cb=on_up,
        closed_cb=on_up,
        connect_timeout=CONNECT_SECONDS,
        reconnect_time_wait=random.uniform(*RECONNECT_SECONDS),  # type: ignore[arg-type]
        max_reconnect_attempts=-1,
        ping_interval=PING_SECONDS,
        user_credentials=address.creds_file,
        **options,
    )
