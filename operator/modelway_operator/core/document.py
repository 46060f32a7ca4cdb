"""The config: everything of this turn put together, with the revision of each object's own part.

Rule: equal objects give equal bytes, so everything stands in an order of its own and nothing in that of a snapshot. And
a share in the live part changes no object's revision: a step of a rollout rewrites one status, not all.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from modelway_contract import codec
from modelway_contract.config import Base, Credentials, Endpoints, LiveState, Model, PublicName
from modelway_operator.core.compile.clients import Clients
from modelway_operator.core.compile.inventory import Inventory, ModelEntry
from modelway_operator.core.compile.models import CompiledModel, credentials_of
from modelway_operator.core.memory import ConfigKey
from modelway_operator.core.objects import digest_of
from modelway_operator.core.outcomes import PolicyOutcome
from modelway_operator.core.snapshot import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """The three sections, and what each object has in them."""

    base: Base
    credentials: Credentials
    state: LiveState
    key: ConfigKey
    size: int
    """Bytes of all sections, unpacked."""
    revisions: Mapping[str, str]
    """Digest of each object's own part, by identity; objects that are not in the config have none."""


def document_of(
    inventory: Inventory, outcomes: Sequence[PolicyOutcome], clients: Clients, snapshot: Snapshot
) -> Document:
    """Put the config together."""
    compiled: dict[str, CompiledModel] = {}
    names: list[PublicName] = []
    revisions: dict[str, str] = {}
    for entry in inventory.entries.values():
        if not entry.usable or entry.compiled is None:
            continue
        compiled[entry.compiled.wire.key] = entry.compiled
        name = entry.public_name
        names += [name] if name is not None else []
        revisions[entry.head.identity] = _revision(entry.compiled.digest, codec.encode(name) if name else b"")
    stand_ins: dict[str, Model] = {}
    for outcome in outcomes:
        compiled |= outcome.models
        stand_ins |= {model.key: model for model in outcome.stand_ins}
        if outcome.wire is not None:
            revisions[outcome.entry.head.identity] = _revision("", codec.encode(outcome.wire))
    models = {**stand_ins, **{key: model.wire for key, model in compiled.items()}}
    install = snapshot.install
    base = Base(
        gateway=install.gateway,
        shared_namespaces=tuple(sorted(install.shared_namespaces)),
        anonymous_namespace=install.anonymous_namespace,
        models=tuple(models[key] for key in sorted(models)),
        public_names=tuple(sorted(names, key=lambda name: (name.namespace, name.name))),
        policies=tuple(outcome.wire for outcome in outcomes if outcome.wire is not None),
    )
    sources, keys = credentials_of(tuple(key for model in compiled.values() for key in model.keys))
    credentials = Credentials(sources=(*sources, *clients.sources), backends=keys, clients=clients.clients)
    state = LiveState(
        splits=tuple(
            sorted(
                (split for outcome in outcomes for split in outcome.splits),
                key=lambda split: (split.namespace, split.policy, split.rule, split.target),
            )
        ),
        endpoints=tuple(_endpoints(compiled.values(), snapshot)),
    )
    encoded = codec.encode(base)
    return Document(
        base=base,
        credentials=credentials,
        state=state,
        key=ConfigKey(codec.digest_base(base), codec.digest_credentials(credentials)),
        size=len(encoded) + len(codec.encode(credentials)) + len(codec.encode(state)),
        revisions=revisions,
    )


def endpoint_count(entry: ModelEntry, name: str, snapshot: Snapshot) -> int:
    """How many addresses a backend of the model has; a URL counts as one, a closed backend as none."""
    for backend in entry.compiled.backends if entry.compiled is not None else ():
        if backend.name == name:
            if backend.problem is not None:
                return 0
            return 1 if backend.service is None else len(snapshot.endpoints.get(backend.service, ()))
    return 0


def _endpoints(models: Iterable[CompiledModel], snapshot: Snapshot) -> list[Endpoints]:
    found = [
        Endpoints(
            backend=backend.id,
            addresses=tuple(sorted((address.ip, address.port) for address in set(snapshot.endpoints[backend.service]))),
        )
        for model in models
        for backend in model.backends
        if backend.service is not None and snapshot.endpoints.get(backend.service)
    ]
    return sorted(found, key=lambda each: each.backend)


def _revision(digest: str, encoded: bytes) -> str:
    return "sha256:" + hashlib.sha256(digest_of(digest).encode() + encoded).hexdigest()
