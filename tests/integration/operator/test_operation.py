"""The operator as a process: from objects in a real API server to traffic through real gateways."""

import asyncio
import base64
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from modelway_contract import codec
from modelway_contract.config import Ack, Rejected, Rejection
from modelway_gateway.admin_listener import server_context

from tests.integration.operator.installation import CLIENT_KEY, UPSTREAM_KEY, Installation, an_installation
from tests.support.apiserver import ApiServer, Kube
from tests.support.gateway import a_base, a_push
from tests.support.waiting import eventually


@pytest.fixture
async def install(apiserver: ApiServer, kube: Kube, namespace: str, tmp_path: Path) -> AsyncIterator[Installation]:
    """Two gateways, no operator yet."""
    async with an_installation(apiserver, kube, namespace, tmp_path, gateways=2) as installation:
        yield installation


async def serving(install: Installation) -> tuple[dict[str, Any], dict[str, Any]]:
    """An operator, a model and a policy, Ready."""
    await install.start_operator()
    await install.add_keys()
    model = await install.add_model("llama", description="edit 0")
    policy = await install.add_policy("chat", "llama")
    await install.ready(model, policy)
    return model, policy


async def writes(kube: Kube) -> dict[str, float]:
    """Successful and failed writes by resource, as the API server counts them; its own and leases' left out."""
    found: dict[str, float] = {}
    async with kube.session.get(f"{kube.server.url}/metrics", headers=kube.headers) as answer:
        page = await answer.text()
    for line in page.splitlines():
        match = re.match(r"apiserver_request_total\{(.*)\} (\S+)$", line)
        labels = dict(re.findall(r'(\w+)="([^"]*)"', match[1])) if match else {}
        if labels.get("verb") in {"POST", "PUT", "PATCH", "APPLY", "DELETE"} and labels["resource"] != "leases":
            found[f"{labels['verb']} {labels['resource']}"] = float(match[2]) if match else 0.0
    return found


async def test_objects_become_traffic(install: Installation) -> None:
    """Applied objects are Ready, every gateway serves them, and a bundle for the next gateway is kept."""
    await serving(install)

    answers = [await install.chat("chat", 0), await install.chat("llama", 1)]
    assert [(200, True)] * 2 == [(status, "hello from llama" in text) for status, text in answers]
    assert {f"Bearer {UPSTREAM_KEY}"} == set(install.upstream_keys)
    bundle = await eventually(lambda: install.secret("modelway-config"))
    base = codec.unpack(bundle["config.json.gz"]).base
    assert base is not None
    assert ["llama"] == [one.name for one in base.models]


async def test_p5_at_rest_nothing_is_written_but_the_lease(install: Installation, kube: Kube) -> None:
    """Turns go on, and the API server counts no write."""
    await serving(install)
    (operator,) = install.operators
    await eventually(lambda: install.secret("modelway-config"))
    done = 'modelway_operator_turns_total{result="ok"}'
    before, turns = await writes(kube), await operator.metric(done)
    sequences = [gateway.live.status().sequence for gateway in install.gateways]

    async def has_turned() -> bool:
        return await operator.metric(done) >= turns + 4

    await eventually(has_turned)

    assert before == await writes(kube)
    assert sequences == [gateway.live.status().sequence for gateway in install.gateways]


async def test_p6_ready_is_never_said_of_a_generation_that_a_gateway_does_not_run(install: Installation) -> None:
    """While it is edited again and again: Ready of the present generation means that every gateway runs that one."""
    model, _ = await serving(install)

    def run_by(number: int) -> int:
        runtime = install.gateways[number].live.redacted()
        assert runtime is not None
        assert runtime.base is not None
        return int(runtime.base.models[0].description.partition(" ")[2] or 0)

    async def edit() -> None:
        for number in range(1, 61):
            await install.kube.patch(model, {"spec": {"description": f"edit {number}"}})

    editing = asyncio.create_task(edit())
    said = []
    while not editing.done():
        now = await install.kube.get(model)
        ready = next(one for one in now["status"]["conditions"] if one["type"] == "Ready")
        if (ready["status"], ready["observedGeneration"]) == ("True", now["metadata"]["generation"]):
            wanted = int(now["spec"]["description"].partition(" ")[2] or 0)
            said.append(all(run_by(number) >= wanted for number in (0, 1)))
    await editing
    await install.ready(model)

    assert all(said)
    assert [60, 60] == [run_by(0), run_by(1)]
    status = (await install.kube.get(model))["status"]
    assert {status["observedGeneration"]} == {one["observedGeneration"] for one in status["conditions"]}


async def test_p14_a_bad_object_drops_only_itself(install: Installation) -> None:
    """What is wrong with one is told there; everything else goes live."""
    await install.start_operator()
    await install.add_keys()
    good = await install.add_model("good")
    await eventually(lambda: install.is_true(good, "Accepted"))
    bad = await install.add_model("usurper", modelName="good")
    dangling = await install.add_policy("dangling", "nothing")
    await install.ready(good)
    await eventually(lambda: install.condition(dangling, "ResolvedRefs"))

    assert "DuplicateModelName" == (await install.condition(bad, "Accepted"))["reason"]
    assert "ModelNotFound" == (await install.condition(dangling, "ResolvedRefs"))["reason"]
    assert 200 == (await install.chat("good"))[0]


