"""The Secret of a new client: what the operator will read of it, and what is refused."""

import base64

import pytest

from modelway_cli.client.secret import NewClient, new_key, parse_groups, secret_manifest
from modelway_cli.errors import UsageError
from modelway_contract.config import Priority
from modelway_operator.core.compile.clients import compile_clients
from modelway_operator.core.snapshot import ObjectKey, Secret


def test_a_key_is_long_random_and_marked() -> None:
    """32 bytes of randomness behind a prefix that scanners for leaked keys know."""
    first, second = new_key(), new_key()

    assert first != second
    assert first.startswith("mw-")
    assert 32 == len(base64.urlsafe_b64decode(first.removeprefix("mw-") + "="))


def test_the_operator_reads_what_was_asked_for() -> None:
    """The manifest's label, annotations and key make the client that the options describe."""
    client = NewClient(name="search", namespace="team-a", groups=parse_groups("eu, batch,eu"), tier="gold")
    manifest = secret_manifest(client, "mw-key")
    metadata = manifest["metadata"]
    secret = Secret(
        uid="u",
        resource_version="1",
        use=metadata["labels"]["modelway.dev/secret"],
        data={name: value.encode() for name, value in manifest["stringData"].items()},
        annotations=metadata["annotations"],
    )

    compiled = compile_clients({ObjectKey(metadata["namespace"], metadata["name"]): secret})

    assert () == compiled.findings
    (found,) = compiled.clients
    assert ("team-a", "search", ("batch", "eu"), "gold") == (found.namespace, found.name, found.groups, found.tier)


def test_what_was_not_asked_for_is_not_there() -> None:
    """No namespace and no annotations: `kubectl apply` then decides on the namespace."""
    metadata = secret_manifest(NewClient(name="search"), "mw-key")["metadata"]

    assert {"name": "search", "labels": {"modelway.dev/secret": "client"}} == metadata


def test_a_priority_and_the_right_to_choose_another_are_said_in_annotations() -> None:
    """As the operator reads them."""
    client = NewClient(name="nightly", namespace="team-a", priority=Priority.BATCH, chooses_priority=True)
    metadata = secret_manifest(client, "mw-key")["metadata"]

    assert {
        "modelway.dev/priority": "Batch",
        "modelway.dev/chooses-priority": "true",
    } == metadata["annotations"]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"name": "Search"}, "no name for a Secret"),
        ({"name": "-"}, "no name for a Secret"),
        ({"name": "a" * 254}, "253"),
        ({"name": "a", "namespace": "team.a"}, "--namespace"),
        ({"name": "a", "groups": ("b c",)}, "--groups 'b c'"),
        ({"name": "a", "tier": "gold,"}, "--tier"),
        ({"name": "a", "tier": ""}, "--tier"),
    ],
)
def test_names_that_nothing_could_match_are_refused(fields: dict[str, object], says: str) -> None:
    """The operator would drop such a Secret, and its author would read of it in a log only."""
    with pytest.raises(UsageError, match=says):
        NewClient(**fields)  # type: ignore[arg-type]
