"""Faults of NATS one after the other, drawn at random, against an oracle of what every client must see.

The short form runs with every test run; a longer one: `NATS_FAULT_SEEDS=1,2,3 NATS_FAULTS=100`, and `--timeout=0`.
"""

import asyncio
import json
import os
import random
import shutil
import signal
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from ssecast.dev import EmbeddedNats
from tests.harness import Client, Pod, until
from tests.nats_parts import Publisher, Wire, connect, healthy, whole

SEEDS = [int(seed) for seed in os.environ.get("NATS_FAULT_SEEDS", "20261122").split(",")]
FAULTS = int(os.environ.get("NATS_FAULTS", "9"))

KEPT = 2000
"""Events that the stream keeps: more than are published while a pod is away for a harmless time, and fewer than are
while it is away too long."""

Seen = list[int | str]
"""What a client got, in order: numbers of events, and the reasons of gaps."""


class Viewer:
    """A client that keeps its stream, or (nomad) changes between pods now and then and resumes by its id."""

    def __init__(self, pods: list[Pod], query: str, wants: Callable[[int], bool], *, nomad: bool) -> None:
        self.pods, self.query, self.wants, self.nomad = pods, query, wants, nomad
        self.client: Client | None = None
        self.at = 0
        self._seen: Seen = []
        self._read = 0

    async def connect(self) -> None:
        last_id = None
        if self.client is not None:
            await self.client.close()
            last_id = self.client.last_id
            assert self.seen is self._seen  # what the old client still got counts
            self._read = 0
        self.client = await Client.open(self.pods[self.at].port, f"/events{self.query}", last_event_id=last_id)
        # The position comes at once: a client that has none could not resume.
        await until(lambda: bool(self.client and self.client.last_id), "the first block")

    async def move(self) -> None:
        self.at = (self.at + 1) % len(self.pods)
        await self.connect()

    @property
    def seen(self) -> Seen:
        assert self.client is not None
        fresh = self.client.events[self._read :]
        self._read += len(fresh)
        for event in fresh:
            if event.name == "gap":
                self._seen.append(str(json.loads(event.data)["reason"]))
            elif event.name != "position":
                self._seen.append(whole(event.data))
        return self._seen

    async def sees(self, last: Seen, done: list[str]) -> None:
        """Waits until the last thing it got is this one."""
        try:
            await until(lambda: self.seen[-1:] == last, f"{last} seen by {self.query or 'everything'}")
        except AssertionError as wrong:
            raise AssertionError(f"{wrong} after {done}; it has seen {self.seen[-5:]}") from None

    async def told(self, count: int, done: list[str]) -> None:
        """Waits until it was told of so many gaps."""
        await until(lambda: sum(isinstance(each, str) for each in self.seen) >= count, f"gap {count} after {done}")

    def expected(self, history: Seen) -> Seen:
        return [each for each in history if isinstance(each, str) or self.wants(each)]


def unconnected(pod: Pod) -> bool:
    return pod.metric("ssecast_source_connected") == 0


def difference(seen: Seen, expected: Seen, done: list[str]) -> str:
    """Where the two part, in a line that can be read."""
    at = next((at for at, (one, other) in enumerate(zip(seen, expected, strict=False)) if one != other), len(seen))
    return (
        f"{len(seen)} seen, {len(expected)} expected; {seen[at - 2 : at + 4]} for {expected[at - 2 : at + 4]}; {done}"
    )


