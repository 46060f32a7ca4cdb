"""Carrying out a plan: when each request is sent, and one sample for each that ended.

Rule: in an open loop the schedule never waits for an answer, and a latency counts from when its request was due. So a
target that stands still shows in the figures and does not slow down the load.
"""

import asyncio
import math
import ssl
from collections.abc import Callable
from typing import Final

import aiohttp
import msgspec

from modelway_cli.traffic.addresses import resolve_target
from modelway_cli.traffic.answers import (
    MAX_ANSWER_BYTES,
    Fault,
    StreamJudge,
    Verdict,
    code_of,
    judge_plain,
    judge_refusal,
)
from modelway_cli.traffic.plan import SESSION_HEADER, TrafficPlan
from modelway_cli.traffic.report import Sample, Tally, TrafficReport
from modelway_contract.names import ANSWER_HEADER_PREFIX

MODEL_HEADER: Final = f"{ANSWER_HEADER_PREFIX}model"
ATTEMPTS_HEADER: Final = f"{ANSWER_HEADER_PREFIX}attempts"
TARGET_HEADER: Final = f"{ANSWER_HEADER_PREFIX}target"
VERSION_HEADER: Final = f"{ANSWER_HEADER_PREFIX}version"

OnSample = Callable[[Sample], None]


async def run_traffic(
    plan: TrafficPlan,
    on_sample: OnSample | None = None,
    *,
    stop: asyncio.Event | None = None,
    enough: asyncio.Event | None = None,
) -> TrafficReport:
    """Sends the plan's requests, calls `on_sample` as each ends, and returns what they add up to.

    Setting `enough` begins no more of them and waits for those that are open. Setting `stop` ends it at once: open
    requests are dropped and counted as unfinished.
    """
    resolver = await resolve_target(plan)
    connector = aiohttp.TCPConnector(limit=0, resolver=resolver, ttl_dns_cache=None)
    timeout = aiohttp.ClientTimeout(total=plan.timeout_seconds)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False) as session:
        return await _Run(plan, session, on_sample, stop or asyncio.Event(), enough or asyncio.Event()).report()


class _AnswerTooLargeError(Exception):
    """The answer has more bytes than anybody could want."""


