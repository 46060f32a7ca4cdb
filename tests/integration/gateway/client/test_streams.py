"""Streamed answers: framed, ended or visibly not ended, held back for slow clients, stopped when a client goes."""

from __future__ import annotations

import asyncio

import pytest

from modelway_gateway.client.call import Call, Stream
from modelway_gateway.client.limits import ClientLimits
from modelway_gateway.upstream.interface import Exchange, FailureKind, Headers, UpstreamFailure

from tests.integration.gateway.client.raw import RawClient, Served, a_post, serving, until
from tests.integration.gateway.upstream.calls import a_caller, an_origin
from tests.support.upstreams import SSE_HEAD, Peer, answering_then_waiting, chunked, raw_upstream

AT_ONCE_SECONDS = 0.2
SSE = b"Content-Type: text/event-stream\r\n"


async def a_stream(served: Served, calls: list[Call], *, request: bytes | None = None) -> tuple[RawClient, Stream]:
    """A client that asked, and the stream it is being answered with."""
    before = len(calls)
    client = await served.client(receive_buffer_bytes=4096)
    await client.send(request or a_post())
    await until(lambda: len(calls) > before)
    return client, calls[-1].start_stream(200, SSE)


async def test_each_write_is_a_chunk_that_leaves_at_once() -> None:
    """And the connection is good for another request after the end."""
    calls: list[Call] = []
    async with serving(calls.append) as served:
        client, stream = await a_stream(served, calls)
        status, headers = await client.head()

        assert (status, headers["transfer-encoding"]) == (200, "chunked")
        assert headers["content-type"] == "text/event-stream"

        chunks = client.chunks()
        for event in (b"data: a\n\n", b"data: b\n\n"):
            stream.write(event)

            assert await anext(chunks) == event

        stream.write(b"")
        stream.end()

        assert [chunk async for chunk in chunks] == []

        await client.send(a_post())
        await until(lambda: len(calls) == 2)
        calls[1].answer(200, b"", b"next")

        assert (await client.answer()).body == b"next"


async def test_the_last_piece_may_come_with_the_end() -> None:
    """What is written after the end goes nowhere."""
    calls: list[Call] = []
    async with serving(calls.append) as served:
        client, stream = await a_stream(served, calls)
        stream.end(b"data: [DONE]\n\n")
        stream.write(b"late")
        stream.end(b"later")
        stream.fail()

        assert (await client.answer()).body == b"data: [DONE]\n\n"
        await client.send(a_post())
        await until(lambda: len(calls) == 2)


async def test_a_failed_stream_does_not_look_complete() -> None:
    """The connection closes without the last chunk; what was written before arrives."""
    calls: list[Call] = []
    async with serving(calls.append) as served:
        client, stream = await a_stream(served, calls)
        await client.head()
        stream.write(b"data: a\n\n")
        stream.fail()

        assert await client.closed() == b"9\r\ndata: a\n\n\r\n"


async def test_a_stream_to_http_1_0_ends_by_closing_and_fails_by_a_reset() -> None:
    """Such a client knows no chunks."""
    calls: list[Call] = []
    async with serving(calls.append) as served:
        client, stream = await a_stream(served, calls, request=a_post(version="1.0"))
        stream.write(b"data: a\n\n")
        stream.end(b"data: b\n\n")

        assert (await client.answer()).body == b"data: a\n\ndata: b\n\n"

        client, stream = await a_stream(served, calls, request=a_post(version="1.0"))
        await client.head()
        stream.fail()

        with pytest.raises(ConnectionError):
            await client.closed()


async def test_f50_a_slow_client_is_announced_and_so_is_its_recovery() -> None:
    """What waits in memory stays near the limit."""
    calls: list[Call] = []
    signals: list[str] = []
    async with serving(calls.append, ClientLimits(write_buffer_bytes=64 * 1024)) as served:
        client, stream = await a_stream(served, calls)
        stream.on_back_pressure(lambda: signals.append("pause"), lambda: signals.append("resume"))
        written = 0
        while not signals:
            stream.write(b"x" * 10_000)
            written += 10_000
            await asyncio.sleep(0)
        stream.end()

        assert signals == ["pause"]
        assert len((await client.answer()).body) == written


