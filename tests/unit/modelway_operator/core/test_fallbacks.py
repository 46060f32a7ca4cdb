"""Fallbacks: what gateways get of them, and what is said of those that they do not get."""

from typing import Any

import pytest

from modelway_contract.config import Fallback, Policy, RetryOn
from modelway_operator.core.snapshot import Install

from tests.support.builders import Raw, a_model, a_policy, a_rollout, a_rule, a_target
from tests.support.turns import World, condition, message

MODELS = ("llama", "small", "tiny")


def asking(*names: str | tuple[str, str], **fields: Any) -> Raw:
    """A `fallback` that asks these models, a pair being a namespace and a name."""
    refs = [{"name": each} if isinstance(each, str) else {"namespace": each[0], "name": each[1]} for each in names]
    return {"targets": [{"modelRef": ref} for ref in refs], **fields}


def a_world(fallback: Raw, **rule: Any) -> World:
    models = [a_model(name) for name in MODELS] + [a_model("big", namespace="modelway"), a_model(namespace="other")]
    return World(models=models, policies=[a_policy(rules=[a_rule(**rule, fallback=fallback)])])


def policy_of(world: World) -> Policy:
    push = world.decide().push
    assert push is not None
    assert push.base is not None
    (policy,) = push.base.policies
    return policy


def fallback_of(world: World) -> Fallback:
    (rule,) = policy_of(world).rules
    assert rule.fallback is not None
    return rule.fallback


def asked(world: World) -> list[str]:
    """The models of the fallback, without versions."""
    return [key.partition("@")[0] for key in fallback_of(world).models]


def test_a_fallback_as_the_gateways_get_it() -> None:
    """Keys of models in order; what is not given is what the reference page says."""
    world = a_world(asking("small", ("modelway", "big"), onErrors=["Timeout", "RateLimited"], maxAttempts=5))
    plain = a_world(asking("small"))

    assert ["team/small", "modelway/big"] == asked(world)
    assert ((RetryOn.TIMEOUT, RetryOn.RATE_LIMITED), 5) == (
        fallback_of(world).on_errors,
        fallback_of(world).max_attempts,
    )
    assert (tuple(RetryOn), 3) == (fallback_of(plain).on_errors, fallback_of(plain).max_attempts)
    assert Fallback(max_attempts=1) == fallback_of(a_world({"maxAttempts": 1}))
    assert None is policy_of(World(models=[a_model()], policies=[a_policy()])).rules[0].fallback


LEFT_OUT: dict[str, tuple[Raw, list[str], str, str | None]] = {
    "b05 unknown": (asking("small", "nope"), ["team/small"], "fallback 2: there is no LLMModel nope", "ModelNotFound"),
    "b06 not shared": (asking(("other", "llama")), [], "namespace other is not shared", "RefNotPermitted"),
    "b07 twice": (asking("small", "tiny", "small"), ["team/small", "team/tiny"], "fallback 3: LLMModel small", None),
    "b07 spelt twice": (asking("small", ("team", "small")), ["team/small"], "name each model once", None),
    "b08 itself": (asking("llama", "small"), ["team/small"], "fallback 1: LLMModel llama is the rule's only", None),
    "b08 spelt out": (asking(("team", "llama")), [], "name another one", None),
}


@pytest.mark.parametrize("case", LEFT_OUT)
def test_b05_b06_b07_b08_a_fallback_that_cannot_help_is_left_out(case: str) -> None:
    """The rule serves with the others, and says what is wrong with this one and what to do."""
    fallback, left, said, reason = LEFT_OUT[case]
    world = a_world(fallback)
    world.settle()
    policy = world.policy()
    (rule,) = policy["status"]["rules"]

    assert left == asked(world)
    assert said in rule["message"]
    assert said in message(policy, "PartiallyInvalid")
    assert ("False", reason) if reason else ("True", "ResolvedRefs") == condition(policy, "ResolvedRefs")
    assert ("True", "Serving") == condition(policy, "Ready")
    assert "Active" == rule["state"]


def test_b08_one_of_several_targets_may_be_the_fallback_of_the_others() -> None:
    """Requests of the other target go on to it; a target without weight gets no requests, so it does not count."""
    both = a_world(
        asking("small"), targets=[a_target("main", weight=90), a_target("control", model="small", weight=10)]
    )
    only = a_world(asking("llama"), targets=[a_target("main", weight=1), a_target("off", model="small", weight=0)])
    both.settle()

    assert ["team/small"] == asked(both)
    assert None is condition(both.policy(), "PartiallyInvalid")
    assert [] == asked(only)


