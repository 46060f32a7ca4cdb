"""Who serves what in a cluster: two installs side by side, and what an install shares with its tenants."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.operator.installation import CLIENT_KEY, Installation, an_installation
from tests.integration.operator.rbac import WATCHED_RULES
from tests.support.apiserver import OPERATOR_USER, ApiServer, Kube
from tests.support.waiting import eventually

GROUP = "rbac.authorization.k8s.io"


@pytest.fixture
async def apps(kube: Kube) -> str:
    """A namespace for users' objects that operators may watch."""
    name = await kube.namespace()
    base = f"/apis/{GROUP}/v1/namespaces/{name}"
    await kube.call("POST", f"{base}/roles", {"metadata": {"name": "operator"}, "rules": WATCHED_RULES})
    binding = {
        "metadata": {"name": "operator"},
        "subjects": [{"kind": "User", "name": OPERATOR_USER, "apiGroup": GROUP}],
        "roleRef": {"kind": "Role", "name": "operator", "apiGroup": GROUP},
    }
    await kube.call("POST", f"{base}/rolebindings", binding)
    return name


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


async def add_client(install: Installation, namespace: str) -> None:
    labels = {"modelway.dev/secret": "client"}
    await install.apply(
        "Secret", "app", metadata={"namespace": namespace, "labels": labels}, stringData={"api-key": CLIENT_KEY}
    )


async def add(install: Installation, name: str, namespace: str, **spec: Any) -> dict[str, Any]:
    """A model behind the install's upstream, which answers with the upstream's name of it."""
    backend = {"name": "main", "url": f"{install.upstream_url}/v1", "upstreamModel": name}
    return await install.apply(
        "LLMModel", name, metadata={"namespace": namespace}, spec={"backends": [backend], **spec}
    )


async def version(kube: Kube, manifest: dict[str, Any]) -> str:
    return str((await kube.get(manifest))["metadata"]["resourceVersion"])


async def test_p21_two_installs_leave_each_others_objects_alone(
    installs: tuple[Installation, Installation], kube: Kube, apps: str
) -> None:
    """Each serves and judges what names it in spec.gateway, even under one public name; an edit moves an object."""
    ours, lab = installs
    await add_client(ours, apps)
    mine = await add(ours, "alpha", apps, modelName="chat")
    theirs = await add(lab, "beta", apps, modelName="chat", gateway="lab")
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
    await eventually(lambda: served(ours, "beta"))
    await eventually(lambda: gone(lab, "chat"))
    await ours.ready(theirs)
    after = await version(kube, theirs)
    await kube.patch(mine, {"spec": {"description": "edited again"}})
    await ours.ready(mine)
    assert after == await version(kube, theirs)


async def served(install: Installation, name: str) -> bool:
    return (await install.chat(name))[0] == 200


async def gone(install: Installation, name: str) -> bool:
    return (await install.chat(name))[0] == 404


async def test_p21_an_operator_that_no_longer_shares_a_namespace_closes_it(
    apiserver: ApiServer, kube: Kube, apps: str, tmp_path: Path
) -> None:
    """As soon as it leads; the tenant's own models are served all the time."""
    commons = await kube.namespace()
    path = f"/apis/{GROUP}/v1/namespaces"
    for kind in ("roles", "rolebindings"):
        role = await kube.call("GET", f"{path}/{apps}/{kind}/operator")
        del role["metadata"]["resourceVersion"], role["metadata"]["uid"]
        await kube.call("POST", f"{path}/{commons}/{kind}", {**role, "metadata": {"name": "operator"}})
    watched = ("--metrics-source", "none", "--watch-namespaces", f"{apps},{commons}")
    async with an_installation(apiserver, kube, await kube.namespace(), tmp_path) as install:
        sharing = await install.start_operator(*watched, "--shared-namespaces", commons)
        await add_client(install, apps)
        own, shared = await add(install, "own", apps), await add(install, "big", commons)
        await install.ready(own, shared)
        assert ["own", "big"] == [name for name in ("own", "big") if await served(install, name)]
        await sharing.end()

        other = await install.start_operator(*watched)
        while (await other.page("/readyz"))[0] != 200:
            assert await served(install, "own")
        await eventually(lambda: gone(install, "big"))

        assert await served(install, "own")
