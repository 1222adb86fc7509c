"""A front door that never says goodbye: whatever has become of the pods, a stream's request gets 200, `retry:` and the end."""

import asyncio
import signal
from collections.abc import Callable

import httpx
import pytest

from ssecast.dev import EmbeddedNats
from tests.proxies.impostor import Habit
from tests.proxies.proxy import Proxy
from tests.proxies.site import Site
from tests.sse_parser import EventStreamParser

MakeSite = Callable[..., Site]

ASKED = 30
RETRY_MS = range(2000, 6001)
"""Between what times a browser is told to come back; the pods' own default, too."""


CHECKS = 3
"""Seconds after which every proxy that asks pods once a second has noticed; nothing shows when it does."""


def retry(answer: httpx.Response) -> int:
    """What a browser was told; it was told nothing else, in the only way after which it comes back."""
    parser = EventStreamParser()
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"].startswith("no-")
    assert not parser.feed(answer.content)
    assert parser.idle, "nothing is lost at the end"
    assert parser.retry is not None
    return parser.retry


async def are_told_to_come_back(site: Site, *, http2: bool = True) -> None:
    """Many at once, which are told different times."""
    asked = (site.ask("/events", http2=http2, headers={"accept": "text/event-stream"}) for _ in range(ASKED))
    told = [retry(answer) for answer in await asyncio.gather(*asked)]
    assert all(each in RETRY_MS for each in told)
    assert len(set(told)) > ASKED / 2
    assert max(told) - min(told) > 1000


async def is_told_the_truth(site: Site, path: str, method: str = "GET") -> None:
    answer = await site.ask(path, method, headers={"accept": "*/*"})
    assert answer.status_code == 503, path
    if site.proxy.says_when:
        assert int(answer.headers["retry-after"]) > 0


async def are_told_the_truth(site: Site) -> None:
    for path, method in (("/events", "GET"), ("/info", "GET"), ("/publish/events.x", "POST")):
        await is_told_the_truth(site, path, method)
    assert (await site.ask("/")).text == "the application", "which is no worse off"


async def test_when_no_pod_was_ever_there(make_site: MakeSite) -> None:
    site = make_site()
    await site.proxy.start()
    await are_told_to_come_back(site)
    await are_told_the_truth(site)


async def test_when_all_pods_were_killed(site: Site) -> None:
    """From the first moment, in which the proxy does not know it yet, until after it has asked whether they are ready."""
    await asyncio.gather(*(pod.stop(signal.SIGKILL) for pod in site.pods))
    for _ in range(CHECKS):
        await are_told_to_come_back(site)
        await asyncio.sleep(1)
    await are_told_the_truth(site)
    await asyncio.gather(*(pod.start() for pod in site.pods))
    await site.serves()
    await site.browser().read().begins()


async def test_while_all_pods_start(make_site: MakeSite) -> None:
    """Without NATS they stay so. The pods say it themselves where the proxy does not ask whether they are ready."""
    with EmbeddedNats() as nats_server:
        nats_server.stop()
        site = make_site(nats_url=nats_server.url, retry_ms=2000, retry_spread_ms=4000)
        await asyncio.gather(*(pod.start(ready=False) for pod in site.pods))
        await site.proxy.start()
        await are_told_to_come_back(site)
        await is_told_the_truth(site, "/events")
        nats_server.start()
        await site.browser().read().begins()


@pytest.mark.parametrize("habit", [Habit.SAYS_NOTHING, Habit.DIES_IN_THE_HEAD, Habit.DIES_AT_ONCE])
async def test_when_pods_do_not_answer(make_site: MakeSite, program: type[Proxy], habit: Habit) -> None:
    """They accept, and call themselves ready. Others than browsers hear of it: whether a pod has done it is not known.

    In HTTP/1.1: HAProxy refuses the stream of an HTTP/2 client when a pod dies, after which browsers try again, too.
    """
    site = make_site(program.short_silence)
    await site.open_with(habit)
    await are_told_to_come_back(site, http2=False)
    answer = await site.ask("/events", http2=False, headers={"accept": "*/*"})
    assert answer.status_code in (502, 503, 504)


async def test_when_pods_are_frozen(make_site: MakeSite, program: type[Proxy]) -> None:
    """The kernel accepts for a process that stands still. Afterwards streams begin again."""
    site = make_site(program.short_silence)
    await site.open()
    for pod in site.pods:
        pod.send(signal.SIGSTOP)
    await are_told_to_come_back(site)
    for pod in site.pods:
        pod.send(signal.SIGCONT)
    await site.serves()
    await site.browser().read().begins()


async def test_when_one_pod_is_left(site: Site) -> None:
    """It gets every request, from the first moment: nobody is sent away."""
    doomed, _ = site.pods
    await doomed.stop(signal.SIGKILL)
    readers = [site.browser().read() for _ in range(10)]
    for reader in readers:
        await reader.begins()
        assert reader.opened == 1
