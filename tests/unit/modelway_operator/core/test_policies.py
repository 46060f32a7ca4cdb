"""RoutingPolicies: names, references, rules, and what a bad one costs."""

from typing import Any

import pytest

from modelway_contract import config
from modelway_contract.config import ClientCondition, HeaderCondition, Policy, Push, StickyKey, Target, When
from modelway_operator.core.snapshot import Install

from tests.support.builders import a_header_condition, a_model, a_policy, a_rule, a_target
from tests.support.turns import World, condition, message


def pushed(world: World) -> Push:
    push = world.decide().push
    assert push is not None
    return push


def policies(world: World) -> tuple[Policy, ...]:
    base = pushed(world).base
    assert base is not None
    return base.policies


def rule_states(raw: dict[str, Any]) -> dict[str, str]:
    return {rule["name"]: rule["state"] for rule in raw["status"]["rules"]}


def test_a_policy_as_the_gateways_get_it() -> None:
    """Conditions, requirements, targets and sticky keys, with names of headers in lower case."""
    when = {
        "all": [{"header": {"name": "X-Use", "prefix": "con"}}, {"client": {"groups": ["eu"]}}],
        "none": [{"any": [{"client": {"tiers": ["free"]}}, {"header": {"name": "x-b", "present": True}}]}],
    }
    rule = a_rule(
        "legal",
        targets=[a_target("main", weight=90), a_target("control", model="small", weight=10)],
        when=when,
        require={"jurisdictions": ["EU"], "capabilities": ["tools"], "retention": "Limited"},
        sticky={"by": [{"type": "Header", "name": "X-Session"}, {"type": "Client"}]},
    )
    world = World(models=[a_model(), a_model("small")], policies=[a_policy(rules=[rule], models=["chat", "chat-*"])])
    world.turn()
    (policy,) = policies(world)
    (wire,) = policy.rules

    assert ("team", "chat", ("chat", "chat-*")) == (policy.namespace, policy.name, policy.models)
    assert wire.when == When(
        all=(HeaderCondition(name="x-use", prefix="con"), ClientCondition(groups=("eu",))),
        none=(When(any=(ClientCondition(tiers=("free",)), HeaderCondition(name="x-b", present=True))),),
    )
    assert wire.require == config.Require(
        jurisdictions=("EU",), capabilities=("tools",), retention=config.Retention.LIMITED
    )
    assert (StickyKey(header="x-session"), StickyKey()) == wire.sticky
    llama, small = (world.policy()["status"]["rules"][0]["weights"][index]["version"] for index in (0, 1))
    assert (
        Target(name="main", weight=90, stable=f"team/llama@{llama}"),
        Target(name="control", weight=10, stable=f"team/small@{small}"),
    ) == wire.targets
    assert "legal: llama=90 small=10" == world.policy()["status"]["weights"]


def test_b05_a_rule_with_an_unknown_model_answers_503_and_the_others_serve() -> None:
    """It is Invalid with ModelNotFound; it keeps its place, so that no other rule takes its requests."""
    rules = [a_rule("legal", "law", when=a_header_condition()), a_rule("all")]
    world = World(models=[a_model()], policies=[a_policy(rules=rules)])
    world.settle()
    policy = world.policy()
    (wire,) = policies(world)
    base = pushed(world).base

    assert ("False", "ModelNotFound") == condition(policy, "ResolvedRefs")
    assert "LLMModel law" in message(policy, "ResolvedRefs")
    assert ("True", "InvalidRules") == condition(policy, "PartiallyInvalid")
    assert ("True", "Serving") == condition(policy, "Ready")
    assert {"legal": "Invalid", "all": "Active"} == rule_states(policy)
    assert "503" in policy["status"]["rules"][0]["message"]
    assert ["legal", "all"] == [rule.name for rule in wire.rules]
    assert "team/law@absent" == wire.rules[0].targets[0].stable
    assert base is not None
    absent = next(model for model in base.models if model.key == "team/law@absent")
    assert [True] == [backend.discovered for backend in absent.backends]
    assert () == pushed(world).live.state.endpoints


def test_b05_a_target_with_an_unknown_model_leaves_its_share_to_the_others() -> None:
    """Only the bad target drops; the rule is Active and says so."""
    rule = a_rule(targets=[a_target("good", weight=1), a_target("bad", model="nope", weight=99)])
    world = World(models=[a_model()], policies=[a_policy(rules=[rule])])
    world.settle()
    policy = world.policy()
    (wire,) = policies(world)

    assert ["good"] == [target.name for target in wire.rules[0].targets]
    assert {"all": "Active"} == rule_states(policy)
    assert ("False", "ModelNotFound") == condition(policy, "ResolvedRefs")
    assert ("True", "InvalidRules") == condition(policy, "PartiallyInvalid")
    assert "all: llama=100" == policy["status"]["weights"]


