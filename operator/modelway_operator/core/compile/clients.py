"""Clients, out of Secrets labelled `modelway.dev/secret: client`.

Rule: only the hash of a key goes on from here. Of two clients with one key the older keeps it; otherwise whoever can
write a Secret could take another's key out of service.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from modelway_contract.config import Client, Priority
from modelway_contract.names import (
    CHOOSES_PRIORITY_ANNOTATION,
    CLIENT_KEY_FIELD,
    GROUPS_ANNOTATION,
    PRIORITY_ANNOTATION,
    TIER_ANNOTATION,
    SecretUse,
)
from modelway_operator.core.compile.credentials import MAX_KEY_BYTES, key_text
from modelway_operator.core.findings import Area, Finding, Kind, ObjectRef
from modelway_operator.core.objects import created_seconds
from modelway_operator.core.snapshot import ObjectKey, Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Clients:
    """Everyone who may ask, and whose Secret does not say so."""

    clients: tuple[Client, ...]
    sources: tuple[str, ...]
    findings: tuple[Finding, ...]


def compile_clients(secrets: Mapping[ObjectKey, Secret]) -> Clients:
    """Read all clients' Secrets, older ones first."""
    holders: dict[str, ObjectKey] = {}
    clients: list[Client] = []
    sources: list[str] = []
    findings: list[Finding] = []
    for key, secret in _by_age((key, secret) for key, secret in secrets.items() if secret.use == SecretUse.CLIENT):
        text = key_text(secret.data.get(CLIENT_KEY_FIELD, b""))
        if text is None or " " in text:
            findings.append(
                _finding(
                    key,
                    secret,
                    "InvalidClientKey",
                    f"the client gets no access: {CLIENT_KEY_FIELD} must be one line of printable ASCII without "
                    f"spaces, not empty and at most {MAX_KEY_BYTES} bytes",
                )
            )
            continue
        digest = hashlib.sha256(text.encode()).hexdigest()
        holder = holders.setdefault(digest, key)
        if holder is not key:
            whose = f"client {holder.name}" if holder.namespace == key.namespace else "a client of another namespace"
            findings.append(
                _finding(
                    key,
                    secret,
                    "DuplicateClientKey",
                    f"the client gets no access: {whose} is older and has the same key; give each client its own",
                )
            )
            continue
        priority, chooses = _priority(secret), _chooses(secret)
        findings += [_finding(key, secret, "InvalidPriority", why) for why in (priority[1], chooses[1]) if why]
        clients.append(
            Client(
                key_sha256=digest,
                namespace=key.namespace,
                name=key.name,
                groups=_groups(secret.annotations.get(GROUPS_ANNOTATION, "")),
                tier=secret.annotations.get(TIER_ANNOTATION, "").strip() or None,
                priority=priority[0],
                chooses_priority=chooses[0],
            )
        )
        sources.append(f"client:{key.namespace}/{key.name} {secret.uid} {secret.resource_version}")
    clients.sort(key=lambda client: (client.namespace, client.name))
    return Clients(clients=tuple(clients), sources=tuple(sorted(sources)), findings=tuple(findings))


def _by_age(entries: Iterable[tuple[ObjectKey, Secret]]) -> list[tuple[ObjectKey, Secret]]:
    return sorted(entries, key=lambda entry: (created_seconds(entry[1].creation_timestamp), entry[0]))


def _groups(text: str) -> tuple[str, ...]:
    return tuple(sorted({group.strip() for group in text.split(",") if group.strip()}))


def _priority(secret: Secret) -> tuple[Priority, str]:
    """The priority of the client's requests, and what is wrong with what the annotation says."""
    text = secret.annotations.get(PRIORITY_ANNOTATION, Priority.STANDARD).strip()
    try:
        return Priority(text), ""
    except ValueError:
        words = ", ".join(Priority)
        return Priority.STANDARD, f"the client's priority is Standard: {PRIORITY_ANNOTATION} must be one of {words}"


def _chooses(secret: Secret) -> tuple[bool, str]:
    """Whether its requests may name another priority, and what is wrong with what the annotation says."""
    text = secret.annotations.get(CHOOSES_PRIORITY_ANNOTATION, "false").strip()
    if text in ("true", "false"):
        return text == "true", ""
    return False, f'the client may not choose priorities: {CHOOSES_PRIORITY_ANNOTATION} must be "true" or "false"'


def _finding(key: ObjectKey, secret: Secret, reason: str, message: str) -> Finding:
    about = ObjectRef(kind=Kind.SECRET, namespace=key.namespace, name=key.name, uid=secret.uid)
    return Finding(about=about, area=Area.NOTE, reason=reason, message=message)
