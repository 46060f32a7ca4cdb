"""The listener for clients: opens the port, sweeps deadlines, and lets connections end.

The rule: `sweep(now)` must be called about every 100 ms with `loop.time()`; no connection has a timer of its own.
"""

from __future__ import annotations

import asyncio
import time

from modelway_gateway.client.answers import DATE
from modelway_gateway.client.call import Handler
from modelway_gateway.client.connection import Connections, parser_is_compiled
from modelway_gateway.client.limits import ClientLimits

_BACKLOG = 4096


class ClientServer:
    """A listening port and the connections that came through it."""

    def __init__(self, connections: Connections, server: asyncio.Server) -> None:
        self._connections = connections
        self._server = server
        self.port: int = server.sockets[0].getsockname()[1]

    @property
    def connection_count(self) -> int:
        """Open client connections, busy or not."""
        return len(self._connections.open)

    def sweep(self, now: float) -> None:
        """End what is overdue; `now` is `loop.time()`."""
        DATE.set(time.time())
        self._connections.sweep(now)

    def wind_down(self) -> None:
        """From now on each answer is its connection's last, so that clients' pools move on before anything is closed.

        A resting connection stays: closing it could cross a request that is on its way.
        """
        self._connections.draining = True

    def drain(self) -> None:
        """From now on each connection closes after its answer, and a resting one at once. New ones are still taken."""
        self._connections.draining = True
        for connection in list(self._connections.open):
            connection.drain()

    async def shutdown(self, *, grace_seconds: float) -> None:
        """Take no new connection, wait for the answers under way, then drop what is left."""
        self._server.close()
        self.drain()
        empty = self._connections.empty
        try:
            async with asyncio.timeout(grace_seconds):
                await empty.wait()
        except TimeoutError:
            for connection in list(self._connections.open):
                connection.reset()
            await empty.wait()


async def serve(
    handler: Handler, *, host: str, port: int, limits: ClientLimits, reuse_port: bool = False
) -> ClientServer:
    """Listen for clients; each whole request becomes one call of `handler`. Port 0 takes a free one."""
    if not parser_is_compiled():
        raise RuntimeError("aiohttp's compiled HTTP parser is not available")
    loop = asyncio.get_running_loop()
    DATE.set(time.time())
    connections = Connections(handler, limits, loop)
    server = await loop.create_server(connections, host, port, backlog=_BACKLOG, reuse_port=reuse_port or None)
    return ClientServer(connections, server)
