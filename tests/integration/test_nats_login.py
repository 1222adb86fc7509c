"""How a pod gets into NATS: TLS, logins, credentials, permissions; what it says when it cannot; and what it never says."""

import asyncio
import json
import re
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from ssecast.dev import EmbeddedNats
from tests.harness import Client, Pod, until
from tests.nats_identity import Operator
from tests.nats_parts import Audience, Publisher, connect, healthy, log_lines, problem, troubled, troubles

MakePod = Callable[..., Pod]

SECRET = "s3cret/@:"
ENCODED = "s3cret%2F%40%3A"


class Certificates:
    """A certificate authority of the test's own, and what it has signed, as files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = trustme.CA()
        self.file = self._write("ca", self.ca.cert_pem.bytes())

    def server(self, *names: str, verify: bool = False) -> str:
        """The lines of nats-server's configuration; verify: clients need certificates."""
        cert, key = self.pair("server", *(names or ("127.0.0.1", "localhost")))
        more = f'ca_file: "{self.file}", verify: true' if verify else ""
        return f'tls {{ cert_file: "{cert}", key_file: "{key}", {more} }}\n'

    def pair(self, name: str, *names: str) -> tuple[str, str]:
        """A certificate and its key."""
        issued = self.ca.issue_cert(*(names or ("pod.example",)))
        chain = b"".join(each.bytes() for each in issued.cert_chain_pems)
        return self._write(f"{name}-cert", chain), self._write(f"{name}-key", issued.private_key_pem.bytes())

    def context(self) -> ssl.SSLContext:
        """For a client of the test's own, with a certificate of its own."""
        context = ssl.create_default_context(cafile=self.file)
        context.load_cert_chain(*self.pair("test"))
        return context

    def _write(self, name: str, data: bytes) -> str:
        path = self.folder / f"{name}.pem"
        path.write_bytes(data)
        return str(path)


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


async def serves(pod: Pod, server: EmbeddedNats, context: ssl.SSLContext | None = None, **login: str) -> None:
    """The pod follows NATS, and its clients get what is published."""
    await healthy(pod)
    audience = await Audience.open(pod)
    options = login | ({"tls": context} if context else {})
    client = await connect(server.url, **options)
    publisher = Publisher(client)
    await publisher.publish(10)
    await audience.has(range(1, 11))
    await client.close()


def tls_url(server: EmbeddedNats, host: str = "127.0.0.1") -> str:
    return f"tls://{host}:{server.port}"


# TLS


@pytest.mark.parametrize("scheme", ["tls", "nats"])
async def test_tls_with_a_ca_of_ones_own(make_pod: MakePod, certificates: Certificates, scheme: str) -> None:
    """Either the address or the CA file asks for TLS."""
    with EmbeddedNats(config=certificates.server()) as server:
        pod = await make_pod(f"{scheme}://127.0.0.1:{server.port}", nats_ca_file=certificates.file).start()
        await serves(pod, server, certificates.context())


async def test_a_server_that_another_ca_signed_is_not_trusted(
    make_pod: MakePod, certificates: Certificates, tmp_path: Path
) -> None:
    """The sentence names the setting; with the right file in its place the pod goes on without a restart."""
    (tmp_path / "other").mkdir()
    other = Certificates(tmp_path / "other")
    with EmbeddedNats(config=certificates.server()) as server:
        pod = await make_pod(tls_url(server), nats_ca_file=other.file).start(ready=False)
        said = await troubled(pod, "not trusted", "SSECAST_NATS_CA_FILE", f"127.0.0.1:{server.port}")
        Path(other.file).write_bytes(certificates.ca.cert_pem.bytes())
        await serves(pod, server, certificates.context())
        assert troubles(pod) == [said]


async def test_a_server_that_no_ca_of_the_system_signed_is_not_trusted(
    make_pod: MakePod, certificates: Certificates
) -> None:
    """Without a CA file the system's are what counts; there is no way to trust anybody."""
    with EmbeddedNats(config=certificates.server()) as server:
        pod = await make_pod(tls_url(server)).start(ready=False)
        await troubled(pod, "not trusted", "SSECAST_NATS_CA_FILE")


