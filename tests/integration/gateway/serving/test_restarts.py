"""Gateways that end and begin while others serve: real processes, signals, and files on disk."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from modelway_contract import codec
from modelway_contract.config import Base
from modelway_contract.names import BUNDLE_KEY
from modelway_gateway.snapshots import LAST_GOOD_NAME

from tests.integration.gateway.serving.processes import LOOPBACK, Running, event, listening, process
from tests.integration.gateway.serving.scenes import DONE, END, answer, asking_for_a_stream, chunk, completion
from tests.support.canary import PROMPT
from tests.support.gateway import (
    KEY,
    TOKEN,
    a_backend,
    a_base,
    a_model,
    a_policy,
    a_push,
    a_rule,
    a_split,
    a_target,
)
from tests.support.upstreams import SSE_HEAD, Peer, answering, chunked, raw_upstream

AUTHORIZED = {"Authorization": f"Bearer {KEY}"}
WHOLE = {"model": "chat", "messages": [{"role": "user", "content": PROMPT}]}
STREAM = asking_for_a_stream("chat")
BOOT_SECONDS = 2.0
"""What the process may take from its start, its CPU time counted: other work on this machine is not its own."""


def a_rollout(stable: int, candidate: int) -> Base:
    """`chat` leads to `law`, whose candidate has a backend of its own."""
    old = a_model("law", version="v1", backends=(a_backend(id="v1", port=stable),))
    new = a_model("law", version="v2", backends=(a_backend(id="v2", port=candidate),))
    return a_base(old, new, policies=(a_policy(a_rule(a_target(old, candidate=new))),))


def pack(base: Base, *, sequence: int = 1, share: int = 10_000) -> bytes:
    return codec.pack(a_push(base, sequence=sequence, splits=(a_split(share),)))


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, its start included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


async def until_cut(stream: aiohttp.ClientResponse) -> bytes:
    """What came before the connection ended without the answer's end."""
    text = b""
    try:
        async for data in stream.content.iter_any():
            text += data
    except aiohttp.ClientPayloadError:
        return text
    raise AssertionError("the answer came to its end")


def names_in(folder: Path) -> list[str]:
    return [each.name for each in folder.iterdir()]


@pytest.mark.parametrize("place", ["bundle", "state"])
async def test_p13_f26_a_gateway_boots_from_disk_with_nothing_else_running(place: str, tmp_path: Path) -> None:
    """Within two seconds of its start, with the candidate at 0 though the file says 100 %."""
    good = answering(answer(200, completion()))
    async with raw_upstream(good) as stable, raw_upstream(good) as candidate:
        name = BUNDLE_KEY if place == "bundle" else LAST_GOOD_NAME
        (tmp_path / name).write_bytes(pack(a_rollout(stable.port, candidate.port)))
        async with listening(f"--{place}-dir", str(tmp_path)) as running, aiohttp.ClientSession() as session:
            used = cpu_seconds(running.started.pid)
            assert await running.is_ready(session)
            for _ in range(20):
                async with session.post(running.chat_url, json=WHOLE, headers=AUTHORIZED) as got:
                    assert got.status == 200

    assert used <= BOOT_SECONDS
    assert (len(stable.requests), candidate.requests) == (20, [])


async def test_p13_both_corrupt_lives_not_ready_and_says_which(tmp_path: Path) -> None:
    """Two lines that name the source; it goes on waiting for the operator."""
    for name in (BUNDLE_KEY, LAST_GOOD_NAME):
        (tmp_path / name).write_bytes(pack(a_rollout(1, 2))[:-40])
    flags = ("--bundle-dir", str(tmp_path), "--state-dir", str(tmp_path))
    async with process(*LOOPBACK, *flags, MODELWAY_ADMIN_TOKEN=TOKEN) as started, aiohttp.ClientSession() as session:
        lines = [await event(started, name) for name in ("snapshot_corrupt", "snapshot_corrupt", "no_config")]
        ports = await event(started, "listening")
        async with session.get(f"http://127.0.0.1:{ports['metrics']}/readyz") as got:
            assert (got.status, await got.text()) == (503, "no config yet\n")
        assert started.returncode is None

    assert {line["source"] for line in lines[:2]} == {"last-good", "bundle"}


