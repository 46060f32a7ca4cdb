"""What is read of a raw object before, and whether or not, its spec can be read.

Rule: nothing here fails. An object whose head makes no sense still has a place, so that its author can be told.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from modelway_operator.core.findings import Kind, ObjectRef
from modelway_operator.core.snapshot import RawObject

DEFAULT_GATEWAY = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Who an object is, which install it is for, and how old it is."""

    ref: ObjectRef
    gateway: str
    generation: int
    resource_version: str
    created: int
    """Seconds since 1970; 0 where it is not known."""
    deleting: bool
    """Its author asked for it to go; a finalizer of someone else may still hold it."""

    @property
    def identity(self) -> str:
        """What tells it from every other object, also one of the same name later."""
        return self.ref.uid or str(self.ref)

    @property
    def seniority(self) -> tuple[int, str, str]:
        """Sorts older before younger, then by name."""
        return (self.created, self.ref.namespace, self.ref.name)


def head_of(kind: Kind, raw: RawObject) -> Head:
    """Read who it is."""
    meta = _mapping(raw.get("metadata"))
    gateway = _mapping(raw.get("spec")).get("gateway")
    generation = meta.get("generation")
    return Head(
        ref=ObjectRef(
            kind=kind,
            namespace=_text(meta.get("namespace")) or "default",
            name=_text(meta.get("name")),
            uid=_text(meta.get("uid")),
        ),
        gateway=gateway if isinstance(gateway, str) else DEFAULT_GATEWAY,
        generation=generation if isinstance(generation, int) else 1,
        resource_version=_text(meta.get("resourceVersion")),
        created=created_seconds(_text(meta.get("creationTimestamp"))),
        deleting=meta.get("deletionTimestamp") is not None,
    )


def wishes_of(raw: RawObject) -> RawObject:
    """What its author says: all but the metadata, which only the head is made of, and the status, which is ours."""
    return {key: value for key, value in raw.items() if key not in ("metadata", "status")}


def identity_of(head: Head) -> RawObject:
    """The metadata that a spec needs to be read apart from its object."""
    ref = head.ref
    return {"namespace": ref.namespace, "name": ref.name, "uid": ref.uid}


def digest_of(value: object) -> str:
    """A digest of plain data, whatever the order of keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def created_seconds(timestamp: str) -> int:
    """The moment of a `creationTimestamp`, 0 where there is none."""
    try:
        moment = datetime.fromisoformat(timestamp)
    except ValueError:
        return 0
    return max(0, int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
