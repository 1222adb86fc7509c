"""Each way in, with the real proxy program: events arrive at once, and browsers come back when no pod is there."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest
from nats.aio.client import Client as Nats

from ssecast.dev import EmbeddedNats
from tests.chart.controllers import CONTROLLERS, HAPROXY, HOST, NGINX, Controller, shown
from tests.chart.parts import made, one
from tests.chart.test_parts import Fallback, fallback
from tests.harness import Client, Pod, free_port, until

ORIGIN = "https://app.example.com"
STREAM = {"Host": HOST, "Accept": "text/event-stream", "Origin": ORIGIN}
ASKED = 12


@pytest.fixture
async def spare() -> AsyncIterator[Fallback]:
    async with fallback(ORIGINS=ORIGIN) as there:
        yield there


@pytest.fixture(params=CONTROLLERS)
def controller(request: pytest.FixtureRequest, tmp_path: Path, spare: Fallback) -> Iterator[Controller]:
    found = CONTROLLERS[request.param](tmp_path, f"127.0.0.1:{spare.port}")
    yield found
    found.stop()


async def answered(controller: Controller) -> None:
    """The proxy takes connections, and has read its routes."""

    def listens() -> bool:
        assert controller.process is not None
        assert controller.process.poll() is None, shown(controller)
        try:
            return (
                httpx.get(f"http://127.0.0.1:{controller.port}/ssecast.js", headers={"Host": HOST}).status_code != 404
            )
        except httpx.TransportError:
            return False

    await until(lambda: asyncio.to_thread(listens), "the proxy")


async def told(controller: Controller, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.get(f"http://127.0.0.1:{controller.port}/events", headers=STREAM | headers, timeout=30)


async def are_told_to_come_back(controller: Controller) -> None:
    answers = await asyncio.gather(*[told(controller) for _ in range(ASKED)])
    waits = set()
    for answer in answers:
        assert answer.status_code == 200, shown(controller)
        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.text.startswith("retry: ")
        assert answer.text.endswith("\n\n")
        waits.add(int(answer.text.removeprefix("retry: ")))
    assert all(2000 <= wait < 6000 for wait in waits)
    assert len(waits) > 1, "browsers must not come back together"


async def is_told_the_truth(controller: Controller) -> None:
    answer = await told(controller, Accept="*/*")
    assert answer.status_code in (502, 503), shown(controller)


async def test_events_arrive_at_once(
    controller: Controller, nats_server: EmbeddedNats, publisher: Nats, pod: Pod
) -> None:
    controller.start([f"127.0.0.1:{pod.port}"])
    await answered(controller)
    client = await Client.open(controller.port, host="127.0.0.1", Host=HOST)
    await until(lambda: bool(client.last_id), f"a position; {client.status}")
    for number in range(3):
        await publisher.publish("events.a", str(number).encode())
        assert (await client.has(number + 1))[-1] == str(number)
    assert client.status == 200


async def test_browsers_come_back_when_the_pod_dies(
    controller: Controller, nats_server: EmbeddedNats, make_pod: Callable[..., Pod]
) -> None:
    pod = await make_pod(nats_server.url).start()
    controller.start([f"127.0.0.1:{pod.port}"])
    await answered(controller)
    await pod.stop()
    await are_told_to_come_back(controller)
    await is_told_the_truth(controller)
    await pod.start()

    async def streams() -> bool:
        client = await Client.open(controller.port, host="127.0.0.1", Host=HOST)
        await until(lambda: client.ended or bool(client.last_id))
        return bool(client.last_id)

    await until(streams, "a stream again")


async def test_browsers_come_back_when_there_is_no_pod(controller: Controller) -> None:
    controller.start([])
    await answered(controller)
    await are_told_to_come_back(controller)
    await is_told_the_truth(controller)


async def test_pages_of_other_origins_come_back_too(controller: Controller) -> None:
    """Without the header a browser takes the answer for an error, and gives up."""
    controller.start([f"127.0.0.1:{free_port()}"])
    await answered(controller)
    answer = await told(controller)
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    answer = await told(controller, Origin="https://evil.example.com")
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    ("scenario", "prefix", "known"),
    [
        (
            "ingress-nginx",
            NGINX,
            {
                "custom-http-errors", "default-backend", "proxy-buffering", "proxy-connect-timeout", "proxy-http-version",
                "proxy-next-upstream", "proxy-read-timeout", "proxy-request-buffering", "proxy-send-timeout",
            },
        ),
        ("ingress-haproxy", HAPROXY, {"backend-config-snippet", "load-balance", "timeout-server"}),
    ],
    ids=["nginx", "haproxy"],
)  # fmt: skip
def test_annotations_are_those_that_a_controller_takes_from_an_ingress(
    scenario: str, prefix: str, known: set[str]
) -> None:
    """Others, such as haproxy.org/timeout-connect, are taken from its ConfigMap alone, and would be ignored here."""
    for each in made(scenario):
        if each["kind"] == "Ingress":
            said = {name.removeprefix(prefix) for name in each["metadata"]["annotations"] if name.startswith(prefix)}
            assert said <= known


def test_a_gateway_ends_no_stream_and_answers_for_pods_that_are_away() -> None:
    manifests = made("gateway-envoy")
    (rule,) = one(manifests, "HTTPRoute", "ssecast-streams")["spec"]["rules"]
    assert rule["timeouts"] == {"request": "0s", "backendRequest": "0s"}
    assert rule["backendRefs"] == [{"name": "ssecast", "port": 80}]
    policy = one(manifests, "BackendTrafficPolicy")["spec"]
    assert policy["targetRefs"] == [
        {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "ssecast-streams"}
    ]
    (override,) = policy["responseOverride"]
    assert override["response"]["statusCode"] == 200
    assert override["response"]["body"]["inline"] == "retry: 4000\n\n"
    for route in (each for each in manifests if each["kind"] == "HTTPRoute"):
        assert route["spec"]["parentRefs"] == [{"name": "public", "namespace": "gateways", "sectionName": "https"}]
        assert route["spec"]["hostnames"] == [HOST]
        for each in route["spec"]["rules"]:
            if each["matches"][0]["path"]["value"] == "/events":
                assert each["timeouts"] == {"request": "0s", "backendRequest": "0s"}


@pytest.mark.parametrize(
    "scenario", ["gateway", "gateway-envoy", "ingress", "ingress-nginx", "ingress-haproxy", "production"]
)
def test_no_way_in_leads_to_the_admin_port(scenario: str) -> None:
    text = str([each for each in made(scenario) if each["kind"] in ("HTTPRoute", "Ingress", "IngressRoute")])
    assert text
    assert "9090" not in text
    assert "admin" not in text
