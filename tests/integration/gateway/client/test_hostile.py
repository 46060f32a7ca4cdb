"""Clients that send what they should not, too much of it, or too slowly: refused in our own words, without an echo."""

from __future__ import annotations

import asyncio
import logging

import pytest

from modelway_gateway.client.call import Call
from modelway_gateway.client.limits import ClientLimits

from tests.integration.gateway.client.raw import JSON, a_post, echo, serving, until

CANARY = b"sk-canary-0123456789"
HOST = b"Host: h\r\n"


def raw(lines: bytes, body: bytes = b"") -> bytes:
    return b"POST / HTTP/1.1\r\n" + HOST + lines + b"\r\n" + body


FRAMING = {
    "length and chunks": raw(b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
    "two equal lengths": raw(b"Content-Length: 2\r\nContent-Length: 2\r\n", b"{}"),
    "two lengths": raw(b"Content-Length: 2\r\nContent-Length: 3\r\n", b"{}x"),
    "length +1": raw(b"Content-Length: +1\r\n", b"x"),
    "length 1_0": raw(b"Content-Length: 1_0\r\n", b"x" * 10),
    "length 1, 1": raw(b"Content-Length: 1, 1\r\n", b"x"),
    "length -1": raw(b"Content-Length: -1\r\n", b"x"),
    "xchunked": raw(b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n"),
    "chunked, chunked": raw(b"Transfer-Encoding: chunked, chunked\r\n", b"0\r\n\r\n"),
    "identity, chunked": raw(b"Transfer-Encoding: identity, chunked\r\n", b"0\r\n\r\n"),
    "chunked twice": raw(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
    "space before colon": raw(b"Content-Length : 2\r\n", b"{}"),
    "VT before value": raw(b"Transfer-Encoding:\x0bchunked\r\n", b"0\r\n\r\n"),
    "bare LF": b"POST / HTTP/1.1\nHost: h\nContent-Length: 2\n\n{}",
    "folded header": raw(b"X-A: a\r\n b\r\n"),
    "NUL in a value": raw(b"X-A: a\0b\r\n"),
    "NUL in a name": raw(b"X-\0A: b\r\n"),
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "bad chunk size": raw(b"Transfer-Encoding: chunked\r\n", b"zz\r\n{}\r\n0\r\n\r\n"),
    "negative chunk size": raw(b"Transfer-Encoding: chunked\r\n", b"-2\r\n{}\r\n0\r\n\r\n"),
    "LF in a chunk extension": raw(b"Transfer-Encoding: chunked\r\n", b"2;a=\n\r\n{}\r\n0\r\n\r\n"),
    "chunk without its end": raw(b"Transfer-Encoding: chunked\r\n", b"2\r\n{}0\r\n\r\n"),
    "chunks in HTTP/1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/2.0": b"GET / HTTP/2.0\r\nHost: h\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/1.9": b"GET / HTTP/1.9\r\nHost: h\r\n\r\n",
    "lower-case method": b"get / HTTP/1.1\r\nHost: h\r\n\r\n",
    "unknown method": b"BREW / HTTP/1.1\r\nHost: h\r\n\r\n",
    "CONNECT": b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n",
    "asterisk": b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
    "absolute form, another host": b"GET http://other/ HTTP/1.1\r\nHost: h\r\n\r\n",
    "no path": b"GET  HTTP/1.1\r\nHost: h\r\n\r\n",
    "websocket": raw(b"Connection: Upgrade\r\nUpgrade: websocket\r\n"),
    "gzip": raw(b"Content-Encoding: gzip\r\nContent-Length: 2\r\n", b"\x1f\x8b"),
    "some coding": raw(b"Content-Encoding: x\r\nContent-Length: 2\r\n", b"xx"),
    "unknown expectation": raw(b"Expect: miracles\r\nContent-Length: 2\r\n"),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "rubbish": b"\r\n\r\nrubbish\r\n\r\n",
    "200 headers": raw(b"".join(b"X-%d: y\r\n" % number for number in range(200))),
    "20 KB header": raw(b"X-A: " + b"a" * 20_000 + b"\r\n"),
    "20 KB request line": b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: h\r\n\r\n",
    "100 KB of headers": raw(b"".join(b"X-%d: %b\r\n" % (number, b"y" * 1000) for number in range(100))),
}
STATUS = {
    "HTTP/0.9": 505,
    "HTTP/2.0": 505,
    "HTTP/1.9": 400,
    "gzip": 415,
    "some coding": 415,
    "unknown expectation": 417,
    "20 KB header": 431,
    "20 KB request line": 431,
    "100 KB of headers": 431,
}


@pytest.mark.parametrize("name", FRAMING)
async def test_b49_doubtful_framing_is_refused(name: str) -> None:
    """The connection closes after it: nobody knows where the next request would begin."""
    calls: list[Call] = []
    async with serving(calls.append) as served:
        client = await served.client()
        await client.send(FRAMING[name])
        answer = await client.answer()

        assert answer.status == STATUS.get(name, 400)
        assert answer.code
        assert answer.headers["connection"] == "close"
        assert await client.closed() == b""
        assert calls == []


@pytest.mark.parametrize("name", FRAMING)
async def test_b49_doubtful_framing_is_refused_byte_by_byte(name: str) -> None:
    """Pieces do not get past what is refused whole."""
    calls: list[Call] = []
    async with serving(calls.append) as served:
        client = await served.client()
        request, size = FRAMING[name], 1 + len(FRAMING[name]) // 3000
        pieces = [request[start : start + size] for start in range(0, len(request), size)]
        writing = asyncio.create_task(client.send(*pieces))
        answer = await client.answer()
        await asyncio.gather(writing, return_exceptions=True)

        assert answer.status == STATUS.get(name, 400)
        assert answer.code
        assert calls == []


@pytest.mark.parametrize(
    "request_",
    [
        raw(b"Authorization: Bearer " + CANARY + b"\0\r\n"),
        raw(b"Authorization: Bearer " + CANARY + b"\r\n folded\r\n"),
        raw(b"Authorization : Bearer " + CANARY + b"\r\n"),
        raw(b"Authorization\x01: Bearer " + CANARY + b"\r\n"),
        raw(b"Authorization: Bearer " + CANARY * 1000 + b"\r\n"),
        raw(b"Authorization: Bearer " + CANARY + b"\n\r\n"),
        raw(b"Transfer-Encoding: chunked\r\n", CANARY + b"\r\n\r\n"),
        b"GET /" + CANARY + b"\x7f\0 HTTP/1.1\r\nHost: h\r\n\r\n",
        CANARY + b" / HTTP/1.1\r\nHost: h\r\n\r\n",
    ],
)
async def test_b57_a_refusal_echoes_nothing(request_: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """A parser likes to quote what it could not read, which may be somebody's key; neither body nor log has it."""
    async with serving(echo) as served:
        client = await served.client()
        with caplog.at_level(logging.DEBUG):
            await client.send(request_)
            answer = await client.answer()
            rest = await client.closed()

        assert answer.status in (400, 431)
        assert answer.code
        assert CANARY not in answer.body + rest + repr(answer.headers).encode()
        assert CANARY.decode() not in caplog.text


async def test_a_bad_request_behind_a_good_one_takes_nothing_from_it() -> None:
    """The first is answered, then the refusal follows."""
    calls: list[Call] = []
    async with serving(calls.append) as served:
        client = await served.client()
        await client.send(a_post(b"good"))
        await until(lambda: bool(calls))
        await client.send(b"rubbish\r\n\r\n")
        calls[0].answer(200, JSON, calls[0].body)

        assert (await client.answer()).body == b"good"
        assert (await client.answer()).status == 400
        assert await client.closed() == b""


async def test_b65_a_body_above_the_limit_is_refused_before_it_is_sent() -> None:
    """Where its length is announced; with `Expect` no 100 invites it."""
    limits = ClientLimits(body_bytes=1000)
    async with serving(echo, limits) as served:
        client = await served.client()
        await client.send(raw(b"Content-Length: 1001\r\nExpect: 100-continue\r\n"))

        assert (await client.answer()).code == "body_too_large"

        assert (await served.ask(a_post(b"x" * 1001))).status == 413
        assert (await served.ask(a_post(b"x" * 1000))).status == 200


async def test_b65_an_endless_chunked_body_is_refused_at_the_limit() -> None:
    """And the client, still sending, can read the answer: closing at once would reset it away."""
    limits = ClientLimits(body_bytes=100_000)
    async with serving(echo, limits) as served:
        client = await served.client()
        await client.send(raw(b"Transfer-Encoding: chunked\r\n"))

        async def send_on() -> None:
            while True:
                await client.send(b"2710\r\n" + b"x" * 10_000 + b"\r\n")

        sending = asyncio.create_task(send_on())
        answer = await client.answer()

        assert (answer.status, answer.code) == (413, "body_too_large")

        served.later(3)  # a client that does not stop is cut off
        with pytest.raises(ConnectionError):
            await sending


async def test_b65_a_length_that_lies_short_makes_a_bad_request() -> None:
    """What is too much is not part of the body, and casts doubt on what came before it."""
    calls: list[Call] = []
    async with serving(calls.append) as served:
        client = await served.client()
        await client.send(raw(b"Content-Length: 2\r\n", b"{}surplus\r\n\r\n"))

        assert (await client.answer()).status == 400
        assert await client.closed() == b""
        assert calls == []


async def test_b68_a_client_that_says_nothing_is_closed() -> None:
    """Quietly: there is no request to answer."""
    async with serving(echo) as served:
        client = await served.client()
        await until(lambda: served.server.connection_count == 1)
        served.later(9)

        assert served.server.connection_count == 1

        served.later(11)

        assert await client.closed() == b""


@pytest.mark.parametrize("first", [b"", a_post()], ids=["first request", "second request"])
async def test_b68_a_half_sent_header_times_out(first: bytes) -> None:
    """Aiohttp alone would wait for an hour."""
    async with serving(echo) as served:
        client = await served.client()
        if first:
            await client.send(first)
            await client.answer()
        await client.send(b"POST / HTTP/1.1\r\nHos")
        await asyncio.sleep(0.05)
        served.later(9)
        served.later(11)
        answer = await client.answer()

        assert (answer.status, answer.code) == (408, "header_timeout")
        assert await client.closed() == b""


async def test_b68_a_half_sent_body_times_out() -> None:
    """The header was in time; a drip does not help."""
    async with serving(echo, ClientLimits(body_seconds=30)) as served:
        client = await served.client()
        await client.send(raw(b"Content-Length: 9\r\n", b"half"))
        await asyncio.sleep(0.05)
        served.later(29)
        await client.send(b"x")
        await asyncio.sleep(0.05)
        served.later(31)
        answer = await client.answer()

        assert (answer.status, answer.code) == (408, "body_timeout")


async def test_a_connection_may_rest_between_requests_but_not_for_ever() -> None:
    """Longer than it may take over a header."""
    async with serving(echo, ClientLimits(keep_alive_seconds=75)) as served:
        client = await served.client()
        await client.send(a_post())
        await client.answer()
        served.later(70)
        await client.send(a_post())

        assert (await client.answer()).status == 200

        served.later(76)

        assert await client.closed() == b""


async def test_a_slow_answer_is_no_reason_to_close() -> None:
    """None of the client's time-outs runs while it waits for us."""
    calls: list[Call] = []
    async with serving(calls.append) as served:
        client = await served.client()
        await client.send(a_post())
        await until(lambda: bool(calls))
        served.later(3600)
        calls[0].answer(200, b"", b"at last")

        assert (await client.answer()).body == b"at last"


async def test_a_pipeline_is_read_no_further_than_it_is_served() -> None:
    """Memory is bounded while a handler is busy: the rest waits in the client's own buffers."""
    calls: list[Call] = []
    async with serving(calls.append) as served:
        client = await served.client()
        sent = 0

        async def flood() -> None:
            nonlocal sent
            while True:
                await client.send(a_post(b"x" * 50_000))
                sent += 1

        flooding = asyncio.create_task(flood())
        seen = -1
        while seen != (seen := sent):  # noqa: ASYNC110 - that nothing happens has no event
            await asyncio.sleep(0.3)

        assert len(calls) == 1
        assert sent < 500
        flooding.cancel()
        await asyncio.gather(flooding, return_exceptions=True)
