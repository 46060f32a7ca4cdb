"""Rollouts from objects to gateways: what the engine decides, seen from outside."""

from typing import Any

import pytest

from modelway_operator.core.decide import wanted
from modelway_operator.core.rollout.model import Counts, Measurement

from tests.support.builders import a_model, a_policy, a_rollout, a_rule, a_target
from tests.support.seam import load
from tests.support.turns import World, condition, message

BAD = Measurement(candidate=Counts(total=500, bad=400), stable=Counts(total=500, bad=0))


def pointing_at(model: str, **fields: Any) -> list[dict[str, Any]]:
    return [a_rule(targets=[a_target(model=model)], **fields)]


def a_world(*, rollouts: bool = True) -> World:
    entries: dict[str, Any] = {"rollouts": [a_rollout()]} if rollouts else {}
    world = World(
        models=[a_model("v1"), a_model("v2"), a_model("v3")], policies=[a_policy(rules=pointing_at("v1"), **entries)]
    )
    world.settle()
    return world


def rollout(world: World) -> dict[str, Any]:
    (state,) = world.policy()["status"]["rollouts"]
    found: dict[str, Any] = state
    return found


def until(world: World, phase: str, *, turns: int = 600) -> None:
    """Turn until the rollout is in this phase."""
    for _ in range(turns):
        if world.policy()["status"]["rollouts"] and rollout(world)["phase"] == phase:
            return
        world.turn(seconds=10)
    raise AssertionError(f"never {phase}, last {rollout(world)['phase']}: {rollout(world)['message']}")


def test_a22_entry_and_reference_changed_in_one_commit_are_gated() -> None:
    """What a target serves is remembered without an entry, so this is no initial deploy."""
    world = a_world(rollouts=False)
    world.edit_policy(rules=pointing_at("v2"), rollouts=[a_rollout()])
    world.turn()

    assert "all: v1=100 v2=0" == world.policy()["status"]["weights"]
    assert "Preflight" == rollout(world)["phase"]
    assert ["RolloutStarted"] == [event.reason for event in world.events]
    until(world, "Stable")
    assert "all: v2=100" == world.policy()["status"]["weights"]


@pytest.mark.parametrize("lost", ["status", "secret", "memory"])
def test_a22_holds_with_one_of_the_memories_lost(lost: str) -> None:
    """Status and Secret each know what serves."""
    world = a_world(rollouts=False)
    if lost == "status":
        world.policies = [{key: value for key, value in raw.items() if key != "status"} for raw in world.policies]
    elif lost == "secret":
        world.secrets = {}
    else:
        world.restart()
    world.edit_policy(rules=pointing_at("v2"), rollouts=[a_rollout()])
    world.turn()

    assert "all: v1=100 v2=0" == world.policy()["status"]["weights"]


def test_a_rollout_runs_to_its_end() -> None:
    """Step by step, and then the candidate is what is stable; weights of the last push are those of the status."""
    world = a_world()
    world.edit_policy(rules=pointing_at("v2"))
    seen = []
    for _ in range(600):
        world.turn(seconds=10)
        share = world.pushed.live.state.splits[0].share if world.pushed and world.pushed.live.state.splits else None
        if share is not None and share not in seen:
            seen.append(share)
        assert share is None or share == round(rollout(world)["weight"] * 100)
    assert [0, 1000, 5000, 10000] == seen
    assert "all: v2=100" == world.policy()["status"]["weights"]
    assert condition(world.policy(), "RollingOut") is None


def test_a_rollback_pushes_shares_and_no_other_config() -> None:
    """What failed is written into the config when the candidate leaves it, not while gateways must give it up."""
    world = a_world()
    world.edit_policy(rules=pointing_at("v2"))
    until(world, "Soaking")
    before = world.pushed
    world.counts = BAD
    while world.pushed is None or any(split.share for split in world.pushed.live.state.splits):
        world.turn(seconds=10)
    assert before is not None
    assert before.base_digest == world.pushed.base_digest
    until(world, "RolledBack")
    world.turn()
    assert world.pushed.base is not None
    assert 1 == len(world.pushed.base.policies[0].rules[0].targets[0].failed)


BLUE_GREEN: dict[str, Any] = {"type": "BlueGreen", "steps": None}


@pytest.mark.parametrize("is_good", [True, False])
def test_a_blue_green_cut_over_is_one_push_and_so_is_the_way_back(*, is_good: bool) -> None:
    """0, 100 % and nothing between, on every gateway; `Ready` stays True, and the columns say what is going on."""
    world = a_world(rollouts=False)
    world.edit_policy(rules=pointing_at("v2"), rollouts=[a_rollout(**BLUE_GREEN)])
    until(world, "Preflight")
    world.turn()
    world.turn()
    assert "is measured before the cut-over" in rollout(world)["message"]
    world.pushes.clear()
    until(world, "Baking")
    assert "all: v1=0 v2=100" == world.policy()["status"]["weights"]
    assert "Baking" == world.policy()["status"]["summary"]["rollout"]
    world.counts = world.counts if is_good else BAD
    until(world, "Stable" if is_good else "RolledBack")
    world.turn()

    shares = [split.share for push in world.pushes for split in push.live.state.splits]
    assert [10_000] == sorted({share for share in shares if share})
    assert ("True", "Serving") == condition(world.policy(), "Ready")
    assert ("all: v2=100" if is_good else "all: v1=100") == world.policy()["status"]["weights"]
    if not is_good:
        assert ("True", "RolledBack") == condition(world.policy(), "Stalled")
        assert "errors: candidate" in message(world.policy(), "Stalled")


