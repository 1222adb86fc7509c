"""configuration.py: what the pods are told is what a pod understands."""

from typing import Any

import pytest

from ssecast.settings import LIVE as LIVE_FIELDS
from ssecast.settings import PREFIX, VARIABLES, Settings
from ssecast_operator.broadcaster import Broadcaster, parse
from ssecast_operator.budget import budget_of
from ssecast_operator.configuration import FIELD_SETTINGS, LIVE, fingerprint, mounted, settings_for
from ssecast_operator.spec import settings_of

FULL: dict[str, Any] = {
    "nats": {
        "url": "tls://one:4222,tls://two:4222",
        "credentialsSecret": {"name": "nats", "key": "user.creds"},
        "tls": {"caSecret": {"name": "ca", "key": "ca.crt"}, "certificateSecret": "client"},
        "subjects": ["events.>", "orders.*"],
        "stream": {"name": "all", "maxAge": "90m", "maxBytes": "2Gi", "replicas": 3, "storage": "memory"},
    },
    "auth": {
        "keySecret": {"name": "jwt", "key": "key.pem"},
        "algorithms": ["RS256", "ES256"],
        "issuer": "https://id.example",
        "audience": "streams",
        "leewaySeconds": 5,
        "cookie": "session",
        "query": "token",
    },
    "cors": {"origins": ["https://app.example"]},
    "publish": True,
    "page": True,
    "service": {"trustedProxies": ["10.0.0.0/8", "192.168.0.1"]},
}


def broadcaster(**spec: Any) -> Broadcaster:
    return parse({"metadata": {"name": "live", "namespace": "news", "uid": "u1", "generation": 3}, "spec": spec})


def test_every_field_that_becomes_a_setting_does() -> None:
    with_key = settings_for(broadcaster(**FULL))
    jwks = {**FULL, "auth": {"jwksUrl": "https://id.example/keys"}}
    told = with_key.keys() | settings_for(broadcaster(**jwks)).keys()
    assert told == {PREFIX + name for _, name in settings_of()} | {"SSECAST_RETRY_SPREAD_MS"} == FIELD_SETTINGS
    assert told <= VARIABLES.keys()


def test_what_the_fields_say() -> None:
    settings = settings_for(broadcaster(**FULL))
    for name, value in {
        "NATS_URL": "tls://one:4222,tls://two:4222",
        "NATS_CREDS_FILE": "/etc/ssecast/nats-credentials/user.creds",
        "NATS_CERT_FILE": "/etc/ssecast/nats-tls/tls.crt",
        "SUBJECTS": "events.>,orders.*",
        "STREAM": "all",
        "STREAM_MAX_AGE_SECONDS": "5400",
        "STREAM_MAX_BYTES": str(2 * 2**30),
        "JWT_ALGORITHMS": "RS256,ES256",
        "PUBLISH": "true",
        "FORWARDED_ALLOW_IPS": "10.0.0.0/8,192.168.0.1",
        "CORS_ORIGINS": "https://app.example",
    }.items():
        assert settings[PREFIX + name] == value


def test_what_follows_from_the_budget() -> None:
    found = broadcaster(scaling={"maxReconnectsPerSecond": 100})
    settings, budget = settings_for(found), budget_of(found.spec)
    assert settings["SSECAST_DRAIN_SECONDS"] == str(int(budget.pod_window)) == "125"
    assert settings["SSECAST_RETRY_SPREAD_MS"] == "125000"


def test_a_pod_takes_all_of_it() -> None:
    """But for the files, which are not here."""
    settings = settings_for(broadcaster(**FULL | {"auth": {"jwksUrl": "https://id.example/keys", "cookie": "session"}}))
    values: dict[str, Any] = {VARIABLES[name]: value for name, value in settings.items() if not name.endswith("_FILE")}
    found = Settings(**values)
    assert (found.subjects, found.jwt_cookie, found.max_streams) == (("events.>", "orders.*"), "session", 10_000)


def test_the_stream_is_named_after_the_broadcaster_and_core_nats_is_said() -> None:
    assert settings_for(broadcaster())["SSECAST_STREAM"] == "news-live"
    assert settings_for(broadcaster(nats={"stream": {"name": ""}}))["SSECAST_STREAM"] == ""


def test_operator_and_pods_agree_on_what_is_taken_live() -> None:
    assert {name.lower() for name in LIVE} == LIVE_FIELDS


@pytest.mark.parametrize(
    "change",
    [
        {"stream": {"heartbeatSeconds": 5}},
        {"scaling": {"streamsPerPod": {"target": 100, "limit": 200}}},
        {"scaling": {"maxReconnectsPerSecond": 400}},
        {"cors": {"origins": ["https://app.example"]}},
        {"drain": {"delaySeconds": 6}},
    ],
)
def test_what_is_taken_live_needs_no_new_pods(change: dict[str, Any]) -> None:
    before, after = settings_for(broadcaster()), settings_for(broadcaster(**change))
    assert before != after
    assert fingerprint(before) == fingerprint(after)


@pytest.mark.parametrize(
    "change", [{"publish": True}, {"nats": {"subjects": ["other.>"]}}, {"stream": {"maxPayload": "2Mi"}}]
)
def test_everything_else_does(change: dict[str, Any]) -> None:
    assert fingerprint(settings_for(broadcaster())) != fingerprint(settings_for(broadcaster(**change)))


def test_the_secrets_that_are_referred_to() -> None:
    assert not list(mounted(broadcaster().spec))
    assert {(each.volume, each.secret, *each.items) for each in mounted(broadcaster(**FULL).spec)} == {
        ("nats-credentials", "nats", "user.creds"),
        ("nats-ca", "ca", "ca.crt"),
        ("nats-tls", "client", "tls.crt", "tls.key"),
        ("jwt-key", "jwt", "key.pem"),
    }
