"""Whether an object in the cluster is what it should be: everything that we say is there, whatever else is. Pure."""

import hashlib
import json
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from ssecast_operator.broadcaster import GROUP
from ssecast_operator.quantities import size

APPLIED = f"{GROUP}/applied"
"""Annotation with the digest of what was applied: what is no longer in it must be taken away, and only a write does."""


def stamped(manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest with its digest."""
    digest = hashlib.blake2b(json.dumps(manifest, sort_keys=True).encode(), digest_size=8).hexdigest()
    metadata = manifest["metadata"]
    annotations = {**(metadata.get("annotations") or {}), APPLIED: digest}
    return manifest | {"metadata": {**metadata, "annotations": annotations}}


def differs(wanted: Any, live: Any) -> bool:
    """Whether something that is wanted is not there; what the API server or others added does not count."""
    if not wanted and live is None:
        return False  # the API server leaves out what says nothing
    if isinstance(wanted, Mapping):
        return not isinstance(live, Mapping) or any(differs(value, live.get(key)) for key, value in wanted.items())
    if isinstance(wanted, list | tuple):
        if not isinstance(live, list) or len(wanted) > len(live):
            return True
        if wanted and isinstance(wanted[0], Mapping) and _name(wanted[0]) is not None:
            named = {_name(each): each for each in live if isinstance(each, Mapping)}
            return any(differs(each, named.get(_name(each))) for each in wanted)
        return len(wanted) != len(live) or any(differs(*pair) for pair in zip(wanted, live, strict=True))
    return bool(wanted != live and not _same_quantity(wanted, live))


def _name(item: Mapping[str, Any]) -> Any:
    return item.get("name", item.get("uid"))


def _same_quantity(one: Any, other: Any) -> bool:
    """1000m is 1, and 1024Mi is 1Gi: the API server keeps the shortest."""
    return _quantity(one) is not None and _quantity(one) == _quantity(other)


def _quantity(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    text = str(value)
    try:
        if text.endswith("m"):
            return Decimal(text[:-1]) / 1000
        return Decimal(text) if text.replace(".", "", 1).isdigit() else Decimal(int(str(size(text))))
    except (ValueError, InvalidOperation):
        return None
