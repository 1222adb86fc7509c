"""publish.py SUBJECT PAYLOAD [NAME]: returns when the event is stored."""

import asyncio
import os
import sys

import nats


async def main(subject: str, payload: str, name: str = "") -> None:
    client = await nats.connect(os.environ.get("NATS_URL", "nats://127.0.0.1:4222"))
    headers = {"Ssecast-Event": name} if name else None  # what pages listen to instead of "message"
    stored = await client.jetstream().publish(subject, payload.encode(), headers=headers)
    print("stored as", stored.seq)
    await client.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
