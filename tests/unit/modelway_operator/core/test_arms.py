"""Versions that serve side by side: the present object's, and remembered ones."""

import json
from typing import Any

from modelway_contract.config import Model
from modelway_operator.core.remembered import secret_name
from modelway_operator.core.snapshot import ObjectKey, Secret

from tests.support.builders import a_backend, a_model, a_policy, a_rollout, a_rule, a_secret, a_target
from tests.support.turns import World, condition

OLD_PLACE, NEW_PLACE = "https://old.example.com/v1", "https://new.example.com/v1"


def rolling(**fields: Any) -> World:
    """A model edited in place: version 1 serves, version 2 is its candidate."""
    backend = a_backend(url=OLD_PLACE, **fields)
    rule = a_rule(targets=[a_target()])
    world = World(models=[a_model(backends=[backend])], policies=[a_policy(rules=[rule], rollouts=[a_rollout()])])
    world.secrets = dict([a_secret("one", {"k": b"key-one"}), a_secret("two", {"k": b"key-two"})])
    world.settle()
    world.edit_model("llama", parameters={"temperature": "0.2"})
    world.turn()
    return world


def arms(world: World) -> tuple[Model, Model]:
    push = world.decide().push
    assert push is not None
    assert push.base is not None
    models = {model.key: model for model in push.base.models}
    target = push.base.policies[0].rules[0].targets[0]
    assert target.candidate is not None
    return models[target.stable], models[target.candidate]


def test_both_versions_of_a_model_are_in_the_config() -> None:
    """The old one out of the policy's Secret, under keys that differ in the version only."""
    stable, candidate = arms(rolling())

    assert ((), (("temperature", "0.2"),)) == (stable.parameters, candidate.parameters)
    assert stable.key.partition("@")[0] == candidate.key.partition("@")[0] == "team/llama"
    assert stable.version != candidate.version


def test_operational_edits_go_live_at_once_in_all_arms() -> None:
    """Time-outs, weights, keys, headers, capabilities, trafficState: of whatever version."""
    world = rolling(credentials={"secretRef": {"name": "one", "key": "k"}})
    backend = a_backend(
        url=OLD_PLACE,
        credentials={"secretRef": {"name": "two", "key": "k"}},
        headers={"x-team": "b"},
        timeouts={"idle": "7s"},
        weight=4,
        locality={"jurisdiction": "EU"},
    )
    world.edit_model(
        "llama",
        backends=[backend],
        capabilities={"tools": True},
        trafficState="Draining",
        description="new",
        privacy={"retention": "None"},
    )
    for arm in arms(world):
        (wire,) = arm.backends
        assert wire.credential is not None
        assert ("team/two/k", (("x-team", "b"),), 7.0, 4, "EU") == (
            wire.credential.id,
            wire.headers,
            wire.timeouts.idle,
            wire.weight,
            wire.jurisdiction,
        )
        assert (True, "Draining", "new", "None") == (
            arm.capabilities.tools,
            arm.traffic_state,
            arm.description,
            arm.retention,
        )


def test_a_key_is_never_sent_to_a_place_it_was_not_written_for() -> None:
    """Address and key edited together: the old version keeps its own key, and the new key stays away from it."""
    world = rolling(credentials={"secretRef": {"name": "one", "key": "k"}}, locality={"jurisdiction": "EU"})
    world.edit_model(
        "llama",
        backends=[
            a_backend(
                url=NEW_PLACE,
                credentials={"secretRef": {"name": "two", "key": "k"}},
                locality={"jurisdiction": "US"},
                timeouts={"idle": "7s"},
            )
        ],
    )
    stable, candidate = arms(world)
    old, new = stable.backends[0], candidate.backends[0]

    assert old.credential is not None
    assert new.credential is not None
    assert ("old.example.com", "team/one/k", "EU") == (old.host, old.credential.id, old.jurisdiction)
    assert ("new.example.com", "team/two/k", "US") == (new.host, new.credential.id, new.jurisdiction)
    assert 7.0 == old.timeouts.idle, "what does not belong to the place is operational"


