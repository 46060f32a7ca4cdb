"""Which wire model serves a version: the present object's where it still is that version, else a remembered one.

Two rules. A remembered spec counts only if it *is* the version it is kept under, so nobody can put another address in
its place. And what a policy of another namespace remembers of a shared model has no say over what belongs to the
model's owner (key, headers, query, tls, locality): a Secret of one namespace must not be able to send another
namespace's key anywhere. Such a backend is closed unless the present object still has it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from modelway_operator.api.llmmodel import LLMModel, Locality
from modelway_operator.core.compile.inventory import Inventory, compiled_model
from modelway_operator.core.compile.models import CompiledModel, is_same_place, pinned, with_present_operation
from modelway_operator.core.compile.policies import PolicyEntry, may_refer
from modelway_operator.core.compile.versions import model_key, version_of
from modelway_operator.core.parts import Parts
from modelway_operator.core.remembered import read_spec, spec_text
from modelway_operator.core.rollout.model import Version
from modelway_operator.core.snapshot import ObjectKey, Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class _Memory:
    text: str
    owned: bool
    """A policy of the model's own namespace remembers it."""


class Arms:
    """All versions that can be served in this turn."""

    def __init__(self, inventory: Inventory, policies: Iterable[PolicyEntry], snapshot: Snapshot, parts: Parts) -> None:
        self.inventory = inventory
        self._snapshot = snapshot
        self._parts = parts
        self._remembered: dict[Version, _Memory] = {}
        for entry in sorted(policies, key=lambda each: (each.head.ref.namespace, each.head.ref.name)):
            for version, text in entry.remembered.specs.items():
                owned = entry.head.ref.namespace == _key(version).namespace
                known = self._remembered.get(version)
                if known is None or (owned and not known.owned):
                    self._remembered[version] = _Memory(text=text, owned=owned)

    def find(self, version: Version, namespace: str) -> CompiledModel | None:
        """The wire model of this version, for a policy of this namespace."""
        if not may_refer(namespace, _key(version).namespace, self._snapshot.install):
            return None
        present = self.inventory.entries.get(_key(version))
        if present is not None and present.version == version.digest and present.compiled is not None:
            return present.compiled
        model = self._remembered_model(version)
        if model is None:
            return None
        return compiled_model(model, version.digest, self._snapshot, self._parts)

    def spec(self, version: Version) -> str | None:
        """The spec to remember for this version: as it is now where the object still is that version."""
        present = self.inventory.entries.get(_key(version))
        if present is not None and present.version == version.digest and present.model is not None:
            model = present.model
            return self._parts.get(f"spec {version.model}", model, lambda: spec_text(pinned(model)))
        memory = self._remembered.get(version)
        return memory.text if memory is not None else None

    def _remembered_model(self, version: Version) -> LLMModel | None:
        """The remembered model as it is to be run now."""
        memory = self._remembered.get(version)
        if memory is None:
            return None
        entry = self.inventory.entries.get(_key(version))
        present = entry.model if entry is not None else None

        def make() -> LLMModel | None:
            model = read_spec(version, memory.text)
            if model is None or version_of(model) != version.digest:
                return None
            if not memory.owned:
                model = _without_owners_part(model, present)
            return with_present_operation(model, present) if model is not None else None

        return self._parts.get(f"arm {model_key(version.model, version.digest)}", (memory, present), make)


def _key(version: Version) -> ObjectKey:
    namespace, _, name = version.model.partition("/")
    return ObjectKey(namespace, name)


def _without_owners_part(model: LLMModel, present: LLMModel | None) -> LLMModel | None:
    """Without what only the model's owner may say, and without backends that need it and cannot have it from them."""
    namespace = model.metadata.namespace
    now = {backend.name: backend for backend in (present.spec.backends if present is not None else ())}
    kept = tuple(
        backend.model_copy(
            update={"credentials": None, "headers": {}, "query": {}, "tls": None, "locality": Locality()}
        )
        for backend in model.spec.backends
        if backend.credentials is None or (backend.name in now and is_same_place(backend, now[backend.name], namespace))
    )
    return model.model_copy(update={"spec": model.spec.model_copy(update={"backends": kept})}) if kept else None
