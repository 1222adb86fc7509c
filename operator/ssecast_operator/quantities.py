"""Durations, ranges and sizes as people write them: `10m`, `1h30m`, `7d`, `64Mi`, `1G`. A leaf."""

import re
from decimal import Decimal
from math import ceil

DURATION_PATTERN = r"^([0-9]{1,9}(\.[0-9]{1,3})?(ms|s|m|h))+$"
"""A subset of what Go reads as a duration, so that a CEL rule may call `duration()` on it."""

SIZE_PATTERN = r"^[0-9]{1,15}(\.[0-9]{1,3})?(k|M|G|T|Ki|Mi|Gi|Ti)?$"
"""A subset of what Kubernetes reads as a quantity."""

_UNITS = {"ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600)}
_RANGES = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
RANGE_MIN, RANGE_MAX = 600, 90 * 86_400
_FACTORS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_DURATION = re.compile(DURATION_PATTERN, re.ASCII)
_PART = re.compile(r"([0-9.]+)(ms|s|m|h)", re.ASCII)
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,3})?)(k|M|G|T|Ki|Mi|Gi|Ti|)", re.ASCII)


def seconds(value: object) -> object:
    """A duration such as `10m` in seconds; what is no string is left to the type. Raises ValueError."""
    if not isinstance(value, str):
        return value
    if not _DURATION.fullmatch(value):
        raise ValueError(f"{value[:40]!r} is not a duration such as 10m, 90s or 1h30m")
    return float(sum(Decimal(number) * _UNITS[unit] for number, unit in _PART.findall(value)))


def range_seconds(text: str) -> float:
    """How far back to look, such as `7d` or `36h`, in seconds: from ten minutes to ninety days. Raises ValueError."""
    found = re.fullmatch(r"([0-9]{1,6})(s|m|h|d|w)", text, re.ASCII)
    lasting = int(found[1]) * _RANGES[found[2]] if found else 0
    if not RANGE_MIN <= lasting <= RANGE_MAX:
        raise ValueError(f"{text[:40]!r}; expected is a time from 10m to 90d, such as 7d")
    return float(lasting)


def size(value: object) -> object:
    """A size such as `1Gi` in bytes, rounded up as Kubernetes does; what is no string is left to the type.

    Raises ValueError.
    """
    if not isinstance(value, str):
        return value
    found = _SIZE.fullmatch(value)
    if not found:
        raise ValueError(f"{value[:40]!r} is not a size such as 1Gi, 64Mi or 1048576")
    return ceil(Decimal(found[1]) * _FACTORS[found[2]])
