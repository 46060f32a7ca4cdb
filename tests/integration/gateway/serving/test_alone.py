"""A gateway that nobody looks after, and pushes that are not what they say."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import msgspec
import pytest

from modelway_contract import codec
from modelway_contract.names import BUNDLE_KEY
from modelway_gateway.snapshots import LAST_GOOD_NAME

from tests.integration.gateway.serving.scenes import DONE, answer, asking_for_a_stream, chunk, completion, one_upstream
from tests.integration.gateway.serving.test_boot import ROLLOUT, a_step, disk, places
from tests.integration.gateway.serving.test_config import is_ready, status_of
from tests.support.gateway import a_push, gateway_harness
from tests.support.upstreams import SSE_HEAD, Peer, chunked

__all__ = ["places"]  # a fixture

HOURS = 3.0


async def test_p12_f29_without_a_control_plane_everything_goes_on_and_the_age_says_since_when() -> None:
    """Three hours after the last push: answers and streams without an error, still ready, and a gauge that grows."""

    async def script(peer: Peer) -> None:
        while True:
            body = await peer.read_request()
            if b'"stream":true' in body:
                await peer.send(SSE_HEAD, chunked(chunk("a")), chunked(DONE), b"0\r\n\r\n")
            else:
                await peer.send(answer(200, completion()))

    async with one_upstream(script) as (harness, _):
        loop = asyncio.get_running_loop()
        live = harness.gateway.live
        live._clock = lambda: loop.time() + HOURS * 3600
        await harness.gateway._admin.stop()

        async def ask(number: int) -> int:
            question = asking_for_a_stream("chat" if number % 3 else "llama")
            async with harness.chat({**question, "stream": bool(number % 2)}) as got:
                text = await got.read()
                return got.status if number % 2 == 0 or text.endswith(DONE) else 0

        statuses = [await asyncio.gather(*(ask(number) for number in range(20))) for _ in range(20)]
        metrics, outcomes, ready = await harness.metrics(), await harness.requests(), await is_ready(harness)

    assert {status for each in statuses for status in each} == {200}
    assert outcomes == {"success": 400}
    assert ready
    assert HOURS * 3600 <= metrics["modelway_config_age_seconds"] <= HOURS * 3600 + 60


async def test_f23_a_push_that_was_damaged_on_its_way_changes_nothing() -> None:
    """Cut anywhere or with any bit flipped: 422 (or, where the bit says nothing, the same config), and it serves on."""
    source = random.Random(23)
    good, other = a_step(1, share=100), codec.pack(a_step(2, share=9000))
    flips = [source.randrange(len(other) * 8) for _ in range(150)]
    damaged = [other[: source.randrange(1, len(other))] for _ in range(50)]
    damaged += [
        bytes(byte ^ (1 << flip % 8) * (place == flip // 8) for place, byte in enumerate(other)) for flip in flips
    ]
    async with gateway_harness() as harness:
        assert (await harness.put(good))[0] == 200
        running = harness.gateway.live.current
        refused = 0
        for data in damaged:
            status, body = await harness.put(data)
            if status == 200:  # a bit of the packing that stands for nothing
                assert codec.unpack(data) == a_step(2, share=9000)
                continue
            assert (status, bool(body["errors"][0]["message"])) == (422, True)
            refused += 1
            if (await status_of(harness)).sequence == 1:
                assert harness.gateway.live.current is running
        assert await is_ready(harness)
        rejected = (await harness.metrics())['modelway_config_push_total{result="rejected"}']

    assert refused == rejected >= 190


async def test_f28_a_config_of_another_major_is_refused_and_the_old_one_stays(places: tuple[Path, Path]) -> None:
    """Pushed by a newer operator, or found on disk after a downgrade: what it would ignore, nobody can know."""
    future = a_push(msgspec.structs.replace(ROLLOUT, schema_major=99), sequence=9)
    async with gateway_harness(changes=disk(places)) as harness:
        assert (await harness.put(a_step(8)))[0] == 200
        status, body = await harness.put(future)
        assert (status, (await status_of(harness)).sequence) == (422, 8)
        assert "major" in body["errors"][0]["message"]
    (places[0] / BUNDLE_KEY).write_bytes(codec.pack(future))
    assert codec.unpack((places[1] / LAST_GOOD_NAME).read_bytes()) == a_step(8)
    async with gateway_harness(changes=disk(places)) as harness:
        assert await is_ready(harness)
        assert (await status_of(harness)).sequence == 8


@pytest.mark.parametrize("share", [0, 2500, 10_000])
async def test_a14_f26_a_gateway_that_joins_late_gets_its_shares_with_the_first_push(
    places: tuple[Path, Path], share: int
) -> None:
    """From the bundle alone the candidate has none; the live part alone brings it, whatever it is by then."""
    (places[0] / BUNDLE_KEY).write_bytes(codec.pack(a_step(3, share=7000)))
    async with gateway_harness(changes=disk(places)) as harness:
        assert await is_ready(harness)
        before = harness.gateway.live.current
        now = a_step(4, share=share)
        status, ack = await harness.put(msgspec.structs.replace(now, base=None, credentials=None))
        after = harness.gateway.live.current

    assert before is not None
    assert after is not None
    assert (list(before.shares.values()), list(after.shares.values())) == ([0], [share])
    assert (status, ack["splits"][0].get("share", 0)) == (200, share)
