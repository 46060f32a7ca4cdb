"""Rules that read a classifier of the policy's own: a real HTTP server beside a real gateway."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import aiohttp
import pytest

from modelway_contract.config import HeaderCondition, SignalCondition, When
from modelway_contract.signals import ClassifierSignal, FailureMode, KeywordsSignal, Signal
from modelway_gateway.classifiers import MAX_UNDER_WAY, Classifiers
from modelway_gateway.core.classifiers import MAX_ANSWER_BYTES
from modelway_gateway.upstream.tls import private_context
from modelway_gateway.waiting import Waiting

from tests.integration.gateway.serving.scenes import END, answer, asking_for_a_stream, chunk, completion, events_of
from tests.support.canary import PROMPT, PROMPT_CANARY
from tests.support.gateway import KEY, Harness, a_base, a_model, a_policy, a_rule, a_target, gateway_harness
from tests.support.ports import free_ports
from tests.support.upstreams import (
    SSE_HEAD,
    Peer,
    RawUpstream,
    Script,
    an_authority,
    answering,
    answering_once,
    answering_then_waiting,
    chunked,
    raw_upstream,
)
from tests.support.waiting import eventually

GOOD = answering(answer(200, completion()))
SLOW_SECONDS = 20.0
"""A deadline that no test reaches, unless something hangs."""


def judgement(label: str, confidence: float = 0.9) -> bytes:
    return answer(200, json.dumps({"label": label, "confidence": confidence}).encode())


LEGAL, OTHER = answering(judgement("legal")), answering(judgement("poem"))


class Held:
    """A classifier that answers when it is told to."""

    def __init__(self, reply: bytes | None = None) -> None:
        self.released = asyncio.Event()
        self._reply = reply or judgement("legal")

    async def __call__(self, peer: Peer) -> None:
        while True:
            await peer.read_request()
            await self.released.wait()
            await peer.send(self._reply)


@dataclass
class Scene:
    """A gateway whose policy sends what the classifier finds legal to the rule `special`, all else to `default`."""

    harness: Harness
    classifier: RawUpstream
    upstream: RawUpstream

    def ask(self, text: str = PROMPT, **headers: str) -> Any:
        return self.harness.chat({"model": "chat", "messages": [{"role": "user", "content": text}]}, **headers)

    async def rule(self, text: str = PROMPT, **headers: str) -> str:
        async with self.ask(text, **headers) as got:
            assert got.status == 200
            return str(got.headers["x-modelway-rule"])

    async def error(self, text: str = PROMPT, **headers: str) -> tuple[int, dict[str, Any], dict[str, str]]:
        async with self.ask(text, **headers) as got:
            return got.status, (await got.json())["error"], dict(got.headers)

    async def results(self) -> dict[str, float]:
        found = {}
        for name, value in (await self.harness.metrics()).items():
            if name.startswith("modelway_signal_results_total") and value:
                found[name.partition('result="')[2].partition('"')[0]] = value
        return found

    @property
    def texts(self) -> list[str]:
        return [json.loads(body)["text"] for _, body in self.classifier.requests]


def a_signal(port: int, **changes: Any) -> ClassifierSignal:
    fields = {
        "name": "legal",
        "url": f"http://localhost:{port}/judge",
        "any_of": ("legal", "tax"),
        "deadline_seconds": SLOW_SECONDS,
        **changes,
    }
    return ClassifierSignal(**fields)


def a_policy_base(port: int, when: When | None, *signals: Signal) -> Any:
    model = a_model(port=port)
    when = when or When(all=tuple(SignalCondition(name=each.name) for each in signals))
    rules = (a_rule(a_target(model), name="special", when=when), a_rule(a_target(model)))
    return a_base(model, policies=(a_policy(*rules, signals=signals),))


@asynccontextmanager
async def scene(
    script: Script,
    *,
    when: When | None = None,
    more: tuple[Signal, ...] = (),
    upstream_script: Script = GOOD,
    changes: dict[str, Any] | None = None,
    **signal: Any,
) -> AsyncIterator[Scene]:
    async with raw_upstream(script) as classifier, raw_upstream(upstream_script) as upstream:
        base = a_policy_base(upstream.port, when, a_signal(classifier.port, **signal), *more)
        async with gateway_harness(base, changes=changes) as harness:
            yield Scene(harness, classifier, upstream)
            assert harness.gateway.metrics.inflight == 0
            assert harness.gateway.classifiers.under_way == 0


@contextmanager
def a_port_that_drops() -> Iterator[int]:
    """A full backlog drops packets, as a firewall does."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        port: int = listener.getsockname()[1]
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        yield port


