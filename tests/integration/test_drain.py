"""Stopping and moving streams in good order: SIGTERM, /drain, /undrain, /shed and maximum age on real pods.

Every close is read at its client: how it ended, with which `retry:`, and what the stream had been sent until then.
"""

import asyncio
import signal
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from nats.aio.client import Client as Nats

from ssecast.dev import EmbeddedNats
from ssecast.signature import signed
from tests.followers import Crowd, End
from tests.harness import Client, Pod, until

MakePod = Callable[..., Pod]

SLICES = 4
LEAST, MOST = 0.10, 0.45
"""Of all closes, what each of four slices of a window has at least and at most: a quarter, and how far a machine that is
busy with other things may shift it."""


async def opened(pod: Pod, count: int) -> list[Client]:
    clients = [await Client.open(pod.port) for _ in range(count)]
    await until(lambda: all(client.last_id for client in clients), "every first block")
    return clients


def terminate(pod: Pod) -> None:
    assert pod.process is not None
    pod.process.send_signal(signal.SIGTERM)


def order(pod: Pod, path: str, **body: float) -> dict[str, object]:
    """Gives an order; returns what the pod says is under way."""
    status, answer = pod.admin("POST", path, body or None)
    assert status == 202, answer
    assert isinstance(answer, dict)
    return answer


def load(pod: Pod) -> dict[str, object]:
    answer = pod.admin("GET", "/load")[1]
    assert isinstance(answer, dict)
    return answer


def check_farewells(ends: list[End]) -> None:
    """Each in good order, with a short `retry:` of its own."""
    assert all(end.whole for end in ends)
    retries = Counter(end.retry or 0 for end in ends)
    assert min(retries) >= 50
    assert max(retries) <= 1000
    assert len(retries) > len(ends) / 4


def check_spread(ends: list[End], begin: float, window: float) -> None:
    slices = Counter(min(max(int((end.at - begin) / window * SLICES), 0), SLICES - 1) for end in ends)
    shares = [slices[at] / len(ends) for at in range(SLICES)]
    assert all(LEAST <= share <= MOST for share in shares), shares


@asynccontextmanager
async def publishing(publisher: Nats, per_second: float) -> AsyncIterator[list[str]]:
    """Numbers from 1, until the block ends; the list holds those that the stream has stored."""
    jetstream, sent, enough = publisher.jetstream(), list[str](), asyncio.Event()

    async def publish() -> None:
        while not enough.is_set():
            number = str(len(sent) + 1)
            await jetstream.publish("events.x", number.encode())
            sent.append(number)
            with suppress(TimeoutError):
                await asyncio.wait_for(enough.wait(), 1 / per_second)

    task = asyncio.ensure_future(publish())
    try:
        yield sent
    finally:
        enough.set()
        await task


# A window


async def test_a_drain_closes_streams_evenly_and_each_with_a_short_retry_of_its_own(
    nats_server: EmbeddedNats, make_pod: MakePod
) -> None:
    pod = await make_pod(nats_server.url).start()
    window = 6.0
    async with Crowd(400, [pod.port], rebound=False) as crowd:
        begin = time.monotonic()
        assert order(pod, "/drain", window_seconds=window)["streams"] == 400
        await until(lambda: len(crowd.ends) == 400, "every stream closed")
    check_farewells(crowd.ends)
    check_spread(crowd.ends, begin, window)
    assert (load(pod)["streams"], load(pod)["closed_total"]["drain"]) == (0, 400)  # type: ignore[index]
    assert pod.metric("ssecast_streams_cut_total") == 0


async def test_sigterm_closes_streams_evenly_after_the_delay_and_ends_the_pod(
    nats_server: EmbeddedNats, make_pod: MakePod
) -> None:
    window = 6.0
    pod = await make_pod(nats_server.url, drain_delay_seconds=1, drain_seconds=window).start()
    async with Crowd(400, [pod.port], rebound=False) as crowd:
        begin = time.monotonic() + 1
        terminate(pod)
        await until(lambda: len(crowd.ends) == 400, "every stream closed")
        assert await pod.stop() == 0
    check_farewells(crowd.ends)
    check_spread(crowd.ends, begin, window)
    assert min(end.at for end in crowd.ends) >= begin - 0.2, "nobody before the delay is over"


