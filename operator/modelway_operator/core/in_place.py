"""Models that are edited in place: who gets the new version at once while a rollout moves others to it step by step.

Rule: only targets with a rollout entry are gated. Whoever edits a model that has one must be told who is not; where
nothing gates it, nobody expects anything else, and nothing is said.
"""

from collections.abc import Iterator, Mapping

from modelway_operator.core.compile.fallbacks import fallbacks_of
from modelway_operator.core.compile.inventory import ModelEntry
from modelway_operator.core.findings import Event, Severity
from modelway_operator.core.reading import PolicyReading, Reading
from modelway_operator.core.snapshot import ObjectKey

_LISTED = 8
"""How many places are named; one would do to see what is the matter."""


def versions_of(reading: Reading) -> Mapping[str, str]:
    """What each model is now, by identity, for the next turn."""
    entries = reading.inventory.entries.values()
    return {entry.head.identity: entry.version for entry in entries if entry.model is not None}


def switched_at_once(reading: Reading, before: Mapping[str, str]) -> tuple[Event, ...]:
    """A warning about each model that is another one now, gated somewhere and switched at once elsewhere."""
    events = []
    for key, entry in reading.inventory.entries.items():
        known = before.get(entry.head.identity)
        if known is None or known == entry.version or entry.model is None:
            continue
        places = [place for policy in reading.policies for place in _places(policy, key)]
        gated = [place for place, is_gated in places if is_gated]
        switched = [*_direct(entry), *(place for place, is_gated in places if not is_gated)]
        if gated and switched:
            events.append(_event(entry, gated, switched))
    return tuple(events)


def _places(policy: PolicyReading, key: ObjectKey) -> Iterator[tuple[str, bool]]:
    """Where a policy uses the model, and whether a rollout moves it there."""
    serving = policy.entry.serving
    if serving is None:
        return
    ref = policy.entry.head.ref
    name = ref.name if ref.namespace == key.namespace else f"{ref.namespace}/{ref.name}"
    for situation in policy.situations:
        if (situation.ref.namespace, situation.ref.name) == key:
            place = f"policy {name}, rule {situation.rule.name}, target {situation.ref.target.name}"
            yield place, situation.snapshot.settings is not None or situation.frozen
    for rule, target in fallbacks_of(serving):
        if (target.model_ref.namespace or ref.namespace, target.model_ref.name) == key:
            yield f"policy {name}, rule {rule.name}, as a fallback", False


def _direct(entry: ModelEntry) -> list[str]:
    name = entry.public_name
    return [f"clients that ask for {name.name}"] if name is not None else []


def _event(entry: ModelEntry, gated: list[str], switched: list[str]) -> Event:
    message = (
        f"edited in place: a rollout moves {_listed(gated)}, but these have the new version at once: "
        f"{_listed(switched)}; make an LLMModel for each version, or let a rollout entry gate each target"
    )
    return Event(about=entry.head.ref, severity=Severity.WARNING, reason="SwitchedAtOnce", message=message)


def _listed(places: list[str]) -> str:
    more = [f"{len(places) - _LISTED} more"] if len(places) > _LISTED else []
    return "; ".join([*places[:_LISTED], *more])
