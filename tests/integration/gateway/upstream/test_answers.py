"""What a well-behaved upstream sends arrives as it was meant, however it is cut."""

from __future__ import annotations

import asyncio

from modelway_gateway.upstream.interface import FailureKind

from tests.integration.gateway.upstream.calls import BODY, RecordingSink, a_caller, an_origin, stands_still
from tests.support.upstreams import OK, Peer, answering, answering_once, raw_upstream


async def test_a_call_sends_the_request_and_delivers_the_answer() -> None:
    """Header names arrive in lower case, in order."""
    async with raw_upstream(answering(OK)) as upstream, a_caller() as caller:
        sink = await caller.call(an_origin(upstream.port))

        assert (sink.status, sink.body, sink.failure) == (200, b"{}", None)
        assert sink.headers == [(b"content-type", b"application/json"), (b"content-length", b"2")]
        assert [body for _, body in upstream.requests] == [BODY]


async def test_the_next_call_uses_the_same_connection() -> None:
    """Warm connections are what makes a call cheap."""
    async with raw_upstream(answering(OK)) as upstream, a_caller() as caller:
        origin = an_origin(upstream.port)
        for _ in range(3):
            await caller.call(origin)

        assert upstream.connections == 1
        assert (caller.client.stats.opened_total, caller.client.stats.reused_total) == (1, 2)


async def test_calls_at_the_same_time_have_connections_of_their_own() -> None:
    """There is no pipelining towards upstreams."""
    async with raw_upstream(answering(OK)) as upstream, a_caller() as caller:
        origin = an_origin(upstream.port)
        await asyncio.gather(*(caller.call(origin) for _ in range(4)))

        assert upstream.connections == 4
        assert caller.client.stats.idle_connections == 4


async def test_an_endpoint_of_a_service_is_called_by_its_address() -> None:
    """The host of the origin is then only a name."""
    async with raw_upstream(answering(OK)) as upstream, a_caller() as caller:
        origin = an_origin(1, host="a-service.invalid")
        sink = await caller.call(origin, address=("127.0.0.1", upstream.port))

        assert sink.status == 200


async def test_a_body_without_length_ends_with_the_connection_and_says_so() -> None:
    """Whether that is acceptable depends on what was carried; the sink's owner can tell."""
    async with (
        raw_upstream(answering_once(b"HTTP/1.1 200 OK\r\n\r\nhalf or whole?")) as upstream,
        a_caller() as caller,
    ):
        exchange, sink = caller.start(an_origin(upstream.port))
        await sink.over.wait()

        assert (sink.body, sink.failure) == (b"half or whole?", None)
        assert exchange.ended_by_eof


async def test_a_body_without_length_that_is_reset_failed() -> None:
    """A reset is never an end."""
    async with (
        raw_upstream(answering_once(b"HTTP/1.1 200 OK\r\n\r\nhalf", reset=True)) as upstream,
        a_caller() as caller,
    ):
        sink = await caller.call(an_origin(upstream.port))

        assert sink.kind is FailureKind.RESET


async def test_informational_answers_are_left_behind() -> None:
    """A 103 is not the answer, and its headers are not the answer's."""
    hints = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\nContent-Length: 9\r\n\r\n"
    async with raw_upstream(answering(hints + OK)) as upstream, a_caller() as caller:
        origin = an_origin(upstream.port)
        first, second = await caller.call(origin), await caller.call(origin)

        assert (first.status, first.body) == (second.status, second.body) == (200, b"{}")
        assert b"link" not in dict(first.headers)
        assert upstream.connections == 1


async def test_an_answer_that_says_close_is_the_connections_last() -> None:
    """HTTP/1.0 says so by itself."""
    for answer in (
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    ):
        async with raw_upstream(answering(answer)) as upstream, a_caller() as caller:
            origin = an_origin(upstream.port)
            await caller.call(origin)
            await caller.call(origin)

            assert upstream.connections == 2


async def test_f46_a_redirect_is_an_answer_and_is_not_followed() -> None:
    """Where it points is nobody's business here."""
    redirect = b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n"
    async with raw_upstream(answering(redirect)) as upstream, a_caller() as caller:
        sink = await caller.call(an_origin(upstream.port))

        assert sink.status == 302
        assert upstream.connections == 1


async def test_a_large_request_and_a_large_answer_pass() -> None:
    """Nothing is lost where writes and reads come in many parts."""
    large = bytes(range(256)) * 16384
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(large) + large
    async with raw_upstream(answering(answer)) as upstream, a_caller() as caller:
        sink = await caller.call(an_origin(upstream.port), large)

        assert sink.body == large
        assert upstream.requests[0][1] == large


async def test_an_answer_before_the_request_was_sent_costs_the_connection() -> None:
    """The rest of that request must not be taken for the next one."""

    async def refuse_at_once(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\n{}")
        await asyncio.Event().wait()

    async with raw_upstream(refuse_at_once) as upstream, a_caller() as caller:
        sink = await caller.call(an_origin(upstream.port), b"x" * 16_000_000)

        assert sink.status == 413
        assert caller.client.stats.idle_connections == 0


async def test_data_is_not_read_while_the_exchange_is_paused() -> None:
    """An upstream that sends faster than the client takes is held back by TCP."""
    total = 64 * 1024 * 1024
    sent = 0
    pausing = True

    async def flood(peer: Peer) -> None:
        nonlocal sent
        await peer.read_request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
        for _ in range(total // 65536):
            await peer.send(b"x" * 65536)
            sent += 65536

    class PausingSink(RecordingSink):
        def on_data(self, data: bytes) -> None:
            super().on_data(data)
            if pausing:
                exchange.pause()

    async with raw_upstream(flood) as upstream, a_caller() as caller:
        exchange, sink = caller.start(an_origin(upstream.port), sink=PausingSink())
        await sink.got_data.wait()
        held = len(sink.body)
        await stands_still(lambda: sent)  # until the buffers between are full

        assert sent < total
        assert len(sink.body) <= held + 512 * 1024  # at most what the loop had read already

        pausing = False
        exchange.resume()
        await sink.over.wait()

        assert len(sink.body) == total