class _Run:
    """One plan on its way."""

    def __init__(
        self,
        plan: TrafficPlan,
        session: aiohttp.ClientSession,
        on_sample: OnSample | None,
        stop: asyncio.Event,
        enough: asyncio.Event,
    ) -> None:
        self._plan = plan
        self._session = session
        self._on_sample = on_sample
        self._stop = stop
        self._enough = enough
        self._tally = Tally()
        self._in_flight = 0
        self._next_number = 0
        self._clock = asyncio.get_running_loop().time
        self._start = self._clock()
        key = () if plan.api_key is None else (("Authorization", f"Bearer {plan.api_key}"),)
        self._headers = (("Content-Type", "application/json"), *key, *plan.headers)

    async def report(self) -> TrafficReport:
        pace = self._closed_loop() if self._plan.rate is None else self._open_loop()
        sending = asyncio.create_task(pace)
        stopping = asyncio.create_task(self._stop.wait())
        unfinished = 0
        try:
            await asyncio.wait((sending, stopping), return_when=asyncio.FIRST_COMPLETED)
            unfinished = self._in_flight
        finally:
            await _cancel(sending, stopping)
        if not sending.cancelled():
            sending.result()
        return self._tally.report(
            url=self._plan.chat_url,
            model=self._plan.model,
            elapsed_seconds=self._clock() - self._start,
            unfinished=unfinished,
        )

    async def _open_loop(self) -> None:
        """Begins each request when it is due; a late one at once, and none is left out."""
        assert self._plan.scheduled is not None
        async with asyncio.TaskGroup() as group:
            for number in range(self._plan.scheduled):
                due = self._start + self._plan.due_seconds(number)
                await asyncio.sleep(max(0.0, due - self._clock()))
                if self._enough.is_set():
                    return
                if self._in_flight < self._plan.max_in_flight:
                    self._in_flight += 1
                    group.create_task(self._send(number, due))
                else:
                    self._record(Sample(number=number, stream=self._plan.is_stream(number), error=Fault.NOT_SENT))

    async def _closed_loop(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(self._plan.clients):
                group.create_task(self._client())

    async def _client(self) -> None:
        """One client: it sends its next request when it has its answer."""
        last_begin = self._start + self._plan.begin_within_seconds
        most = math.inf if self._plan.requests is None else self._plan.requests
        while self._next_number < most and self._clock() < last_begin and not self._enough.is_set():
            number = self._next_number
            self._next_number += 1
            self._in_flight += 1
            await self._send(number, self._clock())

    async def _send(self, number: int, due: float) -> None:
        """Sends one request that counts from `due`, and records what came of it."""
        plan = self._plan
        stream, session = plan.is_stream(number), plan.session_of(number)
        status: int | None = None
        served: dict[str, str | None] = {}
        attempts = 1
        verdict: Verdict
        try:
            async with self._session.post(
                plan.chat_url,
                data=_body(plan, stream=stream),
                headers=[*self._headers, *([(SESSION_HEADER, session)] if session else [])],
                allow_redirects=False,
            ) as answer:
                status = answer.status
                served = {
                    "model": _header(answer, MODEL_HEADER),
                    "target": _header(answer, TARGET_HEADER),
                    "version": _header(answer, VERSION_HEADER),
                }
                attempts = _attempts(answer)
                verdict = await self._judge(answer, stream=stream)
        except Exception as error:  # _fault_of raises what it does not know
            verdict = Verdict(error=_fault_of(error))
        finally:
            self._in_flight -= 1
        served["model"] = served.get("model") or (verdict.model and code_of(verdict.model))
        first = verdict.first_content_at
        self._record(
            Sample(
                number=number,
                stream=stream,
                session=session,
                status=status,
                error=verdict.error,
                attempts=attempts,
                fingerprint=verdict.fingerprint and code_of(verdict.fingerprint),
                latency_seconds=self._clock() - due,
                ttft_seconds=None if first is None else first - due,
                **served,
            )
        )

    async def _judge(self, answer: aiohttp.ClientResponse, *, stream: bool) -> Verdict:
        if stream and answer.status == 200 and answer.content_type == "text/event-stream":
            judge, size = StreamJudge(), 0
            async for piece in answer.content.iter_any():
                size += len(piece)
                if size > MAX_ANSWER_BYTES:
                    raise _AnswerTooLargeError
                judge.feed(piece, now=self._clock())
            return judge.finish()
        body = bytearray()
        async for piece in answer.content.iter_any():
            body += piece
            if len(body) > MAX_ANSWER_BYTES:
                raise _AnswerTooLargeError
        if answer.status != 200:
            return judge_refusal(answer.status, bytes(body))
        verdict = judge_plain(bytes(body))
        if stream and verdict.error is None:
            verdict.error = Fault.MALFORMED  # a client that asked for a stream cannot read this
        return verdict

    def _record(self, sample: Sample) -> None:
        self._tally.add(sample)
        if self._on_sample is not None:
            self._on_sample(sample)


def _body(plan: TrafficPlan, *, stream: bool) -> bytes:
    request: dict[str, object] = {"model": plan.model, "messages": [{"role": "user", "content": plan.prompt}]}
    return msgspec.json.encode(request | {"stream": True} if stream else request)


def _attempts(answer: aiohttp.ClientResponse) -> int:
    value = answer.headers.get(ATTEMPTS_HEADER, "")
    return int(value) if value.isascii() and value.isdecimal() and len(value) <= 4 else 1


def _header(answer: aiohttp.ClientResponse, name: str) -> str | None:
    value = answer.headers.get(name)
    return None if value is None else code_of(value)


def _fault_of(error: Exception) -> Fault:
    """The fault that an error of the client library means; one that means none is our bug and is raised."""
    match error:
        case TimeoutError():
            return Fault.TIMEOUT
        case aiohttp.ClientSSLError() | ssl.SSLError() | aiohttp.ServerFingerprintMismatch():
            return Fault.TLS_ERROR
        case aiohttp.ClientConnectorError():
            return Fault.CONNECT_ERROR
        case aiohttp.ClientOSError() | aiohttp.ServerDisconnectedError() | aiohttp.ClientPayloadError() | OSError():
            return Fault.CONNECTION_LOST
        case _AnswerTooLargeError():
            return Fault.TOO_LARGE
        case aiohttp.ClientError():
            return Fault.PROTOCOL_ERROR
        case _:
            raise error


async def _cancel(*tasks: asyncio.Task[None] | asyncio.Task[bool]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
