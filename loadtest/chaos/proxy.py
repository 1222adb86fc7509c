"""HAProxy in front of the pods, where it is installed: reloaded in the middle, and never without a good answer."""

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from loadtest.bench.processes import Child, free_port
from loadtest.chaos.pods import Pod

RELOAD_SECONDS = 10.0
INSTALL = "apt-get install haproxy"
LEFT_OUT = f"HAProxy is left out, and the clients spread over the pods themselves, for it is not installed: {INSTALL}"

CONFIG = """global
    maxconn {maxconn}
    hard-stop-after 1s
    tune.rcvbuf.server 16384
    tune.sndbuf.client 16384

defaults
    mode http
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    timeout http-request 10s
    retries 3
    retry-on conn-failure empty-response
    option redispatch 1
    option http-server-close
    option http-no-delay # else it holds a small event back for up to 200 ms, to fill a packet

frontend streams
{binds}
    use_backend pods if {{ req.hdr(accept) -m sub text/event-stream }}
    default_backend others

backend pods
    errorfile 502 {folder}/come-back.http
    errorfile 503 {folder}/come-back.http
    errorfile 504 {folder}/come-back.http
    balance roundrobin
    option httpchk GET /readyz
    http-check expect status 200
    http-request return status 200 content-type text/event-stream hdr cache-control no-store lf-string "retry: %[rand({spread}),add({base})]\\n\\n" if {{ nbsrv(pods) eq 0 }}
{servers}

backend others # who publishes is told the truth, and comes again
    balance roundrobin
{others}
"""

COME_BACK = (
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
    "retry: {retry}\n\n"
)
"""An error would end an EventSource for good; after this it comes back."""


def installed() -> str | None:
    """Where HAProxy is."""
    return shutil.which("haproxy") or next((place for place in ("/usr/sbin/haproxy",) if Path(place).exists()), None)


class Proxy:
    """HAProxy in master-worker mode. Round robin: the fewest connections are those of a pod that is full.

    beside: one whose port this one listens on too; the kernel spreads the clients over both.
    """

    def __init__(
        self,
        pods: Sequence[Pod],
        folder: Path,
        *,
        clients: int,
        retry_ms: int,
        spread_ms: int,
        beside: "Proxy | None" = None,
    ) -> None:
        self._own = free_port()
        self.port: int = self._own if beside is None else beside.port
        self._config = folder / "haproxy.cfg"
        lines = (f"    server pod-{pod.number} 127.0.0.1:{pod.port} check port {pod.admin_port} inter 200ms fall 1 rise 1"
                 for pod in pods)  # fmt: skip
        text = CONFIG.format(
            maxconn=clients + clients // 10 + 200,
            folder=folder,
            binds="\n".join(f"    bind 127.0.0.1:{port}" for port in sorted({self._own, self.port})),
            base=retry_ms,
            spread=max(spread_ms, 1),
            servers="\n".join(lines),
            others="\n".join(
                f"    server pod-{pod.number} 127.0.0.1:{pod.port} track pods/pod-{pod.number}" for pod in pods
            ),
        )
        self._config.write_text(text)
        (folder / "come-back.http").write_text(COME_BACK.format(retry=retry_ms + spread_ms // 2))
        self.log = folder / "haproxy.log"

    def __enter__(self) -> Self:
        program = installed()
        assert program is not None
        self.child = Child([program, "-W", "-db", "-f", str(self._config)], self.log, env=dict(os.environ))
        try:
            self.child.wait_until_up(self._own)  # on the other one somebody else would answer
        except BaseException:
            self.child.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.child.stop()

    async def reload(self) -> int:
        """A new worker takes over; the old one ends its streams after hard-stop-after. Returns how many have ended."""
        self.child.check()
        before, deadline = self._workers(), time.monotonic() + RELOAD_SECONDS
        os.kill(self.child.process.pid, signal.SIGUSR2)
        while (now := self._workers()) & before or not now:
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(0.1)
        return len(before - now) if now else 0

    def _workers(self) -> set[int]:
        files = Path(f"/proc/{self.child.process.pid}/task").glob("*/children")
        return {int(child) for file in files for child in file.read_text().split()}
