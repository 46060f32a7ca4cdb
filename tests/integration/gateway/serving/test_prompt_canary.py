"""P25 by force: a real gateway at its most talkative, with all kinds of mishaps around a prompt, and with bugs.

What the process wrote, and what it shows to others than the client who asked, is searched for the prompt.
"""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from modelway_contract import codec
from modelway_contract.config import Fallback, SignalCondition, Timeouts, When
from modelway_contract.prompt_labels import Domain, ExpectedOutput, Pii, Task
from modelway_contract.signals import (
    ClassifierSignal,
    DifficultySignal,
    DomainSignal,
    ExamplesSignal,
    FailureMode,
    InputTokensSignal,
    KeywordsSignal,
    LanguageSignal,
    OutputLengthSignal,
    PiiSignal,
    RegexSignal,
    Signal,
    TaskSignal,
)

from tests.integration.gateway.serving.faulty_gateway import FAULTS
from tests.integration.gateway.serving.processes import Running, listening
from tests.integration.gateway.serving.scenes import DONE, END, answer, chunk, completion
from tests.support.canary import CANARY, PROMPT_CANARY, Canary
from tests.support.gateway import (
    KEY,
    TOKEN,
    a_backend,
    a_base,
    a_model,
    a_policy,
    a_push,
    a_rule,
    a_target,
)
from tests.support.upstreams import SSE_HEAD, Peer, RawUpstream, chunked, raw_upstream

PHRASE = Canary("wombatphrase31415")
"""Stands in the phrases of a policy's own categories: config, which dumps show, and no log or metric."""
ANSWER = Canary("numbatanswer16180")
"""Stands in what models answer."""
PROMPT = f"{PROMPT_CANARY}: a poem about snow for a.person@example.org, IBAN DE89370400440532013000. How hard is it?"

SIGNALS: tuple[Signal, ...] = (
    KeywordsSignal(name="words", any=("nothing like this",)),
    RegexSignal(name="pattern", pattern=r"nothing\s+like\s+this"),
    InputTokensSignal(name="long", at_least=900_000),
    PiiSignal(name="personal", any_of=tuple(Pii)),
    TaskSignal(name="task", any_of=(Task.TRANSLATION,)),
    DomainSignal(name="domain", any_of=(Domain.CHEMISTRY,)),
    LanguageSignal(name="language", any_of=("de",)),
    OutputLengthSignal(name="output", any_of=(ExpectedOutput.SHORT,)),
    DifficultySignal(name="hard", at_least=0.99),
    DifficultySignal(name="hardest", hardest=0.01),
    ExamplesSignal(name="returns", phrases=tuple(f"{PHRASE.word} send it back, number {n}" for n in range(6))),
)

NAMES = ("own", *(each.name for each in SIGNALS))
RARE = tuple(name for name in NAMES if name != "personal")
"""All but the last to be asked say no of the prompt, so that each is read and told of."""

Script = Callable[[Peer, str], Any]


async def _upstream(peer: Peer) -> None:
    """Does what the request's `user` says, and has the prompt in all it says wrong."""
    while True:
        body = json.loads(await peer.read_request())
        if "text" in body:  # a classifier's question
            if not await JUDGEMENTS[body["text"].partition(" judge: ")[2]](peer, body["text"]):
                return
            continue
        said = body["messages"][-1]["content"]
        mode = body.get("user", "good")
        if mode in ENDINGS:
            await ENDINGS[mode](peer, str(said))
            return
        if body.get("stream"):
            events = (chunk(), chunk(f"{ANSWER.word} {said}"), DONE)
            await peer.send(SSE_HEAD, *map(chunked, events), END)
        else:
            await peer.send(answer(200, completion(f"{ANSWER.word} {said}")))


