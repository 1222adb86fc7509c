"""`helm test`: publishes one event to NATS, as any publisher would, and reads it from a stream, as any browser would.

It ends with 0 when the event came, else with one sentence. Where access is by token, it only sees that a stream without
one is refused.
"""

import asyncio
import http.client
import os
import ssl
import sys
import uuid

import nats

SECONDS = 60.0


def tls() -> ssl.SSLContext | None:
    """None where neither a CA nor a certificate is given: the URL alone decides then."""
    ca, certificate = os.environ.get("NATS_CA_FILE"), os.environ.get("NATS_CERT_FILE")
    if not ca and not certificate:
        return None
    context = ssl.create_default_context(cafile=ca or None)
    if certificate:
        context.load_cert_chain(certificate, os.environ["NATS_KEY_FILE"])
    return context


async def publish(payload: bytes) -> None:
    client = await nats.connect(
        os.environ["NATS_URL"],
        user_credentials=os.environ.get("NATS_CREDS_FILE") or None,
        tls=tls(),
        connect_timeout=10,
        max_reconnect_attempts=3,
    )
    await client.publish(os.environ["SUBJECT"], payload)
    await client.drain()


def opened() -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    """A stream of that one subject."""
    connection = http.client.HTTPConnection(os.environ["SERVICE"], timeout=SECONDS)
    connection.request("GET", f"/events?subject={os.environ['SUBJECT']}", headers={"Accept": "text/event-stream"})
    return connection, connection.getresponse()


def main() -> None:
    connection, stream = opened()
    if os.environ.get("TOKENS") == "true":
        if stream.status != 401:
            sys.exit(f"a stream without a token was answered {stream.status}; it must be 401")
        print("access is by token, and a stream without one was refused: 401")
        return
    if stream.status != 200:
        sys.exit(
            f"the stream was answered {stream.status} {stream.reason}: {stream.read(500).decode(errors='replace')}"
        )
    expected = f"helm-test {uuid.uuid4()}"
    for line in stream:
        text = line.decode().rstrip("\r\n")
        if text == "event: position":
            asyncio.run(asyncio.wait_for(publish(expected.encode()), SECONDS))
        if text == f"data: {expected}":
            print(f"published to {os.environ['SUBJECT']} by NATS, received by SSE: {expected}")
            return
    connection.close()
    sys.exit("the stream ended before the event came: the pods were full, starting or draining; try again")


if __name__ == "__main__":
    try:
        main()
    except TimeoutError:
        sys.exit(f"the event did not come within {SECONDS:g} s")
    except (OSError, nats.errors.Error) as wrong:
        sys.exit(f"{type(wrong).__name__}: {wrong}")
