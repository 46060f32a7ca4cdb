"""Every object that decisions look at, by uid: what the watch told, corrected by our own LISTs.

Rule: the watch is fast, the LIST is right. What the watch tells counts unless its resourceVersion is lower than what is
known. What a LIST or GET of our own finds counts, whatever its version, over all that was heard before it began: after
a restore of etcd versions run backwards, and only reading tells. An entry goes when the watch says so, or when a LIST
that began after the entry was last heard of does not show it. A LIST that fails, or finds no such kind, says nothing.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Final

from modelway_operator.kinds import CONFIG_MAP, WATCHED, Kind, Raw

GRAVE_SECONDS: Final = 120.0
"""How long a deletion is remembered, so that a LIST that began before it does not bring the object back."""

_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"


@dataclass(slots=True)
class _Entry:
    raw: Raw
    heard_at: float


class Store:
    """The objects; belongs to the loop's thread alone."""

    def __init__(
        self,
        *,
        namespaces: Collection[str] = (),
        clock: Callable[[], float] = time.monotonic,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.namespaces: tuple[str | None, ...] = tuple(namespaces) or (None,)
        """What is listed and watched; None is the whole cluster."""
        self._clock = clock
        self._on_change = on_change
        self._entries: dict[Kind, dict[str, _Entry]] = {kind: {} for kind in WATCHED}
        self._graves: dict[str, float] = {}
        self._listed: set[tuple[Kind, str | None]] = set()
        self._config_maps: dict[tuple[str, str], Raw | None] = {}
        self._changes: Counter[Kind] = Counter()

    @property
    def is_complete(self) -> bool:
        """Whether everything was listed at least once; before that, nothing may be concluded from absence."""
        return len(self._listed) == len(WATCHED) * len(self.namespaces)

    def changes(self, kind: Kind) -> int:
        """How often objects of the kind have changed; equal numbers, equal objects."""
        return self._changes[kind]

    def objects(self, kind: Kind) -> list[Raw]:
        """All objects of a kind, in a fixed order."""
        found = [entry.raw for entry in self._entries[kind].values()]
        return sorted(found, key=lambda raw: (raw["metadata"]["namespace"], raw["metadata"]["name"]))

    def put(self, kind: Kind, raw: Raw) -> None:
        """The watch has told this, or a write of our own was answered with it; late news change nothing."""
        uid = raw["metadata"]["uid"]
        known = self._entries[kind].get(uid)
        if uid not in self._graves and (known is None or not _is_older(raw, known.raw)):
            self._set(kind, raw, self._clock())

    def put_read(self, kind: Kind, raw: Raw, *, began: float) -> bool:
        """A LIST or a GET of our own that began at this moment has found this; whether that was news."""
        uid = raw["metadata"]["uid"]
        if self._graves.get(uid, -math.inf) >= began:
            return False
        self._graves.pop(uid, None)
        known = self._entries[kind].get(uid)
        if known is None or known.heard_at < began or _is_older(known.raw, raw):
            return self._set(kind, raw, began)
        return False

    def discard(self, kind: Kind, uid: str) -> None:
        """The watch has seen this go."""
        self._graves[uid] = self._clock()
        if self._entries[kind].pop(uid, None) is not None:
            self._changed(kind)

    def correct(self, kind: Kind, namespace: str | None, found: Iterable[Raw], *, began: float) -> int:
        """Take over a LIST that was begun at this moment; how many changes only it has told us of."""
        now, entries, seen, missed = self._clock(), self._entries[kind], set(), 0
        for raw in found:
            seen.add(raw["metadata"]["uid"])
            missed += self.put_read(kind, raw, began=began)
        for uid, entry in list(entries.items()):
            elsewhere = namespace is not None and entry.raw["metadata"]["namespace"] != namespace
            if uid not in seen and entry.heard_at < began and not elsewhere:
                del entries[uid]
                self._changed(kind)
                missed += 1
        self._graves = {uid: at for uid, at in self._graves.items() if now - at < GRAVE_SECONDS}
        first = (kind, namespace) not in self._listed
        self._listed.add((kind, namespace))
        if first:
            self._on_change()
        return 0 if first else missed

    def config_map(self, key: tuple[str, str]) -> Raw | None:
        """A ConfigMap that was read, None where there is none."""
        return self._config_maps.get(key)

    def unread_config_maps(self, wanted: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Those of which nobody knows yet whether they exist."""
        return [key for key in wanted if key not in self._config_maps]

    def read_config_maps(self) -> list[tuple[str, str]]:
        """Those that were read before."""
        return list(self._config_maps)

    def put_config_map(self, key: tuple[str, str], raw: Raw | None) -> None:
        """A ConfigMap was read, or was found not to exist."""
        before = self._config_maps.get(key)
        self._config_maps[key] = None if raw is None else _trimmed(raw)
        if _version(before) != _version(raw):
            self._changed(CONFIG_MAP)

    def keep_config_maps(self, wanted: Collection[tuple[str, str]]) -> None:
        """Forget all others."""
        self._config_maps = {key: raw for key, raw in self._config_maps.items() if key in wanted}

    def _set(self, kind: Kind, raw: Raw, heard_at: float) -> bool:
        uid = raw["metadata"]["uid"]
        known = self._entries[kind].get(uid)
        if known is not None and _version(known.raw) == _version(raw):
            known.heard_at = max(known.heard_at, heard_at)
            return False
        self._entries[kind][uid] = _Entry(_trimmed(raw), heard_at if known is None else max(known.heard_at, heard_at))
        self._changed(kind)
        return True

    def _changed(self, kind: Kind) -> None:
        self._changes[kind] += 1
        self._on_change()


def _version(raw: Raw | None) -> str | None:
    return None if raw is None else raw["metadata"].get("resourceVersion")


def _is_older(one: Raw, other: Raw) -> bool:
    """Whether this is an earlier state of the same object; false where versions cannot be compared."""
    first, second = _version(one) or "", _version(other) or ""
    if not all(version.isascii() and version.isdigit() for version in (first, second)):
        return False
    return int(first) < int(second)


def _trimmed(raw: Raw) -> Raw:
    """Without what nobody here reads, which is half of an object, and of a Secret would be its content once more."""
    metadata = {key: value for key, value in raw["metadata"].items() if key != "managedFields"}
    annotations = metadata.get("annotations")
    if annotations and _LAST_APPLIED in annotations:
        metadata["annotations"] = {key: value for key, value in annotations.items() if key != _LAST_APPLIED}
    return {**raw, "metadata": metadata}
