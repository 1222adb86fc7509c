"""Stands in for pods: a process that answers `/load` and takes orders at many loopback addresses. Nothing is broadcast.

One JSON line on stdin says who lives where, {"address": ["uid", streams], …}; an answer on stdout says that it is so.
"""

import asyncio
import json
import sys
import time
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from ssecast_operator.children import ADMIN_PORT


@dataclass
class Tenant:
    """Who lives at an address."""

    uid: str
    streams: int
    deadline: float = 0.0

    def load(self) -> dict[str, Any]:
        draining = self.deadline > 0
        until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.deadline)) if draining else None
        return {
            "pod_uid": self.uid,
            "boot_id": f"boot-of-{self.uid}",
            "streams": 0 if draining else self.streams,
            "capacity": 10_000,
            "draining": draining,
            "drain_deadline": until,
            "refused_per_second": 0.0,
            "problem": "",
        }


class Answerer:
    """All of them."""

    def __init__(self) -> None:
        self.tenants: dict[str, Tenant] = {}
        app = web.Application()
        app.router.add_get("/load", self._load)
        app.router.add_post("/{order:drain|undrain|shed}", self._order)
        self._runner = web.AppRunner(app, access_log=None)
        self._listening: set[str] = set()

    async def run(self) -> None:
        await self._runner.setup()
        reader = asyncio.StreamReader(limit=2**24)
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            said: dict[str, tuple[str, int]] = json.loads(line)
            known = {tenant.uid: tenant.deadline for tenant in self.tenants.values()}
            self.tenants = {
                address: Tenant(uid, streams, known.get(uid, 0.0)) for address, (uid, streams) in said.items()
            }
            for address in self.tenants.keys() - self._listening:
                await web.TCPSite(self._runner, address, ADMIN_PORT).start()
                self._listening.add(address)
            print(len(self.tenants), flush=True)
        await self._runner.cleanup()

    async def _load(self, request: web.Request) -> web.Response:
        return web.json_response(self._tenant(request).load())

    async def _order(self, request: web.Request) -> web.Response:
        """They empty at once: how long clients take is not what is measured."""
        tenant = self._tenant(request)
        match request.match_info["order"]:
            case "drain":
                tenant.deadline = time.time() + float((await request.json())["window_seconds"])
            case "undrain":
                tenant.deadline = 0.0
        return web.json_response({}, status=202)

    def _tenant(self, request: web.Request) -> Tenant:
        assert request.transport is not None
        found = self.tenants.get(request.transport.get_extra_info("sockname")[0])
        if found is None:
            raise web.HTTPNotFound
        return found


if __name__ == "__main__":
    asyncio.run(Answerer().run())
