"""LLMModel: one model as clients know it, and the backends that serve it."""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StrictBool, StrictInt

from modelway_operator.api.base import MAX_NAME, ApiObject, ObjectMeta, StatusObject
from modelway_operator.api.conditions import Conditions
from modelway_operator.api.http_fields import (
    NO_KEY,
    URL_RULES,
    BackendURL,
    BasePath,
    CredentialHeader,
    StaticHeaders,
    StaticQuery,
)
from modelway_operator.api.names import (
    DataKey,
    EntryName,
    Jurisdiction,
    ObjectName,
    PlaceName,
    PublicName,
    UpstreamModelName,
)
from modelway_operator.api.parameters import Parameters
from modelway_operator.api.quantities import Duration, duration_between
from modelway_operator.api.rules import (
    MAX_WEIGHT,
    ListMap,
    ListSet,
    Rule,
    exactly_one_of,
    of_field,
    only_with,
    shares_of,
)


class Access(StrEnum):
    """Who may name a model."""

    DIRECT = "Direct"
    POLICY_ONLY = "PolicyOnly"


class WireFormat(StrEnum):
    """The API that a model's backends speak."""

    OPENAI = "OpenAI"


class CredentialScheme(StrEnum):
    """How a key is sent."""

    BEARER = "Bearer"
    HEADER = "Header"


class Modality(StrEnum):
    """A kind of input."""

    TEXT = "Text"
    IMAGE = "Image"


class Retention(StrEnum):
    """What the operator of a backend keeps of requests."""

    NONE = "None"
    LIMITED = "Limited"
    UNKNOWN = "Unknown"


class TrafficState(StrEnum):
    """Whether a model takes requests."""

    ENABLED = "Enabled"
    DRAINING = "Draining"
    DISABLED = "Disabled"


class ServiceRef(ApiObject):
    """A Service in the model's own namespace; the gateways dial its ready endpoints."""

    name: ObjectName
    """The Service's name."""
    port: Annotated[StrictInt, Field(ge=1, le=65535)]
    """The Service's port, by number."""
    path: BasePath = "/v1"
    """What stands before /chat/completions. Default: /v1."""


class SecretKeyRef(ApiObject):
    """One key of a Secret in the same namespace, which must carry the label modelway.dev/secret: credentials."""

    name: ObjectName
    """The Secret's name."""
    key: DataKey
    """The key in it."""


class ConfigMapKeyRef(ApiObject):
    """One key of a ConfigMap in the same namespace."""

    name: ObjectName
    """The ConfigMap's name."""
    key: DataKey
    """The key in it."""


class BackendCredentials(ApiObject):
    """The key that a backend asks for; it is sent to this backend only."""

    RULES: ClassVar[tuple[Rule, ...]] = only_with("header", when="scheme", equals="Header")

    secret_ref: SecretKeyRef
    """Where the key is."""
    scheme: CredentialScheme = CredentialScheme.BEARER
    """Bearer sends `Authorization: Bearer KEY`, Header sends the bare key in `header`. Default: Bearer."""
    header: CredentialHeader | None = None
    """The header that carries the key; with scheme Header only."""


class BackendTLS(ApiObject):
    """How a backend's certificate is checked; with serviceRef its presence means https."""

    ca_ref: ConfigMapKeyRef | None = None
    """The CA certificates (PEM) that are trusted. Default: the system's."""
    server_name: ObjectName | None = None
    """The name that the certificate must carry. Default: the URL's host, or NAME.NAMESPACE.svc of the Service."""


class Locality(ApiObject):
    """Where a backend stands."""

    region: PlaceName | None = None
    """The region, such as eu-west-1."""
    zone: PlaceName | None = None
    """The zone, such as eu-west-1a."""
    jurisdiction: Jurisdiction | None = None
    """The law that data are under there, such as EU or US; rules may require one."""


Timeout = Annotated[Duration, duration_between("1ms", "24h")]


