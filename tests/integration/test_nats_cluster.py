"""Three nats-servers with a stream of three replicas: each may go, and come back, and nobody is to notice."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from ssecast.dev import EmbeddedNats
from tests.harness import Client, Pod, until
from tests.nats_parts import Audience, Cluster, Publisher, connect, ended, healthy, lame_duck, log_lines, troubled

MakePod = Callable[..., Pod]

LAME_DUCK = 'lame_duck_duration: "30s"\nlame_duck_grace_period: "1s"\n'
LOGIN = "authorization { user: someone, password: 's3cret/@' }\n"


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster(LAME_DUCK) as cluster:
        yield cluster


@pytest.fixture
async def publisher(cluster: Cluster) -> AsyncIterator[Publisher]:
    client = await connect(cluster.url)
    yield Publisher(client)
    await client.close()


@pytest.fixture
async def pod(cluster: Cluster, make_pod: MakePod) -> Pod:
    await cluster.meta_leader()
    return await make_pod(cluster.url, stream_replicas=3).start()


def connected_to(pod: Pod, cluster: Cluster) -> EmbeddedNats:
    """The server that the pod follows, as it said itself."""
    said = [line["server"] for line in log_lines(pod) if line["event"] == "following NATS"][-1]
    return next(server for server in cluster.servers if said.endswith(f":{server.port}"))


async def victim(role: str, cluster: Cluster, pod: Pod, publisher: Publisher) -> EmbeddedNats:
    """The server that leads the stream, that leads JetStream, or that the pod is connected to."""
    if role == "connected":
        return connected_to(pod, cluster)
    return await (cluster.leader(publisher.client) if role == "stream" else cluster.meta_leader())


async def bounce(server: EmbeddedNats, meanwhile: Callable[[], Awaitable[object]]) -> None:
    """Kills a server, waits for what is asked for, and starts it again."""
    await asyncio.to_thread(server.stop, kill=True)
    await meanwhile()
    await asyncio.to_thread(server.start)


@pytest.mark.timeout(240)
async def test_every_important_server_may_be_killed_one_after_the_other(
    cluster: Cluster, pod: Pod, publisher: Publisher
) -> None:
    """The leader of the stream, the leader of JetStream, the server that the pod is connected to: everything comes once."""
    audience = await Audience.open(pod)
    async with publisher.steadily():
        await publisher.some()
        for role in ("stream", "meta", "connected"):
            await bounce(await victim(role, cluster, pod, publisher), publisher.some)
            await cluster.whole(publisher.client)
            await publisher.some()
            await healthy(pod)
            assert pod.admin("GET", "/readyz")[0] == 200
    await audience.has(range(1, publisher.last + 1))


@pytest.mark.timeout(240)
@pytest.mark.parametrize("leader_stays", [False, True], ids=["the leader goes", "the leader stays"])
async def test_without_a_quorum_streams_wait_and_go_on(
    cluster: Cluster, pod: Pod, publisher: Publisher, leader_stays: bool
) -> None:
    """Two of three servers are gone: nothing can be published, the pod says so and stays ready, and later all is well.

    The leader alone takes a while to see that it leads nobody; the others know at once that they have none.
    """
    audience = await Audience.open(pod)
    await publisher.publish(20)
    await audience.has(range(1, 21))
    leader = await cluster.leader(publisher.client)
    followers = [server for server in cluster.servers if server is not leader]
    others = followers if leader_stays else [leader, followers[0]]
    for server in others:
        await asyncio.to_thread(server.stop, kill=True)
    await troubled(pod, "stream 'ssecast'", "a cluster needs most of its servers")
    assert pod.admin("GET", "/readyz")[0] == 200
    assert not any(client.ended for client in audience.clients)
    for server in others:
        await asyncio.to_thread(server.start)
    await publisher.publish(20)
    await audience.has(range(1, 41))
    await healthy(pod)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("storage", ["file", "memory"])
async def test_a_stream_of_one_replica_is_away_with_its_server(
    cluster: Cluster, make_pod: MakePod, publisher: Publisher, storage: str
) -> None:
    """With a disk everything is there again afterwards; from memory it is not, and everybody is told."""
    await cluster.meta_leader()
    pod = await make_pod(cluster.url, stream_storage=storage).start()
    audience = await Audience.open(pod)
    await publisher.publish(20)
    await audience.has(range(1, 21))
    server = await cluster.leader(publisher.client)
    await asyncio.to_thread(server.stop, kill=True)
    await troubled(pod)
    await asyncio.to_thread(server.start)
    if storage == "memory":
        await audience.told("rewound")
    await publisher.publish(20)
    await audience.reaches(list(range(1, 41)))
    await healthy(pod)
    for client, got, wants in audience.got():
        assert got == [number for number in range(1, 41) if wants(number)]
        assert len(client.gaps) == (storage == "memory")


@pytest.mark.timeout(240)
async def test_a_lame_duck_of_a_cluster_is_left_for_another_server(
    cluster: Cluster, pod: Pod, publisher: Publisher
) -> None:
    """Nobody notices; the pod goes to a server that stays."""
    audience = await Audience.open(pod)
    async with publisher.steadily():
        await publisher.some()
        duck = connected_to(pod, cluster)
        await asyncio.to_thread(lame_duck, duck)
        await until(lambda: ended(duck), "the server to end")
        await publisher.some()
        await healthy(pod)
        assert connected_to(pod, cluster) is not duck
    await audience.has(range(1, publisher.last + 1))


@pytest.mark.timeout(240)
async def test_two_pods_on_different_servers_mean_the_same_by_a_position(
    cluster: Cluster, pod: Pod, make_pod: MakePod, publisher: Publisher
) -> None:
    """A client goes to and fro between pods while servers come and go, and gets everything once."""
    other = await make_pod(cluster.url, stream_replicas=3, log_max_events=50).start()
    got: list[str] = []
    last_id: str | None = None
    async with publisher.steadily():
        for server in cluster.servers:
            await asyncio.to_thread(server.stop, kill=True)
            for each in (pod, other):
                client = await Client.open(each.port, last_event_id=last_id)
                await publisher.some(30)
                await client.has(20)
                await client.close()
                assert not client.gaps, client.gaps
                got += client.data
                last_id = client.last_id
            await asyncio.to_thread(server.start)
            await cluster.whole(publisher.client)
    assert [int(text) for text in got] == list(range(int(got[0]), int(got[-1]) + 1))


@pytest.mark.timeout(240)
async def test_resumes_out_of_a_replicated_stream(cluster: Cluster, make_pod: MakePod, publisher: Publisher) -> None:
    """Any replica may answer: from memory and stream together nothing is missing, and a filter that matches nothing, or a
    position that never was, does not wait for ever."""
    await cluster.meta_leader()
    pod = await make_pod(cluster.url, stream_replicas=3, log_max_events=10).start()
    first = await Client.open(pod.port)
    await until(lambda: bool(first.last_id), "the first block")
    await publisher.publish(200)
    await first.has(200)
    audience = await Audience.open(pod, last_event_id=first.events[0].id)
    await audience.has(range(1, 201))
    epoch = first.last_id.partition("-")[0]
    forged = await Client.open(pod.port, last_event_id=f"{epoch}-9999")
    await until(lambda: bool(forged.gaps), "the gap")
    await publisher.publish(10)
    await audience.has(range(1, 211))
    assert await forged.has(10) == [str(number) for number in range(201, 211)]
    assert [gap["reason"] for gap in forged.gaps] == ["ahead"]
    assert pod.metric('ssecast_resumes_total{result="jetstream"}') == len(audience.clients)


@pytest.mark.timeout(240)
async def test_servers_that_the_cluster_told_of_open_to_the_same_login(make_pod: MakePod) -> None:
    """One server is in the settings, with a login; when it dies, the pod goes on at one that it was told of."""
    with Cluster(LOGIN) as cluster:
        first = cluster.servers[0]
        await cluster.meta_leader()
        pod = await make_pod(first.url.replace("//", "//someone:s3cret%2F%40@"), stream_replicas=3).start()
        client = await connect(cluster.url, user="someone", password="s3cret/@")
        publisher = Publisher(client)
        audience = await Audience.open(pod)
        async with publisher.steadily():
            await publisher.some()
            await cluster.whole(client)
            await asyncio.to_thread(first.stop, kill=True)
            await publisher.some()
            await healthy(pod)
        await audience.has(range(1, publisher.last + 1))
        assert connected_to(pod, cluster) is not first
        await client.close()
        assert "s3cret" not in pod.log.read_text()
