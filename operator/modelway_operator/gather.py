"""Everything that a decision may look at, read and put into the words of `core`.

Rule: reading judges nothing. What did not change since the last turn is not read again, since a cluster has thousands
of EndpointSlices and a turn comes every two seconds.
"""

import base64
import binascii
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from modelway_contract.names import SECRET_LABEL
from modelway_operator.api.rollout_status import RolloutStatus
from modelway_operator.clients.cluster import Cluster
from modelway_operator.clients.gateways import Endpoint, Report
from modelway_operator.core.objects import DEFAULT_GATEWAY
from modelway_operator.core.snapshot import (
    Address,
    ConfigMap,
    Install,
    ObjectKey,
    Replica,
    Secret,
    Service,
    ServicePort,
    Snapshot,
)
from modelway_operator.errors import ClusterError, NotFoundError, UnreachableError
from modelway_operator.kinds import (
    CONFIG_MAP,
    ENDPOINT_SLICE,
    LLM_MODEL,
    ROUTING_POLICY,
    SECRET,
    SERVICE,
    WATCHED,
    Kind,
    Raw,
)
from modelway_operator.rollout_figures import RolloutFigures
from modelway_operator.settings import MetricsKind, Settings
from modelway_operator.store import Store

LIVE_SECONDS: Final = 30.0
"""A replica that has not answered for so long is not waited for."""
ADMIN_PORT_NAME: Final = "admin"

_SERVICE_NAME: Final = "kubernetes.io/service-name"

T = TypeVar("T")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Relisted:
    """What came of listing everything."""

    whole: bool
    """Everything could be read."""
    answered: bool
    """Every LIST was answered, if only by a refusal; what could be read is what there is now."""
    absent: frozenset[Kind]
    """Kinds that the API server does not know."""
    missed: int
    """Changes that the watch had not told of."""


def install_of(settings: Settings) -> Install:
    """What the installation decides, in the words of `core`."""
    return Install(
        gateway=settings.gateway,
        namespace=settings.namespace,
        shared_namespaces=settings.shared_namespaces,
        anonymous_namespace=settings.anonymous_namespace,
        scrape_interval_seconds=settings.scrape_interval_seconds,
        metrics_configured=settings.metrics_source is not MetricsKind.NONE,
    )


async def gather_lists(store: Store, cluster: Cluster, *, clock: Callable[[], float] = time.monotonic) -> Relisted:
    """Correct the whole store by LISTs of our own; what cannot be read stays as it is."""
    whole, absent, missed = True, set(), 0
    for kind in WATCHED:
        for namespace in store.namespaces:
            began = clock()
            try:
                found = await cluster.list_objects(kind, namespace)
            except ClusterError as exc:
                # 404 means that the kind is gone, which says nothing of its objects.
                if isinstance(exc, NotFoundError):
                    absent.add(kind)
                whole = False
                logger.warning("objects could not be listed", extra={"kind": kind.name, "error": str(exc)})
                if isinstance(exc, UnreachableError):
                    # The others would only wait for the same answer.
                    return Relisted(whole=False, answered=False, absent=frozenset(absent), missed=missed)
                continue
            corrections = store.correct(kind, namespace, found, began=began)
            missed += corrections
            if corrections:
                logger.warning("the watch had missed changes", extra={"kind": kind.name, "count": corrections})
    whole = await gather_config_maps(store, cluster, store.read_config_maps()) and whole
    return Relisted(whole=whole, answered=True, absent=frozenset(absent), missed=missed)


async def gather_config_maps(store: Store, cluster: Cluster, keys: Iterable[tuple[str, str]]) -> bool:
    """Read these by name, since a cluster's ConfigMaps are many and large, and models name few."""
    whole = True
    for namespace, name in keys:
        try:
            store.put_config_map((namespace, name), await cluster.get_object(CONFIG_MAP, namespace, name))
        except ClusterError as exc:
            whole = False
            logger.warning("a ConfigMap could not be read", extra={"error": str(exc)})
            if isinstance(exc, UnreachableError):
                break
    return whole


