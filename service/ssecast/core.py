"""Core NATS instead of a stream: subscriptions, sequences of the pod's own, and a break whenever something was lost."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from ssecast.frame import Event
from ssecast.intake import Intake
from ssecast.jetstream import EVENT_NAME, base36
from ssecast.refusals import JetStreamError, too_large
from ssecast.subjects import reserved

FLUSH_SECONDS = 5


class Core:
    """One set of subscriptions after the other. NATS keeps nothing for it: the end of each is a break."""

    def __init__(
        self, intake: Intake, subjects: tuple[str, ...], limits: tuple[int, int], time_ns: Callable[[], int]
    ) -> None:
        self._intake, self._subjects, self._limits, self._time_ns = intake, subjects, limits, time_ns
        self._subscriptions: set[Subscription] = set()
        self._broken: asyncio.Future[str] | None = None
        self._ended = ""
        self._denied = ""

    async def live(self, client: Client, fine: Callable[[], None]) -> str:
        """Follows until something is lost, and returns what. Raises JetStreamError where it cannot begin."""
        own = self._intake.hub.log
        if not own.epoch:
            own.start(base36(self._time_ns() // 1000), 0)
        self._broken = asyncio.get_running_loop().create_future()
        try:
            await self._subscribe(client)
            self._begin()
            self._intake.warmed()
            fine()
            self._ended = await self._broken
        except (nats.errors.Error, OSError) as error:
            raise JetStreamError(f"NATS: {error}") from error
        finally:
            await self._unsubscribe()
        return self._ended

    async def publish(self, client: Client | None, subject: str, data: bytes, name: str | None) -> int:
        """Hands an event to NATS; returns the log's head. Raises JetStreamError."""
        if client is None or not client.is_connected:
            raise JetStreamError("NATS is not connected")
        try:
            # nats-py waits without end for a connection that takes nothing any more.
            async with asyncio.timeout(FLUSH_SECONDS):
                await client.publish(subject, data, headers={EVENT_NAME: name} if name else None)
                await _settle(client)
        except TimeoutError:
            raise JetStreamError(f"NATS has not answered within {FLUSH_SECONDS} s") from None
        except nats.errors.MaxPayloadError as error:
            raise too_large(client.max_payload) from error
        except (nats.errors.Error, OSError) as error:
            raise JetStreamError(f"NATS: {error}") from error
        return self._intake.hub.log.head

    def overflowed(self, subscription: Subscription) -> None:
        """nats-py dropped a message of this subscription."""
        if subscription in self._subscriptions:
            self._break("overflow")

    def disconnected(self) -> None:
        self._break("disconnected")

    def denied(self, sentence: str) -> None:
        """NATS refused a subscription: what is published meanwhile does not come."""
        self._denied = sentence
        self._break("denied")

    def _begin(self) -> None:
        """The break between two lives is told when the next one is known to have begun, and not earlier: who opens a
        stream in between is told too."""
        if self._ended:
            own = self._intake.hub.log
            self._intake.miss(self._ended, own.epoch, own.head + 1)
            self._ended = ""

    def _break(self, reason: str) -> None:
        if self._broken is not None and not self._broken.done():
            self._broken.set_result(reason)

    async def _subscribe(self, client: Client) -> None:
        self._denied = ""
        msgs, size = self._limits
        for subject in self._subjects:
            self._subscriptions.add(
                await client.subscribe(subject, cb=self._take, pending_msgs_limit=msgs, pending_bytes_limit=size)
            )
        await _settle(client)
        if self._denied:
            self._ended = self._ended or ("denied" if self._intake.ready else "")
            raise JetStreamError(self._denied)

    async def _unsubscribe(self) -> None:
        for subscription in self._subscriptions:
            with suppress(nats.errors.Error, OSError):
                await subscription.unsubscribe()
        self._subscriptions.clear()

    async def _take(self, msg: Msg) -> None:
        if self._broken is None or self._broken.done() or reserved(msg.subject, self._subjects):
            return
        self._begin()
        name = (msg.headers.get(EVENT_NAME) if msg.headers else None) or None
        seq = self._intake.hub.log.head + 1
        self._intake.admit(Event(msg.subject, seq, msg.data, name, self._time_ns()), msg.headers)


async def _settle(client: Client) -> None:
    """Until NATS has taken what was sent, or has refused it. nats-py's ping may overtake what waits to be sent, but not
    twice: while the first one is under way, the rest is sent."""
    for _ in range(2):
        await client.flush(FLUSH_SECONDS)
