"""What one decision hands on to the next in the same process.

Rule: losing it costs work and never a promise. Compiled parts are compiled again; which config held which revision is
known again once the gateways acknowledged the present one; and an LLMModel whose present generation is invalid serves
from then on only where a policy remembers it (policies remember their own last valid spec in their Secret).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

KNOWN_CONFIGS = 32
"""How many different configs are remembered: gateways that run an older one than that count as not converged."""


class ConfigKey(NamedTuple):
    """A config without what moves by itself."""

    base: str
    credentials: str


class CachedPart(NamedTuple):
    """Something compiled, and all that was read for it."""

    key: object
    value: Any
    uses: tuple[str, ...] = ()
    """Parts that it was made of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Opaque to whoever carries it from turn to turn."""

    parts: Mapping[str, CachedPart] = field(default_factory=dict, repr=False)
    known: Mapping[ConfigKey, Mapping[str, str]] = field(default_factory=dict, repr=False)
    """Revisions by uid of the objects in the configs that were pushed, oldest first."""
    valid_models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    """The last valid generation of each LLMModel, by uid."""
    versions: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What each LLMModel was, by uid."""
    made: int = 0
    """Parts that `wanted` compiled in this turn."""
    told: frozenset[str] = frozenset()
    """Notes that stand and have been told in an Event."""

    def of_a_standby(self) -> "Memory":
        """What a replica that only watches hands on: what is compiled and valid, nothing of gateways."""
        return Memory(parts=self.parts, valid_models=self.valid_models, versions=self.versions)
