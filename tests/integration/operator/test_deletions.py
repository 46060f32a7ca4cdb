"""What is deleted while it serves or moves: routes go, nothing hangs, everything else goes on."""

import copy
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.operator.apps import (
    a_watched_namespace,
    add_client,
    add_model,
    delete_namespace,
    is_gone,
    is_served,
)
from tests.integration.operator.installation import Installation, an_installation
from tests.integration.operator.test_canary import ROLLOUT, rollout, to, traffic
from tests.support.apiserver import ApiServer, Kube
from tests.support.waiting import eventually

OTHER_KEY = "mw-canary-key-of-the-other-0123456789"


@pytest.fixture
async def install(apiserver: ApiServer, kube: Kube, namespace: str, tmp_path: Path) -> AsyncIterator[Installation]:
    """One gateway whose figures the operator will read, and no operator yet."""
    async with an_installation(apiserver, kube, namespace, tmp_path, gateways=0) as installation:
        yield installation


async def test_f17_a_namespace_that_is_deleted_with_its_objects_goes_and_so_do_its_routes(
    install: Installation, kube: Kube
) -> None:
    """Believed once a LIST confirms it; no finalizer keeps the namespace, and the others are served all the time."""
    going, staying = await a_watched_namespace(kube), await a_watched_namespace(kube)
    await install.add_gateway()
    operator = await install.start_operator("--metrics-source", "none", "--watch-namespaces", f"{going},{staying}")
    await add_client(install, going)
    await add_client(install, staying, OTHER_KEY)
    models = [await add_model(install, name, going) for name in ("one", "two", "three")]
    kept = await add_model(install, "kept", staying)
    rule = {"name": "all", "targets": [{"name": "main", "modelRef": {"name": "one"}}]}
    policy = await install.apply(
        "RoutingPolicy", "chat", metadata={"namespace": going}, spec={"models": ["chat"], "rules": [rule]}
    )
    await install.ready(*models, policy, kept, within_seconds=90)
    assert await is_served(install, "chat")

    assert await delete_namespace(kube, going)

    async def is_refused() -> bool:
        assert await is_served(install, "kept", OTHER_KEY)
        return (await install.chat("chat"))[0] == 401

    await eventually(is_refused, within_seconds=60)
    await kube.patch(kept, {"spec": {"modelName": "renamed"}})
    await eventually(lambda: is_served(install, "renamed", OTHER_KEY))
    assert "listing everything again" in operator.log.read_text()


async def test_f18_a_candidate_and_then_the_policy_are_deleted_at_40_percent(install: Installation, kube: Kube) -> None:
    """The rollout goes back by itself; with the policy its routes go, and no rollout is left behind."""
    at_40: dict[str, Any] = copy.deepcopy(ROLLOUT)
    at_40["strategy"] |= {"steps": [{"weight": 40}], "minIntervals": 1000, "stepDeadline": "24h"}
    port = install.free_port()
    gateway = await install.add_gateway(metrics_port=port)
    source = ("--metrics-source", "gateways", "--scrape-interval", "1s", "--gateway-metrics-port", str(port))
    operator = await install.start_operator(*source)
    await install.add_keys()
    first, second = [await install.add_model(name, access="PolicyOnly") for name in ("v1", "v2")]
    third = await install.add_model("v3", access="PolicyOnly")
    policy = await install.add_policy("chat", "v1", rollouts=[at_40])
    await install.ready(first, second, third, policy, within_seconds=90)

    async def is_at_40() -> bool:
        return bool((await rollout(install, policy)).get("weight") == 40)

    async def is_back() -> bool:
        return (await rollout(install, policy)).get("phase") == "RolledBack"

    async with traffic(install, "chat"):
        await kube.patch(policy, to("v2"))
        await eventually(is_at_40, within_seconds=90)
        await kube.delete(second)
        await eventually(is_back, within_seconds=90)
        assert 0 == (await rollout(install, policy)).get("weight", 0)
        assert "hello from v1" in (await install.chat("chat"))[1]
        assert await install.is_true(policy)

        await kube.patch(policy, to("v3"))
        await eventually(is_at_40, within_seconds=90)
        await kube.delete(policy)
        await eventually(lambda: is_gone(install, "chat"))
    assert () == gateway.live.status().splits
    await eventually(lambda: operator_has_no_rollouts(operator))


async def operator_has_no_rollouts(operator: Any) -> bool:
    _, page = await operator.page("/metrics")
    return not any(line.startswith("modelway_rollout_phase{") and line.endswith(" 1.0") for line in page.splitlines())
