"""What a pod asks NATS for is known to the relay between them, however its bytes come."""

import pytest

from loadtest.chaos.relay import KNOWN, Relay

ORDERS = b"".join(
    b"PUB $JS.API.CONSUMER.CREATE.ssecast.%b _INBOX.a.%d 12\r\n{}\r\nPING\r\n" % (name, at)
    for at, name in enumerate((b"one", b"two", b"three"))
)


@pytest.mark.parametrize("size", [1, 7, 40, 1000])
def test_names_of_consumers_are_read_once_out_of_pieces_of_any_size(size: int) -> None:
    relay = Relay(0)
    listen = relay._listener()
    for at in range(0, len(ORDERS), size):
        listen(ORDERS[at : at + size])
    assert list(relay.consumers) == ["one", "two", "three"]


def test_other_orders_are_none_and_only_the_last_names_are_kept() -> None:
    relay = Relay(0)
    listen = relay._listener()
    listen(
        b"PUB $JS.API.CONSUMER.DELETE.ssecast.one _INBOX.a 0\r\n\r\nPUB $JS.API.STREAM.INFO.ssecast _INBOX.b 0\r\n\r\n"
    )
    assert not relay.consumers
    for number in range(KNOWN + 5):
        listen(b"HPUB x 1 2\r\nPUB $JS.API.CONSUMER.CREATE.ssecast.c%d y 2\r\n{}\r\n" % number)
    assert relay.consumers[0] == "c5"
