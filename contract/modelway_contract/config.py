"""Wire structs: what the operator pushes and what a gateway answers.

Three sections with digests of their own, since they change at different speeds: *base* when people change objects,
*live* by itself, *credentials* when a Secret does. Structs are frozen and refuse unknown fields, so that a newer
operator and an older gateway find out at once. Times are seconds, shares are basis points (1/100 of a percent),
addresses are IP literals.
"""

from enum import StrEnum

import msgspec

from modelway_contract.signals import Signal
from modelway_contract.wire import Wire

SCHEMA_MAJOR = 1
"""A gateway refuses a config of another major: it cannot know what it would ignore."""


# base: models


class Scheme(StrEnum):
    """How a backend is spoken to."""

    HTTP = "http"
    HTTPS = "https"


class Timeouts(Wire, frozen=True, kw_only=True):
    """Seconds; `first_token` runs until a stream's content begins, `idle` between bytes after it."""

    connect: float
    first_token: float
    idle: float
    total: float


class Tls(Wire, frozen=True, kw_only=True):
    """What a TLS backend is checked against, where the system's authorities and the host name do not fit."""

    ca_pem: str | None = None
    server_name: str | None = None


class CredentialUse(Wire, frozen=True, kw_only=True):
    """Which credential goes into which header: value = prefix + secret."""

    id: str
    header: str
    prefix: str = ""


class Backend(Wire, frozen=True, kw_only=True):
    """One place that serves a model.

    `id` is unique in a config. With `discovered`, addresses come from `LiveState.endpoints[id]`; otherwise `host` is
    resolved. `path` is what stands before `/chat/completions`, without a slash at its end.
    """

    id: str
    name: str
    scheme: Scheme
    host: str
    port: int
    path: str = ""
    discovered: bool = False
    upstream_model: str
    headers: tuple[tuple[str, str], ...] = ()
    query: str = ""
    credential: CredentialUse | None = None
    tls: Tls | None = None
    jurisdiction: str | None = None
    weight: int = 1
    timeouts: Timeouts


class Retention(StrEnum):
    """What a provider keeps of a request."""

    NONE = "None"
    LIMITED = "Limited"
    UNKNOWN = "Unknown"


class Capabilities(Wire, frozen=True, kw_only=True):
    """What a model can do; `None` means not stated, which excludes nothing."""

    context_window: int | None = None
    max_output_tokens: int | None = None
    input: tuple[str, ...] = ("Text",)
    tools: bool | None = None
    json_schema: bool | None = None
    reasoning: bool | None = None
    embeddings: bool | None = None


class TrafficState(StrEnum):
    """Whether a model takes new requests."""

    ENABLED = "Enabled"
    DRAINING = "Draining"
    DISABLED = "Disabled"


class Model(Wire, frozen=True, kw_only=True):
    """One version of one `LLMModel`, ready to be called.

    `key` = `namespace/name@version` is how everything else in the config points at it. `parameters` are
    (name, JSON text) pairs, set where the client did not.
    """

    key: str
    namespace: str
    name: str
    version: str
    public_name: str
    description: str = ""
    parameters: tuple[tuple[str, str], ...] = ()
    backends: tuple[Backend, ...]
    capabilities: Capabilities = msgspec.field(default_factory=Capabilities)
    retention: Retention = Retention.UNKNOWN
    traffic_state: TrafficState = TrafficState.ENABLED


class PublicName(Wire, frozen=True, kw_only=True):
    """A model that clients of `namespace` may name without a policy."""

    namespace: str
    name: str
    model: str
    created: int = 0


# base: policies


class HeaderCondition(Wire, frozen=True, kw_only=True, tag_field="kind", tag="header"):
    """True when the header is there and its value fits; exactly one of the three is set. Names are lower case."""

    name: str
    exact: str | None = None
    prefix: str | None = None
    present: bool | None = None


