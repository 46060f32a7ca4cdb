"""Which addresses generated load may go to.

Rule: the name is resolved once, here, and the connections go to the addresses that were judged, so that a name cannot
change its mind in between.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult

from modelway_cli.errors import CliError, PublicTargetError
from modelway_cli.traffic.plan import TrafficPlan

OURS: Final = tuple(
    ipaddress.ip_network(text)
    for text in ("127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)
"""Loopback and private networks. Link-local is not among them: cloud metadata services answer there."""


def is_ours(address: str) -> bool:
    """Whether `address` is loopback or private."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return any(parsed in network for network in OURS)


def check_addresses(host: str, addresses: Iterable[str]) -> None:
    """Raises `PublicTargetError` if any of the addresses of `host` is not loopback or private."""
    for address in addresses:
        if not is_ours(address):
            raise PublicTargetError(
                f"{host} ({address}) is neither a loopback nor a private address. This command generates load: use"
                " --allow-public only against a service that is yours."
            )


@dataclass(frozen=True, slots=True)
class PinnedResolver(AbstractResolver):
    """Answers every question with the addresses that were judged."""

    host: str
    addresses: tuple[tuple[str, socket.AddressFamily], ...]

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=address, port=port, family=of, proto=0, flags=int(socket.AI_NUMERICHOST))
            for address, of in self.addresses
            if family in (socket.AF_UNSPEC, of)
        ]

    async def close(self) -> None:
        """Nothing to close."""


async def resolve_target(plan: TrafficPlan) -> PinnedResolver:
    """The judged addresses of the plan's host; raises `PublicTargetError`, or `CliError` if there are none."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(plan.host, plan.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise CliError(f"cannot resolve {plan.host}: {error.strerror}") from error
    pairs = tuple(dict.fromkeys((str(entry[4][0]), entry[0]) for entry in found))
    if not plan.allow_public:
        check_addresses(plan.host, (address for address, _ in pairs))
    return PinnedResolver(plan.host, pairs)