def test_b05_what_is_left_without_weight_is_no_target() -> None:
    """A gateway refuses weights that are all 0, so such a rule answers 503 like one without targets."""
    rule = a_rule(targets=[a_target("good", weight=0), a_target("bad", model="nope", weight=99)])
    world = World(models=[a_model()], policies=[a_policy(rules=[rule])])
    world.settle()
    (wire,) = policies(world)

    assert {"all": "Invalid"} == rule_states(world.policy())
    assert [1] == [target.weight for target in wire.rules[0].targets]
    assert "all: 503" == world.policy()["status"]["weights"]


def test_b05_a_model_that_comes_later_is_used() -> None:
    """Nothing has to be applied again."""
    world = World(policies=[a_policy()])
    world.settle()
    before = condition(world.policy(), "ResolvedRefs")
    world.models.append(a_model())
    world.settle()

    assert ("False", "ModelNotFound") == before
    assert ("True", "ResolvedRefs") == condition(world.policy(), "ResolvedRefs")
    assert "ResolvedRefs" in [event.reason for event in world.events]
    assert {"all": "Active"} == rule_states(world.policy())


def test_b06_a_model_of_a_namespace_that_is_not_shared() -> None:
    """RefNotPermitted; it is not even looked for."""
    world = World(
        models=[a_model("secret", namespace="other"), a_model("big", namespace="modelway")],
        policies=[
            a_policy(
                rules=[
                    a_rule("bad", targets=[a_target(model="secret", namespace="other")], when=a_header_condition()),
                    a_rule("good", targets=[a_target(model="big", namespace="modelway")]),
                ]
            )
        ],
    )
    world.settle()
    policy = world.policy()
    (wire,) = policies(world)

    assert ("False", "RefNotPermitted") == condition(policy, "ResolvedRefs")
    assert {"bad": "Invalid", "good": "Active"} == rule_states(policy)
    assert "other/secret@absent" == wire.rules[0].targets[0].stable
    assert wire.rules[1].targets[0].stable.startswith("modelway/big@")


def test_b06_a_namespace_that_is_shared_no_longer_loses_its_routes() -> None:
    """What is remembered of its models serves no other namespace either."""
    rule = a_rule(targets=[a_target(model="big", namespace="modelway")])
    world = World(models=[a_model("big", namespace="modelway")], policies=[a_policy(rules=[rule])])
    world.settle()
    world.install = Install(shared_namespaces=())
    world.settle()
    (wire,) = policies(world)

    assert {"all": "Invalid"} == rule_states(world.policy())
    assert "modelway/big@absent" == wire.rules[0].targets[0].stable


OLD, YOUNG = "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"

WINNERS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "higher priority": ({"priority": 1, "created": YOUNG}, {"priority": 0, "created": OLD}, "a"),
    "older": ({"created": YOUNG}, {"created": OLD}, "b"),
    "by name": ({}, {}, "a"),
}


@pytest.mark.parametrize("case", WINNERS)
def test_b09_of_two_policies_for_one_name_one_serves(case: str) -> None:
    """Higher priority, then older, then by name; the loser is not accepted and says to whom it lost."""
    one, other, winner = WINNERS[case]
    loser = "b" if winner == "a" else "a"
    world = World(models=[a_model()], policies=[a_policy("a", **one), a_policy("b", **other)])
    world.settle()

    assert [winner] == [policy.name for policy in policies(world)]
    assert ("True", "Accepted") == condition(world.policy(winner), "Accepted")
    assert ("False", "Conflicted") == condition(world.policy(loser), "Accepted")
    assert ("True", "InvalidSpec") == condition(world.policy(loser), "Stalled")
    assert f"chat (policy {winner})" in message(world.policy(loser), "Accepted")
    assert ("False", "NotProgrammed") == condition(world.policy(loser), "Ready")


def test_b09_a_policy_that_loses_some_names_serves_the_others() -> None:
    """It is accepted, and partially invalid."""
    world = World(
        models=[a_model()], policies=[a_policy("a", models=["chat", "x"]), a_policy("b", models=["x", "y", "ch*"])]
    )
    world.settle()

    assert {"a": ("chat", "x"), "b": ("y", "ch*")} == {policy.name: policy.models for policy in policies(world)}
    assert ("True", "Accepted") == condition(world.policy("b"), "Accepted")
    assert ("True", "Conflicted") == condition(world.policy("b"), "PartiallyInvalid")
    assert "x (policy a)" in message(world.policy("b"), "PartiallyInvalid")


def test_b09_namespaces_do_not_take_each_others_names() -> None:
    """The same name in another namespace is another name."""
    world = World(models=[a_model(), a_model(namespace="other")], policies=[a_policy(), a_policy(namespace="other")])
    world.settle()

    assert ["other", "team"] == [policy.namespace for policy in policies(world)]


def test_policies_stand_in_order_of_precedence() -> None:
    """The gateway serves the earlier of two that match equally well."""
    world = World(
        models=[a_model()],
        policies=[
            a_policy("a", models=["a*"]),
            a_policy("z", models=["z*"], priority=5),
            a_policy("m", models=["m*"], created="2020-01-01T00:00:00Z"),
        ],
    )

    assert ["z", "m", "a"] == [policy.name for policy in policies(world)]