async def test_a_certificate_for_another_name_is_refused(make_pod: MakePod, certificates: Certificates) -> None:
    """Trusted, but not for this address."""
    with EmbeddedNats(config=certificates.server("elsewhere.example")) as server:
        pod = await make_pod(tls_url(server), nats_ca_file=certificates.file).start(ready=False)
        await troubled(pod, "for another name", "127.0.0.1")


async def test_a_server_that_offers_no_tls_is_told_nothing(make_pod: MakePod) -> None:
    """Whoever answers in plain text where TLS is asked for gets neither the login nor anything else."""
    heard: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        info = {"server_id": "x", "version": "2.12.0", "proto": 1, "max_payload": 1000, "headers": True}
        writer.write(b"INFO %b\r\n" % json.dumps(info).encode())
        heard.append(await reader.read())
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    pod = await make_pod(f"tls://someone:{ENCODED}@127.0.0.1:{port}").start(ready=False)
    await troubled(pod, "offers no TLS")
    await until(lambda: bool(heard), "the pod to hang up")
    assert not any(heard)
    await pod.stop()
    server.close()


async def test_client_certificates(make_pod: MakePod, certificates: Certificates) -> None:
    """A server that asks for them: without, the settings are named; with one, it serves."""
    with EmbeddedNats(config=certificates.server(verify=True)) as server:
        pod = await make_pod(tls_url(server), nats_ca_file=certificates.file).start(ready=False)
        await troubled(pod, "SSECAST_NATS_CERT_FILE")
        await pod.stop()
        cert, key = certificates.pair("pod")
        pod.configure(nats_cert_file=cert, nats_key_file=key)
        await pod.start()
        await serves(pod, server, certificates.context())


async def test_certificates_that_were_renewed_are_used_at_the_next_connection(
    make_pod: MakePod, certificates: Certificates, tmp_path: Path
) -> None:
    """A new CA signs everything anew, the files change, the server restarts: the pod need not."""
    (tmp_path / "new").mkdir()
    new = Certificates(tmp_path / "new")
    cert, key = certificates.pair("pod")
    with EmbeddedNats(config=certificates.server(verify=True)) as server:
        pod = await make_pod(
            tls_url(server), nats_ca_file=certificates.file, nats_cert_file=cert, nats_key_file=key
        ).start()
        server.config = new.server(verify=True)
        await asyncio.to_thread(server.restart)
        await troubled(pod, "not trusted")
        for old, fresh in zip((certificates.file, cert, key), (new.file, *new.pair("pod")), strict=True):
            Path(old).write_bytes(Path(fresh).read_bytes())
        await serves(pod, server, new.context())


async def test_files_that_are_not_what_they_should_be_are_named(
    make_pod: MakePod, certificates: Certificates, tmp_path: Path
) -> None:
    """One sentence with the setting and the path; nothing of the content; and the pod lives on."""
    cert, key = certificates.pair("pod")
    _, foreign = certificates.pair("foreign")
    loaded = serialization.load_pem_private_key(Path(key).read_bytes(), None)
    locked = tmp_path / "locked.pem"
    locked.write_bytes(
        loaded.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"passphrase"),
        )
    )
    garbage = tmp_path / "garbage"
    garbage.write_text("SUAGARBAGE is no seed\n" * 3)
    with EmbeddedNats(config=certificates.server()) as server:
        for settings, names in (
            ({"nats_ca_file": garbage}, ["SSECAST_NATS_CA_FILE"]),
            ({"nats_cert_file": cert, "nats_key_file": foreign}, ["SSECAST_NATS_KEY_FILE", "key values mismatch"]),
            (
                {"nats_cert_file": cert, "nats_key_file": locked},
                ["SSECAST_NATS_KEY_FILE", "unencrypted key: ", "passphrase"],
            ),
            ({"nats_creds_file": garbage}, ["SSECAST_NATS_CREDS_FILE", "user JWT and a seed"]),
        ):
            pod = await make_pod(tls_url(server), **({"nats_ca_file": certificates.file} | settings)).start(ready=False)
            await troubled(pod, *names, *(str(path) for path in settings.values() if path != cert))
            assert pod.admin("GET", "/healthz")[0] == 200
            assert "SUAGARBAGE" not in pod.log.read_text()
            await pod.stop()


# Logins


