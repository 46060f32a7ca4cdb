"""Configs coming in: all or nothing, in order, and without a request noticing."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import msgspec
import pytest

from modelway_contract import codec
from modelway_contract.config import Ack, Base, Endpoints, Push

from tests.integration.gateway.serving.scenes import DONE, answer, asking_for_a_stream, chunk, completion, one_upstream
from tests.support.gateway import (
    TOKEN,
    USE_KEY,
    Harness,
    a_backend,
    a_base,
    a_client,
    a_model,
    a_policy,
    a_push,
    a_rule,
    a_split,
    a_target,
    credentials,
    gateway_harness,
    only_live,
)
from tests.support.upstreams import SSE_HEAD, Peer, answering, chunked, raw_upstream

change = msgspec.structs.replace
OLD, NEW = a_model("law", version="v1"), a_model("law", version="v2")
ROLLOUT = a_base(OLD, NEW, policies=(a_policy(a_rule(a_target(OLD, candidate=NEW))),))


async def status_of(harness: Harness) -> Ack:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with harness.session.get(f"{harness.gateway.admin_url}/config/status", headers=headers) as got:
        return msgspec.json.decode(await got.read(), type=Ack)


async def is_ready(harness: Harness) -> bool:
    async with harness.session.get(f"{harness.gateway.metrics_url}/readyz") as got:
        return got.status == 200


async def test_a_gateway_is_ready_once_it_has_a_config_an_empty_one_too() -> None:
    """Nothing is served before, and the first thing pushed may be nothing."""
    async with gateway_harness() as harness:
        assert not await is_ready(harness)
        async with harness.chat() as got:
            assert (got.status, (await got.json())["error"]["code"]) == (503, "no_config")
        assert (await harness.put(a_push(Base())))[0] == 200
        assert await is_ready(harness)


async def test_an_ack_tells_what_runs() -> None:
    """Digests, the pair, the shares, and what there is to say about it."""
    push = a_push(ROLLOUT, epoch=3, sequence=7, splits=(a_split(250), a_split(1, rollout_id="gone")))
    async with gateway_harness() as harness:
        status, ack = await harness.put(push)
        again = await status_of(harness)

    assert (status, msgspec.convert(ack, Ack)) == (200, again)
    assert (again.base, again.credentials) == (push.base_digest, push.credentials_digest)
    assert again.live == codec.digest_live(push.live.state)
    assert (again.epoch, again.sequence, again.splits) == (3, 7, push.live.state.splits)
    assert [finding.code for finding in again.findings] == ["unknown_split"]


async def test_a_live_part_alone_is_enough_where_the_rest_is_known() -> None:
    """412 names what is missing; then only weights travel."""
    push = a_push(ROLLOUT)
    async with gateway_harness() as harness:
        assert await harness.put(only_live(push)) == (412, {"missing": ["base", "credentials"]})
        assert await harness.put(change(push, credentials=None)) == (412, {"missing": ["credentials"]})
        assert (await harness.put(push))[0] == 200
        step = only_live(a_push(ROLLOUT, sequence=2, splits=(a_split(500),)))
        status, ack = await harness.put(step)

    assert (status, ack["splits"][0]["share"]) == (200, 500)


@pytest.mark.parametrize(
    ("pair", "expected"), [((1, 9), 409), ((2, 4), 409), ((2, 5), 200), ((2, 6), 200), ((3, 0), 200)]
)
async def test_f24_an_older_push_is_refused(pair: tuple[int, int], expected: int) -> None:
    """(epoch, sequence) in order; the same again with the same content is fine."""
    async with gateway_harness() as harness:
        await harness.put(a_push(ROLLOUT, epoch=2, sequence=5))
        status, body = await harness.put(a_push(ROLLOUT, epoch=pair[0], sequence=pair[1]))

    assert status == expected
    assert status == 200 or body == {"epoch": 2, "sequence": 5}


async def test_f02_the_same_pair_with_something_else_is_refused() -> None:
    """Two leaders under one epoch would alternate."""
    async with gateway_harness() as harness:
        await harness.put(a_push(ROLLOUT, sequence=5, splits=(a_split(1),)))
        status, _ = await harness.put(a_push(ROLLOUT, sequence=5, splits=(a_split(10_000),)))
        ack = await status_of(harness)

    assert (status, ack.splits[0].share) == (409, 1)


async def test_a_rejected_push_still_counts_for_the_order() -> None:
    """A zombie under an older epoch stays out, even if the new leader's first push was bad."""
    bad = a_base(a_model(backends=()))
    async with gateway_harness() as harness:
        await harness.put(a_push(ROLLOUT, epoch=1, sequence=1))
        assert (await harness.put(a_push(bad, epoch=2, sequence=1)))[0] == 422
        status, _ = await harness.put(a_push(ROLLOUT, epoch=1, sequence=2))

    assert status == 409


