"""One version of one LLMModel as the gateways get it.

Two rules. A backend that cannot be used stays in the config *closed*: without key, without authorities, and waiting for
endpoints that never come. So it is never called, the model's other backends take its share, and a model with no backend
left answers 503 instead of making room for a rule or model that its author did not mean. And what belongs to a place
(key, headers, query, tls, locality) goes only where it was written for: a remembered version takes it from the present
object only where backend and place are the same.
"""

from dataclasses import dataclass
from urllib.parse import quote, urlencode

from modelway_contract import codec, config
from modelway_contract.config import BackendCredential, CredentialUse, Scheme
from modelway_operator.api.conditions import ResolvedRefsReason
from modelway_operator.api.llmmodel import Backend, CredentialScheme, LLMModel, LLMModelSpec
from modelway_operator.core.compile.credentials import Key, RefProblem, read_authorities, read_key
from modelway_operator.core.compile.places import Place, place_of
from modelway_operator.core.compile.versions import model_key
from modelway_operator.core.objects import digest_of
from modelway_operator.core.snapshot import ObjectKey, ServicePort, Snapshot

ABSENT_VERSION = "absent"
"""The version of a model that is not there; a rule that knows no other points at it, and answers 503."""

_CLOSED_HOST = "closed.modelway.invalid"
_TIMEOUTS = config.Timeouts(connect=2.0, first_token=30.0, idle=20.0, total=600.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendVerdict:
    """What became of one backend."""

    name: str
    id: str
    service: ServicePort | None = None
    """Whose endpoints it is called at; None for a URL."""
    region: str = ""
    problem: RefProblem | None = None
    """Why it is closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledModel:
    """A wire model, and what its object is to be told."""

    wire: config.Model
    digest: str
    """Of all that gateways get of it, keys by their source."""
    backends: tuple[BackendVerdict, ...]
    keys: tuple[Key, ...] = ()

    @property
    def problems(self) -> tuple[tuple[str, RefProblem], ...]:
        """Closed backends by name."""
        return tuple((backend.name, backend.problem) for backend in self.backends if backend.problem is not None)


def references_of(model: LLMModel) -> tuple[tuple[ObjectKey, ...], tuple[ObjectKey, ...], tuple[ServicePort, ...]]:
    """Secrets, ConfigMaps and Services that the model names."""
    namespace = model.metadata.namespace
    backends = model.spec.backends
    return (
        tuple(ObjectKey(namespace, each.credentials.secret_ref.name) for each in backends if each.credentials),
        tuple(ObjectKey(namespace, each.tls.ca_ref.name) for each in backends if each.tls and each.tls.ca_ref),
        tuple(ServicePort(namespace, ref.name, ref.port) for ref in (each.service_ref for each in backends) if ref),
    )


def stamp_of(model: LLMModel, snapshot: Snapshot) -> tuple[object, ...]:
    """The state of everything that the model names: when it is the same, so is the compiled model."""
    secrets, config_maps, services = references_of(model)
    stamp: list[object] = []
    for key in secrets:
        secret = snapshot.secrets.get(key)
        stamp.append((secret.uid, secret.resource_version, secret.use) if secret is not None else None)
    for key in config_maps:
        config_map = snapshot.config_maps.get(key)
        stamp.append((config_map.uid, config_map.resource_version) if config_map is not None else None)
    for port in services:
        service = snapshot.services.get(ObjectKey(port.namespace, port.service))
        stamp.append(service is not None and port.port in service.ports)
    return tuple(stamp)


def compile_model(model: LLMModel, version: str, snapshot: Snapshot) -> CompiledModel:
    """The wire model of this spec, called this version."""
    spec, meta = model.spec, model.metadata
    key = model_key(f"{meta.namespace}/{meta.name}", version)
    backends, verdicts, keys = [], [], []
    for backend in spec.backends:
        wire, verdict, secret = _backend(model, backend, f"{key}/{backend.name}", snapshot)
        backends.append(wire)
        verdicts.append(verdict)
        keys += [secret] if secret is not None else []
    retention = config.Retention.UNKNOWN if spec.privacy.trains_on_data else config.Retention(spec.privacy.retention)
    wire_model = config.Model(
        key=key,
        namespace=meta.namespace,
        name=meta.name,
        version=version,
        public_name=model.model_name,
        description=spec.description,
        parameters=tuple(sorted(spec.parameters.items())),
        backends=tuple(backends),
        capabilities=_capabilities(spec),
        retention=retention,
        traffic_state=config.TrafficState(spec.traffic_state),
    )
    return CompiledModel(
        wire=wire_model,
        digest=digest_of([codec.encode(wire_model).decode(), [key.source for key in keys]]),
        backends=tuple(verdicts),
        keys=tuple(keys),
    )


def absent_model(namespace: str, name: str) -> config.Model:
    """Stands in for a model that does not exist, so that a rule without any other fails closed."""
    key = model_key(f"{namespace}/{name}", ABSENT_VERSION)
    backend = config.Backend(
        id=f"{key}/none",
        name="none",
        scheme=Scheme.HTTP,
        host=_CLOSED_HOST,
        port=80,
        discovered=True,
        upstream_model=name,
        timeouts=_TIMEOUTS,
    )
    return config.Model(
        key=key, namespace=namespace, name=name, version=ABSENT_VERSION, public_name=name, backends=(backend,)
    )


def pinned(model: LLMModel) -> LLMModel:
    """The model with every default of what it *is* written out, so that it can be remembered apart from its object."""
    backends = tuple(
        backend.model_copy(update={"upstream_model": model.upstream_model(backend)}) for backend in model.spec.backends
    )
    spec = model.spec.model_copy(update={"backends": backends, "model_name": model.model_name})
    return model.model_copy(update={"spec": spec, "status": None})


def with_present_operation(remembered: LLMModel, present: LLMModel | None) -> LLMModel:
    """A remembered version, run as the present object says models are run; by its own spec where that is gone."""
    if present is None:
        return remembered
    now = {backend.name: backend for backend in present.spec.backends}
    namespace = remembered.metadata.namespace
    backends = tuple(
        _operated(backend, now[backend.name], namespace) if backend.name in now else backend
        for backend in remembered.spec.backends
    )
    if not any(backend.weight for backend in backends):
        backends = remembered.spec.backends
    spec = present.spec.model_copy(
        update={
            "format": remembered.spec.format,
            "parameters": remembered.spec.parameters,
            "backends": backends,
            "model_name": present.model_name,
        }
    )
    return remembered.model_copy(update={"spec": spec})


def is_same_place(one: Backend, other: Backend, namespace: str) -> bool:
    """Whether both are at the same address."""
    return place_of(one, namespace).identity == place_of(other, namespace).identity


def _operated(backend: Backend, present: Backend, namespace: str) -> Backend:
    """One backend of it: weight and time-outs by name, what belongs to the place only where that is the same."""
    changes: dict[str, object] = {"weight": present.weight, "timeouts": present.timeouts}
    if is_same_place(backend, present, namespace):
        for field in ("credentials", "headers", "query", "tls", "locality"):
            changes[field] = getattr(present, field)
    return backend.model_copy(update=changes)


def _backend(
    model: LLMModel, backend: Backend, identifier: str, snapshot: Snapshot
) -> tuple[config.Backend, BackendVerdict, Key | None]:
    namespace = model.metadata.namespace
    place = place_of(backend, namespace)
    key, authorities = None, None
    problem = _service_problem(place, snapshot)
    if problem is None and backend.credentials is not None:
        found = read_key(backend.credentials.secret_ref, namespace, snapshot.secrets)
        key, problem = (found, None) if isinstance(found, Key) else (None, found)
    if problem is None and backend.tls is not None and backend.tls.ca_ref is not None:
        read = read_authorities(backend.tls.ca_ref, namespace, snapshot.config_maps)
        authorities, problem = (read, None) if isinstance(read, str) else (None, read)
    open_ = problem is None
    tls = None
    if open_ and backend.tls is not None:
        tls = config.Tls(ca_pem=authorities, server_name=backend.tls.server_name)
    use = _credential_use(backend, key) if open_ and key is not None else None
    wire = config.Backend(
        id=identifier,
        name=backend.name,
        scheme=place.scheme,
        host=place.host,
        port=place.port,
        path=place.path,
        discovered=place.service is not None or not open_,
        upstream_model=model.upstream_model(backend),
        headers=tuple(
            sorted((n.lower(), v) for n, v in backend.headers.items() if use is None or n.lower() != use.header)
        ),
        query=urlencode(sorted(backend.query.items()), quote_via=quote),
        credential=use,
        tls=tls,
        jurisdiction=backend.locality.jurisdiction,
        weight=backend.weight,
        timeouts=config.Timeouts(
            connect=backend.timeouts.connect.seconds,
            first_token=backend.timeouts.first_token.seconds,
            idle=backend.timeouts.idle.seconds,
            total=backend.timeouts.total.seconds,
        ),
    )
    verdict = BackendVerdict(
        name=backend.name,
        id=identifier,
        service=place.service if open_ else None,
        region=backend.locality.region or "",
        problem=problem,
    )
    return wire, verdict, key if open_ else None


def _service_problem(place: Place, snapshot: Snapshot) -> RefProblem | None:
    if place.service is None:
        return None
    ref = place.service
    service = snapshot.services.get(ObjectKey(ref.namespace, ref.service))
    if service is None:
        message = f"there is no Service {ref.service} in namespace {ref.namespace}; create it, or correct serviceRef"
        return RefProblem(reason=ResolvedRefsReason.SERVICE_NOT_FOUND, message=message)
    if ref.port not in service.ports:
        has = ", ".join(str(port) for port in sorted(service.ports)) or "none"
        message = f"Service {ref.service} has no port {ref.port} (it has: {has}); correct serviceRef.port"
        return RefProblem(reason=ResolvedRefsReason.SERVICE_NOT_FOUND, message=message)
    return None


def _credential_use(backend: Backend, key: Key) -> CredentialUse | None:
    if backend.credentials is None:
        return None
    if backend.credentials.scheme is CredentialScheme.BEARER:
        return CredentialUse(id=key.id, header="authorization", prefix="Bearer ")
    return CredentialUse(id=key.id, header=(backend.credentials.header or "").lower())


def _capabilities(spec: LLMModelSpec) -> config.Capabilities:
    can = spec.capabilities
    return config.Capabilities(
        context_window=can.context_window,
        max_output_tokens=can.max_output_tokens,
        input=tuple(str(kind) for kind in can.input),
        tools=can.tools,
        json_schema=can.json_schema,
        reasoning=can.reasoning,
        embeddings=can.embeddings,
    )


def credentials_of(keys: tuple[Key, ...]) -> tuple[tuple[str, ...], tuple[BackendCredential, ...]]:
    """Sources and values of the keys, each once, in order."""
    by_id = {key.id: key for key in keys}
    ordered = [by_id[name] for name in sorted(by_id)]
    return (
        tuple(key.source for key in ordered),
        tuple(BackendCredential(id=key.id, value=key.value) for key in ordered),
    )