async def test_f57_a_stream_of_a_minute_ends_at_the_deadline_and_the_process_with_it(tmp_path: Path) -> None:
    """Not ready at once, requests still taken in the pre-stop window, an error event, exit 0 within the grace."""

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(SSE_HEAD, chunked(chunk("a")))
        for _ in range(600):
            await asyncio.sleep(0.1)
            await peer.send(chunked(chunk("b")))

    async with raw_upstream(script) as upstream, aiohttp.ClientSession() as session:
        (tmp_path / BUNDLE_KEY).write_bytes(pack(a_rollout(upstream.port, 1), share=0))
        flags = ("--bundle-dir", str(tmp_path), "--pre-stop-seconds", "0.5", "--grace-seconds", "1")
        async with listening(*flags) as running:
            async with session.post(running.chat_url, json=STREAM, headers=AUTHORIZED) as stream:
                await stream.content.readuntil(b"\n\n")
                began = time.monotonic()
                running.started.send_signal(signal.SIGTERM)
                await event(running.started, "stopping")
                assert not await running.is_ready(session)
                async with session.post(running.chat_url, json=STREAM, headers=AUTHORIZED) as late:
                    assert late.status == 200
                text = await until_cut(stream)
            assert await running.started.wait() == 0
            took = time.monotonic() - began

    assert json.loads(text.rstrip().rpartition(b"data: ")[2])["error"]["code"] == "shutting_down"
    assert 1.4 <= took <= 6


async def test_f58_sigterm_twice_ends_no_sooner_and_no_worse(tmp_path: Path) -> None:
    """The second one changes nothing: what is under way is finished."""
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(SSE_HEAD, chunked(chunk("a")))
        await go_on.wait()
        await peer.send(chunked(DONE), END)

    async with raw_upstream(script) as upstream, aiohttp.ClientSession() as session:
        (tmp_path / BUNDLE_KEY).write_bytes(pack(a_rollout(upstream.port, 1), share=0))
        flags = ("--bundle-dir", str(tmp_path), "--pre-stop-seconds", "0", "--grace-seconds", "20")
        async with listening(*flags) as running:
            async with session.post(running.chat_url, json=STREAM, headers=AUTHORIZED) as stream:
                await stream.content.readuntil(b"\n\n")
                running.started.send_signal(signal.SIGTERM)
                await event(running.started, "draining")
                running.started.send_signal(signal.SIGTERM)
                running.started.send_signal(signal.SIGINT)
                go_on.set()
                assert (await stream.content.read()).endswith(DONE)
            await event(running.started, "stopped")
            assert await running.started.wait() == 0


@pytest.mark.parametrize("delay_ms", [0, 100, 200, 400, 800])
async def test_f58_sigterm_during_the_boot_ends_it_and_leaves_the_files_alone(delay_ms: int, tmp_path: Path) -> None:
    """Whether or not it came to listen; a large config is being read meanwhile."""
    models = tuple(a_model(f"m{number}") for number in range(2000))
    kept = codec.pack(a_push(a_base(*models)))
    path = tmp_path / LAST_GOOD_NAME
    path.write_bytes(kept)
    flags = ("--state-dir", str(tmp_path), "--pre-stop-seconds", "0")
    async with process(*LOOPBACK, *flags, MODELWAY_ADMIN_TOKEN=TOKEN) as started:
        await asyncio.sleep(delay_ms / 1000)  # the moment is what is tried, not waited for
        started.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            _, errors = await started.communicate()

    assert started.returncode in (0, -signal.SIGTERM)
    assert b"Traceback" not in errors
    assert path.read_bytes() == kept
    assert names_in(tmp_path) == [path.name]


