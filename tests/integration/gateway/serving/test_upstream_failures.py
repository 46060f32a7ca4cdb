"""What an upstream does wrong, and what the client is told and the metrics count."""

from __future__ import annotations

import json
import socket
from urllib.parse import urlsplit

import pytest

from modelway_cli.simulator.behaviour import Behaviour
from modelway_cli.simulator.server import SimulatedLLM
from modelway_contract.config import Timeouts

from tests.integration.gateway.serving.scenes import answer, asking_for_a_stream, completion, one_upstream
from tests.support.canary import PROMPT
from tests.support.gateway import USE_KEY, a_backend, a_base, a_model, credentials, gateway_harness
from tests.support.upstreams import OK, answering, answering_once, answering_then_waiting

SECRET = "sk-very-secret-upstream-key"
REFUSAL = json.dumps({
    "error": {"message": f"too long {SECRET}", "type": "x", "code": "context_length_exceeded", "param": "messages"}
}).encode()  # fmt: skip
STATUSES = {
    "400": (answer(400, REFUSAL), 400, "context_length_exceeded", "client_error", "false"),
    "404": (answer(404, REFUSAL), 404, "context_length_exceeded", "upstream_error", "false"),
    "413": (answer(413, b"<html>nginx</html>", kind="text/html"), 413, "invalid_request", "client_error", "false"),
    "422": (answer(422, b'{"message":"bad","code":422}'), 422, "invalid_request", "client_error", "false"),
    "401": (answer(401, REFUSAL), 502, "upstream_credentials_exhausted", "upstream_error", "false"),
    "402": (answer(402, REFUSAL), 502, "upstream_credentials_exhausted", "upstream_error", "false"),
    "403": (answer(403, REFUSAL), 502, "upstream_credentials_exhausted", "upstream_error", "false"),
    "429": (answer(429, REFUSAL, "Retry-After: 7"), 429, "rate_limited", "rate_limited", "true"),
    "500": (answer(500, REFUSAL), 502, "upstream_error", "upstream_error", "false"),
    "503": (answer(503, b"", "Retry-After: 7"), 503, "upstream_error", "upstream_error", "true"),
    "504": (answer(504, b""), 502, "upstream_error", "upstream_error", "false"),
    "529": (answer(529, b"", "Retry-After: 7"), 503, "upstream_error", "upstream_error", "true"),
    "302": (answer(302, b"", "Location: http://169.254.169.254/"), 502, "upstream_error", "upstream_error", "false"),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", 502, "upstream_error", "upstream_error", "false"),
    "reset": (b"", 502, "upstream_error", "upstream_error", "false"),
    "not HTTP": (b"SSH-2.0-OpenSSH\r\n\r\n", 502, "upstream_error", "upstream_error", "false"),
    "huge error": (answer(400, b"x" * 100_000), 400, "invalid_request", "client_error", "false"),
}


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("name", STATUSES)
async def test_a_failing_upstream_is_told_from_a_bad_request(name: str, *, stream: bool) -> None:
    """Status, code, outcome and whether to send again (not what was tried again here); our own key is never shown."""
    sent, status, code, outcome, retry = STATUSES[name]
    script, secrets = answering_once(sent, reset=not sent), credentials(keys={"key": SECRET})
    async with one_upstream(script, backend={"credential": USE_KEY}, secrets=secrets) as (harness, _):
        async with harness.chat({**asking_for_a_stream(), "stream": stream}) as got:
            text = await got.text()
        outcomes = await harness.requests()

    error = json.loads(text)["error"]
    assert (got.status, error["code"], outcomes) == (status, code, {outcome: 1})
    assert got.headers["x-should-retry"] == retry
    assert got.headers.get("retry-after") == ("7" if b"Retry-After" in sent else None)
    assert {"x-modelway-model", "x-modelway-backend", "x-modelway-decision", "x-request-id"} <= {
        each.lower() for each in got.headers
    }
    assert SECRET not in text


