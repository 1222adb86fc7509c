"""The door and uvicorn agree on whose request it is, whatever proxies write into it."""

from contextlib import suppress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from ssecast.door import Proxies

addresses = st.one_of(
    st.sampled_from(
        ["127.0.0.1", "10.1.2.3", "10.200.0.1", "192.0.2.7", "::1", "2001:db8::7", "::ffff:10.1.2.3", "unknown"]
    ),
    st.ip_addresses().map(str),
)
hops = st.one_of(
    addresses,
    st.builds("{}:{}".format, addresses, st.integers(0, 99999)),
    st.builds("[{}]:{}".format, addresses, st.sampled_from(["80", "", "x", "-1"])),
    st.sampled_from(["", " ", "[", "[::1", "]:80", "a:b", "10.1.2.3 "]),
    st.text(max_size=8),
)
values = st.lists(hops, max_size=4).map(lambda each: ", ".join(each).encode("latin-1", "replace"))
names = st.sampled_from([b"x-forwarded-for", b"x-forwarded-for", b"x-forwarded-proto", b"forwarded", b"x-real-ip"])
allowed = st.sampled_from(
    ["127.0.0.1", "", "*", "10.0.0.0/8,127.0.0.1", "10.0.0.0/8, ::1 ,2001:db8::/32", "127.0.0.1,192.0.2.7"]
)
peers = st.one_of(st.none(), st.tuples(addresses, st.integers(1, 65535)))


@given(allowed, peers, st.lists(st.tuples(names, values), max_size=4))
def test_the_door_tells_the_client_as_uvicorn_does(
    allow: str, peer: tuple[str, int] | None, headers: list[tuple[bytes, bytes]]
) -> None:
    """Or a client would be counted twice, and one behind a proxy could choose who it is."""
    told: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        told.append(scope["client"])

    middleware = ProxyHeadersMiddleware(app, trusted_hosts=allow)
    scope: Any = {"type": "http", "client": peer, "headers": headers, "scheme": "http"}
    with suppress(StopIteration):  # it waits for nothing
        middleware(scope, None, None).send(None)  # type: ignore[arg-type]
    assert Proxies(allow).client(peer, headers) == told[0]
