"""What stands for the API server: objects from the folder of manifests, statuses in the state folder.

Rule: it behaves as the API server does where the operator could tell the difference: a spec that changed has a higher
generation, anything that changed another resourceVersion, an object that went and came back another uid, and a status
is written to the version that was judged or not at all.
"""

import datetime as dt
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from modelway_cli.standalone.documents import KINDS, Document, Problem
from modelway_cli.standalone.folder import Fingerprint, Folder
from modelway_cli.standalone.state import State
from modelway_contract.names import SECRET_LABEL
from modelway_operator.api.conditions import PENDING_CONDITIONS
from modelway_operator.clients.cluster import Cluster
from modelway_operator.errors import ClusterError, ConflictError, NotFoundError
from modelway_operator.kinds import EVENT, OWN_KINDS, SECRET, Kind, Raw

NEW_STATUS: Final[Mapping[str, Any]] = {"conditions": [one.as_manifest() for one in PENDING_CONDITIONS]}

Key = tuple[Kind, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """An object that is new or changed, or has gone."""

    kind: Kind
    raw: Raw
    gone: bool = False


class FolderCluster(Cluster):
    """The operator's API server, as far as it is asked anything."""

    def __init__(
        self,
        folder: Folder,
        state: State,
        *,
        fixed: Iterable[tuple[Kind, Raw]] = (),
        on_event: Callable[[Raw], None] = lambda _: None,
        wall_clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        """`fixed` are objects that never change, such as Services; `on_event` hears of each Kubernetes Event."""
        # Not the parent's: there is no connection to hold.
        self.last_answer = 0.0
        self.problems: tuple[Problem, ...] = ()
        """What is wrong in the folder now."""
        self.ignored: Mapping[str, int] = {}
        """Kinds in the folder that are none of our business."""
        self.files: dict[Key, str] = {}
        """Which file an object stands in."""
        self.folder = folder
        self._state = state
        self._on_event = on_event
        self._wall_clock = wall_clock
        self._fingerprint: Fingerprint | None = None
        self._version = 0
        self._objects: dict[Key, Raw] = {_key(kind, raw): raw for kind, raw in fixed}
        self._own: set[Key] = set(self._objects)
        """Objects that no manifest brought, and whose absence from the folder means nothing."""
        self._restore()

    async def close(self) -> None:
        """Nothing is held."""

    # Read by the operator

    async def list_objects(self, kind: Kind, namespace: str | None = None) -> list[Raw]:
        """Every object of a kind, after a fresh look at the folder."""
        self.refresh()
        return [
            raw
            for (of, where, _), raw in self._objects.items()
            if of is kind and namespace in (None, where) and _is_selected(kind, raw)
        ]

    async def get_object(self, kind: Kind, namespace: str, name: str) -> Raw | None:
        """One object by name."""
        return self._objects.get((kind, namespace, name))

    # Written by the operator

    async def create_object(self, kind: Kind, namespace: str, body: Raw) -> Raw:
        """Take note of an Event; nothing else is created."""
        del namespace
        if kind is not EVENT:
            raise ClusterError(f"nobody creates a {kind.name} without a cluster")
        self._on_event(body)
        return body

    async def apply_object(self, kind: Kind, body: Raw) -> Raw:
        """Create or change an object of the operator's own, such as the versions that a policy remembers."""
        key = _key(kind, body)
        before = self._objects.get(key)
        if before is not None and key not in self._own:
            raise ConflictError(f"{kind.name} {key[1]}/{key[2]} stands in {self.files[key]}, and is the operator's own")
        uid = str(uuid.uuid4()) if before is None else before["metadata"]["uid"]
        raw = {
            **body,
            "apiVersion": kind.api_version,
            "kind": kind.name,
            "metadata": {**body["metadata"], "uid": uid, "resourceVersion": self._next_version()},
        }
        self._keep(kind, raw)
        self._own.add(key)
        self._objects[key] = raw
        return raw

    async def apply_status(
        self, kind: Kind, *, namespace: str, name: str, resource_version: str, status: Mapping[str, Any]
    ) -> Raw:
        """Write what the operator has to say about one object, in the version that it judged."""
        key = (kind, namespace, name)
        before = self._objects.get(key)
        if before is None:
            raise NotFoundError(f"{kind.name} {namespace}/{name} is not in the folder any more", status=404)
        if before["metadata"]["resourceVersion"] != resource_version:
            raise ConflictError(f"{kind.name} {namespace}/{name} has changed", status=409)
        raw = {**before, "metadata": {**before["metadata"], "resourceVersion": self._next_version()}, "status": status}
        self._keep(kind, raw)
        self._objects[key] = raw
        return raw

    # The folder

    def is_stale(self) -> bool:
        """Whether the folder has changed since it was read."""
        return self._fingerprint != self.folder.fingerprint()

    def refresh(self) -> list[Change]:
        """Take over what the folder says now; what has changed by that."""
        fingerprint = self.folder.fingerprint()
        if fingerprint is not None and fingerprint == self._fingerprint:
            return []
        self._fingerprint = fingerprint
        reading = self.folder.read()
        self.problems, self.ignored = reading.problems, reading.ignored
        wanted = {document.key: document for document in reading.documents if document.key not in self._own}
        self.files = {key: document.file for key, document in wanted.items()}
        changes = [self._remove(key) for key in self._objects.keys() - wanted.keys() - self._own]
        changes += [change for document in wanted.values() if (change := self._adopt(document)) is not None]
        changes += self._collect_garbage()
        return changes

    def _restore(self) -> None:
        """What this folder's last process knew: who an object is, how it is doing, what was remembered for it."""
        for raw in self._state.objects():
            kind = next((kind for kind in KINDS if kind.name == raw.get("kind")), None)
            try:
                version = int(raw["metadata"]["resourceVersion"])
                key = _key(kind or SECRET, raw)
            except (KeyError, ValueError):
                continue
            self._version = max(self._version, version)
            self._objects[key] = raw
            if kind is SECRET:
                self._own.add(key)

    def _adopt(self, document: Document) -> Change | None:
        """The object as it is by now, if it has changed."""
        before = self._objects.get(document.key)
        if before is not None and _wishes(before) == _wishes(document.raw):
            return None
        own = document.kind in OWN_KINDS
        metadata = {
            **document.raw["metadata"],
            "uid": str(uuid.uuid4()),
            "generation": 1,
            "creationTimestamp": self._wall_clock().strftime("%Y-%m-%dT%H:%M:%SZ"),
            "resourceVersion": self._next_version(),
        }
        raw = {**document.raw, "metadata": metadata}
        if own:
            raw["status"] = NEW_STATUS
        if before is not None:
            known = before["metadata"]
            raised = int(before.get("spec") != document.raw.get("spec"))
            metadata |= {name: known[name] for name in ("uid", "creationTimestamp")}
            metadata["generation"] = known["generation"] + raised
            if own:
                raw["status"] = before.get("status", NEW_STATUS)
        if own:
            try:
                self._state.keep(document.kind, raw)
            except OSError as error:
                # It serves all the same; only a restart would not know how far its rollout was.
                why = f"{document} cannot be kept in the state folder: {error.strerror}"
                self.problems = (*self.problems, Problem(file=document.file, message=why))
        self._objects[document.key] = raw
        return Change(kind=document.kind, raw=raw)

    def _remove(self, key: Key) -> Change:
        raw = self._objects.pop(key)
        self._own.discard(key)
        self._state.drop(key[0], raw)
        return Change(kind=key[0], raw=raw, gone=True)

    def _collect_garbage(self) -> list[Change]:
        """What the operator remembered goes with the object that it was remembered for."""
        living = {raw["metadata"].get("uid") for raw in self._objects.values()}
        orphans = [
            key
            for key in self._own
            if (owners := self._objects[key]["metadata"].get("ownerReferences"))
            and not any(owner["uid"] in living for owner in owners)
        ]
        return [self._remove(key) for key in orphans]

    def _keep(self, kind: Kind, raw: Raw) -> None:
        # At once and not in a thread: a file is small, and the folder must not change in between.
        try:
            self._state.keep(kind, raw)
        except OSError as error:
            raise ClusterError(f"the state folder cannot be written: {error.strerror}") from error

    def _next_version(self) -> str:
        self._version += 1
        return str(self._version)


def _key(kind: Kind, raw: Raw) -> Key:
    return kind, raw["metadata"]["namespace"], raw["metadata"]["name"]


def _is_selected(kind: Kind, raw: Raw) -> bool:
    return kind is not SECRET or SECRET_LABEL in (raw["metadata"].get("labels") or {})


def _wishes(raw: Raw) -> dict[str, Any]:
    """What an author says of an object: all but the status, and of the metadata only labels and annotations."""
    metadata = {name: raw["metadata"].get(name) for name in ("labels", "annotations")}
    return {**{name: value for name, value in raw.items() if name != "status"}, "metadata": metadata}
