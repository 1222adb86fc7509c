"""The OpenAPI descriptions of both ports, taken at their word by schemathesis: what is asked and how it is answered."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ssecast.dev import EmbeddedNats
from tests.fuzz.effort import SEED, examples
from tests.fuzz.test_sockets import Watched
from tests.harness import PATIENCE, Pod
from tests.issuer import signer

EXAMPLES = examples(50)
PATIENT_SECONDS = 2 * PATIENCE * max(1, EXAMPLES // 50)
ES = signer("ES256")
SCHEMATHESIS = [
    str(Path(sys.executable).with_name("schemathesis")),
    "run",
    "--phases=examples,coverage,fuzzing",
    # A subject may be as the description says and still not be served; what must be refused is refused all the same.
    "--exclude-checks=positive_data_acceptance",
    "--continue-on-failure",
    "--generation-database=none",
    "--no-color",
    f"--max-examples={EXAMPLES}",
    f"--seed={SEED}",
]


async def explored(url: str, folder: Path, *options: str) -> tuple[int, str]:
    """Runs schemathesis against a server; its exit code and what it says."""
    command = [*SCHEMATHESIS, *options, f"{url}/openapi.json"]
    done = await asyncio.to_thread(
        subprocess.run, command, cwd=folder, capture_output=True, text=True, timeout=PATIENT_SECONDS
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("publish", ["true", "false"])
async def test_the_public_port_answers_as_its_description_says(
    nats_server: EmbeddedNats, make_pod: Callable[..., Pod], tmp_path: Path, publish: str
) -> None:
    """No status, content type or body beside those described, no server error; streams, which never end, are left out."""
    pod = await make_pod(nats_server.url, publish=publish, page=publish).start()
    code, said = await explored(pod.url, tmp_path, "--exclude-path=/events")
    assert code == 0, said
    assert not Watched(pod).complaints


@pytest.mark.parametrize("with_token", [True, False], ids=["with a token", "without"])
async def test_where_tokens_are_asked_for_the_public_port_answers_as_its_description_says(
    nats_server: EmbeddedNats, make_pod: Callable[..., Pod], tmp_path: Path, with_token: bool
) -> None:
    """Of who may publish, and of who has no token; what is described as closed is closed without one."""
    key = tmp_path / "key.pem"
    key.write_bytes(ES.pem)
    pod = await make_pod(nats_server.url, publish="true", page="true", jwt_key_file=key, jwt_query="token").start()
    token = ES.grant(["events.>"], ["events.>"])
    header = [f"--header=Authorization: Bearer {token}"] if with_token else []
    code, said = await explored(pod.url, tmp_path, "--exclude-path=/events", *header)
    assert code == 0, said
    assert not Watched(pod).complaints
    assert (pod.metric('ssecast_access_denied_total{reason="missing"}') > 0) or with_token
    assert (pod.metric("ssecast_events_received_total") > 0) is with_token, "something was published, with a token only"


async def test_where_orders_must_be_signed_the_admin_port_answers_as_its_description_says(
    nats_server: EmbeddedNats, make_pod: Callable[..., Pod], tmp_path: Path
) -> None:
    """None of them is signed, and so none is carried out; the pod is read by everybody as before."""
    tokens = tmp_path / "tokens"
    tokens.write_text("a token of sixteen characters or more\n")
    pod = await make_pod(nats_server.url, admin_token_file=tokens).start()
    # The guard stands in front of everything: what is not signed gets no further, not even to a 405.
    checks = "--exclude-checks=positive_data_acceptance,unsupported_method"
    code, said = await explored(f"http://127.0.0.1:{pod.admin_port}", tmp_path, checks)
    assert code == 0, said
    assert not Watched(pod).complaints
    assert pod.metric('ssecast_orders_refused_total{reason="unsigned"}') > 0
    assert not any(pod.metric(f'ssecast_orders_total{{order="{order}"}}') for order in ("drain", "undrain", "shed"))
    assert pod.admin("GET", "/readyz") == (200, {"ready": True})


async def test_the_admin_port_answers_as_its_description_says(
    nats_server: EmbeddedNats, make_pod: Callable[..., Pod], tmp_path: Path
) -> None:
    """The same, and whatever orders were among the requests: it is alive afterwards, and takes streams when told to."""
    pod = await make_pod(nats_server.url).start()
    code, said = await explored(f"http://127.0.0.1:{pod.admin_port}", tmp_path)
    assert code == 0, said
    assert not Watched(pod).complaints
    assert pod.admin("POST", "/undrain")[0] == 202
    assert pod.admin("GET", "/readyz") == (200, {"ready": True})


def test_every_route_of_both_ports_is_described(pod: Pod) -> None:
    """What is not described is not tried."""
    public = pod.request("GET", "/openapi.json")[1]["paths"]
    admin = pod.admin("GET", "/openapi.json")[1]["paths"]
    assert set(public) == {"/events", "/info", "/ssecast.js"}
    assert set(admin) == {"/healthz", "/readyz", "/metrics", "/load", "/shed", "/drain", "/undrain"}
