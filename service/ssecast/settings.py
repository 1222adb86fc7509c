"""What a pod can be told, read once from the environment: every setting with its unit, default and description.

A leaf: frozen values that know no other rooms but `subjects`, `cors` and `signature`, which say what a subject, an origin
and a file of tokens may be.
What is wrong is said in one sentence per value. Values that may hold a secret are not repeated in it.
"""

import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from difflib import get_close_matches
from ipaddress import ip_network
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin
from urllib.parse import urlsplit

from annotated_types import Ge, Le
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from ssecast.cors import wrong_origins
from ssecast.signature import FILE_MAX_BYTES, TOKEN_MIN_CHARS, TOKENS_MAX, parse_tokens
from ssecast.subjects import collide, problem, reduce

PREFIX = "SSECAST_"
MAX_FLUSH_THREADS = 4
"""The default ends here: above, the hand-over costs more than another core brings."""

SHOWN_CHARS = 80
DAY = 86_400.0
KI, MI, GI = 2**10, 2**20, 2**30

_BINARY = {"": 1, "Ki": KI, "Mi": MI, "Gi": GI, "Ti": 2**40}
_FACTORS = _BINARY | {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_SIZE = re.compile(r"([0-9]{1,19})(|[kMGT]|[KMGT]i)", re.ASCII)
_STREAM_NAME = re.compile(r"[^\s.*>/\\\x00-\x20\x7f]{1,255}")
_SERVICE_LINK = re.compile(
    r"SSECAST_(.*_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_LINK_VALUE = re.compile(r"(tcp|udp|sctp)://")
_COOKIE_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,100}")
_QUERY_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.\-]{0,99}")

JWT_ALGORITHMS = (
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
)  # fmt: skip
QUERY_NAMES_TAKEN = ("subject", "interval", "latest", "format", "last_event_id", "lastEventId")
"""The parameters of /events."""


class SettingsError(ValueError):
    """Settings that cannot be used: one sentence per wrong value."""

    def __init__(self, sentences: list[str]) -> None:
        super().__init__("\n".join(sentences))
        self.sentences = sentences


def _bytes(value: object) -> object:
    """A size such as 131072, 64Mi or 1G as bytes."""
    found = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if isinstance(value, str) and not found:
        raise ValueError("it is not a size")
    return int(found[1]) * _FACTORS[found[2]] if found else value


def _parts(value: object) -> object:
    return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value


def _subjects(patterns: tuple[str, ...]) -> tuple[str, ...]:
    for pattern in patterns:
        wrong = problem(pattern)
        if wrong:
            raise ValueError(f"the subject {pattern!r} {wrong}")
    kept = reduce(patterns)
    for one, other in combinations(kept, 2):
        # JetStream refuses overlapping filters, and core NATS would deliver what matches both twice.
        if collide(one, other):
            raise ValueError(f"some subjects match both {one!r} and {other!r}")
    return kept


def _nats_url(value: str) -> str:
    urls = [url.strip() for url in value.split(",")]
    for url in urls:
        parts = urlsplit(url)
        if parts.scheme not in ("nats", "tls") or not parts.hostname:
            raise ValueError("each address needs nats:// or tls:// and a host")
        if parts.port == 0:  # reading the port raises ValueError where it is none
            raise ValueError("port 0 cannot be connected to")
    return ",".join(urls)


def _stream_name(value: str) -> str:
    if value and not _STREAM_NAME.fullmatch(value):
        raise ValueError("a stream name has no white space, dot, wildcard or slash and at most 255 characters")
    return value


def _nothing_as_none(value: object) -> object:
    return None if value == "" else value


def _readable(value: str | None) -> str | None:
    if value is None:
        return None
    try:
        with Path(value).open("rb"):
            return value
    except OSError as wrong:
        raise ValueError(f"cannot read it: {wrong.strerror}") from None


