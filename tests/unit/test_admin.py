"""The admin app above a fake pod, without a socket."""

import time
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import httpx
import pytest

from ssecast.admin import Conflict, create_admin
from ssecast.guard import Guard
from ssecast.log import EventLog
from ssecast.metrics import CLOSED, REFUSED
from ssecast.signature import signed

JSON = {"content-type": "application/json"}


class FakeHub:
    def __init__(self) -> None:
        self.streams, self.opened, self.is_draining = 3, 11, False
        self.closed = Counter({"age": 2})
        self.refused = Counter({"full": 4, "draining": 1})
        self.log = EventLog(10, 10_000, "abc", 41)


class FakeSource:
    def __init__(self) -> None:
        self.lag_seconds, self.problem = 0.5, ""


class FakePod:
    """A pod that remembers its orders."""

    def __init__(self) -> None:
        self.version, self.boot_id, self.pod_uid, self.capacity = "1.2.3", "b00t", "uid-1", 100
        self.started_at = datetime(2026, 5, 1, 12, tzinfo=timezone(timedelta(hours=2)))
        self.ready, self.not_ready_reason = True, ""
        self.hub, self.source = FakeHub(), FakeSource()
        self.drain_deadline_at: datetime | None = None
        self.shed_deadline_at: datetime | None = None
        self.shed_left, self.stopping = 0, False
        self.refused_per_second = 1.5
        self.problem, self.restart_needed = "", ("SSECAST_SUBJECTS",)
        self.orders: list[tuple[Any, ...]] = []

    def render_metrics(self) -> bytes:
        return b"ssecast_streams 3\n"

    def drain(self, window_seconds: float, delay_seconds: float) -> None:
        self.orders.append(("drain", window_seconds, delay_seconds))
        self.hub.is_draining = True
        self.drain_deadline_at = datetime(2026, 5, 1, 11, tzinfo=UTC)

    def undrain(self) -> None:
        if self.stopping:
            raise Conflict("it cannot be taken back")
        self.orders.append(("undrain",))
        self.hub.is_draining = False
        self.drain_deadline_at = None

    def shed(self, count: int, window_seconds: float) -> None:
        self.orders.append(("shed", count, window_seconds))
        self.shed_left = count
        self.shed_deadline_at = datetime(2026, 5, 1, 11, 30, tzinfo=UTC)


@pytest.fixture
def pod() -> FakePod:
    return FakePod()


@pytest.fixture
def guard() -> Guard:
    return Guard("uid-1", None)


@pytest.fixture
async def client(pod: FakePod, guard: Guard) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_admin(pod, guard))
    async with httpx.AsyncClient(transport=transport, base_url="http://pod") as found:
        yield found


async def test_healthz_answers_while_the_loop_runs(client: httpx.AsyncClient, pod: FakePod) -> None:
    """A pod that is not ready is healthy all the same: it must not be restarted for it."""
    pod.ready = False
    assert (await client.get("/healthz")).status_code == 200


async def test_a_ready_pod_stays_ready_when_it_is_full(client: httpx.AsyncClient, pod: FakePod) -> None:
    """Taking a full pod out of the Service would turn away every browser that reconnects."""
    pod.hub.streams = pod.capacity
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"ready": True})


async def test_a_pod_without_nats_stays_ready_and_says_so(client: httpx.AsyncClient, pod: FakePod) -> None:
    """Its streams are worth keeping, and its clients would find no better pod elsewhere."""
    pod.source.problem = "NATS is away"
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"ready": True, "problem": "NATS is away"})


@pytest.mark.parametrize("reason", ["starting", "draining"])
async def test_a_pod_that_is_not_ready_says_why(client: httpx.AsyncClient, pod: FakePod, reason: str) -> None:
    """503 with the reason, while starting and while draining."""
    pod.ready, pod.not_ready_reason = False, reason
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()) == (503, {"ready": False, "reason": reason})


async def test_metrics_come_in_the_text_format(client: httpx.AsyncClient) -> None:
    """Prometheus chooses its parser by the content type."""
    answer = await client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.content == b"ssecast_streams 3\n"


async def test_load_speaks_the_operators_terms(client: httpx.AsyncClient) -> None:
    """Exactly the keys that the operator, the simulator and dashboards read; times are RFC 3339 in UTC."""
    assert (await client.get("/load")).json() == {
        "version": "1.2.3",
        "pod_uid": "uid-1",
        "boot_id": "b00t",
        "started_at": "2026-05-01T10:00:00.000Z",
        "streams": 3,
        "capacity": 100,
        "draining": False,
        "drain_deadline": None,
        "stopping": False,
        "shedding": 0,
        "shed_deadline": None,
        "opened_total": 11,
        "refused_total": 5,
        "refused_by_reason": dict.fromkeys(REFUSED, 0) | {"full": 4, "draining": 1},
        "refused_per_second": 1.5,
        "closed_total": dict.fromkeys(CLOSED, 0) | {"age": 2},
        "position": "abc-41",
        "source_lag_seconds": 0.5,
        "problem": "",
        "restart_needed": ["SSECAST_SUBJECTS"],
    }


async def test_load_has_no_position_before_the_source_found_its_stream(client: httpx.AsyncClient, pod: FakePod) -> None:
    """Null, and not something that looks like a position."""
    pod.hub.log = EventLog(10, 10_000)
    assert (await client.get("/load")).json()["position"] is None


