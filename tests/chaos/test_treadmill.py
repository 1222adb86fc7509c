"""What a pod keeps of the same streams, over and over: of ours next to nothing, and a kilobyte is found."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from loadtest.chaos.figures import LEAKED_BYTES
from loadtest.chaos.growth import kept_per_stream
from loadtest.chaos.pods import Pod
from loadtest.chaos.treadmill import STREAMS, tread
from ssecast.dev import EmbeddedNats


@asynccontextmanager
async def running(module: str, folder: Path) -> AsyncIterator[Pod]:
    with EmbeddedNats() as nats:
        pod = Pod(0, [sys.executable, "-m", module, "serve"], folder, {"nats_url": nats.url, "subjects": "events.>"})
        await pod.start()
        try:
            yield pod
        finally:
            await pod.stop()


async def kept(module: str, folder: Path) -> float:
    async with running(module, folder) as pod:
        found = kept_per_stream(await tread(pod), STREAMS)
    assert found is not None
    return found


@pytest.mark.parametrize(("module", "leaks"), [("ssecast", False), ("tests.chaos.leaky_pod", True)])
async def test_a_leak_of_a_kilobyte_a_stream_is_told_from_none(module: str, leaks: bool, tmp_path: Path) -> None:
    assert (await kept(module, tmp_path) >= LEAKED_BYTES) is leaks


async def test_a_pod_that_takes_nobody_is_an_error_in_words(tmp_path: Path) -> None:
    async with running("ssecast", tmp_path) as pod:
        await pod.change(max_streams=1)
        with pytest.raises(OSError, match=r"a stream ended before its first position: .*full, come back"):
            await tread(pod)
