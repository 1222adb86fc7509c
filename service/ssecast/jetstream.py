"""What a pod asks of JetStream: the state of its stream, ephemeral consumers, publishing.

Raw requests where nats-py discards what is needed (nanoseconds, the `num_pending` of a creation).
"""

import asyncio
import json
import secrets
import shlex
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from math import inf
from typing import Any, NamedTuple, Protocol

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from ssecast.refusals import (
    CONSUMER_LIMITS,
    DISABLED,
    HINTS,
    NEEDED,
    NOT_ENABLED,
    QUORUM,
    STREAM_NAME_IN_USE,
    STREAM_NOT_FOUND,
    SUBJECTS_OVERLAP,
    Denial,
    JetStreamError,
    Unanswered,
    too_large,
)
from ssecast.subjects import covered, reduce

REQUEST_SECONDS = 3.0
DELETE_SECONDS = 0.5
"""A consumer that is not deleted in this time is left to its inactive threshold."""

INACTIVE_SECONDS = 10

DENIALS_MAX = 100
"""Refused subjects that are remembered until somebody waits for an answer in vain."""

NANOSECONDS = 10**9
EVENT_NAME = "Ssecast-Event"
MESSAGE_ID = "Nats-Msg-Id"

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """What a stream is created with; one that exists keeps its own."""

    max_age_seconds: float
    max_bytes: int
    replicas: int
    storage: str


class StreamState(NamedTuple):
    """A reading of the stream: it holds sequences first to last, and is empty where first is last + 1."""

    epoch: str
    first: int
    last: int
    messages: int = 0
    bytes: int = 0
    subjects: tuple[str, ...] = ()
    retention: str = "limits"
    is_copy: bool = False
    """A mirror or sourced stream: what it stores is not told by its subjects."""
    replicas: int = 1
    max_bytes: float = inf
    max_age_seconds: float = inf
    first_at: float | None = None
    """When its first event was stored, in seconds since 1970; None where it is empty."""
    last_at: float | None = None


def base36(number: int) -> str:
    """A natural number in digits and small letters: an epoch."""
    text = ""
    while number:
        number, digit = divmod(number, 36)
        text = _DIGITS[digit] + text
    return text or "0"


class Consumer(Protocol):
    """Who has to know what happens to a subscription."""

    def fail(self, reason: str) -> None:
        """What it is sent from now on is lost."""

    def overflow(self) -> None:
        """A message was dropped, because too many waited."""