def _quoting(status: int) -> Script:
    async def script(peer: Peer, said: str) -> None:
        text = json.dumps({"error": {"message": f"bad prompt {said}", "code": said, "param": said, "type": said}})
        word = said.split(":", maxsplit=1)[0]
        lines = (f"Retry-After: {word}", f"X-Detail: {word}", f"Location: /{word}")
        await peer.send(answer(status, text.encode(), *lines).replace(b"Whatever", word.encode()))

    return script


def _sending(*pieces: str | bytes, wait: bool = False, reset: bool = False) -> Script:
    async def script(peer: Peer, said: str) -> None:
        word = said.split(":", maxsplit=1)[0].encode()
        for piece in pieces:
            await peer.send((piece.encode() if isinstance(piece, str) else piece).replace(b"PROMPT", word))
        if wait:
            await peer.until_gone()
        if reset:
            peer.reset()

    return script


_ERROR = b'{"error":{"message":"PROMPT","code":"PROMPT"}}'
_IN_200 = answer(200, _ERROR.replace(b"PROMPT", PROMPT_CANARY.encode()))

ENDINGS: dict[str, Script] = {
    **{f"status {status}": _quoting(status) for status in (401, 404, 408, 429, 500, 503, 302, 529)},
    "error in a 200": _sending(_IN_200),
    "no JSON": _sending(answer(200, b"PROMPT" * 3).replace(b"Length: 18", b"Length: %d" % (3 * len(PROMPT_CANARY)))),
    "no HTTP": _sending("PROMPT PROMPT\r\n\r\n"),
    "bad header": _sending("HTTP/1.1 200 OK\r\nPROMPT\r\nbad header: \0PROMPT\r\n\r\n"),
    "bad length": _sending("HTTP/1.1 200 OK\r\nContent-Length: PROMPT\r\n\r\nPROMPT"),
    "bad chunk": _sending("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nPROMPT\r\n"),
    "cut": _sending("HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nPROMPT"),
    "reset": _sending("HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nPROMPT", reset=True),
    "reset at once": _sending(reset=True),
    "silence": _sending(wait=True),
    "stream error": _sending(SSE_HEAD, chunked(chunk("a")), b"%x\r\n" % (len(_ERROR) + 2 * len(PROMPT_CANARY) - 4)),
    "event error": _sending(
        SSE_HEAD, chunked(chunk("a")), chunked(b"data: " + _IN_200.partition(b"\r\n\r\n")[2] + b"\n\n"), END
    ),
    "event first": _sending(SSE_HEAD, chunked(b"data: " + _IN_200.partition(b"\r\n\r\n")[2] + b"\n\n"), END),
    "event no JSON": _sending(SSE_HEAD, chunked(b"data: " + PROMPT_CANARY.encode() + b"\n\n"), END),
    "stream silence": _sending(SSE_HEAD, chunked(chunk("a")), wait=True),
}


def _judging(reply: Callable[[str], bytes], *, closes: bool = False) -> Callable[[Peer, str], Awaitable[bool]]:
    async def judge(peer: Peer, text: str) -> bool:
        await peer.send(reply(text))
        return not closes

    return judge


async def _says_nothing(peer: Peer, _: str) -> bool:
    await peer.until_gone()
    return False


def _said(**fields: Any) -> bytes:
    return answer(200, json.dumps(fields).encode())