def test_a_bad_candidate_goes_back_and_git_differs_from_what_serves() -> None:
    """Stalled with RolledBack, Ready all the while; pointing back at v1 clears it."""
    world = a_world()
    world.edit_policy(rules=pointing_at("v2"))
    until(world, "Soaking")
    world.counts = BAD
    until(world, "RolledBack")
    world.turn()

    assert "all: v1=100" == world.policy()["status"]["weights"]
    assert ("True", "RolledBack") == condition(world.policy(), "Stalled")
    assert ("True", "Serving") == condition(world.policy(), "Ready")
    world.edit_policy(rules=pointing_at("v1"))
    world.turn()
    world.turn()
    assert condition(world.policy(), "Stalled") is None


def test_a_failed_version_stays_out_at_every_target_of_the_policy() -> None:
    """Another target of the same policy does not try it again."""
    rules = [a_rule("one", targets=[a_target(model="v1")], when={"all": [{"header": {"name": "x", "present": True}}]})]
    rules += pointing_at("v1")
    world = World(
        models=[a_model("v1"), a_model("v2")],
        policies=[a_policy(rules=rules, rollouts=[a_rollout("a", rule="one"), a_rollout("b")])],
    )
    world.settle()
    world.edit_policy(rules=[{**rules[0], "targets": [a_target(model="v2")]}, rules[1]])
    world.counts = BAD
    for _ in range(60):
        world.turn(seconds=10)
    assert {"a": "RolledBack", "b": "Stable"} == {
        each["name"]: each["phase"] for each in world.policy()["status"]["rollouts"]
    }
    world.counts = Measurement(candidate=Counts(total=500, bad=0), stable=Counts(total=500, bad=0))
    world.edit_policy(rules=[{**rule, "targets": [a_target(model="v2")]} for rule in rules])
    for _ in range(30):
        world.turn(seconds=10)

    assert "one: v1=100; all: v1=100" == world.policy()["status"]["weights"]


def test_rule7_the_same_move_is_one_push_and_another_one_is_shown_as_waiting() -> None:
    """Both splits rise in one push; the third target keeps what it serves, and the status says for whom it waits."""
    header = {"all": [{"header": {"name": "x", "present": True}}]}

    def rules(one: str, two: str, three: str) -> list[dict[str, Any]]:
        targets = [a_target("main", model=one), a_target("second", model=two)]
        return [a_rule("first", targets=targets, when=header), a_rule("all", targets=[a_target(model=three)])]

    entries = [
        a_rollout("a", rule="first"),
        a_rollout("b", rule="first", target="second"),
        a_rollout("c"),
    ]
    world = World(
        models=[a_model("v1"), a_model("v2"), a_model("v3")],
        policies=[a_policy(rules=rules("v1", "v1", "v1"), rollouts=entries)],
    )
    world.settle()
    world.edit_policy(rules=rules("v2", "v2", "v3"))
    world.turn()
    for _ in range(60):
        world.turn(seconds=10)
        assert world.pushed is not None
        assert len({split.share for split in world.pushed.live.state.splits if split.rule == "first"}) <= 1
        phases = {each["name"]: each["phase"] for each in world.policy()["status"]["rollouts"]}
        if phases["c"] != "Queued":
            break
        assert "c: Queued" in world.policy()["status"]["summary"]["rollout"]
        assert "c: v1" in message(world.policy(), "RollingOut")
        assert "waits for rollout a, rollout b" in message(world.policy(), "RollingOut")
    assert {"a": "Stable", "b": "Stable", "c": "Preflight"} == phases


def test_without_an_entry_a_target_switches_at_once_and_a_warning_says_so() -> None:
    """Nothing is gated where nobody asked for it."""
    world = a_world(rollouts=False)
    world.edit_policy(rules=pointing_at("v2"))
    world.settle()

    assert "all: v2=100" == world.policy()["status"]["weights"]
    assert [("Warning", "TargetSwitched")] == [(event.severity, event.reason) for event in world.events]


def test_a_model_edited_in_place_switches_targets_without_an_entry_and_direct_callers() -> None:
    """The policy is not touched, and still gets the new version; a warning names it."""
    world = World(models=[a_model("v1")], policies=[a_policy(rules=pointing_at("v1"))])
    world.settle()
    before = world.pushed
    world.edit_model("v1", parameters={"temperature": "0.2"})
    world.settle()
    after = world.pushed

    assert before is not None
    assert after is not None
    assert before.base is not None
    assert after.base is not None
    (model,) = after.base.models
    assert model.key != before.base.models[0].key
    assert model.key == after.base.policies[0].rules[0].targets[0].stable == after.base.public_names[0].model
    assert ["TargetSwitched"] == [event.reason for event in world.events]


