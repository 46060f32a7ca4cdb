"""From a name that a client sent to the policy or model that answers for it.

The rule: policies before models, and in each the client's own namespace before the shared ones; within a namespace an
exact name beats any glob, a longer glob a shorter one, and an earlier policy a later one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from modelway_contract import config
from modelway_gateway.core.routes import CountedOption, Policy

MAX_NAME_LENGTH: Final = 256
_MEMO_SIZE: Final = 4096


class Glob:
    """A name with `*` in it, matched in linear time: parts are found from the left, which for `*` is enough."""

    __slots__ = ("_first", "_last", "_middle", "_shortest", "pattern")

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self._first, *middle, self._last = pattern.split("*")
        self._middle = tuple(part for part in middle if part)
        self._shortest = len(pattern) - pattern.count("*")

    def matches(self, name: str) -> bool:
        if len(name) < self._shortest or not name.startswith(self._first) or not name.endswith(self._last):
            return False
        position, end = len(self._first), len(name) - len(self._last)
        for part in self._middle:
            found = name.find(part, position, end)
            if found < 0:
                return False
            position = found + len(part)
        return position <= end


class _Namespace:
    __slots__ = ("exact", "globs", "models")

    def __init__(self) -> None:
        self.exact: dict[str, Policy] = {}
        self.globs: list[tuple[Glob, Policy]] = []
        self.models: dict[str, tuple[config.PublicName, CountedOption]] = {}

    def find_policy(self, name: str) -> Policy | None:
        policy = self.exact.get(name)
        if policy is None:
            for glob, each in self.globs:
                if glob.matches(name):
                    return each
        return policy


class NameTable:
    """All names of a config."""

    def __init__(
        self,
        *,
        shared: Sequence[str],
        policies: Iterable[tuple[config.Policy, Policy]],
        models: Iterable[tuple[config.PublicName, CountedOption]],
    ) -> None:
        self._shared = tuple(dict.fromkeys(shared))
        self._namespaces: dict[str, _Namespace] = {}
        self._memo: dict[tuple[str, str], Policy | CountedOption | None] = {}
        globs: dict[str, list[tuple[int, int, Glob, Policy]]] = {}
        for order, (wire, policy) in enumerate(policies):
            for pattern in wire.models:
                if "*" in pattern:
                    globs.setdefault(wire.namespace, []).append((-len(pattern), order, Glob(pattern), policy))
                else:
                    self._namespace(wire.namespace).exact.setdefault(pattern, policy)
        for namespace, entries in globs.items():
            entries.sort(key=lambda each: each[:2])
            self._namespace(namespace).globs = [(glob, policy) for _, _, glob, policy in entries]
        for public, option in models:
            self._namespace(public.namespace).models[public.name] = (public, option)

    def _namespace(self, name: str) -> _Namespace:
        return self._namespaces.setdefault(name, _Namespace())

    def _places(self, namespace: str) -> list[_Namespace]:
        names = dict.fromkeys((namespace, *self._shared))
        return [self._namespaces[name] for name in names if name in self._namespaces]

    def find(self, namespace: str, name: str) -> Policy | CountedOption | None:
        """The policy that answers for this name, else the model of this name that may be called directly."""
        key = (namespace, name)
        try:
            return self._memo[key]
        except KeyError:
            found = self._search(namespace, name)
        if found is not None and len(name) <= MAX_NAME_LENGTH:
            if len(self._memo) >= _MEMO_SIZE:  # a client that varies names under a glob must not fill the memory
                self._memo.clear()
            self._memo[key] = found
        return found

    def _search(self, namespace: str, name: str) -> Policy | CountedOption | None:
        places = self._places(namespace)
        for place in places:
            policy = place.find_policy(name)
            if policy is not None:
                return policy
        for place in places:
            if name in place.models:
                return place.models[name][1]
        return None

    def listing(self, namespace: str) -> list[config.PublicName]:
        """What a client of this namespace may name, own names before shared ones; globs name nothing by themselves."""
        found: dict[str, config.PublicName] = {}
        for place in self._places(namespace):
            for name, policy in place.exact.items():
                found.setdefault(name, config.PublicName(namespace=policy.namespace, name=name, model=""))
        for place in self._places(namespace):
            for name, (public, _) in place.models.items():
                found.setdefault(name, public)
        return sorted(found.values(), key=lambda each: each.name)