@asynccontextmanager
async def under_way(*requests: Any) -> AsyncIterator[list[asyncio.Task[Any]]]:
    """These requests as tasks."""

    async def run(request: Any) -> tuple[int, dict[str, str], bytes]:
        async with request as got:
            return got.status, dict(got.headers), await got.read()

    tasks = [asyncio.create_task(run(each)) for each in requests]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_what_the_classifier_finds_goes_where_the_rule_says() -> None:
    """It gets the last user message and nothing else; the answer's header shows the label and the confidence."""
    async with scene(LEGAL) as world, world.ask("Review this lease.", Authorization_X="x") as got:
        assert got.status == 200
        head, body = world.classifier.requests[0]
        results, metrics = await world.results(), await world.harness.metrics()

    assert got.headers["x-modelway-rule"] == "special"
    assert got.headers["x-modelway-signals"] == "legal=?1;label=legal;score=0.90"
    assert json.loads(body) == {"text": "Review this lease."}
    lines = head.decode().lower().split("\r\n")
    assert lines[0] == "post /judge http/1.1"
    assert "content-type: application/json" in lines
    assert {line.partition(":")[0] for line in lines[1:] if line} == {
        *("host", "accept", "accept-encoding", "content-type", "user-agent", "content-length"),
    }
    assert results == {"match": 1}
    assert metrics['modelway_signal_seconds_count{kind="classifier"}'] == 1


@pytest.mark.parametrize(
    ("reply", "result", "header"),
    [
        (judgement("legal", 0.5), "match", "legal=?1;label=legal;score=0.50"),
        (judgement("legal", 0.3), "abstained", "legal=?0;label=legal;score=0.30;abstained"),
        (judgement(PROMPT), "no_match", "legal=?0;score=0.90"),
        (answer(500, PROMPT.encode()), "failed", "legal=?0;label=bad_status;failed"),
        (answer(204, b""), "failed", "legal=?0;label=bad_status;failed"),
        (answer(200, PROMPT.encode()), "failed", "legal=?0;label=bad_answer;failed"),
        (answer(200, b""), "failed", "legal=?0;label=bad_answer;failed"),
        (answer(200, b'{"label": "legal"}'), "failed", "legal=?0;label=bad_answer;failed"),
        (answer(200, b"x" * 20_000_000), "failed", "legal=?0;label=too_large;failed"),
        (answer(200, b"{}" + b" " * MAX_ANSWER_BYTES), "failed", "legal=?0;label=too_large;failed"),
        (PROMPT.encode() + b"\r\n\r\n", "failed", "legal=?0;label=unreachable;failed"),
    ],
    ids=[
        *("match", "unsure", "unknown label", "500", "204", "garbage", "empty", "half", "huge", "just too large"),
        "no HTTP",
    ],
)
async def test_each_answer_is_what_it_is(reply: bytes, result: str, header: str) -> None:
    """Whatever is not an answer makes no rule match, and none of it is repeated."""
    async with scene(answering_once(reply)) as world, world.ask() as got:
        assert got.status == 200
        text = (await got.read()).decode() + str(got.headers)
        results = await world.results()

    assert got.headers["x-modelway-signals"] == header
    assert got.headers["x-modelway-rule"] == ("special" if result == "match" else "default")
    assert results == {result: 1}
    assert PROMPT_CANARY not in text


async def test_a_redirect_is_not_followed() -> None:
    """The text goes where the policy says and to nobody else."""
    async with raw_upstream(LEGAL) as elsewhere:
        there = f"Location: http://127.0.0.1:{elsewhere.port}/"
        async with scene(answering(answer(307, b"", there))) as world:
            assert await world.rule() == "default"

    assert elsewhere.requests == []