async def test_f50_recovery_is_announced() -> None:
    """Once what waited has been taken."""
    calls: list[Call] = []
    signals: list[str] = []
    async with serving(calls.append) as served:
        client, stream = await a_stream(served, calls)
        await client.head()
        while not signals:
            stream.write(b"x" * 10_000)
            await asyncio.sleep(0)
            if not signals:
                stream.on_back_pressure(lambda: signals.append("pause"), lambda: signals.append("resume"))
        reading = asyncio.create_task(client.closed())
        await until(lambda: signals == ["pause", "resume"])
        stream.fail()
        await reading


async def test_pressure_that_was_there_before_is_announced_at_once() -> None:
    """Whoever asks late must not wait for a signal that has been."""
    calls: list[Call] = []
    signals: list[str] = []
    async with serving(calls.append) as served:
        _client, stream = await a_stream(served, calls)
        for _ in range(1000):
            stream.write(b"x" * 10_000)
        await until(calls[0].wire.write_is_paused)
        stream.on_back_pressure(lambda: signals.append("pause"), lambda: signals.append("resume"))

        assert signals == ["pause"]


async def test_f50_a_client_that_takes_nothing_is_dropped() -> None:
    """After the write deadline; its handler is told as of any client that went."""
    calls: list[Call] = []
    gone: list[str] = []
    async with serving(calls.append, ClientLimits(write_stall_seconds=60)) as served:
        _client, stream = await a_stream(served, calls)
        calls[0].on_disconnect(lambda: gone.append("gone"))
        for _ in range(1000):
            stream.write(b"x" * 10_000)
        await until(calls[0].wire.write_is_paused)
        await asyncio.sleep(0.2)
        served.later(2)
        served.later(59)

        assert gone == []

        served.later(63)
        await until(lambda: gone == ["gone"])


async def test_f50_a_client_that_reads_slowly_but_reads_is_kept() -> None:
    """The deadline is for progress, not for the whole."""
    calls: list[Call] = []
    gone: list[str] = []
    async with serving(calls.append, ClientLimits(write_stall_seconds=60)) as served:
        client, stream = await a_stream(served, calls)
        calls[0].on_disconnect(lambda: gone.append("gone"))
        await client.head()
        for _ in range(1000):
            stream.write(b"x" * 10_000)
        await until(calls[0].wire.write_is_paused)
        for minutes in range(1, 8):
            for _ in range(40):
                await client.reader.readexactly(10_000)
            await asyncio.sleep(0.02)
            served.later(minutes * 59)

        assert gone == []


async def test_a_client_that_does_not_take_its_last_bytes_is_dropped_too() -> None:
    """Closing waits for what is still to be sent, but not for ever."""
    calls: list[Call] = []
    async with serving(calls.append) as served:
        _client, stream = await a_stream(served, calls)
        for _ in range(1000):
            stream.write(b"x" * 10_000)
        stream.fail()
        await asyncio.sleep(0.2)
        served.later(2)

        assert served.server.connection_count == 1

        served.later(65)
        await until(lambda: served.server.connection_count == 0)


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("streaming", [False, True], ids=["before the answer", "in mid-stream"])
async def test_f49_a_client_that_goes_is_noticed_at_once(how: str, streaming: bool) -> None:
    """Within 200 ms, once; what is written afterwards goes nowhere."""
    calls: list[Call] = []
    gone: list[str] = []
    async with serving(calls.append) as served:
        client = await served.client()
        await client.send(a_post())
        await until(lambda: bool(calls))
        calls[0].on_disconnect(lambda: gone.append("gone"))
        stream = calls[0].start_stream(200, SSE) if streaming else None
        if stream:
            await client.head()
            stream.write(b"data: a\n\n")
        getattr(client, how)()
        await until(lambda: gone == ["gone"], within_seconds=AT_ONCE_SECONDS)

        assert calls[0].disconnected
        if stream:
            stream.write(b"data: b\n\n")
            stream.end()
        else:
            calls[0].answer(200, b"", b"too late")
        assert gone == ["gone"]


