"""Each way to fail as it looks on the wire, and what the simulator counts of it."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from modelway_cli.errors import ListenError
from modelway_cli.simulator.behaviour import Behaviour, ErrorMode
from modelway_cli.simulator.server import SimulatedLLM, tls_context
from modelway_cli.simulator.stats import Outcome

from tests.integration.cli.conditions import until


@dataclass(frozen=True)
class Wire:
    """What a client read: the head, the body without its framing, and how the connection ended."""

    head: bytes
    body: bytes
    ending: str
    """`end`: at the message's end or by FIN; `reset`: by RST; `still`: not at all."""


@pytest.fixture
async def llm() -> AsyncIterator[SimulatedLLM]:
    async with SimulatedLLM(Behaviour(models=("m",), tokens=6, error_rate=1.0, error_after_tokens=2)) as running:
        yield running


def a_body(*, stream: bool) -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": stream}).encode()


async def read_wire(llm: SimulatedLLM, *, stream: bool) -> Wire:
    """Sends a request on a bare connection and reads until it ends or stands still."""
    host, _, port = llm.root_url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    body = a_body(stream=stream)
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    )
    writer.write(body)
    data, ending = b"", "end"
    try:
        while piece := await asyncio.wait_for(reader.read(65536), 0.5):
            data += piece
    except TimeoutError:
        ending = "still"
    except ConnectionResetError:
        ending = "reset"
    writer.close()
    head, _, rest = data.partition(b"\r\n\r\n")
    if b"chunked" in head:
        rest = b"".join(part for number, part in enumerate(rest.split(b"\r\n")) if number % 2)
    return Wire(head, rest, ending)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("mode", "ending"), [(ErrorMode.RESET, "reset"), (ErrorMode.HANG, "still")])
async def test_failures_without_an_answer(llm: SimulatedLLM, mode: ErrorMode, ending: str, stream: bool) -> None:
    """Not one byte; a reset is RST and not an orderly end."""
    llm.behave(error_mode=mode)

    assert Wire(b"", b"", ending) == await read_wire(llm, stream=stream)
    await until(lambda: llm.stats.by_outcome == {Outcome(mode): 1})


async def test_a_stalled_stream_starts_and_then_stands_still(llm: SimulatedLLM) -> None:
    """The tokens asked for come, and the connection stays open."""
    llm.behave(error_mode=ErrorMode.STALL_MID_STREAM)

    seen = await read_wire(llm, stream=True)

    assert (seen.ending, seen.body.count(b"data: ")) == ("still", 3)
    assert b"[DONE]" not in seen.body
    await until(lambda: llm.stats.by_outcome == {Outcome.STALL_MID_STREAM: 1})
    assert (llm.stats.open_streams, llm.stats.cancelled) == (0, 1)


