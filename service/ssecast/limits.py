"""Whether the pod takes one more stream, and the reason where it does not. Old streams are never closed for new ones."""

from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_address

from ssecast.hub import Hub
from ssecast.memory import Memory
from ssecast.visitors import Visitors

CLIENT = "client"
"""The one reason that is about the client and not about the pod."""

LONGEST_ADDRESS = 64
"""An X-Forwarded-For may hold anything."""


class Limits:
    """capacity: streams at most. starting: whether the source has yet to be warm. per_client: streams of one client at
    most, 0 for any number."""

    def __init__(
        self,
        hub: Hub,
        capacity: int,
        starting: Callable[[], bool],
        memory: Memory | None = None,
        visitors: Visitors | None = None,
        per_client: int = 0,
    ) -> None:
        self.hub, self.capacity, self.per_client = hub, capacity, per_client
        self._starting = starting
        self._memory, self._visitors = memory or Memory([]), visitors or Visitors()

    def closed(self) -> str | None:
        """Why no stream at all would be taken now; None where there is room."""
        if self._starting():
            return "starting"
        if self.hub.departures.is_draining:
            return "draining"
        streams = self.hub.wheel.count
        if streams >= self.capacity:
            return "full"
        if streams >= self._memory.most_streams:
            return "memory"
        return "descriptors" if self._visitors.short_of_descriptors else None

    def refusal(self, client: str) -> str | None:
        """Why a stream of this client would be refused now; None where there is room."""
        return self.closed() or self.crowded(client)

    def crowded(self, client: str) -> str | None:
        """Whether this client has as many streams as it may have."""
        return CLIENT if client and 0 < self.per_client <= self.hub.clients[client] else None

    def client(self, subject: str, address: str) -> str:
        """The name under which streams are counted, where somebody counts: the token's subject, else the address."""
        return f"subject {subject}" if subject else network(address[:LONGEST_ADDRESS])


@lru_cache(maxsize=4096)
def network(address: str) -> str:
    """The address of a client; of an IPv6 client its /64, for it may use any of the addresses in there."""
    try:
        ip = ip_address(address)
    except ValueError:
        return address
    if not isinstance(ip, IPv6Address):
        return str(ip)
    return str(ip.ipv4_mapped or IPv6Network((int(ip) >> 64 << 64, 64)))
