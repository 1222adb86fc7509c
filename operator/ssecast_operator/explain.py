"""Why there are as many pods as there are, from the status of a Broadcaster alone. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

STEPS = (
    ("raw", "what the demand asks for"),
    ("recommended", "tolerance, headroom, pods without data"),
    ("stabilized", "stabilisation windows, or a surge"),
    ("rated", "rate policies"),
    ("held", "what forbids to remove pods for now"),
    ("bounded", "minReplicas and maxReplicas"),
    ("final", "pauses"),
)
DEMAND = (
    ("open", "open on pods that stay"),
    ("leaving", "on pods that leave, whose clients come back"),
    ("refused", "refused, whose clients wait to come back"),
    ("burst", "kept free (burst)"),
    ("unknown", "assumed on pods without data; only against removing pods"),
)
SAMPLES = (
    ("ready", "ready"),
    ("fresh", "answered when asked"),
    ("stale", "did not; the last answer is assumed to hold"),
    ("missing", "nothing is known of"),
    ("leaving", "drained or terminating"),
)


def explain(body: Mapping[str, Any]) -> str:
    """Lines for a person, of an object as the API server returns it."""
    metadata, status = body["metadata"], body.get("status") or {}
    lines = [f"Broadcaster {metadata.get('namespace', '')}/{metadata['name']}"]
    autoscaler = status.get("autoscaler")
    if not autoscaler:
        lines.append("Nothing has been decided yet: is the operator running, and does it watch this namespace?")
    else:
        lines += _decision(autoscaler)
    if status.get("phase"):
        lines += ["", f"Now: {status['phase']}: {status.get('phaseMessage', '')}"]
    if metadata.get("generation", 0) != status.get("observedGeneration", 0):
        lines += ["", "The spec has been changed since; what stands here is about the one before."]
    lines += _conditions(status)
    return "\n".join(lines) + "\n"


def _decision(autoscaler: Mapping[str, Any]) -> Iterator[str]:
    yield f"{autoscaler.get('reason', '')}: {autoscaler.get('message', '')}"
    if autoscaler.get("valid") is False:
        yield "The data was not good enough to say more; this number is what is safe without."
    demand, target = autoscaler.get("demand") or {}, autoscaler.get("target")
    yield ""
    yield f"Demand: {demand.get('total', 0):,} streams, {target or 0:,} per pod"
    yield from _rows(demand, DEMAND)
    yield ""
    yield "Pods"
    samples = autoscaler.get("samples") or {}
    yield from _rows(samples, SAMPLES)
    yield f"  {samples.get('freeSlots', 0):>9,}  free slots on the ready ones"
    yield ""
    yield f"From {autoscaler.get('current', 0)} pods, step by step"
    yield from _rows(autoscaler.get("steps") or {}, STEPS)
    if autoscaler.get("limitedBy"):
        yield f"Limited by: {', '.join(autoscaler['limitedBy'])}"
    if autoscaler.get("lastScaleTime"):
        yield f"The number of pods last changed at {autoscaler['lastScaleTime']}."


def _rows(values: Mapping[str, Any], names: tuple[tuple[str, str], ...]) -> Iterator[str]:
    for key, words in names:
        if key in values:
            yield f"  {values[key]:>9,}  {words}"


def _conditions(status: Mapping[str, Any]) -> Iterator[str]:
    conditions = status.get("conditions") or ()
    if conditions:
        yield ""
        yield "Conditions"
    for each in conditions:
        yield f"  {each['type']}={each['status']} ({each['reason']}) since {each['lastTransitionTime']}: {each['message']}"