async def test_neither_the_environments_proxy_nor_a_cookie_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for models: prompts go to no place that no policy names."""
    cookie = answer(200, json.dumps({"label": "legal", "confidence": 1}).encode(), "Set-Cookie: seen=1; Path=/")
    async with raw_upstream(LEGAL) as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("no_proxy", "")
        async with scene(answering(cookie)) as world:
            assert [await world.rule(text) for text in ("one", "two")] == ["special", "special"]

    assert proxy.requests == []
    assert b"cookie" not in world.classifier.requests[1][0].lower()
    assert world.classifier.connections == 1


@pytest.mark.parametrize("part", ["connects", "answers nothing", "answers half", "drips"])
async def test_the_deadline_holds_from_the_connection_to_the_last_byte(part: str) -> None:
    """Then the rule does not match."""
    whole = judgement("legal")

    async def drip(peer: Peer) -> None:
        await peer.read_request()
        for number in range(len(whole)):
            await peer.send(whole[number : number + 1])
            await asyncio.sleep(0.05)

    scripts = {"answers nothing": answering_then_waiting(), "answers half": answering_then_waiting(whole[:-5])}
    with a_port_that_drops() as port:
        away: dict[str, Any] = {"url": f"http://127.0.0.1:{port}/"} if part == "connects" else {}
        async with scene(scripts.get(part, drip), deadline_seconds=0.2, **away) as world:
            began = time.monotonic()
            async with world.ask() as got:
                took = time.monotonic() - began

    assert got.headers["x-modelway-rule"] == "default"
    assert got.headers["x-modelway-signals"] == "legal=?0;label=deadline;failed"
    assert 0.2 <= took < 2.0


@pytest.mark.parametrize("what", ["refused", "closed", "no such name", "untrusted"])
async def test_a_classifier_that_is_not_there_is_a_failure(what: str) -> None:
    """Known at once, not at the deadline."""
    authority = an_authority()
    async with raw_upstream(LEGAL, tls=authority.server_context("127.0.0.1")) as untrusted:
        urls = {
            "refused": f"http://127.0.0.1:{free_ports(1)[0]}/",
            "no such name": "http://classifier.invalid/",
            "untrusted": f"https://127.0.0.1:{untrusted.port}/",
        }
        away: dict[str, Any] = {"url": urls[what]} if what in urls else {}
        async with scene(answering_once(reset=True), **away) as world, world.ask() as got:
            assert got.headers["x-modelway-rule"] == "default"
            assert got.headers["x-modelway-signals"] == "legal=?0;label=unreachable;failed"

    assert untrusted.requests == []


async def test_https_is_asked_with_the_trust_that_models_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's authorities; here one that was made for the test."""
    authority = an_authority()
    monkeypatch.setattr("modelway_gateway.classifiers.system_context", lambda: private_context(authority.pem))
    async with (
        raw_upstream(LEGAL, tls=authority.server_context("localhost")) as trusted,
        scene(OTHER, url=f"https://localhost:{trusted.port}/judge") as world,
    ):
        assert await world.rule() == "special"

    assert len(trusted.requests) == 1


async def test_a_connection_that_was_closed_while_it_rested_fails_nothing() -> None:
    """Servers close what rests; a request that meets such an end is asked again."""
    closing = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(judgement("legal"))
        if peer.number == 1:
            await peer.read_request()  # and closed unanswered, as by a server that had just decided to
            closing.set()
        else:
            await peer.until_gone()

    async with scene(script) as world:
        assert [await world.rule(text) for text in ("one", "two")] == ["special", "special"]

    assert closing.is_set()
    assert world.texts == ["one", "two", "two"]


async def test_refuse_answers_503_with_the_signals_name() -> None:
    """A client may send it again; neither the URL nor the prompt is in the error, and it is counted as refused."""
    async with scene(answering(answer(500, b"no")), failure_mode=FailureMode.REFUSE) as world:
        status, error, headers = await world.error(PROMPT)
        metrics, results = await world.harness.metrics(), await world.results()

    assert (status, error["code"], error["type"]) == (503, "signal_unavailable", "api_error")
    assert error["message"] == (
        "The signal legal of this policy cannot be evaluated: its classifier answered with another status than 200."
    )
    assert headers["x-should-retry"] == "true"
    assert headers["x-modelway-signals"] == "legal=?0;label=bad_status;failed"
    assert world.upstream.requests == []
    assert metrics['modelway_refusals_total{code="signal_unavailable"}'] == 1
    assert results == {"failed": 1}


async def test_a_failure_matches_nothing_not_even_as_none() -> None:
    """`none` is true then: whoever must not go on without an answer says `Refuse`."""
    when = When(none=(SignalCondition(name="legal"),))
    async with scene(answering(answer(500, b"no")), when=when) as world:
        assert await world.rule() == "special"


