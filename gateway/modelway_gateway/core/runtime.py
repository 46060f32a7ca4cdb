"""What a request sees of the config: one object, taken once at entry.

The rule: a `Runtime` never changes. A new live part makes a new one that shares everything compiled with the old one,
so base and live always change together, in one assignment.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Generator
from dataclasses import dataclass, field, replace

from modelway_contract import config
from modelway_contract.config import FindingOnGateway, LiveState, Rejection
from modelway_gateway.core.build import Builder, Compiled, OriginMaker
from modelway_gateway.core.features import Caller
from modelway_gateway.core.heads import header_line
from modelway_gateway.core.route import NameTable
from modelway_gateway.core.routes import SplitKey
from modelway_gateway.core.signals import Senses
from modelway_gateway.errors import ConfigError

Address = tuple[str, int]
FULL_SHARE = 10_000
"""Shares are basis points."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Runtime:
    """A compiled base with credentials, and the live state that goes with it."""

    compiled: Compiled
    names: NameTable
    callers: dict[str, Caller]
    """By the SHA-256 of the key."""
    anonymous_namespace: str | None
    shares: dict[SplitKey, int]
    """The candidate's share by `Target.split`, in basis points; absent means 0."""
    addresses: dict[str, tuple[Address, ...]]
    """Ready addresses by `Backend.id`, never empty; only of backends that are discovered."""
    revision_line: bytes
    findings: tuple[FindingOnGateway, ...]
    known_callers: dict[str, Caller] = field(default_factory=dict)
    """By the `Authorization` header of a key that is right, so that the hash is taken once each. Never more than there
    are clients."""

    def with_live(self, state: LiveState, *, revision: str) -> Runtime:
        """The same with another live part. Raises ConfigError for a state that no gateway could follow."""
        problems: list[Rejection] = []
        findings: list[FindingOnGateway] = []
        shares = self._read_splits(state, problems, findings)
        addresses = self._read_endpoints(state, problems, findings)
        if problems:
            raise ConfigError(tuple(problems))
        return replace(
            self,
            shares=shares,
            addresses=addresses,
            revision_line=header_line("x-modelway-revision", revision),
            findings=(*self.compiled.findings, *findings),
        )

    def _read_splits(
        self, state: LiveState, problems: list[Rejection], findings: list[FindingOnGateway]
    ) -> dict[SplitKey, int]:
        shares: dict[SplitKey, int] = {}
        for index, split in enumerate(state.splits):
            path = f"$.live.state.splits[{index}]"
            key = SplitKey(split.namespace, split.policy, split.rule, split.target, split.rollout_id)
            if not 0 <= split.share <= FULL_SHARE:
                problems.append(Rejection(path=f"{path}.share", code="out_of_range", message="must be 0..10000"))
            elif key not in self.compiled.splits:  # of a rollout that the base has left behind: nothing to split
                findings.append(FindingOnGateway(path=path, code="unknown_split", message="no target has this rollout"))
            elif key in shares:
                problems.append(Rejection(path=path, code="duplicate", message="the same split stands here twice"))
            else:
                shares[key] = split.share
        return shares

    def _read_endpoints(
        self, state: LiveState, problems: list[Rejection], findings: list[FindingOnGateway]
    ) -> dict[str, tuple[Address, ...]]:
        addresses: dict[str, tuple[Address, ...]] = {}
        for index, endpoints in enumerate(state.endpoints):
            path = f"$.live.state.endpoints[{index}]"
            if endpoints.backend not in self.compiled.backends:
                findings.append(FindingOnGateway(path=path, code="unknown_backend", message="no model has it"))
            elif endpoints.backend in addresses:
                problems.append(Rejection(path=path, code="duplicate", message="the same backend stands here twice"))
            for number, (host, port) in enumerate(endpoints.addresses):
                if not _is_address(host) or not 1 <= port <= 65535:
                    place = f"{path}.addresses[{number}]"
                    problems.append(Rejection(path=place, code="bad_address", message="must be an IP and a port"))
            if endpoints.addresses:
                addresses[endpoints.backend] = endpoints.addresses
        return addresses


def build(
    base: config.Base,
    credentials: config.Credentials,
    previous: Runtime | None = None,
    *,
    make_origin: OriginMaker,
    senses: Senses,
) -> Runtime:
    """Compile base and credentials; every candidate's share is 0 until `with_live`.

    Raises ConfigError with all that is wrong. Objects that did not change are those of `previous`.
    """
    steps = build_in_steps(base, credentials, previous, make_origin=make_origin, senses=senses)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            runtime: Runtime = done.value
            return runtime


def build_in_steps(
    base: config.Base,
    credentials: config.Credentials,
    previous: Runtime | None = None,
    *,
    make_origin: OriginMaker,
    senses: Senses,
) -> Generator[None, None, Runtime]:
    """The same in small steps, so that a large config does not hold up the requests of the running one."""
    builder = Builder(
        base,
        credentials,
        previous=previous.compiled if previous is not None else None,
        make_origin=make_origin,
        senses=senses,
    )
    compiled = yield from builder.build()
    return Runtime(
        compiled=compiled,
        names=compiled.names,
        callers=compiled.callers,
        anonymous_namespace=base.anonymous_namespace,
        shares={},
        addresses={},
        revision_line=b"",
        findings=compiled.findings,
    )


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text
