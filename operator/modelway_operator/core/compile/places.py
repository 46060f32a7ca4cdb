"""Where a backend is: a URL, or a Service of the model's namespace.

Rule: two ways to write the same place are the same place, since a place is part of what a model is and a new version
must not come of a slash.
"""

from dataclasses import dataclass
from urllib.parse import urlsplit

from modelway_contract.config import Scheme
from modelway_operator.api.llmmodel import Backend
from modelway_operator.core.snapshot import ServicePort

DEFAULT_PORTS = {Scheme.HTTP: 80, Scheme.HTTPS: 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a gateway dials. With `service`, `host` is only the name that the backend hears and shows."""

    scheme: Scheme
    host: str
    port: int
    path: str
    service: ServicePort | None = None

    @property
    def identity(self) -> str:
        """The place as it goes into a version: for a Service, whether it speaks TLS is not part of it."""
        if self.service is not None:
            return f"service {self.service.namespace}/{self.service.service}:{self.service.port}{self.path}"
        return f"{self.scheme}://{self.host}:{self.port}{self.path}"


def place_of(backend: Backend, namespace: str) -> Place:
    """Where this backend is. Raises ValueError for a URL that only looks like one."""
    if backend.service_ref is not None:
        ref = backend.service_ref
        return Place(
            scheme=Scheme.HTTP if backend.tls is None else Scheme.HTTPS,
            host=f"{ref.name}.{namespace}.svc",
            port=ref.port,
            path=ref.path.rstrip("/"),
            service=ServicePort(namespace, ref.name, ref.port),
        )
    parts = urlsplit(backend.url or "")
    scheme = Scheme(parts.scheme)
    if not parts.hostname:
        raise ValueError("the URL has no host")
    return Place(
        scheme=scheme,
        host=parts.hostname.lower(),
        port=parts.port if parts.port is not None else DEFAULT_PORTS[scheme],
        path=parts.path.rstrip("/"),
    )
