"""What the garbage collector of a gateway's own process is told, and that requests leave nothing for it."""

import asyncio
import gc
from collections.abc import Iterator

import pytest

from modelway_gateway.answering import Answer
from modelway_gateway.client.call import Call

from tests.integration.gateway.serving.scenes import (
    DONE,
    answer,
    asking_for_a_stream,
    chunk,
    completion,
    one_upstream,
    streaming,
)
from tests.support.gateway import a_base, a_model, gateway_harness
from tests.support.upstreams import SSE_HEAD, Script, answering, answering_then_waiting, chunked
from tests.support.waiting import eventually


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    """The tests' own process gets its collector back."""
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


async def test_what_is_there_when_the_first_config_has_come_is_never_looked_at_again() -> None:
    """At start, and once more when a config comes that was not there; a later one does not add to it."""
    async with gateway_harness() as harness:
        gc.unfreeze()
        harness.gateway.tune_garbage_collector()
        at_start = gc.get_freeze_count()
        await harness.run(a_base(*(a_model(f"m{number}") for number in range(200))))
        await asyncio.sleep(0)
        with_config = gc.get_freeze_count()
        await harness.run(a_base(a_model()))
        await asyncio.sleep(0)

        assert at_start > 0
        assert with_config > at_start + 200
        assert gc.get_freeze_count() <= with_config


async def test_the_young_are_looked_at_less_often() -> None:
    """A collection every 700 objects would come with every few requests."""
    async with gateway_harness(a_base(a_model())) as harness:
        harness.gateway.tune_garbage_collector()

        assert gc.get_threshold()[0] >= 10_000


ENDS: dict[str, tuple[bool, Script]] = {
    "whole": (False, answering(answer(200, completion()))),
    "error": (False, answering(answer(400, b"{}"))),
    "stream": (True, streaming(chunk(), chunk("a"), DONE)),
    "broken stream": (True, streaming(chunk("a"))),
    "left stream": (True, answering_then_waiting(SSE_HEAD + chunked(chunk("a")))),
}


@pytest.mark.parametrize("name", ENDS)
async def test_a_request_leaves_nothing_for_the_collector(name: str) -> None:
    """However it ends: a circle would keep its prompt until 50,000 objects later."""
    stream, script = ENDS[name]
    body = {**asking_for_a_stream(), "stream": stream}
    async with one_upstream(script) as (harness, _):
        gc.collect()
        gc.disable()
        try:
            for _ in range(5):
                async with harness.chat(body) as got:
                    await got.content.readany()
            await eventually(lambda: harness.gateway.metrics.inflight == 0)
            await eventually(lambda: harness.gateway.upstream.stats.exchanges == 0)
            left = [each for each in gc.get_objects() if isinstance(each, Call | Answer)]
        finally:
            gc.enable()
    assert len(left) <= 1  # the last one's frames may still be there
