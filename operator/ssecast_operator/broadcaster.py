"""A Broadcaster as the API server returns it: identity, pause annotations and typed spec. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ssecast_operator.spec import Spec

GROUP = "ssecast.dev"
VERSION = "v1alpha1"
KIND = "Broadcaster"
PLURAL = "broadcasters"

PAUSED = f"{GROUP}/paused"
PAUSED_SCALE_IN = f"{GROUP}/paused-scale-in"
PAUSED_SCALE_OUT = f"{GROUP}/paused-scale-out"

SHOWN_CHARS = 80


class SpecError(ValueError):
    """A spec that cannot be used: one sentence per mistake. Only an object older than its CRD can have one."""

    def __init__(self, sentences: list[str]) -> None:
        super().__init__("\n".join(sentences))
        self.sentences = sentences


class Pause(NamedTuple):
    """Which ways are barred by annotations: pods may not be removed, pods may not be added."""

    scale_in: bool = False
    scale_out: bool = False


@dataclass(frozen=True, slots=True)
class Broadcaster:
    """What of the object matters to us; the status is read by who wrote it."""

    namespace: str
    name: str
    uid: str
    generation: int
    pause: Pause
    spec: Spec

    @property
    def stream(self) -> str:
        """Name of the JetStream stream; empty: core NATS."""
        given = self.spec.nats.stream.name
        return f"{self.namespace}-{self.name}" if given is None else given


def parse(body: Mapping[str, Any]) -> Broadcaster:
    """The object of the API. Raises SpecError with one sentence per mistake in its spec."""
    metadata = body["metadata"]
    try:
        spec = Spec.model_validate(body.get("spec") or {})
    except ValidationError as wrong:
        raise SpecError([sentence_of(each) for each in wrong.errors()]) from None
    return Broadcaster(
        namespace=metadata.get("namespace", ""),
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        generation=metadata.get("generation", 0),
        pause=pause_of(metadata.get("annotations") or {}),
        spec=spec,
    )


def pause_of(annotations: Mapping[str, str]) -> Pause:
    """What the annotations bar. Whoever sets one wants a pause: any value but `false` means it."""
    paused, scale_in, scale_out = (
        annotations.get(name, "false").strip().lower() != "false"
        for name in (PAUSED, PAUSED_SCALE_IN, PAUSED_SCALE_OUT)
    )
    return Pause(paused or scale_in, paused or scale_out)


def sentence_of(error: ErrorDetails) -> str:
    """Which field, what stands there, and what is allowed."""
    path = "spec" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"])
    problem = error["msg"][0].lower() + error["msg"][1:]
    if error["type"] == "missing":
        return f"{path} is missing."
    shown = repr(error["input"])
    shown = shown if len(shown) <= SHOWN_CHARS else shown[:SHOWN_CHARS] + "…"
    return f"{path}: {shown} is not allowed: {problem}."
