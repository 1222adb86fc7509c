"""`spec` of a Broadcaster: typed, with defaults, descriptions and the CEL rules that the API server checks.

Fields that become a setting of the pods name it; a table of them is in operator/README.md.
"""

from collections.abc import Iterator
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, StringConstraints, WithJsonSchema

from ssecast_operator.scaling import PLANNED_PERCENT, WINDOW_MAX, Scaling
from ssecast_operator.wire import SET, SETTING, Bytes, Model, Open, Seconds, keyed, of, ruled

SECRET_NAME = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
SECRET_KEY = r"^[-._a-zA-Z0-9]+$"
NATS_URL = r"^(nats|tls)://[^\s,]+(, *(nats|tls)://[^\s,]+)*$"
SUBJECT = r"^([^\s.*>]+|\*)(\.([^\s.*>]+|\*))*(\.>)?$|^>$"
STREAM_NAME = r"^[^\s.*>/\\]*$"
ORIGIN = r"^(\*|[a-z][a-z0-9+.-]*://([a-z0-9_.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?)$"
HTTP_URL = r"^https?://[^\s@/]+(/[^\s]*)?$"
COOKIE_NAME = r"^[-!#$%&'*+.^_`|~0-9A-Za-z]+$"
QUERY_NAME = r"^[A-Za-z][A-Za-z0-9_.-]*$"
NETWORK = r"^(\*|[0-9a-fA-F:.]+(/[0-9]{1,3})?)$"

Subject = Annotated[str, StringConstraints(pattern=SUBJECT, max_length=255)]
Origin = Annotated[str, StringConstraints(pattern=ORIGIN, max_length=255)]
Network = Annotated[str, StringConstraints(pattern=NETWORK, max_length=64)]
Algorithm = Literal[
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]  # fmt: skip
Labels = Annotated[
    dict[str, str],
    WithJsonSchema({"type": "object", "additionalProperties": {"type": "string"}}),
]
Amounts = Annotated[
    dict[str, str | int],
    WithJsonSchema({"type": "object", "additionalProperties": {"x-kubernetes-int-or-string": True}}),
]

RESERVED_ENV = (
    "POD_UID",
    "SSECAST_HOST",
    "SSECAST_PORT",
    "SSECAST_ADMIN_HOST",
    "SSECAST_ADMIN_PORT",
    "SSECAST_ADMIN_TOKEN_FILE",
    "SSECAST_RETRY_SPREAD_MS",
)
"""What the operator tells its pods beside the fields below; `podTemplate.env` cannot say otherwise."""


class SecretKey(Model):
    """One key of a Secret in the Broadcaster's namespace."""

    name: str = of(..., "Name of the Secret.", min_length=1, max_length=253, pattern=SECRET_NAME)
    key: str = of(..., "Key whose value is used.", min_length=1, max_length=253, pattern=SECRET_KEY)


class NatsTls(Model):
    """TLS to NATS beyond what the system's certificates do."""

    ca_secret: SecretKey | None = of(
        None, "CA certificates that the server's certificate is checked against.", setting="NATS_CA_FILE"
    )
    certificate_secret: str | None = of(
        None,
        "Secret of type kubernetes.io/tls with the client certificate.",
        min_length=1,
        max_length=253,
        pattern=SECRET_NAME,
        setting="NATS_CERT_FILE, NATS_KEY_FILE",
    )


