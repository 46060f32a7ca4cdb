"""What a policy must remember beyond its status: one Secret of the operator's own, owned by the policy.

It holds the specs of the versions that serve or may be returned to (by version, so that a spec is kept once), what each
target serves and which versions failed there, and the last valid spec of the policy itself.

Rule: specs and references, never key bytes. A Secret rather than the status, because a status is bounded and anybody
with a hand on the subresource can edit it; what is read back here is checked like any other input, and counts as not
there when it makes no sense.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from modelway_contract.names import SECRET_LABEL
from modelway_operator.api.llmmodel import LLMModel
from modelway_operator.api.parsing import parse_llmmodel
from modelway_operator.core.findings import ObjectRef
from modelway_operator.core.plan import SecretWrite
from modelway_operator.core.rollout.model import TargetKey, Version
from modelway_operator.core.snapshot import ObjectKey, Secret
from modelway_operator.errors import InvalidObjectError

REMEMBERED_USE = "remembered"
"""Value of the label `modelway.dev/secret` on these Secrets."""

MAX_BYTES = 900 * 1024
"""A Secret holds 1 MiB; what does not fit is left out, versions that serve last of all."""

_POLICY = "policy.json"
_TARGETS = "targets.json"
_FIELD = re.compile(r"([a-z0-9][-a-z0-9]*)_([a-z0-9][-a-z0-9.]*)_([0-9a-z]{1,64})[.]json")


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetMemory:
    """What one target serves, outside of any rollout, and what failed there."""

    serving: Version | None = None
    failed: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """The content of one policy's Secret, as far as it makes sense."""

    specs: Mapping[Version, str] = field(default_factory=dict)
    """Specs by version, as JSON."""
    targets: Mapping[tuple[str, str], TargetMemory] = field(default_factory=dict)
    """By rule and target."""
    policy_spec: Mapping[str, Any] | None = None
    """The last valid spec of the policy."""


def secret_name(policy: str) -> str:
    """The Secret's name."""
    return f"modelway-{policy}-versions"


def remembered_secret(policy: ObjectRef, secrets: Mapping[ObjectKey, Secret]) -> Secret | None:
    """The policy's Secret; one of another use is not ours."""
    secret = secrets.get(ObjectKey(policy.namespace, secret_name(policy.name)))
    return secret if secret is not None and secret.use == REMEMBERED_USE else None


def read_remembered(secret: Secret | None) -> Remembered:
    """What is remembered, as far as it makes sense."""
    if secret is None:
        return Remembered()
    specs: dict[Version, str] = {}
    for name, data in secret.data.items():
        version = _version_of_field(name)
        if version is not None:
            specs[version] = data.decode("utf-8", "replace")
    spec = _json(secret.data.get(_POLICY))
    return Remembered(
        specs=specs,
        targets=dict(_targets(_json(secret.data.get(_TARGETS)))),
        policy_spec=spec if isinstance(spec, dict) else None,
    )


def remembered_write(
    owner: ObjectRef,
    *,
    policy_spec: object,
    targets: Mapping[TargetKey, TargetMemory],
    specs: Mapping[Version, str],
    secrets: Mapping[ObjectKey, Secret],
) -> SecretWrite | None:
    """The Secret to write, or None where it says so already. `specs` come in order of importance."""
    data = {_POLICY: _bytes(policy_spec), _TARGETS: _bytes([_entry(key, targets[key]) for key in _sorted(targets)])}
    size = sum(map(len, data.values()))
    for version, spec in specs.items():
        size += len(spec)
        if size > MAX_BYTES:
            break
        data[_field_of(version)] = spec.encode()
    name = secret_name(owner.name)
    before = secrets.get(ObjectKey(owner.namespace, name))
    if before is not None and before.use == REMEMBERED_USE and dict(before.data) == data:
        return None
    labels = {SECRET_LABEL: REMEMBERED_USE}
    return SecretWrite(namespace=owner.namespace, name=name, owner=owner, labels=labels, data=data)


def spec_text(model: LLMModel) -> str:
    """A spec as it is remembered: the same text for the same spec."""
    return json.dumps(model.spec.as_manifest(), sort_keys=True, separators=(",", ":"))


def read_spec(version: Version, text: str) -> LLMModel | None:
    """The model of a remembered spec; None where it makes no sense (any more)."""
    namespace, _, name = version.model.partition("/")
    try:
        return parse_llmmodel({"metadata": {"namespace": namespace, "name": name}, "spec": json.loads(text)})
    except (InvalidObjectError, ValueError, RecursionError):
        return None


def _sorted(targets: Mapping[TargetKey, TargetMemory]) -> list[TargetKey]:
    return sorted(targets, key=lambda key: (key.rule, key.target))


def _entry(key: TargetKey, memory: TargetMemory) -> dict[str, object]:
    entry: dict[str, object] = {"rule": key.rule, "target": key.target}
    if memory.serving is not None:
        entry |= {"model": memory.serving.model, "version": memory.serving.digest}
    if memory.failed:
        entry["failed"] = sorted(memory.failed)
    return entry


def _targets(entries: object) -> list[tuple[tuple[str, str], TargetMemory]]:
    found = []
    for entry in entries if isinstance(entries, list) else []:
        if not isinstance(entry, dict) or not isinstance(entry.get("rule"), str):
            continue
        if not isinstance(entry.get("target"), str):
            continue
        model, version, failed = entry.get("model"), entry.get("version"), entry.get("failed")
        serving = None
        if isinstance(model, str) and isinstance(version, str) and _FIELD.fullmatch(_field_of(Version(model, version))):
            serving = Version(model, version)
        digests = frozenset(each for each in failed if isinstance(each, str)) if isinstance(failed, list) else None
        found.append(((entry["rule"], entry["target"]), TargetMemory(serving=serving, failed=digests or frozenset())))
    return found


def _field_of(version: Version) -> str:
    namespace, _, name = version.model.partition("/")
    return f"{namespace}_{name}_{version.digest}.json"


def _version_of_field(name: str) -> Version | None:
    parts = _FIELD.fullmatch(name)
    return Version(f"{parts[1]}/{parts[2]}", parts[3]) if parts is not None else None


def _bytes(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _json(data: bytes | None) -> object:
    try:
        return json.loads(data) if data is not None else None
    except (ValueError, RecursionError):
        return None