def test_a_deleted_model_goes_on_serving_where_it_is_remembered() -> None:
    """The normal rename: the old object goes in the commit that brings the new one."""
    world = World(
        models=[a_model("law-v1")],
        policies=[a_policy(rules=[a_rule(targets=[a_target(model="law-v1")])], rollouts=[a_rollout()])],
    )
    world.settle()
    world.models = [a_model("law-v2")]
    world.edit_policy(rules=[a_rule(targets=[a_target(model="law-v2")])])
    world.turn()
    world.turn()
    stable, candidate = arms(world)

    assert ("law-v1", "law-v2") == (stable.name, candidate.name)
    assert "law-v1.example.com" == stable.backends[0].host
    assert ("True", "Serving") == condition(world.policy(), "Ready")
    base = world.pushed.base if world.pushed is not None else None
    assert base is not None
    assert ["law-v2"] == [name.name for name in base.public_names], "nobody calls what was deleted by its own name"


def test_what_is_remembered_keeps_up_with_operational_edits() -> None:
    """So that a model deleted later serves as it was run last."""
    world = World(models=[a_model()], policies=[a_policy()])
    world.settle()
    world.edit_model("llama", backends=[a_backend(url="https://llama.example.com/v1", timeouts={"idle": "7s"})])
    world.settle()
    world.models = []
    world.settle()
    push = world.decide().push

    assert push is not None
    assert push.base is not None
    assert [7.0] == [model.backends[0].timeouts.idle for model in push.base.models]


def test_no_key_is_remembered() -> None:
    """Specs and references only."""
    world = rolling(credentials={"secretRef": {"name": "one", "key": "k"}})
    secret = world.secrets[ObjectKey("team", secret_name("chat"))]

    assert b"key-one" not in b"".join(secret.data.values())
    assert b'"name":"one"' in b"".join(secret.data.values())


def test_a_remembered_spec_that_was_changed_is_not_used() -> None:
    """It has to be the version it is kept under; so nobody can put another address in its place."""
    world = rolling()
    key = ObjectKey("team", secret_name("chat"))
    data = {
        name: value.replace(b"old.example.com", b"evil.example.com") for name, value in world.secrets[key].data.items()
    }
    world.secrets[key] = Secret(uid="u", resource_version="9", use="remembered", data=data)
    push = world.decide().push

    assert push is not None
    assert "evil" not in repr(push)


def test_another_namespaces_secret_cannot_send_a_shared_models_key() -> None:
    """What a tenant remembers of a shared model has no say over keys: such a backend needs its owner."""
    shared = a_model(
        "big",
        namespace="modelway",
        backends=[a_backend(url=OLD_PLACE, credentials={"secretRef": {"name": "one", "key": "k"}})],
    )
    rule = a_rule(targets=[a_target(model="big", namespace="modelway")])
    world = World(models=[shared], policies=[a_policy(rules=[rule], rollouts=[a_rollout()])])
    world.secrets = dict([a_secret("one", {"k": b"key-one"}, namespace="modelway")])
    world.settle()
    world.edit_model("big", backends=[a_backend(url=NEW_PLACE)])
    world.turn()
    push = world.decide().push

    assert push is not None
    assert push.base is not None
    assert push.credentials is not None
    assert () == push.credentials.backends
    assert "old.example.com" not in repr(push.base)


def test_a_memory_that_makes_no_sense_counts_as_none() -> None:
    """Whatever somebody writes into the Secret."""
    world = World(models=[a_model()], policies=[a_policy()])
    junk: list[dict[str, bytes]] = [
        {"targets.json": b'[{}, 1, {"rule": 1}]', "policy.json": b"[]"},
        {"targets.json": b"\xff", "a_b_c.json": b"{", "x": b""},
        {"targets.json": json.dumps([{"rule": "all", "target": "llama", "model": "../x", "version": "1"}]).encode()},
        {"team_llama_abc.json": b'{"backends": 3}', "targets.json": b'{"a": 1}'},
    ]
    for data in junk:
        secret = Secret(uid="u", resource_version="1", use="remembered", data=data)
        world.secrets[ObjectKey("team", secret_name("chat"))] = secret
        world.settle()
        assert ("True", "Serving") == condition(world.policy(), "Ready")