JUDGEMENTS: dict[str, Callable[[Peer, str], Awaitable[bool]]] = {
    "": _judging(lambda text: _said(label=text, confidence=0.9, text=text)),
    "known label": _judging(lambda text: _said(label="legal", confidence=0.3, text=text, **{text: text})),
    "confidence": _judging(lambda text: _said(label="legal", confidence=text)),
    "label of a wrong kind": _judging(lambda text: _said(label=[text], confidence=0.9)),
    "no JSON": _judging(lambda text: answer(200, text.encode())),
    "not UTF-8": _judging(lambda text: answer(200, b'{"label":"\xff' + text.encode() + b'","confidence":1}')),
    "too large": _judging(lambda text: answer(200, text.encode() * 200), closes=True),
    "status 500": _judging(lambda text: answer(500, text.encode()).replace(b"Whatever", text.encode())),
    "redirect": _judging(lambda text: answer(302, b"", f"Location: http://{PROMPT_CANARY}.invalid/{text}")),
    "cookie": _judging(lambda _: answer(500, b"", f"Set-Cookie: {PROMPT_CANARY}={PROMPT_CANARY}; Domain=\x01")),
    "no HTTP": _judging(lambda text: text.encode() + b"\r\n\r\n", closes=True),
    "bad header": _judging(lambda text: b"HTTP/1.1 200 OK\r\n\0" + text.encode() + b"\r\n\r\n", closes=True),
    "bad chunk": _judging(
        lambda text: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + text.encode() + b"\r\n", closes=True
    ),
    "cut": _judging(lambda text: b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n" + text.encode(), closes=True),
    "silence": _says_nothing,
}
"""What a classifier answers to a text that ends in ` judge: ` and this name."""

QUOTED = json.dumps(PROMPT).encode()
BAD_BODIES: dict[str, bytes] = {
    "cut": b'{"model":"chat","messages":[{"role":"user","content":' + QUOTED[:-1],
    "trailing comma": b'{"model":"chat","messages":[{"role":"user","content":' + QUOTED + b"},]}",
    "no JSON": PROMPT.encode(),
    "bare string": QUOTED,
    "not UTF-8": b'{"model":"chat","messages":[{"role":"user","content":"\xff' + PROMPT.encode() + b'"}]}',
    "half a pair": b'{"model":"chat","messages":[{"role":"user","content":"\\ud800 ' + PROMPT.encode() + b'"}]}',
    "bad escape": b'{"model":"chat","messages":[{"role":"user","content":"\\q' + PROMPT.encode() + b'"}]}',
    "too deep": b'{"model":"chat","messages":' + b"[" * 3000 + QUOTED + b"]" * 3000 + b"}",
    "too long": b'{"model":"chat","messages":[{"role":"user","content":"' + (PROMPT.encode() + b" ") * 12_000 + b'"}]}',
    "as messages": b'{"model":"chat","messages":' + QUOTED + b"}",
    "as model": b'{"model":' + QUOTED + b',"messages":[]}',
    "as stream": b'{"model":"chat","messages":[],"stream":' + QUOTED + b"}",
    "as unknown model": b'{"model":"%b","messages":[{"role":"user","content":"x"}]}' % PROMPT_CANARY.encode(),
    "as key": b'{"model":"chat","messages":[],' + QUOTED + b":1," + QUOTED + b":2",
    "as api_key": b'{"model":"chat","messages":[],"api_key":' + QUOTED + b"}",
}


PASSED_ON = {200, 404}
"""Statuses with which a client gets an upstream's own words, about nothing but its own request."""
BAD_STATUSES = {"too long": 413, "as unknown model": 404}


@dataclass
class Seen:
    """What the process showed to anybody but the client who asked, and what it wrote."""

    places: dict[str, bytes] = field(default_factory=dict)
    log: bytes = b""

    def lines(self) -> list[dict[str, Any]]:
        """Its log; every line is an object."""
        return [json.loads(line) for line in self.log.splitlines()]

    def hold(self, canary: Canary) -> list[str]:
        """Where the word stands."""
        everything = {**self.places, "log": self.log}
        return [f"{place}: {form}" for place, data in everything.items() for form in canary.forms_in(data)]


def a_config(port: int, *, dead: int = 9, failure_mode: FailureMode = FailureMode.NO_MATCH) -> Any:
    """A policy that reads everything that can be read of a prompt, with retries and a fallback."""
    times = Timeouts(connect=1.0, first_token=0.4, idle=0.4, total=3.0)
    places = tuple(
        a_backend(id=f"team/llama@v1/{name}", name=name, port=at, timeouts=times)
        for name, at in (("one", port), ("two", port), ("dead", dead))
    )
    llama = a_model(backends=places)
    spare = a_model("spare", backends=(a_backend(id="team/spare@v1/main", port=port, timeouts=times),))
    rules = (
        *(a_rule(a_target(llama), name=name, when=When(all=(SignalCondition(name=name),))) for name in RARE),
        a_rule(
            a_target(llama),
            name="personal",
            when=When(all=(SignalCondition(name="personal"),)),
            fallback=Fallback(models=(spare.key,)),
        ),
        a_rule(a_target(llama), fallback=Fallback(models=(spare.key,))),
    )
    own = ClassifierSignal(
        name="own",
        url=f"http://127.0.0.1:{port}/classify",
        any_of=("legal",),
        deadline_seconds=0.5,
        cache_seconds=0.0,
        failure_mode=failure_mode,
    )
    return a_base(llama, spare, policies=(a_policy(*rules, signals=(*SIGNALS, own)),))


def a_body(mode: str = "good", *, stream: bool = False, text: str = PROMPT) -> bytes:
    """A request that makes the upstream behave so."""
    messages = [{"role": "system", "content": text}, {"role": "user", "content": text}]
    return json.dumps({"model": "chat", "user": mode, "stream": stream, "messages": messages}).encode()


@asynccontextmanager
async def talkative(
    seen: Seen,
    folder: Path,
    *,
    fault: str | None = None,
    failure_mode: FailureMode = FailureMode.NO_MATCH,
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[tuple[Running, RawUpstream, aiohttp.ClientSession]]:
    """A process at DEBUG that runs the config above; `seen` is complete when the block has ended."""
    first = () if fault is None else (fault,)
    module = "modelway_gateway" if fault is None else "tests.integration.gateway.serving.faulty_gateway"
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(raw_upstream(_upstream))
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(10)))
        places = ("--state-dir", str(folder), "--log-level", "debug", "--pre-stop-seconds", "0", "--grace-seconds", "1")
        running = await stack.enter_async_context(listening(*places, first=first, module=module, **(environment or {})))
        reading = asyncio.create_task(read_log(seen, running))
        stack.push_async_callback(end, reading)
        push = codec.pack(a_push(a_config(upstream.port, failure_mode=failure_mode)))
        async with session.put(running.config_url, data=push, headers={"Authorization": f"Bearer {TOKEN}"}) as got:
            assert got.status == 200, await got.text()
        yield running, upstream, session
        if running.started.returncode is None:
            await pages(seen, running, session)
            running.started.send_signal(signal.SIGTERM)
        await asyncio.wait_for(reading, 30)
        await running.started.wait()
    seen.places |= dict(files_in(folder))