@pytest.mark.parametrize(
    ("config", "login", "options"),
    [
        (
            f"authorization {{ user: someone, password: '{SECRET}' }}",
            f"someone:{ENCODED}@",
            {"user": "someone", "password": SECRET},
        ),
        (f"authorization {{ token: '{SECRET}' }}", f"{ENCODED}@", {"token": SECRET}),
    ],
    ids=["password", "token"],
)
async def test_a_login_in_the_address_opens_and_is_never_shown(
    make_pod: MakePod, config: str, login: str, options: dict[str, str]
) -> None:
    """Percent-encoded as in any address; in no log line, no answer and no metric, whether it is right or wrong."""
    with EmbeddedNats(config=config) as server:
        pod = await make_pod(server.url.replace("//", f"//{login}")).start()
        await serves(pod, server, None, **options)
        wrong = await make_pod(server.url.replace("//", f"//{login.replace('s3cret', 's3cret-wrong')}")).start(
            ready=False
        )
        said = await troubled(wrong, "refuses the login", "SSECAST_NATS_URL")
        await asyncio.to_thread(server.stop)
        await troubled(pod, "cannot be reached")
        for each in (pod, wrong):
            shown = [each.log.read_text(), *(str(each.admin("GET", path)) for path in ("/readyz", "/metrics", "/load"))]
            assert not any("s3cret" in text for text in shown)
        assert troubles(wrong)[0] == said


async def test_a_wrong_setting_with_a_login_does_not_show_it(make_pod: MakePod) -> None:
    """What cannot be read as an address is not repeated."""
    pod = make_pod(f"nats://someone:{SECRET}@127.0.0.1:port")
    pod._spawn()
    assert pod.process is not None
    assert await asyncio.to_thread(pod.process.wait, 30) == 2
    assert "SSECAST_NATS_URL" in pod.log.read_text()
    assert "s3cret" not in pod.log.read_text()


async def test_credentials_of_an_operator(make_pod: MakePod, tmp_path: Path) -> None:
    """A user's JWT and seed open; those of another operator do not, until the file holds the right ones."""
    operator, path = Operator(), tmp_path / "pod.creds"
    path.write_text(Operator().credentials())
    mine = tmp_path / "mine.creds"
    mine.write_text(operator.credentials())
    with EmbeddedNats(config=operator.config) as server:
        pod = await make_pod(server.url, nats_creds_file=path).start(ready=False)
        said = await troubled(pod, "refuses the login", "SSECAST_NATS_CREDS_FILE")
        path.write_text(operator.credentials().replace("\n", "\r\n"))  # as an editor elsewhere may have saved it
        await serves(pod, server, user_credentials=str(mine))
        assert troubles(pod) == [said]
        assert not any(word in pod.log.read_text() for word in path.read_text().split() if len(word) > 50)


async def test_credentials_that_expire_are_read_again(make_pod: MakePod, tmp_path: Path) -> None:
    """NATS closes the connection when a user's JWT ends; what the file holds by then opens the next one. Nothing is lost."""
    operator, path, mine = Operator(), tmp_path / "pod.creds", tmp_path / "mine.creds"
    path.write_text(operator.credentials(expires=int(time.time()) + 5))
    mine.write_text(operator.credentials())
    with EmbeddedNats(config=operator.config) as server:
        pod = await make_pod(server.url, nats_creds_file=path).start()
        audience = await Audience.open(pod)
        publisher = Publisher(await connect(server.url, user_credentials=str(mine)))
        async with publisher.steadily():
            await troubled(pod, "expired")
            path.write_text(operator.credentials())
            await healthy(pod)
            await publisher.some()
        await audience.has(range(1, publisher.last + 1))
        await publisher.client.close()


# Permissions

USERS = """
accounts {{ A {{ jetstream: enabled, users: [
  {{ user: admin, password: admin }}
  {{ user: pod, password: pod, permissions: {{ {permissions} }} }}
] }} }}
"""

README = Path(__file__).parents[2] / "service" / "README.md"


def documented_permissions() -> str:
    """The block of the README that begins with `publish:`."""
    found = re.search(r"```\n(publish: .*?)```", README.read_text(), re.DOTALL)
    assert found
    return found[1]


