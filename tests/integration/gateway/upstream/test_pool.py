"""Connections that rest: raced against, closed, forgotten, and never shared by mistake."""

from __future__ import annotations

import asyncio

import pytest

from modelway_gateway.upstream.interface import FailureKind
from modelway_gateway.upstream.pool import IDLE_SECONDS

from tests.integration.gateway.upstream.calls import BODY, a_caller, an_origin, until
from tests.support.upstreams import OK, Peer, answering, raw_upstream


class DyingWhenReused:
    """Answers once per connection, and dies as the second request arrives."""

    def __init__(self, *, generations: int, reset: bool, last_words: bytes = b"") -> None:
        self._generations = generations
        self._reset = reset
        self._last_words = last_words

    async def __call__(self, peer: Peer) -> None:
        while True:
            await peer.read_request()
            await peer.send(OK)
            if peer.number <= self._generations:
                await peer.read_request()
                await peer.send(self._last_words)
                if self._reset:
                    peer.reset()
                return


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
async def test_a_request_that_meets_a_closing_connection_is_sent_once_more(reset: bool) -> None:
    """Whoever closes a resting connection cannot know that a request is on its way."""
    async with raw_upstream(DyingWhenReused(generations=1, reset=reset)) as upstream, a_caller() as caller:
        origin = an_origin(upstream.port)
        await caller.call(origin)
        sink = await caller.call(origin)

        assert (sink.status, sink.body, sink.failure) == (200, b"{}", None)
        assert [body for _, body in upstream.requests] == [BODY] * 3
        assert caller.client.stats.resent_total == 1


async def test_a_request_on_a_fresh_connection_is_never_sent_twice() -> None:
    """There is no race there: the upstream had it and died."""

    async def die(peer: Peer) -> None:
        await peer.read_request()

    async with raw_upstream(die) as upstream, a_caller() as caller:
        sink = await caller.call(an_origin(upstream.port))

        assert sink.kind is FailureKind.CLOSED_EARLY
        assert len(upstream.requests) == 1


async def test_a_request_is_resent_on_a_fresh_connection_and_only_once() -> None:
    """With two dead connections resting, the second is not tried in its turn."""

    async def die_second_time(peer: Peer) -> None:
        await peer.read_request()
        if peer.number <= 2:
            await peer.send(OK)
            await peer.read_request()

    async with raw_upstream(die_second_time) as upstream, a_caller() as caller:
        origin = an_origin(upstream.port)
        await asyncio.gather(caller.call(origin), caller.call(origin))
        sink = await caller.call(origin)

        assert sink.kind is FailureKind.CLOSED_EARLY
        assert (upstream.connections, len(upstream.requests)) == (3, 4)


async def test_a_request_is_not_resent_once_an_answer_began() -> None:
    """A single byte shows that the request was read."""
    script = DyingWhenReused(generations=1, reset=False, last_words=b"H")
    async with raw_upstream(script) as upstream, a_caller() as caller:
        origin = an_origin(upstream.port)
        await caller.call(origin)
        sink = await caller.call(origin)

        assert sink.kind is FailureKind.CLOSED_EARLY
        assert caller.client.stats.resent_total == 0


async def test_a_request_that_was_worked_on_for_long_is_not_resent(monkeypatch: pytest.MonkeyPatch) -> None:
    """An upstream that dies over a request is no race; the next one must not die of it as well."""
    monkeypatch.setattr("modelway_gateway.upstream.exchange.RESEND_WITHIN_SECONDS", 0.0)
    script = DyingWhenReused(generations=1, reset=False)
    async with raw_upstream(script) as upstream, a_caller() as caller:
        origin = an_origin(upstream.port)
        await caller.call(origin)
        sink = await caller.call(origin)

        assert sink.kind is FailureKind.CLOSED_EARLY
        assert len(upstream.requests) == 2


async def test_a_resting_connection_that_the_upstream_closed_is_not_used() -> None:
    """Where the close has been seen there is nothing to race for."""
    close = asyncio.Event()

    async def close_later(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(OK)
        await close.wait()

    async with raw_upstream(close_later) as upstream, a_caller() as caller:
        origin = an_origin(upstream.port)
        await caller.call(origin)
        close.set()
        await until(lambda: caller.client.stats.idle_connections == 0)
        sink = await caller.call(origin)

        assert sink.status == 200
        assert caller.client.stats.resent_total == 0


async def test_a_connection_that_rested_too_long_is_closed() -> None:
    """Before a firewall on the way forgets it."""
    async with raw_upstream(answering(OK)) as upstream, a_caller() as caller:
        await caller.call(an_origin(upstream.port))
        now = asyncio.get_running_loop().time()
        caller.client.sweep(now + IDLE_SECONDS - 2)

        assert caller.client.stats.idle_connections == 1

        caller.client.sweep(now + IDLE_SECONDS + 2)

        assert caller.client.stats.idle_connections == 0
        await until(lambda: upstream.gone == 1)


async def test_origins_that_left_the_config_keep_no_connection() -> None:
    """Resting ones close at once, busy ones after their answer; others are not touched."""
    answer = asyncio.Event()

    async def answer_later(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(OK)
        await peer.read_request()
        await answer.wait()
        await peer.send(OK)
        await peer.until_gone()

    async with (
        raw_upstream(answering(OK)) as kept,
        raw_upstream(answering(OK)) as left,
        raw_upstream(answer_later) as busy,
        a_caller() as caller,
    ):
        kept_origin, left_origin, busy_origin = (an_origin(each.port) for each in (kept, left, busy))
        for origin in (kept_origin, left_origin, busy_origin):
            await caller.call(origin)
        _, sink = caller.start(busy_origin)
        caller.client.close_idle([kept_origin])
        await until(lambda: left.gone == 1)
        answer.set()
        await sink.over.wait()
        await until(lambda: busy.gone == 1)

        assert sink.status == 200
        assert caller.client.stats.idle_connections == 1
        assert kept.gone == 0


async def test_equal_origins_do_not_share_connections() -> None:
    """An origin is compared by identity: whatever about a backend changed, its new object starts afresh."""
    async with raw_upstream(answering(OK)) as upstream, a_caller() as caller:
        await caller.call(an_origin(upstream.port))
        await caller.call(an_origin(upstream.port))

        assert upstream.connections == 2


async def test_closing_the_client_fails_what_is_under_way() -> None:
    """Connecting, waiting and streaming alike (each sink is checked when the caller closes)."""

    async def wait(peer: Peer) -> None:
        await peer.read_request()
        await peer.until_gone()

    async with raw_upstream(wait) as upstream:
        async with a_caller() as caller:
            _, waiting = caller.start(an_origin(upstream.port))
            await until(lambda: bool(upstream.requests))
            _, connecting = caller.start(an_origin(upstream.port))

        assert [waiting.kind, connecting.kind] == [FailureKind.ABORTED] * 2