async def test_a_shed_closes_the_oldest_evenly_and_nobody_else(nats_server: EmbeddedNats, make_pod: MakePod) -> None:
    pod = await make_pod(nats_server.url).start()
    window = 6.0
    async with Crowd(200, [pod.port], rebound=False) as old, Crowd(100, [pod.port], rebound=False) as young:
        begin = time.monotonic()
        answer = order(pod, "/shed", count=200, window_seconds=window)
        assert (answer["shedding"], answer["draining"]) == (200, False)
        assert answer["shed_deadline"]
        assert order(pod, "/shed", count=200, window_seconds=window)["shed_deadline"] == answer["shed_deadline"]
        await until(lambda: len(old.ends) == 200, "the old ones closed")
        await until(lambda: load(pod)["shed_deadline"] is None, "the end of the shed")
        assert not young.ends
        assert (load(pod)["streams"], load(pod)["shedding"]) == (100, 0)
        assert pod.admin("GET", "/readyz")[0] == 200
    check_farewells(old.ends)
    check_spread(old.ends, begin, window)


# While a pod drains


async def test_while_it_waits_for_propagation_a_stopping_pod_is_not_ready_and_sends_new_streams_elsewhere(
    nats_server: EmbeddedNats, make_pod: MakePod, publisher: Nats
) -> None:
    pod = await make_pod(nats_server.url, drain_delay_seconds=60, drain_seconds=60).start()
    (client,) = await opened(pod, 1)
    terminate(pod)
    await until(lambda: pod.admin("GET", "/readyz")[0] == 503, "not ready")
    assert pod.admin("GET", "/readyz")[1]["reason"] == "draining"
    assert (load(pod)["stopping"], load(pod)["draining"]) == (True, True)
    assert load(pod)["drain_deadline"]
    refused = await Client.open(pod.port)
    await until(lambda: refused.ended, "the refused stream to end")
    assert refused.status == 200
    assert refused.parser.retry is not None
    assert refused.parser.retry >= 300, "a refusal keeps the wide one"
    await publisher.publish("events.x", b"still served")
    assert await client.has(1) == ["still served"]
    terminate(pod)
    assert await pod.stop() == 0
    await until(lambda: client.ended, "the end")
    assert client.complete
    assert 50 <= (client.parser.retry or 0) <= 1000


async def test_a_drain_is_visible_can_be_repeated_and_taken_back(nats_server: EmbeddedNats, make_pod: MakePod) -> None:
    pod = await make_pod(nats_server.url).start()
    clients = await opened(pod, 3)
    first = order(pod, "/drain", window_seconds=1000)
    assert (first["draining"], first["stopping"], first["streams"]) == (True, False, 3)
    assert order(pod, "/drain", window_seconds=1000) == first
    assert first.items() <= load(pod).items()
    assert pod.metric("ssecast_draining") == 1
    assert pod.admin("GET", "/readyz") == (503, {"ready": False, "reason": "draining"})
    status, answer = pod.admin("POST", "/shed", {"count": 3, "window_seconds": 0})
    assert (status, answer["detail"].split(";")[0]) == (409, "this pod drains and closes all of its streams anyway")
    longer = order(pod, "/drain", window_seconds=2000)
    assert str(longer["drain_deadline"]) > str(first["drain_deadline"])
    assert (order(pod, "/undrain")["drain_deadline"], order(pod, "/undrain")["draining"]) == (None, False)
    assert pod.admin("GET", "/readyz")[0] == 200
    (another,) = await opened(pod, 1)
    assert not any(client.ended for client in [*clients, another])
    order(pod, "/drain", window_seconds=1000)
    order(pod, "/drain", window_seconds=0)
    await until(lambda: all(client.ended and client.complete for client in [*clients, another]), "every stream closed")
    assert (load(pod)["streams"], load(pod)["closed_total"]["drain"]) == (0, 4)  # type: ignore[index]
    assert pod.metric('ssecast_orders_total{order="drain"}') == 5
    assert pod.metric('ssecast_orders_refused_total{reason="conflict"}') == 1


