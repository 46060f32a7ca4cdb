"""Starting without an operator: from the bundle or from the last good config."""

from __future__ import annotations

import logging
import stat
from pathlib import Path

import msgspec
import pytest

from modelway_contract import codec
from modelway_contract.config import Push
from modelway_contract.names import BUNDLE_KEY
from modelway_gateway.snapshots import LAST_GOOD_NAME

from tests.integration.gateway.serving.test_config import is_ready, status_of
from tests.support.gateway import (
    Harness,
    a_base,
    a_model,
    a_policy,
    a_push,
    a_rule,
    a_split,
    a_target,
    gateway_harness,
    only_live,
)

OLD, NEW = a_model("law", version="v1"), a_model("law", version="v2")
ROLLOUT = a_base(OLD, NEW, policies=(a_policy(a_rule(a_target(OLD, candidate=NEW))),))


def a_step(sequence: int, *, epoch: int = 1, share: int = 5000) -> Push:
    return a_push(ROLLOUT, epoch=epoch, sequence=sequence, splits=(a_split(share),))


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("bundle", "state"):
        (tmp_path / name).mkdir()
    return tmp_path / "bundle", tmp_path / "state"


def disk(places: tuple[Path, Path]) -> dict[str, object]:
    return {"bundle_dir": places[0], "state_dir": places[1]}


def shares(harness: Harness) -> list[int]:
    current = harness.gateway.live.current
    assert current is not None
    return list(current.shares.values())


async def test_a_bundle_boots_with_every_candidate_at_0(places: tuple[Path, Path]) -> None:
    """An old bundle must not bring a rolled-back candidate back."""
    (places[0] / BUNDLE_KEY).write_bytes(codec.pack(a_step(7)))
    async with gateway_harness(changes=disk(places)) as harness:
        assert await is_ready(harness)
        assert shares(harness) == [0]
        ack = await status_of(harness)

    assert (ack.epoch, ack.sequence, ack.splits[0].share) == (1, 7, 0)
    assert ack.live != codec.digest_live(a_step(7).live.state)


async def test_the_first_push_after_a_boot_brings_the_share_back(places: tuple[Path, Path]) -> None:
    """Under the very pair that the bundle had, and without its sections."""
    (places[0] / BUNDLE_KEY).write_bytes(codec.pack(a_step(7)))
    async with gateway_harness(changes=disk(places)) as harness:
        status, _ = await harness.put(only_live(a_step(7)))

        assert (status, shares(harness)) == (200, [5000])


@pytest.mark.parametrize(("bundle", "last_good", "expected"), [((1, 9), (1, 8), 9), ((1, 9), (2, 1), 1)])
async def test_the_newer_of_both_is_booted(
    places: tuple[Path, Path], bundle: tuple[int, int], last_good: tuple[int, int], expected: int
) -> None:
    """By (epoch, sequence)."""
    (places[0] / BUNDLE_KEY).write_bytes(codec.pack(a_step(bundle[1], epoch=bundle[0])))
    (places[1] / LAST_GOOD_NAME).write_bytes(codec.pack(a_step(last_good[1], epoch=last_good[0])))
    async with gateway_harness(changes=disk(places)) as harness:
        assert (await status_of(harness)).sequence == expected


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flipped(data: bytes) -> bytes:
    return data[:50] + bytes([data[50] ^ 8]) + data[51:]


def without_base(_: bytes) -> bytes:
    return codec.pack(msgspec.structs.replace(a_step(9), base=None))


def of_the_future(_: bytes) -> bytes:
    base = msgspec.structs.replace(ROLLOUT, schema_major=99)
    return codec.pack(a_push(base, sequence=9))


def unbuildable(_: bytes) -> bytes:
    return codec.pack(a_push(a_base(a_model(backends=())), sequence=9))


DAMAGES = [cut, flipped, without_base, of_the_future, unbuildable, lambda _: b""]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda each: each.__name__)
async def test_p13_of_a_corrupt_newer_one_the_other_is_booted(
    places: tuple[Path, Path], damage: object, caplog: pytest.LogCaptureFixture
) -> None:
    """And the log says which and why."""
    assert callable(damage)
    (places[0] / BUNDLE_KEY).write_bytes(codec.pack(a_step(8)))
    (places[1] / LAST_GOOD_NAME).write_bytes(damage(codec.pack(a_step(9))))
    async with gateway_harness(changes=disk(places)) as harness:
        assert (await status_of(harness)).sequence == 8

    assert {"snapshot_corrupt", "boot_config_rejected"} & {record.message for record in caplog.records}


async def test_p13_with_both_corrupt_a_gateway_is_not_ready_and_says_so(
    places: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    """It lives, and takes the first push."""
    (places[0] / BUNDLE_KEY).write_bytes(b"junk")
    (places[1] / LAST_GOOD_NAME).write_bytes(cut(codec.pack(a_step(9))))
    caplog.set_level(logging.INFO)
    async with gateway_harness(changes=disk(places)) as harness:
        assert not await is_ready(harness)
        assert (await harness.put(a_step(1)))[0] == 200
        assert await is_ready(harness)

    assert [record.message for record in caplog.records].count("snapshot_corrupt") == 2


async def test_the_last_good_config_is_kept_whole_and_private(places: tuple[Path, Path]) -> None:
    """Also when only its live part was pushed; a rejected one is not kept."""
    async with gateway_harness(changes=disk(places)) as harness:
        await harness.put(a_step(1))
        await harness.put(only_live(a_step(2, share=700)))
        await harness.put(a_push(a_base(a_model(backends=())), sequence=3))

    path = places[1] / LAST_GOOD_NAME
    assert codec.unpack(path.read_bytes()) == a_step(2, share=700)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(places[1].iterdir()) == [path]


async def test_f27_a_state_folder_that_cannot_be_written_fails_no_push(
    places: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    """It is counted and logged, and the config runs."""
    missing = places[1] / "gone"
    async with gateway_harness(changes={"state_dir": missing}) as harness:
        assert (await harness.put(a_step(1)))[0] == 200
        await harness.gateway._last_good.flush()
        metrics = await harness.metrics()

    assert metrics["modelway_config_last_good_failures_total"] == 1
    assert "last_good_not_written" in {record.message for record in caplog.records}