async def test_a_stalled_plain_answer_has_a_length_it_never_reaches(llm: SimulatedLLM) -> None:
    """Half of the body, and the connection stays open."""
    llm.behave(error_mode=ErrorMode.STALL_MID_STREAM)

    seen = await read_wire(llm, stream=False)

    length = int(seen.head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    assert ("still", length // 2) == (seen.ending, len(seen.body))


@pytest.mark.parametrize("tokens", [0, 2])
async def test_an_error_in_a_stream_follows_the_tokens_asked_for(llm: SimulatedLLM, tokens: int) -> None:
    """A 200, who speaks, the tokens, an event with an error, and no end mark."""
    llm.behave(error_mode=ErrorMode.ERROR_IN_STREAM, error_after_tokens=tokens, error_status=503)

    seen = await read_wire(llm, stream=True)

    events = [json.loads(line[6:]) for line in seen.body.split(b"\n\n") if line]
    assert seen.head.startswith(b"HTTP/1.1 200")
    assert ("end", tokens + 2) == (seen.ending, len(events))
    assert events[-1]["error"]["code"] == "service_unavailable"


async def test_an_error_in_a_plain_200(llm: SimulatedLLM) -> None:
    """The body is the error."""
    llm.behave(error_mode=ErrorMode.ERROR_IN_STREAM)

    seen = await read_wire(llm, stream=False)

    assert seen.head.startswith(b"HTTP/1.1 200")
    assert json.loads(seen.body)["error"]["type"] == "server_error"


@pytest.mark.parametrize("stream", [False, True])
async def test_an_empty_200(llm: SimulatedLLM, stream: bool) -> None:
    """A good status and nothing else."""
    llm.behave(error_mode=ErrorMode.EMPTY_200)

    seen = await read_wire(llm, stream=stream)

    assert seen.head.startswith(b"HTTP/1.1 200")
    assert (seen.body, seen.ending) == (b"", "end")


async def test_a_malformed_plain_answer(llm: SimulatedLLM) -> None:
    """A 200 whose JSON is cut short, with a length that fits."""
    llm.behave(error_mode=ErrorMode.MALFORMED)

    seen = await read_wire(llm, stream=False)

    assert seen.head.startswith(b"HTTP/1.1 200")
    with pytest.raises(json.JSONDecodeError):
        json.loads(seen.body)
    assert seen.body.startswith(b'{"id":')


async def test_a_malformed_stream(llm: SimulatedLLM) -> None:
    """Good events, then one that is no JSON, then the end."""
    llm.behave(error_mode=ErrorMode.MALFORMED)

    *good, bad, _ = (await read_wire(llm, stream=True)).body.split(b"\n\n")

    assert len(good) == 3
    assert all(json.loads(event[6:]) for event in good)
    with pytest.raises(json.JSONDecodeError):
        json.loads(bad[6:])


async def test_a_client_that_leaves_is_counted(llm: SimulatedLLM) -> None:
    """An answer that would have been good is cancelled; its stream is open until then."""
    llm.behave(error_rate=0, token_ms=60_000)
    async with aiohttp.ClientSession() as session:
        answer = await session.post(f"{llm.base_url}/chat/completions", data=a_body(stream=True))
        await until(lambda: llm.stats.open_streams == 1)
        answer.close()
        await until(lambda: llm.stats.open_streams == 0)

    assert (llm.stats.cancelled, llm.stats.by_outcome) == (1, {Outcome.CANCELLED: 1})


async def test_closing_cuts_what_would_never_end(llm: SimulatedLLM) -> None:
    """A server with a hanging request closes, and no client is blamed for it."""
    async with SimulatedLLM(Behaviour(models=("m",), error_rate=1, error_mode=ErrorMode.HANG)) as closing:
        waiting = asyncio.create_task(read_wire(closing, stream=False))
        await until(lambda: closing.stats.received == 1)

    assert (await waiting).ending == "reset"
    assert (closing.stats.cancelled, closing.stats.by_outcome) == (0, {Outcome.HANG: 1})


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b'{"a":' * 100_000, "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b"null", "object"),
        (b'{"messages":[{"role":"user"}]}', "model"),
        (b'{"model":7,"messages":[{"role":"user"}]}', "$.model"),
        (b'{"model":"m"}', "messages"),
        (b'{"model":"m","messages":[]}', "$.messages"),
        (b'{"model":"m","messages":[{"role":"king"}]}', "role"),
        (b'{"model":"m","messages":[{"role":"user"}],"stream":"yes"}', "$.stream"),
        (b'{"model":"m","messages":[{"role":"user"}],"max_tokens":0}', "$.max_tokens"),
    ],
)
async def test_bad_requests(llm: SimulatedLLM, body: bytes, says: str) -> None:
    """400 in OpenAI's shape, saying where; no draw is spent on them."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{llm.base_url}/chat/completions", data=body) as answer,
    ):
        error = (await answer.json())["error"]

    assert (answer.status, error["type"]) == (400, "invalid_request_error")
    assert says in error["message"]
    assert llm.stats.by_outcome == {Outcome.BAD_REQUEST: 1}


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/v1/chat/completions", 405), ("POST", "/v1/embeddings", 404)]
)
async def test_what_is_not_there(llm: SimulatedLLM, method: str, path: str, status: int) -> None:
    """Even that is said in OpenAI's shape."""
    async with aiohttp.ClientSession() as session, session.request(method, llm.root_url + path) as answer:
        assert (status, "invalid_request_error") == (answer.status, (await answer.json())["error"]["type"])


