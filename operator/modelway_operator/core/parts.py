"""Compiled parts from the last turn, taken again where nothing that they were made of has changed.

Rule: a part is a pure function of its key, so a cache that is empty, or belongs to another process, changes nothing but
the work. Keys are compared, not hashed: they are what a part was made of, and what is the same object compares fast.
"""

from collections.abc import Callable, Mapping
from typing import TypeVar, cast

from modelway_operator.core.memory import CachedPart

T = TypeVar("T")


class Parts:
    """One turn's view of the cache: what was used goes on to the next turn, the rest is forgotten."""

    def __init__(self, before: Mapping[str, CachedPart]) -> None:
        self._before = before
        self._now: dict[str, CachedPart] = {}
        self._used: dict[str, None] = {}
        self.made = 0
        """Parts that had to be compiled in this turn."""

    def get(self, name: str, key: object, make: Callable[[], T]) -> T:
        """The part of this name, compiled by `make` unless it was compiled before from an equal key.

        Parts may be made of parts; one that is taken again keeps those that it was made of for the next change.
        """
        found = self._now.get(name) or self._before.get(name)
        if found is None or found.key != key:
            self.made += 1
            outer, self._used = self._used, {}
            value = make()
            found = CachedPart(key, value, tuple(self._used))
            self._used = outer
        else:
            self._carry_over(found)
        self._now[name] = found
        self._used[name] = None
        return cast("T", found.value)

    def kept(self) -> Mapping[str, CachedPart]:
        """What the next turn may use."""
        return dict(self._now)

    def _carry_over(self, part: CachedPart) -> None:
        for name in part.uses:
            inner = self._before.get(name)
            if name not in self._now and inner is not None:
                self._now[name] = inner
                self._carry_over(inner)
