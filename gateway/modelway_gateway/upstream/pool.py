"""Connections that rest: the one used last is taken first, so that the rest can grow old and go.

The keep-alive race: an upstream may close a resting connection at the very moment a request is sent on it. Nobody can
tell this from the outside, so such a request (nothing of an answer seen, sent a moment ago) is sent once more.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from modelway_gateway.upstream.connection import Connection
from modelway_gateway.upstream.exchange import LiveExchange

IDLE_SECONDS = 60.0
MAX_IDLE = 512


class Resender(Protocol):
    """Who can send a request again."""

    def resend(self, exchange: LiveExchange) -> None: ...


class Pool:
    """The connections to one address of one origin."""

    __slots__ = ("_idle", "_loop", "_open", "_resender", "_retired", "opening")

    def __init__(self, resender: Resender, loop: asyncio.AbstractEventLoop) -> None:
        self._resender = resender
        self._loop = loop
        self._idle: dict[Connection, float] = {}
        self._open = 0
        self.opening = 0
        self._retired = False

    @property
    def idle_count(self) -> int:
        return len(self._idle)

    @property
    def is_empty(self) -> bool:
        """True when no connection of this pool is open or being opened."""
        return not self._open and not self.opening

    def connection(self) -> Connection:
        """For `create_connection`."""
        return Connection(self, self._loop)

    def take(self) -> Connection | None:
        """A connection that is open as far as one can tell."""
        while self._idle:
            connection, _ = self._idle.popitem()
            if connection.is_open:
                return connection
        return None

    def retire(self) -> None:
        """Keep nothing from now on."""
        self._retired = True
        for connection in list(self._idle):
            connection.close()
        self._idle.clear()

    def close_old(self, now: float) -> None:
        """Close what has rested too long."""
        while self._idle:
            connection, since = next(iter(self._idle.items()))
            if now - since < IDLE_SECONDS:
                return
            del self._idle[connection]
            connection.close()

    # For connections

    def opened(self) -> None:
        self._open += 1

    def release(self, connection: Connection) -> None:
        if self._retired or len(self._idle) >= MAX_IDLE:
            connection.close()
        else:
            self._idle[connection] = self._loop.time()

    def lost(self, connection: Connection) -> None:
        self._open -= 1
        self._idle.pop(connection, None)

    def resend(self, exchange: LiveExchange) -> None:
        self._resender.resend(exchange)