async def test_unknown_fields_and_parts_are_let_through(llm: SimulatedLLM) -> None:
    """A backend does not refuse what it does not know; text parts count as words."""
    llm.behave(error_rate=0)
    parts = [{"type": "text", "text": "two words"}, {"type": "image_url", "image_url": {"url": "data:"}}]
    request = {"model": "m", "messages": [{"role": "user", "content": parts}], "new_field": {"a": 1}}

    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{llm.base_url}/chat/completions", json=request) as answer,
    ):
        assert (await answer.json())["usage"]["prompt_tokens"] == 2


async def test_behaviour_can_be_changed_while_it_runs(llm: SimulatedLLM) -> None:
    """`PUT` changes what it names from the next request on, shows no key, and refuses nonsense whole."""
    llm.behave(error_rate=0)
    async with aiohttp.ClientSession() as session:
        async with session.put(f"{llm.root_url}/behaviour", json={"tokens": 3, "api_key": "very-secret"}) as answer:
            changed = await answer.json()
        async with session.put(f"{llm.root_url}/behaviour", json={"tokens": 9, "no_such": 1}) as answer:
            refusal = (answer.status, (await answer.json())["error"]["message"])
        async with session.put(f"{llm.root_url}/behaviour", data=b"[") as answer:
            assert answer.status == 400
        async with session.get(f"{llm.root_url}/behaviour") as answer:
            assert changed == await answer.json()

    assert (changed["tokens"], changed["models"][0]) == (3, "m")
    assert "very-secret" not in json.dumps(changed)
    assert refusal[0] == 400
    assert "no_such" in refusal[1]
    assert (llm.behaviour.tokens, llm.behaviour.api_key) == (3, "very-secret")


async def test_what_was_received_can_be_recounted_over_http(llm: SimulatedLLM) -> None:
    """`/stats` and `/metrics` agree with each other, and `/stats/reset` begins anew."""
    llm.behave(error_rate=0)
    async with aiohttp.ClientSession() as session:
        for body in (a_body(stream=False), a_body(stream=True), b"{"):
            async with session.post(f"{llm.base_url}/chat/completions", data=body) as answer:
                await answer.read()
        async with session.get(f"{llm.root_url}/stats") as answer:
            stats = await answer.json()
        async with session.get(f"{llm.root_url}/metrics") as answer:
            (family,) = text_string_to_metric_families(await answer.text())
        async with session.post(f"{llm.root_url}/stats/reset") as answer:
            after = await answer.json()
        async with session.get(f"{llm.root_url}/health") as answer:
            assert (answer.status, await answer.json()) == (200, {"status": "ok"})

    expected = {
        "received": 3,
        "by_model": {"m": 2, "unknown": 1},
        "by_outcome": {"ok": 2, "bad-request": 1},
        "open_streams": 0,
        "cancelled": 0,
    }
    assert expected == stats
    counted = {(s.labels["model"], s.labels["outcome"]): s.value for s in family.samples if s.value}
    assert counted == {("m", "ok"): 2, ("unknown", "bad-request"): 1}
    assert after["received"] == 0


async def test_a_taken_port_is_said(llm: SimulatedLLM) -> None:
    """The error names the address."""
    port = int(llm.root_url.rpartition(":")[2])

    with pytest.raises(ListenError, match=f"127.0.0.1 port {port}"):
        async with SimulatedLLM(port=port):
            pass


def test_a_certificate_that_cannot_be_loaded_is_said() -> None:
    """The error names the file."""
    with pytest.raises(ListenError, match=r"no\.pem"):
        tls_context(Path("no.pem"), Path("no.key"))
