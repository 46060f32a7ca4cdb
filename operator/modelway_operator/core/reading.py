"""All objects of the install, read and related to each other: what `wanted` and `decide` both begin with."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from modelway_operator.core.compile.inventory import Inventory, read_inventory
from modelway_operator.core.compile.policies import PolicyEntry, read_policies
from modelway_operator.core.findings import Finding
from modelway_operator.core.parts import Parts
from modelway_operator.core.situations import Situation, quiet_key, situations_of
from modelway_operator.core.snapshot import Snapshot

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyReading:
    """One policy with its targets."""

    entry: PolicyEntry
    situations: tuple[Situation, ...]
    findings: tuple[Finding, ...]
    """About its rollout entries."""
    quiet: tuple[object, ...] | None
    """What its outcome depends on, where nothing about it moves by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """All models and policies."""

    inventory: Inventory
    policies: tuple[PolicyReading, ...]


def read_all(snapshot: Snapshot, parts: Parts) -> Reading:
    """Read the install's objects."""
    sources = (snapshot.install, snapshot.secrets)
    read_of_models = (*sources, snapshot.models, snapshot.services, snapshot.config_maps, snapshot.memory.valid_models)
    inventory = parts.get("inventory", read_of_models, partial(read_inventory, snapshot, parts))
    entries = parts.get("policies", (*sources, snapshot.policies), partial(read_policies, snapshot, parts))
    policies = []
    for entry in entries:
        quiet = quiet_key(entry, inventory, snapshot)
        read = partial(situations_of, entry, inventory, snapshot)
        situations, findings = once(parts, "situations", entry, quiet, read)
        policies.append(PolicyReading(entry=entry, situations=situations, findings=findings, quiet=quiet))
    return Reading(inventory=inventory, policies=tuple(policies))


def once(parts: Parts, what: str, entry: PolicyEntry, key: object | None, make: Callable[[], T]) -> T:
    """Made once for a policy that nothing moves, and anew each turn for one that moves."""
    return make() if key is None else parts.get(f"{what} {entry.head.identity}", key, make)