class JetStream(Model):
    """The JetStream stream that keeps the events. Pods create it when it is missing, and never change it."""

    model_config = ruled(
        (
            "has(self.name) == has(oldSelf.name) && (!has(self.name) || self.name == oldSelf.name)",
            "name cannot be changed: positions that clients hold belong to one stream; make another Broadcaster",
            ".name",
        ),
        ("self.storage == oldSelf.storage", "storage cannot be changed: JetStream does not move a stream"),
        ("quantity(string(self.maxBytes)).compareTo(quantity('1Mi')) >= 0", "maxBytes must be at least 1Mi"),
    )

    name: str | None = of(
        None,
        "Name of the stream; default: <namespace>-<name of the Broadcaster>. An empty name means core NATS: nothing is "
        "kept, and a client that reconnects to another pod is told of a gap. Cannot be changed.",
        max_length=255,
        pattern=STREAM_NAME,
        setting="STREAM",
    )
    max_age: Seconds = of(
        "10m",
        "How long events are kept, for clients that come back. It must exceed the longest drain and the longest wait of "
        "a client before it reconnects. Used only when the stream is created; change it later by `nats stream edit`.",
        setting="STREAM_MAX_AGE_SECONDS",
    )
    max_bytes: Bytes = of(
        "1Gi",
        "How much is kept at most; the oldest events go first. Used only when the stream is created.",
        setting="STREAM_MAX_BYTES",
    )
    replicas: int = of(
        1,
        "Copies of the stream; three survive the loss of a NATS server. Used only when the stream is created.",
        ge=1,
        le=5,
        setting="STREAM_REPLICAS",
    )
    storage: Literal["file", "memory"] = of(
        "file", "Where the stream is kept. Cannot be changed.", setting="STREAM_STORAGE"
    )


class Nats(Model):
    """Where events come from."""

    url: str = of(
        "nats://nats:4222",
        "NATS servers, a comma list.",
        min_length=1,
        max_length=2048,
        pattern=NATS_URL,
        setting="NATS_URL",
    )
    credentials_secret: SecretKey | None = of(
        None, "NATS credentials file (user JWT and seed).", setting="NATS_CREDS_FILE"
    )
    tls: NatsTls | None = of(None, "TLS to NATS beyond what the system's certificates do.")
    subjects: tuple[Subject, ...] = of(
        ("events.>",),
        "Subjects that are broadcast, with NATS wildcards; no two may overlap.",
        min_length=1,
        max_length=64,
        setting="SUBJECTS",
        schema=SET,
    )
    stream: JetStream = of(
        JetStream(),
        "The JetStream stream that keeps the events. Pods create it when it is missing, and never change it.",
    )


class Drain(Model):
    """How pods let go of their clients."""

    delay_seconds: int = of(
        5,
        "Wait after SIGTERM until no proxy sends new clients to the pod.",
        ge=0,
        le=600,
        setting="DRAIN_DELAY_SECONDS",
    )
    patience_seconds: int = of(
        1800,
        "A pod that is to be removed for want of streams takes no new ones for this long before it closes those that are "
        "left, and for less where it has fewer than streamsPerPod.target: many end by themselves meanwhile, by "
        "stream.maxAgeSeconds or because their clients leave, and when the demand turns it is there at once. It stays ready. "
        "0: it closes them right away, and no pod keeps streams that gets no new ones, also in a rollout: for load balancers "
        "that soon cut what they no longer lead to. Rollouts and evictions do not wait for it.",
        ge=0,
        le=WINDOW_MAX,
    )
    window_seconds: int = of(
        60,
        "A pod closes its streams spread over at least this long; longer where maxReconnectsPerSecond asks for it.",
        ge=0,
        le=WINDOW_MAX,
        setting="DRAIN_SECONDS",
    )


