"""P21: no name, key, group or metric of one tenant is reachable by the other.

Each row is one way to reach something of somebody else; the matrix says who reaches whom by it.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from modelway_operator.core.snapshot import Install

from tests.integration.tenancy.scene import NAMESPACES, SHARED, TENANTS, Scene, a_scene, key_of, provider_key
from tests.support.builders import a_client

Way = Callable[[Scene, str, str], Awaitable[bool]]
"""Whether the viewer reaches something of the owner."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One way, and for whom it leads anywhere."""

    way: Way
    own: bool = True
    shared: bool = False
    """Whether it leads to what the shared namespace has. It never leads to another tenant's."""

    def expected(self, viewer: str, owner: str) -> bool:
        if viewer == owner:
            return self.own
        return self.shared and owner == SHARED


def by_name(pattern: str) -> Way:
    """Ask for a name that the owner has."""

    async def way(scene: Scene, viewer: str, owner: str) -> bool:
        return await scene.reaches(viewer, pattern.format(owner), owner)

    return way


async def by_secret(scene: Scene, viewer: str, owner: str) -> bool:
    """Name the owner's Secret, and see whether its key goes out."""
    await scene.ask(viewer, f"secret-{owner}")
    return (owner, f"Bearer {provider_key(owner)}") in scene.upstream.calls


async def by_key(scene: Scene, viewer: str, owner: str) -> bool:
    """Use the viewer's key for what the owner keeps for itself: what a key opens is its own namespace."""
    status, served, _ = await scene.ask(viewer, "same")
    return (status, served) == (200, owner)


async def by_counting(scene: Scene, viewer: str, owner: str) -> bool:
    """Ask for what the viewer has, and see whether a figure of the owner moves."""
    before = await scene.counted(owner)
    assert 200 == (await scene.ask(viewer, f"{viewer}-exact"))[0]
    return await scene.counted(owner) != before


async def by_query(scene: Scene, viewer: str, owner: str) -> bool:
    """Judge the viewer's rollout, and see whether the queries select a series of the owner."""
    return owner in await scene.selected(viewer)


async def by_listing(scene: Scene, viewer: str, owner: str) -> bool:
    """List models, and see whether names of the owner are among them."""
    names = {f"{owner}-exact", f"{owner}-direct"}
    found = names & await scene.listed(viewer)
    assert found in (set(), names)
    return bool(found)


ROWS: dict[str, Row] = {
    "an exact name of a policy": Row(way=by_name("{}-exact"), shared=True),
    "a glob of a policy": Row(way=by_name("{}/anything"), shared=True),
    "the name of a model": Row(way=by_name("{}-direct"), shared=True),
    "the name of a model for policies only": Row(way=by_name("{}-private"), own=False),
    "a name that everybody has": Row(way=by_key),
    "modelRef of a target": Row(way=by_name("target-{}"), shared=True),
    "modelRef of a fallback": Row(way=by_name("fallback-{}"), shared=True),
    "secretRef": Row(way=by_secret),
    "caRef": Row(way=by_name("ca-{}")),
    "serviceRef": Row(way=by_name("service-{}")),
    "a group of clients": Row(way=by_name("{}-groups")),
    "a tier of clients": Row(way=by_name("{}-tiers")),
    "the name of a client": Row(way=by_name("{}-names")),
    "figures of requests": Row(way=by_counting),
    "queries for a rollout": Row(way=by_query),
    "the list of models": Row(way=by_listing, shared=True),
}


@pytest.mark.parametrize("name", ROWS)
async def test_p21_who_reaches_whom(name: str) -> None:
    """Own things where that is meant, shared ones where the install says so, those of another tenant never."""
    row = ROWS[name]
    pairs = [(viewer, owner) for viewer in NAMESPACES for owner in NAMESPACES]
    async with a_scene() as scene:
        reached = {pair: await row.way(scene, *pair) for pair in pairs}

    assert {pair: row.expected(*pair) for pair in pairs} == reached


async def test_p21_a_name_of_another_tenant_answers_like_one_that_nobody_has() -> None:
    """Neither status nor body tells that it exists."""
    async with a_scene() as scene:
        for name in ("{}-exact", "{}-direct", "{}-private", "{}/x", "{}-groups"):
            theirs = await scene.ask("blue", name.format("red"))
            nobodys = await scene.ask("blue", name.format("nil"))

            assert (404, None) == theirs[:2] == nobodys[:2]
            told = [{**each["error"], "decision": ""} for each in (theirs[2], nobodys[2])]
            told[0]["message"] = told[0]["message"].replace("red", "nil")
            assert told[0] == told[1]


async def test_p21_a_status_does_not_tell_whether_another_tenant_has_a_model() -> None:
    """A reference into a namespace that is not shared is refused before anything is looked up."""
    async with a_scene() as scene:
        world = scene.world
        blue = {raw["metadata"]["name"]: raw for raw in world.policies if raw["metadata"]["namespace"] == "blue"}
        before = blue["target-red"]["status"]["conditions"]
        world.models = [raw for raw in world.models if raw["metadata"]["namespace"] != "red"]
        world.settle(turns=8)
        after = next(
            raw["status"]["conditions"]
            for raw in world.policies
            if (raw["metadata"]["namespace"], raw["metadata"]["name"]) == ("blue", "target-red")
        )

    assert [(each["type"], each["reason"]) for each in before] == [(each["type"], each["reason"]) for each in after]
    assert [each["message"] for each in before] == [each["message"] for each in after]


async def test_p21_the_key_of_another_tenant_cannot_be_taken_over() -> None:
    """A Secret with a key that somebody has already gives no access, and takes none away."""
    async with a_scene() as scene:
        thief = a_client("thief", key_of("red"), namespace="blue", created="2026-06-01T00:00:00Z")
        scene.world.secrets |= dict([thief])
        await scene.push()
        served = await scene.ask("red", "same")

    assert (200, "red") == served[:2]


@pytest.mark.parametrize("viewer", TENANTS)
async def test_p21_a_namespace_that_is_shared_no_longer_is_closed_with_the_next_push(viewer: str) -> None:
    """Within 2 s: its names, its models as targets and as fallbacks; what the tenants have of their own goes on."""
    shared = [(name, row) for name, row in ROWS.items() if row.shared]
    async with a_scene() as scene:
        before = {name: await row.way(scene, viewer, SHARED) for name, row in shared}
        scene.world.install = Install(shared_namespaces=())
        began = time.monotonic()
        await scene.push()
        seconds = time.monotonic() - began
        after = {name: await row.way(scene, viewer, SHARED) for name, row in shared}
        own = {name: await row.way(scene, viewer, viewer) for name, row in ROWS.items()}

    assert seconds < 2
    assert {True} == set(before.values())
    assert {False} == set(after.values())
    assert {name: row.own for name, row in ROWS.items()} == own
