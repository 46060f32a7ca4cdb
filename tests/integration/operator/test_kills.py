"""SIGKILL at chosen writes of a whole canary: the real operator, a real API server, real gateways, real traffic."""

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelway_contract.config import Push
from modelway_gateway.server import Gateway

from tests.integration.operator.installation import Installation, Operator, an_installation
from tests.integration.operator.test_canary import ROLLOUT, rollout, to, traffic
from tests.support.apiproxy import ApiProxy, Write, an_api_proxy
from tests.support.apiserver import OPERATOR_TOKEN, ApiServer, Kube
from tests.support.waiting import eventually

Match = Callable[[Write], bool]
Rises = list[tuple[int, dict[str, Any]]]


def status(write: Write) -> bool:
    return "routingpolicies" in write.path and write.path.endswith("/status")


def secret(write: Write) -> bool:
    return "/secrets/" in write.path


def event(write: Write) -> bool:
    return write.path.endswith("/events")


KILLS: tuple[tuple[str, Match], ...] = (
    ("before", secret),
    ("after", status),
    ("before", status),
    ("after", secret),
    ("before", event),
    ("after", status),
)
"""Where each life of the operator ends: before or after its first write of this kind."""


class Reaper:
    """Kills the operator at the write that is next on the list, and starts the next one."""

    def __init__(self, install: Installation, proxy: ApiProxy, arguments: tuple[str, ...]) -> None:
        self._install = install
        self._arguments = arguments
        self.kills = 0
        self.is_armed = False
        self.operator: Operator | None = None
        self._dead = asyncio.Event()
        proxy.before_write = lambda write: self._meet("before", write)
        proxy.after_write = lambda write: self._meet("after", write)

    async def keep_alive(self) -> None:
        """An operator runs whenever one was killed."""
        while True:
            self._dead.clear()
            self.operator = await self._install.start_operator(*self._arguments)
            await self._dead.wait()
            await self.operator.process.wait()
            # What 15 s without a renewal would come to.
            manifest = {"namespace": self._install.namespace, "name": "modelway-operator"}
            lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": manifest}
            await self._install.kube.patch(lease, {"spec": {"holderIdentity": ""}})

    async def _meet(self, when: str, write: Write) -> None:
        if not self.is_armed or self._dead.is_set() or self.kills == len(KILLS):
            return
        wanted, matches = KILLS[self.kills]
        if when == wanted and matches(write):
            assert self.operator is not None
            self.operator.process.send_signal(signal.SIGKILL)
            self.kills += 1
            self._dead.set()
            if when == "before":
                # The write was never sent: its sender is dead.
                await self.operator.process.wait()
                raise ConnectionResetError


def watch_rises(
    install: Installation, gateway: Gateway, policy: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> Rises:
    """Every share that rose at the gateway, and the rollout in the API server at that moment."""
    rises: Rises = []
    take = gateway.live.apply_push

    async def record(push: Push) -> object:
        before = {one.rollout_id: one.share for one in gateway.live.status().splits}
        answer = await take(push)
        for one in gateway.live.status().splits:
            if one.share > before.get(one.rollout_id, 0):
                rises.append((one.share, await rollout(install, policy)))
        return answer

    monkeypatch.setattr(gateway.live, "apply_push", record)
    return rises


async def test_f01_p1_six_kills_at_writes_of_a_canary_cost_no_step_and_no_promise(
    apiserver: ApiServer, kube: Kube, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before and after statuses, Secrets and Events: each rise stands in the status first, and v2 is promoted."""
    async with (
        an_api_proxy(apiserver) as proxy,
        an_installation(apiserver, kube, namespace, tmp_path, gateways=0) as install,
    ):
        port = install.free_port()
        await install.add_gateway(metrics_port=port)
        install.kubeconfig = apiserver.kubeconfig(OPERATOR_TOKEN, url=proxy.url)
        source = ("--metrics-source", "gateways", "--scrape-interval", "1s", "--gateway-metrics-port", str(port))
        reaper = Reaper(install, proxy, source)
        living = asyncio.create_task(reaper.keep_alive())
        await install.add_keys()
        for name in ("v1", "v2"):
            await install.add_model(name, access="PolicyOnly")
        policy = await install.add_policy("rising", "v1", rollouts=[ROLLOUT])
        await install.ready(policy)
        rises = watch_rises(install, install.gateways[0], policy, monkeypatch)
        reaper.is_armed = True
        async with traffic(install, "rising"):
            await kube.patch(policy, to("v2"))

            async def is_promoted() -> bool:
                now = await rollout(install, policy)
                return now.get("phase") == "Stable" and now["stable"]["model"].endswith("/v2")

            await eventually(is_promoted, within_seconds=240.0)
        await install.ready(policy)
        answer = await install.chat("rising")
        living.cancel()

        assert len(KILLS) == reaper.kills
        assert "hello from v2" in answer[1]
        assert {5000, 10000} == {share for share, _ in rises}
        assert [] == [(share, state) for share, state in rises if state.get("weight", 0) * 100 < share]
        passed = [state for share, state in rises if share == 10000]
        assert all(state["decision"]["verdict"] == "Pass" for state in passed)
