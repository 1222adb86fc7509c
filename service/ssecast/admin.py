"""The admin app on port 9090: health, metrics, load, drain. It is for operators and must never be routed outside."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Protocol

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from pydantic import BaseModel, ConfigDict, Field

from ssecast.frame import Position
from ssecast.metrics import CLOSED, REFUSED

WINDOW_MAX_SECONDS = 86_400
SHED_MAX = 10**6
SHOWN_CHARS = 80


class LogPlace(Protocol):
    """Where the pod's log stands."""

    @property
    def position(self) -> Position: ...


class HubLoad(Protocol):
    """What `/load` tells of the hub; the mappings are counts by reason."""

    opened: int
    is_draining: bool

    @property
    def streams(self) -> int: ...
    @property
    def closed(self) -> Mapping[str, int]: ...
    @property
    def refused(self) -> Mapping[str, int]: ...
    @property
    def log(self) -> LogPlace: ...


class SourceLag(Protocol):
    """What `/load` tells of the source."""

    @property
    def lag_seconds(self) -> float: ...


class AdminPod(Protocol):
    """The pod as its operators see it. ready stays true when it is full and when NATS is away for a while."""

    version: str
    boot_id: str
    pod_uid: str
    started_at: datetime
    capacity: int

    @property
    def ready(self) -> bool: ...
    @property
    def not_ready_reason(self) -> str: ...
    @property
    def hub(self) -> HubLoad: ...
    @property
    def source(self) -> SourceLag: ...
    @property
    def drain_deadline_at(self) -> datetime | None: ...
    @property
    def refused_per_second(self) -> float: ...
    def render_metrics(self) -> bytes: ...
    def drain(self, window_seconds: float) -> None: ...
    def undrain(self) -> None: ...
    def shed(self, count: int, window_seconds: float) -> None: ...


class _Order(BaseModel):
    """A body. Strict: `true` is no count, and a misspelt field must not silently mean its default."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


Window = Annotated[float, Field(ge=0, le=WINDOW_MAX_SECONDS, allow_inf_nan=False)]


class Shed(_Order):
    """Close the oldest `count` streams, spread over the window. Replaces a shed that is under way; 0 ends it."""

    count: Annotated[int, Field(ge=0, le=SHED_MAX)]
    window_seconds: Window


class Drain(_Order):
    """Take no new streams and close the open ones, spread over the window."""

    window_seconds: Window


def create_admin(pod: AdminPod) -> FastAPI:
    """The app. No interactive pages: they would load scripts from elsewhere."""
    app = FastAPI(title="ssecast admin", version=pod.version, docs_url=None, redoc_url=None)
    # Starlette types handlers by Exception, though it calls this one only for the class it is registered for.
    app.add_exception_handler(RequestValidationError, _refuse)  # type: ignore[arg-type]
    _add_health(app, pod)
    _add_load(app, pod)
    _add_orders(app, pod)
    return app


def _add_health(app: FastAPI, pod: AdminPod) -> None:
    # All of these are async although they await nothing: they read the pod's plain ints, so they belong in its thread.
    @app.get("/healthz", summary="Whether the event loop runs")
    async def healthz() -> dict[str, bool]:
        return {"healthy": True}

    @app.get("/readyz", summary="Whether new clients should be sent here")
    async def readyz() -> JSONResponse:
        if pod.ready:
            return JSONResponse({"ready": True})
        return JSONResponse({"ready": False, "reason": pod.not_ready_reason}, 503)

    @app.get("/metrics", summary="Metrics in Prometheus's text format")
    async def metrics() -> Response:
        return Response(pod.render_metrics(), media_type=CONTENT_TYPE_PLAIN_0_0_4)


def _add_load(app: FastAPI, pod: AdminPod) -> None:
    @app.get("/load", summary="What the operator needs to know")
    async def load() -> dict[str, Any]:
        hub = pod.hub
        return {
            "version": pod.version,
            "pod_uid": pod.pod_uid,
            "boot_id": pod.boot_id,
            "started_at": _rfc3339(pod.started_at),
            "streams": hub.streams,
            "capacity": pod.capacity,
            "draining": hub.is_draining,
            "drain_deadline": _rfc3339(pod.drain_deadline_at),
            "opened_total": hub.opened,
            "refused_total": sum(hub.refused.values()),
            "refused_by_reason": dict.fromkeys(REFUSED, 0) | dict(hub.refused),
            "refused_per_second": pod.refused_per_second,
            "closed_total": dict.fromkeys(CLOSED, 0) | dict(hub.closed),
            "position": _position(hub.log.position),
            "source_lag_seconds": pod.source.lag_seconds,
        }


def _add_orders(app: FastAPI, pod: AdminPod) -> None:
    @app.post("/shed", status_code=202, summary="Close some streams")
    async def shed(order: Shed) -> dict[str, Any]:
        pod.shed(order.count, order.window_seconds)
        return _state(pod)

    @app.post("/drain", status_code=202, summary="Close all streams; again: change the window")
    async def drain(order: Drain) -> dict[str, Any]:
        pod.drain(order.window_seconds)
        return _state(pod)

    @app.post("/undrain", status_code=202, summary="Take streams again")
    async def undrain() -> dict[str, Any]:
        pod.undrain()
        return _state(pod)


def _state(pod: AdminPod) -> dict[str, Any]:
    return {
        "streams": pod.hub.streams,
        "draining": pod.hub.is_draining,
        "drain_deadline": _rfc3339(pod.drain_deadline_at),
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
