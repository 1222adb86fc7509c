"""A way to the API server that can break: `kubectl proxy`, and in front of it a relay that refuses, fails or is not there."""

import asyncio
import contextlib
import json
import re
import subprocess
import threading
from collections.abc import Coroutine, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from tests.harness import free_port

HOP = {"host", "connection", "keep-alive", "transfer-encoding", "content-length"}
WRITES = ("POST", "PATCH", "PUT", "DELETE")


class ApiRelay:
    """Runs on a thread with a loop of its own, so that tests may wait as they like."""

    def __init__(self) -> None:
        self.port = free_port()
        self.failed: list[tuple[str, int]] = []
        """(method, code) of each request that was answered with an error of our own."""
        self._errors: list[int] = []
        self._loop = asyncio.new_event_loop()
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @contextlib.contextmanager
    def running(self) -> Iterator["ApiRelay"]:
        self._thread.start()
        with subprocess.Popen(["kubectl", "proxy", "--port=0"], stdout=subprocess.PIPE, text=True) as proxy:
            try:
                assert proxy.stdout is not None
                found = re.search(r":(\d+)$", proxy.stdout.readline().strip())
                assert found is not None, "kubectl proxy has not said where it listens"
                self._target = f"http://127.0.0.1:{found[1]}"
                self._do(self._begin())
                yield self
                self._do(self._end())
            finally:
                self._loop.call_soon_threadsafe(self._loop.stop)
                self._thread.join()
                self._loop.close()
                proxy.terminate()

    def kubeconfig(self, path: Path) -> str:
        """Writes one that leads through here."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "relay",
            "clusters": [{"name": "relay", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
            "users": [{"name": "relay", "user": {}}],
            "contexts": [{"name": "relay", "context": {"cluster": "relay", "user": "relay"}}],
        }
        path.write_text(json.dumps(config))
        return str(path)

    def cut(self) -> None:
        """Nobody is there: connections break, and new ones are refused."""
        self._do(self._close())

    def mend(self) -> None:
        self._do(self._listen())

    def fail_writes(self, *codes: int) -> None:
        """The next writes are answered with these, one after the other."""
        self._errors += codes

    def _do(self, what: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(30)

    async def _begin(self) -> None:
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=None), connector=aiohttp.TCPConnector(limit=0), auto_decompress=False
        )
        await self._listen()

    async def _end(self) -> None:
        await self._close()
        await self._session.close()

    async def _listen(self) -> None:
        app = web.Application(client_max_size=16 * 2**20)
        app.router.add_route("*", "/{path:.*}", self._pass)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def _close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        if request.method in WRITES and self._errors:
            return self._fail(request.method, self._errors.pop(0))
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP}
        body = await request.read()
        url = self._target + request.raw_path
        async with self._session.request(request.method, url, headers=headers, data=body or None) as answer:
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in HOP}
            response = web.StreamResponse(status=answer.status, headers=kept)
            await response.prepare(request)
            async for piece in answer.content.iter_any():
                await response.write(piece)
            return response

    def _fail(self, method: str, code: int) -> web.Response:
        self.failed.append((method, code))
        status = {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "message": HTTPStatus(code).phrase,
            "code": code,
        }
        headers = {"Retry-After": "1"} if code == 429 else {}
        return web.json_response(status, status=code, headers=headers)
