"""A canary from a commit to its end: real API server, real gateway, the gateway's own metrics."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tests.integration.operator.installation import Installation, an_installation
from tests.support.apiserver import ApiServer, Kube
from tests.support.waiting import eventually

ROLLOUT: dict[str, Any] = {
    "name": "main",
    "rule": "default",
    "target": "main",
    "strategy": {
        "steps": [{"weight": 50}],
        "interval": "4s",
        "minIntervals": 1,
        "minSamples": 10,
        "stepDeadline": "2m",
        "bake": {"intervals": 1},
    },
    "analysis": {
        "metrics": [
            {
                "name": "errors",
                "type": "Ratio",
                "role": "Guardrail",
                "ratio": {"bad": ["upstream_error"]},
                "absolute": {"max": "0.1"},
            }
        ]
    },
}


@contextlib.asynccontextmanager
async def traffic(install: Installation, *names: str) -> AsyncIterator[None]:
    """Requests for these, one after the other, all the time."""

    async def send(name: str) -> None:
        while True:
            await install.chat(name)
            await asyncio.sleep(0.03)

    tasks = [asyncio.create_task(send(name)) for name in names]
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def to(model: str) -> dict[str, Any]:
    target = {"name": "main", "modelRef": {"name": model}, "weight": 1}
    return {"spec": {"rules": [{"name": "default", "targets": [target]}]}}


async def rollout(install: Installation, policy: dict[str, Any]) -> dict[str, Any]:
    status = (await install.kube.get(policy))["status"]
    return next(iter(status.get("rollouts", [])), {})


async def test_good_candidate_gets_all_traffic_and_bad_one_goes_back(
    apiserver: ApiServer, kube: Kube, namespace: str, tmp_path: Path
) -> None:
    """Two policies, two commits: one is promoted step by step, the other rolled back, each by what was measured."""
    async with an_installation(apiserver, kube, namespace, tmp_path, gateways=0) as install:
        port = install.free_port()
        await install.add_gateway(metrics_port=port)
        source = ("--metrics-source", "gateways", "--scrape-interval", "1s", "--gateway-metrics-port", str(port))
        operator = await install.start_operator(*source)
        await install.add_keys()
        for name in ("v1", "good", "bad"):
            await install.add_model(name, access="PolicyOnly")
        rising = await install.add_policy("rising", "v1", rollouts=[ROLLOUT])
        falling = await install.add_policy("falling", "v1", rollouts=[ROLLOUT])
        await install.ready(rising, falling)
        install.failing.add("bad")
        async with traffic(install, "rising", "falling"):
            await kube.patch(rising, to("good"))
            await kube.patch(falling, to("bad"))

            async def is_rolled_back() -> bool:
                return (await rollout(install, falling)).get("phase") == "RolledBack"

            async def is_promoted() -> bool:
                now = await rollout(install, rising)
                return now.get("phase") == "Stable" and now["stable"]["model"].endswith("/good")

            await eventually(is_rolled_back, within_seconds=90.0)
            await eventually(is_promoted, within_seconds=90.0)
        answers = [(await install.chat(name))[1] for name in ("rising", "falling")]

        async def are_told() -> bool:
            events = await kube.call("GET", f"/api/v1/namespaces/{namespace}/events")
            reasons = {one["reason"] for one in events["items"]}
            return reasons >= {"RolloutStarted", "StepApplied", "RolledBack", "BakeFinished"}

        async def is_shown() -> bool:
            labels = f'modelway_namespace="{namespace}",phase="RolledBack",policy="falling",rollout="main"'
            return await operator.metric(f"modelway_rollout_phase{{{labels}}}") == 1.0

        assert ["hello from good" in answers[0], "hello from v1" in answers[1]] == [True, True]
        await eventually(are_told)
        await eventually(is_shown)