async def test_an_answer_is_kept_until_it_expires() -> None:
    """The second request waits for nobody; a failure is not kept."""
    async with scene(LEGAL) as world:
        assert [await world.rule("same") for _ in range(3)] == ["special"] * 3
        results = await world.results()
    assert (world.texts, results) == (["same"], {"match": 3})

    async with scene(LEGAL, cache_seconds=0.2) as world:

        async def is_asked_again() -> bool:
            return await world.rule("same") == "special" and len(world.texts) > 1

        assert await eventually(is_asked_again)
    async with scene(answering(answer(500, b"no"))) as world:
        assert [await world.rule("same") for _ in range(2)] == ["default", "default"]
    assert len(world.texts) == 2


async def test_a_kept_answer_outlives_a_config() -> None:
    """A change elsewhere asks nobody again; a change of the signal does."""
    async with scene(LEGAL) as world:
        base = a_policy_base(world.upstream.port, None, a_signal(world.classifier.port))
        for signal in (a_signal(world.classifier.port), a_signal(world.classifier.port, any_of=("tax",))):
            await world.rule("same")
            await world.harness.run(
                a_policy_base(world.upstream.port, None, signal, KeywordsSignal(name="k", any=("x",)))
            )
        await world.harness.run(base)
        assert await world.rule("same") == "special"
        assert len(world.texts) == 1
        await world.harness.run(
            a_policy_base(world.upstream.port, None, a_signal(world.classifier.port, any_of=("tax",)))
        )
        assert await world.rule("same") == "default"

    assert world.texts == ["same", "same"]


async def test_the_same_text_at_once_is_asked_once() -> None:
    """And another one for itself."""
    held = Held()
    async with scene(held) as world, under_way(*(world.ask("same") for _ in range(20)), world.ask("other")) as tasks:
        await eventually(lambda: world.harness.gateway.metrics.inflight == 21)
        await eventually(lambda: len(world.texts) == 2)
        held.released.set()
        got = await asyncio.gather(*tasks)
        results = await world.results()

    assert sorted(world.texts) == ["other", "same"]
    assert {(status, headers["x-modelway-rule"]) for status, headers, _ in got} == {(200, "special")}
    assert results == {"match": 21}


async def test_a_classifier_that_hangs_holds_few_connections() -> None:
    """One more than may be asked fails at once; the others end in time."""
    held = Held()
    requests = MAX_UNDER_WAY + 1
    async with scene(held) as world, under_way(*(world.ask(f"text {number}") for number in range(requests))) as tasks:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED, timeout=SLOW_SECONDS)
        ((status, headers, _),) = [each.result() for each in done]
        await eventually(lambda: world.classifier.connections == MAX_UNDER_WAY)
        held.released.set()
        got = await asyncio.gather(*tasks)

    assert (status, headers["x-modelway-signals"]) == (200, "legal=?0;label=busy;failed")
    assert [headers["x-modelway-rule"] for _, headers, _ in got].count("special") == MAX_UNDER_WAY
    assert world.classifier.connections == MAX_UNDER_WAY


async def test_a_client_that_goes_away_is_asked_for_no_longer() -> None:
    """The question ends with the last one who waits for it, and no model is called."""
    async with scene(answering_then_waiting(), deadline_seconds=60.0) as world:
        async with under_way(world.ask("same"), world.ask("same")) as (first, second):
            await eventually(lambda: world.texts == ["same"] and world.harness.gateway.metrics.inflight == 2)
            first.cancel()
            await eventually(lambda: world.harness.gateway.metrics.inflight == 1)
            assert sorted(tasks_of(Waiting, Classifiers)) == ["Classifiers._fly", "Waiting._run"]
            assert world.harness.gateway.classifiers.under_way == 1
            second.cancel()
            await eventually(lambda: world.classifier.gone == 1)
        await eventually(lambda: world.harness.gateway.classifiers.under_way == 0)
        results = await world.results()

    assert (world.upstream.requests, results) == ([], {})


def tasks_of(*owners: type) -> list[str]:
    """What runs of their methods."""
    names = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
    return [name for name in names if name.partition(".")[0] in {owner.__name__ for owner in owners}]


