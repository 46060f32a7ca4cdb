"""What the garbage collector of a gateway's own process is told: to leave alone what stays."""

import asyncio
import gc
from collections.abc import Iterator

import pytest

from tests.support.gateway import a_base, a_model, gateway_harness


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
