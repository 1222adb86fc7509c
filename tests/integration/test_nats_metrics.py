"""What a pod tells of the NATS stream that it follows, by a real nats-server."""

import math
import time
from collections.abc import Callable

import pytest
from nats.aio.client import Client as Nats
from nats.js.api import StreamConfig

from ssecast.dev import EmbeddedNats
from tests.harness import Pod, until


async def test_what_the_stream_keeps_and_may_keep_is_told(
    nats_server: EmbeddedNats, publisher: Nats, make_pod: Callable[..., Pod]
) -> None:
    """From the looks that the pod takes anyway, so a few seconds late; nothing is told of an oldest event that is not there."""
    pod = await make_pod(nats_server.url, stream_max_bytes="1Mi", stream_max_age_seconds=60).start()
    with pytest.raises(AssertionError, match="no metric"):
        pod.metric("ssecast_nats_stream_first_timestamp_seconds")
    before = time.time()
    for number in range(3):
        await publisher.publish(f"events.{number}", b"x")
    await until(lambda: pod.metric("ssecast_nats_stream_messages") == 3, "a look at the stream")
    assert pod.metric("ssecast_nats_stream_last_sequence") == pod.metric("ssecast_head_sequence") == 3
    assert pod.metric("ssecast_nats_stream_max_bytes") == 2**20
    assert pod.metric("ssecast_nats_stream_max_age_seconds") == 60
    first, last = (pod.metric(f"ssecast_nats_stream_{which}_timestamp_seconds") for which in ("first", "last"))
    assert before - 1 < first <= last < time.time() + 1
    assert 0 < pod.metric("ssecast_nats_stream_bytes") < 2**20


async def test_a_stream_without_limits_has_infinite_ones(
    nats_server: EmbeddedNats, publisher: Nats, make_pod: Callable[..., Pod]
) -> None:
    """A share of the limit is 0 then, and no alert fires."""
    await publisher.jetstream().add_stream(StreamConfig(name="ssecast", subjects=["events.>"]))
    pod = await make_pod(nats_server.url).start()
    assert pod.metric("ssecast_nats_stream_max_bytes") == math.inf
    assert pod.metric("ssecast_nats_stream_max_age_seconds") == math.inf


async def test_core_nats_has_no_stream_to_tell_of(nats_server: EmbeddedNats, make_pod: Callable[..., Pod]) -> None:
    pod = await make_pod(nats_server.url, stream="").start()
    with pytest.raises(AssertionError, match="no metric"):
        pod.metric("ssecast_nats_stream_bytes")


async def test_how_long_events_must_be_kept_follows_from_the_settings(
    nats_server: EmbeddedNats, make_pod: Callable[..., Pod]
) -> None:
    """Drain window, and the longest wait of a client before it comes back."""
    settings = {"drain_seconds": 40, "retry_ms": 1000, "retry_spread_ms": 5000}
    pod = await make_pod(nats_server.url, **settings).start()
    assert pod.metric("ssecast_retention_needed_seconds") == 46
