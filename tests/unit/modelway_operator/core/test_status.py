"""Statuses as kstatus, kubectl and Argo CD read them."""

from typing import Any

import pytest

from modelway_operator.core.status import bounded

from tests.support.builders import a_model, a_policy, a_rollout, a_rule, a_target, some_models
from tests.support.turns import START, World, condition, message


def a_world() -> World:
    world = World(models=[a_model()], policies=[a_policy()])
    world.settle()
    return world


def generation(raw: dict[str, Any]) -> tuple[int, int]:
    return raw["metadata"]["generation"], raw["status"]["observedGeneration"]


def test_the_four_conditions_are_there_from_first_sight_and_no_other() -> None:
    """Each with the generation that it is about."""
    world = a_world()
    for raw in (world.model("llama"), world.policy()):
        conditions = raw["status"]["conditions"]
        assert ["Accepted", "ResolvedRefs", "Programmed", "Ready"] == [each["type"] for each in conditions]
        assert {1} == {each["observedGeneration"] for each in conditions}
        assert {"True"} == {each["status"] for each in conditions}


def test_a_new_object_is_pending_until_the_gateways_had_a_chance() -> None:
    """What moves is written in the first turn, the verdicts in the next."""
    world = World(models=[a_model()], policies=[a_policy()])
    world.turn()

    assert "status" not in world.model("llama"), "the schema's own default says Pending"
    assert ("Unknown", "Pending") == condition(world.policy(), "Ready")
    assert 0 == world.policy()["status"]["observedGeneration"]
    assert "all: llama=100" == world.policy()["status"]["weights"]


@pytest.mark.parametrize("deaf", [{"gateway-0"}, {"gateway-0", "gateway-1"}])
def test_p6_never_ready_for_a_generation_that_the_gateways_lack(deaf: set[str]) -> None:
    """At every moment: where status and object agree on the generation, Ready says that it runs."""
    world = a_world()
    world.deaf = deaf
    world.edit_model("llama", description="new")
    world.edit_policy(models=["chat", "more"])
    for _ in range(3):
        world.turn()
        for raw in (world.model("llama"), world.policy()):
            current = generation(raw)
            assert current[0] > current[1] or condition(raw, "Ready") == ("False", "NotProgrammed")
    reason = "Pending" if len(deaf) == 2 else "PartiallyAcknowledged"
    assert ("False", reason) == condition(world.policy(), "Programmed")
    assert (2, 2) == generation(world.policy())

    world.deaf = set()
    world.settle()
    for raw in (world.model("llama"), world.policy()):
        assert ("True", "Serving") == condition(raw, "Ready")
        assert (2, 2) == generation(raw)


def test_p6_an_edit_that_is_taken_at_once_is_one_write() -> None:
    """Ready does not flicker: generation and verdict move together, once the gateways run it."""
    world = a_world()
    since = world.model("llama")["status"]["conditions"][3]["lastTransitionTime"]
    world.edit_model("llama", description="new")
    writes = [write for _ in range(4) for write in world.turn().statuses if write.about.kind == "LLMModel"]

    assert 1 == len(writes)
    assert 2 == writes[0].status["observedGeneration"]
    assert since == world.model("llama")["status"]["conditions"][3]["lastTransitionTime"]


def test_last_transition_time_moves_only_with_the_status() -> None:
    """Another reason or message is no transition."""
    world = a_world()
    world.rejections = {"gateway-0": "$.base: no", "gateway-1": "$.base: no"}
    world.edit_model("llama", description="new")
    world.turn()
    world.turn()
    first = world.model("llama")["status"]["conditions"][2]
    world.rejections["gateway-0"] = world.rejections["gateway-1"] = "$.base: still no"
    world.turn(seconds=60)
    second = world.model("llama")["status"]["conditions"][2]

    assert first["message"] != second["message"]
    assert first["lastTransitionTime"] == second["lastTransitionTime"]
    assert first["lastTransitionTime"] != "1970-01-01T00:00:00Z"


def test_p9_a_refusal_is_in_the_status_and_told_once() -> None:
    """With what the gateway said; the objects that it runs already stay Programmed."""
    world = a_world()
    world.models.append(a_model("other"))
    world.rejections = {"gateway-1": "$.base.models[1]: no"}
    world.turn()
    world.turn()
    world.turn()

    assert ("False", "RejectedByGateway") == condition(world.model("other"), "Programmed")
    assert "$.base.models[1]: no" in message(world.model("other"), "Programmed")
    assert "1 of 2 gateways" in message(world.model("other"), "Programmed")
    assert ("True", "Programmed") == condition(world.model("llama"), "Programmed")
    told = [event.about.name for event in world.events if event.reason == "RejectedByGateway"]
    assert ["other"] == told


def test_without_gateways_nothing_is_programmed_and_nothing_is_ready() -> None:
    """NoGateways, for it is true of every object."""
    world = World(models=[a_model()], policies=[a_policy()], gateways={})
    world.settle()
    for raw in (world.model("llama"), world.policy()):
        assert ("False", "NoGateways") == condition(raw, "Programmed")
        assert ("False", "NotProgrammed") == condition(raw, "Ready")


def test_a_change_from_elsewhere_does_not_take_ready_away() -> None:
    """A replica that is behind with a generation that was Ready serves what it had."""
    world = a_world()
    world.gateways["gateway-2"] = None
    world.deaf = {"gateway-2"}
    world.settle()
    policy = world.policy()

    assert ("False", "PartiallyAcknowledged") == condition(policy, "Programmed")
    assert ("True", "Serving") == condition(policy, "Ready")
    assert {"ready": 3, "acknowledged": 2, "rejected": 0, "message": ""} == policy["status"]["gateways"]
    assert "2/3" == policy["status"]["summary"]["gateways"]