async def read_log(seen: Seen, running: Running) -> None:
    """All that it writes, as it comes: a pipe that nobody reads would hold it up."""
    assert running.started.stderr is not None
    while data := await running.started.stderr.read(65536):
        seen.log += data


async def end(task: asyncio.Task[None]) -> None:
    """For a test that failed before the log had ended."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def files_in(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file, unpacked where it is packed."""
    for path in folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            yield str(path), gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data


async def pages(seen: Seen, running: Running, session: aiohttp.ClientSession) -> None:
    """What it shows to Prometheus and to the operator."""
    admin = {"Authorization": f"Bearer {TOKEN}"}
    for url in (running.metrics_url, running.config_url, running.config_url + "/status"):
        async with session.get(url, headers=admin) as got:
            assert got.status == 200
            seen.places[url] = await got.read()


async def ask(session: aiohttp.ClientSession, running: Running, body: bytes, **headers: str) -> tuple[int, bytes, str]:
    """One request: status, what came of its body, and its headers as text."""
    sent = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json", **headers}
    async with session.post(running.chat_url, data=io.BytesIO(body), headers=sent) as got:
        text = b""
        with suppress(aiohttp.ClientPayloadError):
            async for data in got.content.iter_any():
                text += data
        return got.status, text, str(got.headers)


