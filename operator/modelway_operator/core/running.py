"""What the gateways are known to run, asked by name, for objects that have lost everything else that remembers them.

An object that is made anew, or restored without its status, is another one to the API server: its status is empty, and
the Secret that its predecessor owned goes with that. To the gateways it is the same by name. Rule: this is the last
source, after the status and the Secret; it says what serves and what failed, and nothing rises on its word.
"""

from collections.abc import Mapping

from modelway_operator.core.compile.inventory import Inventory
from modelway_operator.core.remembered import TargetMemory
from modelway_operator.core.rollout.model import Version
from modelway_operator.core.snapshot import ObjectKey, Snapshot


def running_targets(
    policy: ObjectKey, inventory: Inventory, snapshot: Snapshot
) -> Mapping[tuple[str, str], TargetMemory]:
    """By rule and target; of a version that no present model is any more, nothing can be said that would help."""
    config = snapshot.pushed or snapshot.bundle
    if config is None or config.base is None:
        return {}
    found = (each for each in config.base.policies if (each.namespace, each.name) == policy)
    running = next(found, None)
    return {
        (rule.name, target.name): TargetMemory(
            serving=_present(target.stable, inventory), failed=frozenset(target.failed)
        )
        for rule in (running.rules if running is not None else ())
        for target in rule.targets
    }


def _present(key: str, inventory: Inventory) -> Version | None:
    model, _, digest = key.rpartition("@")
    namespace, _, name = model.partition("/")
    entry = inventory.entries.get(ObjectKey(namespace, name))
    return Version(model, digest) if entry is not None and entry.version == digest else None
