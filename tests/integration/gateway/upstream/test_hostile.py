"""Upstreams that misbehave: each becomes one failure of the right kind, and none does harm to the next call."""

from __future__ import annotations

import asyncio
import socket

import pytest

from modelway_gateway.upstream.exchange import LiveExchange
from modelway_gateway.upstream.interface import FailureKind

from tests.integration.gateway.upstream.calls import RecordingSink, a_caller, an_origin, until
from tests.support.upstreams import (
    OK,
    SSE_HEAD,
    Peer,
    answering,
    answering_once,
    answering_then_waiting,
    chunked,
    raw_upstream,
)

MALFORMED = {
    "bad chunk size": SSE_HEAD + b"zz\r\nx\r\n",
    "negative chunk size": SSE_HEAD + b"-5\r\nhello\r\n",
    "chunk without its end": SSE_HEAD + b"2\r\nhello\r\n",
    "length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "length with sign": b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\n{}",
    "negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n{}",
    "unknown coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nxx",
    "coding twice": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "coding in two headers": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "NUL in a header": b"HTTP/1.1 200 OK\r\nX-A: a\0b\r\nContent-Length: 2\r\n\r\n{}",
    "NUL in a name": b"HTTP/1.1 200 OK\r\nX-\0A: b\r\nContent-Length: 2\r\n\r\n{}",
    "folded header": b"HTTP/1.1 200 OK\r\nX-A: a\r\n b\r\nContent-Length: 2\r\n\r\n{}",
    "bare CR in a header": b"HTTP/1.1 200 OK\r\nX-A: a\rX-B: b\r\nContent-Length: 2\r\n\r\n{}",
    "bare LF": b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}",
    "space before colon": b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\n{}",
    "another protocol": b"SSH-2.0-OpenSSH_9.2p1\r\n",
    "TLS alert": b"\x15\x03\x01\x00\x02\x02\x16",
    "switching protocols": b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nhello",
    "status 042": b"HTTP/1.1 042 Odd\r\nContent-Length: 2\r\n\r\n{}",
    "status 700": b"HTTP/1.1 700 Odd\r\nContent-Length: 2\r\n\r\n{}",
    "300 headers": b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 300 + b"Content-Length: 2\r\n\r\n{}",
    "70 KB of headers": b"HTTP/1.1 200 OK\r\n" + (b"a: " + b"b" * 700 + b"\r\n") * 100 + b"Content-Length: 2\r\n\r\n{}",
    "70 KB of trailers": SSE_HEAD + b"0\r\n" + (b"a: " + b"b" * 700 + b"\r\n") * 100 + b"\r\n",
    "hints without end": b"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n" * 10_000,
}


@pytest.mark.parametrize("answer", MALFORMED.values(), ids=MALFORMED.keys())
async def test_f45_a_malformed_answer_fails_and_costs_its_connection(answer: bytes) -> None:
    """A parser that is unsure says so; guessing is how answers get mixed up."""
    async with raw_upstream(answering_then_waiting(answer)) as upstream, a_caller() as caller:
        sink = await caller.call(an_origin(upstream.port))

        assert sink.kind is FailureKind.PROTOCOL_ERROR
        assert sink.failure is not None
        assert sink.failure.message.startswith("backend 'b' s")
        assert caller.client.stats.idle_connections == 0
        await until(lambda: upstream.gone == 1)


async def test_f45_a_header_of_10_mb_is_cut_off_early() -> None:
    """Not much more than the limit is ever read."""
    sent = 0

    async def endless_header(peer: Peer) -> None:
        nonlocal sent
        await peer.read_request()
        await peer.send(b"HTTP/1.1 200 OK\r\nX-Long: ")
        for _ in range(160):
            await peer.send(b"x" * 65536)
            sent += 65536

    async with raw_upstream(endless_header) as upstream, a_caller() as caller:
        sink = await caller.call(an_origin(upstream.port))
        await until(lambda: upstream.gone == 1)

        assert sink.kind is FailureKind.PROTOCOL_ERROR
        assert sent < 160 * 65536


async def test_what_was_good_before_a_bad_chunk_is_delivered_before_the_failure() -> None:
    """The sink decides what half an answer is worth."""
    async with (
        raw_upstream(answering_then_waiting(SSE_HEAD + chunked(b"good") + b"zz\r\n")) as upstream,
        a_caller() as caller,
    ):
        sink = await caller.call(an_origin(upstream.port))

        assert (sink.status, sink.body, sink.kind) == (200, b"good", FailureKind.PROTOCOL_ERROR)