async def test_p25_mishaps_around_a_prompt_leave_it_in_no_log_page_dump_or_error(tmp_path: Path) -> None:
    """Good answers, every failure of an upstream that quotes the prompt, and every refusal of a request."""
    seen = Seen()
    async with talkative(seen, tmp_path) as (running, upstream, session):

        async def meet(mode: str, *, stream: bool) -> None:
            status, text, headers = await ask(session, running, a_body(mode, stream=stream))
            seen.places[f"headers of {mode}, {stream}"] = headers.encode()
            if status not in PASSED_ON:
                seen.places[f"body of {mode}, {stream}"] = text

        async def refuse(case: str) -> None:
            status, text, headers = await ask(session, running, BAD_BODIES[case])
            assert status == BAD_STATUSES.get(case, 400), (case, text)
            seen.places[f"answer to {case}"] = text + headers.encode()

        for stream in (False, True):
            status, text, headers = await ask(session, running, a_body(stream=stream))
            assert (status, ANSWER.word.encode() in text) == (200, True)
            assert [] == [name for name in NAMES if f"{name}=" not in headers], headers
            seen.places[f"headers of a good answer, {stream}"] = headers.encode()
            await asyncio.gather(*(meet(mode, stream=stream) for mode in ENDINGS))
        await asyncio.gather(*map(refuse, BAD_BODIES))
        for name in ("Authorization", "X-Request-Timeout", "Content-Type", "X-Priority", "traceparent"):
            status, text, headers = await ask(session, running, a_body(), **{name: PROMPT_CANARY})
            if status != 200:
                seen.places[f"answer to the header {name}"] = text + headers.encode()

    assert [] == seen.hold(CANARY)
    assert [] == seen.hold(ANSWER)
    shown = [place for place in seen.hold(PHRASE) if "/config:" not in place and not place.startswith(str(tmp_path))]
    assert [] == shown
    assert [place for place in seen.hold(PHRASE) if "/config:" in place]
    lines = seen.lines()
    decided = [line for line in lines if line["event"] == "decided"]
    assert len(decided) > len(ENDINGS)
    assert set(NAMES) == set(decided[0]["signals"])
    assert sum(PROMPT_CANARY.encode() in body for _, body in upstream.requests) > 2 * len(ENDINGS)


async def test_an_upstreams_400_is_for_the_client_who_asked_alone(tmp_path: Path) -> None:
    """It may repeat the prompt to who wrote it; nothing else does."""
    seen = Seen()
    ENDINGS["status 400"] = _quoting(400)
    try:
        async with talkative(seen, tmp_path) as (running, _, session):
            status, text, headers = await ask(session, running, a_body("status 400"))
    finally:
        del ENDINGS["status 400"]

    assert (status, json.loads(text)["error"]["message"].startswith(f"bad prompt {PROMPT_CANARY}")) == (400, True)
    assert PROMPT_CANARY not in headers
    assert [] == seen.hold(CANARY)


@pytest.mark.parametrize("failure_mode", FailureMode)
async def test_what_a_classifier_says_is_never_repeated(failure_mode: FailureMode, tmp_path: Path) -> None:
    """It is somebody else's text, and may be the prompt: in labels, errors, redirects, cookies, or instead of HTTP."""
    seen, statuses = Seen(), {}
    async with talkative(seen, tmp_path, failure_mode=failure_mode) as (running, upstream, session):

        async def judge(mode: str) -> None:
            status, text, headers = await ask(session, running, a_body(text=f"{PROMPT} judge: {mode}"))
            statuses[mode] = status
            seen.places[f"headers, {mode}"] = headers.encode()
            if status != 200:
                seen.places[f"body, {mode}"] = text

        await asyncio.gather(*map(judge, JUDGEMENTS))

    failing = {mode for mode, status in statuses.items() if status != 200}
    readable = {"", "known label"}
    assert failing == (set(JUDGEMENTS) - readable if failure_mode is FailureMode.REFUSE else set())
    assert [] == seen.hold(CANARY)
    assert sum(b"POST /classify" in head and PROMPT_CANARY.encode() in body for head, body in upstream.requests) >= len(
        JUDGEMENTS
    )


