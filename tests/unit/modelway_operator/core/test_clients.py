"""Clients out of labelled Secrets."""

import hashlib

import pytest

from modelway_contract.config import Client, Priority
from modelway_operator.core.compile.clients import compile_clients

from tests.support.builders import a_client, a_secret
from tests.support.turns import World


def test_a_client_is_known_by_the_hash_of_its_key() -> None:
    """Groups and tier come from annotations; the key itself goes nowhere."""
    annotations = {"modelway.dev/groups": "eu, staff,,eu", "modelway.dev/tier": "gold"}
    found = compile_clients(dict([a_client("app", "key-1\n", annotations=annotations, version="4")]))

    expected = Client(
        key_sha256=hashlib.sha256(b"key-1").hexdigest(),
        namespace="team",
        name="app",
        groups=("eu", "staff"),
        tier="gold",
    )
    assert (expected,) == found.clients
    assert ("client:team/app uid-secret-team-app 4",) == found.sources
    assert "key-1" not in repr(found)


def test_other_secrets_are_no_clients() -> None:
    """The label decides."""
    secrets = dict([a_secret("llm-key", {"api-key": b"k"}), a_secret("m", {"api-key": b"k"}, use="remembered")])

    assert () == compile_clients(secrets).clients


@pytest.mark.parametrize("data", [{}, {"key": b"k"}, {"api-key": b""}, {"api-key": b"a b"}, {"api-key": b"\xff"}])
def test_a_client_without_a_usable_key_gets_no_access(data: dict[str, bytes]) -> None:
    """An Event on the Secret says so, once."""
    world = World(secrets=dict([a_secret("app", data, use="client")]))
    first, second = world.turn(), world.turn()

    assert ["InvalidClientKey"] == [event.reason for event in first.events]
    assert ("Secret", "team", "app") == (
        first.events[0].about.kind,
        first.events[0].about.namespace,
        first.events[0].about.name,
    )
    assert () == second.events
    assert second.push is not None
    assert second.push.credentials is not None
    assert () == second.push.credentials.clients


def test_of_two_clients_with_one_key_the_older_keeps_it() -> None:
    """Otherwise whoever can write a Secret could act as another, or shut it out."""
    young = a_client("a-young", "same", namespace="other", created="2026-06-01T00:00:00Z")
    world = World(secrets=dict([young, a_client("old", "same")]))
    plan = world.turn()

    assert plan.push is not None
    assert plan.push.credentials is not None
    assert [("team", "old")] == [(each.namespace, each.name) for each in plan.push.credentials.clients]
    assert ["DuplicateClientKey"] == [event.reason for event in plan.events]
    assert "team" not in plan.events[0].message, "one namespace is not told of another's clients"


PRIORITIES: dict[str, tuple[dict[str, str], tuple[Priority, bool], str]] = {
    "none": ({}, (Priority.STANDARD, False), ""),
    "given": ({"priority": " Batch "}, (Priority.BATCH, False), ""),
    "chosen": ({"priority": "Interactive", "chooses-priority": "true"}, (Priority.INTERACTIVE, True), ""),
    "not chosen": ({"chooses-priority": "false"}, (Priority.STANDARD, False), ""),
    "unknown": ({"priority": "Urgent"}, (Priority.STANDARD, False), "one of Interactive, Standard, Batch"),
    "yes": ({"chooses-priority": "yes"}, (Priority.STANDARD, False), 'must be "true" or "false"'),
}


@pytest.mark.parametrize("case", PRIORITIES)
def test_a_clients_priority_comes_from_its_annotations(case: str) -> None:
    """What makes no sense is told on the Secret, without its value; the client keeps Standard and its access."""
    annotations, expected, said = PRIORITIES[case]
    annotations = {f"modelway.dev/{name}": value for name, value in annotations.items()}
    world = World(secrets=dict([a_client("app", "key-1", annotations=annotations)]))
    plan = world.turn()
    assert plan.push is not None
    assert plan.push.credentials is not None
    (client,) = plan.push.credentials.clients

    assert expected == (client.priority, client.chooses_priority)
    assert (["InvalidPriority"] if said else []) == [event.reason for event in plan.events]
    assert said in "".join(event.message for event in plan.events)
    assert () == world.turn().events