class ClientCondition(Wire, frozen=True, kw_only=True, tag_field="kind", tag="client"):
    """True when the client is one of those named, in one of the groups, or of one of the tiers."""

    names: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    tiers: tuple[str, ...] = ()


class Priority(StrEnum):
    """How urgent a request is, from the most urgent."""

    INTERACTIVE = "Interactive"
    STANDARD = "Standard"
    BATCH = "Batch"


class PriorityCondition(Wire, frozen=True, kw_only=True, tag_field="kind", tag="priority"):
    """True when the request has this priority: its client's, or what a client that may choose says in a header."""

    priority: Priority


class SignalCondition(Wire, frozen=True, kw_only=True, tag_field="kind", tag="signal"):
    """True when the policy's signal of this name is."""

    name: str


class When(Wire, frozen=True, kw_only=True, tag_field="kind", tag="when"):
    """All of `all`, at least one of `any` (where given), none of `none`."""

    all: tuple["Condition", ...] = ()
    any: tuple["Condition", ...] = ()
    none: tuple["Condition", ...] = ()


Condition = HeaderCondition | ClientCondition | PriorityCondition | SignalCondition | When


class Require(Wire, frozen=True, kw_only=True):
    """Hard filters: what does not satisfy them is never asked, not even if nothing else is left."""

    jurisdictions: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    retention: Retention | None = None


class Target(Wire, frozen=True, kw_only=True):
    """A weighted share of a rule. While a rollout runs, `candidate` takes the part of it that the live split names.

    `failed` are versions that were rolled back here. Gateways have no use for it: it is there for an operator that
    finds nothing else that remembers them.
    """

    name: str
    weight: int
    stable: str
    candidate: str | None = None
    rollout_id: str | None = None
    failed: tuple[str, ...] = ()


class StickyKey(Wire, frozen=True, kw_only=True):
    """One source of the hash key; the first that the request has is used. `header` absent: the client's name."""

    header: str | None = None


class RetryOn(StrEnum):
    """Kinds of failures after which a fallback target is asked."""

    RATE_LIMITED = "RateLimited"
    SERVER_ERROR = "ServerError"
    TIMEOUT = "Timeout"
    CONNECT_ERROR = "ConnectError"


class Fallback(Wire, frozen=True, kw_only=True):
    """Where a request goes on when the chosen model failed: keys of models, in order.

    `max_attempts` bounds all upstream calls of one request, those to other backends of the same model included. A rule
    without a fallback is tried as `Fallback()` says.
    """

    models: tuple[str, ...] = ()
    on_errors: tuple[RetryOn, ...] = tuple(RetryOn)
    max_attempts: int = 3


class Rule(Wire, frozen=True, kw_only=True):
    """The first rule whose `when` is true decides; no `when` is always true."""

    name: str
    when: When | None = None
    require: Require = msgspec.field(default_factory=Require)
    targets: tuple[Target, ...]
    sticky: tuple[StickyKey, ...] = ()
    fallback: Fallback | None = None


class Policy(Wire, frozen=True, kw_only=True):
    """How requests for `models` (exact names and globs with `*`) are routed.

    Policies stand in order of precedence within a namespace: of two that match equally well, the earlier one serves.
    """

    namespace: str
    name: str
    models: tuple[str, ...]
    signals: tuple[Signal, ...] = ()
    rules: tuple[Rule, ...]


class Base(Wire, frozen=True, kw_only=True):
    """Everything that changes only when people change something."""

    schema_major: int = SCHEMA_MAJOR
    gateway: str = "default"
    shared_namespaces: tuple[str, ...] = ()
    anonymous_namespace: str | None = None
    models: tuple[Model, ...] = ()
    public_names: tuple[PublicName, ...] = ()
    policies: tuple[Policy, ...] = ()


# live state


class Split(Wire, frozen=True, kw_only=True):
    """The candidate's share of one target, in basis points: 0..10,000."""

    namespace: str
    policy: str
    rule: str
    target: str
    rollout_id: str
    share: int


