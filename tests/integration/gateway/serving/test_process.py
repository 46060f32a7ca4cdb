"""The process itself: how it starts, and how it ends."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import aiohttp
import pytest

from modelway_contract import codec
from modelway_contract.names import BUNDLE_KEY

from tests.integration.gateway.serving.processes import event, process
from tests.integration.gateway.serving.scenes import DONE, asking_for_a_stream, chunk, one_upstream
from tests.support.gateway import KEY, a_base, a_model, a_policy, a_push, a_rule, a_target, gateway_harness
from tests.support.upstreams import SSE_HEAD, Peer, chunked, raw_upstream


async def test_p20_sigterm_finishes_what_is_under_way_and_exits_0(tmp_path: Path) -> None:
    """Not ready at once, still serving in the pre-stop window, a stream to its end, a new request not lost."""
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(SSE_HEAD, chunked(chunk("a")))
        await go_on.wait()
        await peer.send(chunked(chunk("b") + DONE), b"0\r\n\r\n")
        await peer.until_gone()

    async with raw_upstream(script) as upstream:
        model = a_model(port=upstream.port)
        base = a_base(model, policies=(a_policy(a_rule(a_target(model))),))
        (tmp_path / BUNDLE_KEY).write_bytes(codec.pack(a_push(base)))
        flags = ("--host", "127.0.0.1", "--port", "0", "--metrics-port", "0", "--pre-stop-seconds", "1")
        async with (
            process(*flags, MODELWAY_BUNDLE_DIR=str(tmp_path), MODELWAY_GRACE_SECONDS="10") as started,
            aiohttp.ClientSession() as session,
        ):
            listening = await event(started, "listening")
            assert listening["admin"] is None
            url = f"http://127.0.0.1:{listening['clients']}/v1/chat/completions"
            headers = {"Authorization": f"Bearer {KEY}"}
            ready = f"http://127.0.0.1:{listening['metrics']}/readyz"
            async with session.get(ready) as got:
                assert got.status == 200
            async with session.post(url, json=asking_for_a_stream(), headers=headers) as stream:
                first = await stream.content.readuntil(b"\n\n")
                started.send_signal(signal.SIGTERM)
                await event(started, "stopping")
                async with session.get(ready) as got:
                    assert got.status == 503
                async with session.post(url, json=asking_for_a_stream(), headers=headers) as late:
                    assert (late.status, late.headers["Connection"]) == (200, "close")
                    assert (await event(started, "draining"))["under_way"] == 2
                    await asyncio.sleep(0.2)  # a stream that is cut off would be by now
                    go_on.set()
                    rest = await stream.content.read()
                    assert (first + rest).endswith(DONE)
                    assert (await late.content.read()).endswith(DONE)
            await event(started, "stopped")
            assert await started.wait() == 0


async def test_f57_at_the_deadline_a_stream_ends_with_an_error_that_says_why() -> None:
    """Not with a bare end of the connection, and without blame for either arm."""

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(SSE_HEAD, chunked(chunk("a")))
        await peer.until_gone()

    async with one_upstream(script, changes={"grace_seconds": 0.3}) as (harness, _):
        async with harness.chat(asking_for_a_stream()) as got:
            await got.content.readuntil(b"\n\n")
            draining = asyncio.create_task(harness.gateway.drain())
            last = await got.content.readuntil(b"\n\n")
            await draining
        series = [
            each.requests for each in harness.gateway.metrics.book.requests.shown() if any(each.requests.values())
        ]

    assert json.loads(last[6:])["error"]["code"] == "shutting_down"
    assert [{outcome: count for outcome, count in each.items() if count} for each in series] == [{"client_cancel": 1}]


@pytest.mark.parametrize(
    ("arguments", "environment", "says"),
    [
        (["--admin-token-file", "/nonexistent"], {}, "cannot be read"),
        ([], {"MODELWAY_ADMIN_TOKEN": "t" * 20}, "loopback only"),
        ([], {"MODELWAY_PORT": "http"}, "MODELWAY_PORT"),
    ],
)
async def test_settings_that_cannot_work_end_the_process_with_2(
    arguments: list[str], environment: dict[str, str], says: str
) -> None:
    """And one line that says what to change, without the token."""
    async with process(*arguments, **environment) as started:
        _, errors = await started.communicate()

    assert started.returncode == 2
    assert says in errors.decode()
    assert "tttt" not in errors.decode()


async def test_without_certificate_and_token_there_is_no_admin_port() -> None:
    """Fail closed."""
    async with gateway_harness(changes={"admin_token": None}) as harness:
        assert harness.gateway.admin_url is None
