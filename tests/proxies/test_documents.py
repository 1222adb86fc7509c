"""What docs/proxies/ says fits what pods do by default, and names what is there."""

import re

import pytest

from ssecast.settings import Settings
from tests.proxies.programs import PROXIES
from tests.proxies.proxy import DOCUMENTS, filled

SETTINGS = Settings()
PAGE = (DOCUMENTS / "README.md").read_text()

LIFE = {  # the limits that a stream must not meet before its pod ends it, in minutes
    "nginx.conf": r"worker_shutdown_timeout (\d+)m;",
    "haproxy.cfg": r"hard-stop-after (\d+)m\n",
}
SILENCE = {
    "nginx.conf": r"proxy_read_timeout (\d+)s; .*HEARTBEAT",
    "haproxy.cfg": r"timeout (?:client|server) (\d+)s\n",
}


@pytest.mark.parametrize("name", LIFE)
def test_no_proxy_ends_a_stream_before_its_pod_does(name: str) -> None:
    (minutes,) = re.findall(LIFE[name], (DOCUMENTS / name).read_text())
    assert int(minutes) * 60 > SETTINGS.max_age_seconds


@pytest.mark.parametrize("name", SILENCE)
def test_a_lost_heartbeat_or_two_end_no_stream(name: str) -> None:
    limits = re.findall(SILENCE[name], (DOCUMENTS / name).read_text())
    assert limits
    assert int(limits[0]) >= 3 * SETTINGS.heartbeat_seconds


def test_the_page_names_every_file_and_every_file_is_there() -> None:
    linked = {link for link in re.findall(r"\]\(([^)#]+)\)", PAGE) if "://" not in link}
    assert all((DOCUMENTS / link).exists() for link in linked)
    documents = {name for program in PROXIES.values() for name in program.documents}
    assert documents <= linked


def test_a_place_that_a_document_does_not_have_is_no_silent_miss() -> None:
    with pytest.raises(AssertionError, match=r"10\.0\.0\.13"):
        filled({"a": "server 10.0.0.11;"}, {"10.0.0.13": "127.0.0.1"})