@pytest.mark.parametrize("surplus", [OK, b"x", b"HTTP/1.1 200 OK\r\n"])
async def test_surplus_after_an_answer_never_reaches_the_next_call(surplus: bytes) -> None:
    """An upstream that sends two answers to one request must not answer somebody else's."""
    answer = b'HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{"a":1}'
    async with raw_upstream(answering(answer + surplus)) as upstream, a_caller() as caller:
        origin = an_origin(upstream.port)
        first, second = await caller.call(origin), await caller.call(origin)

        assert first.body == second.body == b'{"a":1}'
        assert upstream.connections == 2


async def test_bytes_on_a_resting_connection_end_it() -> None:
    """Nobody asked for them."""
    more = asyncio.Event()

    async def late_surplus(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(OK)
        await more.wait()
        await peer.send(OK)
        await peer.until_gone()

    async with raw_upstream(late_surplus) as upstream, a_caller() as caller:
        await caller.call(an_origin(upstream.port))
        more.set()
        await until(lambda: upstream.gone == 1)

        assert caller.client.stats.idle_connections == 0


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 200 OK\r\nCont", OK[:-1], SSE_HEAD, SSE_HEAD + b"5\r\nab", SSE_HEAD + chunked(b"data: a\n\n")],
)
async def test_an_answer_that_stops_short_is_closed_early(answer: bytes) -> None:
    """A bare end of the connection is never success where a length was promised."""
    async with raw_upstream(answering_once(answer)) as upstream, a_caller() as caller:
        sink = await caller.call(an_origin(upstream.port))

        assert sink.kind is FailureKind.CLOSED_EARLY
        assert upstream.connections == 1  # a fresh connection is no keep-alive race


