"""nats-py's client, mended where a message could stop it: publishers choose subjects and headers, and any bytes will do.

What nats-py (2.16) cannot read ends its reading of the connection. The stream keeps the message and sends it again after
every reconnect, to every pod: one such message, and nobody gets an event any more until it is gone.
"""

import re

import nats.errors
import nats.protocol.parser
from nats.aio.client import Client
from nats.aio.msg import Msg

# Their own take vertical tabs and form feeds for the end of a subject, which nats-server does not: what a publisher
# writes behind one would be read as the number of a subscription.
nats.protocol.parser.MSG_RE = re.compile(
    rb"\AMSG[ \t]+([^ \t\r\n]+)[ \t]+(\d+)[ \t]+(([^ \t\r\n]+)[ \t]+)?(\d+)\r\n",
)
nats.protocol.parser.HMSG_RE = re.compile(
    rb"\AHMSG[ \t]+([^ \t\r\n]+)[ \t]+(\d+)[ \t]+(([^ \t\r\n]+)[ \t]+)?(\d+)[ \t]+(\d+)\r\n",
)


class SturdyClient(Client):
    """Reads every message that a nats-server passes on."""

    async def _send_publish(
        self, subject: str, reply: str, payload: bytes, payload_size: int, headers: dict[str, str] | None
    ) -> None:
        """nats-py measures the payload alone. nats-server measures the headers too, and throws out who sends too much:
        one event, and all that the connection carries is interrupted. Raises MaxPayloadError."""
        if headers and payload_size + _size(headers) > self.max_payload:
            raise nats.errors.MaxPayloadError
        await super()._send_publish(subject, reply, payload, payload_size, headers)

    async def _process_headers(self, headers: bytes | None) -> dict[str, str] | None:
        """What is no block of headers counts as none; nats-py is lenient only below the first line."""
        try:
            return await super()._process_headers(headers)
        except (IndexError, UnicodeDecodeError):
            return None

    def _build_message(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: dict[str, str] | None
    ) -> Msg:
        """What is not UTF-8 in a subject becomes U+FFFD, as in a header's value."""
        if not subject.isascii():
            subject = subject.decode(errors="replace").encode()
        message: Msg = super()._build_message(sid, subject, reply, data, headers)
        return message


def _size(headers: dict[str, str]) -> int:
    """Bytes of the block, version line and blank line included."""
    return 12 + sum(len(name.encode()) + len(value.encode()) + 4 for name, value in headers.items())
