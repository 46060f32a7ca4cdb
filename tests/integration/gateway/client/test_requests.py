"""Requests in, whole answers out, connections kept or closed as HTTP says."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest

from modelway_gateway.client.call import Call

from tests.integration.gateway.client.raw import JSON, Answer, a_post, echo, serving, until


def seen(answer: Answer) -> dict[str, str]:
    return {str(name): str(value) for name, value in json.loads(answer.body).items()}


async def test_a_request_is_handed_over_whole_and_answered() -> None:
    """Method, path without its query, headers in any case, and the body."""
    calls: list[Call] = []

    def handler(call: Call) -> None:
        calls.append(call)
        echo(call)

    async with serving(handler) as served:
        answer = await served.ask(a_post(b'{"model":"m"}', path="/v1/x?a=b&c=%20", headers="X-Some-Thing: v\r\n"))

        assert answer.status == 200
        assert seen(answer) == {"method": "POST", "path": "/v1/x", "body": '{"model":"m"}'}
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["date"].endswith(" GMT")
        assert "server" not in answer.headers
        assert calls[0].headers["x-some-THING"] == "v"


@pytest.mark.parametrize("size", [0, 1, 70_000, 3_000_000])
async def test_bodies_of_any_size_arrive_whole(size: int) -> None:
    """Announced by length or sent in chunks; large answers leave whole, too."""
    body = bytes(range(97, 123)) * (size // 26 + 1)
    body = body[:size]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in _parts(body, 9999)) + b"0\r\n\r\n"
    head = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"

    async with serving(lambda call: call.answer(200, JSON, call.body)) as served:
        announced = await served.ask(a_post(body))
        chunked = await served.ask(head + chunks)

        assert announced.body == chunked.body == body


async def test_b66_chunks_of_one_byte_arrive_whole() -> None:
    """Many more than a reader's own limit on chunks."""
    body = b"x" * 40_000
    chunks = b"1\r\nx\r\n" * len(body) + b"0\r\n\r\n"
    async with serving(lambda call: call.answer(200, JSON, call.body)) as served:
        answer = await served.ask(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)

        assert answer.body == body


async def test_a_request_byte_by_byte_is_understood() -> None:
    """Where the network cuts makes no difference."""
    request = a_post(b"hello")
    async with serving(echo) as served:
        answer = await served.ask(*[bytes([byte]) for byte in request])

        assert seen(answer)["body"] == "hello"


async def test_a_connection_serves_many_requests() -> None:
    """One after the other."""
    async with serving(echo) as served:
        client = await served.client()
        for number in range(5):
            await client.send(a_post(str(number).encode()))

            assert seen(await client.answer())["body"] == str(number)
        assert served.server.connection_count == 1


@pytest.mark.parametrize("delay", [False, True], ids=["answered at once", "answered later"])
async def test_b67_pipelined_requests_are_answered_in_order(delay: bool) -> None:
    """A thousand of them, one at a time, whether their handler answers at once or later."""
    under_way = 0

    def handler(call: Call) -> None:
        nonlocal under_way
        assert under_way == 0
        under_way += 1

        def answer() -> None:
            nonlocal under_way
            under_way -= 1
            call.answer(200, JSON, call.body)

        if delay:
            asyncio.get_running_loop().call_soon(answer)
        else:
            answer()

    async with serving(handler) as served:
        client = await served.client()
        client.writer.write(b"".join(a_post(str(number).encode()) for number in range(1000)))

        assert [int((await client.answer()).body) for _ in range(1000)] == list(range(1000))


async def test_a_client_that_asks_for_it_gets_its_connection_closed() -> None:
    """After the answer, which says so."""
    async with serving(echo) as served:
        client = await served.client()
        await client.send(a_post(headers="Connection: close\r\n"))
        answer = await client.answer()

        assert answer.headers["connection"] == "close"
        assert await client.closed() == b""


async def test_http_1_0_is_spoken() -> None:
    """Closed after the answer, or kept when asked for; without Host."""
    async with serving(echo) as served:
        client = await served.client()
        await client.send(a_post(version="1.0", headers="Connection: keep-alive\r\n"))

        assert (await client.answer()).headers["connection"] == "keep-alive"

        await client.send(b"GET / HTTP/1.0\r\n\r\n")

        assert (await client.answer()).status == 200
        assert await client.closed() == b""