class Endpoints(Wire, frozen=True, kw_only=True):
    """Ready addresses of one discovered backend: (IP, port)."""

    backend: str
    addresses: tuple[tuple[str, int], ...]


class LiveState(Wire, frozen=True, kw_only=True):
    """What moves by itself."""

    splits: tuple[Split, ...] = ()
    endpoints: tuple[Endpoints, ...] = ()


class Live(Wire, frozen=True, kw_only=True):
    """`state` with its place in the order of pushes: a gateway refuses a lower (epoch, sequence)."""

    epoch: int
    sequence: int
    state: LiveState


# credentials


class BackendCredential(Wire, frozen=True, kw_only=True):
    """A key for backends. Never in a dump, a log or a status."""

    id: str
    value: str


class Client(Wire, frozen=True, kw_only=True):
    """A client, known by the SHA-256 of its key (lower-case hex). Groups and tiers belong to its namespace.

    `priority` is that of its requests; where `chooses_priority`, a request may name another one in a header.
    """

    key_sha256: str
    namespace: str
    name: str
    groups: tuple[str, ...] = ()
    tier: str | None = None
    priority: Priority = Priority.STANDARD
    chooses_priority: bool = False


class Credentials(Wire, frozen=True, kw_only=True):
    """Keys. The digest is made of `sources` (`id uid resourceVersion` each), so that it tells nothing of the keys."""

    sources: tuple[str, ...] = ()
    backends: tuple[BackendCredential, ...] = ()
    clients: tuple[Client, ...] = ()


# push and answers


class Push(Wire, frozen=True, kw_only=True):
    """Body of `PUT /config`, and, with every section, of the bundle.

    A section that the gateway already has (by digest) may be left out; it answers 412 when it does not have it.
    """

    live: Live
    base_digest: str
    credentials_digest: str
    base: Base | None = None
    credentials: Credentials | None = None


class FindingOnGateway(Wire, frozen=True, kw_only=True):
    """Something a gateway has to say about one object of a config that it runs nevertheless."""

    path: str
    code: str
    message: str


class ExamplesFit(Wire, frozen=True, kw_only=True):
    """How well the phrases of one `examples` signal are told from everything else when they are left out of the fit.

    `accuracy` is the mean of two shares (0..1): of its phrases that still fall to it, and of others that do not. Half
    is what guessing gives. `threshold` is the score in force.
    """

    namespace: str
    policy: str
    signal: str
    phrases: int
    accuracy: float
    threshold: float


class Ack(Wire, frozen=True, kw_only=True):
    """200, and the answer of `GET /config/status`: digests and splits of what the gateway runs now."""

    base: str
    credentials: str
    live: str
    epoch: int
    sequence: int
    splits: tuple[Split, ...] = ()
    findings: tuple[FindingOnGateway, ...] = ()
    examples: tuple[ExamplesFit, ...] = ()


class Missing(Wire, frozen=True, kw_only=True):
    """412: send these sections too ("base", "credentials")."""

    missing: tuple[str, ...]


class Fenced(Wire, frozen=True, kw_only=True):
    """409: a higher pair was seen."""

    epoch: int
    sequence: int


class Rejection(Wire, frozen=True, kw_only=True):
    """One reason for a 422; `path` points into the pushed document."""

    path: str
    code: str
    message: str


class Rejected(Wire, frozen=True, kw_only=True):
    """422: nothing was changed, the last good config goes on serving."""

    errors: tuple[Rejection, ...]


class ProbeRequest(Wire, frozen=True, kw_only=True):
    """Body of `POST /probe`: ask the backends of this model for their list of models, from where traffic will come."""

    model: str


class ProbeResult(Wire, frozen=True, kw_only=True):
    """`status` is the upstream's HTTP status, `None` when there was none; `message` is safe to show."""

    ok: bool
    status: int | None = None
    message: str = ""
