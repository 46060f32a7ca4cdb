"""P25: keys and prompts stay where they belong."""

from __future__ import annotations

import io
import json
import logging

import pytest

from modelway_gateway.logs import JsonFormatter

from tests.integration.gateway.serving.scenes import answer, asking_for_a_stream, chunk, one_upstream
from tests.support.canary import PROMPT
from tests.support.gateway import KEY, TOKEN, USE_KEY, a_backend, a_base, a_model, a_push, credentials
from tests.support.upstreams import SSE_HEAD, Peer, chunked

UPSTREAM_KEY = "sk-canary-upstream-key-31415"


async def test_p25_no_key_and_no_prompt_leaves_this_process_but_to_the_upstream(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Errors, headers, metrics, status, dumps and logs are searched after all sorts of traffic."""
    shown: list[str] = []
    echo = json.dumps({"error": {"message": f"{UPSTREAM_KEY} {PROMPT}", "code": UPSTREAM_KEY}}).encode()
    number = 0

    async def script(peer: Peer) -> None:
        nonlocal number
        number += 1
        await peer.read_request()
        turn = number % 4
        if turn == 0:
            await peer.send(answer(401, echo))
        elif turn == 1:
            await peer.send(answer(500, echo))
        elif turn == 2:
            await peer.send(SSE_HEAD, chunked(chunk("a")), chunked(b"data: " + echo + b"\n\n"), b"0\r\n\r\n")
        else:
            await peer.send(echo)

    log = io.StringIO()
    handler = logging.StreamHandler(log)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.addHandler(handler)
    caplog.set_level(logging.DEBUG)
    secrets = credentials(keys={"key": UPSTREAM_KEY})
    try:
        async with one_upstream(script, backend={"credential": USE_KEY}, secrets=secrets) as (harness, upstream):
            for _ in range(8):
                body = {**asking_for_a_stream("chat"), "messages": [{"role": "user", "content": PROMPT}]}
                async with harness.chat(body) as got:
                    shown += [str(got.headers), await _text(got)]
            for bad in ({**body, "model": PROMPT}, {**body, "stream": PROMPT}, {**body, "api_key": UPSTREAM_KEY}):
                async with harness.chat(bad) as got:
                    shown += [str(got.headers), await got.text()]
            async with harness.chat(body, Authorization=f"Bearer {UPSTREAM_KEY}") as got:
                shown += [str(got.headers), await got.text()]
            wrong = a_model(backends=(a_backend(id="x", credential=USE_KEY, port=0),))
            status, answered = await harness.put(a_push(a_base(wrong), sequence=50, secrets=secrets))
            assert status == 422
            shown.append(str(answered))
            bad_key = credentials(keys={"key": UPSTREAM_KEY + "\n"})
            shown.append(str(await harness.put(a_push(a_base(a_model()), sequence=51, secrets=bad_key))))
            for path in ("config", "config/status"):
                headers = {"Authorization": f"Bearer {TOKEN}"}
                async with harness.session.get(f"{harness.gateway.admin_url}/{path}", headers=headers) as got:
                    shown.append(await got.text())
            async with harness.session.get(f"{harness.gateway.metrics_url}/metrics") as got:
                shown.append(await got.text())
    finally:
        root.removeHandler(handler)
    shown += [log.getvalue(), caplog.text]

    assert any(UPSTREAM_KEY.encode() in head for head, _ in upstream.requests)
    assert any(PROMPT.encode() in body for _, body in upstream.requests)
    for canary in (UPSTREAM_KEY, PROMPT, KEY, TOKEN):
        assert [text for text in shown if canary in text] == []


async def _text(got: object) -> str:
    """What arrived, whether or not it came to its end."""
    import aiohttp

    assert isinstance(got, aiohttp.ClientResponse)
    text = b""
    try:
        async for data in got.content.iter_any():
            text += data
    except aiohttp.ClientPayloadError:
        pass
    return text.decode()
