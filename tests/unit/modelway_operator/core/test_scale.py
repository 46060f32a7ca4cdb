"""One among many: what one object costs the others."""

from typing import Any

import pytest

from tests.support.builders import a_header_condition, a_model, a_policy, a_rule, a_target, some_models
from tests.support.turns import World, condition

MANY = 500


@pytest.mark.parametrize(
    "bad", [{"backends": []}, {"backends": [{"name": "x"}]}, {"nonsense": 1}, {"gateway": None, "backends": 3}]
)
def test_p14_one_bad_object_among_500_leaves_499_in_the_config(bad: dict[str, Any]) -> None:
    """And only its own status says so."""
    world = World(models=list(some_models([f"m-{number}" for number in range(MANY)])))
    world.models[250] = a_model("m-250", **bad)
    plan = world.turn()
    world.turn()

    assert plan.push is not None
    assert plan.push.base is not None
    assert {f"m-{number}" for number in range(MANY) if number != 250} == {each.name for each in plan.push.base.models}
    assert ("False", "Invalid") == condition(world.model("m-250"), "Accepted")
    assert MANY - 1 == sum(condition(raw, "Ready") == ("True", "Serving") for raw in world.models)


def test_p14_one_bad_policy_among_500_leaves_499_in_the_config() -> None:
    """The same of policies, of which one breaks by what it refers to, and one by itself."""
    policies = [a_policy(f"p-{number}", models=[f"n-{number}"]) for number in range(MANY)]
    policies[100] = a_policy("p-100", models=["n-100"], rules=[])
    policies[200] = a_policy("p-200", models=["n-200"], rules=[a_rule("r", "nope"), a_rule("s", "nope")])
    policies[300] = a_policy("p-300", models=["n-300"], rules=[a_rule("r", "nope")])
    world = World(models=[a_model()], policies=policies)
    plan = world.turn()

    assert plan.push is not None
    assert plan.push.base is not None
    served = {each.name for each in plan.push.base.policies}
    assert {f"p-{number}" for number in range(MANY)} - served == {"p-100", "p-200"}


def test_one_edit_among_500_compiles_one() -> None:
    """What did not change comes from the turn before."""
    names = [f"m-{number}" for number in range(MANY)]
    policies = [
        a_policy(f"p-{name}", models=[name], rules=[a_rule("a", name, when=a_header_condition()), a_rule("b", name)])
        for name in names[:50]
    ]
    world = World(models=list(some_models(names)), policies=policies)
    for _ in range(4):
        rest = world.turn()
    world.edit_model("m-7", description="new")
    edited = world.turn()

    assert 0 == rest.counts.compiled
    assert 1 <= edited.counts.compiled <= 15


def test_memory_forgets_what_is_gone() -> None:
    """It does not grow with the number of objects there ever were."""
    world = World()
    for number in range(60):
        rule = a_rule(targets=[a_target(model=f"m-{number}")])
        world.models, world.policies = [a_model(f"m-{number}")], [a_policy(f"p-{number}", rules=[rule])]
        world.turn()

    assert len(world.memory.parts) < 20
    assert 1 == len(world.memory.valid_models)
    assert len(world.memory.known) <= 32
