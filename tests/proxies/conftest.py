"""Fixtures of the proxy tests: a site that nobody harms for each program in turn, and sites whose pods may be killed."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import trustme

from ssecast.dev import EmbeddedNats
from tests.harness import Pod, free_port, until
from tests.proxies.application import Application
from tests.proxies.programs import PROXIES
from tests.proxies.proxy import POD_HOSTS, PUBLIC_HOST, Certificate, Places, Proxy
from tests.proxies.site import Site


@pytest.fixture(scope="module", params=PROXIES)
def program(request: pytest.FixtureRequest) -> type[Proxy]:
    found = PROXIES[request.param]
    found.find()
    return found


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    folder = tmp_path_factory.mktemp("certificate")
    authority = trustme.CA()
    leaf = authority.issue_cert(PUBLIC_HOST, "localhost")
    files = {
        "chain.pem": b"".join(blob.bytes() for blob in leaf.cert_chain_pems),
        "key.pem": leaf.private_key_pem.bytes(),
        "both.pem": leaf.private_key_and_cert_chain_pem.bytes(),
        "authority.pem": authority.cert_pem.bytes(),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    chain, key, both, trusted = (folder / name for name in files)
    return Certificate(chain, key, both, trusted)


@pytest.fixture(scope="session")
def application() -> Iterator[Application]:
    with Application("the application") as application:
        yield application


@pytest.fixture(scope="session")
def nats_server() -> Iterator[EmbeddedNats]:
    with EmbeddedNats() as server:
        yield server


@pytest.fixture(scope="session")
def lasting_pods(nats_server: EmbeddedNats, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Pod, Pod]]:
    """The two that nobody stops."""
    folder, ports = tmp_path_factory.mktemp("pods"), (free_port(), free_port())
    settings = {"publish": "true", "heartbeat_seconds": 3600}
    one, other = (
        Pod(nats_server.url, folder / f"{host}.log", address=host, ports=ports, **settings) for host in POD_HOSTS
    )
    try:
        for pod in (one, other):
            asyncio.run(pod.start())
        yield one, other
    finally:
        for pod in (one, other):
            asyncio.run(pod.stop())


@pytest.fixture(scope="module")
def lasting_proxy(
    program: type[Proxy],
    lasting_pods: tuple[Pod, Pod],
    application: Application,
    certificate: Certificate,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Proxy]:
    """One in front of them, as documented."""
    pod = lasting_pods[0]
    places = Places(free_port(), pod.port, pod.admin_port, application.port, certificate)
    proxy = program(places, tmp_path_factory.mktemp(program.name), {})
    try:
        asyncio.run(proxy.start())
        yield proxy
    finally:
        proxy.stop()


@pytest.fixture
async def lasting_site(lasting_proxy: Proxy, lasting_pods: tuple[Pod, Pod]) -> AsyncIterator[Site]:
    """A site that no test may harm, without a stream."""
    site = Site(lasting_proxy, lasting_pods)
    await site.serves()
    await until(lambda: site.streams == 0, "no stream left by others")
    yield site
    await site.close_browsers()


@pytest.fixture
def places(certificate: Certificate, application: Application) -> Places:
    return Places(free_port(), free_port(), free_port(), application.port, certificate)


@pytest.fixture
async def make_site(
    program: type[Proxy], places: Places, nats_server: EmbeddedNats, make_pod: Callable[..., Pod], tmp_path: Path
) -> AsyncIterator[Callable[..., Site]]:
    """A site with changes to its documents, whose pods have further settings; nothing of it runs yet."""
    made: list[Site] = []

    def make(changes: dict[str, str] | None = None, nats_url: str = nats_server.url, **settings: object) -> Site:
        ports = (places.pod_port, places.admin_port)
        one, other = (make_pod(nats_url, address=host, ports=ports, **settings) for host in POD_HOSTS)
        made.append(Site(program(places, tmp_path, changes or {}), (one, other)))
        return made[-1]

    yield make
    for site in made:
        await site.close()


@pytest.fixture
async def site(make_site: Callable[..., Site]) -> Site:
    """Two pods of the test's own and the proxy as documented, open."""
    site = make_site()
    await site.open()
    return site