async def test_f58_sigterm_during_a_push_leaves_a_whole_config(tmp_path: Path) -> None:
    """The one before or the one pushed, never half of one; the process ends in order."""
    models = tuple(a_model(f"m{number}") for number in range(1500))
    before, pushed = pack(a_base(*models[:10]), sequence=1), codec.pack(a_push(a_base(*models), sequence=2))
    path = tmp_path / LAST_GOOD_NAME
    path.write_bytes(before)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    flags = ("--state-dir", str(tmp_path), "--pre-stop-seconds", "0")
    async with listening(*flags) as running, aiohttp.ClientSession() as session:

        async def push() -> int:
            try:
                async with session.put(running.config_url, data=pushed, headers=headers) as got:
                    return got.status
            except aiohttp.ClientError:
                return 0

        pushing = asyncio.create_task(push())
        await asyncio.sleep(0.05)
        running.started.send_signal(signal.SIGTERM)
        status = await pushing
        async with asyncio.timeout(20):
            assert await running.started.wait() == 0

    kept = codec.unpack(path.read_bytes())
    assert kept.live.sequence in (1, 2)
    assert kept.live.sequence == 2 or status != 200
    assert names_in(tmp_path) == [path.name]


# Rolling restarts


class Balancer:
    """What a Service does, more or less: requests go to replicas that said they were ready when last asked."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._replicas: list[Running] = []
        self._turn = 0

    async def keep(self, replicas: list[Running]) -> None:
        """Ask all of them whether they are ready; those who are not get nothing from now on."""
        ready = [each for each in replicas if await each.is_ready(self._session)]
        assert ready
        self._replicas = ready

    def next(self) -> str:
        self._turn += 1
        return self._replicas[self._turn % len(self._replicas)].chat_url


async def test_p20_ten_restarts_under_load_lose_no_request(tmp_path: Path) -> None:
    """Two replicas, one replaced after the other; streams and whole answers: 0 that are not 200 and complete."""

    async def script(peer: Peer) -> None:
        while True:
            body = await peer.read_request()
            if b'"stream":true' not in body:
                await peer.send(answer(200, completion()))
                continue
            await peer.send(SSE_HEAD, chunked(chunk("a")))
            for _ in range(10):
                await asyncio.sleep(0.05)
                await peer.send(chunked(chunk("b")))
            await peer.send(chunked(DONE), END)

    wrong: list[str] = []
    served = {"whole": 0, "stream": 0}
    flags = ("--bundle-dir", str(tmp_path), "--pre-stop-seconds", "0.5", "--grace-seconds", "10")
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(raw_upstream(script))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        (tmp_path / BUNDLE_KEY).write_bytes(pack(a_rollout(upstream.port, 1), share=0))
        replicas = [await stack.enter_async_context(listening(*flags)) for _ in range(2)]
        balancer = Balancer(session)
        await balancer.keep(replicas)
        running = True

        async def load(question: dict[str, Any], kind: str) -> None:
            while running:
                try:
                    async with session.post(balancer.next(), json=question, headers=AUTHORIZED) as got:
                        text = await got.read()
                except aiohttp.ClientError as exc:
                    wrong.append(f"{kind}: {exc!r}")
                    continue
                if got.status != 200 or (kind == "stream" and not text.endswith(DONE)):
                    wrong.append(f"{kind}: {got.status} {text[-300:]!r}")
                served[kind] += 1

        loads = [asyncio.create_task(load(WHOLE, "whole")) for _ in range(3)]
        loads += [asyncio.create_task(load(STREAM, "stream")) for _ in range(5)]
        for _ in range(10):
            old = replicas.pop(0)
            replicas.append(await stack.enter_async_context(listening(*flags)))
            await balancer.keep([old, *replicas])
            old.started.send_signal(signal.SIGTERM)
            await event(old.started, "stopping")
            await balancer.keep([old, *replicas])
            async with asyncio.timeout(20):
                assert await old.started.wait() == 0
        running = False
        await asyncio.gather(*loads)

    assert wrong == []
    assert served["whole"] > 100
    assert served["stream"] > 50
