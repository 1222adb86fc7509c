"""A pod in a cgroup of its own, with a real limit: it takes no more streams before the kernel kills it."""

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from nats.aio.client import Client as Nats

from ssecast.dev import EmbeddedNats
from ssecast.memory import CRITICAL, HIGH, Cgroup, cgroups
from tests.harness import Client, Pod, until
from tests.peers import BEGUN, STREAM, Peer

MakePod = Callable[..., Pod]
MIB = 2**20


# Asked for first by each test, and so removed last, when its pod has gone.
@pytest.fixture
def cgroup() -> Iterator[Cgroup]:
    """A new one below that of the test, without a limit yet."""
    groups = cgroups()
    if not groups:
        pytest.skip("no cgroup with a memory controller (needs Linux)")
    own = groups[0]
    made = own._replace(directory=own.directory / f"ssecast-test-{os.getpid()}")
    try:
        made.directory.mkdir()
    except OSError as wrong:
        pytest.skip(f"cannot make a cgroup in {own.directory} ({wrong.strerror}): run as root on a machine of your own")
    try:
        if not (made.directory / made.limit_file).exists():
            pytest.skip(f"{own.directory} hands no memory controller down: needs cgroup.subtree_control")
        yield made
    finally:
        remove(made.directory)


def remove(directory: Path) -> None:
    """The kernel may take a moment to let go of a process that was killed."""
    for _ in range(100):
        try:
            directory.rmdir()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"{directory} cannot be removed")


class LimitedPod:
    """A pod that moves into the cgroup before it starts."""

    def __init__(self, pod: Pod, cgroup: Cgroup) -> None:
        self.pod, self.cgroup = pod, cgroup
        enter = f'echo $$ > {cgroup.directory}/cgroup.procs && exec "$@"'
        pod.command = ["sh", "-c", enter, "sh", *pod.command]

    def grant(self, more_than_used: int) -> None:
        """Sets the limit so that so many bytes are left until the pod takes no more streams."""
        self.limit((self.used + more_than_used) / HIGH)

    def limit(self, size: float) -> None:
        (self.cgroup.directory / self.cgroup.limit_file).write_text(str(round(size)))

    @property
    def used(self) -> int:
        self.limit(2**40)  # without one there is no reading
        reading = self.cgroup.read()
        assert reading is not None
        return reading.used

    def killed(self) -> bool:
        assert self.pod.process is not None
        return self.pod.process.poll() is not None


async def knock(port: int) -> tuple[Peer, bytes]:
    peer = await Peer.connect(port)
    await peer.send(STREAM)
    return peer, await peer.read(BEGUN, b"come back\n\n")


def share(pod: Pod) -> float:
    """How much of its limit the pod uses, as it sees that itself."""
    return pod.metric("ssecast_memory_used_bytes") / pod.metric("ssecast_memory_limit_bytes")


async def test_streams_are_refused_before_the_limit_and_taken_again_when_it_is_raised(
    cgroup: Cgroup, nats_server: EmbeddedNats, make_pod: MakePod, publisher: Nats
) -> None:
    limited = LimitedPod(make_pod(nats_server.url), cgroup)
    pod = await limited.pod.start()
    first = await Client.open(pod.port)
    limited.grant(6 * MIB)
    await until(lambda: pod.metric("ssecast_memory_limit_bytes") < 2**40, "the limit seen")
    opened = refused = 0
    while "memory is short" not in pod.log.read_text():
        assert opened < 6000, "it takes more than it has room for"
        answers = await asyncio.gather(*[knock(pod.port) for _ in range(100)])
        for peer, data in answers:
            opened += b"event: position" in data
            if data.endswith(b": memory, come back\n\n"):
                refused += 1
                peer.close()
    assert opened > 300, "there was room for some"
    assert not limited.killed()
    assert 0.97 * HIGH < share(pod) < 0.95
    assert (await knock(pod.port))[1].endswith(b": memory, come back\n\n")
    assert pod.load["refused_by_reason"]["memory"] == refused + 1
    await publisher.publish("events.x", b"served all the same")
    assert await first.has(1) == ["served all the same"]
    assert pod.admin("GET", "/readyz")[0] == 200, "being full must not take it out of the Service"

    limited.grant(200 * MIB)

    async def opens() -> bool:
        return b"event: position" in (await knock(pod.port))[1]

    await until(opens, "streams are taken again")
    assert not first.ended
    assert "memory suffices again" in pod.log.read_text()


async def test_a_log_that_grows_closes_the_door_and_not_the_pod(
    cgroup: Cgroup, nats_server: EmbeddedNats, make_pod: MakePod, publisher: Nats
) -> None:
    """Nobody new, whatever the memory went to."""
    limited = LimitedPod(make_pod(nats_server.url, log_max_bytes=1000 * MIB), cgroup)
    pod = await limited.pod.start()
    reader = await Client.open(pod.port)
    limited.grant(30 * MIB)
    sent = 0
    while pod.load["refused_by_reason"]["memory"] == 0:
        assert sent < 1000, "the pod takes streams although it is out of memory"
        for _ in range(10):
            await publisher.publish("events.x", b"x" * 100_000)
            sent += 1
        await reader.has(sent)
        peer, _ = await knock(pod.port)
        peer.close()
    assert not limited.killed()
    assert not reader.ended


async def test_close_to_the_limit_those_who_read_nothing_go_and_all_others_stay(
    cgroup: Cgroup, nats_server: EmbeddedNats, make_pod: MakePod, publisher: Nats
) -> None:
    """The kernel would otherwise end all streams at once. What waits for stalled readers is what the pod can give back."""
    limited = LimitedPod(make_pod(nats_server.url, client_buffer_bytes=8192, stall_seconds=1000), cgroup)
    pod = await limited.pod.start()
    reader = await Client.open(pod.port)
    stalled = [await Peer.connect(pod.port, receive_buffer=4096) for _ in range(20)]
    for peer in stalled:
        await peer.send(STREAM)
        await peer.read(BEGUN)
    for _ in range(50):
        await publisher.publish("events.x", b"x" * 10_000)
    await reader.has(50)
    limited.limit(limited.used / (CRITICAL + 0.01))
    await until(lambda: pod.load["closed_total"]["memory"] == 20, "the stalled ones closed")
    limited.limit(2**40)
    assert not limited.killed()
    assert not reader.ended
    assert pod.load["streams"] == 1


async def test_a_limit_that_is_low_for_so_many_streams_is_said_at_the_start(
    cgroup: Cgroup, nats_server: EmbeddedNats, make_pod: MakePod
) -> None:
    (cgroup.directory / cgroup.limit_file).write_text(str(300 * MIB))
    limited = LimitedPod(make_pod(nats_server.url, log_max_bytes=200 * MIB), cgroup)
    pod = await limited.pod.start()
    assert "streams_that_fit" in pod.log.read_text()
