"""One upstream call, as a test reads it: send, wait for the end, look at what the sink was told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from modelway_gateway.upstream.client import UpstreamClient
from modelway_gateway.upstream.interface import (
    Address,
    Exchange,
    FailureKind,
    Headers,
    Origin,
    Timeouts,
    UpstreamFailure,
)
from modelway_gateway.upstream.resolve import Resolver
from modelway_gateway.upstream.sweeper import Sweeper

BODY = b'{"model":"m"}'


async def until(condition: Callable[[], bool], *, within_seconds: float = 30.0) -> None:
    """Wait for a condition; fail when it does not come."""
    async with asyncio.timeout(within_seconds):
        while not condition():  # noqa: ASYNC110 - anything may be the condition
            await asyncio.sleep(0.005)


async def stands_still(figure: Callable[[], int]) -> None:
    """Wait until a figure has not changed for a while."""
    seen = -1
    while seen != (seen := figure()):  # noqa: ASYNC110 - that nothing happens has no event
        await asyncio.sleep(0.2)


class RecordingSink:
    """Remembers its calls, and fails when their order is not the promised one."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: Headers = []
        self.data: list[bytes] = []
        self.failure: UpstreamFailure | None = None
        self.broken_promises: list[str] = []
        self.over = asyncio.Event()
        self.got_head = asyncio.Event()
        self.got_data = asyncio.Event()

    @property
    def body(self) -> bytes:
        return b"".join(self.data)

    @property
    def kind(self) -> FailureKind | None:
        return self.failure.kind if self.failure else None

    def on_head(self, status: int, headers: Headers) -> None:
        self._expect(not self.status, "a second head")
        self.status, self.headers = status, headers
        self.got_head.set()

    def on_data(self, data: bytes) -> None:
        self._expect(bool(self.status), "data before the head")
        self._expect(bool(data), "empty data")
        self.data.append(data)
        self.got_data.set()

    def on_end(self) -> None:
        self._expect(bool(self.status), "an end before the head")
        self._end()

    def on_failure(self, failure: UpstreamFailure) -> None:
        self.failure = failure
        self._end()

    def _end(self) -> None:
        self._expect(True, "")
        self.over.set()

    def _expect(self, condition: bool, what: str) -> None:
        if self.over.is_set():
            self.broken_promises.append("a call after the end")
        if not condition:
            self.broken_promises.append(what)


class Caller:
    """A client with a running sweeper, and shorthands."""

    def __init__(self, client: UpstreamClient) -> None:
        self.client = client
        self.sinks: list[RecordingSink] = []

    def start(
        self, origin: Origin, body: bytes = BODY, *, address: Address | None = None, sink: RecordingSink | None = None
    ) -> tuple[Exchange, RecordingSink]:
        sink = sink or RecordingSink()
        self.sinks.append(sink)
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % len(body)
        return self.client.exchange(origin, address, head, body, sink), sink

    async def call(self, origin: Origin, body: bytes = BODY, *, address: Address | None = None) -> RecordingSink:
        _, sink = self.start(origin, body, address=address)
        await asyncio.wait_for(sink.over.wait(), 30)
        return sink


@asynccontextmanager
async def a_caller(resolver: Resolver | None = None) -> AsyncIterator[Caller]:
    """Every sink that was used is checked at the end."""
    client = UpstreamClient(resolver)
    sweeper = Sweeper(client.sweep)
    sweeper.start()
    caller = Caller(client)
    try:
        yield caller
    finally:
        sweeper.stop()
        await client.close()
        assert client.stats.exchanges == 0
        for sink in caller.sinks:
            assert sink.broken_promises == []
            assert sink.over.is_set()


def an_origin(
    port: int,
    *,
    connect: float = 20.0,
    first_token: float = 20.0,
    idle: float = 20.0,
    total: float = 60.0,
    host: str = "127.0.0.1",
) -> Origin:
    """An http origin on loopback with time-outs that let a test end."""
    timeouts = Timeouts(
        connect_seconds=connect, first_token_seconds=first_token, idle_seconds=idle, total_seconds=total
    )
    return Origin(scheme="http", host=host, port=port, timeouts=timeouts, label="backend 'b'")
