"""Names: whose they are and which of several that fit answers."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelway_contract.config import Base
from modelway_gateway.core.choose import choose
from modelway_gateway.core.records import Refusal
from modelway_gateway.core.route import Glob

from tests.support.gateway import a_base, a_model, a_policy, a_rule, a_runtime, a_target, public
from tests.unit.modelway_gateway.core.asking import ask

LLAMA = a_model("llama")
RULE = a_rule(a_target(LLAMA))


def policies(*entries: tuple[str, str, tuple[str, ...]], **changes: object) -> Base:
    """A base with policies given as (namespace, name, models), in order of precedence."""
    made = tuple(a_policy(RULE, namespace=space, name=name, models=models) for space, name, models in entries)
    return a_base(LLAMA, policies=made, **changes)


def policy_for(base: Base, model: str, *, namespace: str = "team") -> str | None:
    decision = choose(a_runtime(base), ask(model, namespace=namespace), 0)
    return decision.policy.name if decision.policy is not None else None


@pytest.mark.parametrize(
    ("entries", "name", "expected"),
    [
        ([("team", "a", ("chat",))], "chat", "a"),
        ([("team", "a", ("chat-*",)), ("team", "b", ("chat-x",))], "chat-x", "b"),
        ([("team", "a", ("chat-*",)), ("team", "b", ("chat-x*",))], "chat-xy", "b"),
        ([("team", "a", ("chat",)), ("team", "b", ("chat",))], "chat", "a"),
        ([("team", "a", ("c*t",)), ("team", "b", ("ch*",))], "chat", "a"),
        ([("shared", "a", ("chat",)), ("team", "b", ("chat",))], "chat", "b"),
        ([("shared", "a", ("chat",)), ("team", "b", ("*",))], "chat", "b"),
        ([("shared", "a", ("chat",))], "chat", "a"),
        ([("other", "a", ("chat",))], "chat", None),
        ([("team", "a", ("chat",))], "Chat", None),
        ([("team", "a", ("chat*",))], "cha", None),
    ],
    ids=lambda value: str(value)[:60],
)
def test_the_most_exact_name_of_the_nearest_namespace_answers(
    entries: list[tuple[str, str, tuple[str, ...]]], name: str, expected: str | None
) -> None:
    """Own namespace before shared ones; exact before glob; longer before shorter; earlier before later."""
    base = policies(*entries, shared_namespaces=("shared",))

    assert expected == policy_for(base, name)


def test_a_policy_answers_before_a_model_of_the_same_name() -> None:
    """Otherwise a rollout could be walked around by naming the model."""
    base = policies(("team", "a", ("llama",)))

    assert policy_for(base, "llama") == "a"


def test_a_model_without_a_policy_is_called_by_its_own_name() -> None:
    """Its `access` was Direct, else it would not be in the config's public names."""
    decision = choose(a_runtime(a_base(LLAMA)), ask("llama"), 0)

    assert decision.offer is not None
    assert decision.option is not None
    assert (decision.option.model.key, decision.policy) == (LLAMA.key, None)


@pytest.mark.parametrize("name", ["nope", "team/llama", "llama@v1", ""])
def test_what_nobody_named_is_not_found(name: str) -> None:
    """A model's key in the config is not a name."""
    decision = choose(a_runtime(a_base(LLAMA)), ask(name), 0)

    assert decision.refusal is Refusal.MODEL_NOT_FOUND


def test_another_namespaces_model_is_not_found() -> None:
    """Tenants see their own names and the shared ones."""
    runtime = a_runtime(a_base(LLAMA, shared_namespaces=("platform",)))

    assert choose(runtime, ask("llama", namespace="other"), 0).refusal is Refusal.MODEL_NOT_FOUND


def test_a_client_sees_its_own_names_and_the_shared_ones_once() -> None:
    """Globs name nothing by themselves; a policy hides a model of its name."""
    base = Base(
        models=(LLAMA,),
        shared_namespaces=("platform",),
        public_names=(
            public(LLAMA),
            public(LLAMA, namespace="platform", name="shared-model"),
            public(LLAMA, namespace="other", name="secret"),
        ),
        policies=(a_policy(RULE, models=("chat", "g-*")), a_policy(RULE, namespace="platform", models=("chat",))),
    )

    names = [each.name for each in a_runtime(base).names.listing("team")]

    assert names == ["chat", "llama", "shared-model"]


@given(pattern=st.text("ab*", max_size=8), name=st.text("ab", max_size=10))
def test_a_glob_matches_what_its_regular_expression_would(pattern: str, name: str) -> None:
    """The linear matcher and the definition of `*` agree."""
    if "*" not in pattern:
        pattern += "*"
    definition = re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)

    assert Glob(pattern).matches(name) == (definition.fullmatch(name) is not None)


def test_varying_names_under_a_glob_do_not_fill_the_memory() -> None:
    """The memory of look-ups has an end, and forgetting changes no answer."""
    runtime = a_runtime(policies(("team", "a", ("x-*",))))
    for number in range(10_000):
        assert runtime.names.find("team", f"x-{number}") is not None

    assert len(runtime.names._memo) <= 4096
