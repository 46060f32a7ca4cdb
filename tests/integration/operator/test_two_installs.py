"""Who serves what in a cluster: two installs side by side, and what an install shares with its tenants."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.operator.apps import a_watched_namespace, add_client, add_model, is_gone, is_served
from tests.integration.operator.installation import Installation, an_installation
from tests.support.apiserver import ApiServer, Kube
from tests.support.waiting import eventually


@pytest.fixture
async def apps(kube: Kube) -> str:
    """A namespace for users' objects."""
    return await a_watched_namespace(kube)


@pytest.fixture
async def installs(
    apiserver: ApiServer, kube: Kube, apps: str, tmp_path: Path
) -> AsyncIterator[tuple[Installation, Installation]]:
    """Two installs, each with a namespace and a gateway of its own, that watch the same users' namespace."""
    async with contextlib.AsyncExitStack() as stack:
        found = []
        for gateway in ("default", "lab"):
            folder = tmp_path / gateway
            folder.mkdir()
            install = an_installation(apiserver, kube, await kube.namespace(), folder)
            found.append(await stack.enter_async_context(install))
            await found[-1].start_operator("--metrics-source", "none", "--watch-namespaces", apps, "--gateway", gateway)
        yield found[0], found[1]


async def version(kube: Kube, manifest: dict[str, Any]) -> str:
    return str((await kube.get(manifest))["metadata"]["resourceVersion"])


async def test_p21_two_installs_leave_each_others_objects_alone(
    installs: tuple[Installation, Installation], kube: Kube, apps: str
) -> None:
    """Each serves and judges what names it in spec.gateway, even under one public name; an edit moves an object."""
    ours, lab = installs
    await add_client(ours, apps)
    mine = await add_model(ours, "alpha", apps, modelName="chat")
    theirs = await add_model(lab, "beta", apps, modelName="chat", gateway="lab")
    policy = await ours.apply(
        "RoutingPolicy",
        "lost",
        metadata={"namespace": apps},
        spec={
            "models": ["lost"],
            "rules": [{"name": "all", "targets": [{"name": "main", "modelRef": {"name": "beta"}}]}],
        },
    )
    await ours.ready(mine, within_seconds=90)
    await lab.ready(theirs, within_seconds=90)
    await eventually(lambda: ours.condition(policy, "ResolvedRefs"))

    assert "hello from alpha" in (await ours.chat("chat"))[1]
    assert "hello from beta" in (await lab.chat("chat"))[1]
    assert "ModelNotFound" == (await ours.condition(policy, "ResolvedRefs"))["reason"]
    assert (503, 404) == ((await ours.chat("lost"))[0], (await lab.chat("lost"))[0])

    before = await version(kube, theirs)
    await kube.patch(mine, {"spec": {"description": "edited"}})
    await ours.ready(mine)
    assert before == await version(kube, theirs)

    await kube.patch(theirs, {"spec": {"gateway": "default", "modelName": "beta"}})
    await eventually(lambda: is_served(ours, "beta"))
    await eventually(lambda: is_gone(lab, "chat"))
    await ours.ready(theirs)
    after = await version(kube, theirs)
    await kube.patch(mine, {"spec": {"description": "edited again"}})
    await ours.ready(mine)
    assert after == await version(kube, theirs)


async def test_p21_an_operator_that_no_longer_shares_a_namespace_closes_it(
    apiserver: ApiServer, kube: Kube, apps: str, tmp_path: Path
) -> None:
    """As soon as it leads; the tenant's own models are served all the time."""
    commons = await a_watched_namespace(kube)
    watched = ("--metrics-source", "none", "--watch-namespaces", f"{apps},{commons}")
    async with an_installation(apiserver, kube, await kube.namespace(), tmp_path) as install:
        sharing = await install.start_operator(*watched, "--shared-namespaces", commons)
        await add_client(install, apps)
        own, shared = await add_model(install, "own", apps), await add_model(install, "big", commons)
        await install.ready(own, shared)
        assert ["own", "big"] == [name for name in ("own", "big") if await is_served(install, name)]
        await sharing.end()

        other = await install.start_operator(*watched)
        while (await other.page("/readyz"))[0] != 200:
            assert await is_served(install, "own")
        await eventually(lambda: is_gone(install, "big"))

        assert await is_served(install, "own")
