"""Pods that die and proxies that reload or restart: every client has every event once, and a reload cuts nothing."""

import asyncio
import signal
from collections.abc import Callable

import pytest
from nats.aio.client import Client as Nats

from tests.harness import until
from tests.proxies.application import Application
from tests.proxies.proxy import Proxy
from tests.proxies.reader import Reader
from tests.proxies.site import Publishing, Site

MakeSite = Callable[..., Site]

READERS = 12


async def reading(site: Site, *, http2: bool = True) -> list[Reader]:
    """Streams of browsers of their own, all of which have begun; with http2 every other one is in HTTP/2."""
    readers = [site.browser(http2=http2 and bool(number % 2)).read() for number in range(READERS)]
    for reader in readers:
        await reader.begins()
    return readers


async def have_all(readers: list[Reader], publishing: Publishing) -> None:
    """Every event exactly once, in order, and no gap."""
    for reader in readers:
        await reader.has(len(publishing.sent))
        assert reader.data == publishing.sent
        assert not reader.gaps


async def go_on(readers: list[Reader], publishing: Publishing) -> None:
    """Waits until every reader has an event that was published after this call."""
    count = len(publishing.sent) + 1
    await asyncio.gather(*(reader.has(count) for reader in readers))


@pytest.mark.parametrize("balance", ["as documented", "round robin"])
async def test_streams_of_a_killed_pod_go_on_at_the_other_one(
    make_site: MakeSite, program: type[Proxy], publisher: Nats, balance: str
) -> None:
    """And when it is back, it gets streams again."""
    site = make_site(program.round_robin if balance == "round robin" else {})
    await site.open()
    doomed, other = site.pods
    readers = await reading(site)
    assert doomed.admin("GET", "/load")[1]["streams"] > 0
    async with Publishing(publisher).going_on() as publishing:
        await go_on(readers, publishing)
        await doomed.stop(signal.SIGKILL)
        await until(lambda: other.admin("GET", "/load")[1]["streams"] == READERS, "all streams at the other pod")
        await go_on(readers, publishing)
        await doomed.start()

        async def comes() -> bool:
            await site.browser().read("/events?subject=events.others").begins()
            return bool(doomed.admin("GET", "/load")[1]["streams"])

        await until(comes, "streams at the pod that is back")
        await go_on(readers, publishing)
    await have_all(readers, publishing)


async def test_a_pod_that_drains_gets_no_new_streams_and_loses_the_old_ones_in_order(
    site: Site, publisher: Nats
) -> None:
    leaving, other = site.pods
    readers = await reading(site)
    async with Publishing(publisher).going_on() as publishing:
        await go_on(readers, publishing)
        assert await leaving.stop() == 0
        await until(lambda: other.admin("GET", "/load")[1]["streams"] == READERS, "all streams at the other pod")
        await go_on(readers, publishing)
    await have_all(readers, publishing)


async def test_a_reload_cuts_no_stream(site: Site, publisher: Nats) -> None:
    """In HTTP/1.1 here: httpx ends what is open when an HTTP/2 server takes no more. Real browsers do not."""
    readers = await reading(site, http2=False)
    with Application("another application") as elsewhere:
        async with Publishing(publisher).going_on() as publishing:
            await go_on(readers, publishing)
            await site.move(elsewhere.port, lambda answer: answer.text == elsewhere.name)
            await go_on(readers, publishing)
    await have_all(readers, publishing)
    assert {reader.opened for reader in readers} == {1}


async def test_a_reload_that_cuts_streams_loses_no_event(
    make_site: MakeSite, program: type[Proxy], publisher: Nats
) -> None:
    """Where what is old may stay for a second only, as with many reloads an hour. Traefik and Caddy cut none even then."""
    site = make_site(program.short_stop)
    await site.open()
    readers = await reading(site)
    with Application("another application") as elsewhere:
        async with Publishing(publisher).going_on() as publishing:
            await go_on(readers, publishing)
            await site.move(elsewhere.port, lambda answer: answer.text == elsewhere.name)
            if program.short_stop:
                await until(lambda: all(reader.opened > 1 for reader in readers), "every stream cut and open again")
            await go_on(readers, publishing)
    await have_all(readers, publishing)


async def test_a_restart_of_the_proxy_loses_no_event(site: Site, publisher: Nats) -> None:
    readers = await reading(site)
    async with Publishing(publisher).going_on() as publishing:
        await go_on(readers, publishing)
        await asyncio.to_thread(site.proxy.stop)
        await site.proxy.start()
        await until(lambda: all(reader.opened > 1 for reader in readers), "every stream open again")
        await go_on(readers, publishing)
    await have_all(readers, publishing)