class Stream(Model):
    """What holds for each open stream."""

    model_config = ruled(
        (
            "self.maxAgeSeconds == 0 || self.heartbeatSeconds < self.maxAgeSeconds",
            "heartbeatSeconds must be less than maxAgeSeconds",
        ),
        (
            "quantity(string(self.maxPayload)).compareTo(quantity('64Mi')) <= 0 && "
            "quantity(string(self.maxPayload)).compareTo(quantity('1')) >= 0",
            "maxPayload must be from 1 byte to 64Mi",
        ),
    )

    heartbeat_seconds: int = of(
        15,
        "Longest silence. Keep it below the shortest idle timeout of the proxies in between.",
        ge=1,
        le=3600,
        setting="HEARTBEAT_SECONDS",
    )
    max_age_seconds: int = of(
        1800,
        "Longest life, less up to 20 % at random; 0: no limit. The client resumes at once, perhaps on another pod: this "
        "evens out the fleet by itself, for (open streams / maxAgeSeconds) reconnects per second.",
        ge=0,
        le=86_400,
        setting="MAX_AGE_SECONDS",
    )
    max_per_client: int = of(
        0,
        "Most streams that one client may have on one pod; 0: no limit. A client is the subject of its token, or its "
        "address.",
        ge=0,
        le=10**6,
        setting="MAX_STREAMS_PER_CLIENT",
    )
    retry_milliseconds: int = of(
        2000,
        "Shortest wait of a client before it reconnects. The longest is longer by as much as it takes for all clients of "
        "a full pod to come back within maxReconnectsPerSecond.",
        ge=1,
        le=600_000,
        setting="RETRY_MS",
    )
    overload: Literal["retry", "503"] = of(
        "retry",
        "What a browser gets from a full pod. retry: an empty stream that tells it when to come back; 503: an error, "
        "after which EventSource gives up for good.",
        setting="OVERLOAD",
    )
    slow_client: Literal["disconnect", "skip"] = of(
        "disconnect",
        "What happens to a client that reads too slowly. disconnect: its stream ends, and it resumes by its position; "
        "skip: it goes on with the newest event and is told of the gap.",
        setting="SLOW_CLIENT",
    )
    stall_seconds: int = of(
        30,
        "How long a client may read nothing at all. The kernel ends it after 40 s in any case, slowClient skip or not.",
        ge=1,
        le=3600,
        setting="STALL_SECONDS",
    )
    max_payload: Bytes = of(
        "1Mi", "Largest payload of an event; larger ones are dropped and counted.", setting="MAX_PAYLOAD_BYTES"
    )


class Auth(Model):
    """Access by JWT; without this section everybody may subscribe to everything."""

    model_config = ruled(
        (
            "has(self.keySecret) != has(self.jwksUrl)",
            "exactly one of keySecret and jwksUrl must be given: keys come from one place",
        ),
        (
            "!has(self.jwksUrl) || !has(self.algorithms) || !self.algorithms.exists(a, a.startsWith('HS'))",
            "HS algorithms need keySecret: the keys behind a JWKS URL are public",
            ".algorithms",
        ),
        (
            "!has(self.query) || !(self.query in ['subject', 'interval', 'latest', 'format', 'last_event_id', 'lastEventId'])",
            "query must not be a parameter that streams already have",
            ".query",
        ),
    )

    key_secret: SecretKey | None = of(
        None,
        "The keys that tokens are checked with: a shared secret, PEM, a JWK or a JWK Set.",
        setting="JWT_KEY_FILE",
    )
    jwks_url: str | None = of(
        None,
        "Where the public keys are found (JWK Set).",
        min_length=1,
        max_length=2048,
        pattern=HTTP_URL,
        setting="JWKS_URL",
    )
    algorithms: tuple[Algorithm, ...] = of(
        (),
        "Algorithms that a token may be signed with; default: all that fit its key.",
        max_length=13,
        setting="JWT_ALGORITHMS",
        schema=SET,
    )
    issuer: str | None = of(None, "What the claim iss must be.", min_length=1, max_length=2048, setting="JWT_ISSUER")
    audience: str | None = of(
        None, "What the claim aud must contain.", min_length=1, max_length=2048, setting="JWT_AUDIENCE"
    )
    leeway_seconds: int = of(
        10, "How much the clock of who makes tokens may differ.", ge=0, le=300, setting="JWT_LEEWAY_SECONDS"
    )
    cookie: str | None = of(
        None,
        "Name of a cookie that may hold the token, for browsers' own EventSource.",
        min_length=1,
        max_length=100,
        pattern=COOKIE_NAME,
        setting="JWT_COOKIE",
    )
    query: str | None = of(
        None,
        "Name of a query parameter that may hold the token. URLs end in logs of proxies: prefer a cookie.",
        min_length=1,
        max_length=100,
        pattern=QUERY_NAME,
        setting="JWT_QUERY",
    )