class Timeouts(ApiObject):
    """How long each part of a call may take."""

    connect: Timeout = Duration("2s")
    """To open a connection. Default: 2s."""
    first_token: Timeout = Duration("30s")
    """From the request to the first content of a stream; an answer that is not streamed has total. Default: 30s."""
    idle: Timeout = Duration("20s")
    """Between two pieces of an answer. Default: 20s."""
    total: Timeout = Duration("600s")
    """For the whole call. Default: 600s."""


class Backend(ApiObject):
    """One place that serves the model."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        exactly_one_of("service_ref", "url"),
        *of_field("url", *URL_RULES),
        Rule(
            cel="!has(self.tls) || !has(self.url) || self.url.startsWith('https://')",
            message="tls needs a url that begins with https://, or serviceRef; change the url or remove tls",
            holds=lambda b: b.tls is None or b.url is None or b.url.startswith("https://"),
        ),
    )

    name: EntryName
    """The backend's own name."""
    service_ref: ServiceRef | None = None
    """A Service in this namespace; exactly one of serviceRef and url."""
    url: BackendURL | None = None
    """The base URL, up to and including /v1; exactly one of serviceRef and url."""
    upstream_model: UpstreamModelName | None = None
    """The name that the backend knows the model by. Default: modelName."""
    credentials: BackendCredentials | None = None
    """The key that the backend asks for. Default: none is sent."""
    headers: StaticHeaders = Field(default_factory=dict)
    """Fixed headers of each request; never a key."""
    query: StaticQuery = Field(default_factory=dict)
    """Fixed query parameters of each request, such as api-version; never a key."""
    tls: BackendTLS | None = None
    """How the backend's certificate is checked."""
    locality: Locality = Locality()
    """Where the backend stands."""
    weight: Annotated[StrictInt, Field(ge=0, le=MAX_WEIGHT)] = 1
    """Its share among the model's backends, relative to the sum of their weights. Default: 1."""
    timeouts: Timeouts = Timeouts()
    """How long each part of a call may take."""


class Capabilities(ApiObject):
    """What the model can do; what is left out is not known, and a request is not refused for it."""

    context_window: Annotated[StrictInt, Field(ge=1, le=1_000_000_000)] | None = None
    """Tokens of prompt and answer together."""
    max_output_tokens: Annotated[StrictInt, Field(ge=1, le=1_000_000_000)] | None = None
    """Tokens of the longest answer."""
    input: Annotated[tuple[Modality, ...], Field(min_length=1, max_length=8), ListSet()] = (Modality.TEXT,)
    """Kinds of input it takes: Text, Image. Default: Text."""
    tools: StrictBool | None = None
    """Whether it calls tools."""
    json_schema: StrictBool | None = None
    """Whether it keeps to a JSON schema."""
    reasoning: StrictBool | None = None
    """Whether it reasons before it answers."""
    embeddings: StrictBool | None = None
    """Whether it makes embeddings."""