async def test_a_stopping_pod_can_be_hurried_but_not_held(nats_server: EmbeddedNats, make_pod: MakePod) -> None:
    pod = await make_pod(nats_server.url, drain_delay_seconds=0, drain_seconds=1000).start()
    clients = await opened(pod, 3)
    terminate(pod)
    await until(lambda: load(pod)["stopping"] is True, "the stop")
    deadline = load(pod)["drain_deadline"]
    status, answer = pod.admin("POST", "/undrain")
    assert (status, answer) == (409, {"detail": "this pod was told to stop, which cannot be taken back"})
    assert order(pod, "/drain", window_seconds=5000)["drain_deadline"] == deadline
    order(pod, "/drain", window_seconds=0)
    await until(lambda: all(client.ended and client.complete for client in clients), "every stream closed")
    assert pod.process is not None
    assert await asyncio.to_thread(pod.process.wait, 40) == 0


async def test_sigterm_brings_a_long_drain_to_its_end(nats_server: EmbeddedNats, make_pod: MakePod) -> None:
    pod = await make_pod(nats_server.url, drain_delay_seconds=0, drain_seconds=1).start()
    clients = await opened(pod, 3)
    order(pod, "/drain", window_seconds=10_000)
    terminate(pod)
    await until(lambda: all(client.ended and client.complete for client in clients), "every stream closed")
    assert pod.process is not None
    assert await asyncio.to_thread(pod.process.wait, 40) == 0


async def test_a_pod_that_was_drained_before_exits_without_another_wait(
    nats_server: EmbeddedNats, make_pod: MakePod
) -> None:
    """No client has been sent here since then, so there is nothing to wait for."""
    pod = await make_pod(nats_server.url, drain_delay_seconds=1, drain_seconds=1000).start()
    (client,) = await opened(pod, 1)
    order(pod, "/drain", window_seconds=0)
    await until(lambda: client.ended, "the end")
    terminate(pod)
    assert pod.process is not None
    assert await asyncio.to_thread(pod.process.wait, 40) == 0


async def test_a_second_signal_ends_it_at_once(nats_server: EmbeddedNats, make_pod: MakePod) -> None:
    pod = await make_pod(nats_server.url, drain_delay_seconds=0, drain_seconds=1000).start()
    async with Crowd(50, [pod.port], rebound=False) as crowd:
        terminate(pod)
        await until(lambda: load(pod)["stopping"] is True, "the stop")
        assert await pod.stop() == 0
        await until(lambda: len(crowd.ends) == 50, "every stream closed")
    check_farewells(crowd.ends)


# Nothing is lost


@pytest.mark.parametrize("how", ["drain", "sigterm"])
async def test_streams_go_from_one_pod_to_another_with_every_event_exactly_once(
    nats_server: EmbeddedNats, make_pod: MakePod, publisher: Nats, how: str
) -> None:
    one = await make_pod(nats_server.url, drain_seconds=4, drain_delay_seconds=1).start()
    other = await make_pod(nats_server.url).start()
    async with Crowd(150, [one.port, other.port]) as crowd:
        async with publishing(publisher, 50) as sent:
            await until(lambda: len(sent) > 20, "a stream of events")
            if how == "drain":
                order(one, "/drain", window_seconds=4)
            else:
                terminate(one)
            await until(lambda: load(other)["streams"] == 150, "all of them at the other pod")
            moved = len(sent)
            await until(lambda: len(sent) > moved + 20, "events behind it")
        await crowd.have(sent)
        left = [end for end in crowd.ends if end.port == one.port and end.events]
        assert len(left) == 150
        check_farewells(left)


