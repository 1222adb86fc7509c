"""signature.py: the form that is signed, and one sentence for everything that can be wrong with an order."""

import hashlib
import hmac

import pytest

from ssecast.signature import MAX_SKEW_MS, Reason, Refusal, parse_tokens, refusal, sign, signed

TOKEN, OTHER = "a-token-of-some-length", "another-one-just-as-long"
NOW = 1_780_000_000_000
BODY = b'{"window_seconds": 60}'
ORDER = (TOKEN, "uid-1", "POST", "/drain", BODY, NOW)


def given(**changed: str) -> dict[str, str]:
    """The headers of a good order, some of them changed."""
    headers = {name.lower(): value for name, value in signed(*ORDER).items()}
    return headers | {f"ssecast-{name}": value for name, value in changed.items()}


def judge(
    headers: dict[str, str],
    *,
    tokens: tuple[str, ...] = (TOKEN,),
    uid: str = "uid-1",
    method: str = "POST",
    path: str = "/drain",
    body: bytes = BODY,
    now: int = NOW,
) -> Refusal | None:
    return refusal(tokens, uid, method, path, body, headers, now)


def test_the_form_that_is_signed_is_the_one_that_is_documented() -> None:
    """Another program signs by the description alone."""
    lines = b"ssecast-order-v1\nuid-1\nPOST\n/drain\n1780000000000\n"
    expected = hmac.new(TOKEN.encode(), lines + BODY, hashlib.sha256).hexdigest()
    assert sign(*ORDER) == "v1=" + expected
    assert signed(*ORDER) == {
        "Ssecast-Pod": "uid-1",
        "Ssecast-Time": "1780000000000",
        "Ssecast-Signature": "v1=" + expected,
    }


@pytest.mark.parametrize(
    "other",
    [
        (OTHER, *ORDER[1:]),
        (TOKEN, "uid-2", *ORDER[2:]),
        (*ORDER[:2], "PUT", *ORDER[3:]),
        (*ORDER[:3], "/undrain", *ORDER[4:]),
        (*ORDER[:4], b"", NOW),
        (*ORDER[:5], NOW + 1),
        (TOKEN, "uid-1", "POST", "/drai", b"n" + BODY, NOW),
    ],
)
def test_everything_in_it_counts(other: tuple[str, str, str, str, bytes, int]) -> None:
    assert sign(*other) != sign(*ORDER)


def test_no_field_can_run_into_the_next_one() -> None:
    with pytest.raises(ValueError, match="control character"):
        sign(TOKEN, "uid-1\nPOST", "/drain", "", BODY, NOW)


def test_a_signed_order_is_accepted() -> None:
    assert judge(given()) is None


@pytest.mark.parametrize("tokens", [(TOKEN, OTHER), (OTHER, TOKEN)])
def test_while_tokens_are_exchanged_both_of_them_count(tokens: tuple[str, ...]) -> None:
    assert judge(given(), tokens=tokens) is None
    assert judge(given(), tokens=(OTHER,)) is not None


@pytest.mark.parametrize("skew", [-MAX_SKEW_MS, MAX_SKEW_MS])
def test_clocks_may_differ_by_half_a_minute(skew: int) -> None:
    assert judge(given(), now=NOW + skew) is None


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        (["signature"], "this pod takes signed orders only: Ssecast-Signature missing"),
        (["pod", "time"], "this pod takes signed orders only: Ssecast-Pod and Ssecast-Time missing"),
    ],
)
def test_an_order_without_its_headers_is_told_which(missing: list[str], sentence: str) -> None:
    headers = {name: value for name, value in given().items() if name.removeprefix("ssecast-") not in missing}
    assert judge(headers) == (Reason.UNSIGNED, sentence)


@pytest.mark.parametrize(
    ("skew", "sentence"),
    [
        (MAX_SKEW_MS + 1, "Ssecast-Time is 30 s behind this pod's clock: at most 30 s are allowed"),
        (-45_000, "Ssecast-Time is 45 s ahead of this pod's clock: at most 30 s are allowed"),
    ],
)
def test_an_old_order_is_refused_and_so_is_one_from_the_future(skew: int, sentence: str) -> None:
    assert judge(given(), now=NOW + skew) == (Reason.TIME, sentence)


@pytest.mark.parametrize("time", ["", "now", "-1", "1.5", "1e3", "9" * 16, "\u0661"])
def test_a_time_that_is_none_is_shown(time: str) -> None:
    found = judge(given(time=time))
    assert found == (Reason.TIME, f"Ssecast-Time is {time!r}: it must be Unix time in milliseconds")


def test_an_order_for_another_pod_is_refused() -> None:
    """The operator sent it to an address that was this other pod's a minute ago."""
    found = judge(given(), uid="uid-2")
    assert found == (Reason.POD, "Ssecast-Pod is 'uid-1': this pod is 'uid-2', and the order is for another")


@pytest.mark.parametrize(
    ("headers", "changed"),
    [
        (given(), {"path": "/undrain"}),
        (given(), {"method": "PUT"}),
        (given(), {"body": BODY + b" "}),
        (given(), {"tokens": (OTHER,)}),
        (given(time=str(NOW + 1)), {}),
        (given(pod="uid-2"), {"uid": "uid-2"}),
        (given(signature=""), {}),
        (given(signature="\xff"), {}),
        (given(signature=sign(*ORDER).removeprefix("v1=")), {}),
        (given(signature=sign(*ORDER).upper()), {}),
    ],
)
def test_a_signature_of_anything_else_is_refused(headers: dict[str, str], changed: dict[str, object]) -> None:
    found = judge(headers, **changed)  # type: ignore[arg-type]
    assert found is not None
    assert found.reason is Reason.SIGNATURE
    assert found.sentence.startswith("Ssecast-Signature does not match")
    assert TOKEN not in found.sentence


# Tokens


@pytest.mark.parametrize("text", [TOKEN, f"{TOKEN}\n", f"\n  {TOKEN}\r\n\n"])
def test_a_file_holds_a_token_on_a_line(text: str) -> None:
    assert parse_tokens(text.encode()) == (TOKEN,)


def test_a_file_may_hold_two_and_the_first_one_signs() -> None:
    assert parse_tokens(f"{TOKEN}\n{OTHER}\n".encode()) == (TOKEN, OTHER)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "it holds no token"),
        (b" \n\n", "it holds no token"),
        (b"short\n", "it holds a token of less than 16 characters"),
        (f"{TOKEN}\nshort".encode(), "it holds a token of less than 16 characters"),
        (f"{TOKEN}\n{OTHER}\n{TOKEN}".encode(), "it holds 3 tokens"),
        (b"\xff" * 20, "it holds no text"),
        (b"x" * 4097, "it holds more than 4096 bytes"),
    ],
)
def test_any_other_file_is_told_what_is_wrong_with_it(data: bytes, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as wrong:
        parse_tokens(data)
    assert str(wrong.value) == sentence
