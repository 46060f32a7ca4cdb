"""The Secret that makes a client: its labels and annotations are what the operator reads.

Rule: what a Secret may not say is refused here, since of a Secret that the operator cannot use its author would learn
from a log only.
"""

import re
import secrets
from dataclasses import dataclass
from typing import Any, Final

from modelway_cli.errors import UsageError
from modelway_contract.config import Priority
from modelway_contract.names import (
    CHOOSES_PRIORITY_ANNOTATION,
    CLIENT_KEY_FIELD,
    GROUPS_ANNOTATION,
    PRIORITY_ANNOTATION,
    SECRET_LABEL,
    TIER_ANNOTATION,
    SecretUse,
)

KEY_PREFIX: Final = "mw-"
"""Tells a scanner for leaked keys what it has found."""
KEY_BYTES: Final = 32

_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_WORD: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewClient:
    """A client to be made; raises `UsageError` where a name makes no sense."""

    name: str
    namespace: str | None = None
    """None: wherever the manifest is applied."""
    groups: tuple[str, ...] = ()
    tier: str | None = None
    priority: Priority | None = None
    """None: nothing is said, which means Standard."""
    chooses_priority: bool = False

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise UsageError(
                f"{self.name!r} is no name for a Secret: at most 253 lower-case letters, digits, '-' and '.'"
            )
        if self.namespace is not None and not _NAMESPACE.fullmatch(self.namespace):
            raise UsageError(f"--namespace {self.namespace!r}: at most 63 lower-case letters, digits and '-'")
        for option, words in (("--groups", self.groups), ("--tier", () if self.tier is None else (self.tier,))):
            for word in words:
                if not _WORD.fullmatch(word):
                    raise UsageError(f"{option} {word!r}: at most 63 letters, digits, '-', '_' and '.'")


def new_key() -> str:
    """A key that nobody can guess."""
    return KEY_PREFIX + secrets.token_urlsafe(KEY_BYTES)


def parse_groups(text: str) -> tuple[str, ...]:
    """The groups of `a,b`, each once, in the order given."""
    return tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def secret_manifest(client: NewClient, key: str) -> dict[str, Any]:
    """The Secret, ready for `kubectl apply`."""
    annotations = {}
    if client.groups:
        annotations[GROUPS_ANNOTATION] = ",".join(client.groups)
    if client.tier is not None:
        annotations[TIER_ANNOTATION] = client.tier
    if client.priority is not None:
        annotations[PRIORITY_ANNOTATION] = client.priority.value
    if client.chooses_priority:
        annotations[CHOOSES_PRIORITY_ANNOTATION] = "true"
    metadata: dict[str, Any] = {"name": client.name}
    if client.namespace is not None:
        metadata["namespace"] = client.namespace
    metadata["labels"] = {SECRET_LABEL: SecretUse.CLIENT.value}
    if annotations:
        metadata["annotations"] = annotations
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "type": "Opaque",
        "stringData": {CLIENT_KEY_FIELD: key},
    }