class Privacy(ApiObject):
    """What becomes of the data of a request."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!(has(self.retention) && self.retention == 'None' && has(self.trainsOnData) && self.trainsOnData)",
            message="retention: None contradicts trainsOnData: true; what is trained on is kept",
            holds=lambda p: not (p.retention == Retention.NONE and p.trains_on_data),
        ),
    )

    retention: Retention = Retention.UNKNOWN
    """What the backends keep: None, Limited or Unknown. Default: Unknown."""
    trains_on_data: StrictBool | None = None
    """Whether requests are used for training; such a model satisfies no rule that requires a retention."""


class LLMModelSpec(ApiObject):
    """A model as clients know it."""

    RULES: ClassVar[tuple[Rule, ...]] = of_field("description", NO_KEY)

    gateway: EntryName = "default"
    """The install that serves it. Default: default."""
    model_name: PublicName | None = None
    """The name that clients send. Default: metadata.name."""
    access: Access = Access.DIRECT
    """Direct lets clients name the model; PolicyOnly leaves it to policies. Default: Direct."""
    description: Annotated[str, Field(max_length=1024)] = ""
    """What the model is good for, for people."""
    format: WireFormat = WireFormat.OPENAI
    """The API that its backends speak. Default: OpenAI."""
    parameters: Parameters = Field(default_factory=dict)
    """Fields of the request body as JSON text, set where the client did not; part of what the model is."""
    backends: Annotated[
        tuple[Backend, ...], Field(min_length=1, max_length=32), ListMap("name"), *shares_of("backends")
    ]
    """The places that serve this same model."""
    capabilities: Capabilities = Capabilities()
    """What the model can do."""
    privacy: Privacy = Privacy()
    """What becomes of the data of a request."""
    traffic_state: TrafficState = TrafficState.ENABLED
    """Enabled, Draining (no new requests) or Disabled. Default: Enabled."""


class BackendStatus(StatusObject):
    """What the operator found for one backend."""

    name: Annotated[str, Field(max_length=63)]
    """The backend's name."""
    endpoints: Annotated[int, Field(ge=0)] = 0
    """Addresses that are ready; a url counts as one."""
    reason: Annotated[str, Field(max_length=64)] = ""
    """Why the backend is out, where it is."""


class ReferencedBy(StatusObject):
    """Which policies use the model."""

    count: Annotated[int, Field(ge=0)] = 0
    """How many there are."""
    policies: Annotated[tuple[Annotated[str, Field(max_length=127)], ...], Field(max_length=16)] = ()
    """The first of their names, with the namespace where that is another."""


class ModelGateways(StatusObject):
    """How far the gateways are."""

    ready: Annotated[int, Field(ge=0)] = 0
    """Replicas that are ready."""
    acknowledged: Annotated[int, Field(ge=0)] = 0
    """Replicas that run this generation."""


class ModelSummary(StatusObject):
    """Text for the columns of kubectl get."""

    model: Annotated[str, Field(max_length=128)] = ""
    """The name that clients send."""
    backends: Annotated[str, Field(max_length=32)] = ""
    """Usable backends of all, such as 2/2."""
    regions: Annotated[str, Field(max_length=1024)] = ""
    """Where they stand."""


class LLMModelStatus(StatusObject):
    """What the operator says of the model; only the operator writes it."""

    observed_generation: Annotated[int, Field(ge=0)] = 0
    """The generation that all of this is about."""
    conditions: Conditions = ()
    """Accepted, ResolvedRefs, Programmed, Ready; and Stalled while a person must act."""
    backends: Annotated[tuple[BackendStatus, ...], Field(max_length=32), ListMap("name")] = ()
    """What was found for each backend."""
    referenced_by: ReferencedBy = ReferencedBy()
    """Which policies use the model."""
    gateways: ModelGateways = ModelGateways()
    """How far the gateways are."""
    summary: ModelSummary = ModelSummary()
    """Text for the columns of kubectl get."""
    revision: Annotated[str, Field(max_length=80)] = ""
    """A digest of what the gateways got of this object."""


class LLMModel(ApiObject):
    """A model as clients know it, and the places that serve it."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel=f"self.metadata.name.size() <= {MAX_NAME}",
            message=f"metadata.name must have at most {MAX_NAME} characters, since it becomes a label",
            holds=lambda model: len(model.metadata.name) <= MAX_NAME,
        ),
    )

    api_version: Literal["modelway.dev/v1alpha1"] = "modelway.dev/v1alpha1"
    kind: Literal["LLMModel"] = "LLMModel"
    metadata: ObjectMeta
    spec: LLMModelSpec
    status: LLMModelStatus | None = None

    @property
    def model_name(self) -> str:
        """The name that clients send."""
        return self.spec.model_name or self.metadata.name

    def upstream_model(self, backend: Backend) -> str:
        """The name that one of its backends knows the model by."""
        return backend.upstream_model or self.model_name
