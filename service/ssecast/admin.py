"""The admin app on port 9090: health, metrics, load, drain. It is for operators and must never be routed outside."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Protocol

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from pydantic import BaseModel, ConfigDict, Field

from ssecast.frame import Position
from ssecast.guard import Gate, Guard
from ssecast.metrics import CLOSED, REFUSED
from ssecast.signature import POD, SIGNATURE, TIME

WINDOW_MAX_SECONDS = 86_400
SHED_MAX = 10**6
SHOWN_CHARS = 80


class Wrong(BaseModel):
    """What is wrong with one field of a body."""

    field: str
    problem: str
    value: str = ""


class Refused(BaseModel):
    """Nothing has been done."""

    detail: str | list[Wrong]


class NotReady(BaseModel):
    """Why no new client should be sent here."""

    ready: Literal[False]
    reason: str


REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": Refused, "description": "the body is no JSON"},
    422: {"model": Refused, "description": "the body is not what it should be, field by field"},
    401: {
        "model": Refused,
        "description": f"with a token file: {POD}, {TIME} or {SIGNATURE} is missing or does not fit",
    },
    403: {"model": Refused, "description": "sent by a web page"},
    409: {"model": Refused, "description": "does not fit what the pod is doing: it stops, or it drains"},
    413: {"model": Refused, "description": "the body is too large or too slow"},
    429: {"model": Refused, "description": "too many signed orders"},
    503: {"model": Refused, "description": "the token file cannot be read"},
}
"""Of an order."""


class Conflict(Exception):
    """An order that does not fit what the pod is doing; the message is one sentence."""


class LogPlace(Protocol):
    """Where the pod's log stands."""

    @property
    def position(self) -> Position: ...


class HubLoad(Protocol):
    """What `/load` tells of the hub; the mappings are counts by reason."""

    opened: int

    @property
    def is_draining(self) -> bool: ...
    @property
    def streams(self) -> int: ...
    @property
    def closed(self) -> Mapping[str, int]: ...
    @property
    def refused(self) -> Mapping[str, int]: ...
    @property
    def log(self) -> LogPlace: ...


class SourceState(Protocol):
    """What `/load` and `/readyz` tell of the source."""

    @property
    def problem(self) -> str: ...
    @property
    def lag_seconds(self) -> float: ...


class AdminPod(Protocol):
    """The pod as its operators see it. ready stays true when it is full and when NATS is away for a while.

    problem: what is wrong with NATS, the stream or the settings, empty when nothing is. restart_needed: settings that have
    changed since it started, and that only a new pod takes. stopping: it was told to end, which cannot be taken back. shed_left: streams that a shed has yet to close.
    """

    version: str
    boot_id: str
    pod_uid: str
    started_at: datetime
    capacity: int

    @property
    def problem(self) -> str: ...
    @property
    def restart_needed(self) -> Sequence[str]: ...
    @property
    def ready(self) -> bool: ...
    @property
    def not_ready_reason(self) -> str: ...
    @property
    def hub(self) -> HubLoad: ...
    @property
    def source(self) -> SourceState: ...
    @property
    def drain_deadline_at(self) -> datetime | None: ...
    @property
    def shed_deadline_at(self) -> datetime | None: ...
    @property
    def shed_left(self) -> int: ...
    @property
    def stopping(self) -> bool: ...
    @property
    def refused_per_second(self) -> float: ...
    def render_metrics(self) -> bytes: ...
    def drain(self, window_seconds: float, delay_seconds: float) -> None: ...

    # These raise Conflict.
    def undrain(self) -> None: ...
    def shed(self, count: int, window_seconds: float) -> None: ...


