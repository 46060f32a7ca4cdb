"""What the operator decides depends on what there is, not on what it was told of how that came to be."""

import random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelway_contract.config import Push
from modelway_operator.core.decide import decide
from modelway_operator.gather import Gatherer
from modelway_operator.kinds import LLM_MODEL, ROUTING_POLICY, Kind
from modelway_operator.settings import load_settings
from modelway_operator.store import Store

from tests.support.builders import a_model, a_policy, a_rule, a_target

INSTALL = load_settings(["--namespace", "team", "--metrics-source", "none"], {})
NAMES = ((LLM_MODEL, "a"), (LLM_MODEL, "b"), (ROUTING_POLICY, "chat"))


histories = st.lists(
    st.tuples(st.sampled_from(NAMES), st.one_of(st.none(), st.integers(0, 3))), min_size=1, max_size=14
)


def an_event(kind: Kind, name: str, content: int, *, version: int, life: int) -> dict[str, Any]:
    metadata = {"resourceVersion": str(version)}
    uid, generation = f"uid-{name}-{life}", version
    if kind is LLM_MODEL:
        return a_model(name, uid=uid, generation=generation, metadata=metadata, description=f"content {content}")
    rules = [a_rule(targets=[a_target(model="ab"[content % 2])])]
    return a_policy(name, uid=uid, generation=generation, metadata=metadata, rules=rules)


def decided(history: list[tuple[tuple[Kind, str], int | None]], told: set[int]) -> tuple[Push | None, list[Any]]:
    """The push and the statuses after these of all events were told."""
    store = Store()
    lives: dict[tuple[Kind, str], int] = {}
    for number, (place, content) in enumerate(history, start=1):
        kind, name = place
        life = lives.setdefault(place, 0)
        if content is None:
            lives[place] += 1
        if number not in told:
            continue
        if content is None:
            store.discard(kind, f"uid-{name}-{life}")
        else:
            store.put(kind, an_event(kind, name, content, version=number, life=life))
    plan = decide(Gatherer(store, INSTALL).snapshot(now=1_800_000_000.0))
    return plan.push, sorted(((str(one.about), one.status) for one in plan.statuses), key=lambda one: one[0])


def last_ones(history: list[tuple[tuple[Kind, str], int | None]]) -> set[int]:
    """The last event of each life of each object: its deletion, or its last version."""
    last: dict[tuple[tuple[Kind, str], int], int] = {}
    lives: dict[tuple[Kind, str], int] = {}
    for number, (place, content) in enumerate(history, start=1):
        life = lives.setdefault(place, 0)
        last[place, life] = number
        if content is None:
            lives[place] += 1
    return set(last.values())


@given(history=histories, seed=st.integers(0, 2**16))
@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
def test_p3_half_of_the_events_lost_but_the_last_of_each_object_is_decided_alike(
    history: list[tuple[tuple[Kind, str], int | None]], seed: int
) -> None:
    """500 histories of edits, deletions and returns: the same push, to the byte, and the same statuses."""
    everything = set(range(1, len(history) + 1))
    lost = {number for number in everything if random.Random(seed * 31 + number).random() < 0.5}
    told = (everything - lost) | last_ones(history)

    assert decided(history, everything) == decided(history, told)
