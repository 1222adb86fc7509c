"""cors.py: what each origin is told."""

import pytest

from ssecast.cors import Cors, asks_before, is_same_origin, wrong_origins

APP, OTHER = b"https://app.example.com", b"https://evil.example.com"
ALLOWED, CREDENTIALS = b"access-control-allow-origin", b"access-control-allow-credentials"


@pytest.mark.parametrize(
    "origin",
    [
        "https://app.example.com",
        "http://localhost:3000",
        "http://[::1]:8080",
        "capacitor://localhost",
        "https://xn--p1a.de",
    ],
)
def test_what_browsers_write_may_be_listed(origin: str) -> None:
    assert wrong_origins((origin,)) is None
    assert wrong_origins(("*",)) is None
    assert wrong_origins(()) is None


@pytest.mark.parametrize(
    ("origins", "words"),
    [
        (("*", "https://a"), "'*' stands alone"),
        (("https://a/",), "not written as browsers write"),
        (("https://a/path",), "not written as browsers write"),
        (("https://A.example",), "not written as browsers write"),
        (("a.example",), "not written as browsers write"),
        (("null",), "not written as browsers write"),
        (("https://*.example.com",), "not written as browsers write"),
        (("https://me@a",), "not written as browsers write"),
        (("https://a:443",), "leave out the port"),
        (("http://a:80",), "leave out the port"),
    ],
)
def test_an_origin_that_no_browser_sends_is_named(origins: tuple[str, ...], words: str) -> None:
    assert words in (wrong_origins(origins) or "")


def test_an_exact_origin_is_allowed_with_credentials_and_others_are_told_nothing() -> None:
    cors = Cors((APP.decode(),))
    assert dict(cors.headers(APP)) == {ALLOWED: APP, CREDENTIALS: b"true", b"vary": b"Origin"}
    for origin in (OTHER, None, b"null", APP + b".evil.com", b"HTTPS://app.example.com"):
        assert dict(cors.headers(origin)) == {b"vary": b"Origin"}
    assert cors.allows(APP.decode())
    assert not cors.allows(OTHER.decode())


def test_everybody_is_allowed_without_credentials() -> None:
    cors = Cors(("*",))
    for origin in (APP, OTHER, None):
        assert cors.headers(origin) == ((ALLOWED, b"*"),)
        assert CREDENTIALS not in dict(cors.preflight(APP))
    assert not cors.allows("*")
    assert not cors.allows(APP.decode())


def test_without_origins_nothing_is_said() -> None:
    cors = Cors(())
    assert not cors.is_on
    assert cors.headers(APP) == ()


def test_the_headers_of_an_origin_are_made_once() -> None:
    """The heads of streams are remembered by them."""
    cors = Cors((APP.decode(),))
    assert cors.headers(APP) is cors.headers(APP)
    assert cors.headers(OTHER) is cors.headers(None)


def test_a_preflight_is_told_from_other_options() -> None:
    asked = (b"access-control-request-method", b"GET")
    assert asks_before("OPTIONS", [(b"origin", APP), asked]) == APP
    assert asks_before("OPTIONS", [(b"origin", APP)]) is None
    assert asks_before("OPTIONS", [asked]) is None
    assert asks_before("GET", [(b"origin", APP), asked]) is None


def test_a_preflight_names_the_headers_that_clients_send() -> None:
    told = dict(Cors((APP.decode(),)).preflight(APP))
    assert told[ALLOWED] == APP
    for name in ("Last-Event-ID", "Authorization", "Content-Type", "Ssecast-Event", "Idempotency-Key"):
        assert name.encode() in told[b"access-control-allow-headers"].split(b", ")
    assert b"POST" in told[b"access-control-allow-methods"]


@pytest.mark.parametrize(
    ("origin", "scheme", "host", "fetch_site", "same"),
    [
        ("https://pod.example", "https", "pod.example", "", True),
        ("https://pod.example", "https", "Pod.Example:443", "", True),
        ("http://pod.example:8080", "http", "pod.example:8080", "", True),
        ("http://pod.example", "http", "pod.example:80", "", True),
        ("https://pod.example", "http", "pod.example", "", False),
        ("https://pod.example", "http", "pod.example", "same-origin", True),
        ("https://pod.example", "http", "pod.example", "same-site", False),
        ("https://evil.example", "https", "pod.example", "cross-site", False),
        ("null", "https", "pod.example", "", False),
        ("https://pod.example:8443", "https", "pod.example", "", False),
    ],
)
def test_an_origin_is_the_same_where_scheme_host_and_port_are(
    origin: str, scheme: str, host: str, fetch_site: str, same: bool
) -> None:
    assert is_same_origin(origin, scheme, host, fetch_site) is same