async def test_streams_live_on_through_many_lives(
    nats_server: EmbeddedNats, make_pod: MakePod, publisher: Nats
) -> None:
    """A life is at most the maximum age, less up to a fifth of it; what comes after it goes on where it ended."""
    pod = await make_pod(nats_server.url, max_age_seconds=2, heartbeat_seconds=60).start()
    async with Crowd(60, [pod.port]) as crowd:
        async with publishing(publisher, 30) as sent:
            await until(lambda: min(len(f.ends) for f in crowd.followers) >= 4, "four lives of everybody")
        await crowd.have(sent)
        ends = crowd.ends
    check_farewells(ends)
    lives = [end.at - end.opened for end in ends]
    assert min(lives) >= 2 * 0.8 - 0.2, "a tick of slack"
    assert len({round(life, 2) for life in lives}) > 20, "each has its own"
    assert load(pod)["closed_total"]["age"] >= len(ends)  # type: ignore[index]


async def test_a_drain_that_waits_lets_streams_end_by_their_age_and_takes_no_more(
    nats_server: EmbeddedNats, make_pod: MakePod, publisher: Nats
) -> None:
    """As a pod is told that is not needed any more: nobody reconnects who would not have, and everybody has everything."""
    one = await make_pod(nats_server.url, max_age_seconds=3, heartbeat_seconds=60).start()
    other = await make_pod(nats_server.url).start()
    async with Crowd(150, [one.port, other.port]) as crowd:
        async with publishing(publisher, 30) as sent:
            await until(lambda: len(sent) > 10, "a stream of events")
            order(one, "/drain", window_seconds=60, delay_seconds=600)
            await until(lambda: load(other)["streams"] == 150, "all of them at the other pod")
            moved = len(sent)
            await until(lambda: len(sent) > moved + 10, "events behind it")
        await crowd.have(sent)
    told = load(one)
    assert (told["streams"], told["draining"]) == (0, True)
    assert told["closed_total"]["drain"] == 0  # type: ignore[index]
    assert told["closed_total"]["age"] > 0  # type: ignore[index]


async def test_a_pod_that_waits_is_ended_all_the_same(nats_server: EmbeddedNats, make_pod: MakePod) -> None:
    """A node that is drained does not wait with it: it closes from now on, over the time that a pod has to end."""
    pod = await make_pod(nats_server.url, drain_seconds=2, drain_delay_seconds=1).start()
    async with Crowd(100, [pod.port], rebound=False) as crowd:
        order(pod, "/drain", window_seconds=60, delay_seconds=600)
        begin = time.monotonic()
        terminate(pod)
        await until(lambda: len(crowd.ends) == 100, "every end")
        check_farewells(crowd.ends)
        check_spread(crowd.ends, begin, 3.0)


async def test_5000_streams_are_drained_while_events_flow(
    nats_server: EmbeddedNats, make_pod: MakePod, publisher: Nats
) -> None:
    """Who is closed has everything until then, who is still there goes on, and nobody misses anything in the end."""
    one, other = [await make_pod(nats_server.url, retry_spread_ms=2000).start() for _ in range(2)]
    window = 10.0
    async with Crowd(5000, [one.port, other.port]) as crowd, Crowd(100, [other.port]) as others:
        async with publishing(publisher, 4) as sent:
            begin = time.monotonic()
            order(one, "/drain", window_seconds=window)
            await until(lambda: load(other)["streams"] == 5100, "all of them at the other pod")
        await crowd.have(sent)
        await others.have(sent)
        left = [end for end in crowd.ends if end.port == one.port and end.at >= begin]
        assert len({id(follower) for follower in crowd.followers if follower.ends}) == 5000
        assert not others.ends
    check_farewells_of_many(left)
    check_spread(left, begin, window)


def check_farewells_of_many(ends: list[End]) -> None:
    """Of thousands, many have the same one."""
    assert all(end.whole for end in ends)
    retries = Counter(end.retry or 0 for end in ends)
    assert min(retries) >= 50
    assert max(retries) <= 1000
    assert len(retries) > 500


# In the middle of something


