"""Machines that tell their load on NATS, far more often than anybody can look: on `machines.<name>`."""

import asyncio
import contextlib
import itertools
import os
import random

import nats

NATS_URL = os.environ.get("NATS_URL", "nats://127.0.0.1:4222")
NAMES = ("anvil", "bellows", "crucible", "drill", "engine")
EVENTS_PER_SECOND = 200


async def main() -> None:
    client = await nats.connect(NATS_URL)
    load = dict.fromkeys(NAMES, 50.0)
    for name in itertools.cycle(NAMES):
        load[name] = min(max(load[name] + random.uniform(-2, 2), 0), 100)
        await client.publish(f"machines.{name}", f"{load[name]:.1f}".encode())
        await asyncio.sleep(1 / EVENTS_PER_SECOND)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