class Cors(Model):
    """Pages of other origins."""

    model_config = ruled(
        (
            "!has(self.origins) || !self.origins.exists(o, o == '*') || self.origins.size() == 1",
            "'*' allows every origin and must stand alone; with it browsers send no credentials",
        )
    )

    origins: tuple[Origin, ...] = of(
        (),
        "Origins whose pages may read streams, such as https://app.example.com; '*' alone: all, without credentials.",
        max_length=64,
        setting="CORS_ORIGINS",
        schema=SET,
    )


class Service(Model):
    """The Service that clients or an ingress reach."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = of("ClusterIP", "Type of the Service.")
    port: int = of(80, "Its port.", ge=1, le=65_535)
    annotations: Labels = of({}, "Annotations of the Service.")
    trusted_proxies: tuple[Network, ...] = of(
        (),
        "Addresses and networks of the proxies in front, whose X-Forwarded headers are believed; '*': of everybody. Without "
        "them all clients of a proxy are one client.",
        max_length=64,
        setting="FORWARDED_ALLOW_IPS",
        schema=SET,
    )


class NetworkPolicy(Model):
    """Who may reach the pods. The operator can always reach their admin port."""

    enabled: bool = of(True, "Whether a NetworkPolicy is made.")
    clients: tuple[Open, ...] = of(
        (), "Peers that may open streams (NetworkPolicyPeer); default: everybody.", max_length=64
    )
    monitoring: tuple[Open, ...] = of(
        (), "Peers that may read metrics at the admin port (NetworkPolicyPeer); default: none.", max_length=64
    )
    egress: tuple[Open, ...] = of(
        (),
        "Rules for what the pods may reach (NetworkPolicyEgressRule); default: no restriction. They need NATS and DNS.",
        max_length=64,
    )


class EnvVar(Model):
    """An environment variable of the pods."""

    model_config = ruled(
        (
            f"!(self.name in {list(RESERVED_ENV)!r})",
            "this variable is the operator's own; fields of the spec say what it may be",
        ),
    )

    name: str = of(..., "Name of the variable.", min_length=1, max_length=253, pattern=r"^[-._a-zA-Z][-._a-zA-Z0-9]*$")
    value: str | None = of(None, "Its value.", max_length=32_768)
    value_from: Open | None = of(None, "Where its value comes from (EnvVarSource).")


class Resources(Model):
    """CPU and memory of a pod."""

    requests: Amounts = of({"cpu": "250m", "memory": "256Mi"}, "What the pod is given at least.")
    limits: Amounts = of(
        {"memory": "512Mi"},
        "What the pod may use at most. Near the limit of memory it turns new clients away. No limit of CPU: it would slow "
        "bursts down.",
    )


class PodTemplate(Model):
    """What the pods have beside what the operator gives them; names and meaning are those of a pod."""

    labels: Labels = of({}, "Further labels.")
    annotations: Labels = of({}, "Annotations.")
    env: tuple[EnvVar, ...] = of(
        (),
        "Further environment variables, such as SSECAST_LOG_MAX_BYTES or OTEL_EXPORTER_OTLP_ENDPOINT. A setting for which "
        "there is a field is taken from the field.",
        max_length=64,
        schema=keyed("name"),
    )
    resources: Resources = of(Resources(), "CPU and memory of a pod.")
    node_selector: Labels = of({}, "Labels that a node must have.")
    tolerations: tuple[Open, ...] = of((), "Taints of nodes that are tolerated.", max_length=64)
    affinity: Open | None = of(None, "Affinity to nodes and pods.")
    topology_spread_constraints: tuple[Open, ...] = of(
        (),
        "How pods are spread over zones and nodes; default: evenly over both, where that is possible.",
        max_length=16,
    )
    priority_class_name: str | None = of(None, "Priority class.", max_length=253)
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = of("IfNotPresent", "When the image is pulled.")
    image_pull_secrets: tuple[Open, ...] = of((), "Secrets to pull the image with.", max_length=16)


_DRAIN = f"(self.scaling.streamsPerPod.limit * 100 / (self.scaling.maxReconnectsPerSecond * {PLANNED_PERCENT}) + 1)"
"""Seconds, in CEL, that it takes to empty a full pod within the budget, rounded up; as `budget` has it."""


class Spec(Model):
    """What is broadcast, by how many pods, and how they behave."""

    model_config = ruled(
        (
            "(has(self.nats.stream.name) && self.nats.stream.name == '') || "
            f"duration(self.nats.stream.maxAge).getSeconds() > {_DRAIN} + self.stream.retryMilliseconds / 1000 + "
            f"(self.drain.windowSeconds > {_DRAIN} ? self.drain.windowSeconds : {_DRAIN})",
            "nats.stream.maxAge must exceed the drain window (drain.windowSeconds, or limit / maxReconnectsPerSecond where "
            "that is longer) plus the longest wait before a client reconnects (retryMilliseconds + limit / "
            "maxReconnectsPerSecond): clients that wait longer than events are kept lose some",
            ".nats.stream.maxAge",
        ),
        (
            "!has(self.auth) || !has(self.auth.cookie) || !has(self.cors.origins) || "
            "!self.cors.origins.exists(o, o == '*')",
            "auth.cookie needs origins by name in cors.origins: browsers send no cookies where '*' is allowed",
            ".auth.cookie",
        ),
    )

    image: str | None = of(
        None, "Image of the pods; default: the one that belongs to the operator.", min_length=1, max_length=1024
    )
    nats: Nats = of(Nats(), "Where events come from.")
    replicas: int = of(
        2,
        "Pods in the modes hpa and off of spec.scaling; written by a HorizontalPodAutoscaler or by `kubectl scale`. Ignored "
        "in mode operator.",
        ge=0,
        le=1000,
    )
    scaling: Scaling = of(Scaling(), "How many pods, how fast, and how many clients may have to reconnect for it.")
    drain: Drain = of(Drain(), "How pods let go of their clients.")
    stream: Stream = of(Stream(), "What holds for each open stream.")
    auth: Auth | None = of(None, "Access by JWT; without this section everybody may subscribe to everything.")
    cors: Cors = of(Cors(), "Pages of other origins.")
    publish: bool = of(
        False,
        "Whether clients may publish by `POST /publish/{subject}`; with auth, what their token says.",
        setting="PUBLISH",
    )
    page: bool = of(False, "Whether a small page to watch events is served at `/`.", setting="PAGE")
    service: Service = of(Service(), "The Service that clients or an ingress reach.")
    network_policy: NetworkPolicy = of(
        NetworkPolicy(), "Who may reach the pods. The operator can always reach their admin port."
    )
    pod_template: PodTemplate = of(
        PodTemplate(), "What the pods have beside what the operator gives them; names and meaning are those of a pod."
    )


def settings_of(model: type[BaseModel] = Spec, path: str = "spec") -> Iterator[tuple[str, str]]:
    """(field, setting of the pods without its prefix) for every field that becomes one."""
    for info in model.model_fields.values():
        here = f"{path}.{info.alias}"
        extra = info.json_schema_extra
        if isinstance(extra, dict) and SETTING in extra:
            yield from ((here, name) for name in str(extra[SETTING]).split(", "))
        for each in (info.annotation, *get_args(info.annotation)):
            if isinstance(each, type) and issubclass(each, Model) and each is not SecretKey:
                yield from settings_of(each, here)