async def test_head_is_answered_without_a_body() -> None:
    """But with its length, and the connection goes on."""
    async with serving(lambda call: call.answer(200, JSON, b"12345")) as served:
        client = await served.client()
        await client.send(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n")

        assert (await client.answer(method="HEAD")).headers["content-length"] == "5"

        await client.send(a_post())

        assert (await client.answer()).body == b"12345"


async def test_b52_expect_100_continue_is_answered() -> None:
    """A client that waits for it would wait for ever."""
    async with serving(echo) as served:
        client = await served.client()
        await client.send(a_post(b"", headers="Expect: 100-continue\r\n").replace(b"Length: 0", b"Length: 5"))

        assert (await client.head())[0] == 100

        await client.send(b"he", b"llo")

        assert seen(await client.answer())["body"] == "hello"


async def test_a_body_that_did_not_wait_needs_no_100() -> None:
    """There is one answer, not two."""
    async with serving(echo) as served:
        answer = await served.ask(a_post(b"hello", headers="Expect: 100-continue\r\n"))

        assert (answer.status, seen(answer)["body"]) == (200, "hello")


async def test_an_offer_of_http_2_is_ignored() -> None:
    """Java's client always makes it; RFC 9110 lets a server go on as if it had not been made."""
    headers = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    async with serving(echo) as served:
        answer = await served.ask(a_post(b"hello", headers=headers))

        assert seen(answer)["body"] == "hello"


async def test_b51_the_absolute_form_is_understood_for_the_same_host() -> None:
    """RFC 9112 asks for it."""
    async with serving(echo) as served:
        answer = await served.ask(a_post(path="http://gateway/v1/models?x=y"))

        assert seen(answer)["path"] == "/v1/models"


async def test_an_answer_may_come_from_anywhere_and_any_time_later() -> None:
    """The handler has long returned."""
    calls: list[Call] = []
    async with serving(calls.append) as served:
        client = await served.client()
        await client.send(a_post())
        await until(lambda: bool(calls))
        calls[0].answer(201, b"X-A: b\r\n", b"later")
        answer = await client.answer()

        assert (answer.status, answer.headers["x-a"], answer.body) == (201, "b", b"later")


async def test_a_call_is_answered_once() -> None:
    """A second answer would be the next request's."""
    problems: list[Exception] = []

    def twice(call: Call) -> None:
        call.answer(200, b"", b"")
        for again in (lambda: call.answer(200, b"", b""), lambda: call.start_stream(200, b"")):
            try:
                again()
            except RuntimeError as exc:
                problems.append(exc)

    async with serving(twice) as served:
        await served.ask(a_post())

        assert len(problems) == 2


async def test_a_handler_that_fails_is_answered_for_and_tells_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    """The log says what and where, not what the error quotes; the client hears neither."""

    def failing(call: Call) -> None:
        raise ValueError(f"cannot read {call.body!r}")

    async with serving(failing) as served:
        with caplog.at_level(logging.DEBUG):
            answer = await served.ask(a_post(b"canary-prompt"))

        assert (answer.status, answer.code) == (500, "internal_error")
        assert "canary" not in caplog.text
        assert "ValueError" in caplog.text
        assert "in failing" in caplog.text


async def test_a_handler_that_fails_in_mid_stream_ends_the_connection() -> None:
    """There is no way to take back what was sent."""

    def failing(call: Call) -> None:
        call.start_stream(200, b"").write(b"half")
        raise ValueError

    async with serving(failing) as served:
        client = await served.client()
        await client.send(a_post())

        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await client.answer()


async def test_draining_closes_resting_connections_and_lets_answers_finish() -> None:
    """New connections are still taken, for one answer each."""
    calls: list[Call] = []
    async with serving(calls.append) as served:
        resting, busy = await served.client(), await served.client()
        await busy.send(a_post())
        await until(lambda: len(calls) == 1)
        served.server.drain()

        assert await resting.closed() == b""

        calls[0].answer(200, b"", b"done")
        answer = await busy.answer()

        assert (answer.body, answer.headers["connection"]) == (b"done", "close")
        assert await busy.closed() == b""

        late = await served.client()
        await late.send(a_post())
        await until(lambda: len(calls) == 2)
        calls[1].answer(200, b"", b"done too")

        assert (await late.answer()).headers["connection"] == "close"


async def test_shutdown_waits_for_answers_and_then_for_no_more() -> None:
    """What is left at the deadline is dropped, and its handler told."""
    calls: list[Call] = []
    gone: list[str] = []
    async with serving(calls.append) as served:
        quick, stuck = await served.client(), await served.client()
        for client in (quick, stuck):
            await client.send(a_post())
        await until(lambda: len(calls) == 2)
        calls[1].on_disconnect(lambda: gone.append("stuck"))
        shutdown = asyncio.create_task(served.server.shutdown(grace_seconds=0.3))
        await asyncio.sleep(0)
        calls[0].answer(200, b"", b"in time")

        assert (await quick.answer()).body == b"in time"

        await shutdown

        assert gone == ["stuck"]
        assert served.server.connection_count == 0
        with pytest.raises(OSError):  # noqa: PT011 - any: nobody listens any more
            await served.client()


def _parts(body: bytes, size: int) -> list[bytes]:
    return [body[start : start + size] for start in range(0, len(body), size)]
