"""A whole site as docs/proxies/ has it: one proxy, two pods behind it, a web application, and browsers in front."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
from nats.aio.client import Client as Nats

from tests.harness import Pod, until
from tests.proxies.impostor import Habit, Impostor
from tests.proxies.proxy import Proxy
from tests.proxies.reader import Browser

PAUSE_SECONDS = 0.02
"""Between two events of a publisher that goes on while things happen."""


class Site:
    """A proxy and what stands behind it; who makes one starts its parts."""

    def __init__(self, proxy: Proxy, pods: tuple[Pod, Pod]) -> None:
        self.proxy, self.pods = proxy, pods
        self.browsers: list[Browser] = []
        self.impostors: list[Impostor] = []

    @property
    def streams(self) -> int:
        """How many the pods have open."""
        return sum(pod.admin("GET", "/load")[1]["streams"] for pod in self.pods)

    async def open(self) -> None:
        await asyncio.gather(*(pod.start() for pod in self.pods))
        await self.proxy.start()
        await self.serves()

    async def open_with(self, habit: Habit) -> None:
        """The same with impostors in place of the pods."""
        self.impostors += [await Impostor(pod.address, pod.port, pod.admin_port, habit).start() for pod in self.pods]
        await self.proxy.start()

    def browser(self, *, http2: bool = True, address: str | None = None) -> Browser:
        certificate = self.proxy.places.certificate
        self.browsers.append(Browser(self.proxy.url, certificate, http2=http2, address=address))
        return self.browsers[-1]

    async def ask(self, path: str, method: str = "GET", *, http2: bool = True, **options: Any) -> httpx.Response:
        """One request, on a connection of its own; where it is for a stream, waits for its end."""
        async with Browser(self.proxy.url, self.proxy.places.certificate, http2=http2) as browser:
            return await browser.client.request(method, path, **options)

    async def serves(self) -> None:
        """Waits until the proxy has found a pod."""

        async def served() -> bool:
            with contextlib.suppress(httpx.TransportError):
                return (await self.ask("/info")).status_code == 200
            return False

        await until(served, f"a pod behind {self.proxy.name}: {self.proxy.folder}")

    async def move(self, port: int, moved: Callable[[httpx.Response], bool]) -> None:
        """Reloads the proxy with another port of the web application, and asks for `/` until it has moved there."""
        await self.proxy.reload(dataclasses.replace(self.proxy.places, application_port=port))

        async def has_moved() -> bool:
            with contextlib.suppress(httpx.TransportError):  # a connection that what is old has just taken
                return moved(await self.ask("/"))
            return False

        await until(has_moved, f"{self.proxy.name} reloaded: {self.proxy.folder}")

    async def close_browsers(self) -> None:
        for browser in self.browsers:
            await browser.close()

    async def close(self) -> None:
        await self.close_browsers()
        self.proxy.stop()
        for impostor in self.impostors:
            await impostor.stop()


class Publishing:
    """A publisher that goes on, one numbered event after another, until it is stopped."""

    def __init__(self, publisher: Nats) -> None:
        self.sent: list[str] = []
        self._publisher = publisher
        self._stopped = asyncio.Event()

    @contextlib.asynccontextmanager
    async def going_on(self) -> AsyncIterator["Publishing"]:
        task = asyncio.ensure_future(self._run())
        try:
            yield self
        finally:
            self._stopped.set()
            await task

    async def _run(self) -> None:
        while not self._stopped.is_set():
            number = str(len(self.sent) + 1)
            await self._publisher.publish("events.site", number.encode())
            await self._publisher.flush()
            self.sent.append(number)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), PAUSE_SECONDS)
