"""Streams through each proxy as documented: at once, unchanged, however long nothing happens, many on one connection."""

import statistics
import time
from collections.abc import Callable
from functools import partial

import pytest
from nats.aio.client import Client as Nats

from tests.harness import Client, until
from tests.proxies.impostor import Habit
from tests.proxies.proxy import Proxy
from tests.proxies.reader import Reader
from tests.proxies.site import Site

MakeSite = Callable[..., Site]

SILENT_SECONDS = 2
"""What every limit on silence is set to where a test waits for it."""

LAG_SECONDS = 0.1
"""How much later than straight from a pod something may come, in the median of several, taken side by side."""

MANY = 40
"""Streams of one browser: six times as many as HTTP/1.1 would let it have."""


def arrivals(reader: Client | Reader) -> list[float]:
    """When the events of publishers came."""
    return [at for event, at in zip(reader.events, reader.arrived, strict=True) if event.name != "position"]


async def test_each_event_arrives_before_the_next_one_is_published(lasting_site: Site, publisher: Nats) -> None:
    """And soon after one that comes straight from a pod, and the first block before any: nothing on the way collects."""
    pod = lasting_site.pods[0]
    direct = await Client.open(pod.port, host=pod.address)
    readers = [lasting_site.browser(http2=http2).read() for http2 in (True, False)]
    for reader in readers:
        await reader.begins()
    for number in range(1, 31):
        await publisher.publish("events.x", str(number).encode())
        await direct.has(number)
        for reader in readers:
            await reader.has(number)
    assert all(reader.data == direct.data for reader in readers)
    assert [reader.version for reader in readers] == ["HTTP/2", "HTTP/1.1"]
    for reader in readers:
        behind = [there - here for here, there in zip(arrivals(direct), arrivals(reader), strict=True)]
        assert statistics.median(behind) < LAG_SECONDS, behind


def began(client: Client) -> bool:
    return bool(client.arrived)


@pytest.mark.parametrize("http2", [True, False], ids=["h2", "http/1.1"])
async def test_the_first_block_comes_soon_after_one_straight_from_a_pod(lasting_site: Site, http2: bool) -> None:
    """It says where the stream starts, before any event: a proxy that holds it back would hold back all."""
    pod, browser = lasting_site.pods[0], lasting_site.browser(http2=http2)
    await browser.read().begins()
    behind = []
    for _ in range(9):
        since = time.monotonic()
        direct = await Client.open(pod.port, host=pod.address)
        await until(partial(began, direct), "the first block")
        asked = time.monotonic()
        reader = browser.read()
        await reader.begins()
        behind.append((reader.arrived[0] - asked) - (direct.arrived[0] - since))
        await direct.close()
    assert statistics.median(behind) < LAG_SECONDS, behind


async def test_a_stream_comes_as_the_pod_has_sent_it(lasting_site: Site) -> None:
    """Not compressed for a client that takes every compression, and with the headers that forbid it to whoever is next."""
    reader = lasting_site.browser().read()
    await reader.begins()
    assert reader.answer is not None
    headers = reader.answer.headers
    assert "content-encoding" not in headers
    assert headers["cache-control"] == "no-cache, no-transform"
    assert headers["content-type"] == "text/event-stream"


async def test_many_streams_of_a_browser_share_one_connection(make_site: MakeSite, publisher: Nats) -> None:
    site = make_site()
    await site.open()
    browser = site.browser()
    readers = [browser.read() for _ in range(MANY)]
    for reader in readers:
        await reader.begins()
    await publisher.publish("events.x", b"to all")
    for reader in readers:
        await reader.has(1)
    connections = {reader.connection for reader in readers}
    assert len(connections) == 1
    loads = [pod.admin("GET", "/load")[1]["streams"] for pod in site.pods]
    assert sum(loads) == MANY
    assert min(loads) > 0, "both pods have some of them"


async def test_heartbeats_keep_silent_streams_open(make_site: MakeSite, program: type[Proxy], publisher: Nats) -> None:
    """Past every limit that the proxy has on silence, three times over."""
    site = make_site(program.short_silence, heartbeat_seconds=0.5)
    await site.open()
    readers = [site.browser(http2=http2).read() for http2 in (True, False)]
    for reader in readers:
        await reader.until(lambda reader: reader.comments >= 3 * SILENT_SECONDS / 0.5, "heartbeats")
    await publisher.publish("events.x", b"at last")
    for reader in readers:
        await reader.has(1)
        assert reader.opened == 1