RAW: dict[str, bytes] = {
    "no HTTP": PROMPT.encode() + b"\r\n\r\n",
    "bad version": b"POST /v1/chat/completions HTTP/9." + PROMPT_CANARY.encode() + b"\r\n\r\n",
    "bad method": PROMPT_CANARY.upper().encode() + b" /v1/models HTTP/1.1\r\nHost: x\r\n\r\n",
    "path": b"GET /" + PROMPT_CANARY.encode() + b"?q=" + PROMPT_CANARY.encode() + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "bad header": b"GET / HTTP/1.1\r\n" + PROMPT.encode() + b"\r\n\r\n",
    "bad length": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: " + PROMPT_CANARY.encode() + b"\r\n\r\n",
    "bad chunk": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + PROMPT.encode() + b"\r\n",
    "cut body": b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\n" + PROMPT.encode(),
}


@pytest.mark.parametrize("port", ["clients", "metrics", "admin"])
async def test_bytes_that_are_no_request_are_quoted_by_no_port(port: str, tmp_path: Path) -> None:
    """By none of the listeners, whichever library reads them.

    Mutation: `PlainHandler` hands `message` on (the admin and the metrics port then quote a bad version).
    """
    seen = Seen()
    async with talkative(seen, tmp_path) as (running, _, _session):
        number = {"clients": running.client_port, "metrics": running.metrics_port, "admin": running.admin_port}[port]
        for case, data in RAW.items():
            reader, writer = await asyncio.open_connection("127.0.0.1", number)
            writer.write(data)
            if case == "cut body" and port == "clients":
                writer.write_eof()
                head = b""
            else:
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
                assert head.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4")), case
                writer.write_eof()
            with suppress(ConnectionError):
                seen.places[f"{port}: {case}"] = head + await asyncio.wait_for(reader.read(), 10)
            writer.close()

    assert [] == seen.hold(CANARY)


async def test_refused_configs_and_probes_say_nothing_of_a_prompt(tmp_path: Path) -> None:
    """What the operator is told of one is about fields; a prompt in the wrong place is quoted by no log."""
    seen, admin = Seen(), {"Authorization": f"Bearer {TOKEN}"}
    bad = a_config(9)
    twice = codec.pack(a_push(a_base(*bad.models, policies=(*bad.policies, *bad.policies)), sequence=8))
    pushes = {
        "no JSON": (PROMPT.encode(), 422),
        "no gzip": (b"\x1f\x8b" + PROMPT.encode(), 422),
        "not a push": (gzip.compress(QUOTED), 422),
        "unknown field": (gzip.compress(b'{"live":{"epoch":' + QUOTED + b"}}"), 422),
        "policy twice": (twice, 422),
    }
    async with talkative(seen, tmp_path) as (running, _, session):
        for case, (data, status) in pushes.items():
            async with session.put(running.config_url, data=data, headers=admin) as got:
                text = await got.read()
                assert got.status == status, (case, text)
                seen.places[f"answer to {case}"] = text
        url = running.config_url.replace("/config", "/probe")
        async with session.post(url, data=b'{"model":' + QUOTED + b"}", headers=admin) as got:
            seen.places["probe"] = await got.read()
        async with session.get(running.config_url, headers={"Authorization": f"Bearer {PROMPT_CANARY}"}) as got:
            seen.places["refused"] = await got.read()
            assert got.status == 403

    assert [] == [place for place in seen.hold(CANARY) if not place.startswith("probe")]
    assert [] == [place for place in seen.hold(PHRASE) if "/config:" not in place and str(tmp_path) not in place]
    assert {"config_rejected", "config_unreadable"} <= {line["event"] for line in seen.lines()}