BODIES = {
    "empty": b"",
    "cut short": completion()[:-3],
    "array": b"[]",
    "text": b"hello",
    "not UTF-8": b'{"choices":[],"x":"\xff"}',
    "error object": b'{"error":{"message":"boom"}}',
}


@pytest.mark.parametrize("name", BODIES)
async def test_a_200_that_is_no_answer_is_an_error(name: str) -> None:
    """Half a JSON object is never passed on."""
    async with one_upstream(answering(answer(200, BODIES[name]))) as (harness, _):
        async with harness.chat({"model": "llama", "messages": [{}]}) as got:
            assert (got.status, (await got.json())["error"]["code"]) == (502, "upstream_error")
        assert await harness.requests() == {"upstream_error": 1}


SLOW = Timeouts(connect=5.0, first_token=0.3, idle=0.3, total=9.0)
SHORT = Timeouts(connect=5.0, first_token=9.0, idle=9.0, total=0.3)
TIMEOUTS = {
    "no answer": (b"", True, SLOW, "first_token_timeout"),
    "half an answer": (answer(200, completion())[:-5], False, SLOW, "idle_timeout"),
    "all in all": (b"", True, SHORT, "total_timeout"),
    "a whole answer that is being made": (b"", False, SHORT, "total_timeout"),
}


@pytest.mark.parametrize("name", TIMEOUTS)
async def test_each_time_out_has_its_code(name: str) -> None:
    """504, and counted as a time-out."""
    sent, stream, limits, code = TIMEOUTS[name]
    async with one_upstream(answering_then_waiting(sent), backend={"timeouts": limits}) as (harness, _):
        async with harness.chat({"model": "llama", "messages": [{}], "stream": stream}) as got:
            assert (got.status, (await got.json())["error"]["code"]) == (504, code)
        assert await harness.requests() == {"timeout": 1}


async def test_a_whole_answer_may_take_longer_than_a_first_token() -> None:
    """Servers send the head of an answer that is not streamed once all of it is made: only `total` bounds that."""
    limits = Timeouts(connect=5.0, first_token=0.1, idle=5.0, total=9.0)
    async with SimulatedLLM(Behaviour(ttft_ms=600)) as llm:
        port = urlsplit(llm.base_url).port
        base = a_base(a_model(backends=(a_backend(port=port, timeouts=limits),)))
        question = {"model": "llama", "messages": [{"role": "user", "content": PROMPT}]}
        async with gateway_harness(base) as harness, harness.chat(question) as got:
            assert got.status == 200


async def test_an_upstream_that_is_not_there_is_a_connect_error() -> None:
    """502 at once."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        base = a_base(a_model(port=taken.getsockname()[1]))
        async with gateway_harness(base) as harness:
            async with harness.chat({"model": "llama", "messages": [{}]}) as got:
                assert (got.status, (await got.json())["error"]["code"]) == (502, "connect_error")
            assert await harness.requests() == {"connect_error": 1}


async def test_a_model_without_endpoints_is_told_as_such() -> None:
    """503, counted as a failed connection of that model, with its name in the headers."""
    base = a_base(a_model(backends=(a_backend(discovered=True),)))
    async with gateway_harness(base) as harness:
        async with harness.chat({"model": "llama", "messages": [{}]}) as got:
            assert (got.status, (await got.json())["error"]["code"]) == (503, "no_endpoints")
            assert (got.headers["x-modelway-model"], got.headers["x-modelway-attempts"]) == ("llama", "0")
        assert await harness.requests() == {"connect_error": 1}


async def test_nothing_eligible_fails_closed_with_the_reasons() -> None:
    """503, and no upstream is asked."""
    async with one_upstream(answering(OK)) as (harness, upstream):
        image = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]
        async with harness.chat({"model": "chat", "messages": image}) as got:
            error = (await got.json())["error"]

    assert (got.status, error["code"]) == (503, "no_eligible_model")
    assert error["message"] == "No model may serve this request. Excluded: images (1)."
    assert got.headers["x-modelway-rule"] == "default"
    assert upstream.requests == []
