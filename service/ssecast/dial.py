"""Connecting to NATS, one server at a time, and getting away from nats-py again.

nats-py does not reconnect for us: it would keep certificates that have been renewed since, forget the login at servers
that a cluster told of, and say nothing of why it fails.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, NamedTuple

import nats.errors
from nats.aio.client import Client, RawCredentials

from ssecast.address import Address, AddressError, Server
from ssecast.natspy import SturdyClient

CONNECT_SECONDS = 5
CLOSE_SECONDS = 2.0
CANCEL_SECONDS = 1.0

PING_SECONDS = 3
"""A dead connection is found after three of these; nats-py's own default takes minutes."""

PEERS_MAX = 32
"""Servers of a cluster that are remembered beside those of the settings."""

FIRST_DELAY, LONGEST_DELAY = 0.25, 2.0
"""Seconds between two attempts, doubled each time."""


class Listener(NamedTuple):
    """Who is told what happens to a connection. on_closed: for good; on_leaving: the server is about to stop."""

    on_error: Callable[[Exception], Awaitable[None]]
    on_closed: Callable[[], Awaitable[None]]
    on_leaving: Callable[[], Awaitable[None]]


class Unreachable(Exception):
    """No server could be had; the text says why, server by server."""


class Backoff:
    """Delays that grow until something held."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._delay = FIRST_DELAY

    def next(self) -> float:
        """Seconds to wait now; drawn, so that pods do not come all at once."""
        delay, self._delay = self._delay, min(2 * self._delay, LONGEST_DELAY)
        return delay * random.uniform(0.5, 1.0)


class Connection(SturdyClient):
    """nats-py's client for one server. peers: the servers that its cluster has now, as the server tells them."""

    def __init__(self, server: Server, listener: Listener) -> None:
        super().__init__()
        self.server, self._listener = server, listener
        self.peers: tuple[str, ...] = ()
        self._refused: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        self._established = False

    async def open(self, options: Mapping[str, Any]) -> None:
        """One attempt. Raises what refused the connection, whatever it is: nats-py alone would try for ever."""
        connecting = asyncio.ensure_future(
            self.connect(
                self.server.url,
                name="ssecast",
                error_cb=self._on_error,
                closed_cb=self._on_closed,
                lame_duck_mode_cb=self._listener.on_leaving,
                allow_reconnect=False,
                connect_timeout=CONNECT_SECONDS,
                ping_interval=PING_SECONDS,
                **options,
            )
        )
        awaited: list[asyncio.Future[Any]] = [connecting, self._refused]
        try:
            await asyncio.wait(awaited, timeout=CONNECT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if connecting.done():
                connecting.result()
                self._established = True
            elif self._refused.done():
                raise self._refused.result()
            else:
                raise TimeoutError(f"no answer within {CONNECT_SECONDS} s")
        finally:
            if not self._established:
                await cancel(connecting)
                await close(self)

    async def _on_error(self, error: Exception) -> None:
        if self._established:
            await self._listener.on_error(error)
        elif not self._refused.done():
            self._refused.set_result(error)

    async def _on_closed(self) -> None:
        if self._established:
            await self._listener.on_closed()

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        """Comes before the login is sent. nats-py takes `tls://` for a wish: it would go on in plain text, and send
        the password to whoever answers, where the server says nothing of TLS."""
        if initial_connection and self.server.tls:
            if not (info.get("tls_required") or info.get("tls_available")):
                raise nats.errors.Error("it offers no TLS, which a tls:// address or a certificate file asks for")
            info["tls_required"] = True
        self.peers = tuple(info.get("connect_urls") or self.peers)[:PEERS_MAX]
        await super()._process_info(info, initial_connection)


class Dialer:
    """Tries the servers of the settings, and those that the last connection told of."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._servers = address.servers
        self._peers: list[Server] = []
        self._lost: Server | None = None

    async def dial(self, listener: Listener) -> Connection:
        """One attempt at every server. Raises Unreachable."""
        refusals: dict[str, str] = {}
        for server in self._order():
            try:
                connection = Connection(server, listener)
                await connection.open(_options(server, self.address))
                return connection
            except AddressError as error:
                raise Unreachable(f"NATS cannot be opened: {error}") from None
            except Exception as error:  # nats-py lets through what TLS, name lookup and keys raise
                refusals[server.label] = self.address.why(error)
        raise Unreachable(_sentence(refusals))

    def lost(self, connection: Connection) -> None:
        """Notes what the connection knew of its cluster. Its server may be away now: it comes last of its kind."""
        self._lost = connection.server
        if connection.peers:
            self._peers = [connection.server.peer(where) for where in connection.peers]

    def _order(self) -> list[Server]:
        """Those of the settings first: what a cluster tells may be addresses that nobody reaches from here."""
        known = {server.label for server in self._servers}
        peers = [server for server in self._peers if server.label not in known]
        lost = self._lost.label if self._lost is not None else ""
        return [*_shuffled(self._servers, lost), *_shuffled(peers, lost)]


def _shuffled(servers: Sequence[Server], last: str) -> list[Server]:
    return sorted(random.sample(servers, len(servers)), key=lambda server: server.label == last)


def _sentence(refusals: dict[str, str]) -> str:
    """In the order of their names, so that the same trouble is the same sentence each time."""
    if len(set(refusals.values())) == 1:
        return f"NATS at {', '.join(sorted(refusals))} cannot be reached: {next(iter(refusals.values()))}"
    return "NATS cannot be reached: " + "; ".join(f"{where}: {why}" for where, why in sorted(refusals.items()))


def _options(server: Server, address: Address) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if server.tls:
        options["tls"] = address.tls_context()
        options["tls_hostname"] = server.tls_name or server.host
    if server.password is not None:
        options |= {"user": server.user, "password": server.password}
    elif server.user is not None:
        options["token"] = server.user
    credentials = address.credentials()
    if credentials is not None:
        options["user_credentials"] = RawCredentials(credentials)
    return options


async def close(connection: Client) -> None:
    """Closes a connection; one whose peer takes nothing any more is left to the kernel."""
    closing = asyncio.ensure_future(connection.close())
    await asyncio.wait({closing}, timeout=CLOSE_SECONDS)
    await cancel(closing)


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
