"""Manifests in, config out; and what comes out is loaded by the gateway's own build."""

import pytest

from modelway_contract.names import Arm
from modelway_gateway.core import heads
from modelway_gateway.core.choose import choose
from modelway_gateway.core.records import Decision, Refusal
from modelway_gateway.core.runtime import Runtime

from tests.golden.manifests import cases, document, golden, world_of
from tests.support.builders import a_backend, a_model, a_policy, a_rollout, a_rule, a_target
from tests.support.seam import load
from tests.support.turns import World
from tests.unit.modelway_gateway.core.asking import ask


@pytest.mark.parametrize("case", cases())
def test_manifests_compile_to_the_golden_config(case: str) -> None:
    """A difference is a change of what every gateway in the world runs: read it, then regenerate."""
    push = world_of(case).decide().push

    assert push is not None
    assert golden(case).read_text() == document(push)


@pytest.mark.parametrize("case", cases())
def test_a_gateway_loads_the_golden_config_without_a_word(case: str) -> None:
    """Nothing refused, nothing found."""
    push = world_of(case).decide().push

    assert push is not None
    assert () == load(push).findings


@pytest.mark.parametrize("case", cases())
def test_no_key_is_in_what_is_shown(case: str) -> None:
    """Neither in statuses nor in Events, findings or the readable part of a push."""
    world = world_of(case)
    plan = world.turn()
    world.turn()
    assert plan.push is not None
    shown = (document(plan.push), world.models, world.policies, world.events, plan.findings, plan.statuses)

    assert "golden-" not in repr(shown)


def decided(runtime: Runtime, model: str = "chat", draw: int = 0, **headers: str) -> Decision:
    return choose(runtime, ask(model, namespace="team", headers=headers), draw)


@pytest.mark.parametrize("value", ["1", "2", "4"])
def test_b05_b06_a_rule_without_a_usable_target_answers_503_at_the_gateway(value: str) -> None:
    """It keeps its requests: the catch-all behind it would send them where its author did not want them."""
    push = world_of("broken").decide().push
    assert push is not None
    decision = decided(load(push), x=value)

    assert decision.rule is not None
    assert decision.rule.name in ("unknown", "forbidden", "weightless")
    assert Refusal.NO_ENDPOINTS == decision.refusal


def test_b05_a_rule_with_one_usable_target_serves_at_the_gateway() -> None:
    """By the backend that can be called."""
    push = world_of("broken").decide().push
    assert push is not None
    decision = decided(load(push), x="3")

    assert decision.offer is not None
    assert "second" == decision.offer.backend.name


def test_b36_a_model_without_its_key_answers_503_at_the_gateway() -> None:
    """Its backend is never called without the key."""
    push = world_of("broken").decide().push
    assert push is not None

    assert Refusal.NO_ENDPOINTS == decided(load(push), "no-key").refusal


def test_a_rollouts_arms_and_shares_at_the_gateway() -> None:
    """Draws below the share get the candidate, the others stable; none at 0, all at 100 %."""
    rules = [a_rule(targets=[a_target(model="v1")])]
    world = World(models=[a_model("v1"), a_model("v2")], policies=[a_policy(rules=rules, rollouts=[a_rollout()])])
    world.settle()
    world.edit_policy(rules=[a_rule(targets=[a_target(model="v2")])])
    shares = {}
    for _ in range(120):
        plan = world.turn(seconds=10)
        assert plan.push is not None
        splits = plan.push.live.state.splits
        runtime = load(plan.push)
        assert () == runtime.findings
        if splits:
            draws = [draw << 40 for draw in range(0, 1 << 40, (1 << 40) // 1000)]
            arms = [decided(runtime, draw=draw).arm for draw in draws[:1000]]
            shares[splits[0].share] = arms.count(Arm.CANDIDATE)

    assert [0, 1000, 5000, 10000] == list(shares)
    assert all(abs(count - share / 10) <= 1 for share, count in shares.items())
    assert (0, 1000) == (shares[0], shares[10000])


@pytest.mark.parametrize("name", sorted(heads._OURS))
def test_p14_no_fixed_header_makes_a_gateway_refuse_a_config(name: str) -> None:
    """What the gateway sets itself, the types refuse, so that one object is left out and not all."""
    world = World(models=[a_model("bad", backends=[a_backend(headers={name: "x"})]), a_model("good")])
    push = world.decide().push
    assert push is not None

    assert {"team/good"} == {key.partition("@")[0] for key in load(push).compiled.models}


@pytest.mark.parametrize("url", ["https://a.example.com/%7Euser", "http://a.example.com//x//", "https://[fd00::1]/v1"])
def test_a_gateway_loads_whatever_url_the_types_let_pass(url: str) -> None:
    """The two sides check an address each in its own way."""
    push = World(models=[a_model(backends=[a_backend(url=url)])]).decide().push
    assert push is not None

    assert 1 == len(load(push).compiled.backends)