class Gatherer:
    """Builds snapshots; remembers what it built of objects that did not change."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._install = install_of(settings)
        self._built: dict[str, tuple[tuple[int, ...], Any]] = {}
        self._shown: dict[tuple[str, str], tuple[RolloutFigures, ...]] = {}

    def snapshot(self, *, now: float) -> Snapshot:
        """The objects; whoever asks adds what only the loop knows."""
        return Snapshot(
            now=now,
            install=self._install,
            models=self._once("models", self._models, LLM_MODEL),
            policies=self._once("policies", self._policies, ROUTING_POLICY),
            secrets=self._once("secrets", self._secrets, SECRET),
            services=self._once("services", self._services, SERVICE),
            endpoints=self._once("endpoints", self._endpoints, SERVICE, ENDPOINT_SLICE),
            config_maps=self._once("config maps", self._config_maps, CONFIG_MAP),
        )

    def gateways(self) -> dict[Endpoint, bool]:
        """Every replica behind the admin Service, and whether its pod is ready."""
        return self._once("gateways", self._gateways, ENDPOINT_SLICE)

    def rollouts(self) -> tuple[RolloutFigures, ...]:
        """What the statuses of this installation's policies say of their rollouts, for the operator's own metrics."""
        return self._once("rollouts", self._rollouts, ROUTING_POLICY)

    def replicas(self, reports: Collection[Report], *, clock: float) -> tuple[Replica, ...]:
        """The replicas and what they said last, in the words of `core`."""
        ready = self.gateways()
        return tuple(
            Replica(
                name=report.endpoint.pod,
                ready=ready.get(report.endpoint, False),
                live=report.answered_at is not None and clock - report.answered_at < LIVE_SECONDS,
                ack=report.ack,
                rejected=_rejection(report),
            )
            for report in reports
        )

    def _once(self, name: str, build: Callable[[], T], *kinds: Kind) -> T:
        stamp = tuple(self._store.changes(kind) for kind in kinds)
        if name not in self._built or self._built[name][0] != stamp:
            self._built[name] = (stamp, build())
        built: T = self._built[name][1]
        return built

    def _models(self) -> tuple[Raw, ...]:
        return tuple(self._store.objects(LLM_MODEL))

    def _policies(self) -> tuple[Raw, ...]:
        return tuple(self._store.objects(ROUTING_POLICY))

    def _secrets(self) -> dict[ObjectKey, Secret]:
        return {_key(raw): _secret(raw) for raw in self._store.objects(SECRET)}

    def _services(self) -> dict[ObjectKey, Service]:
        return {
            _key(raw): Service(ports=tuple(port["port"] for port in raw["spec"].get("ports") or ()))
            for raw in self._store.objects(SERVICE)
        }

    def _config_maps(self) -> dict[ObjectKey, ConfigMap]:
        found = {}
        for key in self._store.read_config_maps():
            raw = self._store.config_map(key)
            if raw is not None:
                uid, version = raw["metadata"]["uid"], raw["metadata"]["resourceVersion"]
                found[ObjectKey(*key)] = ConfigMap(uid=uid, resource_version=version, data=raw.get("data") or {})
        return found

    def _endpoints(self) -> dict[ServicePort, tuple[Address, ...]]:
        slices: dict[ObjectKey, list[Raw]] = defaultdict(list)
        for raw in self._store.objects(ENDPOINT_SLICE):
            service = (raw["metadata"].get("labels") or {}).get(_SERVICE_NAME)
            if service:
                slices[ObjectKey(raw["metadata"]["namespace"], service)].append(raw)
        found = {}
        for raw in self._store.objects(SERVICE):
            key = _key(raw)
            # A pod with two families stands in two slices, and is one place all the same.
            family = next(iter(raw["spec"].get("ipFamilies") or ()), "IPv4")
            of_service = [one for one in slices.get(key, ()) if one.get("addressType") == family]
            for port in raw["spec"].get("ports") or ():
                addresses = {
                    Address(ip, number)
                    for one in of_service
                    for number in _port_numbers(one, port.get("name") or "")
                    for endpoint in one.get("endpoints") or ()
                    if _is_ready(endpoint)
                    for ip in endpoint["addresses"][:1]
                }
                found[ServicePort(key.namespace, key.name, port["port"])] = tuple(sorted(addresses))
        return found

    def _rollouts(self) -> tuple[RolloutFigures, ...]:
        raws = [
            raw
            for raw in self._store.objects(ROUTING_POLICY)
            if (raw.get("spec") or {}).get("gateway", DEFAULT_GATEWAY) == self._settings.gateway
            and (raw.get("status") or {}).get("rollouts")
        ]
        # A step of one rollout must not have the statuses of all others read again.
        versions = {(raw["metadata"]["uid"], raw["metadata"]["resourceVersion"]): raw for raw in raws}
        self._shown = {key: self._shown.get(key) or _figures(raw) for key, raw in versions.items()}
        return tuple(one for figures in self._shown.values() for one in figures)

    def _gateways(self) -> dict[Endpoint, bool]:
        by_pod: dict[str, tuple[Endpoint, bool]] = {}
        for raw in sorted(self._store.objects(ENDPOINT_SLICE), key=lambda one: str(one.get("addressType"))):
            metadata = raw["metadata"]
            service = (metadata.get("labels") or {}).get(_SERVICE_NAME)
            if (metadata["namespace"], service) != (self._settings.namespace, self._settings.admin_service):
                continue
            for number in _port_numbers(raw, ADMIN_PORT_NAME):
                for endpoint in raw.get("endpoints") or ():
                    address = endpoint["addresses"][0]
                    pod = (endpoint.get("targetRef") or {}).get("name") or address
                    by_pod.setdefault(pod, (Endpoint(pod=pod, address=address, port=number), _serves(endpoint)))
        return dict(by_pod.values())


def _figures(raw: Raw) -> tuple[RolloutFigures, ...]:
    """What a status says of its rollouts; one that makes no sense says nothing."""
    namespace, policy = raw["metadata"]["namespace"], raw["metadata"]["name"]
    try:
        states = [RolloutStatus.model_validate(one) for one in raw["status"]["rollouts"]]
    except (TypeError, ValueError):
        return ()
    return tuple(RolloutFigures(namespace=namespace, policy=policy, state=state) for state in states)


def _key(raw: Raw) -> ObjectKey:
    return ObjectKey(raw["metadata"]["namespace"], raw["metadata"]["name"])


def _secret(raw: Raw) -> Secret:
    metadata = raw["metadata"]
    return Secret(
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
        use=(metadata.get("labels") or {}).get(SECRET_LABEL, ""),
        data={name: decoded_secret(value) for name, value in (raw.get("data") or {}).items()},
        annotations=metadata.get("annotations") or {},
        creation_timestamp=metadata.get("creationTimestamp") or "",
        deleting=metadata.get("deletionTimestamp") is not None,
    )


def decoded_secret(value: str) -> bytes:
    """One value of a Secret; the API server has checked that it is base64."""
    try:
        return base64.b64decode(value)
    except binascii.Error:
        return b""


def _port_numbers(one: Raw, name: str) -> list[int]:
    ports = one.get("ports") or ()
    return [port["port"] for port in ports if (port.get("name") or "") == name and port.get("port")]


def _is_ready(endpoint: Raw) -> bool:
    # The API's own reading: what is not said counts as ready.
    return (endpoint.get("conditions") or {}).get("ready") is not False


def _serves(endpoint: Raw) -> bool:
    """Whether the pod itself is ready: where a Service publishes all of its pods, `ready` is said of each."""
    conditions = endpoint.get("conditions") or {}
    serving = conditions.get("serving")
    return (_is_ready(endpoint) if serving is None else bool(serving)) and not conditions.get("terminating")


def _rejection(report: Report) -> str | None:
    if not report.rejections:
        return None
    first = report.rejections[0]
    more = f" (and {len(report.rejections) - 1} more)" if len(report.rejections) > 1 else ""
    return f"{first.path}: {first.message}{more}"