async def test_a_storm_of_clients_that_come_and_go_leaves_nothing() -> None:
    """Whoever stays is answered, whatever happens to others that asked the same."""
    draws = random.Random(5)

    async def script(peer: Peer) -> None:
        while True:
            await peer.read_request()
            await asyncio.sleep(draws.choice((0.0, 0.005, 0.02)))
            await peer.send(draws.choice((judgement("legal"), judgement("poem"), answer(500, b"no"))))

    async with scene(script, cache_seconds=0.0) as world:
        async with under_way(*(world.ask(f"{PROMPT} {draws.randrange(12)}") for _ in range(300))) as tasks:
            leaving = draws.sample(tasks, 150)
            for task in leaving:
                await asyncio.sleep(draws.choice((0.0, 0.001)))
                task.cancel()
            staying = await asyncio.gather(*(each for each in tasks if each not in leaving))
        await eventually(lambda: tasks_of(Waiting, Classifiers) == [])
        await eventually(lambda: world.harness.gateway.metrics.inflight == 0)

    assert {status for status, _, _ in staying} == {200}


async def test_the_clients_own_deadline_counts_the_wait() -> None:
    """504 while the classifier is asked; and what is left is what the model may take."""
    async with scene(answering_then_waiting()) as world:
        status, error, headers = await world.error(**{"x-request-timeout": "0.3"})
        refused = (await world.harness.metrics())['modelway_refusals_total{code="request_timeout"}']
        assert (status, error["code"], refused) == (504, "request_timeout", 1)
        assert error["message"] == "The request took longer than the 0.3 s that x-request-timeout allows."
        assert "x-modelway-signals" not in headers
        await eventually(lambda: world.classifier.gone == 1)

    async def late(peer: Peer) -> None:
        await peer.read_request()
        await asyncio.sleep(1.5)
        await peer.send(judgement("legal"))

    async with scene(late, upstream_script=answering_then_waiting()) as world:
        began = time.monotonic()
        status, error, headers = await world.error(**{"x-request-timeout": "2"})
        took = time.monotonic() - began

    assert (status, error["code"]) == (504, "request_timeout")
    assert 1.9 <= took < 3.0  # and not 3.5
    assert (headers["x-modelway-rule"], headers["x-modelway-attempts"]) == ("special", "1")
    assert float(headers["x-modelway-overhead-ms"]) < 1000, "a classifier's time is not the gateway's own"


async def test_a_stream_is_decided_so_too() -> None:
    """Its first event comes after the classifier's answer."""
    held = Held()
    stream = answering(SSE_HEAD, chunked(chunk("a")), chunked(b"data: [DONE]\n\n"), END)
    async with (
        scene(held, upstream_script=stream) as world,
        under_way(world.harness.chat(asking_for_a_stream("chat"))) as (request,),
    ):
        await eventually(lambda: len(world.texts) == 1)
        assert world.upstream.requests == []
        held.released.set()
        status, headers, body = await request

    assert (status, headers["x-modelway-rule"]) == (200, "special")
    assert events_of(body)[-1] == "[DONE]"


async def test_several_classifiers_are_asked_one_after_the_other() -> None:
    """Each once, and only those that a rule still needs."""
    async with raw_upstream(LEGAL) as second, raw_upstream(LEGAL) as third:
        more = (a_signal(second.port, name="second"), a_signal(third.port, name="third"))
        when = When(
            all=(SignalCondition(name="legal"), SignalCondition(name="second")),
            any=(SignalCondition(name="second"), SignalCondition(name="third")),
        )
        async with scene(LEGAL, more=more, when=when) as world:
            async with world.ask() as got:
                header = got.headers["x-modelway-signals"]
            assert await world.rule() == "special"
        async with scene(OTHER, more=more, when=when) as world:
            assert await world.rule("else") == "default"

    assert header == "legal=?1;label=legal;score=0.90, second=?1;label=legal;score=0.90"
    assert (len(second.requests), third.requests) == (1, [])


async def test_a_config_that_changes_meanwhile_changes_nothing_for_who_waits() -> None:
    """The request was taken with the old one, and finishes on it."""
    held = Held()
    async with scene(held) as world, under_way(world.ask()) as (request,):
        await eventually(lambda: len(world.texts) == 1)
        model = a_model(port=world.upstream.port)
        await world.harness.run(a_base(model, policies=(a_policy(a_rule(a_target(model), name="new")),)))
        held.released.set()
        status, headers, _ = await request
        after = await world.rule()

    assert (status, headers["x-modelway-rule"], after) == (200, "special", "new")


