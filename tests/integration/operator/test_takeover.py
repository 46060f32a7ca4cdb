"""Two operators as processes: who acts when one ends, is killed or stopped, and what gateways take from whom."""

import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from modelway_contract.config import Push
from modelway_gateway.server import Gateway
from modelway_operator.kinds import WATCHED

from tests.integration.operator.installation import Installation, Operator, an_installation
from tests.support.apiproxy import an_api_proxy
from tests.support.apiserver import OPERATOR_TOKEN, ApiServer, Kube
from tests.support.waiting import eventually

Accepted = list[tuple[int, int]]


@pytest.fixture
async def install(apiserver: ApiServer, kube: Kube, namespace: str, tmp_path: Path) -> AsyncIterator[Installation]:
    """Two gateways, no operator yet."""
    async with an_installation(apiserver, kube, namespace, tmp_path, gateways=2) as installation:
        yield installation


def recorded(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> Accepted:
    """Epoch and sequence of every push that the gateway takes from now on, in order."""
    accepted: Accepted = []
    take = gateway.live.apply_push

    async def record(push: Push) -> object:
        answer = await take(push)
        accepted.append((push.live.epoch, push.live.sequence))
        return answer

    monkeypatch.setattr(gateway.live, "apply_push", record)
    return accepted


async def role(operator: Operator) -> str:
    """As its metrics say it."""
    _, page = await operator.page("/metrics")
    shown = [line for line in page.splitlines() if line.startswith("modelway_operator_role{") and line.endswith(" 1.0")]
    return shown[0].partition('role="')[2].partition('"')[0] if shown else ""


async def is_ready(operator: Operator) -> bool:
    return (await operator.page("/readyz"))[0] == 200


async def pair(install: Installation) -> tuple[Operator, Operator]:
    """A leader that serves, and a standby that is ready."""
    leader = await install.start_operator()
    await install.add_keys()
    model = await install.add_model("llama")
    await install.ready(model, await install.add_policy("chat", "llama"))
    standby = await install.start_operator()
    await eventually(lambda: is_ready(standby))

    async def follows() -> bool:
        return await role(standby) == "following"

    await eventually(follows)
    assert "leading" == await role(leader)
    return leader, standby


def epochs(install: Installation) -> set[int]:
    return {gateway.live.status().epoch for gateway in install.gateways}


@pytest.mark.parametrize(("number", "seconds"), [(signal.SIGKILL, 20.0), (signal.SIGTERM, 3.0)])
async def test_p8_standby_pushes_under_a_higher_epoch_in_time(
    install: Installation, monkeypatch: pytest.MonkeyPatch, number: int, seconds: float
) -> None:
    """Killed: within 20 s; ended: within 3 s. No gateway takes anything of the former epoch after that."""
    leader, standby = await pair(install)
    accepted = [recorded(gateway, monkeypatch) for gateway in install.gateways]
    (before,) = epochs(install)
    began = time.monotonic()
    leader.process.send_signal(number)
    await eventually(lambda: min(epochs(install)) > before, within_seconds=30.0)
    taken_after = time.monotonic() - began

    assert taken_after <= seconds
    assert (0 if number == signal.SIGTERM else -signal.SIGKILL) == await leader.process.wait()
    assert all(sorted(pairs) == pairs for pairs in accepted)
    await install.ready(await install.add_model("another"))
    assert "leading" == await role(standby)
    assert 200 == (await install.chat("another", 1))[0]


async def test_a9_f02_former_leader_that_wakes_is_refused_and_follows(
    install: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGSTOP until the other leads, then SIGCONT: nothing that it still sends is taken, and it follows."""
    zombie, successor = await pair(install)
    accepted = [recorded(gateway, monkeypatch) for gateway in install.gateways]
    (before,) = epochs(install)
    zombie.process.send_signal(signal.SIGSTOP)
    await eventually(lambda: min(epochs(install)) > before, within_seconds=30.0)
    (now,) = epochs(install)
    zombie.process.send_signal(signal.SIGCONT)

    async def follows() -> bool:
        return await role(zombie) == "following"

    await eventually(follows)
    await install.ready(await install.add_model("another"))
    assert {now} == epochs(install)
    assert all(sorted(pairs) == pairs and pairs[-1][0] == now for pairs in accepted)
    assert "leading" == await role(successor)


async def test_p2_standby_whose_watch_is_frozen_takes_nothing_back(
    apiserver: ApiServer, install: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It heard nothing of the last edit when it takes over: no gateway ever sees an older version of the model."""
    async with an_api_proxy(apiserver) as proxy:
        leader = await install.start_operator()
        await install.add_keys()
        model = await install.add_model("llama", description="edit 0")
        await install.ready(model)
        install.kubeconfig = apiserver.kubeconfig(OPERATOR_TOKEN, url=proxy.url)
        standby = await install.start_operator()
        await eventually(lambda: is_ready(standby))

        async def hears() -> bool:
            return sum("watch=true" in one for one in proxy.requests) >= len(WATCHED)

        await eventually(hears)
        proxy.freeze()
        seen = [versions(gateway, monkeypatch) for gateway in install.gateways]
        for number in (1, 2):
            await install.ready(await install.kube.patch(model, {"spec": {"description": f"edit {number}"}}))
        (before,) = epochs(install)
        await leader.end()
        await eventually(lambda: min(epochs(install)) > before)
        proxy.thaw()
        await install.ready(await install.kube.patch(model, {"spec": {"description": "edit 3"}}))

        assert "leading" == await role(standby)
        assert all(sorted(numbers) == numbers and numbers[-1] == 3 for numbers in seen)


def versions(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of the edit that the gateway runs after each push, in order."""
    numbers: list[int] = []
    take = gateway.live.apply_push

    async def record(push: Push) -> object:
        answer = await take(push)
        runs = gateway.live.redacted()
        assert runs is not None
        assert runs.base is not None
        numbers.append(int(runs.base.models[0].description.partition(" ")[2]))
        return answer

    monkeypatch.setattr(gateway.live, "apply_push", record)
    return numbers