class _Order(BaseModel):
    """A body. Strict: `true` is no count, and a misspelt field must not silently mean its default."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


Window = Annotated[float, Field(ge=0, le=WINDOW_MAX_SECONDS, allow_inf_nan=False)]


class Shed(_Order):
    """Close the oldest `count` streams, spread over the window.

    The same again while it is under way changes nothing; another one replaces it, and 0 ends it.
    """

    count: Annotated[int, Field(ge=0, le=SHED_MAX)]
    window_seconds: Window


class Drain(_Order):
    """Take no new streams and close the open ones, spread over the window, which begins after the delay.

    The same again changes nothing; with another window the rest are spread over that one, from now on.
    """

    window_seconds: Window
    delay_seconds: Window = 0.0


class MetricsResponse(Response):
    """Prometheus chooses its parser by the content type."""

    media_type = CONTENT_TYPE_PLAIN_0_0_4


def create_admin(pod: AdminPod, guard: Guard) -> FastAPI:
    """The app. No interactive pages: they would load scripts from elsewhere."""
    app = FastAPI(title="ssecast admin", version=pod.version, docs_url=None, redoc_url=None)
    # Starlette types handlers by Exception, though it calls this one only for the class it is registered for.
    app.add_exception_handler(RequestValidationError, _refuse)  # type: ignore[arg-type]
    app.add_middleware(Gate, guard=guard, state=lambda: _orders(pod))
    _add_health(app, pod)
    _add_load(app, pod)
    _add_orders(app, pod, guard)
    return app


def _add_health(app: FastAPI, pod: AdminPod) -> None:
    # All of these are async although they await nothing: they read the pod's plain ints, so they belong in its thread.
    @app.get("/healthz", summary="Whether the event loop runs")
    async def healthz() -> dict[str, bool]:
        return {"healthy": True}

    @app.get("/readyz", summary="Whether new clients should be sent here", responses={503: {"model": NotReady}})
    async def readyz() -> JSONResponse:
        if pod.ready:
            problem = pod.source.problem  # a NATS that is away for a while is no reason to turn clients away
            return JSONResponse({"ready": True} | ({"problem": problem} if problem else {}))
        return JSONResponse({"ready": False, "reason": pod.not_ready_reason}, 503)

    @app.get("/metrics", summary="Metrics in Prometheus's text format", response_class=MetricsResponse)
    async def metrics() -> Response:
        return MetricsResponse(pod.render_metrics())


def _add_load(app: FastAPI, pod: AdminPod) -> None:
    @app.get("/load", summary="What the operator needs to know")
    async def load() -> dict[str, Any]:
        hub = pod.hub
        return {
            "version": pod.version,
            "pod_uid": pod.pod_uid,
            "boot_id": pod.boot_id,
            "started_at": _rfc3339(pod.started_at),
            "capacity": pod.capacity,
            **_orders(pod),
            "opened_total": hub.opened,
            "refused_total": sum(hub.refused.values()),
            "refused_by_reason": dict.fromkeys(REFUSED, 0) | dict(hub.refused),
            "refused_per_second": pod.refused_per_second,
            "closed_total": dict.fromkeys(CLOSED, 0) | dict(hub.closed),
            "position": _position(hub.log.position),
            "source_lag_seconds": pod.source.lag_seconds,
            "problem": pod.problem,
            "restart_needed": list(pod.restart_needed),
        }


def _add_orders(app: FastAPI, pod: AdminPod, guard: Guard) -> None:
    def conflict(_: Request, wrong: Conflict) -> JSONResponse:
        return guard.refuse(409, "conflict", str(wrong))

    app.add_exception_handler(Conflict, conflict)  # type: ignore[arg-type]

    @app.post("/shed", status_code=202, summary="Close some streams", responses=REFUSALS)
    async def shed(order: Shed) -> dict[str, Any]:
        pod.shed(order.count, order.window_seconds)
        return _orders(pod)

    @app.post("/drain", status_code=202, summary="Close all streams; again: change the window", responses=REFUSALS)
    async def drain(order: Drain) -> dict[str, Any]:
        pod.drain(order.window_seconds, order.delay_seconds)
        return _orders(pod)

    @app.post("/undrain", status_code=202, summary="Take streams again", responses=REFUSALS)
    async def undrain() -> dict[str, Any]:
        pod.undrain()
        return _orders(pod)


def _orders(pod: AdminPod) -> dict[str, Any]:
    """What the pod was ordered to do, and how far it is: part of /load, and the answer to every order."""
    return {
        "streams": pod.hub.streams,
        "draining": pod.hub.is_draining,
        "drain_deadline": _rfc3339(pod.drain_deadline_at),
        "stopping": pod.stopping,
        "shedding": pod.shed_left,
        "shed_deadline": _rfc3339(pod.shed_deadline_at),
    }


async def _refuse(request: Request, wrong: RequestValidationError) -> JSONResponse:
    """400 where the body is no JSON, else 422; one entry per field.

    FastAPI's own answer repeats the value as JSON, and fails with a 500 where it is NaN.
    """
    errors = wrong.errors()
    broken = any(error["type"] == "json_invalid" for error in errors)
    return JSONResponse({"detail": [_detail(error, request) for error in errors]}, 400 if broken else 422)


def _detail(error: Mapping[str, Any], request: Request) -> dict[str, str]:
    place = [str(part) for part in error["loc"][1:]]
    if error["type"] == "json_invalid" or not place:
        sent = request.headers.get("content-type", "")
        hint = "" if sent.startswith("application/json") else "; send it with Content-Type: application/json"
        return {"field": "body", "problem": f"is not a JSON object with the fields of {request.url.path}{hint}"}
    detail = {"field": ".".join(place), "problem": str(error["msg"])}
    return detail if error["type"] == "missing" else detail | {"value": repr(error["input"])[:SHOWN_CHARS]}


def _position(position: Position) -> str | None:
    """None before the source has found its stream: `-0` would be no position."""
    return str(position) if position.epoch else None


def _rfc3339(when: datetime | None) -> str | None:
    return None if when is None else when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