@pytest.mark.parametrize("program", ["nginx", "haproxy"], indirect=True)
async def test_without_heartbeats_the_proxy_ends_it(make_site: MakeSite, program: type[Proxy]) -> None:
    """So the test above could fail, of those that limit the silence of a stream; and the browser comes back."""
    site = make_site(program.short_silence, heartbeat_seconds=3600)
    await site.open()
    reader = site.browser().read()
    await reader.until(lambda reader: reader.opened > 1, "an end, and another stream")


async def test_what_a_pod_is_told_of_the_browser(make_site: MakeSite) -> None:
    """HTTP/1.1, its real address and nobody else's, the host and the scheme that it used."""
    site = make_site()
    await site.open_with(Habit.STREAMS)
    browser = site.browser()
    browser.client.headers["x-forwarded-for"] = "203.0.113.7"
    await browser.read("/events?subject=events.%3E").begins()
    (head,) = [head for pod in site.impostors for head in pod.heads]
    first, *lines = head.lower().rstrip().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert first == "get /events?subject=events.%3e http/1.1"
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert headers["x-forwarded-proto"] == "https"
    assert headers["host"].partition(":")[0] == "127.0.0.1"
    assert headers["accept"] == "text/event-stream"


async def test_a_pod_counts_the_streams_of_each_browser_and_not_of_the_proxy(make_site: MakeSite) -> None:
    """It believes the proxy, and not what a browser says of itself."""
    site = make_site(max_streams_per_client=1, forwarded_allow_ips="127.0.0.1")
    await site.open()
    for _ in site.pods:  # each goes to the pod with fewer streams
        await site.browser().read().begins()
    one_more = site.browser()
    one_more.client.headers["x-forwarded-for"] = "203.0.113.7"
    refused = one_more.read()
    await refused.until(lambda reader: reader.opened > 2, "an end, and another try")
    assert not refused.last_id
    await site.browser(address="127.0.0.2").read().begins()


async def test_the_admin_port_is_out_of_reach(lasting_site: Site) -> None:
    """By whatever way."""
    reader = lasting_site.browser().read()
    await reader.begins()
    for prefix in ("", "/events/..", "/publish/..", "/publish/%2e%2e", "/"):
        for path in ("/healthz", "/readyz", "/metrics", "/load"):
            answer = await lasting_site.ask(prefix + path)
            assert answer.status_code in (400, 404), prefix + path
            assert "ssecast_" not in answer.text
            assert "capacity" not in answer.text
        for path in ("/drain", "/shed", "/undrain"):
            answer = await lasting_site.ask(prefix + path, "POST", json={"window_seconds": 0, "count": 1})
            assert answer.status_code in (400, 404, 405), prefix + path
    assert not any(pod.admin("GET", "/load")[1]["draining"] for pod in lasting_site.pods)
    assert reader.opened == 1


async def test_what_is_not_ssecasts_goes_to_the_application(lasting_site: Site) -> None:
    assert (await lasting_site.ask("/anything")).text == "the application"
    assert "subscribe" in (await lasting_site.ask("/ssecast.js")).text
    assert (await lasting_site.ask("/info")).json()["subjects"] == ["events.>"]


@pytest.mark.parametrize("http2", [True, False], ids=["h2", "http/1.1"])
async def test_a_browser_that_leaves_leaves_nothing_behind(lasting_site: Site, http2: bool) -> None:
    """The proxy hangs up on the pod too, which has the slot back; no heartbeat comes to its aid here."""
    browser = lasting_site.browser(http2=http2)
    readers = [browser.read() for _ in range(8)]
    for reader in readers:
        await reader.begins()
    assert lasting_site.streams == 8
    await browser.close()
    await until(lambda: lasting_site.streams == 0, "no stream left")


async def test_publishing_through_the_proxy(lasting_site: Site) -> None:
    reader = lasting_site.browser().read()
    await reader.begins()
    answer = await lasting_site.ask("/publish/events.x", "POST", content=b"from a browser")
    assert answer.status_code == 202
    await reader.has(1)
    assert (reader.data, reader.last_id) == (["from a browser"], answer.json()["position"])
