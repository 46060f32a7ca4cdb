"""Where the Services that manifests name are on this machine: `--service NAMESPACE/NAME:PORT=HOST:PORT`.

Rule: they are told to the operator as the Services and EndpointSlices that a cluster would have, so that the same
manifests mean the same.
"""

import ipaddress
import re
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from modelway_cli.errors import UsageError
from modelway_cli.standalone.documents import DEFAULT_NAMESPACE
from modelway_operator.kinds import ENDPOINT_SLICE, SERVICE, Kind, Raw

FORM: Final = "[NAMESPACE/]NAME:PORT=HOST:PORT"

_LEFT: Final = re.compile(
    r"(?:([a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)/)?([a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?):([0-9]{1,5})"
)
_RIGHT: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+)):([0-9]{1,5})")
_SERVICE_NAME: Final = "kubernetes.io/service-name"

Resolve = Callable[[str], str]
"""A host's address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalService:
    """One port of one Service, and where it is really."""

    namespace: str
    name: str
    port: int
    address: str
    target_port: int

    @property
    def family(self) -> str:
        """As a Service's `ipFamilies` and an EndpointSlice's `addressType` name it."""
        return f"IPv{ipaddress.ip_address(self.address).version}"


def parse_service(text: str, *, resolve: Resolve | None = None) -> LocalService:
    """One `--service`; raises UsageError. A name is resolved now, to IPv4 where it has that."""
    left, equals, right = text.partition("=")
    service, place = _LEFT.fullmatch(left), _RIGHT.fullmatch(right)
    if not equals or service is None or place is None:
        raise UsageError(f"--service {text}: must be like {FORM}")
    namespace, name, port = service.groups()
    literal, host, target_port = place.groups()
    for number in (port, target_port):
        if not 1 <= int(number) <= 65535:
            raise UsageError(f"--service {text}: a port is between 1 and 65535")
    address = literal or (resolve or address_of)(host)
    try:
        ipaddress.ip_address(address)
    except ValueError:
        raise UsageError(f"--service {text}: {address} is no address") from None
    return LocalService(
        namespace=namespace or DEFAULT_NAMESPACE,
        name=name,
        port=int(port),
        address=address,
        target_port=int(target_port),
    )


def address_of(host: str) -> str:
    """An address of the host; raises UsageError where it has none."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise UsageError(f"--service: {host} has no address: {error.strerror}") from error
    # Servers on one machine mostly listen on IPv4 alone, while "localhost" names both.
    return str(min(found, key=lambda entry: entry[0] is not socket.AF_INET)[4][0])


def service_objects(services: Iterable[LocalService]) -> list[tuple[Kind, Raw]]:
    """The Services and EndpointSlices; raises UsageError where one Service would have addresses of both families."""
    by_name: dict[tuple[str, str], list[LocalService]] = {}
    for service in services:
        by_name.setdefault((service.namespace, service.name), []).append(service)
    found: list[tuple[Kind, Raw]] = []
    for (namespace, name), ports in by_name.items():
        families = {port.family for port in ports}
        if len(families) > 1:
            raise UsageError(f"--service {namespace}/{name}: all of its addresses must be IPv4, or all IPv6")
        spec = {
            "ipFamilies": sorted(families),
            "ports": [{"name": _port_name(number), "port": number} for number in sorted({port.port for port in ports})],
        }
        found.append((SERVICE, {"metadata": _metadata(namespace, name, SERVICE), "spec": spec}))
        for number, port in enumerate(ports):
            found.append((ENDPOINT_SLICE, endpoint_slice(port, slice_name=f"{name}-{number}")))
    return found


def endpoint_slice(service: LocalService, *, slice_name: str, port_name: str | None = None, pod: str = "") -> Raw:
    """An EndpointSlice with one ready address."""
    metadata = _metadata(service.namespace, slice_name, ENDPOINT_SLICE)
    endpoint: Raw = {"addresses": [service.address], "conditions": {"ready": True}}
    if pod:
        endpoint["targetRef"] = {"kind": "Pod", "name": pod}
    return {
        "metadata": {**metadata, "labels": {_SERVICE_NAME: service.name}},
        "addressType": service.family,
        "ports": [{"name": port_name or _port_name(service.port), "port": service.target_port}],
        "endpoints": [endpoint],
    }


def _port_name(number: int) -> str:
    return f"p{number}"


def _metadata(namespace: str, name: str, kind: Kind) -> dict[str, str]:
    uid = f"{kind.name}/{namespace}/{name}"
    return {"namespace": namespace, "name": name, "uid": uid, "resourceVersion": "1"}