async def test_f43_a_reset_in_mid_stream_is_a_reset() -> None:
    """What came before it was delivered."""
    seen = asyncio.Event()

    async def reset_later(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(SSE_HEAD + chunked(b"data: a\n\n"))
        await seen.wait()
        peer.reset()

    async with raw_upstream(reset_later) as upstream, a_caller() as caller:
        _, sink = caller.start(an_origin(upstream.port))
        await sink.got_data.wait()
        seen.set()
        await sink.over.wait()

        assert (sink.body, sink.kind) == (b"data: a\n\n", FailureKind.RESET)


async def test_f41_an_upstream_that_never_answers_meets_the_first_token_time_out() -> None:
    """Accepting a connection is not answering."""
    async with raw_upstream(answering_then_waiting()) as upstream, a_caller() as caller:
        sink = await caller.call(an_origin(upstream.port, first_token=0.3))

        assert sink.kind is FailureKind.FIRST_TOKEN_TIMEOUT
        await until(lambda: upstream.gone == 1)


async def test_a_head_without_content_does_not_stop_the_first_token_time_out() -> None:
    """Role chunks and pings are no tokens; only the sink's owner knows what is."""
    async with (
        raw_upstream(answering_then_waiting(SSE_HEAD + chunked(b": ping\n\n"))) as upstream,
        a_caller() as caller,
    ):
        sink = await caller.call(an_origin(upstream.port, first_token=0.3))

        assert (sink.body, sink.kind) == (b": ping\n\n", FailureKind.FIRST_TOKEN_TIMEOUT)


async def test_f42_a_stall_after_content_began_meets_the_idle_time_out() -> None:
    """The first-token time-out no longer counts then."""
    async with (
        raw_upstream(answering_then_waiting(SSE_HEAD + chunked(b"data: a\n\n"))) as upstream,
        a_caller() as caller,
    ):
        exchange, sink = caller.start(an_origin(upstream.port, first_token=0.2, idle=0.5))
        await sink.got_data.wait()
        exchange.content_began()
        await until(sink.over.is_set, within_seconds=10)

        assert sink.kind is FailureKind.IDLE_TIMEOUT
        assert sink.failure is not None
        assert sink.failure.message == "backend 'b' sent nothing for 0.5 s in mid-answer."


async def test_f42_a_stall_is_noticed_in_time_however_long_the_first_token_might_have_taken() -> None:
    """The sweep looks again earlier than it meant to."""
    async with (
        raw_upstream(answering_then_waiting(SSE_HEAD + chunked(b"data: a\n\n"))) as upstream,
        a_caller() as caller,
    ):
        exchange, sink = caller.start(an_origin(upstream.port, first_token=20, idle=0.3))
        loop = asyncio.get_running_loop()
        assert isinstance(exchange, LiveExchange)
        await until(lambda: exchange.check_at > loop.time() + 10)  # a sweep has looked
        await sink.got_data.wait()
        exchange.content_began()
        await until(sink.over.is_set, within_seconds=10)

        assert sink.kind is FailureKind.IDLE_TIMEOUT


async def test_f44_a_drip_meets_the_total_time_out() -> None:
    """A byte now and then keeps the other time-outs quiet."""

    async def drip(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(SSE_HEAD)
        while True:
            await peer.send(chunked(b"x"))
            await asyncio.sleep(0.02)

    async with raw_upstream(drip) as upstream, a_caller() as caller:
        exchange, sink = caller.start(an_origin(upstream.port, idle=0.4, total=1.0))
        await sink.got_data.wait()
        exchange.content_began()
        await sink.over.wait()

        assert sink.kind is FailureKind.TOTAL_TIMEOUT
        assert len(sink.body) > 3


async def test_the_idle_time_out_does_not_run_while_paused() -> None:
    """A slow client is not the upstream's fault; the total time-out still holds."""
    async with (
        raw_upstream(answering_then_waiting(SSE_HEAD + chunked(b"data: a\n\n"))) as upstream,
        a_caller() as caller,
    ):
        exchange, sink = caller.start(an_origin(upstream.port, idle=0.2, total=0.9))
        await sink.got_data.wait()
        exchange.content_began()
        exchange.pause()
        await sink.over.wait()

        assert sink.kind is FailureKind.TOTAL_TIMEOUT


async def test_resuming_starts_the_idle_time_out_again() -> None:
    """From the moment on at which the upstream can be heard."""
    async with (
        raw_upstream(answering_then_waiting(SSE_HEAD + chunked(b"data: a\n\n"))) as upstream,
        a_caller() as caller,
    ):
        exchange, sink = caller.start(an_origin(upstream.port, idle=0.3))
        await sink.got_data.wait()
        exchange.content_began()
        exchange.pause()
        exchange.pause()
        exchange.resume()
        exchange.resume()
        await sink.over.wait()

        assert sink.kind is FailureKind.IDLE_TIMEOUT


@pytest.mark.parametrize("pieces", [(), (SSE_HEAD + chunked(b"data: a\n\n"),)])
async def test_f49_an_abort_closes_the_upstream_at_once(pieces: tuple[bytes, ...]) -> None:
    """Before the first byte as well as in mid-stream; the sink hears of it from within."""
    async with raw_upstream(answering_then_waiting(*pieces)) as upstream, a_caller() as caller:
        exchange, sink = caller.start(an_origin(upstream.port))
        await until(lambda: bool(upstream.requests))
        if pieces:
            await sink.got_data.wait()
        exchange.abort()
        exchange.abort()

        assert sink.kind is FailureKind.ABORTED
        await until(lambda: upstream.gone == 1, within_seconds=0.2)


async def test_an_abort_from_within_the_sink_is_the_last_thing_it_hears() -> None:
    """Data and end that came in the same piece are not delivered after it."""

    class AbortingSink(RecordingSink):
        def on_head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
            super().on_head(status, headers)
            exchange.abort()

    async with raw_upstream(answering(OK)) as upstream, a_caller() as caller:
        exchange, sink = caller.start(an_origin(upstream.port), sink=AbortingSink())
        await sink.over.wait()

        assert (sink.body, sink.kind) == (b"", FailureKind.ABORTED)
        assert caller.client.stats.idle_connections == 0


async def test_an_abort_while_connecting_opens_nothing() -> None:
    """The connection that comes too late is not used."""
    async with raw_upstream(answering(OK)) as upstream, a_caller() as caller:
        exchange, sink = caller.start(an_origin(upstream.port))
        exchange.abort()
        await caller.call(an_origin(upstream.port))

        assert sink.kind is FailureKind.ABORTED
        assert len(upstream.requests) == 1


async def test_a_refused_connection_is_a_connect_error() -> None:
    """It says why, and nothing else."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    async with a_caller() as caller:
        sink = await caller.call(an_origin(port))

        assert sink.kind is FailureKind.CONNECT_ERROR
        assert sink.failure is not None
        assert sink.failure.message == "backend 'b' could not be connected to (Connection refused)."


async def test_a_connection_that_is_not_accepted_meets_the_connect_time_out() -> None:
    """A full backlog drops packets, as a firewall does."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(8)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(full.getsockname())
            async with a_caller() as caller:
                sink = await caller.call(an_origin(full.getsockname()[1], connect=0.3))

                assert sink.kind is FailureKind.CONNECT_TIMEOUT
        finally:
            for filler in fillers:
                filler.close()