def test_an_entry_that_does_not_work_here_holds_its_target() -> None:
    """Were it ignored, the candidate would get all traffic at once."""
    world = a_world()
    world.edit_policy(rules=pointing_at("v2"), rollouts=[a_rollout(interval="1s")])
    world.settle()

    assert "all: v1=100" == world.policy()["status"]["weights"]
    assert ("True", "InvalidRules") == condition(world.policy(), "PartiallyInvalid")
    assert "interval" in message(world.policy(), "PartiallyInvalid")
    world.edit_policy(rollouts=[a_rollout()])
    until(world, "Baking")
    assert "all: v1=0 v2=100" == world.policy()["status"]["weights"]


def test_a_policy_that_turns_invalid_mid_way_goes_on_on_its_last_spec() -> None:
    """The last valid generation keeps running, and its rollout with it."""
    world = a_world()
    world.edit_policy(rules=pointing_at("v2"))
    until(world, "Soaking")
    world.edit_policy(rules=[])
    world.turn()
    assert ("False", "Invalid") == condition(world.policy(), "Accepted")
    until(world, "Stable")

    assert "all: v2=100" == world.policy()["status"]["weights"]


def test_measurements_and_probes_are_asked_for_when_they_are_needed() -> None:
    """The probe of a candidate before any traffic, counts of both arms once there is some."""
    world = a_world()
    assert ((), ()) == ((needs := wanted(world.snapshot())).probes, needs.measurements)
    world.edit_policy(rules=pointing_at("v2"))
    world.turn()
    needs = wanted(world.snapshot())
    assert ["team/v2"] == [key.partition("@")[0] for key in needs.probes]
    until(world, "Soaking")
    for _ in range(12):
        world.turn(seconds=10)
    needs = wanted(world.snapshot())
    assert () == needs.probes
    assert {("errors", "team/v1", "team/v2")} == {
        (each.metric, each.stable.model, each.candidate.model) for each in needs.measurements
    }


def test_f18_a_candidate_that_is_deleted_goes_back() -> None:
    """And a policy that is deleted leaves nothing in the config."""
    world = a_world()
    world.edit_policy(rules=pointing_at("v2"))
    until(world, "Soaking")
    world.models = [raw for raw in world.models if raw["metadata"]["name"] != "v2"]
    until(world, "RolledBack")
    world.turn()
    assert "all: v1=100" == world.policy()["status"]["weights"]

    world.policies = []
    plan = world.turn()
    assert plan.push is not None
    assert plan.push.base is not None
    assert ((), ()) == (plan.push.base.policies, plan.push.live.state.splits)


OTHER_EDITS: dict[str, dict[str, Any]] = {
    "when": {"rules": pointing_at("v2", when={"all": [{"header": {"name": "x", "present": True}}]})},
    "require": {"rules": pointing_at("v2", require={"jurisdictions": ["EU"]})},
    "weight": {"rules": [a_rule(targets=[a_target(model="v2", weight=7)])]},
    "strategy": {"rollouts": [a_rollout(minIntervals=7, stepDeadline="3h")]},
    "bake": {"rollouts": [a_rollout(minIntervals=5, bake={"intervals": 9})]},
    "priority": {"priority": 5},
    "another name": {"models": ["chat", "chat-too"]},
}


@pytest.mark.parametrize("edit", OTHER_EDITS)
def test_f19_any_edit_but_that_of_the_model_restarts_nothing(edit: str) -> None:
    """The same rollout, the same step, the same evidence; only the model is gated."""
    world = a_world()
    world.edit_policy(rules=pointing_at("v2"), rollouts=[a_rollout(minIntervals=5)])
    until(world, "Soaking")
    for _ in range(12):
        world.turn(seconds=10)
    before = rollout(world)
    world.edit_policy(**OTHER_EDITS[edit])
    world.edit_model("v2", description="edited", access="PolicyOnly")
    world.turn()
    after = rollout(world)

    for key in ("phase", "rolloutId", "weight", "step", "attempt", "startedAt", "measuredFrom", "stable", "candidate"):
        assert before[key] == after[key], key
    assert after["intervals"] >= before["intervals"] > 0


def test_a_step_rewrites_one_status_only() -> None:
    """Weights are in the live part: no other object's revision moves with them."""
    world = a_world()
    world.policies.append(a_policy("other", models=["other"], rules=pointing_at("v1")))
    world.edit_policy(rules=pointing_at("v2"))
    for _ in range(3):
        world.turn(seconds=10)
    written = set()
    for _ in range(600):
        written |= {write.about.name for write in world.turn(seconds=10).statuses}
        if rollout(world)["phase"] == "Baking":
            break

    assert {"chat"} == written


def test_a_rule_that_cannot_serve_splits_nothing() -> None:
    """What gateways are told of shares is about targets that they have."""
    world = a_world()
    weighted = [a_target("other", model="nobody"), a_target(model="v2", weight=0)]
    world.edit_policy(rules=[a_rule(targets=weighted)])
    world.turn()

    assert world.pushed is not None
    assert () == load(world.pushed).findings
    assert () == world.pushed.live.state.splits
