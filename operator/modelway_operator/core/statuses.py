"""Which statuses have to be written, and what is told with them.

Rule: at rest nothing is. A status is written only where the document differs from the one that stands, and Events about
an object go with the write that they explain.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from modelway_operator.core.acknowledgements import Acknowledgements
from modelway_operator.core.compile.fallbacks import fallbacks_of
from modelway_operator.core.compile.inventory import ModelEntry
from modelway_operator.core.document import Document
from modelway_operator.core.findings import Event
from modelway_operator.core.objects import Head
from modelway_operator.core.outcomes import PolicyOutcome
from modelway_operator.core.parts import Parts
from modelway_operator.core.plan import StatusWrite
from modelway_operator.core.reading import Reading, once
from modelway_operator.core.snapshot import ObjectKey, RawObject, Snapshot
from modelway_operator.core.status_model import model_status
from modelway_operator.core.status_policy import can_be_called, policy_status

Told = tuple[Mapping[str, Any], tuple[Event, ...]]
"""A status document, and the Events that go with it."""


class Statuses:
    """The statuses of one turn, collected."""

    def __init__(
        self,
        document: Document,
        answers: Acknowledgements,
        *,
        refused: str | None,
        parts: Parts,
        snapshot: Snapshot,
    ) -> None:
        self._document = document
        self._answers = answers
        self._refused = refused
        self._parts = parts
        self._snapshot = snapshot
        self.writes: list[StatusWrite] = []
        self.events: list[Event] = []

    def add_models(self, reading: Reading) -> None:
        """Judge all models."""
        users = _used_by(reading)
        for key, entry in reading.inventory.entries.items():
            identity = entry.head.identity
            tally, used_by = self._answers.tally(identity), users.get(key, ())
            revision = self._document.revisions.get(identity, "")
            seen = (*_seen(entry, self._snapshot), tally, revision, used_by, self._refused)
            make = partial(
                model_status,
                entry,
                tally,
                revision=revision,
                used_by=used_by,
                snapshot=self._snapshot,
                refused=self._refused,
            )
            told = self._parts.get(f"status of {identity}", seen, make)
            if told is not None:
                self._add(entry.head, entry.raw, told)

    def add_policies(self, reading: Reading, outcomes: Sequence[PolicyOutcome]) -> None:
        """Judge all policies."""
        for policy, outcome in zip(reading.policies, outcomes, strict=True):
            head = outcome.entry.head
            tally, can_serve = self._answers.tally(head.identity), can_be_called(outcome, self._snapshot)
            revision = self._document.revisions.get(head.identity, "")
            fits = self._answers.examples(head)
            seen = (policy.quiet, tally, revision, can_serve, fits, self._refused)
            key = seen if policy.quiet is not None else None
            make = partial(
                policy_status,
                outcome,
                tally,
                revision=revision,
                can_serve=can_serve,
                fits=fits,
                snapshot=self._snapshot,
                refused=self._refused,
            )
            self._add(head, outcome.entry.raw, once(self._parts, "status of", outcome.entry, key, make))
            self.events += outcome.events

    def _add(self, head: Head, raw: RawObject, told: Told) -> None:
        status, events = told
        if raw.get("status") != status:
            self.writes.append(StatusWrite(about=head.ref, resource_version=head.resource_version, status=status))
            self.events += events


def _seen(entry: ModelEntry, snapshot: Snapshot) -> tuple[object, ...]:
    """What a model's status is made of, beside the gateways' answers."""
    backends = entry.compiled.backends if entry.compiled is not None else ()
    endpoints = tuple(len(snapshot.endpoints.get(each.service, ())) for each in backends if each.service is not None)
    status = entry.raw.get("status")
    return (entry.head, entry.model, entry.compiled, entry.problems, entry.duplicate_of, status, endpoints)


def _used_by(reading: Reading) -> Mapping[ObjectKey, Sequence[str]]:
    """Policies by the model that they use, named with their namespace where that is another."""
    users: dict[ObjectKey, dict[str, None]] = {}
    for policy in reading.policies:
        ref = policy.entry.head.ref
        serving = policy.entry.serving
        places = [ObjectKey(situation.ref.namespace, situation.ref.name) for situation in policy.situations]
        for _, fallback in fallbacks_of(serving) if serving is not None else ():
            places.append(ObjectKey(fallback.model_ref.namespace or ref.namespace, fallback.model_ref.name))
        for key in places:
            name = ref.name if ref.namespace == key.namespace else f"{ref.namespace}/{ref.name}"
            users.setdefault(key, {})[name] = None
    return {key: tuple(sorted(names)) for key, names in users.items()}
