"""The signature of an order to a pod, and what can be wrong with one. Pure, and needs no other room: whoever gives orders
imports it too.

HMAC-SHA256 with a token that both sides know, over what is ordered, of which pod, and when. A bearer token would leak to
whoever has got the address of a pod that is gone; a signature is worth nothing anywhere else.

The bytes that are signed are these lines, each ended by one line feed, and then the body as it is sent:

    ssecast-order-v1
    the pod's UID, or its `boot_id` where it was given none: both stand in /load
    the method
    the path
    the time: Unix time in milliseconds
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

POD, TIME, SIGNATURE = "Ssecast-Pod", "Ssecast-Time", "Ssecast-Signature"
"""Headers of an order: the pod that it is for, when it was signed, and the signature."""

VERSION = "ssecast-order-v1"
PREFIX = "v1="
"""What the signature in the header begins with; the rest of it is hexadecimal."""

MAX_SKEW_MS = 30_000
"""An order that is older, or that is further ahead of the pod's clock, is refused."""

TOKENS_MAX, TOKEN_MIN_CHARS = 2, 16
FILE_MAX_BYTES = 4096
SHOWN_CHARS = 80


class Reason(StrEnum):
    """Why an order is refused."""

    UNSIGNED = "unsigned"
    TIME = "time"
    POD = "pod"
    SIGNATURE = "signature"


class Refusal(NamedTuple):
    """A reason, and the sentence that says what is wrong and what is allowed."""

    reason: Reason
    sentence: str


def sign(token: str, uid: str, method: str, path: str, body: bytes, at: int) -> str:
    """The value of the header Ssecast-Signature. at: Unix time in milliseconds, as in Ssecast-Time.

    Raises ValueError where a control character in a field would make it run into the next one.
    """
    fields = (VERSION, uid, method, path, str(at))
    for field in fields:
        if any(char < " " for char in field):
            raise ValueError(f"a control character in {field!r}")
    message = "".join(f"{field}\n" for field in fields).encode() + body
    return PREFIX + hmac.new(token.encode(), message, hashlib.sha256).hexdigest()


def signed(token: str, uid: str, method: str, path: str, body: bytes, at: int) -> dict[str, str]:
    """All headers of an order. Raises ValueError as sign does."""
    return {POD: uid, TIME: str(at), SIGNATURE: sign(token, uid, method, path, body, at)}


def refusal(
    tokens: Sequence[str], uid: str, method: str, path: str, body: bytes, headers: Mapping[str, str], now_ms: int
) -> Refusal | None:
    """What is wrong with an order to the pod with this UID; None where one of the tokens signed it.

    headers: by name, in small letters.
    """
    missing = [name for name in (POD, TIME, SIGNATURE) if name.lower() not in headers]
    if missing:
        return Refusal(Reason.UNSIGNED, f"this pod takes signed orders only: {' and '.join(missing)} missing")
    pod, time, given = (headers[name.lower()] for name in (POD, TIME, SIGNATURE))
    wrong = _wrong_time(time, now_ms)
    if wrong:
        return Refusal(Reason.TIME, wrong)
    if pod != uid:
        return Refusal(Reason.POD, f"{POD} is {pod[:SHOWN_CHARS]!r}: this pod is {uid!r}, and the order is for another")
    at = int(time)
    # All of them, whichever it is: how long it takes tells nothing.
    matching = [_same(given, sign(token, uid, method, path, body, at)) for token in tokens]
    if not any(matching):
        fields = f"{VERSION}, pod, method, path, time and body"
        return Refusal(Reason.SIGNATURE, f"{SIGNATURE} does not match: it must be {PREFIX} and the HMAC of {fields}")
    return None


def parse_tokens(data: bytes) -> tuple[str, ...]:
    """The tokens in a file, one per line: all of them are accepted, the first one signs.

    Raises ValueError, without the tokens in it.
    """
    if len(data) > FILE_MAX_BYTES:
        raise ValueError(f"it holds more than {FILE_MAX_BYTES} bytes")
    try:
        lines = data.decode().split("\n")
    except UnicodeDecodeError:
        raise ValueError("it holds no text") from None
    tokens = tuple(line.strip() for line in lines if line.strip())
    if not tokens:
        raise ValueError("it holds no token")
    if len(tokens) > TOKENS_MAX:
        raise ValueError(f"it holds {len(tokens)} tokens")
    if min(map(len, tokens)) < TOKEN_MIN_CHARS:
        raise ValueError(f"it holds a token of less than {TOKEN_MIN_CHARS} characters")
    return tokens


def _wrong_time(time: str, now_ms: int) -> str | None:
    if not (time.isascii() and time.isdigit() and len(time) <= 15):
        return f"{TIME} is {time[:SHOWN_CHARS]!r}: it must be Unix time in milliseconds"
    late = now_ms - int(time)
    if abs(late) <= MAX_SKEW_MS:
        return None
    way = "behind" if late > 0 else "ahead of"
    return f"{TIME} is {abs(late) // 1000} s {way} this pod's clock: at most {MAX_SKEW_MS // 1000} s are allowed"


def _same(one: str, other: str) -> bool:
    """In a time that does not depend on where they differ."""
    return hmac.compare_digest(one.encode(), other.encode())
