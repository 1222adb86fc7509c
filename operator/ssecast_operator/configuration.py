"""What the pods are told: their settings, and the files that those name. Pure.

All settings lie in one ConfigMap that the pods have mounted and watch. Most are taken while streams are open; a change of
one of the others needs new pods, and so changes the pods' template (`fingerprint`).
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ssecast_operator.broadcaster import Broadcaster
from ssecast_operator.budget import budget_of
from ssecast_operator.spec import SecretKey, Spec, settings_of

PREFIX = "SSECAST_"
FOLDER = "/etc/ssecast"
SETTINGS_FOLDER = f"{FOLDER}/settings"
TOKEN_KEY = "token"

LIVE = frozenset(
    {
        "MAX_STREAMS", "MAX_STREAMS_PER_CLIENT", "OVERLOAD", "RETRY_MS", "RETRY_SPREAD_MS", "HEARTBEAT_SECONDS",
        "MAX_AGE_SECONDS", "SLOW_CLIENT", "STALL_SECONDS", "CORS_ORIGINS", "DRAIN_DELAY_SECONDS",
        "DRAIN_SECONDS",
    }
)  # fmt: skip
"""Settings that a pod takes while it runs; the pods' own list is in service/README.md, and a test holds both equal."""


@dataclass(frozen=True, slots=True)
class Mounted:
    """A Secret of which some keys lie as files in a folder of the pods. items: key -> file name."""

    volume: str
    secret: str
    items: Mapping[str, str]

    @property
    def folder(self) -> str:
        return f"{FOLDER}/{self.volume}"


def settings_for(broadcaster: Broadcaster) -> dict[str, str]:
    """Every setting for which the spec has a field, and those that follow from it, by their variables' names."""
    spec, budget = broadcaster.spec, budget_of(broadcaster.spec)
    given: dict[str, str | int | float | bool | tuple[str, ...] | None] = {
        "NATS_URL": spec.nats.url,
        "SUBJECTS": spec.nats.subjects,
        "STREAM": broadcaster.stream,
        "STREAM_MAX_AGE_SECONDS": spec.nats.stream.max_age,
        "STREAM_MAX_BYTES": spec.nats.stream.max_bytes,
        "STREAM_REPLICAS": spec.nats.stream.replicas,
        "STREAM_STORAGE": spec.nats.stream.storage,
        "MAX_STREAMS": spec.scaling.streams_per_pod.limit,
        "MAX_STREAMS_PER_CLIENT": spec.stream.max_per_client,
        "OVERLOAD": spec.stream.overload,
        "RETRY_MS": spec.stream.retry_milliseconds,
        "RETRY_SPREAD_MS": round(1000 * budget.retry_spread),
        "HEARTBEAT_SECONDS": spec.stream.heartbeat_seconds,
        "MAX_AGE_SECONDS": spec.stream.max_age_seconds,
        "SLOW_CLIENT": spec.stream.slow_client,
        "STALL_SECONDS": spec.stream.stall_seconds,
        "MAX_PAYLOAD_BYTES": spec.stream.max_payload,
        "DRAIN_DELAY_SECONDS": spec.drain.delay_seconds,
        "DRAIN_SECONDS": budget.pod_window,
        "CORS_ORIGINS": spec.cors.origins,
        "PUBLISH": spec.publish,
        "PAGE": spec.page,
        "FORWARDED_ALLOW_IPS": spec.service.trusted_proxies or None,
    }
    given |= {**_auth(spec), **_files(spec)}
    return {PREFIX + name: _text(value) for name, value in given.items() if value is not None}


def _auth(spec: Spec) -> dict[str, str | int | tuple[str, ...] | None]:
    auth = spec.auth
    if auth is None:
        return {}
    return {
        "JWKS_URL": auth.jwks_url,
        "JWT_ALGORITHMS": auth.algorithms or None,
        "JWT_ISSUER": auth.issuer,
        "JWT_AUDIENCE": auth.audience,
        "JWT_LEEWAY_SECONDS": auth.leeway_seconds,
        "JWT_COOKIE": auth.cookie,
        "JWT_QUERY": auth.query,
    }


def _files(spec: Spec) -> dict[str, str]:
    tls = spec.nats.tls
    files: dict[str, str] = {}
    for name, volume, secret in (
        ("NATS_CREDS_FILE", "nats-credentials", spec.nats.credentials_secret),
        ("NATS_CA_FILE", "nats-ca", tls.ca_secret if tls else None),
        ("JWT_KEY_FILE", "jwt-key", spec.auth.key_secret if spec.auth else None),
    ):
        if secret is not None:
            files[name] = f"{FOLDER}/{volume}/{secret.key}"
    if tls is not None and tls.certificate_secret is not None:
        files |= {"NATS_CERT_FILE": f"{FOLDER}/nats-tls/tls.crt", "NATS_KEY_FILE": f"{FOLDER}/nats-tls/tls.key"}
    return files


def mounted(spec: Spec) -> Iterator[Mounted]:
    """The Secrets that the spec refers to."""
    tls = spec.nats.tls
    for volume, secret in (
        ("nats-credentials", spec.nats.credentials_secret),
        ("nats-ca", tls.ca_secret if tls else None),
        ("jwt-key", spec.auth.key_secret if spec.auth else None),
    ):
        if secret is not None:
            yield _mounted(volume, secret)
    if tls is not None and tls.certificate_secret is not None:
        yield Mounted("nats-tls", tls.certificate_secret, {"tls.crt": "tls.crt", "tls.key": "tls.key"})


def _mounted(volume: str, secret: SecretKey) -> Mounted:
    return Mounted(volume, secret.name, {secret.key: secret.key})


def fingerprint(settings: Mapping[str, str]) -> str:
    """Of the settings that a pod takes only when it starts; another one means new pods."""
    fixed = {name: value for name, value in settings.items() if name.removeprefix(PREFIX) not in LIVE}
    return hashlib.blake2b(json.dumps(fixed, sort_keys=True).encode(), digest_size=8).hexdigest()


FIELD_SETTINGS = frozenset(PREFIX + name for _, name in settings_of()) | {f"{PREFIX}RETRY_SPREAD_MS"}
"""Variables that `podTemplate.env` cannot set, because a field does."""


def _text(value: str | int | float | bool | tuple[str, ...]) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ",".join(value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