class JetStream:
    """One stream, over a connection that comes and goes. Every method raises JetStreamError.

    seen: the last reading of its state, whoever asked; None before the first.
    """

    def __init__(self, client: Callable[[], Client | None], stream: str) -> None:
        self.stream = stream
        self.seen: StreamState | None = None
        self._client = client
        self._consumers: dict[Subscription, Consumer] = {}
        self._denied: dict[str, Denial] = {}

    @property
    def client(self) -> Client:
        """The connection. Raises JetStreamError while there is none: nats-py would queue what is sent meanwhile."""
        client = self._client()
        if client is None or not client.is_connected:
            raise JetStreamError("NATS is not connected")
        return client

    async def state(self) -> StreamState:
        """Reads the stream's state. A replica that has lost its leader answers too, with what it happens to know: that
        is no state."""
        info = await self._api(f"STREAM.INFO.{self.stream}")
        if "cluster" in info and not info["cluster"].get("leader"):
            raise JetStreamError(f"stream {self.stream!r} has no leader, so that nothing can be published: {QUORUM}")
        return self._read(info)

    async def ensure(self, subjects: tuple[str, ...], limits: StreamLimits) -> StreamState:
        """The state of the stream, which is created when missing and never changed when not.

        Raises JetStreamError where it cannot serve the subjects, and says what would mend that.
        """
        try:
            state = await self.state()
        except JetStreamError as error:
            if error.code != STREAM_NOT_FOUND:
                raise
            state = await self._create(subjects, limits)
        self.check(state, subjects)
        return state

    async def create_consumer(
        self, deliver_subject: str, start_seq: int, filter_subjects: tuple[str, ...], heartbeat_seconds: float = 1.0
    ) -> tuple[str, int]:
        """Makes an ephemeral push consumer; returns its name and how many messages it will deliver from the past."""
        name = f"ssecast-{secrets.token_hex(8)}"
        filters: dict[str, Any] = {"filter_subjects": list(filter_subjects)}
        if len(filter_subjects) == 1:
            filters = {"filter_subject": filter_subjects[0]}
        config = {
            "name": name,
            "deliver_subject": deliver_subject,
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": max(1, start_seq),
            "ack_policy": "none",
            "max_deliver": 1,
            "num_replicas": 1,
            "mem_storage": True,
            "flow_control": True,
            "idle_heartbeat": int(heartbeat_seconds * NANOSECONDS),
            "inactive_threshold": INACTIVE_SECONDS * NANOSECONDS,
        }
        body = {"stream_name": self.stream, "action": "create", "config": config | filters}
        try:
            answer = await self._api(f"CONSUMER.CREATE.{self.stream}.{name}", body)
        except JetStreamError as error:
            if error.code not in CONSUMER_LIMITS:
                raise
            raise JetStreamError(
                f"stream {self.stream!r} gives this pod no consumer: {error}; every pod needs one, "
                "and a second one while it fetches events for streams that resume",
                error.code,
            ) from error
        return name, int(answer["num_pending"])

    async def delete_consumer(self, name: str) -> None:
        """Deletes a consumer; one that cannot be deleted now goes by itself soon."""
        with suppress(JetStreamError):
            await self._api(f"CONSUMER.DELETE.{self.stream}.{name}", seconds=DELETE_SECONDS)

    async def count_after(self, seq: int, filter_subjects: tuple[str, ...]) -> int:
        """How many messages of these subjects come after seq."""
        name, pending = await self.create_consumer(self.client.new_inbox(), seq + 1, filter_subjects)
        await self.delete_consumer(name)
        return pending

    async def publish(
        self,
        subject: str,
        data: bytes,
        name: str | None = None,
        message_id: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, bool]:
        """Publishes an event; returns its sequence, and whether it had been stored under that message id before."""
        ours = {EVENT_NAME: name, MESSAGE_ID: message_id}
        headers = (headers or {}) | {key: value for key, value in ours.items() if value}
        answer = await self._request(subject, data, REQUEST_SECONDS, headers or None)
        if answer.get("stream") != self.stream:
            raise JetStreamError(f"the event was stored, but by stream {answer.get('stream')!r}, not {self.stream!r}")
        return int(answer["seq"]), bool(answer.get("duplicate"))

    def overflowed(self, subscription: Subscription) -> None:
        """nats-py dropped a message of this subscription."""
        feed = self._consumers.get(subscription)
        if feed is not None:
            feed.overflow()

    def disconnected(self) -> None:
        """The connection broke: what the consumers send from now on is lost."""
        self._denied.clear()
        for feed in list(self._consumers.values()):
            feed.fail("disconnected")

    def register(self, subscription: Subscription, feed: Consumer) -> None:
        """Tells a feed what happens to its subscription."""
        self._consumers[subscription] = feed

    def forget(self, subscription: Subscription) -> None:
        self._consumers.pop(subscription, None)

    def denied(self, denial: Denial) -> None:
        """NATS refused a request, or the subscription to its answer: the wait for it will be in vain."""
        key = denial.subject.lower() if denial.verb == "publish" else ""
        if len(self._denied) < DENIALS_MAX:
            self._denied[key] = denial

    async def _create(self, subjects: tuple[str, ...], limits: StreamLimits) -> StreamState:
        config = {
            "name": self.stream,
            "subjects": list(subjects),
            "retention": "limits",
            "discard": "old",
            "storage": limits.storage,
            "num_replicas": limits.replicas,
            "max_age": int(limits.max_age_seconds * NANOSECONDS),
            "max_bytes": limits.max_bytes,
        }
        try:
            return self._read(await self._api(f"STREAM.CREATE.{self.stream}", config))
        except JetStreamError as error:
            if error.code == STREAM_NAME_IN_USE:  # another pod was faster
                return await self.state()
            if error.code == SUBJECTS_OVERLAP:
                raise JetStreamError(await self._overlap(subjects), error.code) from error
            hint = f"; {HINTS[error.code]}" if error.code in HINTS else ""
            raise JetStreamError(f"stream {self.stream!r} cannot be created: {error}{hint}", error.code) from error

    def _read(self, info: dict[str, Any]) -> StreamState:
        self.seen = _state(info)
        return self.seen

    async def _overlap(self, subjects: tuple[str, ...]) -> str:
        others: set[str] = set()
        for subject in subjects:
            others |= set((await self._api("STREAM.NAMES", {"subject": subject})).get("streams") or ())
        names = ", ".join(sorted(others)) or "another stream"
        return (
            f"stream {self.stream!r} cannot be created, because {names} stores some of SSECAST_SUBJECTS "
            f"({','.join(subjects)}) already: set SSECAST_STREAM to that one, or choose other subjects"
        )

    def check(self, state: StreamState, subjects: tuple[str, ...]) -> None:
        """Raises JetStreamError where the stream cannot serve the subjects, and says what would mend that."""
        if state.retention != "limits":
            raise JetStreamError(
                f"stream {self.stream!r} has retention {state.retention!r}: a broadcast needs 'limits', "
                "because nobody acknowledges; set SSECAST_STREAM to another stream"
            )
        missing = [subject for subject in subjects if not covered(subject, state.subjects)]
        if missing and not state.is_copy:
            mended = shlex.quote(",".join(reduce([*state.subjects, *missing])))
            raise JetStreamError(
                f"stream {self.stream!r} does not store {','.join(missing)} of SSECAST_SUBJECTS; to add it: "
                f"nats stream edit {self.stream} --subjects={mended}"
            )

    async def _api(self, what: str, body: Any = None, seconds: float = REQUEST_SECONDS) -> dict[str, Any]:
        payload = b"" if body is None else json.dumps(body).encode()
        return await self._request(f"$JS.API.{what}", payload, seconds)

    async def _request(
        self, subject: str, payload: bytes, seconds: float, headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        try:
            answer = json.loads((await self._ask(subject, payload, seconds, headers)).data)
        except nats.errors.NoRespondersError:
            raise JetStreamError(self._nobody(subject)) from None
        except TimeoutError:
            raise self._unanswered(subject, seconds) from None
        except nats.errors.MaxPayloadError as error:
            raise too_large(self.client.max_payload) from error
        except (nats.errors.Error, OSError, ValueError) as error:
            raise JetStreamError(f"NATS: {error}") from error
        if not isinstance(answer, dict):
            raise JetStreamError(f"NATS answered {str(answer)[:100]!r}")
        if "error" in answer:
            said = answer["error"]
            code = int(said.get("err_code", 0))
            raise JetStreamError(DISABLED if code in NOT_ENABLED else str(said.get("description", said)), code)
        return answer

    async def _ask(self, subject: str, payload: bytes, seconds: float, headers: dict[str, str] | None) -> Msg:
        """nats-py waits without end for a connection that takes nothing any more, and swallows a cancellation then."""
        asking = asyncio.ensure_future(self.client.request(subject, payload, seconds, headers=headers))
        asking.add_done_callback(lambda asked: asked.cancelled() or asked.exception())  # nobody else may look at it
        try:
            await asyncio.wait({asking}, timeout=seconds + 1)
            if not asking.done():
                raise nats.errors.TimeoutError
            return asking.result()
        finally:
            asking.cancel()

    def _unanswered(self, subject: str, seconds: float) -> JetStreamError:
        denial = self._denied.pop(subject.lower(), None) or self._denied.get("")
        if denial is not None:
            return JetStreamError(f"{denial}: {NEEDED}" if denial.ours else str(denial))
        if not subject.startswith("$JS."):
            return Unanswered(f"NATS has not answered within {seconds:g} s")
        return Unanswered(f"JetStream has not answered for stream {self.stream!r} within {seconds:g} s: {QUORUM}")

    def _nobody(self, subject: str) -> str:
        return DISABLED if subject.startswith("$JS.") else f"no stream stores {subject!r}"


def _state(info: dict[str, Any]) -> StreamState:
    config, state = info["config"], info["state"]
    messages, last = int(state["messages"]), int(state["last_seq"])
    return StreamState(
        epoch=base36(_microseconds(info["created"])),
        first=int(state["first_seq"]) if messages else last + 1,
        last=last,
        messages=messages,
        bytes=int(state["bytes"]),
        subjects=tuple(config.get("subjects") or ()),
        retention=config["retention"],
        is_copy=bool(config.get("mirror") or config.get("sources")),
        replicas=int(config.get("num_replicas", 1)),
        max_bytes=_limit(config.get("max_bytes")),
        max_age_seconds=_limit(config.get("max_age")) / NANOSECONDS,
        first_at=_microseconds(state["first_ts"]) / 1e6 if messages else None,
        last_at=_microseconds(state["last_ts"]) / 1e6 if messages else None,
    )


def _limit(configured: int | None) -> float:
    """NATS writes "no limit" as -1 or 0."""
    return configured if configured and configured > 0 else inf


def _microseconds(timestamp: str) -> int:
    """RFC 3339 in UTC with up to nine digits of seconds' fraction, as microseconds since 1970."""
    whole, _, fraction = timestamp.rstrip("Z").partition(".")
    return int(datetime.fromisoformat(whole + "+00:00").timestamp()) * 1_000_000 + int(fraction[:6].ljust(6, "0"))
