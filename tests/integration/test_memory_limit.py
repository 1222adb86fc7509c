"""A pod in a cgroup of its own, with a real limit: it takes no more streams before the kernel kills it."""

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from nats.aio.client import Client as Nats

from ssecast.dev import EmbeddedNats
from ssecast.memory import CRITICAL, HIGH, PAYLOADS_BYTES, SHARE, Cgroup, cgroups
from tests.harness import Client, Pod, until
from tests.peers import BEGUN, STREAM, Peer, exchange

MakePod = Callable[..., Pod]
MIB = 2**20
KIB100 = 100 * 2**10
REFUSED_FOR_BYTES = 'ssecast_publishes_refused_total{reason="bytes"}'
BALLAST = """
import sys
held = bytearray(b"x") * int(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


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


@contextlib.contextmanager
def ballast(cgroup: Cgroup, size: int) -> Iterator[None]:
    """A neighbour in the cgroup that has so much of its memory: what is left for the pod is tight, and no share of it."""
    enter = f'echo $$ > {cgroup.directory}/cgroup.procs && exec "$@"'
    command = ["sh", "-c", enter, "sh", sys.executable, "-c", BALLAST, str(size)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield
        process.kill()


async def published(publisher: Nats, pod: Pod, size: int) -> int:
    """Publishes so many bytes in events, all of which the pod has taken; returns the number of the last one."""
    first = head(pod)
    last = first + size // KIB100
    while first < last:
        upto = min(first + 20, last)
        for _ in range(upto - first):
            await publisher.publish("events.x", b"x" * KIB100)
        first = await at_head(pod, upto)
    return last


def head(pod: Pod) -> int:
    return int(pod.load["position"].rpartition("-")[2])


async def at_head(pod: Pod, seq: int) -> int:
    await until(lambda: head(pod) == seq, "the pod at the head")
    return seq


async def answered(client: Client) -> None:
    await until(lambda: client.ended or bool(client.data), "an event, or a refusal")


async def opens(port: int) -> bool:
    return b"event: position" in (await knock(port))[1]


async def answer(peer: Peer) -> tuple[bytes, bytes]:
    """Sends the last byte, where somebody still wants it, and reads the answer; nothing where it was reset."""
    with contextlib.suppress(OSError):
        await peer.send(b"x")
    head, _, body = (await peer.read()).partition(b"\r\n\r\n")
    return head, body


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

    await until(lambda: opens(pod.port), "streams are taken again")
    assert not first.ended
    assert "memory suffices again" in pod.log.read_text()


async def test_a_log_that_is_bounded_by_more_than_there_is_takes_its_share_and_the_pod_lives(
    cgroup: Cgroup, nats_server: EmbeddedNats, make_pod: MakePod, publisher: Nats
) -> None:
    """However much is published, and read in both forms by clients that come from its beginning: the second form counts."""
    limited = LimitedPod(make_pod(nats_server.url, log_max_bytes=1000 * MIB), cgroup)
    pod = await limited.pod.start()
    start = pod.load["position"]
    limited.grant(60 * MIB)
    await until(lambda: pod.metric("ssecast_memory_limit_bytes") < 2**40, "the limit seen")
    limit = pod.metric("ssecast_memory_limit_bytes")
    sent = 0
    while sent * KIB100 < limit:
        sent = await published(publisher, pod, 10 * MIB)
        again = await Client.open(pod.port, "/events?format=json", last_event_id=start)
        await answered(again)
        await again.close()
        assert not limited.killed()
        assert pod.metric("ssecast_log_bytes") <= 1.2 * SHARE * limit
    assert "SSECAST_LOG_MAX_BYTES" in pod.log.read_text()


async def test_past_the_critical_mark_the_log_grows_no_more(
    cgroup: Cgroup, nats_server: EmbeddedNats, make_pod: MakePod, publisher: Nats
) -> None:
    """Not by more than there is room for, whatever the rest went to: events pass through, and nobody new comes in."""
    limited = LimitedPod(make_pod(nats_server.url), cgroup)
    pod = await limited.pod.start()
    quiet = await Client.open(pod.port, "/events?subject=events.quiet")
    with ballast(cgroup, 300 * MIB):
        await published(publisher, pod, 10 * MIB)
        limited.limit(limited.used / (CRITICAL + 0.005))
        await until(lambda: share(pod) >= CRITICAL, "the critical mark")
        held = pod.metric("ssecast_log_bytes")
        await published(publisher, pod, 60 * MIB)  # the log might have so much
        assert not limited.killed()
        assert pod.metric("ssecast_log_bytes") < 50 * MIB
        assert (await knock(pod.port))[1].endswith(b": memory, come back\n\n")
        await publisher.publish("events.quiet", b"served all the same")
        assert await quiet.has(1) == ["served all the same"]
        limited.limit(2**40)
        await until(lambda: opens(pod.port), "streams are taken again")
        await published(publisher, pod, 30 * MIB)
        assert pod.metric("ssecast_log_bytes") > held + 25 * MIB


async def test_a_resume_for_which_there_is_no_memory_waits_until_there_is(
    cgroup: Cgroup, nats_server: EmbeddedNats, make_pod: MakePod, publisher: Nats
) -> None:
    """The backfill ends where it becomes critical, and nobody is told of a gap that is none."""
    limited = LimitedPod(make_pod(nats_server.url, log_max_bytes=4 * MIB, resume_max_bytes=100 * MIB), cgroup)
    pod = await limited.pod.start()
    start = pod.load["position"]
    events = await published(publisher, pod, 90 * MIB)
    with ballast(cgroup, 300 * MIB):
        limited.grant(5 * MIB)  # which leaves it some 70 MiB, and a quarter of the whole is more than the backfill
        await until(lambda: pod.metric("ssecast_memory_limit_bytes") < 2**40, "the limit seen")
        late = await Client.open(pod.port, last_event_id=start)
        await until(lambda: "there is no memory for a backfill" in pod.log.read_text(), "the resume waits")
        assert not limited.killed()
        assert not late.data
        limited.limit(2**40)
        assert len(await late.has(events)) == events
        assert not late.gaps


async def test_payloads_of_publishers_are_bounded_all_together(
    cgroup: Cgroup, nats_server: EmbeddedNats, make_pod: MakePod
) -> None:
    """Many that come at once, and stop before their end: what there is no room for is told to come again."""
    limited = LimitedPod(make_pod(nats_server.url, publish="true"), cgroup)
    pod = await limited.pod.start()
    pod.request("POST", "/publish/events.x", b"warm")
    limited.grant(90 * MIB)
    await until(lambda: pod.metric("ssecast_memory_limit_bytes") < 2**40, "the limit seen")
    size = 1_000_000
    peers = [await Peer.connect(pod.port) for _ in range(150)]
    begun = b"POST /publish/events.x HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % size
    await asyncio.gather(*[peer.send(begun + b"x" * (size - 1)) for peer in peers], return_exceptions=True)
    await until(lambda: pod.metric(REFUSED_FOR_BYTES) >= 130, "most of them refused")
    assert not limited.killed()
    assert 0 < pod.metric("ssecast_publishing_bytes") <= PAYLOADS_BYTES
    answers = await asyncio.gather(*[answer(peer) for peer in peers])
    heads = [head for head, *_ in answers if head]
    stored = [head for head in heads if head.startswith(b"HTTP/1.1 202 ")]
    refused = [head for head in heads if head.startswith(b"HTTP/1.1 503 ")]
    assert 10 <= len(stored) <= 20
    assert len(stored) + len(refused) == len(heads)
    assert all(b"\r\nretry-after: 1\r\n" in head for head in refused)
    assert pod.metric("ssecast_publishing_bytes") == 0


async def test_short_of_memory_no_payload_and_no_stream_is_taken_and_others_than_browsers_are_told_when_to_come(
    cgroup: Cgroup, nats_server: EmbeddedNats, make_pod: MakePod
) -> None:
    limited = LimitedPod(make_pod(nats_server.url, publish="true"), cgroup)
    pod = await limited.pod.start()
    limited.limit(limited.used / (HIGH + 0.02))
    await until(lambda: "memory is short" in pod.log.read_text(), "the mark")
    for request in (
        b"POST /publish/events.x HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx",
        STREAM.replace(b"text/event-stream", b"*/*"),
    ):
        head, _, body = (await exchange(pod.port, request)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert b"\r\nretry-after: " in head
        assert b"short of memory" in body
    assert pod.metric('ssecast_publishes_refused_total{reason="memory"}') == 1
    assert pod.metric('ssecast_streams_refused_total{reason="memory"}') == 1


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
    (cgroup.directory / cgroup.limit_file).write_text(str(150 * MIB))
    limited = LimitedPod(make_pod(nats_server.url, log_max_bytes=100 * MIB), cgroup)
    pod = await limited.pod.start()
    said = pod.log.read_text()
    assert "streams_that_fit" in said
    assert '"name": "SSECAST_LOG_MAX_BYTES"' in said