def _listed(value: object) -> object:
    """A comma list; an empty one has no parts."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    wrong = wrong_origins(origins)
    if wrong:
        raise ValueError(wrong)
    return origins


def _algorithms(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in JWT_ALGORITHMS:
            raise ValueError(f"{name!r} is not one of them")
    return names or JWT_ALGORITHMS


def _http_url(value: str | None) -> str | None:
    if value is None:
        return None
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
        raise ValueError("it needs http:// or https:// and a host")
    if "@" in parts.netloc:
        raise ValueError("it may hold no name and no password")
    return value


def _cookie_name(value: str) -> str:
    if value and not _COOKIE_NAME.fullmatch(value):
        raise ValueError("a cookie's name has letters, digits and punctuation without brackets, quotes, commas and =")
    return value


def _query_name(value: str) -> str:
    if value and not _QUERY_NAME.fullmatch(value):
        raise ValueError("it begins with a letter and goes on with letters, digits, dots, dashes and underscores")
    if value in QUERY_NAMES_TAKEN:
        raise ValueError("it is a parameter of /events")
    return value


def _with_tokens(value: str | None) -> str | None:
    if value is not None:
        with Path(value).open("rb") as file:
            parse_tokens(file.read(FILE_MAX_BYTES + 1))
    return value


def _addresses(value: str) -> str:
    """As uvicorn reads them: it would take what is neither address nor network for a name, and believe nobody."""
    parts = [part.strip() for part in value.split(",")]
    if parts == ["*"]:
        return "*"
    if "*" in parts:
        raise ValueError("* stands alone")
    for part in filter(None, parts):
        ip_network(part)
    return ",".join(filter(None, parts))


Port = Annotated[int, Field(ge=1, le=65535)]
Bytes = Annotated[int, BeforeValidator(_bytes)]
Seconds = Annotated[float, Field(le=DAY, allow_inf_nan=False)]
File = Annotated[str | None, BeforeValidator(_nothing_as_none), AfterValidator(_readable)]
Text = Annotated[str | None, BeforeValidator(_nothing_as_none)]
Url = Annotated[str | None, BeforeValidator(_nothing_as_none), AfterValidator(_http_url)]
Algorithms = Annotated[tuple[str, ...], BeforeValidator(_listed), AfterValidator(_algorithms)]
Origins = Annotated[tuple[str, ...], BeforeValidator(_listed), AfterValidator(_origins)]
Subjects = Annotated[tuple[str, ...], BeforeValidator(_parts), AfterValidator(_subjects)]

ALLOWED = {
    "host": "an address to listen on",
    "admin_host": "an address to listen on",
    "admin_token_file": f"the path of a file with a token of at least {TOKEN_MIN_CHARS} characters on each line, "
    f"{TOKENS_MAX} at most",
    "nats_url": "a comma list of addresses such as nats://host:4222",
    "subjects": "a comma list of NATS subjects without overlap, such as events.>",
    "stream": "the name of a JetStream stream, or empty for core NATS",
    "cors_origins": "a comma list of origins such as https://app.example.com, or *",
    "jwks_url": "an address such as https://login.example.com/.well-known/jwks.json",
    "jwt_algorithms": "a comma list of " + ", ".join(JWT_ALGORITHMS),
    "jwt_cookie": "the name of a cookie",
    "jwt_query": "the name of a query parameter that is not yet taken",
    "forwarded_allow_ips": "a comma list of IP addresses and networks, or *",
}
"""What may be said, where the type does not say it."""


def granted_cores(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Cores that this process may use: its affinity, and the CPU quota of its cgroup (version 1 or 2), rounded up."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(cgroup)
    return affinity if quota is None else max(1, min(affinity, math.ceil(quota)))


def _quota(cgroup: Path) -> float | None:
    with suppress(OSError, ValueError, ZeroDivisionError):
        quota, period = (cgroup / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    with suppress(OSError, ValueError, ZeroDivisionError):
        quota = (cgroup / "cpu" / "cpu.cfs_quota_us").read_text()
        period = (cgroup / "cpu" / "cpu.cfs_period_us").read_text()
        return None if int(quota) <= 0 else int(quota) / int(period)
    return None


def _flush_threads() -> int:
    return min(granted_cores(), MAX_FLUSH_THREADS)


def _of(
    default: Any,
    unit: str,
    description: str,
    *,
    ge: float | None = None,
    le: float | None = None,
    min_length: int | None = None,
) -> Any:
    """A field with its unit; an empty unit where there is none."""
    extra: dict[str, Any] = {"unit": unit}
    return Field(default, description=description, json_schema_extra=extra, ge=ge, le=le, min_length=min_length)


LIVE = frozenset(
    {
        "max_streams", "max_streams_per_client", "overload", "retry_ms", "retry_spread_ms", "heartbeat_seconds",
        "max_age_seconds", "slow_client", "stall_seconds", "cors_origins", "drain_delay_seconds", "drain_seconds",
    }
)  # fmt: skip
"""Fields that a running pod takes from SSECAST_SETTINGS_DIR when they change there."""


class Settings(BaseSettings):
    """Everything a pod can be told. The variable of a field is its name in capitals after SSECAST_."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", validate_default=True)

    settings_dir: str = _of(
        "", "", "Folder with a file for each setting, named like its variable; what stands in the environment wins."
    )

    host: str = _of("0.0.0.0", "", "Address of the public port.", min_length=1)
    port: Port = _of(8080, "", "Public port: streams, publishing, the page.")
    admin_host: str = _of("0.0.0.0", "", "Address of the admin port.", min_length=1)
    admin_port: Port = _of(9090, "", "Admin port: health, metrics, load, drain. Never route it to the outside.")

    admin_token_file: Annotated[File, AfterValidator(_with_tokens)] = _of(
        None, "", "Tokens of those who may drain and shed, one per line: with it, orders must be signed."
    )

    nats_url: Annotated[str, AfterValidator(_nats_url)] = _of(
        "nats://127.0.0.1:4222", "", "NATS servers, a comma list."
    )
    nats_creds_file: File = _of(None, "", "NATS credentials file (user JWT and seed).")
    nats_ca_file: File = _of(None, "", "CA certificates that NATS's certificate is checked against.")
    nats_cert_file: File = _of(None, "", "Client certificate for NATS; needs the key file too.")
    nats_key_file: File = _of(None, "", "Client key for NATS; needs the certificate file too.")
    subjects: Subjects = _of(("events.>",), "", "Subjects that this pod serves, a comma list.")
    stream: Annotated[str, AfterValidator(_stream_name)] = _of(
        "ssecast", "", "JetStream stream, created when missing; empty: core NATS without resume across pods."
    )
    stream_max_age_seconds: Annotated[float, Field(ge=0.1, le=366 * DAY, allow_inf_nan=False)] = _of(
        600.0, "seconds", "How long the stream keeps events; used only when it is created."
    )
    stream_max_bytes: Bytes = _of(GI, "bytes", "How much the stream keeps; used only when it is created.", ge=KI)
    stream_replicas: int = _of(1, "servers", "Copies of the stream; used only when it is created.", ge=1, le=5)
    stream_storage: Literal["file", "memory"] = _of(
        "file", "", "Where the stream is kept; used only when it is created."
    )

    max_streams: int = _of(10_000, "streams", "Most open streams; fewer where open files are limited.", ge=1, le=10**6)
    max_streams_per_client: int = _of(
        0, "streams", "Most open streams of one client (an address, or an IPv6 /64); 0: no limit.", ge=0, le=10**6
    )
    overload: Literal["retry", "503"] = _of(
        "retry", "", "What a browser gets from a full pod: an empty stream that says when to retry, or 503."
    )
    retry_ms: int = _of(2000, "milliseconds", "Shortest wait of a client before it reconnects.", ge=1, le=3_600_000)
    retry_spread_ms: int = _of(4000, "milliseconds", "Random part added to that wait.", ge=0, le=3_600_000)
    heartbeat_seconds: Seconds = _of(15.0, "seconds", "Longest silence on an open stream.", ge=0.1)
    max_age_seconds: Seconds = _of(1800.0, "seconds", "Longest life of a stream, less up to 20 %; 0: no limit.", ge=0)
    slow_client: Literal["disconnect", "skip"] = _of(
        "disconnect", "", "What happens to a client that reads too slowly: it resumes by its id, or it skips to now."
    )
    stall_seconds: Seconds = _of(
        30.0, "seconds", "How long a socket may take nothing; after 40 seconds the kernel ends it in any case.", ge=0.1
    )
    client_buffer_bytes: Bytes = _of(
        128 * KI,
        "bytes",
        "Most bytes waiting for one client, in the pod and in the kernel each.",
        ge=4 * KI,
        le=64 * MI,
    )
    max_payload_bytes: Bytes = _of(MI, "bytes", "Largest payload; larger events are dropped.", ge=1, le=64 * MI)
    flush_threads: int = Field(
        default_factory=_flush_threads,
        description="Threads that write to sockets; default: the cores granted, at most 4.",
        json_schema_extra={"unit": "threads"},
        ge=1,
        le=64,
    )
    log_max_events: int = _of(100_000, "events", "Most events kept in memory.", ge=1, le=10**8)
    log_max_bytes: Bytes = _of(
        64 * MI, "bytes", "Most bytes of events kept in memory; a quarter of the memory limit at most.", ge=1
    )
    resume_max_events: int = _of(100_000, "events", "Most events that one resume is given.", ge=1, le=10**8)
    resume_max_bytes: Bytes = _of(
        64 * MI, "bytes", "Most bytes that one resume is given; a quarter of the memory limit at most.", ge=1
    )

    drain_delay_seconds: Seconds = _of(5.0, "seconds", "Wait at shutdown until no new client is sent here.", ge=0)
    drain_seconds: Seconds = _of(30.0, "seconds", "Window over which streams are closed at shutdown.", ge=0)
    cors_origins: Origins = _of((), "", "Origins whose pages may read from this pod, a comma list; * is for all.")
    jwt_key_file: File = _of(None, "", "Keys that tokens are verified with: PEM, JWK, JWK Set or a secret.")
    jwks_url: Url = _of(None, "", "Address of the JWK Set that tokens are verified with.")
    jwt_issuer: Text = _of(None, "", "The `iss` that a token must have.")
    jwt_audience: Text = _of(None, "", "The `aud` that a token must have; without it a token may have none.")
    jwt_algorithms: Algorithms = _of(JWT_ALGORITHMS, "", "Algorithms that a token may be signed with, a comma list.")
    jwt_leeway_seconds: Annotated[float, Field(le=300, allow_inf_nan=False)] = _of(
        10.0, "seconds", "How much the clock of who makes tokens may differ; no stream outlives its token by it.", ge=0
    )
    jwt_cookie: Annotated[str, AfterValidator(_cookie_name)] = _of("", "", "Cookie that may hold the token.")
    jwt_query: Annotated[str, AfterValidator(_query_name)] = _of(
        "", "", "Query parameter that may hold the token; proxies log it."
    )
    publish: bool = _of(
        False, "", "Whether POST /publish/{subject} is served; without JWT_KEY_FILE or JWKS_URL to everybody."
    )
    page: bool = _of(False, "", "Whether the page at / is served.")
    forwarded_allow_ips: Annotated[str, AfterValidator(_addresses)] = _of(
        "127.0.0.1", "", "Proxies whose X-Forwarded headers are believed, a comma list."
    )

    @field_validator("admin_port")
    @classmethod
    def _two_ports(cls, port: int, info: ValidationInfo) -> int:
        hosts = {info.data.get("host"), info.data.get("admin_host")}
        if port == info.data.get("port") and (len(hosts) == 1 or hosts & {"0.0.0.0", "::"}):
            raise _conflict(f"SSECAST_PORT and SSECAST_ADMIN_PORT are both {port}: they must differ.")
        return port

    @field_validator("nats_key_file")
    @classmethod
    def _key_with_certificate(cls, key: str | None, info: ValidationInfo) -> str | None:
        if "nats_cert_file" in info.data and (key is None) is not (info.data["nats_cert_file"] is None):
            given, missing = ("CERT", "KEY") if key is None else ("KEY", "CERT")
            raise _conflict(f"SSECAST_NATS_{given}_FILE is set: it needs SSECAST_NATS_{missing}_FILE too.")
        return key

    @field_validator("jwks_url")
    @classmethod
    def _one_place_of_keys(cls, url: str | None, info: ValidationInfo) -> str | None:
        if url and info.data.get("jwt_key_file"):
            raise _conflict("SSECAST_JWT_KEY_FILE and SSECAST_JWKS_URL are both set: keys come from one place.")
        return url

    @field_validator("jwt_issuer", "jwt_audience", "jwt_algorithms", "jwt_leeway_seconds", "jwt_cookie", "jwt_query")
    @classmethod
    def _needs_keys(cls, value: Any, info: ValidationInfo) -> Any:
        name = str(info.field_name)
        places = [info.data.get(place, "wrong") for place in ("jwt_key_file", "jwks_url")]
        if not any(places) and value != cls.model_fields[name].default:
            variable = PREFIX + name.upper()
            raise _conflict(f"{variable} is set: it needs SSECAST_JWT_KEY_FILE or SSECAST_JWKS_URL too.")
        return value

    @field_validator("jwt_cookie")
    @classmethod
    def _no_cookies_for_all(cls, cookie: str, info: ValidationInfo) -> str:
        if cookie and "*" in info.data.get("cors_origins", ()):
            raise _conflict(
                "SSECAST_JWT_COOKIE is set: SSECAST_CORS_ORIGINS must name origins then, browsers send no cookies for *."
            )
        return cookie

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what load_settings hands over: an environment that nobody passed in must not have a say."""
        return (init_settings,)


FOLDER_VARIABLE = f"{PREFIX}SETTINGS_DIR"
VARIABLES = {PREFIX + field.upper(): field for field in Settings.model_fields}


def load_settings(environ: Mapping[str, str]) -> Settings:
    """The settings in an environment, and in the folder that it names. Raises SettingsError with one sentence per wrong
    value or unknown name."""
    values: dict[str, Any] = {}
    sentences: list[str] = []
    given = {**read_folder(environ.get(FOLDER_VARIABLE, "")), **environ}
    for name, value in sorted(given.items()):
        if not name.upper().startswith(PREFIX):
            continue
        if name not in VARIABLES:
            sentences += _unknown(name, value)
        elif _LINK_VALUE.match(value) and name in ("SSECAST_PORT", "SSECAST_ADMIN_PORT"):
            sentences.append(f"{name}={_shown(name, value)} comes from Kubernetes: set enableServiceLinks: false.")
        else:
            values[VARIABLES[name]] = value
    try:
        settings = Settings(**values)
    except ValidationError as wrong:
        raise SettingsError(sentences + [_sentence(each) for each in wrong.errors()]) from None
    if sentences:
        raise SettingsError(sentences)
    return settings


def read_folder(folder: str) -> dict[str, str]:
    """The settings in the files of a folder, as Kubernetes mounts a ConfigMap; none where no folder is given.

    Raises SettingsError.
    """
    if not folder:
        return {}
    try:
        files = [file for file in Path(folder).iterdir() if file.name.upper().startswith(PREFIX)]
        return {file.name: file.read_text().strip() for file in files}
    except (OSError, UnicodeDecodeError) as wrong:
        why = getattr(wrong, "strerror", None) or "it holds no text"
        raise SettingsError([f"{FOLDER_VARIABLE}={folder!r} cannot be read: {why}."]) from None


def described() -> Iterator[tuple[str, str, str]]:
    """(variable, default with unit, description) of every setting, for help and documentation."""
    for name, field in VARIABLES.items():
        info = Settings.model_fields[field]
        default = info.get_default(call_default_factory=True, validated_data={})
        yield name, _spelled(default, _unit(info)), info.description or ""


def _conflict(sentence: str) -> PydanticCustomError:
    """A finding about two settings; it is the whole sentence already."""
    return PydanticCustomError("conflict", "{sentence}", {"sentence": sentence})


def _unknown(name: str, value: str) -> Iterator[str]:
    """What is wrong with a name that is no setting; the value is not repeated, it could be anything."""
    is_link = _SERVICE_LINK.fullmatch(name) or (name.endswith("_PORT") and _LINK_VALUE.match(value))
    if is_link:
        return
    fields = [known.removeprefix(PREFIX) for known in VARIABLES]
    nearest = get_close_matches(name.upper().removeprefix(PREFIX), fields, n=1, cutoff=0.5)
    hint = f"the nearest is {PREFIX}{nearest[0]}" if nearest else "`ssecast serve --help` lists them"
    yield f"{name} is not a setting; {hint}."


def _sentence(error: ErrorDetails) -> str:
    if error["type"] == "conflict":
        return error["msg"]
    field = str(error["loc"][0])
    name = PREFIX + field.upper()
    why = f" ({error['ctx']['error']})" if error["type"] == "value_error" else ""
    if _hidden(name, str(error["input"])):
        why = ""  # the reason may quote the value
    shown = _shown(name, str(error["input"]))
    return f"{name}={shown} is not allowed{why}: it must be {_allowed(field)}."


def _allowed(field: str) -> str:
    info = Settings.model_fields[field]
    annotation = info.annotation
    if field in ALLOWED:
        return ALLOWED[field]
    if field.endswith("_file"):
        return "the path of a file that can be read"
    if get_origin(annotation) is Literal:
        return " or ".join(get_args(annotation))
    if annotation is bool:
        return "true or false"
    if _unit(info) == "bytes":
        return f"a size in bytes, plain or such as 64Mi or 1Gi, {_range(info)}"
    number = "a whole number" if annotation is int else "a number"
    return f"{number} {_range(info)} {_unit(info)}".strip()


def _range(info: FieldInfo) -> str:
    low = [each.ge for each in info.metadata if isinstance(each, Ge)]
    high = [each.le for each in info.metadata if isinstance(each, Le)]
    least, most = _number(low[-1]) if low else "0", _number(high[-1]) if high else ""
    return f"from {least} to {most}" if most else f"of at least {least}"


def _number(value: Any) -> str:
    return str(int(value)) if value == int(value) else str(value)


def _unit(info: FieldInfo) -> str:
    extra = info.json_schema_extra
    return str(extra["unit"]) if isinstance(extra, dict) else ""


def _spelled(default: object, unit: str) -> str:
    """A default with its unit, the value as one would write it into the environment."""
    if default is None or default in ("", ()):
        return "none"
    if isinstance(default, tuple):
        return ",".join(default)
    if isinstance(default, bool):
        return str(default).lower()
    if unit == "bytes" and isinstance(default, int):
        suffix, factor = max((each for each in _BINARY.items() if default % each[1] == 0), key=lambda each: each[1])
        return f"{default // factor}{suffix} {unit}"
    return f"{_number(default) if isinstance(default, float) else default} {unit}".strip()


def _hidden(name: str, value: str) -> bool:
    """Whether it may hold a secret: an address with a password, or a credential pasted where its path belongs."""
    if name in ("SSECAST_NATS_URL", "SSECAST_JWKS_URL"):
        return "@" in value
    return name.endswith("_FILE") and (not value.startswith(("/", ".", "~")) or "\n" in value)


def _shown(name: str, value: str) -> str:
    if _hidden(name, value):
        return "(not shown)"
    return repr(value if len(value) <= SHOWN_CHARS else value[:SHOWN_CHARS] + "…")