async def test_f25_a_heartbeat_changes_nothing_but_the_age() -> None:
    """The same object goes on serving, and the pair moves on."""
    push = a_push(ROLLOUT, splits=(a_split(500),))
    async with gateway_harness() as harness:
        await harness.put(push)
        running = harness.gateway.live.current
        beat = change(only_live(push), live=change(push.live, sequence=2))
        status, ack = await harness.put(beat)
        metrics = await harness.metrics()

        assert harness.gateway.live.current is running
    assert (status, ack["sequence"]) == (200, 2)
    assert metrics['modelway_config_push_total{result="unchanged"}'] == 1


def damaged(push: Push, kind: int) -> bytes:
    """One of the ways in which a push can be wrong."""
    packed = codec.pack(push)
    assert push.base is not None
    match kind % 6:
        case 0:
            return packed[: len(packed) // 2]
        case 1:
            return packed[:-20] + bytes([packed[-20] ^ 1]) + packed[-19:]
        case 2:
            return codec.pack(change(push, base_digest="sha256:" + "0" * 64))
        case 3:
            ghost = change(push.base, public_names=(change(push.base.public_names[0], model="ghost"),))
            return codec.pack(change(push, base=ghost, base_digest=codec.digest_base(ghost)))
        case 4:
            state = change(push.live.state, splits=(a_split(20_000),))
            return codec.pack(change(push, live=change(push.live, state=state)))
        case _:
            return codec.pack(change(push, base=change(push.base, schema_major=99)))


async def test_p9_a_thousand_pushes_a_tenth_of_them_bad_and_none_applied_in_part() -> None:
    """After each push what runs is exactly the last good one: digests, shares and routes belong together."""
    draw = random.Random(9)
    rejected = 0
    async with gateway_harness() as harness:
        good: Push | None = None
        for number in range(1, 1001):
            models = tuple(a_model("law", version=f"v{number}.{each}") for each in ("old", "new"))
            base = a_base(*models, policies=(a_policy(a_rule(a_target(models[0], candidate=models[1]))),))
            push = a_push(base, sequence=number, splits=(a_split(number),))
            bad = draw.random() < 0.1
            status, body = await harness.put(damaged(push, number) if bad else push)
            rejected += bad
            assert status == (422 if bad else 200), body
            assert not bad or body["errors"][0].keys() == {"path", "code", "message"}
            good = good if bad else push
            assert good is not None
            runtime = harness.gateway.live.current
            assert runtime is not None
            ack = await status_of(harness)
            assert (ack.base, ack.sequence) == (good.base_digest, good.live.sequence)
            assert set(runtime.compiled.models) == {each.key for each in good.base.models}  # type: ignore[union-attr]
            assert list(runtime.shares.values()) == [good.live.sequence]
            assert codec.revision(good).encode() in runtime.revision_line
        metrics = await harness.metrics()

    assert 60 < rejected < 140
    assert metrics['modelway_config_push_total{result="rejected"}'] == rejected
    assert metrics['modelway_config_push_total{result="applied"}'] == 1000 - rejected


async def test_p11_swapping_under_load_loses_nothing_and_mixes_nothing() -> None:
    """Every request is answered by a model of the config that its own answer names."""
    seen: list[tuple[str, str]] = []
    async with raw_upstream(answering(answer(200, completion()))) as upstream, gateway_harness() as harness:
        revisions: dict[str, str] = {}
        stop = asyncio.Event()

        async def swap() -> None:
            for number in range(1, 121):
                model = a_model(f"m{number}", backends=(a_backend(id=f"b{number % 2}", port=upstream.port),))
                push = a_push(a_base(model, policies=(a_policy(a_rule(a_target(model))),)), sequence=number)
                revisions[codec.revision(push)] = model.name
                await harness.gateway.live.apply_push(push)
                await asyncio.sleep(0.005)
            stop.set()

        async def load() -> None:
            while not stop.is_set():
                async with harness.chat() as got:
                    assert got.status == 200, await got.text()
                    seen.append((got.headers["x-modelway-revision"], (await got.json())["model"]))

        swapping = asyncio.create_task(swap())
        while not revisions:  # noqa: ASYNC110 - until the first config runs
            await asyncio.sleep(0)
        await asyncio.gather(swapping, *(load() for _ in range(8)))
        metrics = await harness.metrics()

    assert len({revision for revision, _ in seen}) > 20
    assert all(revisions[revision] == model for revision, model in seen)
    counted = sum(value for name, value in metrics.items() if name.startswith("modelway_requests_total{"))
    assert counted == len(seen)


async def test_a_stream_finishes_on_the_config_that_it_began_with() -> None:
    """Its model is gone from the new config; the stream neither breaks nor changes."""
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(SSE_HEAD, chunked(chunk("a")))
        await go_on.wait()
        await peer.send(chunked(chunk("b") + DONE), b"0\r\n\r\n")
        await peer.until_gone()

    async with one_upstream(script) as (harness, _), harness.chat(asking_for_a_stream("chat")) as got:
        first = await got.content.readuntil(b"\n\n")
        await harness.run(Base())
        go_on.set()
        rest = await got.content.read()
        outcomes = await harness.requests(policy="chat")

    assert (first + rest).endswith(b"data: [DONE]\n\n")
    assert outcomes == {"success": 1}


async def test_warm_connections_survive_a_change_of_something_else() -> None:
    """And are closed once their backend is gone."""
    async with one_upstream(answering(answer(200, completion()))) as (harness, upstream):
        llama = a_model(backends=(a_backend(id="team/llama@v1/main", port=upstream.port),))
        for number in range(3):
            extra = a_model(f"extra-{number}")
            await harness.run(a_base(llama, extra))
            async with harness.chat({"model": "llama", "messages": [{}]}) as got:
                assert got.status == 200
        assert upstream.connections == 1
        await harness.run(Base())
        async with asyncio.timeout(5):
            while not upstream.gone:  # noqa: ASYNC110 - a count, not an event
                await asyncio.sleep(0.01)


async def test_a_removed_client_is_refused_from_the_next_request_on() -> None:
    """Also when its key was in memory already."""
    async with one_upstream(answering(answer(200, completion()))) as (harness, upstream):
        base = a_base(a_model(port=upstream.port))
        body = {"model": "llama", "messages": [{}]}
        async with harness.chat(body) as got:
            assert got.status == 200
        await harness.run(base, secrets=credentials(a_client("another-key-of-somebody")))
        async with harness.chat(body) as got:
            assert (got.status, (await got.json())["error"]["code"]) == (401, "invalid_api_key")


async def test_endpoints_come_from_the_live_part() -> None:
    """A new address is used at once, and the old one no more."""
    async with raw_upstream(answering(answer(200, completion()))) as a, raw_upstream(answering(answer(500, b""))) as b:
        model = a_model(backends=(a_backend(id="svc", host="svc.team.svc", discovered=True),))
        base = a_base(model)
        async with gateway_harness() as harness:
            statuses = []
            for port in (a.port, b.port, a.port):
                await harness.run(base, endpoints=(Endpoints(backend="svc", addresses=(("127.0.0.1", port),)),))
                async with harness.chat({"model": "llama", "messages": [{}]}) as got:
                    statuses.append(got.status)

    assert statuses == [200, 502, 200]
    assert b"Host: svc.team.svc:9\r\n" in a.requests[0][0]


async def test_get_config_shows_everything_but_credentials() -> None:
    """What a person needs to see, and no key."""
    secret = "sk-never-shown"
    model = a_model(backends=(a_backend(id="b", credential=USE_KEY),))
    push = a_push(a_base(model), secrets=credentials(keys={"key": secret}))
    async with gateway_harness() as harness:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with harness.session.get(f"{harness.gateway.admin_url}/config", headers=headers) as got:
            assert got.status == 404
        await harness.put(push)
        async with harness.session.get(f"{harness.gateway.admin_url}/config", headers=headers) as got:
            text = await got.text()

    assert msgspec.json.decode(text, type=Push) == change(push, credentials=None)
    assert secret not in text
    assert a_client().key_sha256 not in text


PROBES: dict[str, tuple[bytes, dict[str, Any]]] = {
    "well": (answer(200, b'{"data":[]}'), {"ok": True, "status": 200}),
    "no such path": (answer(404, b""), {"ok": True, "status": 404}),
    "wrong key": (answer(401, b""), {"ok": False, "status": 401}),
    "forbidden": (answer(403, b""), {"ok": False, "status": 403}),
    "broken": (answer(500, b"sk-echo"), {"ok": False, "status": 500}),
    "gone": (b"", {"ok": False}),
}


@pytest.mark.parametrize("name", PROBES)
async def test_a_probe_asks_a_backend_for_its_models_with_its_key(name: str) -> None:
    """Below 500 and neither 401 nor 403 is well."""
    sent, expected = PROBES[name]

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(sent)

    setup = {"credential": USE_KEY}
    async with one_upstream(script, backend=setup, secrets=credentials(keys={"key": "k1"})) as (harness, upstream):
        result = await probe(harness, "team/llama@v1")

    head = upstream.requests[0][0]
    assert head.startswith(b"GET /v1/models HTTP/1.1\r\n")
    assert b"Authorization: Bearer k1\r\n" in head
    assert result["ok"] if expected["ok"] else "ok" not in result or not result["ok"]
    assert result.get("status") == expected.get("status")
    assert "sk-echo" not in str(result)


async def test_a_probe_of_an_unknown_model_is_not_well() -> None:
    """Nothing is asked."""
    async with one_upstream(answering(answer(200, b""))) as (harness, upstream):
        result = await probe(harness, "team/ghost@v1")

    assert result == {"ok": False, "message": "This gateway's config has no such model."}
    assert upstream.requests == []


async def probe(harness: Harness, model: str) -> Any:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with harness.session.post(
        f"{harness.gateway.admin_url}/probe", json={"model": model}, headers=headers
    ) as got:
        assert got.status == 200
        return msgspec.json.decode(await got.read())