async def test_the_documented_permissions_are_enough(make_pod: MakePod) -> None:
    """To create the stream, to follow it, and to fetch from it what memory does not hold."""
    with EmbeddedNats(config=USERS.format(permissions=documented_permissions())) as server:
        pod = await make_pod(server.url.replace("//", "//pod:pod@")).start()
        other = await make_pod(server.url.replace("//", "//pod:pod@"), log_max_events=10).start()
        client = await Client.open(pod.port)
        nats = await connect(server.url, user="admin", password="admin")
        publisher = Publisher(nats)
        await publisher.publish(1)
        await client.has(1)
        await publisher.publish(99)
        for number in range(2000):
            await nats.publish("events.bulk", b"%d" % number + b"." * 4000)  # more than one window of flow control
        await client.has(2100)
        late = await Client.open(other.port, last_event_id=client.events[2].id)
        assert len(await late.has(2098)) == 2098
        assert not client.gaps
        assert not late.gaps
        assert not [line for line in log_lines(pod) if line["level"] != "info"]
        await nats.close()


@pytest.mark.parametrize(
    ("denied", "words"),
    [
        ('publish: { deny: "$JS.API.>" }', ["publish to '$JS.API.STREAM.INFO.>'", "$JS.API.>"]),
        ('publish: { deny: "$JS.API.CONSUMER.>" }', ["publish to '$JS.API.CONSUMER.CREATE.>'", "$JS.API.>"]),
        ('subscribe: { deny: "_INBOX.>" }', ["subscribe to '_INBOX.>'"]),
    ],
    ids=["api", "consumer", "inbox"],
)
async def test_a_permission_that_is_missing_is_named(make_pod: MakePod, denied: str, words: list[str]) -> None:
    """What NATS refuses it does not answer: the sentence comes from its word of the refusal, not from a time-out."""
    with EmbeddedNats(config=USERS.format(permissions=denied)) as server:
        pod = await make_pod(server.url.replace("//", "//pod:pod@")).start(ready=False)
        said = await troubled(pod, "NATS does not let this pod", *words)
        await asyncio.sleep(8)  # several further attempts, and connections
        assert problem(pod) == said
        assert troubles(pod) == [said]
        assert pod.admin("GET", "/readyz")[0] == 503


async def test_flow_control_that_is_not_permitted_is_said_while_the_pod_serves(make_pod: MakePod) -> None:
    """Events stop after a window of them: the pod names what it may not publish."""
    with EmbeddedNats(config=USERS.format(permissions='publish: { deny: "$JS.FC.>" }')) as server:
        pod = await make_pod(server.url.replace("//", "//pod:pod@")).start()
        client = await Client.open(pod.port)
        nats = await connect(server.url, user="admin", password="admin")
        for number in range(2000):
            await nats.publish("events.bulk", b"%d" % number + b"." * 4000)
        await troubled(pod, "publish to '$JS.FC.>'")
        assert pod.admin("GET", "/readyz")[0] == 200
        await until(lambda: pod.metric("ssecast_source_lag_events") > 0, "the pod to be behind")
        assert pod.metric("ssecast_source_lag_seconds") > 0
        assert not client.ended
        await nats.close()


async def test_a_core_subscription_that_is_not_permitted_is_named(make_pod: MakePod) -> None:
    """Otherwise a pod would be ready, and silent."""
    with EmbeddedNats(config=USERS.format(permissions='subscribe: { deny: "events.>" }')) as server:
        pod = await make_pod(server.url.replace("//", "//pod:pod@"), stream="").start(ready=False)
        await troubled(pod, "subscribe to 'events.>'", "SSECAST_SUBJECTS")
        assert pod.admin("GET", "/readyz")[0] == 503


async def test_a_publisher_without_permission_gets_an_answer_and_the_pod_has_no_problem(make_pod: MakePod) -> None:
    """What somebody may not publish through the pod is that client's trouble alone."""
    with EmbeddedNats(config=USERS.format(permissions='publish: { deny: "events.secret" }')) as server:
        pod = await make_pod(server.url.replace("//", "//pod:pod@"), publish=True).start()
        assert pod.request("POST", "/publish/events.fine", b"1")[0] == 202
        status, body = pod.request("POST", "/publish/events.secret", b"1")
        assert status == 503
        assert "does not let this pod publish to 'events.secret'" in str(body)
        await healthy(pod)