def test_one_edit_rewrites_no_other_status() -> None:
    """An object's revision is of its own part."""
    world = World(models=list(some_models(["a", "b", "c"])), policies=[a_policy(rules=[a_rule("all", "a")])])
    world.settle()
    world.edit_model("b", description="new")
    written = {write.about.name for _ in range(4) for write in world.turn().statuses}

    assert {"b"} == written


def test_a_restarted_operator_writes_nothing_at_rest() -> None:
    """It reads off the gateways' answers that everything is where it should be."""
    world = a_world()
    world.restart()
    plans = [world.turn(), world.turn()]

    assert [(), ()] == [plan.statuses for plan in plans]
    assert [(), ()] == [plan.secrets for plan in plans]
    assert [(), ()] == [plan.events for plan in plans]


@pytest.mark.parametrize(
    "edited",
    [
        {},
        {"conditions": "broken"},
        {"rollouts": [{"name": "x"}], "rules": 3},
        {"conditions": [{"type": "Ready", "status": "True", "reason": "Mine"}], "observedGeneration": 99},
    ],
)
def test_b39_a_status_that_a_user_edited_is_written_anew(edited: dict[str, Any]) -> None:
    """And the object serves on as it did."""
    world = a_world()
    before = world.pushed
    world.models = [{**raw, "status": dict(edited)} for raw in world.models]
    world.policies = [{**raw, "status": dict(edited)} for raw in world.policies]
    world.settle()

    assert before == world.pushed
    for raw in (world.model("llama"), world.policy()):
        assert ("True", "Serving") == condition(raw, "Ready")
        assert (1, 1) == generation(raw)


def test_b39_wiping_the_status_brings_no_failed_version_back() -> None:
    """What serves and what failed is remembered in the policy's Secret too."""
    world = World(
        models=[a_model("v1"), a_model("v2")],
        policies=[a_policy(rules=[a_rule(targets=[a_target(model="v1")])], rollouts=[a_rollout()])],
    )
    world.settle()
    world.edit_policy(rules=[a_rule(targets=[a_target(model="v2")])])
    world.probe = type(world.probe)(ok=False, status=500, message="down")
    for _ in range(40):
        world.turn(seconds=60)
    assert ("True", "RolledBack") == condition(world.policy(), "Stalled")

    world.policies = [{key: value for key, value in raw.items() if key != "status"} for raw in world.policies]
    world.probe = type(world.probe)(ok=True, status=200)
    for _ in range(40):
        world.turn(seconds=60)

    assert "all: v1=100" == world.policy()["status"]["weights"]
    assert ("True", "RolledBack") == condition(world.policy(), "Stalled")


def test_columns_are_text() -> None:
    """For kubectl get."""
    world = World(
        models=[a_model("law-v1"), a_model("law-v2"), a_model("llama-70b")],
        policies=[
            a_policy(
                rules=[
                    a_rule(
                        "legal-eu",
                        targets=[
                            a_target("main", model="law-v1", weight=90),
                            a_target("control", model="llama-70b", weight=10),
                        ],
                    )
                ],
                rollouts=[a_rollout(rule="legal-eu", steps=[{"weight": 5}, {"weight": 25}])],
            )
        ],
    )
    world.settle()
    rule = world.policy()["spec"]["rules"][0]
    targets = [a_target("main", model="law-v2", weight=90), rule["targets"][1]]
    world.edit_policy(rules=[{**rule, "targets": targets}])
    world.turn()
    world.turn()
    status = world.policy()["status"]

    assert "legal-eu: law-v1=85.5 law-v2=4.5 llama-70b=10" == status["weights"]
    assert {"gateways": "2/2", "rollout": "Progressing 5 % (1/2)"} == status["summary"]
    weights = status["rules"][0]["weights"]
    assert [("law-v1", "85.5", ""), ("law-v2", "4.5", "Candidate"), ("llama-70b", "10", "")] == [
        (each["model"], each["weight"], each["reason"]) for each in weights
    ]
    assert ("True", "Progressing") == condition(world.policy(), "RollingOut")
    assert ("True", "Serving") == condition(world.policy(), "Ready")


def test_a_share_keeps_the_time_it_was_given() -> None:
    """`since` moves with the weight, not with each write."""
    world = a_world()
    world.edit_policy(models=["chat", "x"])
    world.turn(seconds=600)
    world.settle()
    (share,) = world.policy()["status"]["rules"][0]["weights"]

    assert "2027-01-15T08:00:00Z" == share["since"]
    assert START == 1_800_000_000.0


@pytest.mark.parametrize(("text", "expected"), [("abc", "abc"), ("abcd", "abcd"), ("abcde", "abc…")])
def test_long_text_is_cut_where_it_would_be_refused(text: str, expected: str) -> None:
    """With a sign that it was."""
    assert expected == bounded(text, 4)


def test_a_status_stays_within_64_kib() -> None:
    """Whatever 64 rules of 16 targets have to say."""
    import json

    rules = [
        a_rule(f"rule-{number}", targets=[a_target(f"t-{index}", model="no-" + "x" * 55) for index in range(16)])
        | {"when": {"all": [{"header": {"name": f"x-{number}", "present": True}}]}}
        for number in range(64)
    ]
    world = World(models=[a_model()], policies=[a_policy(rules=rules)])
    world.settle()

    assert len(json.dumps(world.policy()["status"])) < 64 * 1024