@pytest.mark.parametrize("grace", [5.0, 0.2])
async def test_the_end_of_the_gateway_waits_for_it_until_the_deadline(grace: float) -> None:
    """Within the grace the request is served; at its end it hears why."""
    held = Held()
    async with raw_upstream(held) as classifier, raw_upstream(GOOD) as upstream, aiohttp.ClientSession() as session:
        base = a_policy_base(upstream.port, None, a_signal(classifier.port))
        async with gateway_harness(base, changes={"grace_seconds": grace}) as harness:
            outer = Harness(harness.gateway, session)
            request = asyncio.create_task(_read(Scene(outer, classifier, upstream).ask()))
            await eventually(lambda: len(classifier.requests) == 1)
            draining = asyncio.create_task(harness.gateway.drain())
            if grace > 1:
                held.released.set()
            status, body = await request
            await draining
            assert harness.gateway.metrics.inflight == 0
            refused = harness.gateway.metrics.refusals

    if grace > 1:
        assert (status, len(upstream.requests)) == (200, 1)
    else:
        assert (status, json.loads(body)["error"]["code"]) == (503, "shutting_down")
        assert {code: count for code, count in refused.items() if count} == {"shutting_down": 1}
        assert upstream.requests == []


async def _read(request: Any) -> tuple[int, bytes]:
    async with request as got:
        return got.status, await got.read()


async def test_a_policy_without_a_classifier_opens_nothing() -> None:
    """Nor does one whose rules never came to need it."""
    lane = HeaderCondition(name="x-lane", exact="legal")
    when = When(all=(SignalCondition(name="legal"), lane))
    async with scene(LEGAL, when=when) as world:
        assert await world.rule() == "default"
        assert not world.harness.gateway.classifiers.is_open
        assert await world.rule(**{"x-lane": "legal"}) == "special"
        assert world.harness.gateway.classifiers.is_open


@pytest.mark.parametrize("how", ["raises", "raises later"])
async def test_an_exception_is_answered_and_leaves_nothing(
    how: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """500 as of any handler; what is logged says where, and holds nothing of the prompt."""
    prompt = PROMPT

    def breaks(*_: object, **__: object) -> Any:
        raise RuntimeError(prompt)

    async with scene(LEGAL) as world:
        target = "hear" if how == "raises" else "settle"
        monkeypatch.setattr(f"modelway_gateway.core.classifiers.Classifier.{target}", breaks)
        with caplog.at_level(logging.ERROR):
            status, error, _ = await world.error(prompt)
        monkeypatch.undo()
        assert await world.rule(prompt) == "special"

    assert (status, error["code"]) == (500, "internal_error")
    (record,) = [each for each in caplog.records if each.levelno >= logging.ERROR]
    assert "RuntimeError" in record.getMessage()
    assert prompt not in record.getMessage()


async def test_a_megabyte_is_asked_about_whole() -> None:
    """A text is not cut: a part of it would be another question."""
    text = "é" * 1_000_000
    body = json.dumps({"model": "chat", "messages": [{"role": "user", "content": text}]}, ensure_ascii=False).encode()
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    async with scene(LEGAL) as world:
        url = f"{world.harness.gateway.client_url}/v1/chat/completions"
        async with world.harness.session.post(url, data=BytesIO(body), headers=headers) as got:
            assert (got.status, got.headers["x-modelway-rule"]) == (200, "special")

    assert world.texts == [text]


async def test_no_prompt_and_no_url_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """At DEBUG, whatever goes wrong."""
    replies: list[Callable[[], Script]] = [
        lambda: LEGAL,
        lambda: answering_once(PROMPT.encode()),
        answering_once,
    ]
    with caplog.at_level(logging.DEBUG):
        for mode in FailureMode:
            for reply in replies:
                async with scene(reply(), failure_mode=mode) as world, world.ask(PROMPT) as got:
                    await got.read()
                    url = f":{world.classifier.port}"
                    metrics = str(await world.harness.metrics())
                assert url not in metrics
                assert PROMPT_CANARY not in metrics
    text = "\n".join(str(vars(each)) for each in caplog.records)

    assert "match legal 0.90" in text
    assert PROMPT_CANARY not in text
    assert "/judge" not in text