class Sequence:
    """One server, two pods behind one wire, viewers, a publisher; `history` is what a viewer of everything must see."""

    def __init__(self, server: EmbeddedNats, wire: Wire, pods: list[Pod], publisher: Publisher, seed: int) -> None:
        self.server, self.wire, self.pods, self.publisher = server, wire, pods, publisher
        self.random = random.Random(seed)
        self.history: Seen = []
        self.done: list[str] = []
        wanted: tuple[tuple[str, Callable[[int], bool]], ...] = (
            ("", lambda _: True),
            ("?subject=events.odd", lambda number: number % 2 == 1),
            ("?format=json", lambda _: True),
            ("?interval=30", lambda _: True),
        )
        self.viewers = [Viewer(pods, *each, nomad=nomad) for each in wanted for nomad in (False, True)]

    async def run(self, faults: int) -> None:
        """Every kind of fault comes before any comes again."""
        for viewer in self.viewers:
            await viewer.connect()
        bag: list[Callable[[], Awaitable[None]]] = []
        for _ in range(faults):
            if not bag:
                bag = [*self.harmless, *self.breaking]
                self.random.shuffle(bag)
            fault = bag.pop()
            self.done.append(fault.__name__)
            if fault in self.harmless:
                await self._under_load(fault)
            else:
                await fault()
                await self._publish(20)
            await self._agree()

    async def _under_load(self, fault: Callable[[], Awaitable[None]]) -> None:
        first = self.publisher.last + 1
        async with self.publisher.steadily():
            await self.publisher.some(20)
            await fault()
            for viewer in self.viewers:
                if viewer.nomad:
                    await viewer.move()
            for pod in self.pods:
                await healthy(pod)
            await self.publisher.some(20)
        self.history += range(first, self.publisher.last + 1)

    async def _publish(self, count: int) -> None:
        first = self.publisher.last + 1
        await self.publisher.publish(count)
        self.history += range(first, first + count)

    async def _agree(self) -> None:
        """Waits until every viewer has seen the last of its history; then they must have seen exactly that."""
        for viewer in self.viewers:
            expected = viewer.expected(self.history)
            await viewer.sees(expected[-1:], self.done)
            assert viewer.seen == expected, difference(viewer.seen, expected, self.done)
            assert viewer.client is not None
            assert not viewer.client.ended, self.done

    async def _away(self) -> None:
        """No pod has a connection any more, and none gets one."""
        self.wire.refuses = True
        self.wire.cut()
        for pod in self.pods:
            await until(partial(unconnected, pod), "the connection to be gone")

    async def _back(self) -> None:
        self.wire.refuses = False
        for pod in self.pods:
            await healthy(pod)

    # Faults that nobody may notice, with events going on

    @property
    def harmless(self) -> list[Callable[[], Awaitable[None]]]:
        return [self.kill, self.restart, self.cut, self.flap, self.refuse, self.slow, self.freeze, self.orphan]

    async def kill(self) -> None:
        await asyncio.to_thread(self.server.stop, kill=True)
        await asyncio.sleep(self.random.uniform(0, 0.5))
        await asyncio.to_thread(self.server.start)

    async def restart(self) -> None:
        await asyncio.to_thread(self.server.restart)

    async def cut(self) -> None:
        self.wire.cut()

    async def flap(self) -> None:
        for _ in range(5):
            self.wire.cut()
            await asyncio.sleep(self.random.uniform(0, 0.3))

    async def refuse(self) -> None:
        await self._away()
        await self._back()

    async def slow(self) -> None:
        self.wire.delay = 0.02
        await self.publisher.some(50)
        self.wire.delay = 0.0

    async def freeze(self) -> None:
        pod = self.random.choice(self.pods)
        assert pod.process is not None
        pod.process.send_signal(signal.SIGSTOP)
        await self.publisher.some(50)
        pod.process.send_signal(signal.SIGCONT)

    async def orphan(self) -> None:
        """Somebody deletes the pods' consumers."""
        jetstream = self.publisher.client.jetstream()
        for consumer in await jetstream.consumers_info("ssecast"):
            await jetstream.delete_consumer("ssecast", consumer.name)

    # Faults that everybody is told of, and some that look like them

    @property
    def breaking(self) -> list[Callable[[], Awaitable[None]]]:
        return [self.recreate, self.lose, self.rewind, self.outgrow, self.overrun, self.purge_seen, self.purge_unseen]

    async def recreate(self) -> None:
        jetstream = self.publisher.client.jetstream()
        config = (await jetstream.stream_info("ssecast")).config
        await jetstream.delete_stream("ssecast")
        await jetstream.add_stream(config)
        await self._told("epoch")

    async def lose(self) -> None:
        """The server comes back without its data; whoever is first creates the stream, here the test with its limits."""
        await self._away()
        config = (await self.publisher.client.jetstream().stream_info("ssecast")).config
        await asyncio.to_thread(self.server.restart, keep_data=False)
        await until(lambda: self.publisher.client.is_connected, "the publisher to be back")
        await self.publisher.client.jetstream().add_stream(config)
        await self._back()
        await self._told("epoch")

    async def rewind(self) -> None:
        """A backup is restored that is older than what the pods have."""
        await self._restore(self.random.randint(1, 20))
        await self._back()
        await self._told("rewound")

    async def outgrow(self) -> None:
        """The same, and the stream has gone past the head before the pods look: from their head on it is news."""
        lost = self.random.randint(2, 20)
        await self._restore(lost)
        first = self.publisher.last + 1
        await self.publisher.publish(40)
        await self._back()
        await self._told("rewound")
        # The newest event that the pods had is at a number that another event bears now, the first one that they give.
        self.history += range(first + lost - 1, first + 40)

    async def _restore(self, lost: int) -> None:
        backup = self.server.store.with_name("backup")
        await asyncio.to_thread(self.server.stop)
        shutil.rmtree(backup, ignore_errors=True)
        shutil.copytree(self.server.store, backup)
        await asyncio.to_thread(self.server.start)
        await self._publish(lost)
        await self._agree()
        await self._away()
        await asyncio.to_thread(self.server.stop)
        shutil.rmtree(self.server.store)
        shutil.copytree(backup, self.server.store)
        await asyncio.to_thread(self.server.start)

    async def overrun(self) -> None:
        """The pods are away for longer than the stream keeps events."""
        await self._away()
        first = self.publisher.last + 1
        await self.publisher.publish(KEPT + self.random.randint(1, 50))
        await self._back()
        await self._told("expired")
        self.history += range(max(first, self.publisher.last - KEPT + 1), self.publisher.last + 1)

    async def purge_seen(self) -> None:
        """What everybody has may go."""
        await self.publisher.client.jetstream().purge_stream("ssecast")

    async def purge_unseen(self) -> None:
        await self._away()
        await self.publisher.publish(self.random.randint(1, 50))
        await self.publisher.client.jetstream().purge_stream("ssecast")
        await self._back()
        await self._told("expired")

    async def _told(self, reason: str) -> None:
        """Everybody must have been told before anything else is published, so that the order is known."""
        self.history.append(reason)
        told = sum(isinstance(each, str) for each in self.history)
        for viewer in self.viewers:
            await viewer.told(told, self.done)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", SEEDS)
async def test_whatever_happens_in_whatever_order_every_client_sees_what_it_must(
    nats_server: EmbeddedNats, make_pod: Callable[..., Pod], seed: int
) -> None:
    """Every acknowledged event once and in order, or a gap where the oracle knows of one, and nowhere else."""
    client = await connect(nats_server.url)
    await client.jetstream().add_stream(name="ssecast", subjects=["events.>"], max_msgs=KEPT)
    async with Wire(nats_server.port) as wire:
        pods = [await make_pod(wire.url, log_max_events=size).start() for size in (10_000, 100)]
        sequence = Sequence(nats_server, wire, pods, Publisher(client), seed)
        await sequence.run(FAULTS)
    await client.close()