def test_a_rule_without_a_usable_target_has_no_fallback() -> None:
    """It answers 503, as its status says: a fallback helps where a model fails, not where there is none."""
    world = a_world(asking("small"), targets=[a_target(model="nope")])
    world.settle()

    assert None is policy_of(world).rules[0].fallback
    assert "503" in world.policy()["status"]["rules"][0]["message"]


def test_a_fallback_that_comes_later_is_used() -> None:
    """Nothing has to be applied again; and one that goes is left out again."""
    world = a_world(asking("later"))
    world.settle()
    before = asked(world)
    world.models.append(a_model("later"))
    world.settle()
    with_it = asked(world)
    world.models.pop()
    world.settle()

    assert ([], ["team/later"], []) == (before, with_it, asked(world))


def test_p21_a_namespace_that_is_shared_no_longer_loses_its_fallbacks() -> None:
    """In the next decision, without an edit of the policy."""
    world = a_world(asking(("modelway", "big"), "small"))
    world.settle()
    before = asked(world)
    world.install = Install(shared_namespaces=())
    world.settle()

    assert (["modelway/big", "team/small"], ["team/small"]) == (before, asked(world))


def test_a_model_counts_the_policies_that_fall_back_to_it() -> None:
    """Whoever wants to delete it sees who would miss it."""
    world = a_world(asking("small", ("modelway", "big")))
    world.settle()

    assert {"count": 1, "policies": ["chat"]} == world.model("small")["status"]["referencedBy"]
    assert {"count": 1, "policies": ["team/chat"]} == world.model("big")["status"]["referencedBy"]


def test_a_fallback_is_the_model_as_it_is_now_while_a_rollout_gates_its_target() -> None:
    """Only targets with a rollout entry move step by step."""
    rules = [a_rule("a", targets=[a_target()], when={"all": [{"priority": "Batch"}]}), a_rule("b", "small")]
    rules[1]["fallback"] = asking("llama")
    world = World(
        models=[a_model(), a_model("small")], policies=[a_policy(rules=rules, rollouts=[a_rollout(rule="a")])]
    )
    world.settle()
    gated, other = policy_of(world).rules
    world.edit_model("llama", parameters={"temperature": "0.2"})
    world.turn()
    gated_after, other_after = policy_of(world).rules

    assert gated.targets[0].stable == gated_after.targets[0].stable
    assert other.fallback is not None
    assert other_after.fallback is not None
    assert (gated.targets[0].stable,) == other.fallback.models
    assert (gated_after.targets[0].candidate,) == other_after.fallback.models


def edited(**spec: Any) -> World:
    """A model that a rollout gates in one rule, and that another rule falls back to, edited in place."""
    rules = [a_rule("a", targets=[a_target()], when={"all": [{"priority": "Batch"}]}), a_rule("b", "small")]
    rules[1]["fallback"] = asking("llama")
    world = World(
        models=[a_model(**spec), a_model("small")],
        policies=[a_policy(rules=rules, rollouts=[a_rollout(rule="a")]), a_policy("plain", models=["plain"])],
    )
    world.settle()
    world.edit_model("llama", parameters={"temperature": "0.2"})
    world.events.clear()
    world.turn()
    return world


def test_a_model_edited_in_place_says_who_has_the_new_version_at_once() -> None:
    """Once, on the model: what is gated, and direct callers, targets without an entry and fallbacks, which are not."""
    world = edited(access="Direct")
    world.turn()
    told = [event for event in world.events if event.reason == "SwitchedAtOnce"]

    assert [("LLMModel", "llama")] == [(event.about.kind, event.about.name) for event in told]
    gated, _, switched = told[0].message.partition("at once:")
    assert "policy chat, rule a, target main" in gated
    for place in ("ask for llama", "chat, rule b, as a fallback", "policy plain, rule all, target llama"):
        assert place in switched
    assert "LLMModel for each version" in switched


def test_a_model_that_nothing_gates_or_nobody_else_uses_says_nothing() -> None:
    """There is nothing that its author could have expected otherwise."""
    gated = World(
        models=[a_model(access="PolicyOnly")],
        policies=[a_policy(rules=[a_rule(targets=[a_target()])], rollouts=[a_rollout()])],
    )
    plain = World(models=[a_model()], policies=[a_policy()])
    for world in (gated, plain):
        world.settle()
        world.edit_model("llama", parameters={"temperature": "0.2"})
        world.turn()
        world.turn()

        assert "SwitchedAtOnce" not in [event.reason for event in world.events]
