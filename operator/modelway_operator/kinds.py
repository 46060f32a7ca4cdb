"""The kinds of objects that the operator reads or writes, and where the API server keeps them."""

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from modelway_contract import names

Raw: TypeAlias = dict[str, Any]
"""An object as the API server sends it; the types of `api/` and `core` turn it into something that can be trusted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind; `selector` is the label selector that all of our reading of it carries."""

    group: str
    version: str
    plural: str
    name: str
    selector: str = ""

    @property
    def api_version(self) -> str:
        """As a manifest spells it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None, *, subresource: str | None = None) -> str:
        """The path of one object, or of the collection that holds it."""
        parts = ["apis", self.group] if self.group else ["api"]
        parts.append(self.version)
        if namespace is not None:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        parts += [part for part in (name, subresource) if part is not None]
        return "/" + "/".join(parts)


LLM_MODEL: Final = Kind(group=names.GROUP, version=names.VERSION, plural="llmmodels", name="LLMModel")
ROUTING_POLICY: Final = Kind(group=names.GROUP, version=names.VERSION, plural="routingpolicies", name="RoutingPolicy")
SECRET: Final = Kind(group="", version="v1", plural="secrets", name="Secret", selector=names.SECRET_LABEL)
SERVICE: Final = Kind(group="", version="v1", plural="services", name="Service")
ENDPOINT_SLICE: Final = Kind(group="discovery.k8s.io", version="v1", plural="endpointslices", name="EndpointSlice")
CONFIG_MAP: Final = Kind(group="", version="v1", plural="configmaps", name="ConfigMap")
LEASE: Final = Kind(group="coordination.k8s.io", version="v1", plural="leases", name="Lease")
EVENT: Final = Kind(group="", version="v1", plural="events", name="Event")

WATCHED: Final = (LLM_MODEL, ROUTING_POLICY, SECRET, SERVICE, ENDPOINT_SLICE)
"""Kinds that are listed and watched whole. ConfigMaps are not: they are read one by one, by the names models give."""

OWN_KINDS: Final = (LLM_MODEL, ROUTING_POLICY)
"""Kinds of our own, whose definition may be missing for a while."""