async def test_clients_that_go_and_a_process_that_ends_leave_nothing(tmp_path: Path) -> None:
    """In the middle of a body, of a wait and of an answer; and SIGTERM while answers are under way."""
    seen = Seen()
    async with talkative(seen, tmp_path) as (running, upstream, session):
        for stream, mode in ((False, "silence"), (True, "stream silence")):
            asking = asyncio.create_task(ask(session, running, a_body(mode, stream=stream)))
            count = len(upstream.requests)
            async with asyncio.timeout(10):
                while len(upstream.requests) == count:  # noqa: ASYNC110 - what arrives somewhere else has no event
                    await asyncio.sleep(0.01)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        _, writer = await asyncio.open_connection("127.0.0.1", running.client_port)
        writer.write(RAW["cut body"])
        await writer.drain()
        writer.transport.abort()
        await pages(seen, running, session)
        hanging = [asyncio.create_task(ask(session, running, a_body("silence"))) for _ in range(3)]
        async with asyncio.timeout(10):
            while len(upstream.requests) < 5:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)
        running.started.send_signal(signal.SIGTERM)
        ended = await asyncio.gather(*hanging, return_exceptions=True)
        await asyncio.wait_for(running.started.wait(), 20)
        seen.places |= {f"last words {n}": str(one[1:]).encode() for n, one in enumerate(ended) if type(one) is tuple}

    assert [] == seen.hold(CANARY)
    assert "stopped" in {line["event"] for line in seen.lines()}


ENDS_THE_PROCESS = {"top level": 1, "abort": -signal.SIGABRT, "hang": 1}
NOT_JSON = {"abort", "hang"}
"""Python itself writes there where each thread was."""
SAYS = {
    "pending": "Task was destroyed but it is pending",
    "line": "log_line_lost",
    "libraries": "Error handling request from %s",
    "chained": "RuntimeError",
    "group": "ExceptionGroup",
    "abort": "Fatal Python error",
    "hang": "Timeout (",
}


@pytest.mark.parametrize("fault", sorted(FAULTS))
async def test_a_bug_that_quotes_the_prompt_is_logged_by_its_type_and_place_only(fault: str, tmp_path: Path) -> None:
    """In a handler, a callback, a task, a thread, a deletion, the loop, a library, the log itself; crashes too."""
    seen = Seen()
    variables = {"PYTHONFAULTHANDLER": "1"} if fault in NOT_JSON else {}
    async with talkative(seen, tmp_path, fault=fault, environment=variables) as (running, _, session):
        for stream in (False, True):
            with suppress(aiohttp.ClientError, TimeoutError):
                status, text, _ = await ask(session, running, a_body(stream=stream))
                if status != 200:
                    seen.places[f"answer, {stream}"] = text
            if fault in ENDS_THE_PROCESS:
                assert await asyncio.wait_for(running.started.wait(), 20) == ENDS_THE_PROCESS[fault]
                break
        if fault not in ENDS_THE_PROCESS:
            await asyncio.sleep(0.2)  # what is said at the next turn of the garbage collector

    assert [] == seen.hold(CANARY)
    assert SAYS.get(fault, "PlantedError").encode() in seen.log
    if fault not in NOT_JSON:
        assert seen.lines()


async def test_a_process_that_dies_leaves_no_memory_on_a_disk(tmp_path: Path) -> None:
    """A core dump would hold every prompt under way: the gateway forbids its own."""
    seen = Seen()
    async with talkative(seen, tmp_path) as (running, _, _session):
        limits = await asyncio.to_thread(Path(f"/proc/{running.started.pid}/limits").read_text)

    (line,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
    assert ["0", "0", "bytes"] == line.split()[4:]