async def test_drain_and_undrain_reach_the_pod(client: httpx.AsyncClient, pod: FakePod) -> None:
    """Each answer tells the state after the order, and /load tells the deadline."""
    answer = await client.post("/drain", json={"window_seconds": 30, "delay_seconds": 5})
    assert answer.status_code == 202
    assert answer.json() == {
        "streams": 3,
        "draining": True,
        "drain_deadline": "2026-05-01T11:00:00.000Z",
        "stopping": False,
        "shedding": 0,
        "shed_deadline": None,
    }
    assert (await client.get("/load")).json()["drain_deadline"] == "2026-05-01T11:00:00.000Z"
    answer = await client.post("/undrain")
    assert (answer.status_code, answer.json()["draining"]) == (202, False)
    assert pod.orders == [("drain", 30, 5), ("undrain",)]


async def test_shed_reaches_the_pod(client: httpx.AsyncClient, pod: FakePod) -> None:
    """Count and window are handed over as given, and /load tells what is under way."""
    answer = await client.post("/shed", json={"count": 5, "window_seconds": 1.5})
    assert answer.status_code == 202
    load = (await client.get("/load")).json()
    for told in (answer.json(), load):
        assert (told["shedding"], told["shed_deadline"]) == (5, "2026-05-01T11:30:00.000Z")
    assert pod.orders == [("shed", 5, 1.5)]


async def test_an_order_that_does_not_fit_is_a_409_with_one_sentence(
    client: httpx.AsyncClient, pod: FakePod, guard: Guard
) -> None:
    """What the pod does goes on."""
    pod.stopping = True
    answer = await client.post("/undrain")
    assert (answer.status_code, answer.json()) == (409, {"detail": "it cannot be taken back"})
    assert (pod.orders, guard.refused) == ([], {"conflict": 1})


async def test_with_a_token_file_orders_are_signed_and_carried_out_once(pod: FakePod, tmp_path: Path) -> None:
    """The second time the answer is what is under way, and nothing is done."""
    token = "a-token-of-some-length"
    (tmp_path / "tokens").write_text(token)
    app = create_admin(pod, Guard("uid-1", str(tmp_path / "tokens")))
    body = b'{"count": 5, "window_seconds": 0}'
    headers = JSON | signed(token, "uid-1", "POST", "/shed", body, time.time_ns() // 10**6)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://pod") as client:
        assert (await client.post("/shed", content=body, headers=JSON)).status_code == 401
        assert pod.orders == []
        assert "repeated" not in (await client.post("/shed", content=body, headers=headers)).json()
        answer = await client.post("/shed", content=body, headers=headers)
        assert (answer.status_code, answer.json()["repeated"], answer.json()["shedding"]) == (202, True, 5)
        for path in ("/healthz", "/readyz", "/metrics", "/load"):
            assert (await client.get(path)).status_code == 200
    assert pod.orders == [("shed", 5, 0)]


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/drain", "{}", "window_seconds"),
        ("/drain", '{"window_seconds": -1}', "window_seconds"),
        ("/drain", '{"window_seconds": "soon"}', "window_seconds"),
        ("/drain", '{"window_seconds": NaN}', "window_seconds"),
        ("/drain", '{"window_seconds": Infinity}', "window_seconds"),
        ("/drain", '{"window_seconds": 1e9}', "window_seconds"),
        ("/drain", '{"window_seconds": 1, "windw": 2}', "windw"),
        ("/drain", '{"window_seconds": 1, "delay_seconds": -1}', "delay_seconds"),
        ("/drain", "[]", "body"),
        ("/drain", "", "body"),
        ("/shed", '{"window_seconds": 1}', "count"),
        ("/shed", '{"count": true, "window_seconds": 1}', "count"),
        ("/shed", '{"count": 1.5, "window_seconds": 1}', "count"),
        ("/shed", '{"count": -1, "window_seconds": 1}', "count"),
    ],
)
async def test_a_wrong_order_is_refused_and_its_field_named(
    client: httpx.AsyncClient, pod: FakePod, path: str, body: str, field: str
) -> None:
    """422 as JSON; nothing happens."""
    answer = await client.post(path, content=body, headers=JSON)
    assert answer.status_code == 422
    [detail] = answer.json()["detail"]
    assert detail["field"] == field
    assert detail["problem"]
    assert pod.orders == []


async def test_a_body_that_is_no_json_is_a_400(client: httpx.AsyncClient, pod: FakePod) -> None:
    """It names the body and what belongs into it."""
    answer = await client.post("/drain", content="{window", headers=JSON)
    assert (answer.status_code, answer.json()["detail"][0]["field"]) == (400, "body")
    assert pod.orders == []


async def test_a_body_without_its_content_type_says_so(client: httpx.AsyncClient, pod: FakePod) -> None:
    """What a web page can send across origins without asking is no order; curl is told what is missing."""
    headers = {"content-type": "application/x-www-form-urlencoded"}
    answer = await client.post("/drain", content='{"window_seconds": 1}', headers=headers)
    assert answer.status_code == 422
    assert "Content-Type: application/json" in answer.json()["detail"][0]["problem"]
    assert pod.orders == []
