"""Who gets a stream, who does not, and why; and whose stream it is."""

from collections.abc import Callable

import pytest

from ssecast.channel import Want
from ssecast.hub import Hub
from ssecast.limits import Limits, network
from ssecast.log import EventLog
from ssecast.memory import Memory
from ssecast.visitors import Visitors
from tests.properties.fakes import Recorder

WANT = Want((">",))


class Pod:
    """A hub, and limits above it whose reasons a test can switch on."""

    def __init__(self, capacity: int = 100, per_client: int = 0) -> None:
        self.hub = Hub(EventLog(10, 10_000, "e", 0), lambda fds, data: [], lambda: None, lambda _: 1000)
        self.starting = False
        self.memory, self.visitors = Memory([]), Visitors(1000)
        self.limits = Limits(self.hub, capacity, lambda: self.starting, self.memory, self.visitors, per_client)

    def open(self, client: str = "") -> Recorder:
        sub = Recorder()
        sub.client = client
        self.hub.open(sub, WANT)
        return sub


def starting(pod: Pod) -> None:
    pod.starting = True


def draining(pod: Pod) -> None:
    pod.hub.departures.drain(0.0, 10.0)


def full(pod: Pod) -> None:
    for _ in range(pod.limits.capacity):
        pod.open()


def memory(pod: Pod) -> None:
    pod.memory.most_streams = 0


def descriptors(pod: Pod) -> None:
    pod.visitors.short_of_descriptors = True


@pytest.mark.parametrize("reason", [starting, draining, full, memory, descriptors])
def test_a_pod_that_takes_nobody_says_why(reason: Callable[[Pod], None]) -> None:
    pod = Pod()
    assert pod.limits.closed() is None
    assert pod.limits.refusal("somebody") is None
    reason(pod)
    assert pod.limits.closed() == pod.limits.refusal("somebody") == reason.__name__


def test_room_in_memory_counts_the_streams_opened_since_it_was_looked_at() -> None:
    pod = Pod()
    pod.memory.most_streams = 2
    pod.open()
    assert pod.limits.closed() is None
    pod.open()
    assert pod.limits.closed() == "memory"


def test_one_client_has_so_many_streams_and_others_are_not_kept_out() -> None:
    pod = Pod(per_client=2)
    one, _ = pod.open("a"), pod.open("a")
    assert pod.limits.refusal("a") == "client"
    assert pod.limits.refusal("b") is None
    pod.hub.lost(one)
    assert pod.limits.refusal("a") is None


def test_a_client_without_a_name_is_not_counted() -> None:
    pod = Pod(per_client=1)
    pod.open("")
    assert pod.limits.refusal("") is None
    assert not pod.hub.clients


def test_clients_that_have_gone_are_forgotten() -> None:
    """Or every address that ever came would stay in memory."""
    pod = Pod(per_client=1)
    for number in range(10):
        pod.hub.close(pod.open(f"client {number}"), "shed")
    assert not pod.hub.clients


def test_a_client_is_its_token_before_it_is_its_address_and_neither_can_pass_for_the_other() -> None:
    limits = Pod(per_client=1).limits
    assert limits.client("alice", "192.0.2.1") == limits.client("alice", "192.0.2.2")
    assert limits.client("", "192.0.2.1") != limits.client("192.0.2.1", "")
    assert limits.client("", "") == ""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"),
        ("2001:db8:1:2::1", "2001:DB8:1:2:0:0:0:1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::2%eth1"),
    ],
)
def test_addresses_of_one_client(one: str, other: str) -> None:
    """A client has a whole /64 of IPv6; an IPv4 address is the same in an IPv6 socket."""
    assert network(one) == network(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("2001:db8:1:2::1", "2001:db8:1:3::1"), ("192.0.2.1", "192.0.2.2"), ("unknown", "_hidden"), ("", "unknown")],
)
def test_addresses_of_two_clients(one: str, other: str) -> None:
    assert network(one) != network(other)


def test_what_a_proxy_calls_an_address_is_cut() -> None:
    """The names are kept, and a header may be long."""
    assert len(Pod(per_client=1).limits.client("", "x" * 10_000)) < 100
