"""Random events through a real NATS and a real pod: every client reads what was published, byte for byte."""

import json
from collections.abc import Callable
from itertools import pairwise
from random import Random

import pytest
from nats.aio.client import Client as Nats

from ssecast.dev import EmbeddedNats
from tests.fuzz.effort import SEED
from tests.fuzz.events import NAMES, Sent, publish, sequence
from tests.harness import Client, Pod, until
from tests.sse_parser import Message

COUNT = 300


def published(client: Client) -> list[Message]:
    return [event for event in client.events if event.name not in ("position", "gap")]


async def reaches(client: Client, seq: int) -> None:
    """Waits until the stream was told this position: in an event, or in a heartbeat where the last ones were not for it."""
    await until(lambda: client.last_id.endswith(f"-{seq}"), f"position {seq} (it has {client.last_id})")


def in_sent_order(client: Client, sent: list[Sent]) -> list[Sent]:
    """What was published under the sequences that the client has."""
    return [sent[int(event.id.rpartition("-")[2]) - 1] for event in published(client)]


@pytest.mark.parametrize("seed", range(SEED, SEED + 3))
async def test_every_client_reads_what_was_published(
    nats_server: EmbeddedNats, make_pod: Callable[..., Pod], publisher: Nats, seed: int
) -> None:
    """Plain and as JSON, filtered, resumed half way, from memory and live."""
    pod = await make_pod(nats_server.url, heartbeat_seconds=1).start()
    rng = Random(seed)
    sent = sequence(rng, COUNT, NAMES)
    shown = [event for event in sent if event.shown]
    start = pod.admin("GET", "/load")[1]["position"]
    plain, wrapped, narrow = [
        await Client.open(pod.port, path)
        for path in (
            "/events",
            "/events?format=json",
            "/events?subject=events.a&subject=events.b.>&subject=events.%C3%A9",
        )
    ]
    await publish(publisher, sent[: COUNT // 2])
    await reaches(plain, COUNT // 2)
    parted = plain.last_id
    await publish(publisher, sent[COUNT // 2 :])
    later = await Client.open(pod.port, last_event_id=parted)
    replayed = await Client.open(pod.port, last_event_id=start, version="1.0")
    for client in (plain, wrapped, narrow, later, replayed):
        await reaches(client, COUNT)
        assert not client.gaps
        ids = [int(event.id.rpartition("-")[2]) for event in published(client)]
        assert all(one < other for one, other in pairwise(ids))
        assert [event.name for event in published(client)] == [event.type for event in in_sent_order(client, sent)]
    assert plain.data == replayed.data == [event.data for event in shown]
    assert later.data == [event.data for event in sent[COUNT // 2 :] if event.shown]
    bodies = [json.loads(data) for data in wrapped.data]
    assert [(body["subject"], body["data"]) for body in bodies] == [(event.subject, event.data) for event in shown]
    assert narrow.data == [
        event.data for event in shown if event.subject in ("events.a", "events.b.c.d", "events.é")
    ]  # and not events.b or events.A
    dropped = sum(
        pod.metric(f'ssecast_events_dropped_total{{reason="{why}"}}') for why in ("not_utf8", "reserved_name")
    )
    assert dropped == COUNT - len(shown) > 0


async def test_latest_ends_with_the_newest_of_every_subject(pod: Pod, publisher: Nats) -> None:
    sent = sequence(Random(SEED), COUNT, NAMES, refused=False)
    client = await Client.open(pod.port, "/events?interval=50&latest=true&format=json")
    await publish(publisher, sent)
    await reaches(client, COUNT)
    seen = [json.loads(data) for data in client.data]
    newest = {event.subject: event.data for event in sent}
    assert {body["subject"]: body["data"] for body in seen} == newest
    assert [event.data for event in in_sent_order(client, sent)] == [body["data"] for body in seen]
