"""Who runs what: the gateways' answers, read against the configs that were pushed.

Rule: an object is programmed when every ready gateway runs *a* config with this object's present part in it, so that a
change of one object never makes another one wait. In the turn in which a part is new nobody can have it yet; nothing is
said of it before the gateways had a chance.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

from modelway_contract.config import Ack, ExamplesFit
from modelway_operator.core.document import Document
from modelway_operator.core.memory import KNOWN_CONFIGS, ConfigKey
from modelway_operator.core.objects import Head
from modelway_operator.core.snapshot import Replica, Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How far the gateways are with one object."""

    ready: int
    acknowledged: int
    rejected: int
    message: str
    """What one that refused it said."""
    fresh: bool
    """Its part is new in this turn."""

    @property
    def programmed(self) -> bool:
        """Every ready gateway runs it, and there is one."""
        return self.ready > 0 and self.acknowledged == self.ready


class Acknowledgements:
    """All answers of this turn."""

    def __init__(self, document: Document, snapshot: Snapshot) -> None:
        before = snapshot.memory.known
        self._document = document
        self._ready = tuple(replica for replica in snapshot.replicas if replica.ready)
        self._fits = tuple((each, _by_policy(each.ack)) for each in sorted(self._ready, key=lambda each: each.name))
        self._seen = before
        known = {key: revisions for key, revisions in before.items() if key != document.key}
        recent = islice(known.items(), max(0, len(known) - KNOWN_CONFIGS + 1), None)
        self.known: Mapping[ConfigKey, Mapping[str, str]] = {**dict(recent), document.key: document.revisions}
        """For the next turn."""

    def tally(self, identity: str) -> Tally:
        """How far the gateways are with this object."""
        revision = self._document.revisions.get(identity)
        missing = [replica for replica in self._ready if not self._runs(replica, identity, revision)]
        refusals = [replica.rejected for replica in missing if replica.rejected is not None]
        acknowledged = len(self._ready) - len(missing) if revision is not None else 0
        new = not any(revisions.get(identity) == revision for revisions in self._seen.values())
        return Tally(
            ready=len(self._ready),
            acknowledged=acknowledged,
            rejected=len(refusals),
            message=refusals[0] if refusals else "",
            fresh=revision is not None and new and bool(missing),
        )

    def examples(self, about: Head) -> tuple[ExamplesFit, ...]:
        """What is said of this policy's examples by the first gateway that runs its present part and says anything."""
        revision = self._document.revisions.get(about.identity)
        runs = (fits for replica, fits in self._fits if self._runs(replica, about.identity, revision))
        return next((mine for fits in runs if (mine := fits.get((about.ref.namespace, about.ref.name)))), ())

    def _runs(self, replica: Replica, identity: str, revision: str | None) -> bool:
        if replica.ack is None or revision is None:
            return False
        revisions = self.known.get(ConfigKey(replica.ack.base, replica.ack.credentials))
        return revisions is not None and revisions.get(identity) == revision


def _by_policy(ack: Ack | None) -> Mapping[tuple[str, str], tuple[ExamplesFit, ...]]:
    found: dict[tuple[str, str], tuple[ExamplesFit, ...]] = {}
    for fit in ack.examples if ack is not None else ():
        policy = (fit.namespace, fit.policy)
        found[policy] = (*found.get(policy, ()), fit)
    return found