async def test_a_client_that_goes_after_its_answer_is_no_disconnect() -> None:
    """The call was over."""
    calls: list[Call] = []
    gone: list[str] = []
    async with serving(calls.append) as served:
        client = await served.client()
        await client.send(a_post())
        await until(lambda: bool(calls))
        calls[0].on_disconnect(lambda: gone.append("gone"))
        calls[0].answer(200, b"", b"")
        await client.answer()
        client.close()
        await until(lambda: served.server.connection_count == 0)

        assert gone == []
        assert not calls[0].disconnected


async def test_whoever_asks_after_the_client_went_is_told_at_once() -> None:
    """There is no moment at which it could be missed."""
    calls: list[Call] = []
    gone: list[str] = []
    async with serving(calls.append) as served:
        client = await served.client()
        await client.send(a_post())
        await until(lambda: bool(calls))
        client.close()
        await until(lambda: calls[0].disconnected)
        calls[0].on_disconnect(lambda: gone.append("gone"))

        assert gone == ["gone"]


class Relay:
    """The smallest gateway: an upstream's answer, streamed to a client, both ways of back-pressure tied together."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._stream: Stream | None = None
        self.exchange: Exchange | None = None
        self.failure: UpstreamFailure | None = None

    def on_head(self, status: int, headers: Headers) -> None:
        assert self.exchange is not None
        self._stream = self._call.start_stream(status, b"Content-Type: %b\r\n" % dict(headers)[b"content-type"])
        self._stream.on_back_pressure(self.exchange.pause, self.exchange.resume)

    def on_data(self, data: bytes) -> None:
        assert self._stream is not None
        assert self.exchange is not None
        self.exchange.content_began()
        self._stream.write(data)

    def on_end(self) -> None:
        assert self._stream is not None
        self._stream.end()

    def on_failure(self, failure: UpstreamFailure) -> None:
        self.failure = failure
        if self._stream is not None:
            self._stream.fail()


@pytest.mark.parametrize("pieces", [(), (SSE_HEAD + chunked(b"data: a\n\n"),)], ids=["before the answer", "mid-stream"])
async def test_f49_a_client_that_goes_closes_the_upstream_within_200_ms(pieces: tuple[bytes, ...]) -> None:
    """From socket to socket."""
    async with raw_upstream(answering_then_waiting(*pieces)) as upstream, a_caller() as caller:
        relays: list[Relay] = []

        def relay(call: Call) -> None:
            relays.append(Relay(call))
            exchange = caller.client.exchange(
                an_origin(upstream.port), None, b"POST / HTTP/1.1\r\nHost: h\r\n\r\n", b"", relays[-1]
            )
            relays[-1].exchange = exchange
            call.on_disconnect(exchange.abort)

        async with serving(relay) as served:
            client = await served.client()
            await client.send(a_post())
            await until(lambda: bool(upstream.requests))
            if pieces:
                await client.head()
                assert await anext(client.chunks()) == b"data: a\n\n"
            client.close()
            await until(lambda: upstream.gone == 1, within_seconds=AT_ONCE_SECONDS)

            assert relays[0].failure is not None
            assert relays[0].failure.kind is FailureKind.ABORTED


async def test_f50_a_slow_client_holds_back_the_upstream() -> None:
    """From socket to socket: what is between them is bounded, and nothing is lost."""
    total = 32 * 1024 * 1024
    sent = 0

    async def flood(peer: Peer) -> None:
        nonlocal sent
        await peer.read_request()
        await peer.send(SSE_HEAD)
        while sent < total:
            await peer.send(chunked(b"x" * 65536))
            sent += 65536
        await peer.send(chunked(b""))

    async with raw_upstream(flood) as upstream, a_caller() as caller:

        def relay(call: Call) -> None:
            sink = Relay(call)
            sink.exchange = caller.client.exchange(
                an_origin(upstream.port), None, b"POST / HTTP/1.1\r\nHost: h\r\n\r\n", b"", sink
            )

        async with serving(relay) as served:
            client = await served.client(receive_buffer_bytes=4096)
            await client.send(a_post())
            seen = -1
            while seen != (seen := sent):  # noqa: ASYNC110 - that nothing happens has no event
                await asyncio.sleep(0.3)

            assert sent < total // 2  # most of it in the kernel's buffers towards us

            await client.head()
            received = 0
            async with asyncio.timeout(60):
                while size := int(await client.reader.readuntil(b"\r\n"), 16):
                    received += len(await client.reader.readexactly(size + 2)) - 2

            assert received == total