async def backlog(pod: Pod, publisher: Nats, events: int, size: int) -> str:
    """Stores events; returns the position before them."""
    client = await Client.open(pod.port)
    await until(lambda: bool(client.last_id), "the first block")
    start = client.last_id
    jetstream = publisher.jetstream()
    for number in range(events):
        await jetstream.publish("events.x", f"{number} {'x' * size}".encode())
    await client.has(events)
    await client.close()
    return start


async def test_a_replay_that_nobody_reads_is_cut_at_the_deadline_and_goes_on_elsewhere_without_a_loss(
    nats_server: EmbeddedNats, make_pod: MakePod, publisher: Nats
) -> None:
    one, other = await make_pod(nats_server.url).start(), await make_pod(nats_server.url).start()
    start = await backlog(one, publisher, 60, 100_000)
    slow = await Client.open(one.port, last_event_id=start, receive_buffer=4096)
    await until(lambda: bool(slow.data), "the beginning of the replay")
    slow.pause()
    calm = await opened(one, 5)
    order(one, "/drain", window_seconds=2)
    await until(lambda: load(one)["streams"] == 0, "the end of the drain")
    slow.go_on()
    await until(lambda: slow.ended and all(client.ended for client in calm), "every end")
    assert all(client.complete and client.parser.idle for client in calm)
    assert not slow.complete
    assert one.metric("ssecast_streams_cut_total") == 1
    again = await Client.open(other.port, last_event_id=slow.last_id)
    await again.has(60 - len(slow.data))
    assert [text.split()[0] for text in slow.data + again.data] == [str(number) for number in range(60)]
    assert not again.gaps


async def test_a_replay_that_is_read_again_in_time_ends_between_two_events(
    nats_server: EmbeddedNats, make_pod: MakePod, publisher: Nats
) -> None:
    """All others are gone, its time has come and gone too, and it is only waited for its socket."""
    pod = await make_pod(nats_server.url).start()
    start = await backlog(pod, publisher, 60, 100_000)
    slow = await Client.open(pod.port, last_event_id=start, receive_buffer=4096)
    await until(lambda: bool(slow.data), "the beginning of the replay")
    slow.pause()
    calm = await opened(pod, 5)
    order(pod, "/shed", count=6, window_seconds=14)
    await until(lambda: all(client.ended for client in calm), "the others closed")
    assert load(pod)["shedding"] == 1
    slow.go_on()
    await until(lambda: slow.ended, "its end")
    assert slow.complete
    assert slow.parser.idle
    assert 50 <= (slow.parser.retry or 0) <= 1000
    assert [text.split()[0] for text in slow.data] == [str(number) for number in range(len(slow.data))]
    assert pod.metric("ssecast_streams_cut_total") == 0


async def test_a_slow_reader_is_disconnected_and_resumes_by_its_id(
    nats_server: EmbeddedNats, make_pod: MakePod, publisher: Nats
) -> None:
    """As slow where it falls off the log, as stalled where it was given a backfill in between and takes none of it."""
    pod = await make_pod(nats_server.url, log_max_events=10, client_buffer_bytes=8192, stall_seconds=2).start()
    fast, slow = await Client.open(pod.port), await Client.open(pod.port, receive_buffer=4096)
    await until(lambda: bool(slow.last_id), "the first block")
    slow.pause()
    payload = "x" * 20_000
    for number in range(100):
        await publisher.publish("events.x", f"{number} {payload}".encode())
        if number % 10 == 9:
            await fast.has(number + 1)

    def closed() -> int:
        total: dict[str, int] = pod.admin("GET", "/load")[1]["closed_total"]
        return total["slow"] + total["stalled"]

    await until(lambda: closed() == 1, "the slow stream closed")
    slow.go_on()
    await until(lambda: slow.ended, "the end of the slow stream")
    again = await Client.open(pod.port, last_event_id=slow.last_id)
    missed = 100 - len(slow.data)
    assert missed > 0
    await again.has(missed)
    assert [text.split()[0] for text in slow.data + again.data] == [str(number) for number in range(100)]
    assert not again.gaps
    await fast.close()
    await again.close()