async def test_p9_refusal_of_a_gateway_stands_in_the_status_in_two_seconds(install: Installation) -> None:
    """Who refused, and why; the replicas that took it go on serving."""
    model, _ = await serving(install)
    mount = next(iter(install.mounts))

    async def status(_: web.Request) -> web.Response:
        nothing = Ack(base="", credentials="", live="", epoch=0, sequence=0)
        return web.Response(body=codec.encode(nothing), content_type="application/json")

    async def refuse(_: web.Request) -> web.Response:
        errors = (Rejection(path="$.base.models[0]", code="unknown", message="this replica cannot do it"),)
        return web.Response(status=422, body=codec.encode(Rejected(errors=errors)), content_type="application/json")

    app = web.Application()
    app.add_routes([web.get("/config/status", status), web.put("/config", refuse)])
    runner = web.AppRunner(app, auto_decompress=False, shutdown_timeout=0.1)
    await runner.setup()
    port = install.free_port()
    await web.TCPSite(runner, install.address, port, ssl_context=server_context(mount)).start()
    try:
        await install.add_endpoint("gateway-refusing", port)

        async def is_told() -> bool:
            return "this replica cannot do it" in (await install.condition(model, "Programmed")).get("message", "")

        await eventually(is_told, within_seconds=4.0)
        assert "False" == (await install.condition(model, "Programmed"))["status"]
        assert 200 == (await install.chat("llama"))[0]
    finally:
        await runner.cleanup()


async def test_f59_rotated_key_is_used_within_five_seconds(install: Installation) -> None:
    """A changed Secret is a change of the config, though no generation tells of it."""
    await serving(install)
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": install.namespace, "name": "llm-key"}}
    await install.kube.patch(secret, {"stringData": {"token": "sk-canary-rotated"}})

    async def is_used() -> bool:
        await install.chat("llama")
        return install.upstream_keys[-1] == "Bearer sk-canary-rotated"

    await eventually(is_used, within_seconds=5.0)


async def test_deleted_objects_take_their_traffic_with_them(install: Installation) -> None:
    """No finalizer holds them, and nothing of them is served any more."""
    model, policy = await serving(install)
    await install.kube.delete(policy)
    await install.kube.delete(model)

    async def is_gone() -> bool:
        return {(await install.chat(name))[0] for name in ("chat", "llama")} == {404}

    await eventually(is_gone, within_seconds=5.0)


async def test_f24_gateway_that_was_pushed_to_by_somebody_else_runs_our_config_again(install: Installation) -> None:
    """It refuses our epoch; the holder of the lease takes a higher one."""
    await serving(install)
    (operator,) = install.operators
    gateway, other = install.gateways
    await gateway.live.apply_push(a_push(a_base(), epoch=50))
    assert 401 == (await install.chat("llama"))[0]
    await eventually(lambda: {gateway.live.status().epoch, other.live.status().epoch} == {51}, within_seconds=20.0)

    async def is_shown() -> bool:
        return await operator.metric("modelway_operator_epoch") == 51.0

    assert 200 == (await install.chat("llama"))[0]
    await eventually(is_shown)


async def test_p25_no_key_leaves_the_secrets_and_the_requests(install: Installation) -> None:
    """Canary keys and a canary prompt: not in logs, metrics, statuses, Events, or what the operator stores readably."""
    model, policy = await serving(install)
    await install.chat("chat")
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": install.namespace, "name": "llm-key"}}
    await install.kube.patch(secret, {"data": {"token": None}})

    async def is_missed() -> bool:
        return (await install.condition(model, "ResolvedRefs")).get("reason") == "SecretKeyMissing"

    await eventually(is_missed)
    (operator,) = install.operators
    events = await install.kube.call("GET", f"/api/v1/namespaces/{install.namespace}/events")
    seen = [
        operator.log.read_text(),
        (await operator.page("/metrics"))[1],
        str([await install.kube.get(model), await install.kube.get(policy), await install.lease(), events]),
    ]

    keys = [CLIENT_KEY, UPSTREAM_KEY, "canary"]
    keys += [base64.b64encode(key.encode()).decode() for key in (CLIENT_KEY, UPSTREAM_KEY)]

    assert [] == [(place, key) for place, text in enumerate(seen) for key in keys if key in text]


async def test_health_pages_tell_the_truth(install: Installation) -> None:
    """Alive and ready while it turns; settings that cannot work end the process with a sentence and status 2."""
    operator = await install.start_operator()

    async def pages() -> dict[str, int]:
        return {path: (await operator.page(path))[0] for path in ("/livez", "/readyz", "/metrics")}

    async def all_well() -> bool:
        return set((await pages()).values()) == {200}

    await eventually(all_well)
    wrong = await install.start_operator("--metrics-source", "prometheus")
    assert 2 == await wrong.process.wait()
    assert "--prometheus-url is needed" in wrong.log.read_text()
    assert 0 == await operator.end()
