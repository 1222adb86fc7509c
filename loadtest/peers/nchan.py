"""Peer `nchan`: nginx with nchan in the foreground, and this process as the bridge that posts to it what NATS says.

The event ids are nchan's own (`<seconds>:<number>`), which nothing can set.
"""

import asyncio
import os
import shutil
import signal
import sys
import tempfile
from asyncio.subprocess import Process
from collections.abc import AsyncIterable
from pathlib import Path

import nats
from nats.aio.msg import Msg

from loadtest.peers.fanout import BACKLOG, HEARTBEAT_SECONDS, SUBJECT, raise_descriptor_limit

MODULE = "/usr/lib/nginx/modules/ngx_nchan_module.so"
CONFIGURATION = """
load_module {module};
daemon off;
pid {folder}/nginx.pid;
error_log stderr error;
worker_processes auto;
worker_rlimit_nofile {descriptors};
events {{
    worker_connections {descriptors};
}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    client_body_buffer_size 1m;
    nchan_message_buffer_length {buffered_events};
    nchan_message_timeout 5m;
    server {{
        listen 127.0.0.1:{port} reuseport backlog={backlog};
        location = /events {{
            nchan_subscriber eventsource;
            nchan_channel_id bench;
            nchan_subscriber_first_message newest;
            nchan_eventsource_ping_interval {heartbeat_seconds};
            nchan_eventsource_ping_event "";
            nchan_eventsource_ping_comment heartbeat;
        }}
    }}
    server {{
        listen unix:{folder}/publish;
        keepalive_requests 1000000000;
        keepalive_timeout 1d;
        keepalive_time 1d;
        location = /publish {{
            nchan_publisher http;
            nchan_channel_id bench;
        }}
    }}
}}
"""
BUFFERED_EVENTS = 2048  # enough for whoever comes back a thousand events later
POLL_SECONDS = 0.01
STOP_SECONDS = 5.0


def _configure(folder: Path, port: int) -> Path:
    """Writes nginx.conf; where it stands."""
    folder.chmod(0o755)  # the workers run as another user where the master is root
    configuration = folder / "nginx.conf"
    configuration.write_text(
        CONFIGURATION.format(
            module=MODULE,
            folder=folder,
            descriptors=raise_descriptor_limit(),
            buffered_events=BUFFERED_EVENTS,
            heartbeat_seconds=HEARTBEAT_SECONDS,
            port=port,
            backlog=BACKLOG,
        )
    )
    return configuration


async def _start_nginx(configuration: Path) -> Process:
    binary = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") or "nginx"
    return await asyncio.create_subprocess_exec(
        binary,
        "-p",
        str(configuration.parent),
        "-e",
        "stderr",
        "-c",
        str(configuration),
        stdin=asyncio.subprocess.DEVNULL,
    )


async def _connect(path: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to what listens there before long."""
    while True:
        try:
            return await asyncio.open_unix_connection(path)
        except (FileNotFoundError, ConnectionRefusedError):
            await asyncio.sleep(POLL_SECONDS)


async def _bridge(messages: AsyncIterable[Msg], publish: Path) -> None:
    """Posts one after the other on one connection, which keeps their order. Raises RuntimeError where nchan refuses."""
    answers, posts = await _connect(publish)
    async for message in messages:
        payload = message.data
        posts.write(b"POST /publish HTTP/1.1\r\nHost: nchan\r\nContent-Length: %d\r\n\r\n%b" % (len(payload), payload))
        head = (await answers.readuntil(b"\r\n\r\n")).lower()
        if not head.startswith(b"http/1.1 20"):
            raise RuntimeError(head.decode())
        await answers.readexactly(int(head.partition(b"content-length:")[2].partition(b"\r\n")[0]))


async def _serve(configuration: Path, publish: Path) -> None:
    """Ends at SIGTERM, or with what ended nginx or the bridge."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    client = await nats.connect(os.environ["NATS_URL"])
    subscription = await client.subscribe(SUBJECT)
    await client.flush()
    nginx = await _start_nginx(configuration)
    parts = [asyncio.create_task(part) for part in (nginx.wait(), _bridge(subscription.messages, publish), stop.wait())]
    try:
        ended, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        for part in ended:
            part.result()
    finally:
        for part in parts:
            part.cancel()
        await _stop_nginx(nginx)
        await client.close()


async def _stop_nginx(nginx: Process) -> None:
    if nginx.returncode is None:
        nginx.terminate()
        try:
            await asyncio.wait_for(nginx.wait(), STOP_SECONDS)
        except TimeoutError:
            nginx.kill()
            await nginx.wait()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="nchan-") as temporary:
        home = Path(temporary)
        asyncio.run(_serve(_configure(home, int(sys.argv[-1])), home / "publish"))