# Signed orders


TOKEN, OTHER = "a-token-of-some-length", "another-one-just-as-long"


async def test_with_a_token_file_only_signed_orders_count_and_tokens_can_be_exchanged(
    nats_server: EmbeddedNats, make_pod: MakePod, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(TOKEN)
    pod = make_pod(nats_server.url, admin_token_file=tokens)
    pod.environ["POD_UID"] = "uid-1"
    await pod.start()
    (client,) = await opened(pod, 1)
    body = b'{"window_seconds": 1000}'

    def send(token: str, uid: str = "uid-1", skew_ms: int = 0) -> tuple[int, dict[str, object]]:
        headers = signed(token, uid, "POST", "/drain", body, time.time_ns() // 10**6 + skew_ms)
        return pod.request("POST", "/drain", body, port=pod.admin_port, headers=headers)

    status, answer = pod.admin("POST", "/drain", {"window_seconds": 0})
    assert (status, str(answer["detail"])[:40]) == (401, "this pod takes signed orders only: Ssecast"[:40])
    assert send(OTHER)[0] == send(TOKEN, "uid-2")[0] == send(TOKEN, skew_ms=-120_000)[0] == 401
    assert load(pod)["draining"] is False
    assert send(TOKEN)[0] == 202
    assert load(pod)["draining"] is True
    tokens.write_text(f"{OTHER}\n{TOKEN}\n")
    assert send(OTHER)[0] == send(TOKEN)[0] == 202
    tokens.write_text(f"{OTHER}\n")
    assert (send(OTHER)[0], send(TOKEN)[0]) == (202, 401)
    for path in ("/healthz", "/metrics", "/load"):
        assert pod.admin("GET", path)[0] == 200
    refused = {
        name: pod.metric(f'ssecast_orders_refused_total{{reason="{name}"}}') for name in ("unsigned", "pod", "time")
    }
    assert refused == {"unsigned": 1, "pod": 1, "time": 1}
    assert pod.metric('ssecast_orders_refused_total{reason="signature"}') == 2
    assert not client.ended


async def test_a_token_file_without_a_token_ends_the_start_with_one_sentence(make_pod: MakePod, tmp_path: Path) -> None:
    (tmp_path / "tokens").touch()
    pod = make_pod("nats://127.0.0.1:4222", admin_token_file=tmp_path / "tokens")
    pod._spawn()
    assert pod.process is not None
    assert await asyncio.to_thread(pod.process.wait, 40) == 2
    [sentence] = pod.log.read_text().splitlines()
    assert "(it holds no token)" in sentence


@pytest.mark.parametrize("with_token", [False, True])
async def test_the_lines_of_the_readme_drain_a_pod(
    nats_server: EmbeddedNats, make_pod: MakePod, tmp_path: Path, with_token: bool
) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    section = readme.partition("### Drain a pod by hand")[2]
    blocks = [block.partition("```")[0] for block in section.split("```sh\n")[1:3]]
    (tmp_path / "tokens").write_text(f"{TOKEN}\n{OTHER}\n")
    settings = {"admin_token_file": tmp_path / "tokens"} if with_token else {}
    pod = await make_pod(nats_server.url, **settings).start()
    lines = [line for line in blocks[0].splitlines() if line.startswith(("POD=", "curl"))]
    address = lines[0].replace(":9090", f":{pod.admin_port}")
    script = "\n".join([address, blocks[1]] if with_token else [address, *lines[1:]])
    environ = pod.environ | {"SSECAST_ADMIN_TOKEN_FILE": str(tmp_path / "tokens")}
    ran = await asyncio.to_thread(
        subprocess.run, ["bash", "-euc", script], env=environ, capture_output=True, text=True, timeout=40, check=True
    )
    assert '"draining":true' in ran.stdout
    assert '"detail"' not in ran.stdout
    assert load(pod)["draining"] is False
    assert pod.metric('ssecast_orders_total{order="drain"}') == pod.metric('ssecast_orders_total{order="undrain"}') == 1