def test_of_two_models_with_one_name_the_older_has_it() -> None:
    """The younger is not accepted, and no policy can use it."""
    young = a_model("young", modelName="llama", created=YOUNG)
    world = World(models=[young, a_model()], policies=[a_policy(rules=[a_rule("all", "young")])])
    world.settle()
    base = pushed(world).base

    assert ("False", "DuplicateModelName") == condition(world.model("young"), "Accepted")
    assert ("True", "Accepted") == condition(world.model("llama"), "Accepted")
    assert ("False", "ModelNotFound") == condition(world.policy(), "ResolvedRefs")
    assert base is not None
    assert [("team", "llama")] == [(name.namespace, name.name) for name in base.public_names]
    assert base.public_names[0].model.startswith("team/llama@")


def test_models_for_policies_only_have_no_public_name() -> None:
    """Nobody can name them, so they take no name from anyone."""
    world = World(models=[a_model(access="PolicyOnly"), a_model("other", modelName="llama", created=YOUNG)])
    world.settle()
    base = pushed(world).base

    assert base is not None
    assert [("llama", "team/other")] == [(name.name, name.model.partition("@")[0]) for name in base.public_names]


def test_objects_of_another_install_are_left_alone() -> None:
    """They are not served, and their status is somebody else's."""
    world = World(models=[a_model(gateway="other")], policies=[a_policy(gateway="other")])
    plan = world.settle()

    assert plan.push is not None
    assert plan.push.base is not None
    assert ((), ()) == (plan.push.base.models, plan.push.base.policies)
    assert "status" not in world.model("llama")


def test_a_rule_that_can_never_match_is_unreachable() -> None:
    """Where the same condition stands before it; the API server itself sees to the catch-all."""
    rules = [a_rule("one", when=a_header_condition()), a_rule("two", when=a_header_condition()), a_rule("all")]
    world = World(models=[a_model()], policies=[a_policy(rules=rules)])
    world.settle()

    assert {"one": "Active", "two": "Unreachable", "all": "Active"} == rule_states(world.policy())
    assert "rule one" in world.policy()["status"]["rules"][1]["message"]


def test_an_invalid_policy_goes_on_as_its_last_valid_generation() -> None:
    """Also after a restart: its Secret remembers the spec. A person must act, and traffic goes on."""
    world = World(models=[a_model()], policies=[a_policy()])
    world.settle()
    before = policies(world)
    world.edit_policy(rules=[])
    world.settle()
    world.restart()
    world.settle()
    policy = world.policy()

    assert before == policies(world)
    assert ("False", "Invalid") == condition(policy, "Accepted")
    assert ("True", "InvalidSpec") == condition(policy, "Stalled")
    assert ("True", "Serving") == condition(policy, "Ready")
    assert ("False", "Pending") == condition(policy, "Programmed")
    assert "spec.rules" in message(policy, "Accepted")


def test_an_invalid_policy_that_was_never_valid_serves_nothing() -> None:
    """There is nothing to go on with."""
    world = World(models=[a_model()], policies=[a_policy(rules=[])])
    world.settle()

    assert () == policies(world)
    assert ("False", "NotProgrammed") == condition(world.policy(), "Ready")


def test_an_invalid_model_goes_on_as_its_last_valid_generation() -> None:
    """In the same process for everyone, after a restart where a policy remembers it."""
    world = World(models=[a_model()], policies=[a_policy()])
    world.settle()
    key = policies(world)[0].rules[0].targets[0].stable
    world.edit_model("llama", backends=[])
    world.settle()
    base = pushed(world).base
    assert base is not None
    assert [key] == [name.model for name in base.public_names]
    assert ("False", "Invalid") == condition(world.model("llama"), "Accepted")

    world.restart()
    world.settle()
    base = pushed(world).base
    assert base is not None
    assert () == base.public_names
    assert key == policies(world)[0].rules[0].targets[0].stable
    assert [key] == [model.key for model in base.models]
    assert ("False", "ModelNotFound") == condition(world.policy(), "ResolvedRefs")
    assert {"all": "Active"} == rule_states(world.policy())


@pytest.mark.parametrize("finalizers", [[], ["example.com/someone-elses"]])
def test_b44_b46_what_is_being_deleted_counts_as_gone(finalizers: list[str]) -> None:
    """Whatever holds it, and whatever is edited meanwhile; its status is left alone."""
    world = World(models=[a_model()], policies=[a_policy()])
    world.settle()
    going = {"deletionTimestamp": "2026-03-01T00:00:00Z", "finalizers": finalizers}
    world.policies = [{**raw, "metadata": {**raw["metadata"], **going}} for raw in world.policies]
    world.edit_policy(models=["other"])
    plan = world.settle()

    assert () == policies(world)
    assert 1 == world.policy()["status"]["observedGeneration"]
    assert () == plan.statuses


def test_b46_a_finalizer_set_by_a_user_changes_nothing() -> None:
    """Ours has none, and does not look at others'."""
    world = World(models=[a_model(metadata={"finalizers": ["example.com/x"]})], policies=[a_policy()])
    world.settle()

    assert ("True", "Serving") == condition(world.model("llama"), "Ready")
